"""Where prepared shards go: a folder, an S3-compatible bucket, a data set repository of the Hub.

A store puts a file there whole or not at all, lets one run at a time write, and lists what is there. Stores travel to
worker processes, so they hold addresses only: credentials are found on each machine as usual (environment,
configuration files of the tools), and are written nowhere.
"""

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast
from urllib.parse import urlsplit

from climb_hf.errors import AccessError, OptionError

if TYPE_CHECKING:
    from climb_hf.prepare.manifest import ShardEntry

__all__ = ["LocalStore", "Store", "Upload", "open_store", "storage_errors"]

_TEMPORARY = ".tmp-"
_LOCK = ".prepare.lock"


@dataclass
class Upload:
    """A shard on its way into a store.

    Args:
        stream (`BinaryIO`): takes the bytes, in order.
        receipt (`Any`, *optional*): what the store needs to record the shard, known once it is there; can be pickled.
    """

    stream: BinaryIO
    receipt: Any = None


class Store(Protocol):
    """What a run needs of its target."""

    url: str
    #: Whether rows become visible to others than the machine's own users: the guard of licences asks.
    is_public_hub: bool
    #: Whether it is on somebody else's machine.
    is_remote: bool

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Keep other runs out while the body runs; raises `AccessError` where one is at work."""

    def writer(self, path: str) -> contextlib.AbstractContextManager[Upload]:
        """Open a shard for writing; it is there once the body has ended without an error. Called by workers."""

    def record(self, entry: "ShardEntry", receipt: Any) -> None:  # noqa: ANN401 - what the store's writer made
        """Note that a shard is done, for a run that goes on after this one. Called by the main process."""

    def write(self, path: str, content: bytes) -> None:
        """Write a small file in one step."""

    def read(self, path: str) -> bytes | None:
        """Return the content of a small file, `None` where it does not exist."""

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading."""

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the files below a folder with their sizes."""

    def delete(self, paths: list[str]) -> None:
        """Remove files; one that is gone already is no error."""

    def flush(self) -> None:
        """Make sure that all that was recorded, written or deleted is in the target."""

    def close_to_strangers(self) -> None:
        """Let only those in who have accepted the conditions of the card; for a repository of the Hub."""


def open_store(target: str | os.PathLike[str], *, private: bool = False) -> Store:
    """Return the store at an address.

    Args:
        target (`str` or `Path`): a folder; `s3://BUCKET/PREFIX`; `hf://datasets/USER/NAME[@BRANCH]`.
        private (`bool`, *optional*, defaults to `False`): make a repository of the Hub private.

    Returns:
        `Store`: nothing is created yet.

    Raises:
        OptionError: the address has another form.
        DependencyError: `s3://` without the extra `s3`.

    Example:
        >>> open_store("prepared").url
        'prepared'
    """
    text = os.fspath(target)
    parts = urlsplit(text) if "://" in text else None
    if private and (parts is None or parts.scheme != "hf"):
        raise OptionError(f"`private` is for repositories of the Hub (hf://datasets/USER/NAME), not for {text!r}.")
    if parts is None or parts.scheme == "file":
        return LocalStore(text if parts is None else parts.path)
    if parts.scheme in ("s3", "s3a"):
        from climb_hf.prepare.bucket import BucketStore

        if not parts.netloc:
            raise OptionError(f"expected s3://BUCKET/PREFIX, got {text!r}.")
        return BucketStore(f"{parts.netloc}/{parts.path.strip('/')}".rstrip("/"))
    if parts.scheme == "hf":
        from climb_hf.prepare.repository import RepositoryStore

        words = [word for word in f"{parts.netloc}{parts.path}".split("/") if word]
        if len(words) == 3 and words[0] == "datasets":
            name, _, revision = words[2].partition("@")
            return RepositoryStore(f"{words[1]}/{name}", revision or None, private)
        raise OptionError(f"expected hf://datasets/USER/NAME or hf://datasets/USER/NAME@BRANCH, got {text!r}.")
    raise OptionError(f"a target is a folder, s3://BUCKET/PREFIX or hf://datasets/USER/NAME, not {text!r}.")


@contextlib.contextmanager
def storage_errors(where: str) -> Iterator[None]:
    """Turn what a full, read-only or unreachable target raises into `AccessError` with what to do.

    Args:
        where (`str`): the target, for the message.
    """
    try:
        yield
    except AccessError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise AccessError(
                f"{where}: no space left ({error.strerror}). Shards that are complete stay; free space and run the "
                "same command again, it goes on where it stopped."
            ) from error
        if isinstance(error, PermissionError) or error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise AccessError(
                f"{where}: cannot be written ({error.strerror or error}). Choose another `--to`, or change the "
                "permissions."
            ) from error
        if isinstance(error, NotADirectoryError | FileExistsError | FileNotFoundError):
            raise AccessError(f"{where}: expected a folder that can be written, found {error}.") from error
        raise


class LocalStore:
    """A folder. Files are written beside their place, synced to disk, and renamed.

    Args:
        folder (`str`): the folder; made when it is first written to. Several machines may share it.
    """

    is_public_hub = False
    is_remote = False

    def __init__(self, folder: str) -> None:
        self.url = folder
        self._root = Path(folder).expanduser().absolute()

    def local_path(self, path: str) -> Path:
        """Return where a file of the target lies; raises `OptionError` for a path that leads out of it."""
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise OptionError(f"expected a path inside the target, got {path!r}.")
        return self._root / path

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock of the folder; the system frees it when this process ends, however it ends."""
        from filelock import FileLock, Timeout

        with storage_errors(f"`{self.url}`"):
            self._root.mkdir(parents=True, exist_ok=True)
            guard = FileLock(self._root / _LOCK, timeout=0)
            try:
                guard.acquire()
            except Timeout as error:
                raise AccessError(
                    f"`{self.url}`: another `climb prepare` is writing there. Wait for it, or choose another target."
                ) from error
        try:
            self._sweep()  # after a run that was killed
            yield
        finally:
            self._sweep()
            guard.release()

    def _sweep(self) -> None:
        for left in self._root.rglob(f"{_TEMPORARY}*"):
            left.unlink(missing_ok=True)

    @contextlib.contextmanager
    def writer(self, path: str) -> Iterator[Upload]:
        """Write beside the place of the shard, then rename."""
        target = self.local_path(path)
        beside = target.with_name(f"{_TEMPORARY}{uuid.uuid4().hex[:12]}-{target.name}")
        with storage_errors(f"`{self.url}`"):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with self._create(beside) as stream:
                    yield Upload(stream)
                    stream.flush()
                    os.fsync(stream.fileno())
                beside.replace(target)
            finally:
                beside.unlink(missing_ok=True)

    def _create(self, path: Path) -> BinaryIO:
        return path.open("xb")

    def record(self, entry: "ShardEntry", receipt: Any) -> None:  # noqa: ANN401
        """Write the shard's small file."""
        from climb_hf.prepare.manifest import part_path

        self.write(part_path(entry.path), f"{entry.line()}\n".encode())

    def write(self, path: str, content: bytes) -> None:
        """Write a small file in one step."""
        with self.writer(path) as upload:
            upload.stream.write(content)

    def read(self, path: str) -> bytes | None:
        """Return the content of a file, `None` where it does not exist."""
        try:
            return self.local_path(path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading."""
        return cast(BinaryIO, self.local_path(path).open("rb"))

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the files below a folder with their sizes."""
        found = (path for path in sorted(self.local_path(folder).rglob("*")) if path.is_file())
        return {path.relative_to(self._root).as_posix(): path.stat().st_size for path in found}

    def delete(self, paths: list[str]) -> None:
        """Remove files, and folders that are empty then."""
        folders = set()
        for path in paths:
            self.local_path(path).unlink(missing_ok=True)
            folders.add(self.local_path(path).parent)
        for folder in folders:
            if folder != self._root and folder.is_dir() and not any(folder.iterdir()):
                shutil.rmtree(folder, ignore_errors=True)

    def flush(self) -> None:
        """Nothing waits: every write is on disk when it returns."""

    def close_to_strangers(self) -> None:
        """Nothing to do: the permissions of the folder are its owner's."""
