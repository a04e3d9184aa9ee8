"""Extraction of archives that somebody else made: nothing leaves the target, nothing is larger than declared.

Members are extracted into a hidden folder beside their place and moved only when all of them are whole, so a refused
or damaged archive changes nothing. Names with `..`, absolute names, drives, device files and links that lead out are
refused; links inside become copies. What an archive declares is compared with a limit and with the free space before
anything is written, and what arrives is compared with what was declared.
"""

import contextlib
import csv
import hashlib
import io
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from climb_hf.access.files import format_bytes, matches, safe_name
from climb_hf.access.state import FOLDER
from climb_hf.errors import AccessError, CorruptFileError

__all__ = ["ARCHIVE_SUFFIXES", "extract", "is_archive"]

#: Suffixes of the archives that `extract` reads.
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
#: An archive may declare this many times its own size, and this many bytes in any case: masks and text compress well,
#: but what exceeds it is no data set.
_RATIO, _ALWAYS = 250, 1 << 30
_MAX_MEMBERS = 5_000_000
_JUNK = frozenset({"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini"})
_RESERVE = 64_000_000
_CHUNK = 1 << 20
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, ValueError, NotImplementedError)


@dataclass(frozen=True)
class _Member:
    """A file of an archive: its safe name, declared size, and where its content is."""

    name: str
    size: int
    entry: zipfile.ZipInfo | tarfile.TarInfo
    link: str | None = None


def is_archive(path: Path) -> bool:
    """Tell by its name whether `extract` reads a file.

    Args:
        path (`Path`): a file.

    Returns:
        `bool`.

    Example:
        >>> is_archive(Path("a.tar.gz")), is_archive(Path("volume.nii.gz"))
        (True, False)
    """
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def extract(
    archive: Path,
    target: Path,
    *,
    name: str = "",
    strip: int = 0,
    only: Sequence[str] = (),
    stage: Path | None = None,
    limit: int | None = None,
    members_md5: str = "",
    comment: str = "",
) -> list[tuple[str, int]]:
    """Extract a ZIP or (compressed) tar archive, all of it or nothing.

    Args:
        archive (`Path`): the archive; its kind is told by content.
        target (`Path`): the folder its members go to; files of the same names are replaced.
        name (`str`, *optional*): the archive's name for messages.
        strip (`int`, *optional*, defaults to `0`): leading folders of every name that are left off.
        only (`Sequence[str]`, *optional*): patterns of the members wanted, see `files.matches`.
        stage (`Path`, *optional*): a folder on the same disk for what is not complete; the target by default.
        limit (`int`, *optional*): most bytes the members may declare together. Defaults to 250 times the archive and
            at least 1 GiB.
        members_md5 (`str`, *optional*): name of a table `name,md5` in the archive, which is checked and not extracted.
        comment (`str`, *optional*): text the comment of a ZIP must be.

    Returns:
        `list[tuple[str, int]]`: path relative to `target`, and size, of every file.

    Raises:
        CorruptFileError: the archive is damaged, encrypted, too large, or wants to write outside the target.
        AccessError: it does not fit the disk.

    Example:
        >>> folder = Path(tempfile.mkdtemp())
        >>> with zipfile.ZipFile(folder / "a.zip", "w") as file:
        ...     file.writestr("top/a.csv", "id")
        >>> extract(folder / "a.zip", folder / "raw", strip=1)
        [('a.csv', 2)]
    """
    name = name or archive.name
    limit = limit if limit is not None else max(_ALWAYS, _RATIO * archive.stat().st_size)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="unpacking-", dir=stage or target) as folder:
        staged = Path(folder)
        try:
            if zipfile.is_zipfile(archive):
                with zipfile.ZipFile(archive) as file:
                    _check_zip(file, name, comment)
                    written = _extract_zip(file, staged, name, strip, only, limit, members_md5)
            elif comment:
                raise CorruptFileError(f"`{name}`: expected a ZIP archive.")
            else:
                with tarfile.open(archive) as tar:
                    written = _extract_tar(tar, staged, name, strip, only, limit)
        except AccessError:
            raise
        except _DAMAGE as error:
            if isinstance(error, CorruptFileError) or (isinstance(error, OSError) and error.errno):
                raise  # ours, or the disk's
            raise CorruptFileError(
                f"`{name}` is damaged or no archive we read ({error or type(error).__name__}). Fetch it again; we "
                f"read {', '.join(ARCHIVE_SUFFIXES)}."
            ) from error
        for path, _ in written:
            final = target / path
            final.parent.mkdir(parents=True, exist_ok=True)
            (staged / path).replace(final)
    return written


