"""Files of questions and of answers, and what is written beside them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import SchemaError
from climb_hf.miniatures import RUN_FOLDER

__all__ = ["MANIFEST", "PREDICTIONS_FILE", "RUN_FILE", "from_synthetic", "read_questions"]

#: What `climb qa build` writes beside the questions, and a run beside its answers.
MANIFEST, PREDICTIONS_FILE, RUN_FILE = "climb_qa.json", "predictions.jsonl", "run.json"
_SKIPPED = ("skipped.jsonl", "results.jsonl")


def read_questions(path: str | Path) -> Iterator[dict[str, Any]]:
    """Read questions or answers: a JSON lines or Parquet file, or all such files below a folder.

    Args:
        path (`str` or `Path`): what `climb qa build` or a run wrote. Result files and the raw copies of a dry run in
            it are passed over.

    Yields:
        `dict`: one row each; pictures are left out.

    Raises:
        SchemaError: there is no such file, or a line is not a JSON object; file and line are named.
    """
    path = Path(path)
    files = sorted(_files(path)) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise SchemaError(f"expected a .jsonl or .parquet file, or a folder of them; found none at `{path}`.")
    for file in files:
        if file.suffix == ".parquet":
            import pyarrow.parquet as pq

            table = pq.ParquetFile(file)
            kept = [name for name in table.schema_arrow.names if name not in ("images", "messages")]
            for batch in table.iter_batches(columns=kept):
                yield from batch.to_pylist()
            continue
        with file.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield _row(line, f"`{file.name}`, line {number}")


def _files(folder: Path) -> Iterator[Path]:
    for file in (*folder.rglob("*.jsonl"), *folder.rglob("*.parquet")):
        if file.name not in _SKIPPED and file.relative_to(folder).parts[0] != RUN_FOLDER:
            yield file


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"{where}: expected one JSON object per line: {error}.") from error
    if not isinstance(row, dict):
        raise SchemaError(f"{where}: expected a JSON object, found {type(row).__name__}.")
    return row


def from_synthetic(path: str | Path) -> bool:
    """Whether the manifest of questions, or the facts of a run, say that the data is synthetic.

    Args:
        path (`str` or `Path`): folder of `climb qa build` or of a run, or a file in it.

    Returns:
        `bool`: `False` where nothing is said.

    Example:
        >>> from_synthetic("no/such/answers.jsonl")
        False
    """
    path = Path(path)
    folders = (path,) if path.is_dir() else (path.parent, path.parent.parent)
    files = [folder / name for folder in folders for name in (MANIFEST, RUN_FILE)]
    return any(
        json.loads(file.read_text(encoding="utf-8")).get("synthetic") is True for file in files if file.is_file()
    )
