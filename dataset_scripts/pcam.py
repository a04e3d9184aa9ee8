"""PatchCamelyon: 327,680 patches of lymph nodes, with or without metastasis in the centre, by Veeling et al., 2018.

Features: RGB of 96 x 96 px at 10x (0.97 µm per pixel) in HDF5 files; slide and place of each patch from the tables.
Classes: whether the central 32 x 32 px hold tumor; tumor further out does not count (`tumor_patch` has it).
Splits: the publisher's, 262,144 / 32,768 / 32,768, of different slides of Camelyon16.
Licence: CC0-1.0. Cite: arXiv 1806.03962.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import CorruptFileError, LayoutError, SchemaError
from climb_hf.readers.hdf5 import read_hdf5_array, read_hdf5_row
from climb_hf.readers.image import encode_image, resize_image
from climb_hf.readers.masks import encode_mask
from climb_hf.readers.tables import find_table, read_csv_rows, to_bool, to_int
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

FILE = "camelyonpatch_level_2_split_{}_{}"
SPLITS = {"train": "train", "valid": "validation", "test": "test"}  # the publisher's word -> ours
COLUMNS = ("coord_y", "coord_x", "tumor_patch", "center_tumor_patch", "wsi")
SHAPE = (96, 96, 3)


class Pcam(Source):
    """PatchCamelyon."""

    name = "pcam"
    title = "PatchCamelyon (PCam)"
    homepage = "https://github.com/basveeling/pcam"
    citation = (
        "@inproceedings{veeling2018pcam, title={Rotation Equivariant {CNN}s for Digital Pathology}, author={Veeling, "
        "Bastiaan S. and Linmans, Jasper and Winkens, Jim and Cohen, Taco and Welling, Max}, booktitle={Medical Image "
        "Computing and Computer Assisted Intervention}, year={2018}, doi={10.1007/978-3-030-00934-2_24}}"
    )
    license = "CC0-1.0"
    license_note = "Derived from Camelyon16, also CC0."
    redistributable = True
    access = "open"
    how_to_get = (
        "Download the files `camelyonpatch_level_2_split_*` (8 GB) from https://zenodo.org/records/2546921.",
        "Unpack them with `gunzip *.gz`, or leave that to the first build, which unpacks them once into the cache.",
        "Pass the folder that holds them. Without the three `*_meta.csv` slides are unknown. Reading needs "
        "`pip install 'climb-hf[hdf5]'`.",
    )
    modality = "Tissues"
    family = "image"
    domains = ("Pathology", "Oncology")
    tasks = ("Classification",)
    published_splits = {"train": 262144, "validation": 32768, "test": 32768}
    cautions = (
        "Patches overlap and some are identical, within a split and perhaps between slides; `climb audit` finds them.",
        "Kaggle's `histopathologic-cancer-detection` is a re-release of these patches in other splits: never train on "
        "one and test on the other.",
        "Without the `*_meta.csv` every patch is a group of its own, so `validation=` carves patches, not slides.",
    )
    benchmark = "openpmc"
    zero_shot_names = ("lymph node", "lymph node containing metastatic tumor tissue")
    prompts_end_with_stop = False
    fingerprint_patterns = (f"{FILE.format('*', '*')}",)
    root_markers = (f"{FILE.format('*', 'y')}.h5*",)

    def find_root(self, data_dir: Path) -> Path:
        """Return the folder of the files; the Kaggle competition's release is refused by name."""
        if next((data_dir.glob("train_labels.csv")), None) and not next(data_dir.rglob(self.root_markers[0]), None):
            raise LayoutError(
                f"{self.name}: expected `{FILE.format('train', 'y')}.h5`, found `train_labels.csv`: that is Kaggle's "
                f"`histopathologic-cancer-detection`, with other splits. {self.how_to_get[0]}"
            )
        return super().find_root(data_dir)

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """Read labels and tables of each split; a row's number is its place in the three files."""
        for word, split in SPLITS.items():
            labels = _file(root, word, "y")
            pictures = _file(root, word, "x") or f"{FILE.format(word, 'x')}.h5"
            if labels is None:
                if (root / pictures).is_file():
                    yield LeftOut(pictures, "file of pictures without its file of labels")
                continue
            values = read_hdf5_array(root / labels, "y").reshape(-1).tolist()
            about = self._about(root, word, len(values))
            mask = _file(root, word, "mask")
            for row, (value, facts) in enumerate(zip(values, about, strict=True)):
                record = f"{word}_{row:06d}"
                if facts.get("center_tumor_patch", bool(value)) != bool(value):
                    reason = (
                        f"{self.name}: expected `center_tumor_patch` to be the label {value}, row {row} disagrees."
                    )
                    yield Skipped(record, f"{FILE.format(word, 'meta')}.csv", reason, "SchemaError")
                    continue
                yield Record(
                    id=record,
                    group=facts.get("wsi") or record,
                    split=split,
                    raw_labels=(str(value),),
                    files=(pictures,) if mask is None else (pictures, mask),
                    metadata={"index": row, **facts},
                )

    def _about(self, root: Path, word: str, count: int) -> list[dict[str, Any]]:
        """Return what the table of a split says of each patch; nothing where there is no table."""
        path = root / f"{FILE.format(word, 'meta')}.csv"
        if find_table(path) is None:
            return [{}] * count
        rows = [
            {
                **{name: to_int(row[name]) for name in ("coord_y", "coord_x")},
                **{name: to_bool(row[name]) for name in ("tumor_patch", "center_tumor_patch")},
                "wsi": row["wsi"],
            }
            for row in read_csv_rows(path, required=COLUMNS)
        ]
        if len(rows) != count:
            raise SchemaError(
                f"{self.name}: `{path.name}` has {len(rows):,} rows, but `{FILE.format(word, 'y')}` {count:,} labels; "
                "they go together row by row. Take both from the same release."
            )
        return rows

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Read the row of the patch, and of its mask where a mirror has them."""
        row = (record.metadata or {})["index"]
        picture = read_hdf5_row(root / record.files[0], "x", row)
        if picture.shape != SHAPE or picture.dtype != "uint8":
            raise CorruptFileError(
                f"`{record.files[0]}`: expected rows of {SHAPE} uint8, found {picture.shape} {picture.dtype}."
            )
        columns: dict[str, Any] = {}
        for file in record.files[1:]:
            inside = read_hdf5_row(root / file, "mask", row).reshape(SHAPE[:2]) > 0
            columns["mask"] = encode_mask(inside, options.image_size)
        if options.image_size is not None:
            picture = resize_image(picture, options.image_size)
        return {"image": {"bytes": encode_image(picture), "path": None}, **columns}


def _file(root: Path, word: str, kind: str) -> str | None:
    """Return the name of an HDF5 file of a split, unpacked or not."""
    names = (f"{FILE.format(word, kind)}.h5", f"{FILE.format(word, kind)}.h5.gz")
    return next((name for name in names if (root / name).is_file()), None)
