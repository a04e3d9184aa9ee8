"""Figures with captions from what was downloaded: Parquet tables of pictures, and packages of PMC Open Access.

The input is cut into units (a row group of a table; a package), each of which can be read by itself, so that no table
and no collection of packages is ever in memory.
"""

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from climb_hf.build_log import Failure
from climb_hf.errors import AccessError, ClimbError, CorruptFileError, OptionError, SchemaError
from climb_hf.figures.jats import JatsFigure, read_article
from climb_hf.figures.licences import THIRD_PARTY, UNKNOWN, is_reprint, licence_of

__all__ = ["COLUMNS", "Figure", "Unit", "list_units", "read_figures"]

#: Names that columns of published tables have, by what they hold; the first that is there counts.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "image": ("image", "jpg", "image_bytes", "png", "bytes", "figure"),
    "caption": ("caption", "txt", "text", "image_caption", "fig_caption"),
    "id": ("id", "__key__", "image_id", "image_file_name", "file_name", "figure_id"),
    "article": ("article_accession_id", "accession_id", "pmcid", "PMC_ID", "pmc_id", "article_id", "pmid", "article"),
    "license": ("article_license", "license", "image_license", "licence"),
}
_METADATA = ("json", "metadata")
_PACKAGES = (".tar.gz", ".tgz")
_ARTICLES = (".nxml", ".xml")
_PICTURES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")
#: A row group, or a package, that would unpack to more is no collection of figures.
MAX_UNPACKED = 4 << 30
_BATCH_ROWS, _ENDS = 16, 1 << 16


@dataclass(frozen=True)
class Figure:
    """A figure with its caption, not decoded.

    Args:
        id (`str`): id within its article.
        article (`str`): id of the article, the group of all its panels.
        caption (`str`): the caption, `""` where there is none.
        content (`bytes`): the picture file.
        license (`str`): as `climb_hf.figures.licences.licence_of` spells it.
        file (`str`): where it was read from, for messages.
    """

    id: str
    article: str
    caption: str
    content: bytes
    license: str
    file: str


@dataclass(frozen=True)
class Unit:
    """A part of the input that is read by itself.

    Args:
        file (`str`): path relative to `root`.
        root (`str`): folder of the input; does not enter the digest.
        kind (`str`): `"table"`, `"package"` or `"folder"` (a package that was unpacked; `file` is its article).
        group (`int`): row group of a table.
        size (`int`): bytes, about what its panels will take.
        digest (`str`): of the ends of the file and its size.
    """

    file: str
    root: str
    kind: str
    group: int
    size: int
    digest: str

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.root) / self.file

    @property
    def name(self) -> str:
        """Name for messages."""
        return f"{self.file}, row group {self.group}" if self.kind == "table" else self.file

    def identity(self) -> str:
        """What it is, the same on every machine."""
        return f"{self.kind}\0{self.file}\0{self.group}\0{self.size}\0{self.digest}"


def list_units(inputs: Sequence[str | Path]) -> tuple[list[Unit], list[Failure]]:
    """Find the tables and packages in files and folders.

    Args:
        inputs (`Sequence[str or Path]`): files `.parquet`, `.tar.gz`, `.nxml`, or folders of them, nested or not.

    Returns:
        `tuple[list[Unit], list[Failure]]`: in the order of the inputs, then of the paths; and tables that cannot be
        read.

    Raises:
        AccessError: an input does not exist, or nothing in it is a figure collection.
        OptionError: two inputs hold files of the same relative path.
    """
    units: list[Unit] = []
    failures: list[Failure] = []
    seen: dict[str, Path] = {}
    for given in map(Path, inputs):
        if not given.exists():
            raise AccessError(
                f"`{given}` does not exist. Pass Parquet files, PMC packages (.tar.gz), or their folder."
            )
        root = given if given.is_dir() else given.parent
        for path in _files(given):
            name = path.relative_to(root).as_posix()
            if name in seen:
                raise OptionError(
                    f"`{seen[name]}` and `{path}` are both `{name}` in their inputs. Pass the folder above both."
                )
            seen[name] = path
            try:
                units += _units_of(path, name, str(root))
            except CorruptFileError as error:
                failures.append(Failure.of(name, name, error))
    if not seen:
        raise AccessError(
            f"no figures in {', '.join(f'`{given}`' for given in inputs)}: expected Parquet files (.parquet), "
            "packages of PMC Open Access (.tar.gz) or unpacked ones (.nxml beside pictures)."
        )
    return units, failures


