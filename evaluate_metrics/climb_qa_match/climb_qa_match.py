"""CLIMB-QA match as an `evaluate` metric: free-text answers to multiple-choice questions, by `climb_hf.qa`."""

import datasets
import evaluate

_DESCRIPTION = """
Scores the free-text answers of a vision-language model to multiple-choice questions with one or several right choices.
Answers are parsed (letters, texts of choices, synonyms, lists, JSON, denials) and compared as sets, whatever their
order; invalid answers count as wrong and are counted apart. Accuracy, macro sensitivity, specificity and F1 per
source, then averaged over sources and over modalities.
"""

_CITATION = """
@article{chapman2001simple,
  title = {A simple algorithm for identifying negated findings and diseases in discharge summaries},
  author = {Chapman, Wendy W. and Bridewell, Will and Hanbury, Paul and Cooper, Gregory F. and Buchanan, Bruce G.},
  journal = {Journal of Biomedical Informatics},
  volume = {34},
  number = {5},
  pages = {301--310},
  year = {2001}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions (list of str): what the model answered.
    references (list of lists of str): the right choices of each question; "None of the above" where none is right.
    choices (list of lists of str): the choices of each question, in the order in which it showed them.
    sources (list of str): source of each question; a source of climb_hf brings its synonyms.
    multi_label (dict or list, optional): whether several choices may be right, by source or question; by default
        that of climb_hf's questions, and for other sources whether any of their references has several.
    modalities (dict, optional): modality of each source; by default that of climb_hf's sources.
    uncertain (list, optional): choices of each question that are not scored.
    groups (list, optional): patient of each question, in the order in which they were added; whole patients are drawn.
    hedges (str, optional, defaults to "invalid"): "named" takes the choices that an invalid answer names.
    n_bootstrap (int, optional, defaults to 0): resamples for confidence intervals.
    confidence (float, optional, defaults to 0.95): level of the intervals.
    seed (int, optional, defaults to 0): seed of the bootstrap.
Returns:
    climb_qa_match (float): mean over the sources of their accuracy, in [0, 1]; best is 1.
    sources, modalities, overall, modality_average (dict): all metrics, with counts of what is defined and invalid.
    parsed (list of dict): `answers` and `status` of each answer.
    n, n_bootstrap, confidence, seed: what was computed.
Examples:
    >>> metric = evaluate.load("climb_qa_match.py")
    >>> result = metric.compute(
    ...     predictions=["B", "There is no DR.", "no idea"],
    ...     references=[["Mild DR"], ["No DR"], ["No DR"]],
    ...     choices=[["No DR", "Mild DR"]] * 3,
    ...     sources=["mine"] * 3,
    ... )
    >>> round(result["climb_qa_match"], 3), result["sources"]["mine"]["n_invalid"]
    (0.667, 1)
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class ClimbQaMatch(evaluate.Metric):
    """Order-agnostic exact match of answer sets; see `climb_hf.qa.scoring.score_answers`."""

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {
                    "predictions": text,
                    "references": datasets.List(text),
                    "choices": datasets.List(text),
                    "sources": text,
                }
            ),
        )

    def _compute(
        self,
        predictions: list,
        references: list,
        choices: list,
        sources: list,
        multi_label: dict | list | None = None,
        modalities: dict | None = None,
        uncertain: list | None = None,
        groups: list | None = None,
        **options: object,
    ) -> dict:
        scoring, templates, registry, errors = _climb_hf()
        for name, values in {"uncertain": uncertain, "groups": groups}.items():
            if values is not None and len(values) != len(predictions):
                raise errors.SchemaError(f"`{name}` has {len(values)} rows, the answers {len(predictions)}.")
        several = _several(references, sources, multi_label, templates, registry, errors)
        known = registry.source_names()
        modality = {name: registry.get_source(name).modality for name in set(sources) if name in known}
        modality.update(modalities or {})
        questions = [
            {
                "id": str(row), "source": source, "choices": choices[row], "multi_label": several[row],
                "answers": references[row] or [templates.NONE_OF_THE_ABOVE], "modality": modality.get(source),
                "uncertain": uncertain[row] if uncertain else (), "group": groups[row] if groups else None,
            }
            for row, source in enumerate(sources)
        ]  # fmt: skip
        result, parsed = scoring.score_answers(questions, predictions, **options)
        listed = [{"answers": list(answer.answers), "status": answer.status} for answer in parsed]
        return {"climb_qa_match": result["overall"]["accuracy"], **result, "parsed": listed}


def _climb_hf() -> tuple:
    """Import the library only when a number is asked for, so that the card of the Space shows without it."""
    try:
        from climb_hf import errors, registry
        from climb_hf.qa import scoring, templates
    except ImportError as error:
        raise ImportError(f"climb_qa_match needs climb-hf ({error}): `pip install climb-hf`.") from error
    return scoring, templates, registry, errors


def _several(
    references: list, sources: list, given: dict | list | None, templates: object, registry: object, errors: object
) -> list:
    """Whether several choices may be right, question by question."""
    if isinstance(given, list):
        if len(given) != len(sources):
            raise errors.SchemaError(f"`multi_label` has {len(given)} rows, the answers {len(sources)}.")
        return given
    kinds = dict(given or {})
    for name in dict.fromkeys(sources):
        if name in kinds:
            continue
        if name in registry.source_names():
            kinds[name] = templates.choice_set(registry.get_source(name)).multi_label
        else:
            own = (row for row, source in zip(references, sources, strict=True) if source == name)
            kinds[name] = any(len(row) != 1 or row[0] == templates.NONE_OF_THE_ABOVE for row in own)
    return [kinds[name] for name in sources]
