"""A bucket of S3 or anything that speaks its protocol, through s3fs.

An upload in parts becomes visible when it is completed, so a shard is there whole or not at all. Credentials, region
and endpoint come from the usual places of the AWS tools (`AWS_ACCESS_KEY_ID`, `AWS_PROFILE`, `AWS_ENDPOINT_URL`, …).
"""

import contextlib
import datetime
import json
import os
import socket
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from climb_hf.errors import AccessError
from climb_hf.optional import require
from climb_hf.prepare.stores import Upload, storage_errors

if TYPE_CHECKING:
    from climb_hf.prepare.manifest import ShardEntry

__all__ = ["BucketStore"]

_LOCK = ".prepare.lock"
#: Bytes of a part of an upload: S3 takes 10,000 parts, so a shard may have 640 GB.
_PART = 64 << 20
#: Seconds between signs of life of the run that holds the lock, and after which it counts as dead.
_BEAT, _DEAD = 60.0, 300.0


class BucketStore:
    """Objects below a prefix of a bucket.

    Args:
        prefix (`str`): `"bucket/prefix"`.

    Raises:
        DependencyError: the extra `s3` is not installed.
    """

    is_public_hub = False
    is_remote = True

    def __init__(self, prefix: str) -> None:
        require("s3fs", extra="s3")
        self._prefix, self.url = prefix, f"s3://{prefix}"

    @property
    def _fs(self) -> Any:  # noqa: ANN401 - s3fs is optional
        # s3fs keeps one instance per process and settings; nothing of it travels with this object
        return require("s3fs", extra="s3").S3FileSystem(skip_instance_cache=False, use_listings_cache=False)

    def _key(self, path: str) -> str:
        return f"{self._prefix}/{path}"

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold a lock object with signs of life; that of a process that died here, or long ago, is taken over."""
        mine = {"host": socket.gethostname(), "pid": os.getpid()}
        content, key, done = json.dumps(mine).encode(), self._key(_LOCK), threading.Event()
        with self._errors():
            try:
                self._put(key, content, mode="create")
            except FileExistsError:
                self._take_over(key, mine)
                self._put(key, content)

        def beat() -> None:
            while not done.wait(_BEAT):
                with contextlib.suppress(OSError):  # the next sign of life may get through
                    self._put(key, content)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            with self._errors():
                self._fs.rm_file(key)

    def _take_over(self, key: str, mine: dict[str, Any]) -> None:
        """Return where the holder of the lock is dead, else raise."""
        try:
            holder = json.loads(self._fs.cat_file(key))
            age = datetime.datetime.now(datetime.UTC) - self._fs.info(key)["LastModified"]
        except FileNotFoundError:
            return
        is_dead_here = holder["host"] == mine["host"] and not _is_alive(holder["pid"])
        if not is_dead_here and age.total_seconds() < _DEAD:
            raise AccessError(
                f"{self.url}: another `climb prepare` is writing there (process {holder['pid']} on {holder['host']}, "
                f"sign of life {age.total_seconds():.0f} s ago). Wait for it, or choose another target; the lock of a "
                f"run that died is free after {_DEAD:.0f} s."
            )

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Say what to do where the bucket, the credentials or the network are missing."""
        botocore = require("botocore.exceptions", extra="s3")
        try:
            with storage_errors(self.url):
                yield
        except (botocore.NoCredentialsError, botocore.PartialCredentialsError) as error:
            raise AccessError(
                f"{self.url}: no credentials. Set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or `AWS_PROFILE`."
            ) from error
        except botocore.EndpointConnectionError as error:
            raise AccessError(f"{self.url}: no connection. Check the network and `AWS_ENDPOINT_URL`.") from error

    def _put(self, key: str, content: bytes, mode: str = "overwrite") -> None:
        self._fs.pipe_file(key, content, mode=mode)

    @contextlib.contextmanager
    def writer(self, path: str) -> Iterator[Upload]:
        """Upload in parts; an upload that fails is taken back."""
        with self._errors():
            stream = self._fs.open(self._key(path), "wb", block_size=_PART)
            try:
                yield Upload(cast(BinaryIO, stream))
            except BaseException:
                with contextlib.suppress(Exception):  # the error that is under way says more
                    stream.discard()
                stream.closed = True  # else closing would complete the upload
                raise
            stream.close()

    def record(self, entry: "ShardEntry", receipt: Any) -> None:  # noqa: ANN401
        """Write the shard's small object."""
        from climb_hf.prepare.manifest import part_path

        self.write(part_path(entry.path), f"{entry.line()}\n".encode())

    def write(self, path: str, content: bytes) -> None:
        """Write a small object."""
        with self._errors():
            self._put(self._key(path), content)

    def read(self, path: str) -> bytes | None:
        """Return the content of an object, `None` where it does not exist."""
        with self._errors():
            try:
                return self._fs.cat_file(self._key(path))
            except FileNotFoundError:
                return None

    def open(self, path: str) -> BinaryIO:
        """Open an object for reading."""
        return cast(BinaryIO, self._fs.open(self._key(path), "rb"))

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the objects below a folder with their sizes."""
        with self._errors():
            found = self._fs.find(self._key(folder), detail=True)
        start = len(self._prefix) + 1
        return {key[start:]: info["size"] for key, info in sorted(found.items())}

    def delete(self, paths: list[str]) -> None:
        """Remove objects."""
        with self._errors():
            if paths:
                self._fs.rm([self._key(path) for path in paths])

    def flush(self) -> None:
        """Nothing waits: every object is there when its writer returns."""

    def close_to_strangers(self) -> None:
        """Nothing to do: the policy of the bucket is its owner's."""


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
