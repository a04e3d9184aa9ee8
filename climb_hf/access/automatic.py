"""The download that `load_dataset` starts by itself: open sources only, and only under an accepted licence."""

import logging
import os
from pathlib import Path

from climb_hf.access.state import read_state
from climb_hf.source import Source

__all__ = ["provide"]

logger = logging.getLogger(__name__)


def provide(source: Source, folder: Path | None, *, accept_license: bool = False) -> bool:
    """Download the raw data of an open source into a folder that is not there yet.

    Nothing happens where the folder exists and was not left unfinished by a download, where the source needs an
    account or steps by hand, where the licence is not accepted (`accept_license=True` or `CLIMB_ACCEPT_LICENSE=1`), or
    where `HF_HUB_OFFLINE` or `HF_DATASETS_OFFLINE` is set.

    Args:
        source (`Source`): the source.
        folder (`Path`, *optional*): where its raw data should be.
        accept_license (`bool`, *optional*, defaults to `False`): the user accepts the licence.

    Returns:
        `bool`: whether the folder is now complete by a download.

    Raises:
        AccessError: the folder holds an unfinished download that may not be continued now.
    """
    from climb_hf.access.downloading import download, is_accepted, licence_text, unfinished
    from climb_hf.access.way import way_of

    if folder is None:
        return False
    is_unfinished = folder.is_dir() and read_state(folder).get("status") == "unfinished"
    if folder.exists() and not is_unfinished:
        return False
    offline = any(os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE") for name in _OFFLINE)
    is_open = source.access == "open" and way_of(source.name).is_open
    if is_accepted(accept_license) and is_open and not offline:
        logger.warning("downloading to `%s`:\n%s", folder, licence_text(source))
        download(source.name, folder, accept_license=True)
        return True
    if is_unfinished:
        raise unfinished(folder)
    return False


_OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")


def how_to_download(source: Source, folder: Path | None) -> str:
    """Return the line of an error that names the command, `""` where the source comes by hand only."""
    from climb_hf.access.by_hand import ByHand
    from climb_hf.access.way import way_of

    way = way_of(source.name)
    if all(isinstance(part, ByHand) for part in way.parts):
        return ""
    to = folder if folder is not None else "DIR"
    needs = "" if all(part.is_open for part in way.parts) else " (with your credentials)"
    text = f"Or let `climb download {source.name} --to {to} --accept-license` do it{needs}"
    if source.access == "open" and way.is_open:
        text += ", or load with `accept_license=True`, which does it once"
    return f"{text}.\n"


def check_finished(folder: Path) -> None:
    """Refuse a folder whose download did not end.

    Raises:
        AccessError: names the command that goes on with it.
    """
    if read_state(folder).get("status") == "unfinished":
        from climb_hf.access.downloading import unfinished

        raise unfinished(folder)
