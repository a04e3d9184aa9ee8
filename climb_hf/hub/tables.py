"""The tables of a model card: results with intervals, vocabulary, data with its terms."""

from collections.abc import Iterable, Sequence

from climb_hf.hub.licence import Terms
from climb_hf.hub.results import METRIC_TITLES, settings_text, varying_settings
from climb_hf.results import ResultRow

__all__ = [
    "averages_text",
    "data_table",
    "markdown_table",
    "metrics_note",
    "number_text",
    "results_table",
    "subgroup_table",
    "vocabulary_table",
]

_SHOWN_CLASSES = 12
_COLUMNS = ("auc", "sensitivity", "specificity")


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[str] = ()) -> str:
    r"""Return a Markdown table.

    Args:
        head (`Sequence[str]`): names of the columns.
        rows (`Iterable[Sequence]`): cells, one per column.
        right (`Sequence[str]`, *optional*): columns to align right.

    Returns:
        `str`: without a line break at the end.

    Example:
        >>> print(markdown_table(["a", "n"], [["x|y", 3]], right=["n"]))
        | a | n |
        |---|--:|
        | x\|y | 3 |
    """
    rule = "|".join("--:" if name in right else "---" for name in head)
    lines = ["| " + " | ".join(head) + " |", f"|{rule}|"]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def number_text(row: ResultRow | None, *, interval: bool = False) -> str:
    """Return a number as the card prints it.

    Args:
        row (`ResultRow`, *optional*): the number, `None` where there is none.
        interval (`bool`, *optional*, defaults to `False`): add the interval.

    Returns:
        `str`: three decimals, or `n/a` with the reason.

    Example:
        >>> number_text(ResultRow(source="a", split="test", metric="auc", value=0.5, n=3, interval=(0.25, 0.75)))
        '0.500'
        >>> number_text(None)
        'n/a (not recorded)'
    """
    if row is None:
        return "n/a (not recorded)"
    if not row.is_defined:
        return f"n/a ({row.reason})"
    text = f"{row.value:.3f}"
    if interval and row.interval is not None:
        return f"{text} [{row.interval[0]:.3f}, {row.interval[1]:.3f}]"
    return f"{text} [no interval]" if interval else text


def _grouped(rows: Iterable[ResultRow]) -> list[tuple[ResultRow, dict[str, ResultRow]]]:
    """Rows that stand on one line of the table (same data, seed, definition and settings), after the first of them."""
    lines: dict[tuple[object, ...], dict[str, ResultRow]] = {}
    for row in rows:
        settings = str(sorted(row.settings.items()))
        key = (row.source, row.split, row.subgroup, row.seed, row.definition, row.protocol, settings)
        lines.setdefault(key, {})[row.metric] = row
    return [(next(iter(line.values())), line) for line in lines.values()]


def _extra_columns(firsts: Sequence[ResultRow]) -> dict[str, list[str]]:
    """Columns for what differs between the lines: seed, definition, protocol, settings."""
    columns = {
        name: [str(getattr(row, name) if getattr(row, name) is not None else "n/a") for row in firsts]
        for name in ("seed", "definition", "protocol")
        if len({getattr(row, name) for row in firsts}) > 1
    }
    if keys := varying_settings(firsts):
        columns["settings"] = [settings_text(row, keys) or "default" for row in firsts]
    return columns


def _level(lines: Iterable[dict[str, ResultRow]]) -> str:
    levels = {row.confidence for line in lines for row in line.values() if row.interval is not None}
    return " or ".join(f"{value:.0%}" for value in sorted(levels or {0.95}))


def _count(value: int | None) -> str:
    return "n/a" if value is None else f"{value:,}"


def results_table(rows: Iterable[ResultRow]) -> str:
    """Return the table of results per source: AUC with its interval, sensitivity, specificity, n, groups.

    Args:
        rows (`Iterable[ResultRow]`): all results; averages and subgroups are passed over.

    Returns:
        `str`: `""` where no source was scored. Seed, definition, protocol and settings get a column where they differ.
    """
    lines = _grouped(row for row in rows if row.level == "source" and row.subgroup is None)
    if not lines:
        return ""
    extra = _extra_columns([first for first, _ in lines])
    counts = ["n", "groups", "classes"]
    head = ["source", "split", *extra, f"AUC [{_level(line for _, line in lines)} CI]", *_COLUMNS[1:], *counts]
    cells = []
    for position, (first, line) in enumerate(lines):
        auc = line.get("auc")
        defined = auc.n_defined if auc is not None else None
        cells.append(
            [
                f"{first.source} (synthetic)" if first.synthetic else first.source,
                first.split,
                *(column[position] for column in extra.values()),
                number_text(auc, interval=True),
                *(number_text(line.get(metric)) for metric in _COLUMNS[1:]),
                _count(first.n),
                _count(first.n_groups),
                "n/a" if first.n_classes is None or defined is None else f"{defined} of {first.n_classes}",
            ]
        )
    return markdown_table(head, cells, right=counts)


