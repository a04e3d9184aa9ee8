"""What no program may fetch: the steps for the user, and what happens to the archives the user got (`--from`)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from climb_hf.access.archives import is_archive, join
from climb_hf.access.backend import Backend, Session
from climb_hf.access.files import RemoteFile, digest
from climb_hf.errors import AccessError, CorruptFileError

__all__ = ["Archive", "ByHand", "lay_out"]

_PIECE = re.compile(r"(.+)\.(\d{3})")


@dataclass(frozen=True)
class Archive:
    """A file the user gets by hand, as far as it is published.

    Args:
        name (`str`): its name.
        size (`int`, *optional*): bytes.
        checksum (`str`, *optional*): such as `"sha256:…"`.
    """

    name: str
    size: int | None = None
    checksum: str = ""


@dataclass(frozen=True)
class ByHand(Backend):
    """A source whose publisher wants a form, a signature or a browser.

    Args:
        archives (`tuple[Archive, ...]`, *optional*): what the user gets, with the checksums that are known.
        what (`str`, *optional*): what is meant, where it is a part of the source.
    """

    site: ClassVar[str] = "by hand"
    needs: ClassVar[str] = "steps that only you can do"

    archives: tuple[Archive, ...] = ()
    what: str = ""

    def describe(self) -> str:
        """Return what has to be done."""
        return f"by hand{': ' + self.what if self.what else ''}"

    def files(self, session: Session) -> list[RemoteFile]:
        """Return nothing: there is no list."""
        return []

    def run(self, session: Session) -> None:
        """Say what to do.

        Raises:
            AccessError: always; the message holds the numbered steps.
        """
        raise AccessError(
            f"{session.source}: this source cannot be fetched by a program. Do it by hand:\n{session.steps}\nThen let "
            f"`climb download {session.source} --from FILE --to DIR` check and unpack what you got (`--from` once for "
            "each file), or pass your own folder as `data_dir`."
        )


def lay_out(session: Session, files: Sequence[Path], known: Sequence[Archive]) -> None:
    """Check archives and tables that the user got, and put what they hold into the target.

    Args:
        session (`Session`): with an open target.
        files (`Sequence[Path]`): archives, pieces `NAME.001` and on of a split archive, and plain files.
        known (`Sequence[Archive]`): sizes and checksums that are published.

    Raises:
        AccessError: a file does not exist, or a piece is missing.
        CorruptFileError: a file is not the published one, or is damaged.
    """
    engine, state = session.engine, session.state
    if engine is None or state is None:
        raise RuntimeError("a dry run lays nothing out")
    published = {archive.name: archive for archive in known}
    for path in files:
        if not path.is_file():
            what = "a folder: pass it as `data_dir` instead" if path.is_dir() else "not there"
            raise AccessError(f"{session.source}: expected an archive or table at `{path}`, it is {what}.")
        _check(session, path, published.get(path.name))
    for name, pieces in _pieces(files).items():
        whole = state.folder / name
        whole.unlink(missing_ok=True)
        join(pieces, whole)
        try:
            _check(session, whole, published.get(name))
            engine.unpack(whole, RemoteFile(name, "", unpack=True))
        finally:
            whole.unlink(missing_ok=True)
        engine.tally.n_received += len(pieces)
    for path in files:
        if _PIECE.fullmatch(path.name):
            continue
        if is_archive(path):
            engine.unpack(path, RemoteFile(path.name, "", unpack=True))
        else:
            final = state.target / path.name
            if not final.exists() or not final.samefile(path):
                part = state.part(RemoteFile(path.name, ""))
                part.unlink(missing_ok=True)
                join([path], part)
                engine.has_gaps = True
                part.replace(final)
            state.record(RemoteFile(path.name, ""), final)
        engine.tally.n_received += 1


def _check(session: Session, path: Path, archive: Archive | None) -> None:
    if archive is None:
        session.notes.append(f"`{path.name}`: no checksum is published; only its own format was checked")
        return
    size = path.stat().st_size
    if archive.size is not None and size != archive.size:
        raise CorruptFileError(
            f"{session.source}: `{path}` has {size:,} bytes, expected {archive.size:,}. The "
            "download is not complete or another version; fetch it again."
        )
    if archive.checksum:
        found = digest(path, archive.checksum).finish()
        if found != archive.checksum:
            raise CorruptFileError(
                f"{session.source}: `{path}` has {found}, expected {archive.checksum}. Fetch it again."
            )


def _pieces(files: Sequence[Path]) -> dict[str, list[Path]]:
    """Group the pieces of split archives by name, in order, and see that none is missing."""
    found: dict[str, dict[int, Path]] = {}
    for path in files:
        match = _PIECE.fullmatch(path.name)
        if match is not None:
            found.setdefault(match.group(1), {})[int(match.group(2))] = path
    for name, pieces in found.items():
        if sorted(pieces) != list(range(1, len(pieces) + 1)):
            raise AccessError(
                f"`{name}` is split; expected the pieces .001 to .{max(pieces):03d}, found "
                f"{', '.join(f'.{number:03d}' for number in sorted(pieces))}. Name all of them with `--from`."
            )
    return {name: [pieces[number] for number in sorted(pieces)] for name, pieces in found.items()}
