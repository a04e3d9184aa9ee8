"""Building a cohort of MIMIC-IV: DuckDB over the compressed tables, out of core, each table read once."""

# ruff: noqa: S608 - queries are put together from the names and numbers of this package and quoted paths only

import contextlib
import logging
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.errors import CorruptFileError, LayoutError, OptionError, SchemaError
from climb_hf.optional import require
from climb_hf.readers import mimic_sql as sql
from climb_hf.readers import mimic_text as text
from climb_hf.readers.line_filter import QuotedLineEnd, check_whole
from climb_hf.readers.mimic_events import Windows, can_scan, scan_events
from climb_hf.readers.mimic_layout import Layout, Table

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["COHORTS", "TASKS", "Request", "build_cohort"]

logger = logging.getLogger(__name__)

TASKS = ("paper", "benchmark")
#: `standard`: the task's own rules; `all`: without the paper's demand for an ECG and an X-ray; `single_stay`: the
#: benchmark with the further exclusions of mimic3-benchmarks and MedFuse.
COHORTS = ("standard", "all", "single_stay")
#: Visits written per batch, and the memory DuckDB may take before it writes to disk.
_BATCH, _MEMORY = 20_000, "2GB"
#: Most threads that filter lines, beside the one that decompresses; more would wait for Python's lock.
_SCAN_THREADS = 2
#: Bytes of measurements handed to DuckDB at a time.
_INSERT = 1 << 27
#: Which tables the parts of a cohort need beside `admissions` and `patients`: what is absent is said in the log.
_PARTS = {
    "labs": ("labevents",),
    "vital signs": ("chartevents",),
    "ECG": ("record_list",),
    "chest X-rays": ("metadata",),
    "coded diagnoses": ("diagnoses_icd",),
}


@dataclass(frozen=True)
class Request:
    """What cohort is wanted.

    Args:
        task (`str`, *optional*, defaults to `"paper"`): one of `TASKS`.
        cohort (`str`, *optional*, defaults to `"standard"`): one of `COHORTS`.
        observation_hours (`float`, *optional*): length of the window; 24 for the paper's task, 48 for the benchmark.
        items (`str`, *optional*, defaults to `"core"`): measurements in the history: `"core"` or `"all"`.
        text (`str`, *optional*, defaults to `"history"`): `"history"`, `"notes"` or `"both"`.

    Raises:
        OptionError: a value that is not allowed.
    """

    task: str = "paper"
    cohort: str = "standard"
    observation_hours: float | None = None
    items: str = "core"
    text: str = "history"

    def __post_init__(self) -> None:
        allowed = {"task": TASKS, "cohort": COHORTS, "items": text.ITEM_SETS, "text": text.TEXTS}
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise OptionError(f"mimic_iv: `{name}` must be one of {list(values)}, got {getattr(self, name)!r}.")
        if self.task == "paper" and self.cohort == "single_stay":
            raise OptionError("mimic_iv: `cohort='single_stay'` speaks of ICU stays; it needs `task='benchmark'`.")
        hours, most = self.hours, sql.HORIZON_HOURS if self.task == "paper" else 24.0 * 365
        if isinstance(hours, bool) or not isinstance(hours, int | float) or not 0 < hours <= most:
            raise OptionError(
                f"mimic_iv: `observation_hours` must be above 0 and at most {most:g} (the paper's label looks "
                f"{sql.HORIZON_HOURS} hours ahead), got {hours!r}."
            )

    @property
    def hours(self) -> float:
        """Length of the observation window in hours."""
        default = 24 if self.task == "paper" else 48
        return default if self.observation_hours is None else self.observation_hours


def build_cohort(layout: Layout, request: Request, folder: Path, *, threads: int | None = None) -> None:
    """Build a cohort into a folder that does not exist yet; nothing is left where it fails.

    DuckDB holds at most 2 GB and writes the rest below the cache while it works.

    Args:
        layout (`Layout`): the tables.
        request (`Request`): the cohort.
        folder (`Path`): the folder to make.
        threads (`int`, *optional*): threads to use; all cores by default.

    Raises:
        LayoutError, SchemaError, CorruptFileError, DependencyError: as `load_cohort`.
    """
    duckdb = require("duckdb", extra="ehr")
    workshop = folder.with_name(f"{folder.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.incomplete")
    workshop.mkdir(parents=True)
    settings: dict[str, Any] = {
        "threads": threads or os.cpu_count() or 1,
        "memory_limit": _MEMORY,
        "temp_directory": str(workshop / "spill"),
        "preserve_insertion_order": False,
        "autoinstall_known_extensions": False,
    }
    try:
        with contextlib.closing(duckdb.connect(":memory:", config=settings)) as session:
            session.execute("set enable_progress_bar = false")
            _Builder(session, duckdb, layout, request, settings["threads"]).build(workshop)
        shutil.rmtree(workshop / "spill", ignore_errors=True)
        try:
            workshop.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster, with the same result
                raise
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _gathered(tables: Iterable["pa.Table"]) -> Iterator["pa.Table"]:
    """Join tables until they are worth a query."""
    import pyarrow as pa

    pending: list[pa.Table] = []
    for table in tables:
        pending.append(table)
        if sum(part.nbytes for part in pending) >= _INSERT:
            yield pa.concat_tables(pending)
            pending.clear()
    if pending:
        yield pa.concat_tables(pending)


