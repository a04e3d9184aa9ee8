"""Where a printed number contradicts others of its paper: computed from the numbers, and what is known besides."""

import functools
import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from climb_hf.report.paper.numbers import CellKey, Paper, PaperNumber, paper_numbers, read_table
from climb_hf.report.paper.tables import MODALITIES, PaperTable, paper_rows, table_of

__all__ = ["Note", "mean_problem", "notes_of"]

_AVERAGES = ("overall", "average")
_PARTS = ("brain_network", "molecule")
#: Tables of the paper with one line per source, by model.
_DETAILS = tuple(str(number) for number in (*range(10, 21), 22))
_EPSILON = 1e-9
#: More disagreeing numbers of one model than this are told in one sentence.
_MANY = 4


@dataclass(frozen=True)
class Note:
    """A remark on some numbers of a table.

    Args:
        text (`str`): what to know.
        where (`tuple[tuple[str, str], ...]`): fields of `CellKey` and their values; none for the whole table.
    """

    text: str
    where: tuple[tuple[str, str], ...] = ()

    @property
    def is_of_cells(self) -> bool:
        """Whether some cells are marked; what concerns a metric or the whole table stands below it unmarked."""
        return any(name != "metric" for name, _ in self.where)

    def concerns(self, key: CellKey) -> bool:
        """Whether the remark is about a number.

        Args:
            key (`CellKey`): the number's key.

        Returns:
            `bool`.
        """
        return all(getattr(key, name) == value for name, value in self.where)


def _about(text: str, key: CellKey, names: Sequence[str] = ()) -> Note:
    chosen = names or ("model", "dataset", "metric", "training", "task")
    return Note(text, tuple((name, getattr(key, name)) for name in chosen if getattr(key, name)))


def _half_unit(decimals: int) -> float:
    return 0.5 * 10.0**-decimals


def mean_problem(
    printed: PaperNumber, parts: Sequence[PaperNumber], groups: Mapping[str, str] | None = None
) -> str | None:
    """Say how a printed mean differs from the mean of the numbers it should be of.

    Args:
        printed (`PaperNumber`): the mean.
        parts (`Sequence[PaperNumber]`): what it should be the mean of, dashes included.
        groups (`Mapping[str, str]`, *optional*): modality of each part's dataset, for means of means.

    Returns:
        `str` or `None`: `None` where the mean of the printed parts rounds to it, their own rounding allowed for.

    Example:
        >>> parts = [PaperNumber("climb", "0", CellKey(), text) for text in ("0.50", "0.60")]
        >>> mean_problem(PaperNumber("climb", "0", CellKey(), "0.58"), parts)
        'the mean of the 2 printed numbers is 0.550'
    """
    present = [part for part in parts if part.text]
    if not present or not printed.text:
        return None
    mean, reach = _mean_and_reach(printed, present)
    if abs(printed.value - mean) <= reach:
        return None
    by_group: dict[str, list[float]] = defaultdict(list)
    for part in present:
        by_group[(groups or {}).get(part.key.dataset, "")].append(part.value)
    means = [math.fsum(own) / len(own) for own in by_group.values()]
    if len(means) > 1 and abs(math.fsum(means) / len(means) - printed.value) <= reach:
        return "a mean of the means by modality, not of the sources"
    text = f"the mean of the {len(present)} printed numbers is {mean:.{printed.decimals + 1}f}"
    text = text.replace("mean of the 1 printed numbers", "one printed number")
    if len(present) == len(parts) - 1:
        absent = next(part for part in parts if not part.text)
        missing = printed.value * len(parts) - math.fsum(part.value for part in present)
        text += f"; this mean would need {missing:.3f} for `{absent.key.dataset}`, where a dash is printed"
    for power in (10, 100):
        if abs(printed.value / power - mean) <= reach / power + _half_unit(printed.decimals + 1):
            text += f"; the point has slipped, {printed.value / power:g} is meant"
    return text