def read_figures(unit: Unit, columns: Mapping[str, str] | None = None) -> Iterator[Figure | Failure]:
    """Read the figures of a unit one after the other.

    Args:
        unit (`Unit`): of `list_units`.
        columns (`Mapping[str, str]`, *optional*): columns of a table by what they hold (`image`, `caption`, `id`,
            `article`, `license`), where they have other names than those in `COLUMNS`.

    Yields:
        `Figure`, or a `Failure` for what cannot be read.

    Raises:
        SchemaError: a table without a column of pictures or captions.
    """
    reader = _read_table(unit, columns or {}) if unit.kind == "table" else _read_package(unit)
    try:
        yield from reader
    except SchemaError:
        raise
    except (ClimbError, OSError, ValueError, EOFError, MemoryError) as error:
        reason = _without(str(error) or type(error).__name__, unit.root)
        yield Failure(unit.name, unit.file, type(error).__name__ if isinstance(error, ClimbError) else
                      "CorruptFileError", reason)  # fmt: skip


def _without(text: str, root: str) -> str:
    return text.replace(f"{root}/", "")


def _files(given: Path) -> list[Path]:
    """Files to read, sorted; of a folder with an article only the article stands for it."""
    suffixes = (".parquet", *_PACKAGES, ".nxml")
    if given.is_file():
        return [given] if given.name.lower().endswith((*suffixes, ".xml")) else []
    found = (path for path in sorted(given.rglob("*")) if not path.name.startswith((".", "._")))
    return [path for path in found if path.name.lower().endswith(suffixes) and path.is_file()]


def _units_of(path: Path, name: str, root: str) -> list[Unit]:
    digest, size = _digest(path), path.stat().st_size
    lower = name.lower()
    if lower.endswith(".parquet"):
        return [
            Unit(name, root, "table", group, weight, digest) for group, weight in enumerate(_row_groups(path, name))
        ]
    if lower.endswith(_PACKAGES):
        return [Unit(name, root, "package", 0, size, digest)]
    beside = sum(other.stat().st_size for other in path.parent.iterdir() if other.suffix.lower() in _PICTURES)
    return [Unit(name, root, "folder", 0, size + beside, digest)]


def _row_groups(path: Path, name: str) -> list[int]:
    """Stored bytes of each row group with a row in it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as table:
            groups = [table.metadata.row_group(number) for number in range(table.metadata.num_row_groups)]
            return [
                sum(max(0, group.column(number).total_compressed_size) for number in range(group.num_columns))
                for group in groups
            ]
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CorruptFileError(f"`{name}`: not readable as Parquet ({error}). Fetch it again.") from error


def _digest(path: Path) -> str:
    """Digest size and both ends: they hold the checksum of a gzip file and the footer of a table."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as stream:
        digest.update(stream.read(_ENDS))
        stream.seek(max(0, size - _ENDS))
        digest.update(stream.read(_ENDS))
    return digest.hexdigest()[:32]


def _stem(unit: Unit) -> str:
    """Name for what has none of its own: the path, for files of the same name lie in many folders."""
    suffixes = (suffix for suffix in (*_PACKAGES, *_ARTICLES, ".parquet") if unit.file.lower().endswith(suffix))
    return unit.file[: -len(next(suffixes))]


# ---------------------------------------------------------------------- tables


def _read_table(unit: Unit, columns: Mapping[str, str]) -> Iterator[Figure | Failure]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(unit.path, pre_buffer=False) as table:
        names = _columns(table.schema_arrow.names, columns, unit.file)
        declared = table.metadata.row_group(unit.group).total_byte_size
        if declared > MAX_UNPACKED:
            raise CorruptFileError(
                f"`{unit.name}` declares {declared:,} bytes, more than the {MAX_UNPACKED:,} accepted of a row group. "
                "Write the table with smaller row groups."
            )
        wanted = list(dict.fromkeys(names.values()))
        row = 0
        for batch in table.iter_batches(_BATCH_ROWS, row_groups=[unit.group], columns=wanted):
            for values in batch.to_pylist():
                yield _figure_of(values, names, unit, row)
                row += 1


def _columns(there: Sequence[str], given: Mapping[str, str], file: str) -> dict[str, str]:
    """Choose the column of each thing."""
    if unknown := sorted(set(given) - set(COLUMNS)):
        raise OptionError(f"`columns` names {', '.join(unknown)}; it takes {', '.join(COLUMNS)}.")
    if absent := sorted(name for name in given.values() if name not in there):
        raise SchemaError(f"`{file}` has no column {', '.join(absent)}; it has {', '.join(there)}.")
    found = {key: next((name for name in names if name in there), None) for key, names in COLUMNS.items()}
    found.update(given)
    extra = next((name for name in _METADATA if name in there), None)
    for key in ("image", "caption"):
        if found[key] is None:
            raise SchemaError(
                f"`{file}` has no column with the {key} of a figure; it has {', '.join(there)}. Name it with "
                f"`columns={{'{key}': NAME}}` (`--column {key}=NAME`)."
            )
    return {key: name for key, name in {**found, "metadata": extra}.items() if name is not None}


