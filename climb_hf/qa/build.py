"""CLIMB-QA as files: JSON lines or Parquet, one file per source and split, written without opening a picture."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from climb_hf.build_log import MAX_SKIPPED, Failure
from climb_hf.errors import ClimbError, DamagedDataError, OptionError
from climb_hf.loading import is_synthetic
from climb_hf.qa.examples import is_plain_file
from climb_hf.qa.questions import Order, QuestionMaker
from climb_hf.qa.reading import MANIFEST
from climb_hf.qa.rows import pictures_of, question_features
from climb_hf.registry import get_source
from climb_hf.source import Options, Record, Source

if TYPE_CHECKING:
    from climb_hf.indexing import Index

__all__ = ["BuiltFile", "build_files", "question_rows"]

Format = Literal["jsonl", "parquet"]
_BATCH = 1000
_BATCH_EMBEDDED = 32
_BAR_FROM = 2000


@dataclass(frozen=True)
class BuiltFile:
    """One file of questions.

    Args:
        source (`str`): name of the source.
        split (`str`): split of the source.
        questions (`int`): number of questions.
        with_images (`int`): how many of them come with their pictures, as paths or embedded.
        left_out (`int`): records of the source left out by a documented rule, over all splits.
        skipped (`int`): damaged records of this split.
        file (`str`): path relative to the folder.
    """

    source: str
    split: str
    questions: int
    with_images: int
    left_out: int
    skipped: int
    file: str


@dataclass
class _Counter:
    questions: int = 0
    with_images: int = 0
    failures: list[Failure] = field(default_factory=list)


def build_files(
    sources: Mapping[str, str | Path | None],
    output_dir: str | Path,
    *,
    split: str | None = None,
    file_format: Format = "jsonl",
    embed: bool = False,
    seed: int = 0,
    paraphrase: int | Literal["random"] = 0,
    order: Order = "shuffled",
    options: Mapping[str, Mapping[str, Any]] | None = None,
    synthetic: bool = False,
) -> list[BuiltFile]:
    """Write the questions of several sources.

    Without `embed` no picture is opened: a row names the file of its picture where that file is the picture. Pictures
    that the source must decode (DICOM, videos, volumes, cut-outs) are given by `embed=True`, or by
    `load_dataset("climb", NAME, qa=True)`. The number of placeholders in `messages` is that of `images`.

    Args:
        sources (`Mapping`): folder of the raw data by source; `None` takes `$CLIMB_DATA/NAME`.
        output_dir (`str` or `Path`): files go to `output_dir/SOURCE/SPLIT.jsonl` (or `.parquet`), and how they were
            made to `output_dir/climb_qa.json`.
        split (`str`, *optional*): only this split.
        file_format (`str`, *optional*, defaults to `"jsonl"`): `"jsonl"` or `"parquet"`.
        embed (`bool`, *optional*, defaults to `False`): put the pictures into the file; Parquet only.
        seed (`int`, *optional*, defaults to `0`): seed of the order of the choices and of random wordings.
        paraphrase (`int` or `"random"`, *optional*, defaults to `0`): which wording.
        order (`str`, *optional*, defaults to `"shuffled"`): `"shuffled"` or `"fixed"` order of the choices.
        options (`Mapping`, *optional*): options by source, those under `"*"` for all; see `climb_hf.load_mixture`.
        synthetic (`bool`, *optional*, defaults to `False`): the data is synthetic; the manifest says so.

    Returns:
        `list[BuiltFile]`: one per source and split.

    Raises:
        OptionError: a source has no questions, or options that do not go together; nothing is written then.
        AccessError: the raw data of a source is missing.
        DamagedDataError: more than 5 % of the records of a source are damaged.

    Example:
        >>> import climb_hf, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> _ = climb_hf.miniature("brain_tumor", folder + "/raw", n=16)
        >>> built = build_files({"brain_tumor": folder + "/raw"}, folder + "/qa", synthetic=True)
        >>> [(file.file, file.questions) for file in built]
        [('brain_tumor/train.jsonl', 8), ('brain_tumor/test.jsonl', 8)]
    """
    from climb_hf.mixture import source_options

    if file_format not in get_args(Format):
        raise OptionError(f"`file_format` must be one of {list(get_args(Format))}, got {file_format!r}.")
    if embed and file_format != "parquet":
        raise OptionError("pictures are embedded in Parquet only: pass `file_format='parquet'` (`--format parquet`).")
    how = {"qa": True, "qa_seed": seed, "qa_paraphrase": paraphrase, "qa_order": order}
    plans = [
        _Plan.of(name, folder, {**source_options(name, options or {}), **how}) for name, folder in sources.items()
    ]
    target, built = Path(output_dir), []
    for plan in plans:
        built += plan.write(target, split, file_format, embed)
    facts = {
        "options": {"seed": seed, "paraphrase": paraphrase, "order": order, "embed": embed, "format": file_format},
        "source_options": {name: source_options(name, options or {}) for name in sources},
    }
    _write_manifest(target, built, facts, synthetic or is_synthetic(sources))
    return built


@dataclass
class _Plan:
    """One source about to be written, its options already checked."""

    source: Source
    options: Options
    root: Path
    maker: QuestionMaker

    @classmethod
    def of(cls, name: str, folder: str | Path | None, chosen: Mapping[str, Any]) -> "_Plan":
        from climb_hf.builder import ClimbConfig, raw_root
        from climb_hf.qa.examples import maker_of

        source = get_source(name)
        config = ClimbConfig(name=name)
        for option, value in chosen.items():
            if option not in source.option_names:
                raise OptionError(f"{name}: there is no option `{option}`; it has {sorted(source.option_names)}.")
            setattr(config, option, value)
        options = config.options()
        maker = maker_of(source, options)
        return cls(source, options, raw_root(source, str(folder) if folder else None), maker)

    def write(self, target: Path, split: str | None, file_format: str, embed: bool) -> list[BuiltFile]:
        from climb_hf.errors import SplitError
        from climb_hf.indexing import build_index

        index = build_index(self.source, self.root, self.options)
        self.maker.leave_out(index)
        if split is not None and split not in index.splits:
            raise SplitError(f"{self.source.name}: there is no split `{split}`, only {list(index.splits)}.")
        files, failures, folder = [], list(index.failures), target / self.source.name
        folder.mkdir(parents=True, exist_ok=True)
        parts: list[tuple[Path, Path]] = []
        for name, records in index.splits.items():
            if split not in (None, name):
                continue
            count, path = _Counter(), folder / f"{name}.{file_format}"
            part = path.with_name(f".{path.name}.part")
            rows = question_rows(self.maker, records, name, self.root, self.options, embed=embed, count=count)
            (_write_parquet if file_format == "parquet" else _write_jsonl)(
                part, _shown(rows, len(records), self.source)
            )
            parts.append((part, path))
            failures += count.failures
            files.append(
                BuiltFile(
                    self.source.name, name, count.questions, count.with_images, sum(index.left_out.values()),
                    len(count.failures), path.relative_to(target).as_posix(),
                )
            )  # fmt: skip
        self._judge(index, failures, folder, [part for part, _ in parts])
        for part, path in parts:
            part.replace(path)
        return files

    def _judge(self, index: "Index", failures: list[Failure], folder: Path, parts: list[Path]) -> None:
        skipped = folder / "skipped.jsonl"
        skipped.unlink(missing_ok=True)
        if not failures:
            return
        skipped.write_text("".join(json.dumps(asdict(failure)) + "\n" for failure in failures), encoding="utf-8")
        total = index.n_records + len(index.failures)
        if self.options.strict or len(failures) > MAX_SKIPPED * total:
            for part in parts:
                part.unlink(missing_ok=True)
            if self.options.strict:
                failures[0].raise_()
            raise DamagedDataError(
                f"{self.source.name}: {len(failures)} of {total} records cannot be asked about, more than "
                f"{MAX_SKIPPED:.0%}; the first is `{failures[0].id}`: {failures[0].reason} All are named in "
                f"`{skipped.name}`. `climb doctor {self.source.name}` looks at the whole folder."
            )


def question_rows(
    maker: QuestionMaker,
    records: Iterable[Record],
    split: str,
    root: Path,
    options: Options,
    *,
    embed: bool = False,
    count: _Counter | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file of questions; damaged records are skipped and counted.

    Args:
        maker (`QuestionMaker`): of the source.
        records (`Iterable[Record]`): records of one split.
        split (`str`): the split.
        root (`Path`): the documented root of the raw data.
        options (`Options`): checked options; `verify` says how files are checked, `strict` what damage does.
        embed (`bool`, *optional*, defaults to `False`): give the pictures as bytes.
        count (*optional*): counts what is yielded and skipped.

    Yields:
        `dict`: the columns of `question_features`; `images` are paths, or bytes.
    """
    count = count if count is not None else _Counter()
    for record in records:
        try:
            images = _images(maker, record, root, options, embed)
            question = maker.make(record, split)
        except (ClimbError, OSError, ValueError, LookupError, ArithmeticError, EOFError) as error:
            if isinstance(error, OptionError):
                raise  # the same for every record
            count.failures.append(Failure.of(record.id, record.files[0] if record.files else "", error))
            continue
        if question is None:
            continue
        count.questions += 1
        count.with_images += bool(images)
        yield {**question.as_dict(len(images)), "images": images}


