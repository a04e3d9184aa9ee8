"""What the eleven two-dimensional sets of MedMNIST+ share: one `.npz` file per set and size, by Yang et al., 2023.

Features: uint8 pictures of 28, 64, 128 or 224 px (`size=`), grey (N, S, S) or RGB (N, S, S, 3), the same samples in
the same order at every size. Classes: `labels[i, 0]`. Splits: the publisher's, stored in the names of the six arrays.
No patient data and no patient ids: the group of a record is the record itself. The files are deflated: pictures are
decompressed one after the other, never the whole array. The MD5 of the file is compared once per build or stream
(pathmnist at 224 px has over 10 GB: half a minute): another one is a warning, with `verify="full"` an error.
Cite: doi 10.1038/s41597-022-01721-8 and the paper of the original data (https://medmnist.com).
"""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from climb_hf.errors import CorruptFileError, LayoutError, OptionError, SchemaError
from climb_hf.readers.duplicates import file_digest
from climb_hf.readers.integrity import quick_check
from climb_hf.readers.marker import is_synthetic
from climb_hf.readers.npz import open_npz, read_npz_array, read_npz_row
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

logger = logging.getLogger(__name__)
SIZES = (224, 128, 64, 28)
SPLITS = {"train": "train", "val": "validation", "test": "test"}
RECORD = "https://zenodo.org/records/10519652"


def file_name(flag: str, size: int) -> str:
    """Return the name of a set's file: size 28 has no suffix."""
    return f"{flag}.npz" if size == 28 else f"{flag}_{size}.npz"


class MedMnist(Source):
    """Base of the sets; a subclass adds what is its own."""

    homepage = RECORD
    citation = (
        "@article{yang2023medmnist, title={MedMNIST v2: a large-scale lightweight benchmark for 2D and 3D biomedical "
        "image classification}, author={Yang, Jiancheng and Shi, Rui and Wei, Donglai and Liu, Zequan and Zhao, Lin "
        "and Ke, Bilian and Pfister, Hanspeter and Ni, Bingbing}, journal={Scientific Data}, volume={10}, "
        "number={41}, year={2023}, doi={10.1038/s41597-022-01721-8}}"
    )
    license = "CC-BY-4.0"
    redistributable = True
    access = "open"
    family = "image"
    benchmark = "openpmc"
    prompts_end_with_stop = True
    extra_options: ClassVar[Mapping[str, Any]] = {"size": 224}
    #: Colour channels: 1 or 3.
    n_channels: ClassVar[int]
    #: MD5 of the file of each size.
    md5: ClassVar[Mapping[int, str]]
    #: Train, val and test counts of a release that was replaced, if there is one.
    replaced_counts: ClassVar[tuple[int, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        files = tuple(file_name(cls.name, size) for size in SIZES)
        cls.root_markers = cls.fingerprint_patterns = files
        cls.how_to_get = (
            f"Download `{files[0]}` (or `{'`, `'.join(files[1:])}` for `size=128`, `64`, `28`) from {RECORD} "
            "(no account needed), or take the file that the Python package `medmnist` left in `~/.medmnist`.",
            "Pass the folder that holds it; the file stays as it is, its MD5 is compared with the published one.",
        )

    def check_options(self, options: Options) -> None:
        """Refuse other sizes than the four published ones."""
        super().check_options(options)
        if options["size"] not in SIZES or isinstance(options["size"], bool):
            raise OptionError(f"{self.name}: `size` must be one of {list(SIZES)}, got {options['size']!r}.")

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """List the pictures in the order of the arrays, train, val, test, from the arrays' heads and the labels."""
        size = options["size"]
        file = file_name(self.name, size)
        path = root / file
        if not path.is_file():
            raise LayoutError(
                f"{self.name}: `size={size}` needs `{file}`, found {self._present(root)} in `{root}`. Download it "
                f"with `climb download {self.name} --via zenodo_{size}`, or pass the `size` of a file that is there."
            )
        labels = self._labels(path, size)
        if options.verify != "none" and not is_synthetic(path):
            self._check_md5(path, size, is_error=options.verify == "full")
        names = self.classes
        for split in SPLITS:
            for number, label in enumerate(labels[split]):
                metadata = {"flag": self.name, "size": size, "split": split, "index": number, "label": label}
                metadata["label_name"] = names[label] if label < len(names) else None
                yield Record(
                    id=f"{split}/{number}",
                    group=f"{split}/{number}",
                    split=SPLITS[split],
                    raw_labels=(str(label),),
                    files=(file,),
                    metadata=metadata,
                )

    def _present(self, root: Path) -> str:
        return ", ".join(f"`{name}`" for name in self.root_markers if (root / name).is_file()) or "none"

    def _labels(self, path: Path, size: int) -> dict[str, list[int]]:
        """Return the labels of each split, once all six arrays have the shapes they should have."""
        quick_check(path)
        members = open_npz(path)
        picture = (size, size) if self.n_channels == 1 else (size, size, self.n_channels)
        labels = {}
        for split in SPLITS:
            images, marks = members.get(f"{split}_images"), members.get(f"{split}_labels")
            if images is None or marks is None:
                raise SchemaError(
                    f"{self.name}: `{path}` must hold `{split}_images` and `{split}_labels`, found {sorted(members)}. "
                    f"Download `{path.name}` again from {RECORD}."
                )
            count, is_byte = images.header.shape[0], images.header.dtype == "uint8" == marks.header.dtype
            if images.header.shape[1:] != picture or marks.header.shape not in ((count, 1), (count,)) or not is_byte:
                raise SchemaError(
                    f"{self.name}: `{path}` must hold `{split}` pictures (N, {', '.join(map(str, picture))}) and "
                    f"labels (N, 1) of uint8, found {images.header.shape} {images.header.dtype} and "
                    f"{marks.header.shape} {marks.header.dtype}. Check that it is the file of `size={size}`."
                )
            labels[split] = [int(label) for label in read_npz_array(path, f"{split}_labels").reshape(-1)]
        if tuple(map(len, labels.values())) == self.replaced_counts:
            raise LayoutError(
                f"{self.name}: `{path}` is the file of MedMNIST v2.0 to v2.2.3 ({self.replaced_counts} pictures, "
                f"blank ones among them), which v2.2.4 replaced. Download `{path.name}` from {RECORD}."
            )
        return labels

    def _check_md5(self, path: Path, size: int, *, is_error: bool) -> None:
        if (found := file_digest(path, "md5")) != self.md5[size]:
            text = (
                f"{self.name}: `{path}` has the MD5 {found}, published is {self.md5[size]}: the download is damaged, "
                f"or this is a sample or an altered copy (some are undersampled). Download it again from {RECORD}"
            )
            if is_error:
                raise CorruptFileError(f"{text}; `verify='quick'` loads it with this as a warning.")
            logger.warning("%s.", text)

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Return one picture as PNG, resized if `image_size` is given; the rest of the array is not loaded."""
        from climb_hf.readers.image import encode_image, resize_image

        place = record.metadata or {}
        pixels = read_npz_row(root / record.files[0], f"{place['split']}_images", place["index"])
        if options.image_size is not None:
            pixels = resize_image(pixels, options.image_size)
        return {"image": {"bytes": encode_image(pixels, format="PNG"), "path": None}}
