"""The one `datasets` builder: a config per source, shared labels, splits, checks and skipping.

The index of a source is read once, in the main process; what `num_proc` and streaming share out is the list of its
records, in shards of equal meaning for both, so every way of loading gives the same rows in the same order.
"""

import contextlib
import logging
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import datasets

from climb_hf import schema
from climb_hf.arrow_columns import arrow_values_kept, plain_values
from climb_hf.build_log import BuildLog, Failure
from climb_hf.errors import AccessError, LayoutError, OptionError, SchemaError
from climb_hf.fingerprint import raw_fingerprint
from climb_hf.indexing import build_index
from climb_hf.labels import LabelMapper
from climb_hf.origin import origin_line
from climb_hf.prepare.manifest import manifest_path
from climb_hf.registry import get_source, near_names, source_names
from climb_hf.source import Options, Record, Source

if TYPE_CHECKING:
    from climb_hf.qa.questions import QuestionMaker

__all__ = ["DAMAGE", "Climb", "ClimbConfig", "question_maker", "raw_folder", "raw_root", "read_record"]

logger = logging.getLogger(__name__)

#: Most shards a split is cut into; a shard is the unit that streaming shuffles and worker processes share.
MAX_SHARDS = 1024
#: A split of this many pictures is resized by all cores where `num_proc` is not given.
MANY_PICTURES = 500
#: Rows per record batch where the default of `datasets` would hold gigabytes in memory.
_WRITER_BATCH_SIZES = {"frames": 8, "signal": 100, "graph": 16, "multimodal": 32, "expression": 16}
#: What decoders and parsers raise on damaged content: a record that does is skipped and named.
DAMAGE = (
    ValueError, OSError, EOFError, LookupError, ArithmeticError, SyntaxError, TypeError, AttributeError, struct.error,
    zlib.error,
)  # fmt: skip
_PLAIN_OPTIONS = {f.name: f.default for f in fields(Options) if f.name != "extra"}


def _default(source: Source, option: str) -> Any:  # noqa: ANN401 - an option may hold any plain value
    return source.extra_options.get(option, _PLAIN_OPTIONS.get(option))


@dataclass(eq=False)
class ClimbConfig(datasets.BuilderConfig):
    """Config of one source; the options of the source become attributes, each part of the cache fingerprint."""

    def __post_init__(self) -> None:
        super().__post_init__()
        source = get_source(self.name)  # raises for "default" and for unknown names
        self.version = datasets.Version(source.version)
        self.description = source.title
        for option in source.option_names:
            setattr(self, option, _default(source, option))

    def changed_options(self) -> dict[str, Any]:
        """Return the options that are not at their default."""
        source = get_source(self.name)
        values = {name: getattr(self, name) for name in source.option_names}
        return {name: value for name, value in values.items() if value != _default(source, name)}

    def options(self) -> Options:
        """Return the options of this config, checked by the source."""
        source = get_source(self.name)
        extra = {name: getattr(self, name) for name in source.extra_options if name not in _PLAIN_OPTIONS}
        plain = {name: getattr(self, name) for name in _PLAIN_OPTIONS if name in source.option_names}
        options = Options(**plain, extra=extra)
        source.check_options(options)
        return options