def _images(maker: QuestionMaker, record: Record, root: Path, options: Options, embed: bool) -> list[Any]:
    from climb_hf.readers.integrity import check

    if not maker.has_media:
        return []
    for file in record.files:
        check(root / file, options.verify)
    is_plain = is_plain_file(maker.source, record) and options.image_size is None and options.window is None
    if not embed:
        return [str(root / record.files[0])] if is_plain else []
    pictures = pictures_of(maker.source.read(record, root, options))
    return [_bytes_of(picture) for picture in pictures]


def _bytes_of(picture: Any) -> dict[str, Any]:  # noqa: ANN401 - a value of an Image column
    path = picture if isinstance(picture, str) else picture.get("path") if picture.get("bytes") is None else None
    if path is not None:
        return {"bytes": Path(path).read_bytes(), "path": Path(path).name}
    return {"bytes": picture["bytes"], "path": picture.get("path")}


def _shown(rows: Iterator[dict[str, Any]], total: int, source: Source) -> Iterator[dict[str, Any]]:
    """Show progress where it takes a while."""
    from datasets.utils import are_progress_bars_disabled
    from tqdm.auto import tqdm

    yield from tqdm(
        rows, source.name, total, unit=" questions", disable=total < _BAR_FROM or are_progress_bars_disabled()
    )