def averages_text(rows: Iterable[ResultRow]) -> str:
    """Return the lines on averages: overall, then per modality.

    Args:
        rows (`Iterable[ResultRow]`): all results.

    Returns:
        `str`: a list, `""` where there is no average.
    """
    averages = [row for row in rows if row.level != "source" and row.metric == "auc"]
    averages.sort(key=lambda row: row.level != "overall")
    lines = []
    for row in averages:
        what = "all sources" if row.level == "overall" else row.source
        over = f", over {row.n_defined} with a defined AUC" if row.n_defined is not None else ""
        seed = "" if row.seed is None else f", seed {row.seed}"
        lines.append(f"* Mean AUC of {what} ({row.split}{seed}): {number_text(row, interval=True)}{over}")
    return "\n".join(lines)


def subgroup_table(rows: Iterable[ResultRow]) -> str:
    """Return the table of subgroups: AUC with its interval, sensitivity, specificity, n.

    Args:
        rows (`Iterable[ResultRow]`): all results.

    Returns:
        `str`: `""` where there is no subgroup.
    """
    lines = _grouped(row for row in rows if row.level == "source" and row.subgroup is not None)
    if not lines:
        return ""
    extra = _extra_columns([first for first, _ in lines])
    level = _level(line for _, line in lines)
    head = ["source", "split", "subgroup", *extra, f"AUC [{level} CI]", *_COLUMNS[1:], "n"]
    cells = [
        [
            *(first.source, first.split, first.subgroup),
            *(column[position] for column in extra.values()),
            number_text(line.get("auc"), interval=True),
            *(number_text(line.get(metric)) for metric in _COLUMNS[1:]),
            _count(first.n),
        ]
        for position, (first, line) in enumerate(lines)
    ]
    return markdown_table(head, cells, right=["n"])


def metrics_note(rows: Sequence[ResultRow]) -> str:
    """Return what the numbers of the results table are."""
    definitions = sorted({row.definition for row in rows})
    text = (
        "Per source over its own classes; macro means over the classes where the number is defined (`classes`: with "
        "both outcomes). Decisions: the highest score of a single-label source, probability 0.5 or more of a "
        "multi-label one. "
    )
    if "paper" in definitions:
        text += "Definition `paper`: as in the tables of the CLIMB paper. "
    if any(row.interval is not None for row in rows):
        text += "Intervals: percentile bootstrap over groups (patients or what stands for them). "
    others = sorted({row.metric for row in rows if row.level == "source"} - set(_COLUMNS))
    if others:
        text += f"Also recorded: {', '.join(METRIC_TITLES.get(name, name) for name in others)}. "
    return text + "Every number with its provenance stands in `results.jsonl`."


def vocabulary_table(sources: Sequence[dict]) -> str:
    """Return the classes per source.

    Args:
        sources (`Sequence[dict]`): with `name`, `classes` and `multi_label`.

    Returns:
        `str`: a table, long lists shortened; `""` without sources.
    """
    if not sources:
        return ""
    rows = []
    for source in sources:
        shown = source["classes"][:_SHOWN_CLASSES]
        rest = len(source["classes"]) - len(shown)
        names = ", ".join(shown) + (f" and {rest} more" if rest else "")
        kind = "any number of" if source["multi_label"] else "exactly one of"
        rows.append([source["name"], f"{kind} {len(source['classes'])}", names])
    return markdown_table(["source", "labels per example", "classes"], rows)


def data_table(parts: Sequence[Terms], examples: dict[str, int], *, counts: bool = True) -> str:
    """Return what a model or data set was made from, with licence and access.

    Args:
        parts (`Sequence[Terms]`): terms of the data and of the base model.
        examples (`dict[str, int]`): training examples by source.
        counts (`bool`, *optional*, defaults to `True`): show the column of training examples.

    Returns:
        `str`: a table, `""` without parts.
    """
    if not parts:
        return ""
    rows = []
    for part in parts:
        title = part.title or part.name
        linked = f"[{title}]({part.homepage})" if part.homepage else title
        is_data = part.kind == "data"
        note = part.note.rstrip(".")
        row = [
            part.name if is_data else "base model",
            linked,
            f"`{part.license}`" + (f": {note}" if note else ""),
            part.access if is_data else "n/a",
            ("yes" if part.redistributable else "no") if is_data else "n/a",
        ]
        rows.append([*row, _count(examples.get(part.name)) if is_data else "n/a"] if counts else row)
    head = ["source", "title", "licence", "access", "copies may be passed on"]
    return markdown_table([*head, "training examples"] if counts else head, rows, right=["training examples"])
