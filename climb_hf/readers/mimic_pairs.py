"""MIMIC-CXR as pairs of picture and report: one picture per study, and the text that stands for it.

Which picture and which sections make a pair is not published by those who report retrieval on the 3,269 test studies
(Open-PMC-18M); the rules here are our own: a frontal picture where there is one, findings and impression as text.
"""

from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from climb_hf.errors import LayoutError, OptionError, SplitError
from climb_hf.readers.mimic_reports import read_report, report_sections, report_summary
from climb_hf.readers.tables import read_csv_rows
from climb_hf.source import Options

__all__ = ["check_task", "one_per_study", "pair_text", "report_columns"]

TASKS = ("labels", "pairs")
TEXTS = ("findings+impression", "impression", "report")
#: Views from the most wanted to the least; others come last.
_VIEWS = ("PA", "AP")
_PROBED = 200  # studies asked for a report before the reports count as absent


def check_task(name: str, options: Options) -> bool:
    """Check the options `task` and `text`.

    Args:
        name (`str`): the source, for the messages.
        options (`Options`): its options.

    Returns:
        `bool`: whether pairs are wanted.

    Raises:
        OptionError: a value is not one of those allowed.
        SplitError: the CLIMB paper's split, which drops images without a positive label, was asked for pairs.
    """
    for option, allowed in (("task", TASKS), ("text", TEXTS)):
        if options[option] not in allowed:
            raise OptionError(f"{name}: `{option}` must be one of {list(allowed)}, got {options[option]!r}.")
    is_pairs = bool(options["task"] == "pairs")
    if is_pairs and options.split_by == "paper":
        raise SplitError(
            f"{name}: `split_by='paper'` is the CLIMB paper's split of labelled images; with `task='pairs'` use "
            "'official', whose test split has the 3,269 studies that retrieval is reported on."
        )
    return is_pairs


def one_per_study(
    root: Path,
    table: Path,
    pictures: Mapping[str, Mapping[str, Any]],
    patients: Container[str],
    given: str | None = None,
) -> set[str]:
    """Choose one picture per study: the first posterior-anterior one by id, else anterior-posterior, else of any view.

    The choice goes by the tables alone, so it is the same for a partial download.

    Args:
        root (`Path`): folder of the pictures.
        table (`Path`): the split table: `dicom_id`, `study_id`, `subject_id`.
        pictures (`Mapping`): picture -> its facts, of which `view` counts.
        patients (`Container[str]`): names of the patients' folders that are there.
        given (`str`, *optional*): folder or archive of the reports that the user named.

    Returns:
        `set[str]`: a picture for every study.

    Raises:
        LayoutError: of the first 200 studies of those patients not one has a report.
    """
    best: dict[str, tuple[int, str]] = {}
    asked, has_reports = set[str](), False
    for row in read_csv_rows(table, required=("dicom_id", "study_id", "subject_id")):
        name, study, subject = row["dicom_id"], row["study_id"], row["subject_id"]
        view = pictures.get(name, {}).get("view")
        mine = (_VIEWS.index(view) if view in _VIEWS else len(_VIEWS), name)
        best[study] = min(best.get(study, mine), mine)
        if not has_reports and len(asked) < _PROBED and study not in asked and f"p{subject}" in patients:
            asked.add(study)
            has_reports = read_report(root, subject, study, given) is not None
    if asked and not has_reports:
        raise LayoutError(
            f"mimic_cxr: `task='pairs'` needs the reports, but none was found in or beside `{root}`. Put "
            "`mimic-cxr-reports.zip` of https://physionet.org/content/mimic-cxr/2.1.0/ (or what it holds) there, or "
            "pass it as `reports=`."
        )
    return {name for _, name in best.values()}


def report_columns(report: str | None, study: str, options: Options) -> dict[str, Any]:
    """Return the columns that come from a report: `report` itself or the pair's `text`, its sections in `metadata`.

    Args:
        report (`str`, *optional*): the report as published.
        study (`str`): the study's number.
        options (`Options`): `task` and `text` count.

    Returns:
        `dict`.
    """
    parts: dict[str, Any] = {"sections": None, "summary": None}
    if report is not None:
        parts = {"sections": report_sections(report), "summary": report_summary(report, study)}
    if options["task"] == "pairs":
        return {"text": pair_text(report, study, options["text"]), "metadata": parts}
    return {"report": report, "metadata": parts}


def pair_text(report: str | None, study: str, wanted: str = TEXTS[0]) -> str | None:
    r"""Return the text of a pair, white space collapsed.

    Args:
        report (`str`, *optional*): the report as published.
        study (`str`): the study's number.
        wanted (`str`, *optional*, defaults to `"findings+impression"`): the two sections on a line each, or the one
            there is; without both, the part that the publisher labelled (see `report_summary`). `"impression"` is
            that section only, `"report"` everything.

    Returns:
        `str`, *optional*: `None` where the report has no such text.

    Example:
        >>> pair_text(" FINDINGS: \n Clear  lungs.\n \n IMPRESSION: \n Normal.\n", "50000001")
        'Normal.'
        >>> pair_text("\n FINDINGS: \n Clear  lungs.\n \n IMPRESSION: \n Normal.\n", "50000001")
        'Clear lungs.\nNormal.'
    """
    if report is None:
        return None
    if wanted == "report":
        parts: list[str | None] = [report]
    else:
        sections = report_sections(report)
        parts = [sections.get(name) for name in wanted.split("+")]
        if not any(parts) and wanted == TEXTS[0]:
            parts = [report_summary(report, study)]
    return "\n".join(" ".join(part.split()) for part in parts if part and part.strip()) or None
