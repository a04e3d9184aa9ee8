"""Synthetic raw copy of PAD-UFES-20: drawn skin photographs and the metadata table.

Every photograph is drawn and every row is made up; none comes from a patient. On a skin background, MEL is a large
uneven black-blue patch, NEV a small round brown spot, BCC a pink nodule with a bright rim and a dark centre, ACK
several rough red spots, SCC a red patch with a yellow crust, SEK a grey-brown plaque with dark dots.

Oddities of the release that it writes:

* `metadata.csv` with the publisher's 26 columns, a third of the rows sparse (blank clinical block), `UNK` beside
  blanks, `BRASIL` beside `BRAZIL`, `2.0` for skin types, `img_id` with `.png`;
* PNG of mode RGBA and RGB, square and not, spread over three folders that are no split; the table's order is another;
* several images per patient, patients with several diagnoses, a `lesion_id` that two patients share;
* byte-identical pairs within one patient under two lesion ids, the first pair with contradictory diagnoses
  (`Expected.values["duplicate_of"]` names the copy that the table lists first);
* `.DS_Store` files.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.miniatures._common import (
    Expected,
    Floats,
    check_choice,
    check_count,
    ellipse,
    grid,
    rng,
    save_image,
    smooth_noise,
    to_uint8,
    write_bytes,
    write_csv,
)

__all__ = ["make"]

_FOLDERS = {
    "mendeley": "images/imgs_part_{part}",
    "unzipped": "imgs_part_{part}",
    "kaggle": "imgs_part_{part}/imgs_part_{part}",
    "flat": "images",
    "openpmc": "Dataset",
}
_CLASSES = {  # `diagnostic` -> Table 7
    "MEL": "Melanoma (MEL)",
    "NEV": "Nevus (NV)",
    "BCC": "Basal Cell Carcinoma (BCC)",
    "ACK": "Actinic Keratosis/Intraepithelial Carcinoma (AKIEC)",
    "SCC": "Actinic Keratosis/Intraepithelial Carcinoma (AKIEC)",
    "SEK": "Other (OTHER)",
}
_COLUMNS = (
    "patient_id,lesion_id,smoke,drink,background_father,background_mother,age,pesticide,gender,skin_cancer_history,"
    "cancer_history,has_piped_water,has_sewage_system,fitspatrick,region,diameter_1,diameter_2,diagnostic,itch,grew,"
    "hurt,changed,bleed,elevation,img_id,biopsed"
)
_HABITS = "smoke,drink,pesticide,skin_cancer_history,cancer_history,has_piped_water,has_sewage_system"
_CLINICAL = f"{_HABITS},background_father,background_mother,gender,fitspatrick,diameter_1,diameter_2"  # blank together
_COUNTRIES = ("POMERANIA", "ITALY", "GERMANY", "BRAZIL", "BRASIL", "UNK", "PORTUGAL")
_REGIONS = ("ARM", "NOSE", "FACE", "CHEST", "BACK", "NECK", "FOREARM", "HAND", "EAR", "THIGH", "LIP", "SCALP")
_SIZES = ((128, 128), (160, 160), (128, 128), (112, 150), (144, 144), (170, 120))


def make(root: Path, n: int = 32, seed: int = 0, *, layout: str = "mendeley") -> list[Expected]:
    """Write a synthetic PAD-UFES-20 folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of images, copies included, at least 8.
        seed (`int`, *optional*, defaults to `0`): seed of pictures and rows.
        layout (`str`, *optional*, defaults to `"mendeley"`): `"mendeley"` (`images/imgs_part_1/` …), `"unzipped"`
            (`imgs_part_1/` …), `"kaggle"` (`imgs_part_1/imgs_part_1/` …), `"flat"` (`images/`) or `"openpmc"`
            (`Dataset/`).

    Returns:
        `list[Expected]`: in the order of the table, `split` is `None`; `values`: `age`, `sex` (or `None`),
        `raw_labels` (the six-class code), `duplicate_of`, `lesion_id`, `size` (width, height), `mode`.

    Raises:
        OptionError: an option out of range.
    """
    check_count("pad_ufes_20", n, seed)
    check_choice("pad_ufes_20", "layout", layout, tuple(_FOLDERS))
    random = rng(seed, "pad_ufes_20", "plan")
    images = _plan(n, random)
    columns = _COLUMNS.split(",")
    rows: list[list[object]] = [[*columns]]
    first: dict[int, str] = {}  # number of a picture -> the file that shows it first
    expected = []
    for number in (int(i) for i in random.permutation(n)):
        patient, lesion, code, picture = images[number]
        name = f"PAT_{patient}_{lesion}_{(number * 37 + 11) % 1000}.png"
        row = _row(patient, lesion, code, name, number, seed)
        rows.append([row[column] for column in columns])
        pixels = _photograph(images[picture][2], picture, seed)
        save_image(root / _FOLDERS[layout].format(part=1 + number % 3) / name, pixels, compress_level=3)
        copy_of = first.setdefault(picture, name)
        values: dict[str, object] = {
            "age": float(str(row["age"])),
            "sex": {"MALE": "male", "FEMALE": "female"}.get(str(row["gender"])),
            "raw_labels": (code,),
            "duplicate_of": None if copy_of == name else copy_of,
            "lesion_id": str(lesion),
            "size": (pixels.shape[1], pixels.shape[0]),
            "mode": "RGBA" if pixels.shape[2] == 4 else "RGB",
        }
        expected.append(Expected(name, None, f"PAT_{patient}", (_CLASSES[code],), values))
    write_csv(root / "metadata.csv", rows)
    write_bytes(root / _FOLDERS[layout].format(part=1) / ".DS_Store", b"\x00\x00\x00\x01Bud1" + bytes(64))
    return expected


def _plan(n: int, random: np.random.Generator) -> list[tuple[int, int, str, int]]:
    """(patient, lesion, diagnosis, number of its picture) of every image; copies share the number."""
    codes = list(_CLASSES)
    images: list[tuple[int, int, str, int]] = []
    patient, left = 7, 0
    for number in range(n):
        shares = number % 9 == 7  # its lesion id is that of the image before, of another patient
        if left == 0 or shares:
            patient += int(random.integers(1, 5))
            left = int(random.choice((1, 1, 1, 2, 3, 4)))
        left -= 1
        images.append((patient, 1000 + number - shares, codes[number % 6], number))
    for number in range(3, n, 96):  # a copy of the picture before, one patient, two lesions
        before = images[number - 1]
        code = images[number][2] if number == 3 else before[2]
        images[number] = (before[0], before[1] + 50_000, code, number - 1)
    return images


def _row(patient: int, lesion: int, code: str, name: str, number: int, seed: int) -> dict[str, object]:
    """The image's row of `metadata.csv`, cells as they are written."""
    person = rng(seed, "pad_ufes_20", "patient", patient)
    random = rng(seed, "pad_ufes_20", "row", number)
    cancer = code in ("MEL", "BCC", "SCC")
    row: dict[str, object] = {
        "patient_id": f"PAT_{patient}",
        "lesion_id": lesion,
        "background_father": _COUNTRIES[person.integers(len(_COUNTRIES))],
        "background_mother": _COUNTRIES[person.integers(len(_COUNTRIES))],
        "age": int(person.integers(6, 95)),
        "gender": ("MALE", "FEMALE")[person.integers(2)],
        "fitspatrick": f"{person.integers(1, 7)}.0",
        "region": _REGIONS[random.integers(len(_REGIONS))],
        "diameter_1": f"{random.integers(2, 30)}.0",
        "diameter_2": f"{random.integers(2, 20)}.0",
        "diagnostic": code,
        "img_id": name,
        "biopsed": cancer or bool(random.random() < 0.3),
    }
    for column in _HABITS.split(","):
        row[column] = bool(person.random() < 0.5)
    for column in ("itch", "grew", "hurt", "changed", "bleed", "elevation"):
        row[column] = ("True", "False", "False", "UNK")[random.integers(4)]
    if not cancer and random.random() < 0.66:
        row |= dict.fromkeys(_CLINICAL.split(","))
    return row


