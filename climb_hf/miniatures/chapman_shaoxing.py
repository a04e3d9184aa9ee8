"""Synthetic raw copy of Chapman-Shaoxing: drawn ECGs with SNOMED CT codes, on demand with the part from Ningbo.

Every ECG is drawn and every header is made up; none comes from a patient. Oddities of the release that it writes:

* missing numbers, `Dx` lines that end with a comma or hold two in a row, ages `NaN`, sexes `Unknown`;
* a record that repeats another one's samples, a flat lead, a lead without valid samples, single invalid samples;
* `ConditionNames_SNOMED-CT.csv`, which names some codes only; lists named `RECORDS` at two levels;
* on demand the two headers of the release that cannot be used: `JS01052` and `JS23074`.
"""

from pathlib import Path

import numpy as np

from climb_hf.errors import OptionError
from climb_hf.miniatures._challenge import draw, expected, plan, write_benchmd, write_record
from climb_hf.miniatures._common import Expected, check_choice, check_count, rng, write_text
from climb_hf.miniatures._ecg import LEADS, write_wfdb_mat

__all__ = ["make"]

LAYOUTS = ("physionet", "challenge-2021", "kaggle")
_CHAPMAN, _LAST = 10_646, 45_551
_CONDITIONS = """\
Acronym Name,Full Name,Snomed_CT
1AVB,1 degree atrioventricular block,270492004
LBBB,left bundle branch block,164909002
RBBB,right bundle branch block,59118001
LVH,left ventricle hypertrophy,164873001
MI,myocardial infarction,164865005
MILW,myocardial infarction in the lower wall,164865005
STDD,ST segment depression,429622005
TWC,T wave change,164934002
AF,atrial flutter,164890007
AFIB,atrial fibrillation,164889003
SB,sinus bradycardia,426177001
SR,sinus rhythm,426783006
"""


def make(
    root: Path,
    n: int = 32,
    seed: int = 0,
    *,
    layout: str = "physionet",
    with_ningbo: bool = False,
    with_benchmd: bool = False,
    with_defects: bool = False,
) -> list[Expected]:
    """Write a synthetic Chapman-Shaoxing folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of ECGs of the Chapman part, 8 to 10,247.
        seed (`int`, *optional*, defaults to `0`): seed of headers and signals.
        layout (`str`, *optional*, defaults to `"physionet"`): `WFDBRecords/01/010/JSnnnnn.mat`; `"challenge-2021"`:
            `training/chapman_shaoxing/g<k>/`; `"kaggle"`: `WFDB_ChapmanShaoxing/`, which has no part from Ningbo.
        with_ningbo (`bool`, *optional*, defaults to `False`): also write n / 2 records of the Ningbo part.
        with_benchmd (`bool`, *optional*, defaults to `False`): also write `ChapmanShaoxing_splits.csv` for the Chapman
            records; their `values` then have `benchmd_split`, `benchmd_classes` and `benchmd_label`.
        with_defects (`bool`, *optional*, defaults to `False`): also write `JS01052` and `JS23074`, not to be expected.

    Returns:
        `list[Expected]`: by name; `values`: `tranche`, and see `_challenge.expected`.

    Raises:
        OptionError: an option out of range.
    """
    check_count("chapman_shaoxing", n, seed)
    check_choice("chapman_shaoxing", "layout", layout, LAYOUTS)
    if n > 10_247 or (layout == "kaggle" and with_ningbo):
        raise OptionError(
            f"chapman_shaoxing: expected `n` of at most 10247, found `{n}`, and no Ningbo part with layout `kaggle`."
        )
    random = rng(seed, "chapman_shaoxing", "names")
    usable = np.setdiff1d(np.arange(2, _CHAPMAN + 1), [1052])
    names = [f"JS{number:05d}" for number in (1, *np.sort(random.choice(usable, n - 1, replace=False)))]
    chapman = plan("chapman_shaoxing", names, seed)
    values: dict[str, dict[str, object]] = {}
    if with_benchmd:
        path = root / "ChapmanShaoxing_splits.csv"
        positions = [(ecg, at) for at, ecg in enumerate(chapman)]
        values = write_benchmd(path, "chapman_shaoxing", "WFDB_ChapmanShaoxing", positions, seed)
    usable = np.setdiff1d(np.arange(_CHAPMAN + 1, _LAST + 1), [23074])
    others = np.sort(random.choice(usable, n // 2, replace=False)) if with_ningbo else ()
    ningbo = plan("ningbo", [f"JS{number:05d}" for number in others], seed)
    rows = []
    for place, ecg in enumerate([*chapman, *ningbo]):
        table = "chapman_shaoxing" if place < n else "ningbo"
        signal = draw(table, ecg, seed)
        if table == "ningbo" and not ecg.copy_of:
            signal[10 + place : 13 + place, 1] = -32768
        comma = {4: ",", 5: ",,"}.get(place)  # at the end; between two codes
        dx = (comma or ",").join(map(str, ecg.codes)) + ("," if comma == "," else "")
        style = "2021" if layout == "challenge-2021" else "2020"
        file = write_record(root, _folder(layout, ecg.name), ecg, signal, style=style, dx=dx)
        rows.append(expected(ecg, signal, file, tranche=table, **values.get(ecg.name, {})))
    if with_defects:
        _write_defects(root, layout)
    _write_lists(root, layout)
    return rows


def _folder(layout: str, name: str) -> str:
    """Folder of a record below the root."""
    number = int(name[2:])
    if layout == "kaggle":
        return "WFDB_ChapmanShaoxing"
    if layout == "challenge-2021":
        is_chapman = number <= _CHAPMAN
        part = "chapman_shaoxing" if is_chapman else "ningbo"
        return f"training/{part}/g{1 + (number - (1 if is_chapman else _CHAPMAN + 1)) // 1000}"
    leaf = (number - 1) // 100
    return f"WFDBRecords/{1 + leaf // 10:02d}/{1 + leaf // 10:02d}{leaf % 10}"


def _write_defects(root: Path, layout: str) -> None:
    """Write the header that lost a line end, and the record without lead I."""
    comments = ("#Age: 60", "#Sex: Male", "#Dx: 426783006", "#Rx: Unknown", "#Hx: Unknown", "#Sx: Unknown")
    for name, leads in (("JS01052", LEADS), ("JS23074", LEADS[1:])):
        signal = np.ones((5000, len(leads)), np.int16)
        stem = root / _folder(layout, name) / name
        write_wfdb_mat(stem, signal, 500, comments, leads=leads, form="16+24 1000")
    header = root / _folder(layout, "JS01052") / "JS01052.hea"
    text = header.read_text(encoding="utf-8")
    write_text(header, text.replace("5000\nJS01052.mat 16+24 1000/mV", "500000/mV", 1))


def _write_lists(root: Path, layout: str) -> None:
    """Write the small files of the release."""
    folders: dict[Path, list[str]] = {}
    for path in sorted(root.rglob("*.hea")):
        folders.setdefault(path.parent, []).append(path.stem)
    if layout != "kaggle":
        for folder, names in folders.items():
            write_text(folder / "RECORDS", "".join(f"{name}\n" for name in names))
    if layout == "physionet":
        write_text(root / "RECORDS", "".join(f"{folder.relative_to(root).as_posix()}/\n" for folder in folders))
        write_text(root / "ConditionNames_SNOMED-CT.csv", _CONDITIONS)
        write_text(
            root / "LICENSE.txt", "Synthetic data in the format of ecg-arrhythmia 1.0.0. No patient is behind it.\n"
        )
