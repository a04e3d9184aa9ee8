"""One shard: records in, Parquet bytes out, the same bytes wherever and whenever it is built.

No times, no paths of the machine, fixed compression, row groups by size of the values. The rows are those of
`load_dataset`: the builder's own functions make them. Pictures are embedded, DICOM becomes PNG without loss (which
drops its header with names and dates), so the files need neither the raw folder nor this package.
"""

import dataclasses
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from climb_hf.build_log import Failure
from climb_hf.errors import OptionError
from climb_hf.prepare.manifest import ShardEntry
from climb_hf.prepare.plan import ShardTask
from climb_hf.source import Options

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Features

    from climb_hf.prepare.stores import Store

__all__ = ["HashingSink", "build_shard", "check_environment", "stored_size", "write_examples"]

#: A row group is closed at this many bytes of values, or rows: what a reader holds in memory at least.
ROW_GROUP_BYTES = 16 << 20
ROW_GROUP_ROWS = 1000
_ZSTD_LEVEL = 3
#: What a row needs beside its large values.
_ROW_BYTES = 1000


class HashingSink(io.RawIOBase):
    """Passes bytes on to a file, and knows their number and SHA-256.

    Args:
        target (`BinaryIO`): where the bytes go; not closed.
    """

    def __init__(self, target: BinaryIO) -> None:
        super().__init__()
        self._target, self._digest, self.size = target, hashlib.sha256(), 0

    def writable(self) -> bool:
        """Tell that bytes can be written."""
        return True

    def tell(self) -> int:
        """Return the number of bytes written."""
        return self.size

    def write(self, content: Any) -> int:  # noqa: ANN401 - any buffer
        """Write all of `content`."""
        view = memoryview(content).cast("B")
        self._target.write(view)
        self._digest.update(view)
        self.size += len(view)
        return len(view)

    @property
    def sha256(self) -> str:
        """Hexadecimal digest of what was written."""
        return self._digest.hexdigest()


def build_shard(task: ShardTask, store: "Store") -> tuple[ShardEntry, Any]:
    """Build one shard and put it into the target in one step: it is there whole, or not at all.

    Args:
        task (`ShardTask`): what to build.
        store (`Store`): the target.

    Returns:
        `tuple[ShardEntry, Any]`: the entry of the manifest, and the store's receipt.

    Raises:
        AccessError: the target cannot be written.
        OptionError: this worker has other versions of the libraries than the process that made the plan.
    """
    check_environment(task.environment)
    with store.writer(task.path) as upload:
        sink = HashingSink(upload.stream)
        rows, memory, failures = write_rows(task, sink)
    entry = ShardEntry(
        task.path, task.split, len(task.records), rows, sink.size, memory, sink.sha256, task.digest(),
        tuple(dataclasses.asdict(failure) for failure in failures),
    )  # fmt: skip
    return entry, upload.receipt


def write_rows(task: ShardTask, sink: BinaryIO | io.RawIOBase) -> tuple[int, int, list[Failure]]:
    """Write the rows of a task as a Parquet file.

    Args:
        task (`ShardTask`): what to build.
        sink: a binary file.

    Returns:
        Number of rows, bytes of the rows as an Arrow table, and the records that failed.
    """
    features = features_of(task.source, task.options)
    failures: list[Failure] = []
    rows, memory = write_examples(_examples(task, features, failures), features, sink)
    return rows, memory, failures


def write_examples(
    examples: Iterable[dict[str, Any]], features: "Features", sink: BinaryIO | io.RawIOBase
) -> tuple[int, int]:
    """Write examples as a Parquet file whose bytes depend on nothing else.

    Args:
        examples (`Iterable[dict]`): examples with their pictures embedded.
        features (`datasets.Features`): their features.
        sink: a binary file.

    Returns:
        Number of rows, and their bytes as an Arrow table.
    """
    import pyarrow.parquet as pq

    schema = features.arrow_schema
    rows, memory = 0, 0
    writer = pq.ParquetWriter(sink, schema, **_column_options(features, schema))
    try:
        for group in _row_groups(examples, features):
            writer.write_table(group, row_group_size=max(1, len(group)))
            rows, memory = rows + len(group), memory + group.nbytes
        writer.close()
    except BaseException:
        writer.is_open = False  # no footer: what is there is thrown away
        raise
    return rows, memory


def stored_size(task: ShardTask) -> float:
    """Return the bytes per record that a task's rows take as Parquet, 1,000 where no record can be read."""
    empty, full = io.BytesIO(), io.BytesIO()
    write_rows(dataclasses.replace(task, records=()), empty)  # the schema alone has the names of all labels
    rows, _, _ = write_rows(task, full)
    return max(1.0, (full.tell() - empty.tell()) / rows) if rows else float(_ROW_BYTES)


def features_of(name: str, options: Options) -> "Features":
    """Return the features of the rows of a source.

    Args:
        name (`str`): the source.
        options (`Options`): checked options.

    Returns:
        `datasets.Features`.
    """
    from climb_hf import schema
    from climb_hf.builder import question_maker
    from climb_hf.labels import LabelMapper
    from climb_hf.registry import get_source

    source = get_source(name)
    if (maker := question_maker(source, options)) is not None:
        return maker.features
    scheme = source.label_scheme(options.labels, options.extra)
    names = LabelMapper(source, scheme).names
    return schema.features(
        source.family_for(options), names, channels=len(source.channels), bit_depth=options.bit_depth
    )


