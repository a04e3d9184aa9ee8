"""From region time series or connectivity matrices to graphs: what the brain network sources share.

A graph has one node per region. An undirected edge stands in both directions, once, sorted by source and then target;
there are no self loops; `edge_attr` is the connection's strength. Node features are by default the region's row of the
matrix ("connection profile"), diagonal and NaN included: this and an edge for every entry that is not zero are what
the CLIMB paper's code feeds its models. Everything is vectorised.

What is not a clean matrix: an entry that is NaN is no edge (`nan_edges=True`: an edge of strength 0, as in that code);
a matrix that is not symmetric is refused or averaged over its two directions, as the source says; infinity is damage.
"""

from collections.abc import Mapping
from numbers import Real
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from climb_hf.errors import CorruptFileError, OptionError

__all__ = [
    "CONNECTOME_OPTIONS",
    "NODE_FEATURES",
    "both_directions",
    "check_connectome",
    "check_connectome_options",
    "connectome_columns",
    "correlation_matrix",
    "fisher_z",
]

#: Options of every brain network source, with their defaults (the paper's choice).
CONNECTOME_OPTIONS: dict[str, Any] = {
    "threshold": 0.0,
    "density": None,
    "node_features": "profile",
    "nan_edges": False,
}
NODE_FEATURES = ("profile", "identity", "degree", "ldp")
#: Largest difference between the two directions of a symmetric matrix, as a share of its largest value.
_SYMMETRY = 1e-4
_LARGEST_CORRELATION = 1 - 2**-24  # nearest to 1 in float32: its z is finite


def check_connectome_options(source: str, options: Mapping[str, Any]) -> None:
    """Refuse values that the options of `connectome_columns` do not allow.

    Args:
        source (`str`): name of the source, for the message.
        options (`Mapping`): values by name, those of `CONNECTOME_OPTIONS` among them.

    Raises:
        OptionError: naming the option, what is allowed and what was given.
    """
    threshold, density = options["threshold"], options["density"]
    if not _is_number(threshold) or not 0 <= threshold < np.inf:
        raise OptionError(f"{source}: `threshold` must be a strength of at least 0, got {threshold!r}.")
    if density is not None and (not _is_number(density) or not 0 < density <= 1):
        raise OptionError(f"{source}: `density` must be a share of the edges in (0, 1], or absent, got {density!r}.")
    if options["node_features"] not in NODE_FEATURES:
        raise OptionError(
            f"{source}: `node_features` must be one of {list(NODE_FEATURES)}, got {options['node_features']!r}."
        )
    if not isinstance(options["nan_edges"], bool):
        raise OptionError(f"{source}: `nan_edges` must be True or False, got {options['nan_edges']!r}.")


def correlation_matrix(
    series: NDArray[np.floating], method: Literal["ledoit_wolf", "pearson"] = "ledoit_wolf"
) -> NDArray[np.float64]:
    """Correlate the regions of a recording with each other.

    `"ledoit_wolf"` takes the correlation from the Ledoit-Wolf shrunk covariance of the standardised series, as does
    nilearn's `ConnectivityMeasure`, which BrainGB and through it the CLIMB paper used; `"pearson"` is the plain sample
    correlation. A region that never changes correlates 0 with every other and with itself.

    Args:
        series (`np.ndarray`): (time, regions), any unit.
        method (`str`, *optional*, defaults to `"ledoit_wolf"`): `"ledoit_wolf"` or `"pearson"`.

    Returns:
        `np.ndarray`: (regions, regions) float64, symmetric, in [-1, 1], no NaN.

    Raises:
        CorruptFileError: fewer than two time points, or a value that is not finite.
        OptionError: an unknown method.

    Example:
        >>> correlation_matrix(np.array([[0.0, 5, 1], [1, 5, 0], [2, 5, -1]]), "pearson").round(3).tolist()
        [[1.0, 0.0, -1.0], [0.0, 0.0, 0.0], [-1.0, 0.0, 1.0]]
    """
    if method not in ("ledoit_wolf", "pearson"):
        raise OptionError(f"`correlation` must be 'ledoit_wolf' or 'pearson', got {method!r}.")
    if series.ndim != 2 or len(series) < 2 or not np.isfinite(series).all():
        raise CorruptFileError(
            f"expected at least two time points of finite numbers, found an array of shape {series.shape} with "
            f"{int((~np.isfinite(series)).sum())} values that are not. Fetch the series again or leave it out."
        )
    constant = np.ptp(series, axis=0) == 0
    centred = series - series.mean(axis=0, dtype=np.float64)
    centred[:, constant] = 0.0  # the mean of equal numbers may be off by a rounding error
    scale = np.sqrt(np.einsum("ti,ti->i", centred, centred) / len(series))
    constant |= scale == 0
    standard = centred / np.where(constant, 1.0, scale)
    if method == "ledoit_wolf":
        from sklearn.covariance import ledoit_wolf

        covariance = ledoit_wolf(standard, assume_centered=True)[0]
        deviation = np.sqrt(np.diagonal(covariance))
        deviation = np.where(deviation == 0, 1.0, deviation)
        found = covariance / np.outer(deviation, deviation)
    else:
        found = standard.T @ standard / len(series)
    found = np.clip((found + found.T) / 2, -1.0, 1.0)
    np.fill_diagonal(found, 1.0)
    found[constant, :] = found[:, constant] = 0.0
    return found


