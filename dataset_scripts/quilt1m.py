"""Quilt-1M: 1,017,712 histopathology pictures with captions, of lectures, tweets and articles (Ikezogwo et al., 2023).

Features: `image` (any size, or 512 x 512 in the resized release), `text`, the caption; sub-pathology, magnification.
Classes: none.
Splits: the column `split`; models are compared on `val`, here `validation`, 13,559 pairs. By image: a train row whose
image `val` has too is left out.
Licence: for research, not to be passed on. Cite: arXiv 2306.11207.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import LayoutError, OptionError
from climb_hf.readers import tables
from climb_hf.readers.literals import to_words
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

TABLES = ("quilt_1M_lookup.csv", "quilt_1M_entries.csv")
PARTS = ("quilt_1m_train.csv", "quilt_1m_val.csv")  # what other code derives: one table per split
FOLDERS = ("quilt_1m", "images")
SUBSETS = ("quilt", "openpath", "pubmed", "laion")
#: Names of choices of subsets; the second has no picture that may stand in PubMed or LAION pretraining data.
CHOICES = {"all": SUBSETS, "no_pubmed_no_laion": SUBSETS[:2]}
SPLITS = {"train": "train", "val": "validation"}
REQUIRED = ("caption", "image_path", "subset", "split")


class Quilt1M(Source):
    """Quilt-1M."""

    name = "quilt1m"
    title = "Quilt-1M: histopathology pictures with captions"
    homepage = "https://quilt1m.github.io"
    citation = (
        "@inproceedings{ikezogwo2023quilt, title={Quilt-1M: One Million Image-Text Pairs for Histopathology}, "
        "author={Ikezogwo, Wisdom and others}, booktitle={NeurIPS}, year={2023}}"
    )
    license = "LicenseRef-Quilt-1M-research"
    license_note = (
        "Research only; pictures and captions come from YouTube, Twitter, PubMed and LAION and may not be passed on. "
        "Sister sets of the authors carry CC-BY-NC-ND-3.0."
    )
    redistributable = False
    access = "application"
    how_to_get = (
        "Ask for access: Zenodo record 8239942 (all pictures 512 x 512, 36 GB), or the form at "
        "https://quilt1m.github.io (full size, 110 GB).",
        "Unpack every `images_part_*.zip`, which gives `quilt_1m/`, beside `quilt_1M_lookup.csv`; pass that folder.",
    )
    modality = "Tissues"
    family = "text-image"
    domains = ("Pathology",)
    tasks = ("Retrieval",)
    benchmark = "openpmc"
    published_splits = {"train": 1004153, "validation": 13559}
    evaluation_split = "validation"
    cautions = (
        "An image may have several captions: where only the same row counts as found, the others count as errors.",
        "Some pictures of the release are unreadable or absent; they are left out and counted: a smaller gallery.",
        "`val` has 13,559 rows over all subsets, 11,559 without pubmed; published runs differ in what they take.",
        "Slides and drawings are in the release; where the table has `not_histology`, `drop_not_histology=True` "
        "leaves them out.",
        "Captions are corrected speech recognition, tweets and figure captions, not reports.",
    )
    #: `subsets`: a name of `CHOICES`, or names of subsets as a list or joined by `+`.
    extra_options = {"subsets": "all", "drop_not_histology": False}
    fingerprint_patterns = (*TABLES, *PARTS, *FOLDERS)
    root_markers = (*TABLES, *PARTS)

    def check_options(self, options: Options) -> None:
        """Check the own option too."""
        super().check_options(options)
        if not self._subsets(options) or not set(self._subsets(options)) <= set(SUBSETS):
            raise OptionError(
                f"{self.name}: `subsets` must be one of {list(CHOICES)} or some of {list(SUBSETS)}, got "
                f"{options['subsets']!r}."
            )

    @staticmethod
    def _subsets(options: Options) -> tuple[str, ...]:
        chosen = options["subsets"]
        return CHOICES.get(chosen, tuple(chosen.split("+"))) if isinstance(chosen, str) else tuple(chosen)

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """Read the table twice: once for the images of `val`, then row by row in its order."""
        tables_there = [name for name in (*TABLES, *PARTS) if (root / name).is_file()]
        found = tables_there[:1] if tables_there[0] in TABLES else tables_there
        folder = next((name for name in FOLDERS if (root / name).is_dir()), "")
        base = f"{folder}/" if folder else ""
        subsets, known, listed = self._subsets(options), dict[str, Any](), set[str]()
        there = None if options.verify == "none" else {path.name for path in (root / folder).iterdir()}
        held_out, is_numbered = _survey([root / name for name in found])
        for name in found:
            for place, row in enumerate(_rows(root / name)):
                id_ = _id(row, name, None if is_numbered else place)
                listed.add(row["image_path"])
                is_drawing = tables.to_bool(row.get("not_histology", ""))
                if row["split"] not in SPLITS or row["subset"] not in SUBSETS:
                    reason = f"expected a split of {list(SPLITS)} and a subset of {list(SUBSETS)}, found "
                    yield Skipped(id_, name, f"{reason}{row['split']!r}, {row['subset']!r}.", "SchemaError")
                elif row["subset"] not in subsets:
                    yield LeftOut(id_, "row of a subset that was not asked for")
                elif not row["caption"].strip():
                    yield LeftOut(id_, "row with an empty caption")
                elif row["split"] == "train" and row["image_path"] in held_out:
                    yield LeftOut(id_, "train row of an image that `val` has too")
                elif is_drawing and options["drop_not_histology"]:
                    yield LeftOut(id_, "row marked as no histology (`drop_not_histology=True`)")
                elif there is not None and row["image_path"] not in there:
                    yield LeftOut(id_, "row whose picture is not there: some of the release, or a partial download")
                else:
                    yield _record(id_, row, base, is_drawing, known)
        if not folder and not any((root / file).is_file() for file in listed):
            raise LayoutError(f"{self.name}: no folder {list(FOLDERS)} in `{root}`. Unpack `images_part_*.zip`.")
        for file in sorted(there - listed) if there and folder else ():
            if file.lower().endswith((".jpg", ".png")):
                yield LeftOut(base + file, "picture that no row names")


def _rows(path: Path) -> Iterator[dict[str, str]]:
    return tables.read_csv_rows(path, required=REQUIRED, longest_cell=1 << 24)  # entity lists are long


def _id(row: dict[str, str], table: str, place: int | None) -> str:
    """Return the row's index number, or its place, behind its split where that has a table of its own."""
    number = row.get("Unnamed: 0") or row.get("") or "0"  # "Unnamed: 0": pandas wrote the copy
    return f"{'' if table in TABLES else row['split'] + '-'}{number if place is None else place}"


def _survey(files: list[Path]) -> tuple[set[str], bool]:
    """Return the images of `val`, and whether index numbers tell the rows apart: joined tables may count anew."""
    held_out, ids, n_rows = set[str](), set[str](), 0
    for row in (row for file in files for row in _rows(file)):
        n_rows += 1
        ids.add(_id(row, files[0].name, None))
        if row["split"] == "val":
            held_out.add(row["image_path"])
    return held_out, len(ids) == n_rows


def _record(id_: str, row: dict[str, str], base: str, is_drawing: bool | None, known: dict[str, Any]) -> Record:
    cell, file = row.get("pathology", ""), row["image_path"]
    if cell not in known:
        known[cell] = to_words(cell)
    numbers = {key: tables.to_float(row.get(key, ""), strict=False) for key in ("magnification", "height", "width")}
    metadata = {"subset": row["subset"], "pathology": known[cell], **numbers, "not_histology": is_drawing}
    metadata["single_wsi"] = tables.to_bool(row.get("single_wsi", ""))
    split, inputs = SPLITS[row["split"]], {"text": row["caption"]}
    return Record(id=id_, group=file, split=split, files=(base + file,), inputs=inputs, metadata=metadata)
