"""Synthetic raw copy of CheXpert: drawn chest films, `train.csv`, `valid.csv` and the labels of the later test set.

Every film is drawn and every row is made up; none comes from a patient. Each of the 13 findings has a sign of its own
(a large heart, a nodule, a wire …), `No Finding` has none but that of support devices.

Oddities of the release that it writes:

* labels `1.0`, `0.0`, `-1.0` and blank in `train.csv`, only `1.0` and `0.0` in `valid.csv`, integers and other columns
  in `test_labels.csv`; rows without any `1.0`;
* one `Unknown` sex, ages of 0 that mean missing, `AP/PA` blank for laterals and `LL` for one film flagged frontal;
* a study with a lateral film only, `view1_lateral.jpg`; studies of two views;
* the first component of `Path` names the release, whatever the folder is called; the four batch folders of the
  full-size download have spaces and parentheses in their names and no `train/` level.
"""

from pathlib import Path

from climb_hf.miniatures._chest import FINDINGS, draw_findings, film
from climb_hf.miniatures._common import (
    Expected,
    check_choice,
    check_count,
    rng,
    save_image,
    write_bytes,
    write_csv,
    write_text,
)

__all__ = ["make"]

_HEADER = (
    "No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,"
    "Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)
_COLUMNS = _HEADER.split(",")
_TEST_COLUMNS = [*_COLUMNS[1:], "No Finding"]
_BATCH = "CheXpert-v1.0 batch {}"
_SPLITS = {"train": "train", "valid": "validation", "test": "test"}
_FIRST = {"train": 1, "valid": 64541, "test": 64741}  # number of the first patient
_SIZES = ((128, 106), (106, 128), (120, 120), (128, 112))


def make(root: Path, n: int = 32, seed: int = 0, *, layout: str = "small", test: bool = True) -> list[Expected]:
    """Write a synthetic CheXpert folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of films, at least 8.
        seed (`int`, *optional*, defaults to `0`): seed of films and rows.
        layout (`str`, *optional*, defaults to `"small"`): `"small"` and `"classic"` (`train/`, `valid/`; they differ
            in the first component of `Path`) or `"aimi"` (four batch folders).
        test (`bool`, *optional*, defaults to `True`): also write the later released test set, `test/` and
            `test_labels.csv`; without it its films go to `train`.

    Returns:
        `list[Expected]`: train, valid, test, each in the order of its table; `values`: `age`, `sex`, `view`, `plane`,
        `study_id`, `stated` (finding -> 1.0, 0.0 or -1.0), `uncertain`, `file` (relative path), `size`.

    Raises:
        OptionError: an option out of range.
    """
    check_count("chexpert", n, seed)
    check_choice("chexpert", "layout", layout, ("small", "classic", "aimi"))
    few = max(2, n // 5)
    counts = {"train": n - few - (few if test else 0), "valid": few, "test": few if test else 0}
    tables = root / _BATCH.format("1 (validate & csv)") if layout == "aimi" else root
    expected: list[Expected] = []
    studies = 0
    for folder, count in counts.items():
        if count:
            rows, records = _split(root, folder, count, studies, seed, layout)
            write_csv((root if folder == "test" else tables) / _table(folder), rows)
            studies += len({record.values["study_id"] for record in records})
            expected += records
    if layout == "aimi":
        write_text(tables / "README.md", "Synthetic data in the format of CheXpert. No patient is behind any of it.\n")
        write_csv(tables / "train_cheXbert.csv", [["Path", *_COLUMNS]])
    write_bytes(root / ".DS_Store", b"\x00\x00\x00\x01Bud1" + bytes(64))
    return expected


def _table(folder: str) -> str:
    return "test_labels.csv" if folder == "test" else f"{folder}.csv"


def _split(
    root: Path, folder: str, count: int, number: int, seed: int, layout: str
) -> tuple[list[list[object]], list[Expected]]:
    """Write the films of one table, its studies counted on from `number`; returns its rows and the records."""
    has_sheet = folder != "test"
    columns = _COLUMNS if has_sheet else _TEST_COLUMNS
    rows: list[list[object]] = [["Path", *(["Sex", "Age", "Frontal/Lateral", "AP/PA"] if has_sheet else []), *columns]]
    records: list[Expected] = []
    patient, study = _FIRST[folder], 0
    while len(records) < count:
        views = _views(number, count - len(records))
        stated = draw_findings(number, rng(seed, "chexpert", patient, study))
        if folder != "train":
            stated = {name: max(stated.get(name, 0.0), 0.0) for name in FINDINGS}
        for view in views:
            record = _film(root, folder, patient, study, view, stated, seed, layout)
            records.append(record)
            cells = [stated.get(name) for name in columns]
            prefix = {"small": "CheXpert-v1.0-small/"}.get(layout, "CheXpert-v1.0/") if has_sheet else ""
            sheet = _sheet(record, view) if has_sheet else []
            rows.append([f"{prefix}{record.id}", *sheet, *(cells if has_sheet else [int(c or 0) for c in cells])])
        more = number % 3 == 0 and study == 0
        patient, study, number = *((patient, 1) if more else (patient + 1, 0)), number + 1
    return rows, records


def _views(number: int, left: int) -> list[str]:
    """File names of the views of a study, in the order of the table."""
    if number % 7 == 4:
        return ["view1_lateral.jpg"]
    return ["view1_frontal.jpg", "view2_lateral.jpg"][: min(left, 1 + number % 2)]


def _sheet(record: Expected, view: str) -> list[object]:
    """The four columns between path and labels, as they are written."""
    lateral = "lateral" in view
    sex = {"male": "Male", "female": "Female"}.get(str(record.values["sex"]), "Unknown")
    age = str(record.values["age"] or 0).removesuffix(".0")
    return [sex, age, "Lateral" if lateral else "Frontal", None if lateral else record.values["view"]]


def _film(
    root: Path, folder: str, patient: int, study: int, view: str, stated: dict[str, float], seed: int, layout: str
) -> Expected:
    """Write one film and tell what its row says."""
    name, inside = f"patient{patient:05d}", f"study{study + 1}/{view}"
    person, random = rng(seed, "chexpert", patient), rng(seed, "chexpert", patient, study, view)
    lateral = "lateral" in view
    positive = tuple(f for f in FINDINGS if stated.get(f) == 1.0)
    height, width = _SIZES[int(random.integers(len(_SIZES)))]
    place = folder
    if layout == "aimi" and folder == "train":
        place = _BATCH.format(f"{2 + patient % 3} (train {1 + patient % 3})")
    elif layout == "aimi" and folder == "valid":
        place = f"{_BATCH.format('1 (validate & csv)')}/valid"
    file = f"{place}/{name}/{inside}"
    save_image(root / file, film(positive, height, width, random, lateral=lateral), quality=95)
    age: float | None = float(person.integers(18, 91))
    sex: str | None = ("male", "female")[int(person.integers(2))]
    if folder == "test":
        age = sex = None
    elif patient == 3:
        sex = None
    elif patient == 5:
        age = None
    frontal_view = "LL" if patient == 2 else ("AP", "PA")[patient % 2]
    values: dict[str, object] = {
        "age": age,
        "sex": sex,
        "view": "LATERAL" if lateral else None if folder == "test" else frontal_view,
        "plane": "lateral" if lateral else "frontal",
        "study_id": f"{name}/study{study + 1}",
        "stated": stated,
        "uncertain": tuple(f for f in FINDINGS if stated.get(f) == -1.0),
        "file": file,
        "size": (width, height),
    }
    return Expected(f"{folder}/{name}/{inside}", _SPLITS[folder], name, positive, values)
