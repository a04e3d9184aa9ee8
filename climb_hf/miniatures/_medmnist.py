"""Synthetic files of MedMNIST+: drawn pictures in the publisher's `.npz` form, one maker for its eleven flat sets.

Every picture is drawn; none comes from a patient. A class is a soft spot at a place, of a size and (in colour) of a
hue of its own, on a cloudy ground. What the publisher does is done here:

* one file per set and size, `<flag>.npz` for 28 px and `<flag>_<size>.npz` for 64, 128 and 224, with exactly six
  arrays `train_images`, `train_labels`, `val_images` … in one archive, deflated; as an option stored, as some users
  keep them;
* pictures uint8, (N, S, S) for grey and (N, S, S, 3) for colour sets; labels uint8 of shape (N, 1);
* the same samples in the same order at every size;
* file names and array names are all the tables there are: no ids, no patients.
"""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from climb_hf.errors import OptionError
from climb_hf.miniatures._common import Expected, check_count, ellipse, grid, rng, smooth_noise, to_uint8

__all__ = ["SETS", "make_set"]

_ORGANS = (
    "bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver", "lung-left", "lung-right",
    "pancreas", "spleen",
)  # fmt: skip
#: Channels and class names by label, for each set.
SETS: Mapping[str, tuple[int, tuple[str, ...]]] = {
    "pathmnist": (
        3,
        (
            "adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle", "normal colon mucosa",
            "cancer-associated stroma", "colorectal adenocarcinoma epithelium",
        ),
    ),
    "dermamnist": (
        3,
        (
            "actinic keratoses and intraepithelial carcinoma", "basal cell carcinoma", "benign keratosis-like lesions",
            "dermatofibroma", "melanoma", "melanocytic nevi", "vascular lesions",
        ),
    ),
    "octmnist": (1, ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal")),
    "pneumoniamnist": (1, ("normal", "pneumonia")),
    "retinamnist": (3, ("No apparent retinopathy", "Mild NPDR", "Moderate NPDR", "Severe NPDR", "PDR")),
    "breastmnist": (1, ("malignant", "normal, benign")),
    "bloodmnist": (
        3,
        (
            "basophil", "eosinophil", "erythroblast",
            "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)", "lymphocyte", "monocyte",
            "neutrophil", "platelet",
        ),
    ),
    "tissuemnist": (
        1,
        (
            "Collecting Duct, Connecting Tubule", "Distal Convoluted Tubule", "Glomerular endothelial cells",
            "Interstitial endothelial cells", "Leukocytes", "Podocytes", "Proximal Tubule Segments",
            "Thick Ascending Limb",
        ),
    ),
    "organamnist": (1, _ORGANS),
    "organcmnist": (1, _ORGANS),
    "organsmnist": (1, _ORGANS),
}  # fmt: skip
_SIZES = (28, 64, 128, 224)
_SPLITS = {"train": "train", "val": "validation", "test": "test"}
_DRAWN = 56  # px, enlarged or reduced to the size


def make_set(flag: str, root: Path, n: int, seed: int, *, size: int, stored: bool) -> list[Expected]:
    """Write the synthetic file of a set.

    Args:
        flag (`str`): one of `SETS`.
        root (`pathlib.Path`): folder to write into.
        n (`int`): number of pictures, at least 8; half of them train, a quarter each val and test.
        seed (`int`): seed of the pictures.
        size (`int`): 28, 64, 128 or 224.
        stored (`bool`): leave the arrays uncompressed.

    Returns:
        `list[Expected]`: train, val, test, in the order of the arrays; `values`: `file`, `raw_labels`, `label_name`,
        `index`, `size` (width, height) and `pixels` (the picture).

    Raises:
        OptionError: an option out of range.
    """
    check_count(flag, n, seed)
    if size not in _SIZES or isinstance(size, bool) or not isinstance(stored, bool):
        raise OptionError(
            f"{flag}: expected `size` to be one of {_SIZES} and `stored` to be a boolean, found `{size!r}` and "
            f"`{stored!r}`."
        )
    _, names = SETS[flag]
    places = ("train", "val", "train", "test")
    members: dict[str, list[int]] = {split: [] for split in _SPLITS}
    for number in range(n):  # every class meets every split after four rounds
        members[places[(number // len(names) + number % len(names)) % 4]].append(number)
    file = f"{flag}.npz" if size == 28 else f"{flag}_{size}.npz"
    arrays, expected = {}, []
    for split, numbers in members.items():
        labels = [number % len(names) for number in numbers]
        pictures = [_picture(flag, label, number, seed, size) for label, number in zip(labels, numbers, strict=True)]
        arrays[f"{split}_images"] = np.stack(pictures)
        arrays[f"{split}_labels"] = np.array(labels, np.uint8).reshape(-1, 1)
        for index, (label, pixels) in enumerate(zip(labels, pictures, strict=True)):
            values: dict[str, object] = {
                "file": file, "raw_labels": (str(label),), "label_name": names[label], "index": index,
                "size": (size, size), "pixels": pixels,
            }  # fmt: skip
            key = f"{split}/{index}"
            expected.append(Expected(key, _SPLITS[split], key, (names[label],), values))
    _write_npz(root / file, arrays, stored=stored)
    return expected


def _picture(flag: str, label: int, number: int, seed: int, size: int) -> NDArray[np.uint8]:
    """Draw a picture: (size, size) or (size, size, 3) uint8."""
    n_channels, names = SETS[flag]
    random = rng(seed, flag, "picture", number)
    y, x = grid(_DRAWN, _DRAWN)
    turn = 2 * np.pi * label / len(names)
    cy, cx = 0.5 * np.sin(turn) + random.uniform(-0.06, 0.06), 0.5 * np.cos(turn) + random.uniform(-0.06, 0.06)
    spot = ellipse(y, x, cy, cx, 0.2 + 0.02 * label, 0.3, edge=0.4)
    ground = 0.35 + 0.08 * smooth_noise(random, _DRAWN, _DRAWN, 6) + random.normal(0, 0.01, y.shape)
    if n_channels == 1:
        picture = ground + spot * (0.85 - ground)
    else:
        hue = 0.5 + 0.45 * np.cos(turn + np.array([0.0, 2.1, 4.2]))
        picture = ground[..., None] * np.array([1.2, 0.9, 1.1]) * (1 - spot[..., None]) + spot[..., None] * hue
    drawn = Image.fromarray(to_uint8(picture))
    return np.asarray(drawn.resize((size, size), Image.Resampling.BILINEAR))


def _write_npz(path: Path, arrays: Mapping[str, NDArray[np.uint8]], *, stored: bool) -> None:
    """Write an archive as `numpy.savez` does, with the same bytes every time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    method = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(path, "w", method, compresslevel=None if stored else 1) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, array, allow_pickle=False)
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                stream.write(buffer.getvalue())