def _write_jsonl(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    encode: Callable[[Any], str] = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode
    with _part(path), path.open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write(encode(row) + "\n")


def _write_parquet(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    import itertools

    import pyarrow.parquet as pq
    from datasets import Dataset

    features = question_features()
    with _part(path), pq.ParquetWriter(path, features.arrow_schema) as writer:
        size = _BATCH
        while batch := list(itertools.islice(rows, size)):
            if batch[0]["images"] and isinstance(batch[0]["images"][0], dict):
                size = _BATCH_EMBEDDED
            table = Dataset.from_list(batch, features=features).data.table.select(list(features))
            writer.write_table(table.replace_schema_metadata(features.arrow_schema.metadata))


@contextmanager
def _part(path: Path) -> Iterator[None]:
    """Remove an unfinished file where writing stops."""
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _write_manifest(target: Path, built: list[BuiltFile], facts: Mapping[str, Any], synthetic: bool) -> None:
    from climb_hf.provenance import provenance

    content = {
        **facts,
        "files": [asdict(file) for file in built],
        "licences": {name: get_source(name).license for name in dict.fromkeys(file.source for file in built)},
        "synthetic": synthetic,
        "date": datetime.now(UTC).date().isoformat(),
        "versions": provenance(),
    }
    target.mkdir(parents=True, exist_ok=True)
    (target / MANIFEST).write_text(json.dumps(content, indent=1, ensure_ascii=False, default=str), encoding="utf-8")
