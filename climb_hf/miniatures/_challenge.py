"""Planned ECGs with SNOMED CT codes, their files in the styles of the Challenges, and BenchMD's list of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.miniatures._common import Expected, rng, write_csv
from climb_hf.miniatures._ecg import LEADS, draw_ecg, write_wfdb_mat
from climb_hf.miniatures._scp import BENCHMD_ORDER, CLASSES

__all__ = ["Ecg", "draw", "expected", "plan", "write_benchmd", "write_record"]

_CODES = {  # a few codes of each class; the full tables are the publisher's and BenchMD's
    "chapman_shaoxing": {
        "normal": (426783006, 426177001, 427084000),
        "cd": (270492004, 164909002, 59118001, 233897008, 195042002, 17338001),
        "hyp": (164873001, 39732003, 47665007, 251199005, 67751000119106),
        "mi": (164865005,),
        "sttc": (429622005, 164934002, 59931005, 428750005, 164931005),
        "afib": (164889003, 164890007),
        "other": (284470004, 251146004, 164917005, 111975006, 13640000),
    },
    "ningbo": {  # codes that the Chapman part does not have
        "normal": (426627000, 427393009),
        "cd": (713427006, 445118002, 251120003),
        "hyp": (446813000, 67741000119109),
        "mi": (54329005, 57054005),
        "sttc": (55930002,),
        "afib": (164889003, 164890007),
        "other": (10370003, 365413008, 427172004),
    },
    "georgia": {
        "normal": (426783006, 426177001, 427393009, 427084000, 426627000),
        "cd": (270492004, 713427006, 164909002, 59118001, 713422000, 233917008, 6374002),
        "hyp": (164873001, 39732003, 253352002, 67741000119109, 195126007),
        "mi": (164865005, 425419005, 425623009, 426434006, 57054005),
        "sttc": (428750005, 164934002, 59931005, 55930002, 429622005),
        "afib": (164889003, 164890007, 195080001),
        "other": (284470004, 164884008, 111975006, 698252002, 164951009, 251173003),
    },
    "cpsc": {
        "normal": (426783006,),
        "cd": (270492004, 59118001, 164909002),
        "sttc": (429622005, 164931005),
        "afib": (164889003,),
        "other": (164884008, 284470004),
    },
}
#: Codes that BenchMD's program gives other classes than its authors' table means.
_BENCHMD: dict[str, dict[int, tuple[str, ...]]] = {
    "chapman_shaoxing": {
        59118001: (), 251199005: (), 67751000119106: (), 13640000: (), 233897008: ("hyp",), 251146004: ("cd",),
    },
    "georgia": {
        426627000: (), 713422000: (), 233917008: (), 6374002: (), 195126007: (), 57054005: (), 426434006: (),
        164889003: (), 164890007: (), 195080001: (), 164951009: (), 251173003: (),
    },
    "cpsc": {164909002: (), 164884008: ("cd",), 164889003: ("cd", "afib")},
}  # fmt: skip
_RHYTHM = {427084000: "STACH", 426177001: "SBRAD", 427393009: "SARRH"}
_STYLES = {  # format and gain, mark of a comment
    "2020": ("16+24 1000", "#"),
    "2021": ("16x1+24 1000.0(0)", "# "),
}


@dataclass(frozen=True)
class Ecg:
    """One planned record.

    Args:
        name (`str`): record name.
        codes (`tuple[int, ...]`): SNOMED CT codes.
        classes (`tuple[str, ...]`): short class names, in the order of Table 7.
        age (`int`, *optional*): years; `None` is written as `NaN`.
        sex (`str`, *optional*): `"male"`, `"female"`, or `None`, which is written as `Unknown`.
        samples (`int`): samples per lead.
        copy_of (`str`, *optional*): record whose samples it repeats.
        marks (`dict[str, str]`): leads that are `"flat"` or `"invalid"` throughout.
    """

    name: str
    codes: tuple[int, ...]
    classes: tuple[str, ...]
    age: int | None
    sex: str | None
    samples: int
    copy_of: str | None = None
    marks: dict[str, str] = field(default_factory=dict)


def plan(table: str, names: Sequence[str], seed: int, lengths: Sequence[int] = (5000,)) -> list[Ecg]:
    """Plan records that go through the classes in turn.

    The tenth record is a copy of the ninth under the next name, the fourth has a flat lead, the twelfth a lead of
    invalid samples only, and every eleventh from the third no age and no sex.

    Args:
        table (`str`): `"chapman_shaoxing"`, `"ningbo"`, `"georgia"` or `"cpsc"`.
        names (`Sequence[str]`): record names.
        seed (`int`): seed.
        lengths (`Sequence[int]`, *optional*): samples per lead, chosen at random.

    Returns:
        `list[Ecg]`: in the order of `names`.
    """
    slots = _CODES[table]
    records: list[Ecg] = []
    for place, name in enumerate(names):
        if place == 9:
            first = records[-1]
            records.append(
                Ecg(name, first.codes, first.classes, first.age, first.sex, first.samples, copy_of=first.name)
            )
            continue
        random = rng(seed, table, "plan", name)
        slot = list(slots)[place % len(slots)]
        codes = [slots[slot][place // len(slots) % len(slots[slot])]]
        if random.random() < 0.4:
            second = str(random.choice([other for other in slots if other not in (slot, "normal")]))
            codes.append(slots[second][int(random.integers(len(slots[second])))])
        found = {name for name, values in slots.items() if set(values) & set(codes)}
        no_person = place % 11 == 2
        records.append(
            Ecg(
                name,
                tuple(codes),
                tuple(short for short in CLASSES if short in found),
                None if no_person else int(random.integers(18, 90)),
                None if no_person else ("male", "female")[int(random.integers(2))],
                int(random.choice(lengths)),
                marks={"V2": "flat"} if place == 3 else {"V6": "invalid"} if place == 11 else {},
            )
        )
    return records


def draw(table: str, ecg: Ecg, seed: int) -> NDArray[np.int16]:
    """Draw a planned record.

    Args:
        table (`str`): see `plan`.
        ecg (`Ecg`): the record.
        seed (`int`): seed.

    Returns:
        (samples, 12) int16 array, µV; -32768 marks an invalid sample.
    """
    random = rng(seed, table, "signal", ecg.copy_of or ecg.name)
    rhythm = next((_RHYTHM[code] for code in ecg.codes if code in _RHYTHM), None)
    parts = [draw_ecg(random, ecg.classes, rhythm=rhythm) for _ in range(-(-ecg.samples // 5000))]
    signal = np.concatenate(parts)[: ecg.samples]
    for lead, mark in ecg.marks.items():
        signal[:, LEADS.index(lead)] = 0 if mark == "flat" else -32768
    return signal


def write_record(
    root: Path, folder: str, ecg: Ecg, signal: NDArray[np.int16], *, style: str, start: str = "", dx: str = ""
) -> str:
    """Write header and samples of a planned record.

    Args:
        root (`pathlib.Path`): folder of the release.
        folder (`str`): folder below it.
        ecg (`Ecg`): the record.
        signal (array): (samples, 12) int16.
        style (`str`): `"2020"` or `"2021"`, how the Challenge of that year spells headers.
        start (`str`, *optional*): time and date in the record line.
        dx (`str`, *optional*): text of `Dx`; default: the codes with commas between them.

    Returns:
        `str`: the file of the samples, relative to `root`.
    """
    form, mark = _STYLES[style]
    fields = {
        "Age": "NaN" if ecg.age is None else ecg.age,
        "Sex": (ecg.sex or "unknown").capitalize(),
        "Dx": dx or ",".join(map(str, ecg.codes)),
        "Rx": "Unknown",
        "Hx": "Unknown",
        "Sx": "Unknown",
    }
    comments = [f"{mark}{key}: {value}" for key, value in fields.items()]
    write_wfdb_mat(root / folder / ecg.name, signal, 500, comments, form=form, start=start)
    return f"{folder}/{ecg.name}.mat"


def expected(ecg: Ecg, signal: NDArray[np.int16], file: str, **values: object) -> Expected:
    """Tell what a correct reader finds in a planned record.

    Args:
        ecg (`Ecg`): the record.
        signal (array): (samples, 12) int16.
        file (`str`): the file of the samples, relative to the root.
        values: further values.

    Returns:
        `Expected`: with `age`, `sex`, `sampling_rate`, `num_samples`, `first_sample` (12 values, mV, NaN where
        invalid), `codes` (text), `duplicate_of`, `flat_leads`, `invalid_leads` and `file`.
    """
    first = np.where(signal[0] == -32768, np.nan, signal[0] / 1000.0)
    return Expected(
        ecg.name,
        None,
        ecg.copy_of or ecg.name,
        tuple(CLASSES[name] for name in ecg.classes),
        {
            "age": None if ecg.age is None else float(ecg.age),
            "sex": ecg.sex,
            "sampling_rate": 500.0,
            "num_samples": len(signal),
            "first_sample": tuple(first.tolist()),
            "codes": tuple(map(str, ecg.codes)),
            "duplicate_of": ecg.copy_of,
            "flat_leads": tuple(lead for lead, mark in ecg.marks.items() if mark == "flat"),
            "invalid_leads": tuple(lead for lead, mark in ecg.marks.items() if mark == "invalid"),
            "file": file,
            **values,
        },
    )


def write_benchmd(
    path: Path, table: str, folder: str, records: Iterable[tuple[Ecg, int]], seed: int
) -> dict[str, dict[str, object]]:
    """Write BenchMD's list of some records.

    The single label is BenchMD's: the legacy generator, seeded with the position of the record, draws one of the
    positive classes, or one of all seven where its table has none.

    Args:
        path (`pathlib.Path`): the file.
        table (`str`): see `plan`.
        folder (`str`): folder in the path of the records.
        records: records with their positions in the whole release.
        seed (`int`): seed of the splits.

    Returns:
        `dict`: by record name `benchmd_split`, `benchmd_classes` and `benchmd_label`.
    """
    of_code: dict[int, tuple[str, ...]] = {code: (name,) for name, codes in _CODES[table].items() for code in codes}
    of_code.update(_BENCHMD[table])
    rows: list[list[object]] = [["", "Unnamed: 0", "file_name", *BENCHMD_ORDER, "patient", "split", "label"]]
    values: dict[str, dict[str, object]] = {}
    random = rng(seed, table, "benchmd")
    for ecg, at in records:
        found = {name for code in ecg.codes for name in of_code[code]}
        hot = [int(name in found) for name in BENCHMD_ORDER]
        label = int(np.random.RandomState(at).choice(np.flatnonzero(hot) if any(hot) else np.arange(7)))
        split = "train" if random.random() < 0.8 else "val"
        values[ecg.name] = {
            "benchmd_split": split,
            "benchmd_classes": tuple(name for name in BENCHMD_ORDER if name in found),
            "benchmd_label": BENCHMD_ORDER[label],
        }
        rows.append([at, at, f"/home/ubuntu/raw/ecg/{folder}/{ecg.name}.hea", *hot, ecg.name, split, label])
    write_csv(path, rows)
    return values
