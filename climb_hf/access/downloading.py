"""`climb download`: the raw data of a source into a folder, whole, verified, and under an accepted licence."""

import datetime
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from climb_hf._version import __version__
from climb_hf.access.backend import Session
from climb_hf.access.by_hand import ByHand, lay_out
from climb_hf.access.credentials import redact
from climb_hf.access.engine import Engine
from climb_hf.access.files import RemoteFile, format_bytes, select
from climb_hf.access.http import HttpClient
from climb_hf.access.progress import Progress
from climb_hf.access.state import TargetState, storage_errors
from climb_hf.access.way import Way, way_of
from climb_hf.errors import AccessError, LayoutError, LicenseError, OptionError
from climb_hf.registry import get_source
from climb_hf.source import Source

__all__ = ["ACCEPT", "DownloadReport", "download", "is_accepted", "licence_text", "target_of", "unfinished"]

logger = logging.getLogger(__name__)

#: Environment variable that accepts the licence of whatever is downloaded.
ACCEPT = "CLIMB_ACCEPT_LICENSE"
#: Sizes asked for one by one in a dry run, where no list states them.
_ASKED = 200


@dataclass
class DownloadReport:
    """What a download did, or would do.

    Args:
        name (`str`): the source.
        target (`str`): the folder.
        way (`str`): name of the way.
        description (`str`): what was taken from where.
        license (`str`): the source's licence.
        n_files (`int`): files of the list (archives count once).
        n_bytes (`int`, *optional*): their size; where no list states it, an estimate (`is_estimate`).
        is_estimate (`bool`, *optional*, defaults to `False`): whether `n_bytes` is one.
        n_received (`int`, *optional*, defaults to `0`): files downloaded now.
        n_kept (`int`, *optional*, defaults to `0`): files that were there already.
        received_bytes (`int`, *optional*, defaults to `0`): bytes downloaded now.
        seconds (`float`, *optional*, defaults to `0.0`): time it took.
        remaining (`list[str]`): steps that only the user can do.
        notes (`list[str]`): what could not be checked.
        files (`list[dict]`): in a dry run, path and size of every file.
        next_command (`str`, *optional*): what to type next.
    """

    name: str
    target: str
    way: str
    description: str
    license: str
    n_files: int = 0
    n_bytes: int | None = None
    is_estimate: bool = False
    n_received: int = 0
    n_kept: int = 0
    received_bytes: int = 0
    seconds: float = 0.0
    remaining: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)
    next_command: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {**self.__dict__}


def target_of(name: str, to: str | Path | None) -> Path:
    """Return the folder a source is downloaded to.

    Args:
        name (`str`): the source.
        to (`str` or `Path`, *optional*): the folder; `$CLIMB_DATA/NAME` otherwise.

    Returns:
        `Path`: absolute.

    Raises:
        OptionError: neither is given.
    """
    base = os.environ.get("CLIMB_DATA")
    if to is None and not base:
        raise OptionError(f"{name}: say where to put the data: `--to DIR`, or set `CLIMB_DATA` to a folder for all.")
    return (Path(to) if to is not None else Path(str(base)) / name).expanduser().absolute()


def is_accepted(accept_license: bool) -> bool:
    """Tell whether the user accepts the licence, by argument or by `CLIMB_ACCEPT_LICENSE`."""
    return accept_license or os.environ.get(ACCEPT, "").lower() in ("1", "true", "yes")


def licence_text(source: Source) -> str:
    """Return what a user must know before accepting the licence of a source.

    Args:
        source (`Source`): the source.

    Returns:
        `str`: several lines.
    """
    lines = [f"{source.title} (`{source.name}`)", f"  licence: {source.license}", f"  access: {source.access}"]
    if source.license_note:
        lines.append(f"  note: {source.license_note}")
    lines.append(f"  copies may {'' if source.redistributable else 'NOT '}be passed on")
    lines.append(f"  terms: {source.homepage}")
    return "\n".join(lines)