def _photograph(code: str, number: int, seed: int) -> NDArray[np.uint8]:
    """A drawn photograph of (height, width, 3 or 4) uint8 with the lesion of its diagnosis."""
    random = rng(seed, "pad_ufes_20", "picture", number)
    height, width = _SIZES[number % len(_SIZES)]
    y, x = grid(height, width, scale=random.uniform(0.9, 1.1))
    tone = np.array([0.86, 0.68, 0.58]) * random.uniform(0.8, 1.1) + random.uniform(-0.03, 0.03, 3)
    cloud = smooth_noise(random, height, width, 5)
    picture = tone + 0.04 * cloud[..., None] + random.normal(0, 0.015, (height, width, 1))
    cy, cx = random.uniform(-0.2, 0.2, 2)
    turn = random.uniform(0, np.pi)
    for colour, mask in _LESIONS[code](random, y - cy, x - cx, turn):
        picture = picture + mask[..., None] * (np.array(colour) - picture)
    for _ in range(int(random.integers(0, 4))):  # hairs
        slope, at = random.uniform(-1.5, 1.5), random.uniform(-1, 1)
        picture = picture * (1 - 0.5 * np.exp(-(((y - slope * x - at) / 0.02) ** 2)))[..., None]
    pixels = to_uint8(picture * (1.0 - random.uniform(0, 0.15) * (y * y + x * x))[..., None])
    if number % 8 < 5:
        pixels = np.concatenate([pixels, np.full((height, width, 1), 255, np.uint8)], axis=2)
    return pixels


