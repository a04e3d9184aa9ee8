"""Masked AUC as an `evaluate` metric: every source over its own classes, by the arithmetic of `climb_hf.metrics`."""

import datasets
import evaluate
import numpy as np

_DESCRIPTION = """
Scores a classifier that has one head over a shared label vocabulary V on rows of many clinical sources. Each source is
scored over its own classes V_k only: macro one-vs-rest AUC over the classes with both outcomes, sensitivity,
specificity, F1 and accuracy; then averaged per modality and over sources. Undefined values are NaN and counted.
"""

_CITATION = """
@article{hanley1982meaning,
  title = {The meaning and use of the area under a receiver operating characteristic ({ROC}) curve},
  author = {Hanley, James A. and McNeil, Barbara J.},
  journal = {Radiology},
  volume = {143},
  number = {1},
  pages = {29--36},
  year = {1982}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    references (list of lists): 0 or 1 for each row and each concept of V; None or NaN for an unknown cell, which is
        left out. Only the source's classes are looked at.
    predictions (list of lists): logits for each row and each concept of V; probabilities with `from_logits=False`.
    sources (list of str): source of each row.
    source_classes (dict, optional): for each source the columns of its classes. By default V is the vocabulary of
        climb_hf, and the classes are those of its sources.
    multi_label (dict, optional): for each source whether a row can have any number of positives; given together with
        `source_classes`.
    modalities (dict, optional): modality of each source; by default that of climb_hf's vocabulary.
    groups (list, optional): patient of each row, in the order in which the rows were added; whole patients are drawn.
    definition (str, optional, defaults to "climb"): "paper" reproduces the tables of the CLIMB paper.
    n_bootstrap (int, optional, defaults to 0): resamples for confidence intervals.
    confidence (float, optional, defaults to 0.95): level of the intervals.
    seed (int, optional, defaults to 0): seed of the bootstrap.
    from_logits (bool, optional, defaults to True): whether `predictions` are logits.
    subgroups (dict, optional): columns such as `{"sex": [...]}`; every source is also scored per value.
    calibration (bool, optional, defaults to False): add Brier score and expected calibration error.
Returns:
    climb_masked_auc (float): mean over the sources of their macro AUC, in [0, 1]; best is 1, chance is 0.5.
    sources, modalities, overall (dict): all metrics, with counts of what is defined.
    definition, n, n_bootstrap, confidence, seed: what was computed.
Examples:
    >>> metric = evaluate.load("climb_masked_auc.py")
    >>> result = metric.compute(
    ...     references=[[1, 0, 0], [0, 1, 0], [1, 0, 1]],
    ...     predictions=[[2.0, 1.0, 9.0], [0.0, 3.0, 9.0], [0.5, 1.0, 9.0]],
    ...     sources=["a", "a", "a"],
    ...     source_classes={"a": [0, 1]},
    ...     multi_label={"a": False},
    ... )
    >>> result["climb_masked_auc"]
    1.0
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class ClimbMaskedAuc(evaluate.Metric):
    """Masked AUC over the sources of a shared vocabulary; see `climb_hf.metrics.masked_metrics`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {
                    "predictions": datasets.List(datasets.Value("float64")),
                    "references": datasets.List(datasets.Value("float64")),
                    "sources": datasets.Value("string"),
                }
            ),
        )

    def _compute(
        self,
        predictions: list,
        references: list,
        sources: list,
        source_classes: dict | None = None,
        multi_label: dict | None = None,
        modalities: dict | None = None,
        definition: str = "climb",
        **options: object,
    ) -> dict:
        metrics, vocabulary, errors = _climb_hf()
        if (source_classes is None) != (multi_label is None):
            raise errors.OptionError("`source_classes` and `multi_label` belong together: pass both, or neither.")
        try:
            truth, scores = (np.array(rows, dtype=np.float64) for rows in (references, predictions))  # None is NaN
        except ValueError as error:
            raise errors.SchemaError(
                "`references` and `predictions` need one value per concept in every row."
            ) from error
        names = dict.fromkeys(sources)
        if source_classes is None:
            known = {name: vocabulary.source_vocabulary(name) for name in names}
            source_classes = {name: entry.indices for name, entry in known.items()}
            multi_label = {name: entry.multi_label for name, entry in known.items()}
            modalities = modalities or {name: entry.modality for name, entry in known.items()}
        result = metrics.masked_metrics(
            truth,
            scores,
            sources,
            source_classes=source_classes,
            multi_label=multi_label,
            modalities=modalities,
            valid=_known_cells(truth, np.array(sources), source_classes),
            definition=definition,
            **options,
        )
        return {"climb_masked_auc": result["overall"]["auc"], **result}


def _climb_hf() -> tuple:
    """Import the library only when a number is asked for, so that the card of the Space shows without it."""
    try:
        from climb_hf import errors, metrics, vocabulary
    except ImportError as error:
        raise ImportError(f"climb_masked_auc needs climb-hf ({error}): `pip install climb-hf`.") from error
    return metrics, vocabulary, errors


def _known_cells(references: np.ndarray, sources: np.ndarray, source_classes: dict) -> np.ndarray | None:
    """Cells with a reference; `None` where every source knows all of its own."""
    known = ~np.isnan(references)
    if known.all():
        return None
    for name, classes in source_classes.items():
        columns = [column for column in classes if 0 <= column < references.shape[1]]
        if not known[sources == name][:, columns].all():
            return known
    return None
