"""The answers of a run on disk: appended batch by batch, so that a run that is killed goes on where it stopped."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from climb_hf.errors import OptionError, SchemaError
from climb_hf.qa.parsing import Parsed
from climb_hf.qa.reading import PREDICTIONS_FILE, RUN_FILE, read_questions

__all__ = ["Journal", "answer_of", "read_run"]

_LEFT_OUT = ("images", "messages")


class Journal:
    """The predictions of one run.

    Args:
        folder (`Path`): where `predictions.jsonl` and `run.json` lie.
        key (`str`): digest of the model and of everything that shapes an answer; rows of another key are refused.
        facts (`Mapping`): what `run.json` says.

    Raises:
        OptionError: the folder holds the answers of another model or of other options.
        SchemaError: a line in the middle of the file is damaged.
    """

    def __init__(self, folder: Path, key: str, facts: Mapping[str, Any]) -> None:
        self.path, self.key = folder / PREDICTIONS_FILE, key
        folder.mkdir(parents=True, exist_ok=True)
        self.answered = self._answered()
        content = json.dumps({**facts, "run": key}, indent=1, ensure_ascii=False, default=str) + "\n"
        part = folder / f".{RUN_FILE}.part"
        part.write_text(content, encoding="utf-8")
        part.replace(folder / RUN_FILE)

    def _answered(self) -> set[tuple[str, str]]:
        """Read what is there; a last line that was cut off by a kill is removed."""
        if not self.path.is_file():
            return set()
        data = self.path.read_bytes()
        end = data.rfind(b"\n") + 1
        if end < len(data):
            with self.path.open("r+b") as stream:
                stream.truncate(end)
        answered = set()
        for number, line in enumerate(data[:end].splitlines(), start=1):
            try:
                row = json.loads(line)
                found, key = row["run"], (row["source"], row["id"])
            except (ValueError, KeyError, TypeError) as error:
                raise SchemaError(
                    f"`{self.path}`, line {number}, is no answer of a run ({error}). Choose another folder (`--to`)."
                ) from error
            if found != self.key:
                raise OptionError(
                    f"`{self.path}` holds the answers of another model, or to other options (run `{found}`, this is "
                    f"`{self.key}`). Choose another folder (`--to`), or remove the file."
                )
            answered.add(key)
        return answered

    def append(self, rows: Iterable[Mapping[str, Any]], answers: Iterable[Mapping[str, Any]]) -> None:
        """Write answered questions and see them to the disk.

        Args:
            rows (`Iterable[Mapping]`): the questions.
            answers (`Iterable[Mapping]`): `prediction` and more of each.
        """
        lines = []
        for row, answer in zip(rows, answers, strict=True):
            asked = {name: value for name, value in row.items() if name not in _LEFT_OUT}
            lines.append(json.dumps({**asked, **answer, "run": self.key}, ensure_ascii=False) + "\n")
            self.answered.add((row["source"], row["id"]))
        with self.path.open("ab") as stream:
            stream.write("".join(lines).encode())
            stream.flush()
            os.fsync(stream.fileno())


def read_run(path: str | Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Read the answers of a run and what is known of it.

    Args:
        path (`str` or `Path`): folder of `climb qa run`, or a file of predictions.

    Returns:
        `tuple`: the rows, and the content of `run.json` beside them, empty where it is absent.

    Raises:
        SchemaError: there are none.
    """
    path = Path(path)
    file = path / PREDICTIONS_FILE if path.is_dir() else path
    beside = file.with_name(RUN_FILE)
    facts = json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else {}
    return list(read_questions(file)), facts


def answer_of(row: Mapping[str, Any]) -> Any:  # noqa: ANN401 - text or `Parsed`
    """Return what is scored of an answered question: the text, or the choices that were taken by likelihood."""
    chosen: Sequence[str] | None = row.get("chosen")
    return row.get("prediction") if chosen is None else Parsed(tuple(chosen), "ok", tuple(chosen))


def batches(rows: Iterable[Mapping[str, Any]], size: int) -> Iterator[list[Mapping[str, Any]]]:
    """Yield rows in lists of `size`, never two sources in one."""
    batch: list[Mapping[str, Any]] = []
    for row in rows:
        if batch and (len(batch) == size or batch[-1]["source"] != row["source"]):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
