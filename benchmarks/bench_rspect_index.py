"""The index of RSPECT at its real size, on a generated table of 1.8 million slices: time and peak memory.

The index runs in a process of its own, as a build does it: table, labels, splits and all checks. The reference figures
are the limits that we hold ourselves to, so the ratio is limit / measured; what is written and read is synthetic.
"""

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROWS, STUDIES = 1_800_000, 7_279
LIMIT_SECONDS, LIMIT_GB = 120.0, 2.0
COLUMNS = (
    "StudyInstanceUID,SeriesInstanceUID,SOPInstanceUID,pe_present_on_image,negative_exam_for_pe,qa_motion,qa_contrast,"
    "flow_artifact,rv_lv_ratio_gte_1,rv_lv_ratio_lt_1,leftsided_pe,chronic_pe,true_filling_defect_not_pe,"
    "rightsided_pe,acute_and_chronic_pe,central_pe,indeterminate"
)


def write_table(path: Path) -> None:
    """Write a synthetic `train.csv` of `ROWS` slices in `STUDIES` studies, about one in three of them positive."""
    generator = random.Random(0)
    with path.open("w", encoding="utf-8") as stream:
        stream.write(f"{COLUMNS}\n")
        for number in range(STUDIES):
            count = ROWS * (number + 1) // STUDIES - ROWS * number // STUDIES
            study, series = (f"{generator.getrandbits(48):012x}" for _ in range(2))
            positive, chronic = number % 3 == 0, number % 18 == 0
            exam = f"{int(not positive)},0,0,0,{int(positive)},0,{int(positive)},{int(chronic)},0,0,0,0,0"
            stream.writelines(
                f"{study},{series},{generator.getrandbits(48):012x},{int(positive and i % 6 == 0)},{exam}\n"
                for i in range(count)
            )


def measure(folder: Path) -> dict[str, float]:
    """Index the folder in this process; returns seconds, peak memory in GB and the number of records."""
    import climb_hf
    from climb_hf.builder import ClimbConfig
    from climb_hf.indexing import build_index

    options = ClimbConfig(name="rspect").options()
    start = time.perf_counter()
    index = build_index(climb_hf.get_source("rspect"), folder, options)
    seconds = time.perf_counter() - start
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    return {"seconds": seconds, "peak_gb": peak, "records": index.n_records}


def run() -> list[dict]:
    """Return two rows: seconds and peak memory of the index, each against its limit."""
    with tempfile.TemporaryDirectory() as root:
        write_table(Path(root) / "train.csv")
        command = [sys.executable, __file__, "--measure", root]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    if found["records"] != ROWS:
        raise RuntimeError(f"expected {ROWS} records, found {found['records']}")
    rows = (
        ("index of 1.8 M CT slices: time (limit)", found["seconds"], LIMIT_SECONDS, "s"),
        ("index of 1.8 M CT slices: peak memory (limit)", found["peak_gb"], LIMIT_GB, "GB"),
    )
    return [
        {"name": name, "ours": ours, "reference": limit, "ratio": limit / ours, "required": 1.0, "unit": unit}
        for name, ours, limit, unit in rows
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(Path(sys.argv[2]))))
    else:
        for row in run():
            print(row)
