"""What a target folder remembers of its downloads: `.climb/` with a lock, the accepted licence, a journal of files.

The journal is a file of JSON lines, one appended for every file that lies whole and verified in its place. A killed
process can only lose its last line; nothing that stands in the journal is downloaded twice.
"""

import contextlib
import datetime
import errno
import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.access.files import RemoteFile, digest, public_url
from climb_hf.errors import AccessError

if TYPE_CHECKING:
    from climb_hf.source import Source

__all__ = ["FOLDER", "TargetState", "read_state", "storage_errors"]

#: Folder of a target that holds everything of ours; hidden, so no source takes it for data.
FOLDER = ".climb"
_FACTS, _JOURNAL, _LOCK = "download.json", "files.jsonl", "lock"


@contextlib.contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """Turn what a full or read-only disk raises into an `AccessError` that says what to do."""
    try:
        yield
    except OSError as error:
        if isinstance(error, AccessError):
            raise
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            text = "the disk is full. Free some space and run the same command again: it goes on where it stopped"
        elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            text = "it cannot be written to. Choose another folder with `--to`, or change its permissions"
        elif error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
            text = f"a file stands where a folder should be, or the other way round (`{error.filename}`). Move it away"
        else:
            raise
        raise AccessError(f"`{folder}`: {text}.") from error


