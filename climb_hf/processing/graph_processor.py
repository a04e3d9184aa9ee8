"""What graphs of examples need to become a graph model's input; saved beside the model."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from transformers.feature_extraction_utils import BatchFeature, FeatureExtractionMixin

from climb_hf.errors import OptionError

if TYPE_CHECKING:
    from datasets import Dataset

    from climb_hf.processing.graph_batch import GraphBatch

__all__ = ["ClimbGraphProcessor"]

_FIELDS = ("pad_features_to", "nan_mask", "self_loops", "feature_mean", "feature_std")
_BOOKKEEPING = ("auto_map", "feature_extractor_type", "processor_class")


class ClimbGraphProcessor(FeatureExtractionMixin):
    """Batches graphs in the Hub's convention (`edge_index`, `edge_attr`, `node_feat`, `num_nodes`) for graph models.

    The defaults are those of the CLIMB paper's models of brain networks: NaN is masked, which doubles the number of
    features, and the diagonal of the matrix gives self loops. Its models of proteins have neither; `for_source` knows
    which a source needs.

    Args:
        pad_features_to (`int`, *optional*): zeros are added to node features up to this number of columns, so that
            networks of several atlases fit one model (360 in the paper). By default nothing is added.
        nan_mask (`bool`, *optional*, defaults to `True`): NaN becomes 0 and as many columns are appended, 1 where a
            feature was NaN.
        self_loops (`bool`, *optional*, defaults to `True`): add self loops of the strength on the diagonal of square
            node features.
        feature_mean (`list[float]`, *optional*): subtracted from the node features before all else.
        feature_std (`list[float]`, *optional*): divided by, likewise; both or neither.
        **kwargs: bookkeeping keys of the file.

    Raises:
        OptionError: an unknown field, or a value of the wrong type or out of range.

    Example:
        >>> network = {"node_feat": [[1.0, 0.5], [0.5, float("nan")]], "edge_index": [[0, 1], [1, 0]]}
        >>> network["edge_attr"] = [[0.5], [0.5]]
        >>> inputs = ClimbGraphProcessor()([network])
        >>> inputs["x"].tolist()
        [[1.0, 0.5, 0.0, 0.0], [0.5, 0.0, 0.0, 1.0]]
        >>> inputs["edge_index"].tolist(), inputs["edge_attr"].flatten().tolist()
        ([[0, 1, 0, 1], [1, 0, 0, 1]], [0.5, 0.5, 1.0, 0.0])
    """

    model_input_names = ["x", "edge_index", "edge_attr", "batch"]  # noqa: RUF012 - declared so in transformers

    def __init__(
        self,
        *,
        pad_features_to: int | None = None,
        nan_mask: bool = True,
        self_loops: bool = True,
        feature_mean: Sequence[float] | None = None,
        feature_std: Sequence[float] | None = None,
        **kwargs: Any,  # noqa: ANN401 - as in the base class
    ) -> None:
        if unknown := sorted(set(kwargs) - {*_BOOKKEEPING}):
            raise OptionError(f"unknown fields {unknown}. A graph processor has {', '.join(_FIELDS)}.")
        super().__init__(**kwargs)
        if pad_features_to is not None and (type(pad_features_to) is not int or pad_features_to < 1):
            raise OptionError(
                f"`pad_features_to` must be a positive whole number, or absent, got {pad_features_to!r}."
            )
        for name, value in (("nan_mask", nan_mask), ("self_loops", self_loops)):
            if not isinstance(value, bool):
                raise OptionError(f"`{name}` must be True or False, got {value!r}.")
        if (feature_mean is None) != (feature_std is None):
            raise OptionError("`feature_mean` and `feature_std` belong together; pass both or neither.")
        self.pad_features_to, self.nan_mask, self.self_loops = pad_features_to, nan_mask, self_loops
        self.feature_mean = None if feature_mean is None else [float(value) for value in feature_mean]
        self.feature_std = None if feature_std is None else [float(value) for value in feature_std]
        self._scale()

    @classmethod
    def for_source(cls, name: str, **fields: Any) -> Self:  # noqa: ANN401 - fields of the processor
        """Make the processor that fits a source: masks and self loops for brain networks, neither for molecules.

        Args:
            name (`str`): name of a source of the graph family.
            **fields: fields that take precedence.

        Returns:
            `ClimbGraphProcessor`

        Raises:
            OptionError: the source has no graphs.

        Example:
            >>> ClimbGraphProcessor.for_source("ppi").nan_mask, ClimbGraphProcessor.for_source("abcd").nan_mask
            (False, True)
        """
        from climb_hf.registry import get_source

        source = get_source(name)
        if source.family != "graph":
            raise OptionError(f"`{name}` is of the family `{source.family}`, not `graph`.")
        is_brain = source.modality == "BrainNet"
        return cls(**{"nan_mask": is_brain, "self_loops": is_brain, **fields})

    def fit(self, dataset: "Dataset") -> Self:
        """Return a processor that also standardises node features by the mean and deviation over a dataset's nodes.

        Args:
            dataset (`datasets.Dataset`): training graphs, all with the same number of features.

        Returns:
            `ClimbGraphProcessor`: a copy with `feature_mean` and `feature_std` (1 for a constant feature; NaN left
            out).
        """
        from climb_hf.processing.arrow_graph import MatrixReader

        reader = MatrixReader(dataset, "node_feat")
        rows = np.concatenate([row for row in reader.rows(range(len(reader))) if row is not None and row.size])
        mean, std = np.nanmean(rows, axis=0, dtype=np.float64), np.nanstd(rows, axis=0, dtype=np.float64)
        fields = {name: getattr(self, name) for name in _FIELDS}
        return type(self)(
            **{**fields, "feature_mean": mean.tolist(), "feature_std": np.where(std > 0, std, 1).tolist()}
        )

    def batch(self, graphs: Sequence[Mapping[str, Any]]) -> "GraphBatch":
        """Batch graphs; the result also has the labels of nodes, and turns into a torch_geometric batch.

        Args:
            graphs (`Sequence[Mapping]`): rows of a dataset of the graph family, see `graph_batch`.

        Returns:
            `GraphBatch`
        """
        from climb_hf.processing.graph_batch import graph_batch  # imports torch: registration must not

        return graph_batch(
            graphs,
            pad_features_to=self.pad_features_to,
            nan_mask=self.nan_mask,
            self_loops=self.self_loops,
            scale=self._scale(),
        )

    def model_inputs(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return what a graph model is called with; `ClassificationCollator` hands rows to processors that have this.

        Args:
            rows (`Sequence[Mapping]`): rows of a dataset of the graph family.

        Returns:
            `dict`: `x`, `edge_index`, `edge_attr` (where there are weights), `batch`.
        """
        return dict(self.batch(rows).inputs())

    def __call__(
        self,
        graphs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        return_tensors: str | None = "pt",
    ) -> BatchFeature:
        """Prepare one graph or several.

        Args:
            graphs (`Mapping` or `Sequence[Mapping]`): one row or several.
            return_tensors (`str`, *optional*, defaults to `"pt"`): `"pt"` for torch, `"np"` or `None` for NumPy.

        Returns:
            `BatchFeature`: `x` (nodes, features) float32, `edge_index` (2, edges) int64, `edge_attr` (edges, k)
            float32 (where there are weights), `batch` (nodes,) int64.

        Raises:
            SchemaError: graphs that cannot be batched.
        """
        if return_tensors not in ("pt", "np", None):
            raise OptionError(f"`return_tensors` must be `pt`, `np` or absent, got {return_tensors!r}.")
        data = self.model_inputs([graphs] if isinstance(graphs, Mapping) else graphs)
        if return_tensors != "pt":
            data = {name: value.numpy() for name, value in data.items()}
        return BatchFeature(data=data)

    def _scale(self) -> tuple[np.ndarray, np.ndarray] | None:
        if self.feature_mean is None or self.feature_std is None:
            return None
        mean, std = (np.array(values, dtype=np.float32) for values in (self.feature_mean, self.feature_std))
        if mean.shape != std.shape or not np.isfinite(mean).all() or not (std > 0).all():
            raise OptionError(
                "`feature_mean` and `feature_std` must be equally many finite numbers, the latter above 0."
            )
        return mean, std
