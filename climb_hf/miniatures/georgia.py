"""Synthetic raw copy of the Georgia 12-lead ECG Challenge database: drawn ECGs with SNOMED CT codes.

Every ECG is drawn and every header is made up; none comes from a patient. Oddities of the release that it writes:

* codes twice in one `Dx` line, ages `NaN`, sexes `Unknown`, records shorter than 10 s;
* two records under adjacent names with the same samples, age, sex and codes; a flat lead, a lead of invalid samples;
* the Kaggle copy with the headers of 2020: `#Age:`, a date and a name with `.mat` in the record line, a gain of 4880.
"""

from pathlib import Path

from climb_hf.errors import OptionError
from climb_hf.miniatures._challenge import draw, expected, plan, write_benchmd, write_record
from climb_hf.miniatures._common import Expected, check_choice, check_count, rng, write_text

__all__ = ["make"]

LAYOUTS = ("challenge-2021", "kaggle")
_TOTAL = 10_344


def make(
    root: Path, n: int = 32, seed: int = 0, *, layout: str = "challenge-2021", with_benchmd: bool = False
) -> list[Expected]:
    """Write a synthetic Georgia folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of ECGs, 8 to 10,344.
        seed (`int`, *optional*, defaults to `0`): seed of headers and signals.
        layout (`str`, *optional*, defaults to `"challenge-2021"`): `training/georgia/g<k>/Ennnnn.mat`; `"kaggle"`:
            `WFDB/Ennnnn.mat`.
        with_benchmd (`bool`, *optional*, defaults to `False`): also write `Ga_splits.csv` for these records; `values`
            then has `benchmd_split`, `benchmd_classes` and `benchmd_label`.

    Returns:
        `list[Expected]`: by name; `values`: see `_challenge.expected`.

    Raises:
        OptionError: an option out of range.
    """
    check_count("georgia", n, seed)
    check_choice("georgia", "layout", layout, LAYOUTS)
    if n > _TOTAL:
        raise OptionError(f"georgia: expected `n` of at most {_TOTAL}, the records of the release, found `{n}`.")
    start = 1 + int(rng(seed, "georgia", "start").integers(_TOTAL - n + 1))
    records = plan("georgia", [f"E{start + i:05d}" for i in range(n)], seed, (5000,) * 9 + (2500, 4000))
    values: dict[str, dict[str, object]] = {}
    if with_benchmd:
        positions = [(ecg, int(ecg.name[1:]) - 1) for ecg in records]
        values = write_benchmd(root / "Ga_splits.csv", "georgia", "WFDB_Ga", positions, seed)
    rows, lists = [], dict[str, list[str]]()
    for place, ecg in enumerate(records):
        signal = draw("georgia", ecg, seed)
        number = int(ecg.name[1:])
        folder = "WFDB" if layout == "kaggle" else f"training/georgia/g{1 + (number - 1) // 1000}"
        style, date = ("2020", f"05-May-2020 14:{place % 60:02d}:55") if layout == "kaggle" else ("2021", "")
        dx = ",".join(map(str, (*ecg.codes, ecg.codes[0]))) if place % 10 == 6 else ""
        file = write_record(root, folder, ecg, signal, style=style, start=date, dx=dx)
        if layout == "kaggle":
            header = (root / file).with_suffix(".hea")
            text = header.read_text(encoding="utf-8").replace("16+24 1000/mV", "16+24 4880/mV")
            write_text(header, text.replace(ecg.name, f"{ecg.name}.mat", 1))
        lists.setdefault(folder, []).append(ecg.name)
        rows.append(expected(ecg, signal, file, **values.get(ecg.name, {})))
    if layout != "kaggle":
        for folder, names in lists.items():
            write_text(root / folder / "RECORDS", "".join(f"{name}\n" for name in names))
    return rows