def _row_groups(examples: Iterable[dict[str, Any]], features: "Features") -> Iterator["pa.Table"]:
    """Yield the rows as tables of one row group each."""
    batch: list[dict[str, Any]] = []
    size = 0
    for example in examples:
        batch.append(example)
        size += _size(example)
        if size >= ROW_GROUP_BYTES or len(batch) >= ROW_GROUP_ROWS:
            yield _table(batch, features)
            batch, size = [], 0
    if batch:
        yield _table(batch, features)


def _examples(task: ShardTask, features: "Features", failures: list[Failure]) -> Iterator[dict[str, Any]]:
    """Yield the examples of the builder with their pictures embedded; failures are added to the list."""
    from climb_hf.builder import DAMAGE, question_maker, read_record
    from climb_hf.hub.pictures import embedded, is_picture
    from climb_hf.labels import LabelMapper
    from climb_hf.registry import get_source

    source, root, options = get_source(task.source), Path(task.root), task.options
    mapper = question_maker(source, options) or LabelMapper(source, source.label_scheme(options.labels, options.extra))
    pictures = [name for name, feature in features.items() if is_picture(feature)]
    for record in task.records:
        example = read_record(source, record, root, options, mapper, task.split)
        if not isinstance(example, Failure):
            try:
                example = {**example, **{name: embedded(example[name]) for name in pictures}}
            except DAMAGE as error:
                example = Failure.of(record.id, record.files[0] if record.files else "", error)
        if isinstance(example, Failure):
            failures.append(dataclasses.replace(example, reason=example.reason.replace(f"{root}/", "")))
        else:
            yield example


def _table(batch: list[dict[str, Any]], features: "Features") -> "pa.Table":
    """Encode examples as the builder does: through the writer of `datasets`, in memory."""
    import pyarrow as pa
    from datasets.arrow_writer import ArrowWriter

    from climb_hf.arrow_columns import ArrowFeatures

    encode, sink = ArrowFeatures(features).encode_example, pa.BufferOutputStream()
    with ArrowWriter(features=features, stream=sink, writer_batch_size=len(batch)) as writer:
        for example in batch:
            writer.write(encode(example))
        writer.finalize(close_stream=False)
    return pa.ipc.open_stream(sink.getvalue()).read_all().cast(features.arrow_schema)


def _size(value: Any) -> int:  # noqa: ANN401 - any value of an example
    """Return the bytes of the large values of an example: pictures, arrays."""
    if isinstance(value, bytes | str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(map(_size, value.values()))
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, list):
        return (
            sum(map(_size, value)) if value and isinstance(value[0], Mapping | bytes | np.ndarray) else 8 * len(value)
        )
    return getattr(value, "nbytes", 0)


def _column_options(features: "Features", schema: "pa.Schema") -> dict[str, Any]:
    """Settings of the Parquet writer, column by column.

    Pictures are compressed already. Signals and other long lists of numbers take snappy, as `datasets` writes them: on
    50 ECGs of the CinC challenges 48 % of their size at 350 MB/s, read at 510; zstd has 33 % at 110 and 160 MB/s.
    Everything else, texts and JSON, takes zstd.
    """
    from climb_hf.hub.pictures import is_picture

    leaves = {leaf: field.name for field in schema for leaf in _leaves(field.name, field.type)}
    codecs = {
        leaf: "none" if is_picture(features[name]) else "snappy" if _is_numeric(leaf, schema) else "zstd"
        for leaf, name in leaves.items()
    }
    texts = [leaf for leaf, codec in codecs.items() if codec == "zstd"]
    return {
        "compression": codecs,
        "compression_level": dict.fromkeys(texts, _ZSTD_LEVEL),
        "use_dictionary": texts,
        "write_statistics": [name for name in ("id", "source", "group") if name in schema.names],
        "write_page_index": True,
        "store_schema": True,
    }


def _leaves(path: str, kind: "pa.DataType") -> list[str]:
    """Paths of the stored columns below a column, as Parquet names them."""
    import pyarrow as pa

    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if pa.types.is_struct(kind):
        return [leaf for field in kind for leaf in _leaves(f"{path}.{field.name}", field.type)]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _leaves(f"{path}.list.element", kind.value_type)
    return [path]


def _is_numeric(leaf: str, schema: "pa.Schema") -> bool:
    """Tell whether a column holds long lists of numbers, for which a dictionary is lost work."""
    import pyarrow as pa

    kind = schema.field(leaf.split(".")[0]).type
    if isinstance(kind, pa.BaseExtensionType):
        return not pa.types.is_string(kind.storage_type)
    return "list" in leaf and ("float" in str(kind) or "list<element: list" in str(kind))


def check_environment(expected: Mapping[str, str]) -> None:
    """Refuse versions of the libraries that may write other bytes than the run was planned for.

    Args:
        expected (`Mapping[str, str]`): version by package.

    Raises:
        OptionError: this process has others.
    """
    found = {package: version(package) for package in expected}
    if found != dict(expected):
        raise OptionError(
            f"this worker has {found}, but the run was planned with {dict(expected)}; other versions may write other "
            "bytes. Install the same versions on every machine."
        )