def _plan(
    entries: Iterator[tuple[str, int, zipfile.ZipInfo | tarfile.TarInfo, str | None]],
    name: str,
    strip: int,
    only: Sequence[str],
    limit: int,
) -> list[_Member]:
    """Check every name and the sum of the sizes; returns the members to extract."""
    members: list[_Member] = []
    seen: set[str] = set()
    total = 0
    for count, (raw, size, entry, link) in enumerate(entries, 1):
        path = safe_name(raw, name)
        total += size
        if total > limit or count > _MAX_MEMBERS:
            raise _too_large(name, count, total, limit)
        parts = path.split("/")[strip:]
        if parts and parts[0] == FOLDER:
            raise CorruptFileError(
                f"`{name}` holds `{path[:200]}`, but `{FOLDER}` is where downloads are recorded. It is not extracted."
            )
        if not parts or _JUNK & set(parts) or parts[-1].startswith("._"):
            continue
        path = "/".join(parts)
        if path in seen:
            raise CorruptFileError(f"`{name}` holds `{path}` twice. Fetch it again from the publisher.")
        seen.add(path)
        if link is not None:
            is_hard = isinstance(entry, tarfile.TarInfo) and entry.islnk()  # named from the top of the archive
            link = _link_target(path, link, strip if is_hard else None, name)
        if matches(path, only):
            members.append(_Member(path, size, entry, link))
    return members


def _too_large(name: str, count: int, total: int, limit: int) -> CorruptFileError:
    return CorruptFileError(
        f"`{name}` declares {count:,} files of {format_bytes(total)} and more, beyond the limit of "
        f"{format_bytes(limit)} for an archive of its size. It is not extracted; look at it by hand."
    )


def _link_target(path: str, link: str, strip: int | None, name: str) -> str:
    """Return the member a link points to, or refuse a link that leads out of the archive."""
    base = PurePosixPath(path).parent if strip is None else PurePosixPath()
    steps: list[str] = []
    for part in (PurePosixPath(*base.parts) / link.replace("\\", "/")).parts if not link.startswith("/") else ("/",):
        if part == "/" or (part == ".." and not steps):
            raise CorruptFileError(
                f"`{name}`: the link `{path}` leads to {link[:200]!r}, outside the target. It is not extracted."
            )
        if part == "..":
            steps.pop()
        elif part != ".":
            steps.append(part)
    return "/".join(steps[strip or 0 :])


def _check_space(folder: Path, members: Sequence[_Member], name: str) -> None:
    needed, free = sum(member.size for member in members), shutil.disk_usage(folder).free
    if needed + _RESERVE > free:
        raise AccessError(
            f"`{name}` unpacks to {format_bytes(needed)}, {format_bytes(free)} are free. Free some space and run the "
            "same command again: the archive is kept."
        )


