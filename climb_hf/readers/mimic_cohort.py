"""Cohorts of MIMIC-IV, built once by DuckDB from the compressed tables and kept in the cache of `datasets`.

A cohort is a folder with two Arrow files: `visits.arrow`, one row per record in the order of the ids, and
`left_out.arrow`, which names every row that a documented rule bars. Its name is a digest of the request, of this code
and of the state of the tables, so a changed table is never answered from an old cohort; it is written beside its final
place and renamed, so a killed build leaves nothing that loads. Rows are read by memory map.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import astuple
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf._version import __version__
from climb_hf.errors import SchemaError
from climb_hf.readers.mimic_build import Request, build_cohort
from climb_hf.readers.mimic_layout import Layout, find_layout, tables_digest

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Cohort", "Request", "cohort_folder", "load_cohort", "open_cohort"]

#: Raised when a query changes, so that old cohorts are built again.
_VERSION = 1
#: Cohorts a process keeps open.
_OPEN = 4


class Cohort:
    """A cohort in its folder.

    Args:
        folder (`Path`): folder with `visits.arrow` and `left_out.arrow`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def visits(self) -> "pa.Table":
        """All records, memory-mapped, in the order of their ids."""
        return _read_arrow(self.folder / "visits.arrow")

    @cached_property
    def left_out(self) -> "pa.Table":
        """`id` and `rule` (a key of `climb_hf.readers.mimic_sql.RULES`) of every row that is no record."""
        return _read_arrow(self.folder / "left_out.arrow")

    @cached_property
    def _ids(self) -> Any:  # noqa: ANN401 - a numpy array
        return self.visits.column("id").to_numpy()

    def rows(self, *columns: str) -> Iterator[dict[str, Any]]:
        """Yield records as dictionaries, batch by batch.

        Args:
            *columns (`str`): names; all but the texts by default.
        """
        names = list(columns) or [n for n in self.visits.column_names if n != "text"]
        for batch in self.visits.select(names).to_batches():
            yield from batch.to_pylist()

    def text_of(self, identity: int) -> str | None:
        """Return history, notes or both of a record, as the cohort was asked for; `None` where there is neither.

        Args:
            identity (`int`): id of the admission or stay.

        Raises:
            SchemaError: the cohort has no such record.
        """
        place = int(self._ids.searchsorted(identity))
        if place >= len(self._ids) or self._ids[place] != identity:
            raise SchemaError(
                f"expected record `{identity}` in the cohort `{self.folder}`, found none. Build it again."
            )
        return self.visits["text"][place].as_py()


def _read_arrow(path: Path) -> "pa.Table":
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


_open: OrderedDict[tuple[Path, Request], Cohort] = OrderedDict()


def open_cohort(root: Path, request: Request, *, is_fresh: bool = False) -> Cohort:
    """Return a cohort that this process has used before, else `load_cohort`.

    Args:
        root (`Path`): folder of MIMIC-IV and its sister projects.
        request (`Request`): the cohort.
        is_fresh (`bool`, *optional*, defaults to `False`): look at the state of the tables in any case.

    Returns:
        `Cohort`.
    """
    key = (root, request)
    if is_fresh or key not in _open:
        _open[key] = load_cohort(root, request)
        while len(_open) > _OPEN:
            _open.popitem(last=False)
    return _open[key]


def cohort_folder(layout: Layout, request: Request) -> Path:
    """Return where a cohort is kept: below the cache of `datasets`, never beside the raw data.

    Args:
        layout (`Layout`): the tables.
        request (`Request`): the cohort.

    Returns:
        `Path`: a folder named by the digest of request, code and tables.
    """
    from datasets import config

    state = tables_digest(list(layout.files.values()), layout.root)
    key = f"{_VERSION}\0{__version__}\0{astuple(request)}\0{request.hours}\0{sorted(layout.folders.items())}\0{state}"
    digest = hashlib.sha256(key.encode()).hexdigest()[:24]
    return Path(config.HF_DATASETS_CACHE) / "climb_cohorts" / "mimic_iv" / digest


def load_cohort(root: Path, request: Request) -> Cohort:
    """Return a cohort from the cache, or build it there.

    Args:
        root (`Path`): folder of MIMIC-IV and its sister projects.
        request (`Request`): the cohort.

    Returns:
        `Cohort`.

    Raises:
        LayoutError: a table without which there is no cohort is not there.
        SchemaError: a table lacks a column, or a value is not of its type.
        CorruptFileError: a table is damaged.
        DependencyError: duckdb is not installed.
    """
    layout = find_layout(root)
    folder = cohort_folder(layout, request)
    if not folder.is_dir():
        build_cohort(layout, request, folder)
    return Cohort(folder)
