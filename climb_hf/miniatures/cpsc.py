"""Synthetic raw copy of CPSC 2018: drawn ECGs of different lengths with nine diagnoses.

Every ECG is drawn and every header is made up; none comes from a patient. Oddities of the release that it writes:

* lengths from 6 to 15 s, one to two diagnoses per record, ages `NaN`, a record that repeats another one's samples;
* beside the 2021 tree a folder of `cpsc_2018_extra` (`Q0001`), which does not belong to the data set;
* the Kaggle copy in the style of 2020: `#Age:`, `16+24 1000/mV`, a date in the record line;
* the original layout: MATLAB 5 structs `ECG` with `sex`, `age` and `data` in mV, some compressed, each with a date of
  saving, and `REFERENCE.csv` with numbers for labels and blank cells.
"""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.errors import OptionError
from climb_hf.miniatures._challenge import Ecg, draw, expected, plan, write_benchmd, write_record
from climb_hf.miniatures._common import Expected, check_choice, check_count, rng, write_bytes, write_csv, write_text

__all__ = ["make"]

LAYOUTS = ("challenge-2021", "kaggle", "original")
_TOTAL = 6_877
_NUMBER = {
    426783006: 1, 164889003: 2, 270492004: 3, 164909002: 4, 59118001: 5, 284470004: 6, 164884008: 7, 429622005: 8,
    164931005: 9,
}  # fmt: skip


def make(
    root: Path, n: int = 32, seed: int = 0, *, layout: str = "challenge-2021", with_benchmd: bool = False
) -> list[Expected]:
    """Write a synthetic CPSC 2018 folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of ECGs, 8 to 6,877.
        seed (`int`, *optional*, defaults to `0`): seed of headers and signals.
        layout (`str`, *optional*, defaults to `"challenge-2021"`): `training/cpsc_2018/g<k>/Annnn.mat`; `"kaggle"`:
            `Training_WFDB/Annnn.mat`; `"original"`: `TrainingSet<k>/Annnn.mat` and `REFERENCE.csv`.
        with_benchmd (`bool`, *optional*, defaults to `False`): also write `CPSC_splits.csv` for these records;
            `values` then has `benchmd_split`, `benchmd_classes` and `benchmd_label`.

    Returns:
        `list[Expected]`: by name; `values`: see `_challenge.expected`; with the original layout `codes` are numbers.

    Raises:
        OptionError: an option out of range.
    """
    check_count("cpsc", n, seed)
    check_choice("cpsc", "layout", layout, LAYOUTS)
    if n > _TOTAL:
        raise OptionError(f"cpsc: expected `n` of at most {_TOTAL}, the records of the release, found `{n}`.")
    numbers = np.sort(rng(seed, "cpsc", "names").choice(np.arange(1, _TOTAL + 1), n, replace=False))
    records = plan("cpsc", [f"A{number:04d}" for number in numbers], seed, (5000, 5000, 3000, 7500))
    values: dict[str, dict[str, object]] = {}
    if with_benchmd:
        positions = [(ecg, int(ecg.name[1:]) - 1) for ecg in records]
        values = write_benchmd(root / "CPSC_splits.csv", "cpsc", "WFDB_CPSC", positions, seed)
    rows = []
    for place, ecg in enumerate(records):
        signal = draw("cpsc", ecg, seed)
        extra = values.get(ecg.name, {})
        part = int(ecg.name[1:]) - 1
        if layout == "original":
            file = _write_struct(root, f"TrainingSet{1 + part // 2300}", ecg, signal, place)
            extra = {**extra, "codes": tuple(str(_NUMBER[code]) for code in ecg.codes)}
        elif layout == "kaggle":
            date = f"05-Feb-2020 11:{place % 60:02d}:16"
            file = write_record(root, "Training_WFDB", ecg, signal, style="2020", start=date)
        else:
            file = write_record(root, f"training/cpsc_2018/g{1 + part // 1000}", ecg, signal, style="2021")
        rows.append(expected(ecg, signal, file, **extra))
    if layout == "original":
        table = [["Recording", "First_label", "Second_label", "Third_label"]]
        table += [[e.name, *(str(_NUMBER[code]) for code in e.codes), *[""] * (3 - len(e.codes))] for e in records]
        write_csv(root / "REFERENCE.csv", table)
    elif layout == "challenge-2021":
        other = Ecg("Q0001", (426783006,), ("normal",), 50, "male", 4000)
        write_record(root, "training/cpsc_2018_extra/g1", other, draw("cpsc", other, seed), style="2021")
        for folder in sorted({Path(str(row.values["file"])).parent for row in rows}):
            names = [row.id for row in rows if Path(str(row.values["file"])).parent == folder]
            write_text(root / folder / "RECORDS", "".join(f"{name}\n" for name in names))
    return rows


def _write_struct(root: Path, folder: str, ecg: Ecg, signal: NDArray[np.int16], place: int) -> str:
    """Write the original form of a record; returns the file relative to the root."""
    from scipy.io import savemat

    samples = np.where(signal == -32768, np.nan, signal / 1000.0)
    age = np.uint8(ecg.age) if ecg.age is not None else np.nan
    sex = (ecg.sex or "unknown").capitalize()
    buffer = io.BytesIO()
    is_compressed = int((ecg.copy_of or ecg.name)[1:]) % 2 == 1  # copies were saved alike, at another time
    savemat(buffer, {"ECG": {"sex": sex, "age": age, "data": samples.T}}, do_compression=is_compressed)
    text = f"MATLAB 5.0 MAT-file, Platform: PCWIN64, Created on: Thu Mar 01 10:{place % 60:02d}:00 2018"
    write_bytes(root / folder / f"{ecg.name}.mat", text.encode().ljust(116) + buffer.getvalue()[116:])
    return f"{folder}/{ecg.name}.mat"