def fisher_z(correlation: NDArray[np.floating]) -> NDArray[np.float64]:
    """Apply Fisher's z transform to correlations; the diagonal becomes 0.

    Args:
        correlation (`np.ndarray`): (regions, regions) in [-1, 1].

    Returns:
        `np.ndarray`: arctanh off the diagonal. Two regions that correlate perfectly get the finite z of the largest
        float32 below 1 (8.7), not infinity.

    Example:
        >>> fisher_z(np.array([[1.0, 0.5], [0.5, 1.0]])).round(4).tolist()
        [[0.0, 0.5493], [0.5493, 0.0]]
    """
    z = np.arctanh(np.clip(correlation, -_LARGEST_CORRELATION, _LARGEST_CORRELATION))
    np.fill_diagonal(z, 0.0)
    return z


def check_connectome(
    matrix: NDArray[Any], asymmetric: Literal["error", "mean"] = "error"
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Check a connectivity matrix and make it symmetric.

    Args:
        matrix (`np.ndarray`): (regions, regions), or (regions, regions, views).
        asymmetric (`str`, *optional*, defaults to `"error"`): what to do where the two directions differ by more than
            rounding: `"error"` or `"mean"` (of the two; where one is NaN, the other).

    Returns:
        `tuple[np.ndarray, dict]`: the symmetric float64 matrix, NaN where both directions are NaN; and `num_nan`
        (entries that are NaN as published, over all views) and `asymmetry` (largest difference between the two
        directions).

    Raises:
        CorruptFileError: no square matrix of numbers, an infinite value, or an asymmetric matrix.

    Example:
        >>> check_connectome(np.array([[0.0, 2.0], [1.0, 0.0]]), "mean")
        (array([[0. , 1.5],
               [1.5, 0. ]]), {'num_nan': 0, 'asymmetry': 1.0})
    """
    if matrix.ndim not in (2, 3) or len({*matrix.shape[:2]}) != 1 or not matrix.size or matrix.dtype.kind not in "fiu":
        raise CorruptFileError(
            f"expected a square matrix of numbers, found {matrix.dtype} of shape {matrix.shape}. Restore the file."
        )
    values = matrix.astype(np.float64)
    if np.isinf(values).any():
        raise CorruptFileError(
            f"expected finite connection strengths, found {int(np.isinf(values).sum())} infinite ones. "
            "Restore the file, or set them to NaN."
        )
    missing, turned = np.isnan(values), values.swapaxes(0, 1)
    difference = np.abs(values - turned)
    asymmetry = float(np.nanmax(difference, initial=0.0)) if not missing.all() else 0.0
    one_sided = bool((missing != missing.swapaxes(0, 1)).any())
    largest = float(np.nanmax(np.abs(values), initial=0.0)) if not missing.all() else 0.0
    facts = {"num_nan": int(missing.sum()), "asymmetry": asymmetry}
    if asymmetry <= _SYMMETRY * largest and not one_sided and asymmetric == "error":
        return (values if asymmetry == 0 else (values + turned) / 2), facts
    if asymmetric == "error":
        what = "NaN on one side only" if one_sided else f"differences of up to {asymmetry:.3g}"
        raise CorruptFileError(
            f"expected a symmetric matrix, found {what} between the two directions. It is no correlation matrix: "
            "restore the file."
        )
    mean = np.where(missing, turned, np.where(missing.swapaxes(0, 1), values, (values + turned) / 2))
    return mean, facts


def connectome_columns(
    matrix: NDArray[np.floating],
    *,
    profile: NDArray[np.floating] | None = None,
    threshold: float = 0.0,
    density: float | None = None,
    node_features: str = "profile",
    nan_edges: bool = False,
) -> dict[str, Any]:
    """Make the graph columns of a symmetric matrix.

    Args:
        matrix (`np.ndarray`): (regions, regions), or (regions, regions, views); NaN is "not measured".
        profile (`np.ndarray`, *optional*): (regions, regions): rows that become node features; defaults to `matrix`,
            or to its first view.
        threshold (`float`, *optional*, defaults to `0.0`): above 0, edges weaker than this (absolute value; the
            strongest view) are left out.
        density (`float`, *optional*): keep this share of the strongest of all possible edges, in (0, 1]; ties at the
            border are kept by region number.
        node_features (`str`, *optional*, defaults to `"profile"`): `"profile"` (the whole row of the matrix, whatever
            the threshold), `"identity"` (one-hot region), `"degree"` (sum of the strengths of the kept edges: one
            column) or `"ldp"` (local degree profile of Cai and Wang, 2018: number of neighbours, and minimum, maximum,
            mean and standard deviation of theirs: five columns).
        nan_edges (`bool`, *optional*, defaults to `False`): a pair that was not measured is an edge of strength 0.

    Returns:
        `dict`: `edge_index` (2, edges) int64, `edge_attr` (edges, views) float32, `node_feat` (regions, width)
        float32 (NaN only in profiles), `num_nodes`, and `metadata` with `num_isolated_nodes`.

    Example:
        >>> columns = connectome_columns(np.array([[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]]))
        >>> columns["edge_index"].tolist(), columns["edge_attr"].tolist(), columns["metadata"]
        ([[0, 1], [1, 0]], [[0.5], [0.5]], {'num_isolated_nodes': 1})
    """
    views = matrix if matrix.ndim == 3 else matrix[:, :, None]
    regions = len(views)
    strength = np.abs(np.nan_to_num(views)).max(axis=2)
    missing = np.isnan(views).all(axis=2)
    kept = strength > 0 if threshold == 0 else strength >= threshold
    if nan_edges:
        kept |= missing
    np.fill_diagonal(kept, False)
    if density is not None:
        kept &= _strongest(strength, density)
    source, target = np.nonzero(kept)
    features: NDArray[Any]
    weights = np.nan_to_num(views[source, target]).astype(np.float32)
    if node_features == "profile":
        features = views[:, :, 0] if profile is None else profile
    elif node_features == "identity":
        features = np.eye(regions)
    elif node_features == "degree":
        features = np.bincount(source, weights[:, 0], minlength=regions)[:, None]
    else:
        features = _degree_profile(kept)
    return {
        "edge_index": np.stack([source, target]),
        "edge_attr": weights,
        "node_feat": np.asarray(features, dtype=np.float32),
        "num_nodes": regions,
        "metadata": {"num_isolated_nodes": int((~kept.any(axis=1)).sum())},
    }


def both_directions(pairs: NDArray[np.integer], num_nodes: int) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Turn a list of links into an undirected edge list in the Hub's graph convention.

    Args:
        pairs (`np.ndarray`): (links, 2) node ids from 0; either or both directions, self loops and repeats allowed.
        num_nodes (`int`): number of nodes.

    Returns:
        `tuple[np.ndarray, dict]`: `edge_index` (2, edges) int64 with both directions of every edge once, sorted by
        source, then target; and the counts `num_self_loops_removed` and `num_isolated_nodes`.

    Raises:
        CorruptFileError: a node id outside the graph.

    Example:
        >>> edges, counts = both_directions(np.array([[0, 1], [1, 0], [2, 2]]), 4)
        >>> edges.tolist(), counts
        ([[0, 1], [1, 0]], {'num_self_loops_removed': 1, 'num_isolated_nodes': 2})
    """
    pairs = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    outside = (pairs < 0) | (pairs >= num_nodes)
    if outside.any():
        raise CorruptFileError(
            f"expected links between the nodes 0 to {num_nodes - 1}, found {pairs[outside.any(axis=1)][0].tolist()}. "
            "Restore the file."
        )
    links = pairs[pairs[:, 0] != pairs[:, 1]]
    keys = np.unique(np.concatenate([links @ [num_nodes, 1], links @ [1, num_nodes]]).astype(np.int64))
    edges = np.stack([keys // max(num_nodes, 1), keys % max(num_nodes, 1)])
    counts = {
        "num_self_loops_removed": len(pairs) - len(links),
        "num_isolated_nodes": num_nodes - len(np.unique(edges[0])),
    }
    return edges, counts


def _strongest(strength: NDArray[np.float64], density: float) -> NDArray[np.bool_]:
    """(regions, regions): the given share of all pairs, strongest first."""
    upper = np.triu_indices(len(strength), 1)
    count = round(density * len(upper[0]))
    order = np.argsort(-strength[upper], kind="stable")[:count]
    kept = np.zeros(strength.shape, dtype=bool)
    kept[upper[0][order], upper[1][order]] = True
    return kept | kept.T


def _degree_profile(kept: NDArray[np.bool_]) -> NDArray[np.float64]:
    degree = kept.sum(axis=1).astype(np.float64)
    count = np.maximum(degree, 1)
    theirs = np.where(kept, degree[None, :], np.nan)
    lonely = degree == 0
    theirs[lonely] = 0.0  # a node without neighbours has zeros throughout
    mean = np.where(lonely, 0.0, np.nansum(theirs, axis=1) / count)
    variance = np.nansum((theirs - mean[:, None]) ** 2, axis=1) / count
    return np.stack([degree, np.nanmin(theirs, axis=1), np.nanmax(theirs, axis=1), mean, np.sqrt(variance)], axis=1)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
