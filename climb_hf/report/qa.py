"""Numbers of CLIMB-QA as the tables people read, and as Tables 4 and 22 of the CLIMB paper are laid out."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from climb_hf.report.paper.numbers import paper_numbers

if TYPE_CHECKING:
    from climb_hf.results import ResultRow

__all__ = ["answer_table", "comparison_table", "paper_values"]

#: Columns of the paper's Tables 4 and 22, and what share of the answers was none.
_METRICS = ("accuracy", "sensitivity", "specificity", "f1", "invalid")


def _name(row: "ResultRow") -> str:
    if row.level == "overall":
        return f"average over {row.settings.get('average', 'sources')}"
    return f"{row.source} without duplicates" if row.is_without_duplicates else row.source


def answer_table(rows: "Sequence[ResultRow]") -> list[dict[str, object]]:
    """Return one line per source, modality and average.

    Args:
        rows (`Sequence[ResultRow]`): results of `climb_hf.qa.score_predictions` or of a run.

    Returns:
        `list[dict]`: `level`, `of`, `n`, and each metric with its interval as text.

    Example:
        >>> from climb_hf.results import ResultRow
        >>> answer_table([ResultRow(source="busi", split="test", metric="accuracy", value=0.5, n=4)])[0]["accuracy"]
        '0.500'
    """
    lines: dict[tuple[str, str], dict[str, object]] = {}
    metrics = [metric for metric in _METRICS if any(row.metric == metric for row in rows)]
    for row in rows:
        if row.metric not in metrics:
            continue
        first = {"level": row.level, "of": _name(row), "n": row.n, **dict.fromkeys(metrics)}
        lines.setdefault((row.level, _name(row)), first)[row.metric] = row.text()
    return list(lines.values())


#: Modalities of the paper's Table 4 as ours are called.
_PAPER_MODALITIES = {
    "chest_xray": "Chest X-ray", "ct": "CT", "dermoscopy": "Dermoscopy", "endoscopic": "Video", "fundus": "Fundus",
    "mammography": "Mammography", "mri": "MRI", "ultrasound": "Ultrasound",
}  # fmt: skip
_PAPER_METRICS = ("accuracy", "sensitivity", "specificity")


@functools.cache
def paper_values() -> dict[tuple[str, str, str], dict[str, float]]:
    """Return what the paper's Tables 4 and 22 print.

    Returns:
        `dict`: (level, source or modality or `"average"`, training) -> value by metric. Trainings are `"zero-shot"`
        and `"fine-tuned"` of LLaVA-Med, and `"encoder"`, the paper's ConvNeXtV2.

    Example:
        >>> paper_values()["modality", "average", "fine-tuned"]["accuracy"]
        0.555
    """
    found: dict[tuple[str, str, str], dict[str, float]] = {}
    for number in paper_numbers("climb"):
        if number.table not in ("4", "22") or not number.text:
            continue
        level, name = ("modality" if number.table == "4" else "source"), number.key.dataset
        name = _PAPER_MODALITIES.get(name, name) if level == "modality" else name
        name = "average" if name in ("average", "overall") else name
        training = "encoder" if number.key.training == "multitask" else number.key.training
        found.setdefault((level, name, training), {})[number.key.metric] = number.value
    return found


def comparison_table(rows: "Sequence[ResultRow]", level: Literal["modality", "source"]) -> list[dict[str, object]]:
    """Return the paper's Table 4 (per modality) or Table 22 (per dataset) with our numbers beside the printed ones.

    Args:
        rows (`Sequence[ResultRow]`): of `climb_hf.protocols.qa_compare.compare_answers`.
        level (`str`): `"modality"` or `"source"`; the last lines are the average over those.

    Returns:
        `list[dict]`: one line per modality or source and model: accuracy, sensitivity, specificity, F1 and share of
        invalid answers with their intervals, and what the paper prints for LLaVA-Med trained alike (accuracy /
        sensitivity / specificity), or for its encoder.
    """
    average = {"modality": "modalities", "source": "sources"}[level]
    lines: dict[tuple[str, str, str], dict[str, object]] = {}
    for row in rows:
        if row.metric not in _METRICS or row.is_without_duplicates:
            continue
        is_average = row.level == "overall" and row.settings.get("average") == average
        if row.level != level and not is_average:
            continue
        name = "average" if is_average else row.source
        training = str(row.settings.get("training"))
        printed = paper_values().get((level, name, training), {})
        first: dict[str, Any] = {level: name, "model": row.model, "training": training, "n": row.n}
        paper = " / ".join(f"{printed[metric]:.3f}" for metric in _PAPER_METRICS if metric in printed)
        line = lines.setdefault(
            (name, str(row.model), training), {**first, **dict.fromkeys(_METRICS), "paper": paper or None}
        )
        line[row.metric] = row.text()
    order = {name: place for place, name in enumerate(dict.fromkeys(key[0] for key in lines if key[0] != "average"))}
    return [lines[key] for key in sorted(lines, key=lambda key: (order.get(key[0], len(order)), key[2], key[1]))]
