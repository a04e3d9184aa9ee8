"""What every back end is: a place raw data can be had from, with its list of files; and the session it works in."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from climb_hf.access.engine import Engine, Tally, check_space
from climb_hf.access.files import RemoteFile, select
from climb_hf.access.http import HttpClient
from climb_hf.access.state import FOLDER, TargetState

__all__ = ["Backend", "Session"]


@dataclass
class Session:
    """What a back end may use while it lists or downloads.

    Args:
        source (`str`): name of the source, for messages.
        how_to_get (`tuple[str, ...]`): the source's steps, for messages.
        client (`HttpClient`): connections.
        only (`Sequence[str]`, *optional*): patterns of the files wanted.
        engine (`Engine`, *optional*): absent in a dry run, which writes nothing.
        state (`TargetState`, *optional*): likewise.
        quiet (`bool`, *optional*, defaults to `False`): no progress bars.
        size (`int`, *optional*): bytes of the whole, as published, for the check of free space where a list has none.
        notes (`list[str]`): what the user must know at the end.
    """

    source: str
    how_to_get: tuple[str, ...]
    client: HttpClient
    only: Sequence[str] = ()
    engine: Engine | None = None
    state: TargetState | None = None
    quiet: bool = False
    size: int | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def target(self) -> Path:
        """The target folder."""
        if self.state is None:
            raise RuntimeError("a dry run has no target folder")
        return self.state.target

    @property
    def steps(self) -> str:
        """The source's steps, numbered."""
        return "\n".join(f"  {number}. {step}" for number, step in enumerate(self.how_to_get, 1))

    def fetch(self, files: Sequence[RemoteFile], connections: int | None = None) -> None:
        """Download files into the target."""
        if self.engine is None:
            raise RuntimeError("a dry run downloads nothing")
        self.check_space(files)
        self.engine.fetch(files, connections)

    def check_space(self, files: Sequence[RemoteFile] = ()) -> None:
        """Refuse what does not fit the disk: by the sizes of the list, else by the published size of the whole."""
        missing = sum(file.size for file in files if file.size is not None and not self._is_there(file))
        is_new = self.state is not None and not self.state.n_files
        if is_new and not self.only and self.size is not None and all(file.size is None for file in files):
            missing = max(missing, self.size)
        if missing:
            check_space(self.target, missing)

    def _is_there(self, file: RemoteFile) -> bool:
        try:
            return not file.unpack and (self.target / file.path).stat().st_size == file.size
        except OSError:
            return False

    def text(self, file: RemoteFile) -> str:
        """Return a list of files the publisher keeps; a large one is kept in `.climb/` and not fetched again."""
        if self.state is None:
            return self.client.read(file.url).decode("utf-8", "replace")
        path = self.state.folder / file.path
        kept = f"{self.state.folder.name}/{file.path}"
        if self.engine is not None:
            fetched = RemoteFile(kept, file.url, file.size, file.checksum, headers=file.headers)
            tally, self.engine.tally = self.engine.tally, Tally()
            try:
                self.engine.fetch([fetched])
                self.engine.finish()
            finally:
                self.engine.tally = tally  # a list is none of the source's files
        return path.read_text(encoding="utf-8", errors="replace")

    @contextlib.contextmanager
    def folder(self) -> Iterator[Path]:
        """Give a folder for archives of a foreign client, on the disk of the target; it outlives an interruption."""
        folder = self.target / FOLDER / "archives"
        folder.mkdir(exist_ok=True)
        yield folder
        with contextlib.suppress(OSError):
            folder.rmdir()


@dataclass(frozen=True)
class Backend:
    """A place raw data can be had from; subclasses hold the identifiers."""

    #: Name of the site, for people.
    site: ClassVar[str]
    #: Files at a time the site serves without slowing down.
    max_connections: ClassVar[int] = 8
    #: What the user needs beforehand, `""` for nothing.
    needs: ClassVar[str] = ""

    @property
    def is_open(self) -> bool:
        """Whether it can be downloaded without an account."""
        return not self.needs

    def describe(self) -> str:
        """Return what is taken from where, in a few words."""
        raise NotImplementedError(f"{type(self).__name__} must define `describe()`")

    def files(self, session: Session) -> list[RemoteFile]:
        """List all files; may ask the site."""
        raise NotImplementedError(f"{type(self).__name__} must define `files(session)`")

    def run(self, session: Session) -> None:
        """Download what is wanted into the session's target."""
        session.fetch(select(self.files(session), session.only), self.max_connections)
