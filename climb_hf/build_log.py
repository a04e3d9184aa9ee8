"""What a build skipped: written beside the data while building, merged, counted and judged at its end.

Worker processes never share a file: each writes `skipped-<split>-<pid>.jsonl` into the folder under construction, and
the main process merges them into `skipped.jsonl` before the folder is renamed into place.
"""

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from climb_hf import errors
from climb_hf.errors import ClimbError, CorruptFileError, DamagedDataError

if TYPE_CHECKING:
    from climb_hf.indexing import IndexReport
    from climb_hf.source import Source

__all__ = ["MAX_SKIPPED", "BuildLog", "Failure"]

logger = logging.getLogger(__name__)

#: Share of the records that may fail before a build is refused.
MAX_SKIPPED = 0.05


@dataclass(frozen=True)
class Failure:
    """A record that could not be built.

    Args:
        id (`str`): the record's id.
        file (`str`): its first file, relative to the root.
        error (`str`): name of the error class in `climb_hf.errors`.
        reason (`str`): the error's message.
    """

    id: str
    file: str
    error: str
    reason: str

    @classmethod
    def of(cls, record_id: str, file: str, error: Exception) -> "Failure":
        """Describe an exception; errors that are not ours count as a corrupt file."""
        name = type(error).__name__ if isinstance(error, ClimbError) else "CorruptFileError"
        return cls(record_id, file, name, f"{error}" or type(error).__name__)

    def raise_(self) -> NoReturn:
        """Raise the error this failure stands for, naming file and record."""
        kind = getattr(errors, self.error, CorruptFileError)
        raise kind(f"record `{self.id}`, file `{self.file}`: {self.reason}")


class BuildLog:
    """Collects the failures of one worker process and split.

    Args:
        source (`str`): name of the source.
        folder (`Path`): the folder under construction; does not exist while streaming.
        split (`str`): name of the split.
        n_indexed (`int`): records of all splits, the base of the 5 % limit.
        strict (`bool`): stop at the first failure.
        failed (`set[str]`, *optional*): ids that failed before and are counted too; added to. While streaming, each
            shard has a log of its own, and all logs of a dataset share this set.
    """

    def __init__(
        self, source: str, folder: Path, split: str, n_indexed: int, *, strict: bool, failed: set[str] | None = None
    ) -> None:
        self._source, self._strict = source, strict
        self._failed = set() if failed is None else failed
        self._n_indexed, self._limit = n_indexed, MAX_SKIPPED * n_indexed
        is_build = str(folder) != "." and folder.is_dir()
        self._file = folder / f"skipped-{split}-{os.getpid()}.jsonl" if is_build else None

    def add(self, failure: Failure) -> bool:
        """Record a failure; returns whether the worker should stop because the build cannot succeed any more.

        Raises:
            ClimbError: while streaming, where there is no later summary: the failure itself when strict, or
                `DamagedDataError` past the 5 % limit.
        """
        self._failed.add(failure.id)
        is_over = len(self._failed) > self._limit
        logger.warning("%s: skipped `%s` (%s): %s", self._source, failure.id, failure.file, failure.reason)
        if self._file is None:
            if self._strict:
                failure.raise_()
            if is_over:
                raise DamagedDataError(_too_many(self._source, len(self._failed), str(self._n_indexed), failure))
            return False
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(failure), ensure_ascii=False) + "\n")
        return self._strict or is_over

    @staticmethod
    def summarise(source: "Source", folder: Path, report: "IndexReport", *, strict: bool) -> None:
        """Merge the workers' files into `skipped.jsonl`, log the summary and judge the build.

        Args:
            source (`Source`): the source.
            folder (`Path`): the folder under construction.
            report (`IndexReport`): what the index already skipped or left out.
            strict (`bool`): raise the first failure.

        Raises:
            ClimbError: the first failure, when strict.
            DamagedDataError: more than 5 % of the records failed.
        """
        failures = [*report.failures]
        for part in sorted(folder.glob("skipped-*-*.jsonl")):
            with part.open(encoding="utf-8") as stream:
                failures += [Failure(**json.loads(line)) for line in stream]
            part.unlink()
        BuildLog.judge(source, failures, report, strict=strict)
        with (folder / "skipped.jsonl").open("w", encoding="utf-8") as stream:
            for failure in failures:
                stream.write(json.dumps(asdict(failure), ensure_ascii=False) + "\n")
        (folder / "left_out.json").write_text(json.dumps(report.left_out, indent=1), encoding="utf-8")
        if failures:
            logger.warning("%s: skipped records are named in `skipped.jsonl` of the cache folder", source.name)

    @staticmethod
    def judge(source: "Source", failures: Sequence[Failure], report: "IndexReport", *, strict: bool) -> None:
        """Raise where failures are too many, or any when strict; else log how many there are.

        Args:
            source (`Source`): the source.
            failures (`Sequence[Failure]`): all failures known.
            report (`IndexReport`): gives the number of records.
            strict (`bool`): raise the first failure.

        Raises:
            ClimbError: the first failure, when strict.
            DamagedDataError: more than 5 % of the records failed.
        """
        if not failures:
            return
        if strict:
            failures[0].raise_()
        n_total = report.n_records + len(report.failures)
        if len(failures) > MAX_SKIPPED * n_total:
            raise DamagedDataError(_too_many(source.name, len(failures), str(n_total), failures[0]))
        first = failures[0]
        logger.warning(
            "%s: %d of %d records skipped; first `%s`: %s", source.name, len(failures), n_total, first.id, first.reason
        )


def _too_many(source: str, count: int, total: str, first: Failure) -> str:
    return (
        f"{source}: {count} of {total} records cannot be read, more than the {MAX_SKIPPED:.0%} a build tolerates. "
        f"First: `{first.id}` (file `{first.file}`): {first.reason} "
        f"Check the download with `climb doctor {source}`, or get the files again."
    )