def _mean_and_reach(printed: PaperNumber, present: Sequence[PaperNumber]) -> tuple[float, float]:
    """Mean of some numbers, and how far from it their rounding and that of the printed mean can lead."""
    slack = math.fsum(_half_unit(part.decimals) for part in present) / len(present)
    mean = math.fsum(part.value for part in present) / len(present)
    return mean, _half_unit(printed.decimals) + slack + _EPSILON


def _is_cut(printed: PaperNumber, parts: Sequence[PaperNumber]) -> bool:
    """Whether a printed mean is the mean of the printed parts cut off, where rounding would have raised it."""
    mean, unit = math.fsum(part.value for part in parts) / len(parts), 10.0**-printed.decimals
    cut = math.floor(mean / unit + _EPSILON) * unit
    return abs(cut - printed.value) < unit / 10 and mean - cut > unit / 2 + _EPSILON


def _groups_of(numbers: Iterable[PaperNumber], names: Sequence[str]) -> dict[tuple[str, ...], list[PaperNumber]]:
    found: dict[tuple[str, ...], list[PaperNumber]] = defaultdict(list)
    for number in numbers:
        found[number.key.get(tuple(names))].append(number)
    return found


@functools.cache
def modality_of(source: str) -> str:
    """Return a source's modality in the paper's words, empty for what is no source.

    Args:
        source (`str`): a source.

    Returns:
        `str`.

    Example:
        >>> modality_of("chexpert"), modality_of("overall")
        ('chest_xray', '')
    """
    from climb_hf import vocabulary

    if source not in set(vocabulary.sources()):
        return ""
    return MODALITIES.get(vocabulary.source_vocabulary(source).modality, "")


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _means(table: PaperTable) -> Iterator[Note]:
    """Printed means against the numbers of the same line or column."""
    if table.number == "2":
        return  # its lines lack sources: see `_summaries`
    for own in _groups_of(paper_rows(table), ("model", "training", "metric")).values():
        parts = [n for n in own if n.key.dataset not in (*_AVERAGES, *_PARTS)]
        parts = parts or [n for n in own if n.key.dataset in _PARTS]
        groups = {n.key.dataset: modality_of(n.key.dataset) for n in parts}
        for printed in (n for n in own if n.key.dataset in _AVERAGES):
            if table.paper == "openpmc" and _is_cut(printed, parts):
                yield _about("The mean is cut off, not rounded.", printed.key)
            elif problem := mean_problem(printed, parts, groups):
                yield _about(_sentence(problem), printed.key)
        for printed in (n for n in own if n.key.dataset in _PARTS and n not in parts):
            of = [n for n in parts if groups[n.key.dataset] == printed.key.dataset]
            if problem := mean_problem(printed, of):
                yield _about(_sentence(problem), printed.key)


def _summaries(table: PaperTable) -> Iterator[Note]:
    """Tables 2, 3 and 4 against the tables with one line per source."""
    if table.paper != "climb" or table.number not in ("2", "3", "4"):
        return
    details = _groups_of((n for n in paper_numbers("climb") if n.table in _DETAILS), ("model", "metric", "training"))
    for own in _groups_of(paper_rows(table), ("model", "training")).values():
        problems: list[tuple[PaperNumber, str]] = []
        for number in own:
            same = details.get(number.key.get(("model", "metric", "training")), [])
            if same and (problem := _against(number, same, of_sources=table.number != "4")):
                problems.append((number, f"Against Table {same[0].table}: {problem}."))
        if len(problems) > _MANY:
            text = f"{len(problems)} of this model's {len(own)} numbers do not follow from the table of its sources."
            problems = [(number, text) for number, _ in problems]
        yield from (_about(text, number.key) for number, text in problems)


def _against(number: PaperNumber, details: Sequence[PaperNumber], *, of_sources: bool) -> str | None:
    if number.key.dataset in _AVERAGES:
        printed = next((n for n in details if n.key.dataset in _AVERAGES), None)
        if printed is None or not of_sources:
            return None
        differs = abs(printed.value - number.value) > _half_unit(number.decimals) + _EPSILON
        return f"it prints {printed.text}" if differs else None
    return mean_problem(number, [n for n in details if modality_of(n.key.dataset) == number.key.dataset])


