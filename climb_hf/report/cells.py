"""Result rows as cells of tables: read from files, checked for repeats, put together over seeds."""

import dataclasses
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from climb_hf.errors import AccessError, SchemaError
from climb_hf.report.naming import Names, Place, place_of

if TYPE_CHECKING:
    from climb_hf.results import ResultRow

__all__ = ["Cell", "Found", "Results", "cells_of", "find_results"]


@dataclass(frozen=True)
class Found:
    """A row and the file it stands in.

    Args:
        row (`ResultRow`): the number.
        file (`Path`): its file.
    """

    row: "ResultRow"
    file: Path


@dataclass(frozen=True)
class Results:
    """All rows of a report.

    Args:
        found (`tuple[Found, ...]`): rows with their files.
        files (`tuple[Path, ...]`): the files, in the order given.
    """

    found: tuple[Found, ...] = ()
    files: tuple[Path, ...] = ()

    @property
    def rows(self) -> "list[ResultRow]":
        """The rows alone."""
        return [item.row for item in self.found]


@dataclass(frozen=True)
class Cell:
    """One number of ours as it stands in a table.

    Args:
        place (`Place`): where it belongs.
        value (`float`): the number, or the mean over seeds; NaN where undefined.
        n (`int`): rows scored.
        interval (`tuple[float, float]`, *optional*): of a single run.
        sd (`float`, *optional*): standard deviation over seeds.
        n_seeds (`int`, *optional*, defaults to `1`): runs that define it.
        reason (`str`, *optional*): why it is undefined.
        remark (`str`, *optional*): what to know of it.
        n_defined (`int`, *optional*): sources that a mean is over.
        values (`tuple[float, ...]`, *optional*): of the runs.
        sources (`tuple[str, ...]`, *optional*): what a mean is over, where the rows tell.
    """

    place: Place
    value: float
    n: int
    interval: tuple[float, float] | None = None
    sd: float | None = None
    n_seeds: int = 1
    reason: str = ""
    remark: str = ""
    n_defined: int | None = None
    values: tuple[float, ...] = ()
    sources: tuple[str, ...] = ()


def find_results(paths: Sequence[str | Path]) -> Results:
    """Read result files; of a folder every `results.jsonl` in it, at any depth.

    Args:
        paths (`Sequence[str or Path]`): files and folders.

    Returns:
        `Results`.

    Raises:
        AccessError: a path is not there, or a folder holds no results.
        SchemaError: a file of another format version; the message names file and line. Or not one result.
    """
    from climb_hf.results import read_results

    files: list[Path] = []
    for given in map(Path, paths):
        if given.is_dir():
            own = sorted(given.rglob("results.jsonl"))
            # `evaluate_each` writes one file of everything beside one per source
            own = [
                file for file in own if not any(parent in {f.parent for f in own} for parent in file.parent.parents)
            ]
            if not own:
                raise AccessError(
                    f"`{given}` holds no `results.jsonl`; write one with `climb evaluate … --to {given}`."
                )
            files += own
        elif given.is_file():
            files.append(given)
        else:
            raise AccessError(f"`{given}` is not there; give results.jsonl files, or folders that hold some.")
    files = list(dict.fromkeys(files))
    found = tuple(Found(row, file) for file in files for row in read_results(file))
    if files and not found:
        raise SchemaError(f"there is no result in {', '.join(f'`{file}`' for file in files)}; write some first.")
    return Results(found, tuple(files))


def cells_of(results: Results, names: Names) -> list[Cell]:
    """Turn rows into cells: runs that differ only in their seed become one, with mean and standard deviation.

    Args:
        results (`Results`): the rows.
        names (`Names`): given row names of models.

    Returns:
        `list[Cell]`: numbers of the rows, then averages that no single file holds.

    Raises:
        SchemaError: a number stands twice with the same seed, or with and without one; both files are named.
    """
    placed: dict[Place, list[Found]] = defaultdict(list)
    for item in results.found:
        if (place := place_of(item.row, names)) is not None:
            placed[place].append(item)
    _refuse_repeats(placed)
    spread = _spread(placed)
    cells = [
        _cell(place, own) for place, own in placed.items() if _head(place) not in spread or place.level == "source"
    ]
    cells += _averages([cell for cell in cells if _head(cell.place) in spread])
    return _with_sources(cells)


def _with_sources(cells: Sequence[Cell]) -> list[Cell]:
    """Name the sources that each mean is over, where as many of them are there as it says."""
    from climb_hf.report.paper.checks import modality_of

    of: dict[tuple[object, ...], list[str]] = defaultdict(list)
    for cell in cells:
        if cell.place.level == "source" and not math.isnan(cell.value):
            of[_head(cell.place), cell.place.key.metric].append(cell.place.key.dataset)
    found = []
    for cell in cells:
        key = cell.place.key
        names = [] if cell.place.level == "source" else of.get((_head(cell.place), key.metric), [])
        if cell.place.level == "modality":
            names = [name for name in names if modality_of(name) == key.dataset]
        found.append(dataclasses.replace(cell, sources=tuple(names)) if len(names) == cell.n_defined else cell)
    return found


