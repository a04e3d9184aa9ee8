"""Many files at once: workers that share a list, one place for failures, archives unpacked as they arrive."""

import logging
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from climb_hf.access.archives import extract
from climb_hf.access.credentials import redact
from climb_hf.access.files import RemoteFile, format_bytes, safe_name
from climb_hf.access.http import HttpClient, RequestError
from climb_hf.access.progress import Progress
from climb_hf.access.state import FOLDER, TargetState, storage_errors
from climb_hf.access.transfer import Transfer
from climb_hf.errors import AccessError, ClimbError

__all__ = ["Engine", "Tally", "check_space", "parallel"]

T = TypeVar("T")
R = TypeVar("R")

logger = logging.getLogger(__name__)

#: Statuses after which asking for further files makes no sense.
_FATAL = (401, 430, 499)
_SHOWN = 5
_RESERVE = 64_000_000  # bytes that stay free


@dataclass
class Tally:
    """What a download did.

    Args:
        n_received (`int`): files downloaded.
        n_kept (`int`): files that were already there.
        failures (`list[str]`): what could not be had, and why.
    """

    n_received: int = 0
    n_kept: int = 0
    failures: list[str] = field(default_factory=list)


def check_space(folder: Path, needed: int) -> None:
    """Refuse a download that does not fit the disk.

    Args:
        folder (`Path`): the target, or where it will be made.
        needed (`int`): bytes still to be written.

    Raises:
        AccessError: less is free.
    """
    place = next((parent for parent in (folder, *folder.absolute().parents) if parent.exists()), Path("/"))
    free = shutil.disk_usage(place).free
    if needed + _RESERVE > free:
        raise AccessError(
            f"`{folder}`: {format_bytes(needed)} are needed, {format_bytes(free)} are free. Free some space, choose "
            "another disk with `--to`, or take a part of the source with `--only`."
        )


