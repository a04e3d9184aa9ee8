"""Synthetic raw copy of MIMIC-CXR-JPG: drawn chest films, the compressed tables, radiology reports.

Every film is drawn, every row and every sentence is made up; none comes from a patient. Each of the 13 findings has a
sign of its own (a large heart, a nodule, a wire …), `No Finding` has none but that of support devices.

Oddities of the release that it writes:

* four `.csv.gz` tables named 2.0.0 also in 2.1.0, the label tables alphabetical and one row per study with `1.0`,
  `0.0`, `-1.0` and blank; a row with no value at all; one study without a row in either (its film is no record);
  NegBio disagrees with CheXpert now and then;
* the radiologists' table of 2.1.0 (`Airspace Opacity`, no subject, not compressed) for some test studies;
* tables in different orders; views empty or `LATERAL` and `LL`; times that lost their leading zeros, dates shifted to
  the 22nd century; `IMAGE_FILENAMES`; `index.html` in folders;
* reports indented by 33 spaces, then by one, "empty" lines of one space: with findings and impression, with findings
  only, with no header but a last paragraph, with a misspelt header, with an addendum above; one study without any.
"""

import gzip
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np

from climb_hf.miniatures._chest import FINDINGS, draw_findings, film
from climb_hf.miniatures._common import (
    Expected,
    check_choice,
    check_count,
    csv_text,
    rng,
    save_image,
    sha256_lines,
    write_bytes,
    write_csv,
    write_text,
)

__all__ = ["make"]