class Climb(datasets.GeneratorBasedBuilder):
    """Builds any registered source; `datasets.load_dataset("climb", NAME)` ends up here.

    Raises:
        UnknownSourceError: the config name is missing or unknown.
        OptionError: an option the source does not have, or a value it does not allow.
        AccessError: the raw data is not where it should be; the message says how to get it.
    """

    hash: str | None
    _writer_batch_size: int | None
    _output_dir: str
    BUILDER_CONFIG_CLASS = ClimbConfig
    BUILDER_CONFIGS: ClassVar[list[ClimbConfig]] = [
        ClimbConfig(name=name, version=get_source(name).version) for name in source_names()
    ]

    def _create_builder_config(
        self,
        config_name: str | None = None,
        custom_features: datasets.Features | None = None,
        config_id: str | None = None,
        **config_kwargs: Any,  # noqa: ANN401 - options of the source
    ) -> tuple[ClimbConfig, str]:
        source = get_source(config_name or "")
        if config_kwargs.pop("data_files", None) is not None:
            raise OptionError(f"{source.name}: `data_files` is not used; pass the raw folder as `data_dir`.")
        for name in config_kwargs:
            if name not in (*source.option_names, "data_dir", "version", "description"):
                known = tuple(sorted(source.option_names))
                raise OptionError(f"{source.name}: there is no option `{name}`. {near_names(name, known)}")
        unset = [name for name, value in config_kwargs.items() if value is None or value == _default(source, name)]
        for name in unset:
            del config_kwargs[name]  # an option at its default shares the cache with one not given
        if "data_dir" in config_kwargs:
            config_kwargs["data_dir"] = str(Path(config_kwargs["data_dir"]).expanduser().absolute())
        config, config_id = super()._create_builder_config(config_name, custom_features, config_id, **config_kwargs)
        self._options = config.options()
        self._maker = question_maker(source, self._options)  # refuses a source without questions before all else
        with _doctor_named(source, config.data_dir):
            self._root = raw_root(source, config.data_dir)
        named = [Path(value).expanduser() for value in config_kwargs.values() if isinstance(value, str) and value]
        named += source.option_files(self._options)
        if self._maker is not None:
            named.append(self._maker.template_file)
        self.hash = raw_fingerprint(source, self._root, self.hash, [path for path in named if path.is_file()])
        return config, config_id

    @property
    def source(self) -> Source:
        """The source this builder builds."""
        return get_source(self.config.name)

    @property
    def options(self) -> Options:
        """The checked options of the build."""
        return self._options

    @property
    def raw_folder(self) -> Path:
        """The root folder of the raw data."""
        return self._root

    def _info(self) -> datasets.DatasetInfo:
        source, options = self.source, self._options
        text = f"{source.title}. {' '.join(source.cautions)}".strip()
        self._writer_batch_size = self._writer_batch_size or _WRITER_BATCH_SIZES.get(source.family_for(options))
        own = schema.features(
            source.family_for(options),
            LabelMapper(source, source.label_scheme(options.labels, options.extra)).names,
            channels=len(source.channels),
            bit_depth=options.bit_depth,
        )
        return datasets.DatasetInfo(
            description=f"{text}\n\n{origin_line(source, self.config.changed_options())}",
            citation=source.citation,
            homepage=source.homepage,
            license=source.license,
            features=own if self._maker is None else self._maker.features,
        )

    def _split_generators(self, dl_manager: object) -> list[datasets.SplitGenerator]:
        with _doctor_named(self.source, str(self._root)):
            index = build_index(self.source, self._root, self._options)
        if self._maker is not None:
            self._maker.leave_out(index)
        self._index_report = index.report()
        if not self._output_dir:  # streaming: no summary follows
            BuildLog.judge(self.source, self._index_report.failures, self._index_report, strict=self._options.strict)
        return [
            datasets.SplitGenerator(
                name=split,
                gen_kwargs={"shards": _shards(records), "split": split, "n_indexed": index.n_records},
            )
            for split, records in index.splits.items()
        ]

    def _generate_examples(
        self, shards: list[list[Record]], split: str, n_indexed: int
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        source, options = self.source, self._options
        mapper = LabelMapper(source, source.label_scheme(options.labels, options.extra))
        failed = None if self._output_dir else self._failed_streaming
        log = BuildLog(source.name, Path(self._output_dir), split, n_indexed, strict=options.strict, failed=failed)
        position = 0
        for shard in shards:
            for record in shard:
                example = read_record(source, record, self._root, options, self._maker or mapper, split)
                if isinstance(example, Failure):
                    if log.add(example):
                        return  # the summary raises: the limit is passed, or the build is strict
                    continue
                yield position, example if self._output_dir else _as_stored(example, self.info.features)
                position += 1

    def _prepare_split(
        self,
        split_generator: datasets.SplitGenerator,
        *args: Any,  # noqa: ANN401 - as in datasets
        num_proc: int | None = None,
        **kwargs: Any,  # noqa: ANN401 - as in datasets
    ) -> None:
        records = sum(map(len, split_generator.gen_kwargs["shards"]))
        if num_proc is None and self._options.image_size is not None and records >= MANY_PICTURES:
            num_proc = os.cpu_count()  # pictures are decoded, resized and encoded: the work of all cores
        super()._prepare_split(split_generator, *args, num_proc=num_proc, **kwargs)

    def _prepare_split_single(self, *args: Any, **kwargs: Any) -> Iterator[Any]:  # noqa: ANN401 - as in datasets
        with arrow_values_kept(self.info):  # here, because worker processes begin here
            yield from super()._prepare_split_single(*args, **kwargs)

    def _download_and_prepare(self, dl_manager: object, verification_mode: object, **kwargs: object) -> None:
        super()._download_and_prepare(dl_manager, verification_mode, **kwargs)
        BuildLog.summarise(self.source, Path(self._output_dir), self._index_report, strict=self._options.strict)

    def as_streaming_dataset(self, split: str | None = None, base_path: str | None = None) -> Any:  # noqa: ANN401
        """Return the source as `IterableDataset`; a failing record is logged, or raised when `strict`."""
        self._output_dir = ""  # nothing is written while streaming
        self._failed_streaming: set[str] = set()
        return super().as_streaming_dataset(split=split, base_path=base_path)


def raw_folder(source: Source, data_dir: str | None) -> Path | None:
    """Return the folder that should hold a source's raw data: `data_dir`, else `$CLIMB_DATA/NAME`, if one is set."""
    base = os.environ.get("CLIMB_DATA")
    folder = Path(data_dir) if data_dir else Path(base) / source.name if base else None
    return folder.expanduser().absolute() if folder else None


def raw_root(source: Source, data_dir: str | None, *, may_download: bool = True) -> Path:
    """Find the root of a source's raw data in `data_dir`, else in `$CLIMB_DATA/NAME`.

    The data of an open source is downloaded where the folder is absent and its licence is accepted, see
    `climb_hf.access.automatic`.

    Args:
        source (`Source`): the source.
        data_dir (`str`, *optional*): what the user gave.
        may_download (`bool`, *optional*, defaults to `True`): whether it may be downloaded.

    Returns:
        `Path`: the documented root folder.

    Raises:
        AccessError: no such folder, or not the layout of the source; the message says how to get the data.
    """
    folder = raw_folder(source, data_dir)
    if may_download and folder is not None and (not folder.is_dir() or (folder / ".climb").is_dir()):
        from climb_hf.access.automatic import provide

        provide(source, folder)
    if folder is None or not folder.is_dir():
        from climb_hf.access.automatic import how_to_download

        looked = f"`{folder}` is not a folder" if folder else "neither `data_dir` nor the variable `CLIMB_DATA` is set"
        steps = "\n".join(f"  {number}. {step}" for number, step in enumerate(source.how_to_get, 1))
        raise AccessError(
            f"{source.name}: expected the raw data of {source.title} (access: {source.access}), but {looked}. "
            f"To get it:\n{steps}\n{how_to_download(source, folder)}Then pass `data_dir=`, or set `CLIMB_DATA` to the "
            f"folder that holds `{source.name}/`. To try without the data: "
            f"`climb miniature {source.name} DIR` (synthetic)."
        )
    if (folder / manifest_path(source.name)).is_file():
        raise LayoutError(
            f"{source.name}: `{folder}` was written by `climb prepare`. Load it with `climb_hf.load_dataset("
            f"{source.name!r}, {str(folder)!r})` or `datasets.load_dataset({str(folder)!r}, {source.name!r})`; this "
            "needs the raw data."
        )
    return source.find_root(folder)


@contextlib.contextmanager
def _doctor_named(source: Source, folder: str | None) -> Iterator[None]:
    """Add to every error about the layout the command that compares it with what is expected."""
    try:
        yield
    except LayoutError as error:
        if "climb doctor" in str(error):
            raise
        where = f" --data-dir {folder}" if folder else ""
        text = f"{error} `climb doctor {source.name}{where}` compares the folder with what is expected."
        raise LayoutError(text) from error


def _shards(records: list[Record]) -> list[list[Record]]:
    size = -(-len(records) // MAX_SHARDS)
    return [records[start : start + size] for start in range(0, len(records), size)] if records else []


def question_maker(source: Source, options: Options) -> "QuestionMaker | None":
    """Return what makes the rows of a build with `qa=True`, and knows their features; nothing for other builds."""
    if not options.qa:
        return None
    from climb_hf.qa.examples import maker_of

    return maker_of(source, options)


def read_record(
    source: Source,
    record: Record,
    root: Path,
    options: Options,
    mapper: "LabelMapper | QuestionMaker",
    split: str,
) -> dict[str, Any] | Failure:
    """Make the example of a record, or say why it cannot be made.

    Args:
        source (`Source`): the source.
        record (`Record`): a record of its index.
        root (`Path`): root of its raw data.
        options (`Options`): checked options.
        mapper (`LabelMapper`): of the label scheme that the options choose; or what makes questions, with `qa`.
        split (`str`): split of the record, which questions carry.

    Returns:
        `dict`, the columns by name as the builder takes them, or the `Failure` that names file and reason.

    Raises:
        OptionError: an option that fits no record.
    """
    from climb_hf.readers.integrity import check

    try:
        for file in record.files if isinstance(mapper, LabelMapper) or mapper.has_media else ():
            check(root / file, options.verify)
        if not isinstance(mapper, LabelMapper):
            return mapper.row(record, split, source.read(record, root, options) if mapper.has_media else {})
        columns = source.read(record, root, options)
        return _example(source, record, columns, mapper, source.family_for(options))
    except OptionError:
        raise  # the same for every record
    except DAMAGE as error:
        file = record.files[0] if record.files else ""
        return Failure.of(record.id, file, error)


def _as_stored(example: dict[str, Any], features: datasets.Features) -> dict[str, Any]:
    """Round numbers as the built table would, so that streamed rows equal built ones to the last bit."""
    import pyarrow as pa

    example = plain_values(example, features)
    for field in features.arrow_schema:
        is_plain = not isinstance(field.type, pa.BaseExtensionType) and "float" in str(field.type)
        if is_plain and example[field.name] is not None:
            example[field.name] = pa.array([example[field.name]], type=field.type)[0].as_py()
    return example


def _example(
    source: Source, record: Record, columns: dict[str, Any], mapper: LabelMapper, family: str
) -> dict[str, Any]:
    labels, uncertain = mapper.labels(record)
    example = {
        "id": record.id,
        "source": source.name,
        "group": record.group,
        "labels": labels,
        "raw_labels": list(record.raw_labels),
        "uncertain": uncertain,
        "age": record.age,
        "sex": record.sex,
        "targets": record.targets,
        "duplicate_of": record.duplicate_of,
        "metadata": record.metadata or {},
        **(record.inputs or {}),
    }
    metadata = {**example["metadata"], **columns.pop("metadata", {})}
    example.update(columns, metadata=metadata)
    expected = schema.input_columns(family, channels=len(source.channels))
    for name, feature in expected.items():
        if example.get(name) is None:
            example[name] = schema.absent_value(feature)
    if example["sex"] not in (None, "female", "male"):
        raise SchemaError(f"`sex` must be female, male or null, got {example['sex']!r} for record `{record.id}`.")
    return example
