"""Image-text retrieval as an `evaluate` metric: recall@k both ways, by the arithmetic of `climb_hf.metrics`."""

import datasets
import evaluate
import numpy as np

_DESCRIPTION = """
Scores embeddings of image-text pairs by cross-modal retrieval: recall@k from image to text and from text to image, by
cosine similarity, with the median rank, the chance level and confidence intervals from a bootstrap over patients.
Equal scores are handled exactly: a number is the expectation over their orders, and its bounds are given.
"""

_CITATION = """
@article{hodosh2013framing,
  title = {Framing Image Description as a Ranking Task: Data, Models and Evaluation Metrics},
  author = {Hodosh, Micah and Young, Peter and Hockenmaier, Julia},
  journal = {Journal of Artificial Intelligence Research},
  volume = {47},
  pages = {853--899},
  year = {2013}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions (list of lists): embedding of each image, finite; the length of the vectors does not matter.
    references (list of lists): embedding of each text, in the same order and of the same width: row i is a pair.
    ks (list of int, optional, defaults to [10, 50, 200]): depths.
    keys (list, optional): rows with an equal key match each other, such as the captions themselves. By default the one
        match of a row is the row itself, and a duplicate of it is no hit.
    ties (str, optional, defaults to "expected"): "optimistic" or "pessimistic" put the match first or last among equal
        scores.
    groups (list, optional): patient of each row, in the order in which the rows were added; whole patients are drawn.
    n_bootstrap (int, optional, defaults to 0): resamples for confidence intervals.
    confidence (float, optional, defaults to 0.95): level of the intervals.
    seed (int, optional, defaults to 0): seed of the bootstrap.
    device (str, optional): torch device for the products.
    backend (str, optional, defaults to "blocks"): "faiss" looks through an exact FAISS index; same numbers.
Returns:
    climb_retrieval (float): average recall, the mean over both directions and all depths below the number of rows, in
        [0, 1]; best is 1.
    image_to_text, text_to_image (dict): recall at every depth, median rank, ties and their bounds.
    average, chance (dict): mean of both directions, and what a model that cannot tell items apart reaches.
    average_recall, n, n_groups, n_bootstrap, confidence, seed: what was computed.
Examples:
    >>> metric = evaluate.load("climb_retrieval.py")
    >>> result = metric.compute(
    ...     predictions=[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]],
    ...     references=[[1.0, 0.1], [1.0, 0.9], [1.0, 0.8]],
    ...     ks=[1],
    ... )
    >>> round(result["climb_retrieval"], 3)
    0.667
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class ClimbRetrieval(evaluate.Metric):
    """Recall@k of image-text retrieval; see `climb_hf.metrics.retrieval_metrics`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {
                    "predictions": datasets.List(datasets.Value("float64")),
                    "references": datasets.List(datasets.Value("float64")),
                }
            ),
        )

    def _compute(self, predictions: list, references: list, **options: object) -> dict:
        metrics, errors = _climb_hf()
        try:
            images, texts = (np.array(rows, dtype=np.float64) for rows in (predictions, references))  # None is NaN
        except ValueError as error:
            raise errors.SchemaError(
                "`predictions` and `references` need vectors of one width in every row."
            ) from error
        result = metrics.retrieval_metrics(images, texts, **options)
        return {"climb_retrieval": result["average_recall"], **result}


def _climb_hf() -> tuple:
    """Import the library only when a number is asked for, so that the card of the Space shows without it."""
    try:
        from climb_hf import errors, metrics
    except ImportError as error:
        raise ImportError(f"climb_retrieval needs climb-hf ({error}): `pip install climb-hf`.") from error
    return metrics, errors