def _figure_of(values: Mapping[str, Any], names: Mapping[str, str], unit: Unit, row: int) -> Figure | Failure:
    where = f"{unit.name}, row {row}"
    extra = _mapping(values[names["metadata"]]) if "metadata" in names else {}
    content = values[names["image"]]
    content = content.get("bytes") if isinstance(content, Mapping) else content
    name = _string(values.get(names.get("id", ""))) or f"{_stem(unit)}-{unit.group}-{row}"
    if not isinstance(content, bytes) or not content:
        return Failure(name, where, "CorruptFileError", "the row holds no picture: its bytes are not in the table.")
    article = _first(values, names, extra, "article") or name
    caption = _string(values[names["caption"]])
    licence = licence_of(_first(values, names, extra, "license"))
    caption = " ".join(caption.split())
    return Figure(name, article, caption, content, THIRD_PARTY if is_reprint(caption) else licence, where)


def _first(values: Mapping[str, Any], names: Mapping[str, str], extra: Mapping[str, Any], key: str) -> str:
    """Value of a column, else of the row's JSON."""
    own = _string(values.get(names[key])) if key in names else ""
    return own or next((_string(extra[name]) for name in COLUMNS[key] if extra.get(name)), "")


def _mapping(value: Any) -> Mapping[str, Any]:  # noqa: ANN401 - JSON
    if isinstance(value, str | bytes):
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(value)
    return value if isinstance(value, Mapping) else {}


def _string(value: Any) -> str:  # noqa: ANN401 - a cell
    return "" if value is None or isinstance(value, Mapping | list) else str(value).strip()


# ---------------------------------------------------------------------- packages


def _read_package(unit: Unit) -> Iterator[Figure | Failure]:
    if unit.kind == "folder":
        yield from _article_figures(unit.path, unit)
        return
    from climb_hf.access.archives import extract

    with tempfile.TemporaryDirectory(prefix="climb-figures-") as folder:
        wanted = [f"*{suffix}" for kind in (*_ARTICLES, *_PICTURES) for suffix in (kind, kind.upper())]
        written = extract(unit.path, Path(folder), name=unit.file, only=wanted, limit=MAX_UNPACKED)
        articles = sorted(name for name, _ in written if name.lower().endswith(_ARTICLES))
        articles = [name for name in articles if name.lower().endswith(".nxml")] or articles
        if not articles:
            raise CorruptFileError(f"`{unit.file}` holds no article (.nxml). Fetch the package again.")
        for name in articles:
            yield from _article_figures(Path(folder) / name, unit)


def _article_figures(path: Path, unit: Unit) -> Iterator[Figure | Failure]:
    article = read_article(path)
    group = article.id or _stem(unit)
    licence = licence_of(*article.licences)
    pictures: dict[str, Path] = {}
    for picture in sorted(path.parent.iterdir()):
        if picture.suffix.lower() in _PICTURES:
            pictures.setdefault(picture.stem.casefold(), picture)  # .jpeg and .jpg come before .png and .tif
            pictures[picture.name.casefold()] = picture
    used: set[str] = set()
    for number, figure in enumerate(article.figures, 1):
        found = [pictures[key] for file in figure.files if (key := _picture_key(file, pictures)) is not None]
        name = figure.id or f"fig{number}"
        if name in used:
            name = f"{name}-{number}"
        used.add(name)
        if not found:
            if figure.files:
                reason = f"no file of {', '.join(figure.files)} as JPEG, PNG or TIFF."
                yield Failure(f"{group}/{name}", unit.file, "AccessError", reason)
            continue
        # Of the formats of one picture only the first counts: graphics in <alternatives>.
        formats: dict[str, Path] = {}
        for picture in found:
            formats.setdefault(picture.stem.casefold(), picture)
        for part, picture in enumerate(formats.values()):
            yield _package_figure(figure, f"{name}-{part + 1}" if part else name, group, licence, picture, unit)


def _picture_key(file: str, pictures: Mapping[str, Path]) -> str | None:
    name = file.replace("\\", "/").rpartition("/")[2].casefold()
    stem = name.rpartition(".")[0] if name.endswith((*_PICTURES, ".gif", ".eps")) else name
    return next((key for key in (name, stem) if key in pictures), None)


def _package_figure(
    figure: JatsFigure, name: str, group: str, licence: str, picture: Path, unit: Unit
) -> Figure | Failure:
    if picture.stat().st_size > MAX_UNPACKED // 16:
        return Failure(f"{group}/{name}", unit.file, "CorruptFileError", f"`{picture.name}` is too large a picture.")
    own = licence_of(figure.credit)
    if is_reprint(figure.caption) or (figure.credit and own == UNKNOWN):
        licence = THIRD_PARTY
    elif figure.credit:
        licence = own
    return Figure(name, group, figure.caption, picture.read_bytes(), licence, f"{unit.file}, {picture.name}")