#: Column `text` by what is asked for.
_TEXT = {"history": "history", "notes": "notes", "both": "concat_ws(chr(10) || chr(10), history, notes)"}


class _Builder:
    """One build: a DuckDB session, the tables, and the request."""

    def __init__(
        self,
        session: Any,  # noqa: ANN401 - the package is optional
        package: Any,  # noqa: ANN401
        layout: Layout,
        request: Request,
        threads: int,
    ) -> None:
        self.session, self.layout, self.request, self.threads = session, layout, request, threads
        self.error: type[Exception] = package.Error
        self.reads_on = int(package.__version__.split(".")[0]) < 2  # takes a truncated gzip file for a whole one

    def build(self, folder: Path) -> None:
        self._say_what_is_absent()
        self._make("visit", sql.visit_sql(self.request.task, self.request.hours, self._sources(), self._required()))
        self._make("kept", sql.kept_sql())
        self._make("span", "select k, subject_id, hadm_id, stay_id, start, ending from kept")
        self._find_measurements()
        self._make("named", sql.named_sql(self._labels()))
        self._take_notes()
        self._make("traced", self._traced())
        self._make("filmed", self._filmed())
        if self.request.cohort == "single_stay":
            silent = "select id from kept where k not in (select k from found where v is not null)"
            self._run(f"update visit set rule = 'silent' where rule is null and id in ({silent})")
        self._save(folder)

    def _say_what_is_absent(self) -> None:
        for part, names in _PARTS.items():
            if not self.layout.has(*names):
                logger.warning("mimic_iv: no %s: `%s` not found below `%s`", part, names[0], self.layout.root)
        if self.request.text != "history" and not {"radiology", "discharge"} & set(self.layout.files):
            raise LayoutError(
                f"mimic_iv: `text={self.request.text!r}` needs MIMIC-IV-Note (`note/radiology.csv.gz` or "
                f"`note/discharge.csv.gz`) below `{self.layout.root}`, found none. Add it, or use `text='history'`."
            )
        if self.request.task == "benchmark" and not self.layout.has("icustays"):
            raise LayoutError(
                f"mimic_iv: `task='benchmark'` needs `icu/icustays.csv.gz` below `{self.layout.root}`, found none. "
                "Add the folder `icu/`, or use `task='paper'`."
            )

    def _required(self) -> tuple[str, ...]:
        """Keys of the rules that apply; a rule whose table is not there cannot be applied, which the log says."""
        if self.request.task == "benchmark":
            return ("short", "late", "young", *(("moved", "several") if self.request.cohort == "single_stay" else ()))
        rules = {"code": "diagnoses_icd"}
        if self.request.cohort == "standard":
            rules |= {"ecg": "record_list", "film": "metadata"}
        return tuple(rule for rule, table in rules.items() if self.layout.has(table))

    def _sources(self) -> dict[str, str | None]:
        names = ("admissions", "patients", "icustays", "diagnoses_icd", "record_list", "metadata")
        return {name: self._relation(name) for name in names}

    def _relation(self, name: str) -> str | None:
        """Return the relation that reads the used columns of a table, `None` where it is not there."""
        if not self.layout.has(name):
            return None
        table = self.layout.table(name)
        if self.reads_on:
            check_whole(table.path)
        return _relation(table)

    def _find_measurements(self) -> None:
        """Fill `found` with the measurements inside the windows; each event table is read once."""
        self._run(f"create temp table found as {sql.NOTHING_FOUND}")
        for name in ("chartevents", "labevents"):
            if self.layout.has(name) and self.request.text != "notes":
                self._find_in(self.layout.table(name))

    def _find_in(self, table: Table) -> None:
        is_lab, by_stay = table.name == "labevents", self.request.task == "benchmark"
        items = (text.LAB_ITEMS if is_lab else text.VITAL_ITEMS) if self.request.items == "core" else None
        condition = "true" if items is None else f"e.itemid in ({', '.join(map(str, items))})"

        def insert(relation: str) -> None:
            self._run(f"insert into found {sql.found_sql(relation, is_lab=is_lab, by_stay=by_stay, items=condition)}")

        if can_scan(table):
            keys = ("hadm_id", "subject_id") if is_lab else ("stay_id",) if by_stay else ("hadm_id",)
            windows = {key: self._windows(key) for key in keys}
            threads = min(max(self.threads // 2, 1), _SCAN_THREADS)
            try:
                for rows in _gathered(scan_events(table, items=items, windows=windows, threads=threads)):
                    self.session.register("event_rows", rows)
                    insert("event_rows")
                    self.session.unregister("event_rows")
                return
            except QuotedLineEnd:
                self._run(f"delete from found where is_lab = {str(is_lab).lower()}")
        insert(_relation(table))

    def _windows(self, key: str) -> Windows:
        query = f"select {key} as id, min(start) as a, max(ending) as b from kept group by {key} order by id"
        columns = self.session.sql(query).to_arrow_table()
        ids, first, last = (columns[name].to_numpy() for name in ("id", "a", "b"))
        return Windows(ids, first.astype("datetime64[s]"), last.astype("datetime64[s]"))

    def _labels(self) -> str:
        """Return the relation of the names of items: the publisher's first, then ours."""
        parts = []
        for is_lab, names, defaults in (
            ("false", "d_items", text.VITAL_ITEMS),
            ("true", "d_labitems", text.LAB_ITEMS),
        ):
            pairs = ", ".join(f"({item}, {_quoted(name)})" for item, name in defaults.items())
            parts.append(f"select 1 as rank, {is_lab} as is_lab, * from (values {pairs}) as own(itemid, label)")
            if relation := self._relation(names):
                parts.append(f"select 0 as rank, {is_lab} as is_lab, itemid, label from {relation}")
        return f"({' union all '.join(parts)})"

    def _take_notes(self) -> None:
        for name, table, query in (
            ("report", "radiology", text.reports_sql),
            ("summary", "discharge", text.summaries_sql),
        ):
            relation = self._relation(table) if self.request.text != "history" else None
            self._make(name, query(relation) if relation else text.NO_NOTES)

    def _traced(self) -> str:
        records = self._relation("record_list")
        if records is None:
            return "select null::bigint as k, null::varchar as ecg, null::varchar as ecg_report where false"
        return sql.ecg_sql(records, self._relation("machine_measurements"))

    def _filmed(self) -> str:
        metadata = self._relation("metadata")
        if metadata is None:
            return "select null::bigint as k, null::varchar as film, null::varchar as chexpert where false"
        return sql.film_sql(metadata, self._relation("chexpert"))

    def _make(self, name: str, query: str) -> None:
        self._run(f"create temp table {name} as {query}")

    def _run(self, query: str) -> None:
        try:
            self.session.execute(query)
        except self.error as error:
            told = _readable(str(error))
            if told is None:
                raise
            raise told from error

    def _save(self, folder: Path) -> None:
        split = self._relation("split")
        nothing = "select null::bigint as subject_id, null::varchar as image_split where false"
        each = f"select subject_id, min(split) as image_split from {split} group by subject_id" if split else nothing
        self._make("divided", each)
        ((count,),) = self.session.execute("select coalesce(max(k) + 1, 0) from kept").fetchall()
        queries = (self._rows(first, first + _BATCH - 1) for first in range(0, max(count, 1), _BATCH))
        self._write(folder / "visits.arrow", queries)
        self._write(folder / "left_out.arrow", ["select id, rule from visit where rule is not null order by id, rule"])

    def _rows(self, first: int, last: int) -> str:
        """Return the query of some records; measurements are grouped for these only, which bounds the memory."""
        return f"""
            with part as (
                select * from kept where k between {first} and {last}
                    and id in (select id from visit where rule is null)
            ), measured as ({sql.measured_sql(first, last)}), told as ({text.history_sql()}),
            noted as ({text.noted_sql(first, last)})
            select part.* exclude (k), n_items, {_TEXT[self.request.text]} as text, note_ids, ecg, ecg_report, film,
                chexpert, image_split
            from part left join told using (k) left join noted using (k) left join traced using (k)
                left join filmed using (k) left join divided using (subject_id)
            order by k"""

    def _write(self, path: Path, queries: Iterable[str]) -> None:
        import pyarrow as pa

        writer = None
        for query in queries:
            table = self.session.sql(query).to_arrow_table()
            writer = writer or pa.ipc.new_file(str(path), table.schema)
            writer.write_table(table)
        if writer is not None:
            writer.close()


def _relation(table: Table) -> str:
    """Return the scan of a table: every column named and typed, so nothing is guessed from a sample."""
    columns = ", ".join(f"{_quoted(name)}: '{kind}'" for name, kind in table.types.items())
    return (
        f"read_csv({_quoted(str(table.path))}, auto_detect = false, header = true, delim = ',', quote = '\"', "
        f"escape = '\"', columns = {{{columns}}})"
    )


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _readable(message: str) -> CorruptFileError | SchemaError | None:
    """Say in our words what DuckDB says of a table: the file and the reason, neither its settings nor the row.

    Other messages (no memory, no disk) are not about a table and give `None`.
    """
    lines = [line.strip() for line in message.splitlines()]
    file = next((line.removeprefix("file = ") for line in lines if line.startswith("file = ")), None)
    if "GZIP" in message:
        return CorruptFileError(f"mimic_iv: {lines[0]}: the compressed table is damaged. Download it again.")
    if "CSV Error" not in message:
        return None
    reason = "; ".join(line for line in lines[:4] if line and not line.startswith(("Original Line", "*", "Possible")))
    if "Could not convert" in message:
        return SchemaError(f"mimic_iv: `{file}` cannot be read ({reason}). Restore the publisher's table.")
    return CorruptFileError(f"mimic_iv: `{file}` is damaged ({reason}). Download it again.")
