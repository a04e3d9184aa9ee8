"""How raw data is got: back ends for the publishers' sites, one download engine, licence acceptance, safe archives."""

from typing import TYPE_CHECKING

from climb_hf._lazy import lazy_attributes

if TYPE_CHECKING:
    from climb_hf.access.archives import extract
    from climb_hf.access.catalogue import ROUTES
    from climb_hf.access.downloading import DownloadReport, download
    from climb_hf.access.way import Way, ways

__all__ = ["ROUTES", "DownloadReport", "Way", "download", "extract", "ways"]

_LAZY = {
    "ROUTES": "climb_hf.access.catalogue",
    "DownloadReport": "climb_hf.access.downloading",
    "Way": "climb_hf.access.way",
    "download": "climb_hf.access.downloading",
    "extract": "climb_hf.access.archives",
    "ways": "climb_hf.access.way",
}

__getattr__, __dir__ = lazy_attributes(__name__, _LAZY)