class Engine:
    """Downloads lists of files into a target.

    Args:
        client (`HttpClient`): connections.
        state (`TargetState`): the target, locked.
        progress (`Progress`): the bar.
        connections (`int`, *optional*, defaults to `8`): files at a time; publishers slow down clients with more.
        only (`Sequence[str]`, *optional*): patterns for members of archives.
    """

    def __init__(
        self,
        client: HttpClient,
        state: TargetState,
        progress: Progress,
        connections: int = 8,
        only: Sequence[str] = (),
    ) -> None:
        self.client, self.state, self.progress = client, state, progress
        self.connections, self.only = connections, only
        self.tally = Tally()
        #: Whether a file of the source was not there, so that the target is or was not complete.
        self.has_gaps = False
        self._lock = threading.Lock()
        self._fatal: BaseException | None = None

    def fetch(self, files: Sequence[RemoteFile], connections: int | None = None) -> None:
        """Get files; those that are there already are kept.

        One file that cannot be had does not stop the others: it is named in `tally.failures`. What stops everything
        is a refusal of the credentials, a full disk, or Ctrl-C.

        Args:
            files (`Sequence[RemoteFile]`): the files.
            connections (`int`, *optional*): fewer connections than those of the engine.

        Raises:
            AccessError: nothing more can be downloaded.
        """
        self.progress.start([file.size for file in files])
        pending = iter(files)
        n_workers = max(1, min(connections or self.connections, self.connections, len(files)))
        threads = [
            threading.Thread(target=self._work, args=(pending,), name=f"climb-download-{number}", daemon=True)
            for number in range(n_workers)
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.2)  # in slices, so that Ctrl-C is heard
        except BaseException:
            self.client.close()
            for thread in threads:
                thread.join(5)
            raise
        if self._fatal is not None:
            raise self._fatal

    def _next(self, pending: Iterator[RemoteFile]) -> RemoteFile | None:
        with self._lock:
            if self._fatal is not None or self.client.stop.is_set():
                return None
            return next(pending, None)

    def _work(self, pending: Iterator[RemoteFile]) -> None:
        while (file := self._next(pending)) is not None:
            try:
                with storage_errors(self.state.target):
                    is_new = self._one(file)
            except RequestError as error:
                if error.status in _FATAL or (error.status == 403 and not self.tally.n_received):
                    self._stop(error)
                    return
                self._fail(error)
            except AccessError as error:  # the disk
                self._stop(error)
                return
            except ClimbError as error:
                self._fail(error)
            except BaseException as error:  # handed to the caller's thread
                self._stop(error)
                return
            else:
                with self._lock:
                    self.tally.n_received += is_new
                    self.tally.n_kept += not is_new

    def _stop(self, error: BaseException) -> None:
        with self._lock:
            self._fatal = self._fatal or error

    def _fail(self, error: Exception) -> None:
        with self._lock:
            self.tally.failures.append(redact(str(error)))

    def _one(self, file: RemoteFile) -> bool:
        """Get one file; returns whether anything was downloaded."""
        path = safe_name(file.path, file.url.partition("?")[0])
        if self.state.has(file):
            self.progress.skip(file.size or 0)
            self.progress.done()
            return False
        self.has_gaps = self.has_gaps or not path.startswith(f"{FOLDER}/")  # there lie lists
        transfer = Transfer(self.client, self.state, self.progress, file)
        part = transfer.run()
        if file.unpack:
            self.unpack(part, file)
            part.unlink()
            transfer.tag_path.unlink(missing_ok=True)
        else:
            final = self.state.target / path
            transfer.finish(final)
            self.state.record(file, final, transfer.checksum)
        self.progress.done()
        return True

    def unpack(self, archive: Path, file: RemoteFile) -> int:
        """Extract an archive into the target and record what it held; returns the number of files."""
        self.has_gaps = True
        self.progress.note(f"(unpacking {file.path.rpartition('/')[2]})")
        members = extract(
            archive,
            self.state.target / file.into if file.into else self.state.target,
            name=file.path,
            strip=file.strip,
            only=self.only,
            stage=self.state.folder,
            members_md5=file.members_md5,
            comment=file.comment,
        )
        placed = [(f"{file.into}/{name}" if file.into else name, size) for name, size in members]
        self.state.record(file, None, members=placed)
        return len(members)

    def sizes(self, files: Sequence[RemoteFile], limit: int) -> dict[str, int]:
        """Ask for the sizes of files without downloading them.

        Args:
            files (`Sequence[RemoteFile]`): files without a published size.
            limit (`int`): requests to make at most; they are spread over the list.

        Returns:
            `dict[str, int]`: bytes by path, of the files whose size could be had.
        """
        chosen = files[:: max(1, -(-len(files) // limit))] if limit else []

        def ask(file: RemoteFile) -> int | None:
            with self.client.open(file.url, method="HEAD", headers=file.headers) as response:
                return response.length

        found = parallel(lambda file: self.client.retry(lambda: ask(file)), chosen, self.connections)
        return {file.path: size for file, size in zip(chosen, found, strict=True) if size is not None}

    def finish(self) -> None:
        """Raise if files are missing.

        Raises:
            AccessError: names the first of them.
        """
        failures = self.tally.failures
        if failures:
            shown = "\n".join(f"  - {text}" for text in failures[:_SHOWN])
            more = f"\n  and {len(failures) - _SHOWN} more" if len(failures) > _SHOWN else ""
            total = len(failures) + self.tally.n_received + self.tally.n_kept
            raise AccessError(
                f"`{self.state.target}`: {len(failures)} of {total} files could not be had:\n{shown}{more}\nRun the "
                "same command again: it fetches only what is missing."
            )


def parallel(function: Callable[[T], R], items: Sequence[T], workers: int) -> list[R]:
    """Map a function over items in threads, in order; the first error stops the rest."""
    if not items:
        return []
    pool = ThreadPoolExecutor(max_workers=min(workers, len(items)), thread_name_prefix="climb-list")
    try:
        return list(pool.map(function, items))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