def _write(source: IO[bytes], path: Path, size: int, name: str) -> None:
    """Write exactly the declared number of bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with path.open("xb") as stream:
        while block := source.read(_CHUNK):
            written += len(block)
            if written > size:
                break
            stream.write(block)
    if written != size:
        raise CorruptFileError(
            f"`{name}`: `{path.name}` declares {size:,} bytes and holds another number. Fetch it again."
        )


def _link_copies(members: Sequence[_Member], folder: Path, name: str, limit: int) -> None:
    """Make copies for links to extracted members, as far as the limit goes; chains of links are followed."""
    total, count = sum(member.size for member in members), sum(member.link is None for member in members)
    waiting = [member for member in members if member.link is not None]
    while waiting:
        left = []
        for member in waiting:
            source = folder / str(member.link)
            if source.is_file():
                total, count = total + source.stat().st_size, count + 1
                if total > limit:
                    raise _too_large(name, count, total, limit)
                (folder / member.name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, folder / member.name)
            elif not source.is_dir():
                left.append(member)
        if len(left) == len(waiting):
            raise CorruptFileError(
                f"`{name}`: the link `{left[0].name}` leads to `{left[0].link}`, which is not in it."
            )
        waiting = left


def _sizes(members: Sequence[_Member], folder: Path) -> list[tuple[str, int]]:
    return [(m.name, (folder / m.name).stat().st_size) for m in members if (folder / m.name).is_file()]


# ---------------------------------------------------------------------- ZIP


def _check_zip(file: zipfile.ZipFile, name: str, comment: str) -> None:
    if comment and file.comment.decode("ascii", "replace").strip() != comment:
        raise CorruptFileError(
            f"`{name}`: expected the archive of `{comment}`, its comment says {file.comment[:60]!r}. Fetch it again."
        )
    if any(info.flag_bits & 1 for info in file.infolist()):
        raise CorruptFileError(f"`{name}` is encrypted. Unpack it with its password and pass the folder.")


def _extract_zip(
    file: zipfile.ZipFile, folder: Path, name: str, strip: int, only: Sequence[str], limit: int, members_md5: str
) -> list[tuple[str, int]]:
    def entries() -> Iterator[tuple[str, int, zipfile.ZipInfo, str | None]]:
        for info in file.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.is_dir():
                if info.filename.strip("/\\"):
                    safe_name(info.filename, name)
                continue
            if kind == stat.S_IFLNK:
                if info.file_size > 4096:
                    raise CorruptFileError(f"`{name}`: the link `{info.filename[:200]}` has no plain target.")
                yield info.filename, 0, info, file.read(info).decode("utf-8", "replace")
            elif kind in (0, stat.S_IFREG):
                yield info.filename, info.file_size, info, None
            else:
                raise CorruptFileError(f"`{name}`: `{info.filename[:200]}` is a device or pipe. It is not extracted.")

    members = _plan(entries(), name, strip, only, limit)
    sums = _read_sums(file, members_md5, name)
    members = [member for member in members if member.name != members_md5]
    _check_space(folder, members, name)
    for member in members:
        if member.link is None:
            with file.open(member.entry) as source:  # type: ignore[arg-type]  # a ZipInfo
                _write(source, folder / member.name, member.size, name)
            if member.name in sums or (members_md5 and member.name.endswith(".dcm")):
                _check_sum(folder / member.name, sums.pop(member.name, ""), name)
    if sums and not only:
        raise CorruptFileError(f"`{name}`: {len(sums)} files of its list are missing (first: `{min(sums)}`).")
    _link_copies(members, folder, name, limit)
    return _sizes(members, folder)


def _read_sums(file: zipfile.ZipFile, table: str, name: str) -> dict[str, str]:
    """Read the MD5 of every member from a table in the archive."""
    if not table:
        return {}
    if table not in file.namelist():
        raise CorruptFileError(f"`{name}`: expected the list `{table}` in the archive, it is missing. Fetch it again.")
    rows = csv.reader(io.StringIO(file.read(table).decode("utf-8-sig")))
    return {row[0].strip(): row[1].strip().lower() for row in rows if len(row) >= 2 and len(row[1].strip()) == 32}


def _check_sum(path: Path, expected: str, name: str) -> None:
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != expected:
        raise CorruptFileError(
            f"`{name}`: the MD5 of `{path.name}` does not fit: expected {expected or 'none'}, found {found}."
        )


# ---------------------------------------------------------------------- tar


def _extract_tar(
    tar: tarfile.TarFile, folder: Path, name: str, strip: int, only: Sequence[str], limit: int
) -> list[tuple[str, int]]:
    def entries() -> Iterator[tuple[str, int, tarfile.TarInfo, str | None]]:
        for info in tar:
            if info.isdir():
                if info.name.strip("./"):
                    safe_name(info.name, name)
            elif info.issym() or info.islnk():
                yield info.name, 0, info, info.linkname
            elif info.isreg():
                yield info.name, info.size, info, None
            else:
                raise CorruptFileError(f"`{name}`: `{info.name[:200]}` is a device or pipe. It is not extracted.")

    members = _plan(entries(), name, strip, only, limit)  # all names are read before anything is written
    _check_space(folder, members, name)
    for member in members:
        if member.link is None:
            source = tar.extractfile(member.entry)  # type: ignore[arg-type]  # a TarInfo
            if source is None:
                raise CorruptFileError(f"`{name}`: `{member.name}` has no content.")
            with contextlib.closing(source):
                _write(source, folder / member.name, member.size, name)
    _link_copies(members, folder, name, limit)
    return _sizes(members, folder)


def join(parts: Sequence[Path], whole: Path) -> None:
    """Join the pieces of a split file, `NAME.001` and on, by plain concatenation.

    Args:
        parts (`Sequence[Path]`): the pieces in order.
        whole (`Path`): the file to write.
    """
    with whole.open("xb") as target:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, target, _CHUNK)
        target.flush()
        os.fsync(target.fileno())