def read_state(target: Path) -> dict[str, Any]:
    """Return what is recorded of a target: source, way, licence, status; empty where nothing is.

    Args:
        target (`Path`): the folder a download went to.

    Returns:
        `dict`.
    """
    try:
        facts = json.loads((target / FOLDER / _FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


class TargetState:
    """The record of one target folder; safe to use from several threads of one process.

    Args:
        target (`Path`): the folder; made by `open`.
    """

    def __init__(self, target: Path) -> None:
        self.target, self.folder = target, target / FOLDER
        self.facts: dict[str, Any] = read_state(target)
        #: Patterns that choose among the members of archives.
        self.only: Sequence[str] = ()
        self._entries: dict[str, dict[str, Any]] = {}
        self._guard = threading.Lock()

    @contextlib.contextmanager
    def open(self) -> Iterator["TargetState"]:
        """Make the folder, take its lock and read the journal.

        Raises:
            AccessError: another process downloads to this folder, or it cannot be written to.
        """
        import filelock

        with storage_errors(self.target):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.folder / _LOCK, timeout=0)
            try:
                lock.acquire()
            except filelock.Timeout:
                raise AccessError(
                    f"`{self.target}`: another download to this folder is running. Wait for it, or choose another "
                    "folder with `--to`."
                ) from None
            try:
                self.facts = read_state(self.target)
                self._read_journal()
                for left in self.folder.glob("unpacking-*"):  # of a killed process
                    shutil.rmtree(left, ignore_errors=True)
                with (self.folder / _JOURNAL).open("a", encoding="utf-8") as self._journal:
                    yield self
            finally:
                lock.release()

    def _read_journal(self) -> None:
        path = self.folder / _JOURNAL
        if not path.is_file():
            return
        with path.open("r+", encoding="utf-8", errors="replace") as stream:
            text = stream.read()
            if text and not text.endswith("\n"):
                stream.write("\n")  # the last line of a killed process
        for line in text.splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                self._entries[entry["path"]] = entry

    # ------------------------------------------------------------------ facts

    def is_accepted(self, source: "Source") -> bool:
        """Tell whether the present licence of a source, as its publisher words it, was accepted for this folder."""
        accepted = self.facts.get("licence", {})
        is_same = (accepted.get("license"), accepted.get("homepage")) == (source.license, source.homepage)
        return bool(accepted.get("accepted")) and is_same

    def write_facts(self, **facts: Any) -> None:  # noqa: ANN401 - JSON values
        """Add facts to the record, which is replaced as a whole; `None` removes one."""
        self.facts = {key: value for key, value in {**self.facts, **facts}.items() if value is not None}
        part = self.folder / f"{_FACTS}.part"
        part.write_text(json.dumps(self.facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        part.replace(self.folder / _FACTS)

    def accept(self, source: "Source") -> None:
        """Record that the user accepts the licence of a source."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        licence = {"license": source.license, "note": source.license_note, "homepage": source.homepage}
        self.write_facts(source=source.name, title=source.title, licence={**licence, "accepted": now})

    # ------------------------------------------------------------------ files

    def has(self, file: RemoteFile) -> bool:
        """Tell whether a file lies in its place as it was recorded, or as its published checksum says."""
        entry = self._entries.get(_key(file))
        if entry is not None and self._is_unchanged(entry, file):
            return True
        path = self.target / file.path
        if file.unpack or not path.is_file() or (file.size is not None and path.stat().st_size != file.size):
            return False
        if not file.checksum and (entry is not None or file.size is None):
            return False
        if file.checksum and digest(path, file.checksum).finish() != file.checksum:
            return False  # else it is the user's own copy: all that is published fits
        self.record(file, path)
        return True

    def _is_unchanged(self, entry: Mapping[str, Any], file: RemoteFile) -> bool:
        if file.checksum and entry.get("checksum") != file.checksum:
            return False
        if file.size is not None and not file.unpack and entry.get("size") != file.size:
            return False
        if file.unpack:
            is_same = entry.get("only", []) == sorted(self.only)
            return is_same and all(self._is_member(name, size) for name, size in self.members(entry))
        try:
            stat = (self.target / file.path).stat()
        except OSError:
            return False
        return stat.st_size == entry.get("size") and stat.st_mtime_ns == entry.get("mtime_ns")

    def _is_member(self, name: str, size: int) -> bool:
        """Tell whether what an archive held is there, or what was put in its place since (a large file of git)."""
        found = _size(self.target / name)
        return found == size or (found >= 0 and found == self._entries.get(name, {}).get("size"))

    def entries(self) -> list[dict[str, Any]]:
        """Return the journal: path, address, checksum and size of every file."""
        with self._guard:
            return list(self._entries.values())

    def members(self, entry: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
        """Yield path and size of what an archive of the journal was extracted to."""
        try:
            text = (self.folder / entry["members"]).read_text(encoding="utf-8")
        except (OSError, KeyError):
            yield "", -1  # no list: the archive does not count as present
            return
        for line in text.splitlines():
            size, _, name = line.partition("\t")
            yield name, int(size)

    def record(self, file: RemoteFile, path: Path | None, checksum: str = "", members: Sequence[Any] = ()) -> None:
        """Add a file to the journal.

        Args:
            file (`RemoteFile`): what was asked for.
            path (`Path`, *optional*): where it lies; `None` for an archive that was extracted.
            checksum (`str`, *optional*): the checksum found, where none is published.
            members (`Sequence[tuple[str, int]]`, *optional*): path and size of what an archive held.
        """
        entry: dict[str, Any] = {"path": _key(file), "url": public_url(file.url)}
        entry["checksum"] = file.checksum or checksum
        if path is not None:
            stat = path.stat()
            entry |= {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
        else:
            name = f"members-{abs(hash_name(_key(file))):016x}.tsv"
            text = "".join(f"{size}\t{name}\n" for name, size in members)
            (self.folder / name).write_text(text, encoding="utf-8")
            entry |= {"members": name, "size": file.size, "only": sorted(self.only)}
        with self._guard:
            self._entries[entry["path"]] = entry
            self._journal.write(json.dumps(entry, ensure_ascii=False) + "\n")
            self._journal.flush()

    def part(self, file: RemoteFile) -> Path:
        """Return where an unfinished file lies; its folder is made."""
        folder = self.folder / "parts"
        folder.mkdir(exist_ok=True)
        name = _key(file).rpartition("/")[2][-80:]
        return folder / f"{hash_name(_key(file)):016x}-{name}.part"

    @property
    def n_files(self) -> int:
        """Number of files in the journal."""
        return len(self._entries)

    def clean(self) -> None:
        """Remove what is left of finished transfers."""
        with contextlib.suppress(OSError):
            os.rmdir(self.folder / "parts")  # noqa: PTH106 - only where it is empty


def hash_name(text: str) -> int:
    """Return a number of 64 bits for a name, the same in every process."""
    import hashlib

    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _key(file: RemoteFile) -> str:
    return f"{file.into}/{file.path}#archive" if file.unpack else file.path


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