def _shifted(table: PaperTable) -> Iterator[Note]:
    """Table 4's line of the encoder against Table 16's overall numbers."""
    if table.number != "4":
        return
    whole = {n.key.metric: n for n in paper_numbers("climb") if n.table == "16" and n.key.dataset == "overall"}
    for number in paper_rows(table):
        own = whole.get(number.key.metric)
        if number.key.model != "ConvNeXtV2" or own is None:
            continue
        if abs(own.value - number.value) > _half_unit(number.decimals) + _EPSILON:
            like = [name for name, n in whole.items() if abs(n.value - number.value) <= _half_unit(3) + _EPSILON]
            hint = f" {number.text} is its {like[0]}, so the columns look shifted." if like else ""
            yield _about(f"Table 16 prints {own.text} for the overall {number.key.metric}.{hint}", number.key)


def _copies(table: PaperTable) -> Iterator[Note]:
    """Numbers that agree to the last digit although they are of different models or trainings."""
    if table.number in ("25", "28"):
        yield from _same_lines(table, "28" if table.number == "25" else "25")
    if table.paper != "openpmc" or not table.number.startswith("S4"):
        return
    probes = [n for n in paper_numbers("openpmc") if n.table.startswith("S4") and n.key.dataset not in _AVERAGES]
    alike: dict[tuple[str, str], list[CellKey]] = defaultdict(list)
    sets = _groups_of(probes, ("dataset",))
    for own in sets.values():
        for first, second in itertools.combinations(own, 2):
            if first.text == second.text:
                alike[first.key.model, second.key.model] += [first.key, second.key]
    for (one, other), keys in alike.items():
        if len(keys) < 2 * _MANY:  # one number may agree by chance
            continue
        text = f"{one} and {other} print the same number here, as in {len(keys) // 2} of the {len(sets)} sets."
        yield from (_about(text, key) for key in keys if table.holds(key))


def _same_lines(table: PaperTable, other: str) -> Iterator[Note]:
    """Whole lines of a source that another table prints for another training."""
    names = ("model", "dataset", "training")
    here, there = (_groups_of(paper_rows(t), names) for t in (table, table_of(other)))
    for key, own in here.items():
        for key2, theirs in there.items():
            if key[:2] != key2[:2] or key[2] == key2[2] or len(own) < len(table.metrics):
                continue
            if {(n.key.metric, n.value) for n in own} == {(n.key.metric, n.value) for n in theirs}:
                what = "multitask training" if key2[2] == "multitask" else "training on the source alone"
                text = f"Table {other} prints the same numbers for {what}."
                yield _about(text, own[0].key, ("model", "dataset", "training"))


def _outside(table: PaperTable) -> Iterator[Note]:
    """Dashes, and values that cannot be."""
    for number in paper_rows(table):
        if not number.text:
            yield _about(f"Table {table.number} prints no number here.", number.key)
        elif number.key.metric not in ("mae", "samples", "classes") and not 0 <= number.value <= table.scale:
            yield _about("A number outside its range.", number.key)


def _known(table: PaperTable) -> Iterator[Note]:
    for row in read_table("notes.csv"):
        if (row["paper"], row["table"]) == (table.paper, table.number):
            yield Note(row["text"], tuple((k, row[k]) for k in ("model", "dataset", "metric", "training") if row[k]))


@functools.cache
def notes_of(number: str, paper: Paper = "climb") -> tuple[Note, ...]:
    """Return every remark on a printed table: what is known of it, and what its numbers contradict.

    Args:
        number (`str`): number of the table.
        paper (`str`, *optional*, defaults to `"climb"`): or `"openpmc"`.

    Returns:
        `tuple[Note, ...]`: known remarks first, then what was computed, each once.

    Example:
        >>> [note.text for note in notes_of("16") if ("dataset", "cmmd") in note.where]
        ['Table 16 prints no number here.']
    """
    table = table_of(number, paper)
    found = [note for check in (_known, _means, _summaries, _shifted, _copies, _outside) for note in check(table)]
    return tuple(dict.fromkeys(found))