_Layers = list[tuple[tuple[float, float, float], Floats]]  # colour, mask


def _melanoma(random: np.random.Generator, y: Floats, x: Floats, turn: float) -> _Layers:
    wavy = 0.12 * smooth_noise(random, y.shape[0], y.shape[1], 6)
    whole = ellipse(y + wavy, x - wavy, 0, 0, 0.55, 0.42, angle=turn)
    inner = ellipse(y + wavy, x, 0.12 * np.cos(turn), 0.12 * np.sin(turn), 0.25, 0.2)
    return [((0.16, 0.10, 0.09), whole), ((0.15, 0.16, 0.26), inner)]


def _nevus(random: np.random.Generator, y: Floats, x: Floats, turn: float) -> _Layers:
    radius = random.uniform(0.16, 0.22)
    return [((0.42, 0.25, 0.15), ellipse(y, x, 0, 0, radius, radius * 1.1, angle=turn, edge=0.3))]


def _basal(random: np.random.Generator, y: Floats, x: Floats, turn: float) -> _Layers:
    radius = random.uniform(0.35, 0.42)
    rim = ellipse(y, x, 0, 0, radius, radius, edge=0.15)
    return [
        ((0.98, 0.82, 0.84), rim),
        ((0.88, 0.52, 0.56), ellipse(y, x, 0, 0, radius * 0.75, radius * 0.75, edge=0.2)),
        ((0.35, 0.10, 0.10), ellipse(y, x, 0, 0, radius * 0.35, radius * 0.3, angle=turn, edge=0.3)),
    ]


def _actinic(random: np.random.Generator, y: Floats, x: Floats, turn: float) -> _Layers:
    spots = [((0.80, 0.33, 0.28), 0.8 * ellipse(y, x, 0, 0, 0.12, 0.12, edge=0.5))]
    for k in range(5):
        at = turn + k * 2 * np.pi / 5
        spots.append(
            ((0.80, 0.33, 0.28), 0.8 * ellipse(y, x, 0.4 * np.sin(at), 0.4 * np.cos(at), 0.12, 0.14, edge=0.5))
        )
    return spots


def _squamous(random: np.random.Generator, y: Floats, x: Floats, turn: float) -> _Layers:
    wavy = 0.1 * smooth_noise(random, y.shape[0], y.shape[1], 9)
    patch = ellipse(y + wavy, x, 0, 0, 0.5, 0.42, angle=turn, edge=0.3)
    crust = ellipse(y + wavy, x + wavy, 0, 0, 0.26, 0.22, angle=turn, edge=0.3)
    return [((0.72, 0.22, 0.20), patch), ((0.92, 0.80, 0.35), crust)]


def _seborrheic(random: np.random.Generator, y: Floats, x: Floats, turn: float) -> _Layers:
    plaque = ellipse(y, x, 0, 0, 0.48, 0.36, angle=turn, edge=0.05)
    layers: _Layers = [((0.50, 0.43, 0.38), plaque)]
    for dy, dx in random.uniform(-0.24, 0.24, (14, 2)):
        layers.append(((0.22, 0.18, 0.16), ellipse(y, x, dy, dx, 0.045, 0.045, edge=0.4)))
    return layers


_LESIONS = {
    "MEL": _melanoma,
    "NEV": _nevus,
    "BCC": _basal,
    "ACK": _actinic,
    "SCC": _squamous,
    "SEK": _seborrheic,
}