def download(
    name: str,
    to: str | Path | None = None,
    *,
    only: Sequence[str] = (),
    via: str | None = None,
    archives: Sequence[str | Path] = (),
    accept_license: bool = False,
    dry_run: bool = False,
    connections: int = 8,
    quiet: bool = False,
) -> DownloadReport:
    """Download the raw data of a source.

    What lies in the folder already, whole and unchanged, is kept; an interrupted download goes on where it stopped.
    All files are checked against the publisher's checksums or sizes before they are put in place.

    Args:
        name (`str`): a source.
        to (`str` or `Path`, *optional*): the folder; defaults to `$CLIMB_DATA/NAME`.
        only (`Sequence[str]`, *optional*): glob patterns or folders: a part of a large source.
        via (`str`, *optional*): which way, where a source has several; the first by default.
        archives (`Sequence[str]`, *optional*): files you got by hand, to be checked and unpacked instead.
        accept_license (`bool`, *optional*, defaults to `False`): you have read the licence and accept it. It is
            recorded in the folder, so once is enough; `CLIMB_ACCEPT_LICENSE=1` does the same.
        dry_run (`bool`, *optional*, defaults to `False`): only list files and sizes; nothing is written.
        connections (`int`, *optional*, defaults to `8`): files at a time; at most what the site bears.
        quiet (`bool`, *optional*, defaults to `False`): no progress bar.

    Returns:
        `DownloadReport`.

    Raises:
        UnknownSourceError: no such source.
        OptionError: no folder, no such way, or a wrong number of connections.
        LicenseError: the licence is not accepted; the message shows it.
        AccessError: credentials, connection, or disk; or the source comes by hand, then with numbered steps.
        CorruptFileError: what came is not what is published.

    Example:
        ```python
        climb_hf.access.download("ptbxl", "raw/ptb-xl", only=["records100/*", "*.csv"], accept_license=True)
        ```
    """
    source, way = get_source(name), way_of(name, via)
    target = target_of(name, to)
    if not 1 <= connections <= 64:
        raise OptionError(f"`connections` must be from 1 to 64, got {connections}.")
    report = DownloadReport(name, str(target), way.name, way.describe(), source.license)
    client = HttpClient()
    session = Session(name, source.how_to_get, client, tuple(only), quiet=quiet, size=way.size)
    try:
        if dry_run:
            _list(session, way, report, target)
            return report
        _refuse_by_hand(session, way, archives)
        state = TargetState(target)
        if not (is_accepted(accept_license) or state.is_accepted(source)):
            raise LicenseError(
                f"{name}: read the licence and accept it with `--accept-license` (once for each folder; in Python "
                f"`accept_license=True`):\n{licence_text(source)}"
            )
        with state.open():
            if not state.is_accepted(source):
                with storage_errors(target):
                    state.accept(source)
            state.only = session.only
            progress = Progress(name, enabled=not quiet)
            session.state = state
            session.engine = Engine(client, state, progress, connections, session.only)
            with _recorded(state, source, way, session):
                _run(session, way, report, progress, [Path(path).expanduser() for path in archives])
    finally:
        client.close()
    if not archives:
        report.remaining = list(way.then)
    try:
        source.find_root(target)
    except LayoutError as error:
        if not (session.only or report.remaining):
            session.notes.append(f"the folder is not complete yet: {error}")
    report.notes = session.notes
    report.next_command = f"climb doctor {name} --data-dir {target}"
    return report


def _run(session: Session, way: Way, report: DownloadReport, progress: Progress, archives: Sequence[Path]) -> None:
    engine, start = session.engine, time.monotonic()
    if engine is None or session.state is None:
        raise RuntimeError("a download needs an open target")
    try:
        if archives:
            known = [archive for part in way.parts if isinstance(part, ByHand) for archive in part.archives]
            with storage_errors(session.target):
                lay_out(session, archives, known)
        else:
            for part in way.parts:
                with storage_errors(session.target):
                    part.run(session)
        engine.finish()
        if session.only and not (engine.tally.n_received or engine.tally.n_kept):
            raise OptionError(f"{session.source}: no file fits `--only` {list(session.only)}; `--dry-run` lists all.")
        session.state.clean()
    finally:
        progress.close()
    report.n_received, report.n_kept = engine.tally.n_received, engine.tally.n_kept
    report.n_files = report.n_received + report.n_kept
    report.received_bytes, report.seconds = progress.received, time.monotonic() - start


@contextmanager
def _recorded(state: TargetState, source: Source, way: Way, session: Session) -> Iterator[None]:
    """Record in the target that a download runs, and how it ended."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    facts = {"source": source.name, "way": way.name, "from": way.describe(), "climb_hf": __version__}
    earlier = {key: state.facts.get(key) for key in (*facts, "status", "started", "finished", "only")}
    with storage_errors(state.target):
        state.write_facts(**facts, status="unfinished", started=now, finished=None, only=list(session.only) or None)
    try:
        yield
    except BaseException:
        is_whole = earlier["status"] in ("complete", "part")
        if is_whole and session.engine is not None and not session.engine.has_gaps:  # a typo, or no network
            with suppress(OSError):
                state.write_facts(**earlier)
        raise
    end = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    with storage_errors(state.target):
        state.write_facts(status="part" if session.only else "complete", finished=end)


def _refuse_by_hand(session: Session, way: Way, archives: Sequence[object]) -> None:
    """Say the steps before anything is made, where nothing can be downloaded."""
    for part in way.parts:
        if isinstance(part, ByHand) and not archives:
            part.run(session)


def _list(session: Session, way: Way, report: DownloadReport, target: Path) -> None:
    """Fill the report with the files that would be downloaded."""
    session.state = None
    files: list[RemoteFile] = []
    for part in way.parts:
        if isinstance(part, ByHand):
            part.run(session)
        files += select(part.files(session), session.only)
    sizes = {file.path: file.size for file in files}
    unsized = [file for file in files if file.size is None and not file.members_md5]
    asked = Engine(session.client, TargetState(target), Progress("", enabled=False)).sizes(unsized, _ASKED)
    sizes.update(asked)
    known = [size for size in sizes.values() if size is not None]
    report.n_files = len(files)
    report.files = [{"path": file.path, "bytes": sizes[file.path], "unpack": file.unpack} for file in files]
    report.is_estimate = len(known) < len(files)
    if not report.is_estimate:
        report.n_bytes = sum(known)
    elif way.size is not None and not session.only:
        report.n_bytes = way.size
    elif known:
        report.n_bytes = round(sum(known) / len(known) * len(files))
    report.remaining = list(way.then)
    report.next_command = f"climb download {session.source} --to {target} --accept-license"
    logger.info("%s: %d files, %s", session.source, len(files), redact(format_bytes(report.n_bytes)))


def unfinished(target: Path) -> AccessError:
    """Return the error for a folder whose download did not end."""
    from climb_hf.access.state import read_state

    name = read_state(target).get("source", "NAME")
    return AccessError(
        f"{name}: the download to `{target}` did not end, so files are missing. Go on with `climb download {name} "
        f"--to {target}`: it fetches only what is missing."
    )