_SPLITS = {"train": "train", "validate": "validation", "test": "test"}
_VIEWS = ("PA", "AP", "LATERAL", "LL", "")
_PLANES = {"PA": "frontal", "AP": "frontal", "LATERAL": "lateral", "LL": "lateral"}
_CODES = {"PA": "postero-anterior", "AP": "antero-posterior", "LATERAL": "lateral", "LL": "left lateral"}
_METADATA_HEADER = (
    "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,StudyTime,"
    "ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,PatientOrientationCodeSequence_CodeMeaning"
)
_METADATA: list[object] = [*_METADATA_HEADER.split(",")]
_RADIOLOGISTS_HEADER = (
    "No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Lesion,Lung Opacity,Edema,Consolidation,Pneumonia,"
    "Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)
_RADIOLOGISTS = _RADIOLOGISTS_HEADER.split(",")
_SIZES = ((128, 106), (106, 128), (120, 120), (128, 112))
_TIMES = ((80556.875, "08:05:56.875"), (231502.0, "23:15:02"), (556.5, "00:05:56.500"), (3.0, "00:00:03"))
_INDEX = "<html><head><title>Index of /</title></head></html>\n"

_Rows = list[list[object]]


def make(
    root: Path, n: int = 32, seed: int = 0, *, version: str = "2.1.0", reports: str = "unpacked", layout: str = "root"
) -> list[Expected]:
    """Write a synthetic MIMIC-CXR-JPG folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of films, at least 8; one film without labels comes on top.
        seed (`int`, *optional*, defaults to `0`): seed of films, rows and reports.
        version (`str`, *optional*, defaults to `"2.1.0"`): `"2.0.0"` has no radiologists' table and no file list.
        reports (`str`, *optional*, defaults to `"unpacked"`): reports of the sister project: `"unpacked"` (beside the
            study folders), `"folder"` (below `mimic-cxr-reports/`), `"zip"` or `"none"`.
        layout (`str`, *optional*, defaults to `"root"`): `"root"`, or `"physionet"` for `mimic-cxr-jpg/2.1.0/` with
            the reports in `mimic-cxr/2.1.0/`, as a recursive download of both projects leaves them.

    Returns:
        `list[Expected]`: in the order of the split table; `values`: `study_id`, `view`, `plane`, `study_time` (ISO),
        `chexpert`, `negbio`, `radiologist` (finding -> number, the last `None` where there is none), `uncertain`,
        `report` (or `None`), `sections`, `summary`, `file`, `size`.

    Raises:
        OptionError: an option out of range.
    """
    check_count("mimic_cxr", n, seed)
    check_choice("mimic_cxr", "version", version, ("2.0.0", "2.1.0"))
    check_choice("mimic_cxr", "reports", reports, ("unpacked", "folder", "zip", "none"))
    check_choice("mimic_cxr", "layout", layout, ("root", "physionet"))
    base = root / "mimic-cxr-jpg" / version if layout == "physionet" else root
    tables = _Tables()
    expected: list[Expected] = []
    texts: dict[str, str] = {}
    few = max(2, n // 5)
    number = 0
    for split, count in (("train", n - 2 * few), ("validate", few), ("test", few)):
        while count > 0:
            films = min(count, 1 + number % 3 % 2 + (number % 5 == 2))
            records = _study(base, split, number, films, seed, tables, has_gold=version == "2.1.0", texts=texts)
            expected += records
            count -= films
            number += 1
    _study(base, "train", number + 14, 1, seed, tables, has_gold=False, texts={}, has_labels=False)
    if reports == "none":
        texts = {}
        expected = [Expected(r.id, r.split, r.group, r.classes, r.values | _no_report()) for r in expected]
    _write_reports(root / "mimic-cxr" / version if layout == "physionet" else base, texts, reports)
    tables.write(base, version, rng(seed, "mimic_cxr", "order"))
    order = {str(row[0]): position for position, row in enumerate(tables.split)}
    return sorted(expected, key=lambda record: order[record.id])


class _Tables:
    """Rows of the publisher's tables, in the order in which they are made."""

    def __init__(self) -> None:
        self.split: _Rows = []
        self.metadata: _Rows = []
        self.labels: dict[str, _Rows] = {"chexpert": [], "negbio": []}
        self.gold: _Rows = []
        self.files: list[str] = []

    def write(self, base: Path, version: str, random: np.random.Generator) -> None:
        """Write the tables, each in an order of its own; the split table keeps the one that is stored here."""
        self.split = [self.split[i] for i in random.permutation(len(self.split))]
        metadata = [self.metadata[i] for i in random.permutation(len(self.metadata))]
        _write_table(base, "split", [["dicom_id", "study_id", "subject_id", "split"], *self.split])
        _write_table(base, "metadata", [_METADATA, *metadata])
        for labeler, rows in self.labels.items():
            order = sorted(rows, key=lambda row: (row[0], row[1]))
            _write_table(base, labeler, [["subject_id", "study_id", *sorted(FINDINGS)], *order])
        if version == "2.1.0":
            header = ["study_id", *(name.replace("Lung Opacity", "Airspace Opacity") for name in _RADIOLOGISTS)]
            write_csv(base / "mimic-cxr-2.1.0-test-set-labeled.csv", [header, *self.gold])
            write_text(base / "IMAGE_FILENAMES", "".join(f"{name}\n" for name in sorted(self.files)))
        write_text(base / "LICENSE.txt", "Synthetic data in the format of MIMIC-CXR-JPG. No patient is behind it.\n")
        write_text(base / "SHA256SUMS.txt", sha256_lines(base))
        write_text(base / "index.html", _INDEX)
        write_text(base / "files" / "index.html", _INDEX)


def _write_table(base: Path, name: str, rows: _Rows) -> None:
    content = gzip.compress(csv_text(rows).encode(), compresslevel=6, mtime=0)
    write_bytes(base / f"mimic-cxr-2.0.0-{name}.csv.gz", content)


def _no_report() -> dict[str, object]:
    return {"report": None, "sections": None, "summary": None}


def _study(
    base: Path, split: str, number: int, films: int, seed: int, tables: _Tables, *, has_gold: bool,
    texts: dict[str, str], has_labels: bool = True,
) -> list[Expected]:  # fmt: skip
    """Write the films of a study and its rows; returns its records."""
    patient = number - (number % 3 == 1) * (split == "train")  # some train patients have two studies
    subject = str(10_000_001 + patient * 1_234_567 % 9_999_998)
    study = str(50_000_001 + number * 7_654_321 % 9_999_998)
    random = rng(seed, "mimic_cxr", "study", number)
    stated = draw_findings(number, random)
    negbio = dict(stated)
    if number % 4 == 2 and stated:
        negbio[next(iter(stated))] = -1.0
    gold = {name: float(stated.get(name) == 1.0) for name in FINDINGS} if has_gold and split == "test" else None
    if gold is not None and number % 3 == 0:
        gold = None
    if has_labels:
        for labeler, values in (("chexpert", stated), ("negbio", negbio)):
            tables.labels[labeler].append([subject, study, *(values.get(name) for name in sorted(FINDINGS))])
    if gold is not None:
        tables.gold.append([study, *(int(gold[name]) for name in _RADIOLOGISTS)])
    positive = tuple(name for name in FINDINGS if stated.get(name) == 1.0)
    report = _no_report()
    if number != 5:
        report = _report(number, positive)
        texts[f"files/p{subject[:2]}/p{subject}/s{study}.txt"] = str(report["report"])
    written, iso = _TIMES[number % len(_TIMES)]
    date = f"218{number % 10}{1 + number % 12:02d}{1 + number % 28:02d}"
    shared: dict[str, object] = {
        "study_id": study,
        "study_time": f"{date[:4]}-{date[4:6]}-{date[6:]}T{iso}",
        "chexpert": stated,
        "negbio": negbio,
        "radiologist": gold,
        "uncertain": tuple(name for name in FINDINGS if stated.get(name) == -1.0),
        **report,
    }
    return [
        _film(base, (subject, study, split), number, k, seed, tables, positive, (date, written), shared)
        for k in range(films)
    ]


def _film(
    base: Path, names: tuple[str, str, str], number: int, k: int, seed: int, tables: _Tables,
    positive: tuple[str, ...], moment: tuple[str, float], shared: dict[str, object],
) -> Expected:  # fmt: skip
    """Write one film of a study and its rows; returns its record."""
    subject, study, split = names
    random = rng(seed, "mimic_cxr", "film", number, k)
    view = _VIEWS[(number + 2 * k) % len(_VIEWS)]
    digest = hashlib.md5(f"{seed} {number} {k}".encode(), usedforsecurity=False).hexdigest() + f"{number:08x}"
    dicom = "-".join(digest[i : i + 8] for i in range(0, 40, 8))
    file = f"files/p{subject[:2]}/p{subject}/s{study}/{dicom}.jpg"
    height, width = _SIZES[int(random.integers(len(_SIZES)))]
    pixels = film(positive, height, width, random, lateral=_PLANES.get(view) == "lateral")
    save_image(base / file, pixels, quality=95)
    tables.split.append([dicom, study, subject, split])
    tables.files.append(file)
    step = "CHEST (PORTABLE AP)" if view == "AP" else "CHEST (PA AND LAT)"
    orientation = ("Erect", "Recumbent", None)[number % 3]
    row: list[object] = [
        dicom,
        subject,
        study,
        step,
        view,
        height,
        width,
        *moment,
        step,
        _CODES.get(view),
        orientation,
    ]
    tables.metadata.append(row)
    own: dict[str, object] = {"view": view or None, "plane": _PLANES.get(view), "file": file, "size": (width, height)}
    own |= {"procedure": step, "orientation": orientation}
    return Expected(dicom, _SPLITS[split], subject, positive, shared | own)


def _report(number: int, positive: tuple[str, ...]) -> dict[str, object]:
    """The text of a report and what the publisher's rule for sections finds in it."""
    found = f"There is {', '.join(positive).lower()}." if positive else "The lungs are clear."
    opinion = f"Synthetic report {number}: {positive[0].lower() if positive else 'no acute process'}."
    title = " " * 33 + "FINAL REPORT\n"
    head = f"{title} EXAMINATION:  CHEST\n \n INDICATION:  ___ year old woman with cough  // pneumonia?\n \n"
    sections: dict[str, str] = {
        "examination": "CHEST",
        "indication": "___ year old woman with cough  // pneumonia?",
    }
    kind = number % 5
    if kind == 1:
        text = f"{head} FINDINGS: \n \n {found}\n"
        sections |= {"findings": found}
    elif kind == 2:
        text = f"{title} HISTORY:  Cough.\n \n {found}\n \n {opinion}\n"
        sections = {"history": "Cough.", "last_paragraph": f"{found}\n \n {opinion}"}
    elif kind == 3:
        text = f"{head} FINDINGS: \n \n {found}\n \n IMPRESSON: \n \n {opinion}\n"
        sections |= {"findings": found, "impression": opinion}
    else:
        above = f"{title} ADDENDUM:  Seen again.\n \n {'_' * 78}\n" if kind == 4 else ""
        text = f"{above}{head} COMPARISON:  None.\n \n FINDINGS: \n \n {found}\n \n IMPRESSION: \n \n {opinion}\n"
        sections |= {"comparison": "None.", "findings": found, "impression": opinion}
        if above:
            sections["addendum"] = f"Seen again.\n \n {'_' * 78}\n{title.rstrip()}"
    order = ("impression", "findings", "last_paragraph")
    summary = next(sections[name] for name in order if name in sections)
    return {"report": text, "sections": sections, "summary": summary}


def _write_reports(base: Path, texts: dict[str, str], reports: str) -> None:
    """Write the reports as files, below a folder of their own, or into the publisher's archive."""
    if reports == "zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in sorted(texts.items()):
                archive.writestr(zipfile.ZipInfo(name, (2019, 9, 19, 0, 0, 0)), text)
        write_bytes(base / "mimic-cxr-reports.zip", buffer.getvalue())
        return
    for name, text in texts.items():
        write_text(base / ("mimic-cxr-reports" if reports == "folder" else "") / name, text)