def _refuse_repeats(placed: Mapping[Place, Sequence[Found]]) -> None:
    for place, own in placed.items():
        _refuse_unknown_seeds(place, own)
        seen: dict[int | None, Found] = {}
        for item in own:
            first = seen.setdefault(item.row.seed, item)
            if first is not item:
                if place.level != "source" and first.file != item.file:
                    continue  # averages over other sources: computed again
                key = place.key
                same = "both are equal" if first.row == item.row else f"{first.row.value} and {item.row.value}"
                raise SchemaError(
                    f"`{key.metric}` of `{key.dataset}` by `{key.model}` stands twice with seed {item.row.seed} "
                    f"({same}): in `{first.file}` and in `{item.file}`. Leave one file out; runs of another seed are "
                    "put together, and other models need names of their own."
                )


def _refuse_unknown_seeds(place: Place, own: Sequence[Found]) -> None:
    unknown = [item for item in own if item.row.seed is None]
    known = [item for item in own if item.row.seed is not None]
    if place.level == "source" and unknown and known:
        key = place.key
        raise SchemaError(
            f"`{key.metric}` of `{key.dataset}` by `{key.model}` stands without a seed in `{unknown[0].file}` and "
            f"with seed {known[0].row.seed} in `{known[0].file}`, so they may be one run. Leave one file out, or name "
            "the models apart."
        )


def _head(place: Place) -> tuple[object, ...]:
    """What the sources of one average have in common."""
    key = dataclasses.replace(place.key, dataset="", metric="", finetune="")
    return place.protocol, key, place.condition


def _spread(placed: Mapping[Place, Sequence[Found]]) -> set[tuple[object, ...]]:
    """Models whose averages no file holds: their sources stand in several files of one seed, or differ by seed."""
    files: dict[tuple[object, ...], dict[int | None, set[Path]]] = defaultdict(lambda: defaultdict(set))
    sources: dict[tuple[object, ...], dict[int | None, set[str]]] = defaultdict(lambda: defaultdict(set))
    for place, own in placed.items():
        if place.level == "source":
            for item in own:
                files[_head(place)][item.row.seed].add(item.file)
                sources[_head(place)][item.row.seed].add(item.row.source)
    return {
        head
        for head, by_seed in files.items()
        if any(len(own) > 1 for own in by_seed.values()) or len(set(map(frozenset, sources[head].values()))) > 1
    }


def _cell(place: Place, own: Sequence[Found]) -> Cell:
    rows = [item.row for item in own]
    defined = [row for row in rows if row.is_defined]
    first = (defined or rows)[0]
    cell = Cell(place, math.nan, first.n, n_defined=first.n_defined)
    if not defined:
        return dataclasses.replace(cell, reason=first.reason or "undefined")
    values = tuple(row.value for row in defined)
    if len(rows) == 1:
        return dataclasses.replace(cell, value=first.value, interval=first.interval, values=values)
    remark = f"undefined for {len(rows) - len(values)} of {len(rows)} seeds" if len(values) < len(rows) else ""
    sd = statistics.stdev(values) if len(values) > 1 else None
    mean = statistics.fmean(values)
    return dataclasses.replace(cell, value=mean, sd=sd, n_seeds=len(values), remark=remark, values=values)


def _averages(cells: Iterable[Cell]) -> Iterator[Cell]:
    """Means over sources and modalities where the sources come from several files; without an interval."""
    from climb_hf.report.paper.checks import modality_of

    groups: dict[tuple[object, ...], list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.place.level != "source" or cell.place.protocol not in ("multitask", "qa", "zero_shot"):
            continue
        if cell.place.key.training == "single-task":
            continue  # there is no model that an average would be of
        head = (_head(cell.place), cell.place.key.metric)
        groups[*head, "overall"].append(cell)
        if slug := modality_of(cell.place.key.dataset):
            groups[*head, slug].append(cell)
    for (*_, dataset), own in groups.items():
        defined = [cell for cell in own if not math.isnan(cell.value)]
        level = "overall" if dataset == "overall" else "modality"
        place = dataclasses.replace(
            own[0].place, level=level, key=dataclasses.replace(own[0].place.key, dataset=str(dataset)),
            average="sources" if level == "overall" else "",
        )  # fmt: skip
        value = statistics.fmean([cell.value for cell in defined]) if defined else math.nan
        yield Cell(
            place, value, sum(cell.n for cell in own), n_defined=len(defined),
            reason="" if defined else "undefined for every source",
            remark="the mean over sources of several files, so without an interval",
        )  # fmt: skip
