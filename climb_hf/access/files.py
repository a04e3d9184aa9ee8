"""A file of a publisher (`RemoteFile`), its checksum, and the rules that keep a name inside the target folder."""

import hashlib
import os
import queue
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from climb_hf.errors import CorruptFileError, OptionError

__all__ = [
    "BUFFER",
    "RemoteFile",
    "RunningDigest",
    "digest",
    "format_bytes",
    "matches",
    "public_url",
    "safe_name",
    "select",
]

#: Bytes read from a connection at once: large enough for few calls, small enough to stay in a processor's cache.
BUFFER = 1 << 18
_THREADED = 1 << 23  # files from this size on are hashed beside the transfer
_ALGORITHMS = {"md5": "md5", "sha1": "sha1", "sha256": "sha256", "sha512": "sha512", "git": "sha1"}
_UNITS = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file to be downloaded.

    Args:
        path (`str`): where it belongs, relative to the target folder; for an archive that is unpacked, its name.
        url (`str`): where it is.
        size (`int`, *optional*): bytes, where the publisher states them.
        checksum (`str`, *optional*): `"sha256:…"`, `"md5:…"` or `"git:…"` (blob id), `""` where none is published.
        unpack (`bool`, *optional*, defaults to `False`): an archive, to be extracted and removed.
        into (`str`, *optional*): folder below the target that an archive is extracted to.
        strip (`int`, *optional*, defaults to `0`): leading folders of the archive that are left off.
        members_md5 (`str`, *optional*): name of a table inside the archive with the MD5 of every member.
        comment (`str`, *optional*): text that the comment of a ZIP must hold, such as a commit.
        headers (`Mapping[str, str]`, *optional*): headers of the request; may hold secrets, never shown or recorded.
    """

    path: str
    url: str
    size: int | None = None
    checksum: str = ""
    unpack: bool = False
    into: str = ""
    strip: int = 0
    members_md5: str = ""
    comment: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def safe_name(name: str, where: str) -> str:
    r"""Return a relative path in plain form, or refuse one that leaves its folder.

    Args:
        name (`str`): a path from a publisher's list or archive, with `/` or `\`.
        where (`str`): where the name comes from, for the message.

    Returns:
        `str`: with `/` and without `.` parts.

    Raises:
        CorruptFileError: the name is empty, absolute, has `..`, a drive or a control character.

    Example:
        >>> safe_name("./files//a.csv", "list")
        'files/a.csv'
    """
    path = PurePosixPath(name.replace("\\", "/"))
    parts = [part for part in path.parts if part != "."]
    bad = not parts or path.is_absolute() or ".." in parts or re.match(r"[A-Za-z]:", name)
    if bad or any(ord(c) < 32 or ord(c) == 127 for c in name) or any(len(os.fsencode(p)) > 255 for p in parts):
        raise CorruptFileError(
            f"`{where}` names {name[:200]!r}, which is not a plain path inside the target folder. Nothing is written "
            "there; get the list or archive again from the publisher."
        )
    return "/".join(parts)


def public_url(url: str) -> str:
    """Return a URL without user, password, query and fragment, which may be secrets.

    Args:
        url (`str`): any URL.

    Returns:
        `str`.

    Example:
        >>> public_url("https://user:word@host.org/a.zip?token=x")
        'https://host.org/a.zip'
    """
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def format_bytes(size: float | None) -> str:
    """Return a size for people.

    Args:
        size (`float`, *optional*): bytes.

    Returns:
        `str`: in powers of 1,000.

    Example:
        >>> format_bytes(1_850_000_000), format_bytes(512), format_bytes(None)
        ('1.9 GB', '512 B', 'unknown size')
    """
    if size is None:
        return "unknown size"
    for unit in _UNITS[:-1]:
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} {_UNITS[-1]}"


def matches(path: str, patterns: Sequence[str]) -> bool:
    """Tell whether a path is wanted.

    Args:
        path (`str`): relative, with `/`.
        patterns (`Sequence[str]`): glob patterns of whole paths, of file names, or names of folders; none wants all.

    Returns:
        `bool`.

    Example:
        >>> [matches("records500/00000/a.dat", [p]) for p in ("records500/*", "*.dat", "records500", "*.csv")]
        [True, True, True, False]
    """
    if not patterns:
        return True
    name = path.rpartition("/")[2]
    for pattern in patterns:
        pattern = pattern.removeprefix("./").rstrip("/")
        if fnmatchcase(path, pattern) or fnmatchcase(path, f"{pattern}/*"):
            return True
        if "/" not in pattern and fnmatchcase(name, pattern):
            return True
    return False


def select(files: Sequence[RemoteFile], patterns: Sequence[str]) -> list[RemoteFile]:
    """Return the files that patterns want.

    An archive is wanted if a pattern fits its name; where no pattern fits any name, all archives are, since what they
    hold is known only after the download, and the patterns then choose among their members.

    Args:
        files (`Sequence[RemoteFile]`): all files.
        patterns (`Sequence[str]`): see `matches`.

    Returns:
        `list[RemoteFile]`.
    """
    if not patterns:
        return list(files)
    wanted = [file for file in files if matches(file.path, patterns)]
    return wanted or [file for file in files if file.unpack]


class RunningDigest:
    """A checksum over data that arrives in buffers, in a thread of its own where the file is large.

    Args:
        checksum (`str`): `"sha256:…"` and the like; only the algorithm matters here.
        size (`int`, *optional*): bytes of the whole file.
    """

    def __init__(self, checksum: str, size: int | None) -> None:
        self.algorithm = checksum.partition(":")[0]
        if self.algorithm not in _ALGORITHMS:
            raise OptionError(f"`checksum` must begin with one of {sorted(_ALGORITHMS)}, got {checksum[:20]!r}.")
        self._hash = hashlib.new(_ALGORITHMS[self.algorithm], usedforsecurity=False)
        if self.algorithm == "git":
            self._hash.update(b"blob %d\0" % (size or 0))
        self._queue: queue.Queue[Any] | None = None
        if size is None or size >= _THREADED:
            self._queue = queue.Queue(maxsize=2)
            self._thread = threading.Thread(target=self._work, args=(self._queue,), daemon=True)
            self._thread.start()

    def _work(self, pending: "queue.Queue[Any]") -> None:
        while (data := pending.get()) is not None:
            self._hash.update(data)

    def update(self, data: memoryview | bytes) -> None:
        """Add data; a buffer may be written again after three further calls."""
        if self._queue is None:
            self._hash.update(data)
        else:
            self._queue.put(data)

    def finish(self) -> str:
        """Return the checksum, such as `"md5:…"`; no data can be added afterwards."""
        if self._queue is not None:
            self._queue.put(None)
            self._thread.join()
            self._queue = None
        return f"{self.algorithm}:{self._hash.hexdigest()}"


def digest(path: Path, checksum: str, running: RunningDigest | None = None) -> RunningDigest:
    """Digest a file with the algorithm of a checksum.

    Args:
        path (`Path`): the file.
        checksum (`str`): names the algorithm, see `RemoteFile`.
        running (`RunningDigest`, *optional*): a digest to go on with.

    Returns:
        `RunningDigest`: after the file; call `finish` for the checksum.
    """
    running = running or RunningDigest(checksum, path.stat().st_size)
    buffers = [memoryview(bytearray(BUFFER)) for _ in range(4)]
    with path.open("rb", buffering=0) as stream:
        number = 0
        while n := stream.readinto(buffers[number % 4]):
            running.update(buffers[number % 4][:n])
            number += 1
    return running
