"""Correlations, thresholds and node features against reference libraries; time series files; damaged matrices."""

import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf

from climb_hf.errors import CorruptFileError, OptionError
from climb_hf.readers.afni_1d import has_points, read_1d
from climb_hf.readers.connectome import (
    CONNECTOME_OPTIONS,
    both_directions,
    check_connectome,
    check_connectome_options,
    connectome_columns,
    correlation_matrix,
    fisher_z,
)


def series(points=60, regions=7, seed=0):
    random = np.random.default_rng(seed)
    return random.standard_normal((points, regions)) + 2 * random.standard_normal((points, 1)) + 500


def symmetric(regions=9, seed=0, zeros=0.3):
    random = np.random.default_rng(seed)
    values = np.triu(random.standard_normal((regions, regions)) * (random.random((regions, regions)) > zeros), 1)
    return values + values.T + np.eye(regions)


# ---- correlation


def test_pearson_equals_numpy():
    np.testing.assert_allclose(
        correlation_matrix(series(), "pearson"), np.corrcoef(series(), rowvar=False), atol=1e-12
    )


def test_ledoit_wolf_is_the_shrunk_correlation_of_the_standardised_series():
    standard = (series() - series().mean(axis=0)) / series().std(axis=0)
    covariance = LedoitWolf(store_precision=False).fit(standard).covariance_
    scale = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(correlation_matrix(series()), covariance / np.outer(scale, scale), atol=1e-12)


@pytest.mark.parametrize("method", ["ledoit_wolf", "pearson"])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e9 + 0.3])
def test_a_constant_region_correlates_zero_and_leaves_the_others_alone(method, value):
    values = series()
    values[:, 2] = value
    found = correlation_matrix(values, method)
    assert np.isfinite(found).all()
    assert not found[2].any()
    assert not found[:, 2].any()
    others = np.delete(np.delete(found, 2, 0), 2, 1)
    reference = correlation_matrix(np.delete(series(), 2, 1), method)
    np.testing.assert_allclose(others, reference, atol=0.02 if method == "ledoit_wolf" else 1e-12)
    assert (np.diag(others) == 1).all()
    assert not correlation_matrix(np.full((10, 3), value), method).any()


def test_correlations_stay_in_range_and_symmetric():
    twin = series()
    twin[:, 1] = 3 * twin[:, 0]
    twin[:, 2] = -twin[:, 0]
    found = correlation_matrix(twin, "pearson")
    assert found[0, 1] == pytest.approx(1)
    assert found[0, 2] == pytest.approx(-1)
    assert np.abs(found).max() <= 1
    assert (found == found.T).all()


def test_fisher_z_is_finite_with_a_zero_diagonal():
    found = fisher_z(np.array([[1, 1, -1, 0.5], [1, 1, 0, 0], [-1, 0, 1, 0], [0.5, 0, 0, 1.0]]))
    assert not np.diag(found).any()
    assert found[0, 3] == pytest.approx(np.arctanh(0.5))
    assert 8 < found[0, 1] == -found[0, 2] < 10


def test_series_that_cannot_be_correlated():
    for values in (np.zeros((1, 3)), np.array([[1.0, np.nan], [1, 2]]), np.zeros(5)):
        with pytest.raises(CorruptFileError, match="at least two time points"):
            correlation_matrix(values)
    with pytest.raises(OptionError, match="ledoit_wolf"):
        correlation_matrix(series(), "spearman")


# ---- matrices


def test_a_clean_matrix_passes_unchanged_and_rounding_is_averaged():
    found, facts = check_connectome(symmetric())
    assert (found == symmetric()).all()
    assert facts == {"num_nan": 0, "asymmetry": 0.0}
    rounded = symmetric()
    rounded[0, 1] += 1e-6
    found, facts = check_connectome(rounded)
    assert (found == found.T).all()
    assert facts["asymmetry"] == pytest.approx(1e-6)


def test_an_asymmetric_matrix_is_refused_or_averaged():
    matrix = symmetric()
    matrix[0, 1], matrix[1, 0] = 0.8, 0.2
    with pytest.raises(CorruptFileError, match=r"symmetric matrix, found differences of up to 0\.6"):
        check_connectome(matrix)
    found, facts = check_connectome(matrix, "mean")
    assert found[0, 1] == found[1, 0] == 0.5
    assert facts["asymmetry"] == pytest.approx(0.6)


def test_nan_stays_where_both_directions_miss():
    matrix = symmetric()
    matrix[2, :] = matrix[:, 2] = np.nan
    found, facts = check_connectome(matrix)
    assert facts["num_nan"] == 17
    assert np.isnan(found[2]).all()
    matrix[3, 4] = np.nan
    with pytest.raises(CorruptFileError, match="NaN on one side only"):
        check_connectome(matrix)
    assert check_connectome(matrix, "mean")[0][3, 4] == matrix[4, 3]
    assert np.isnan(check_connectome(np.full((3, 3), np.nan))[0]).all()


@pytest.mark.parametrize(
    "matrix",
    [np.zeros((2, 3)), np.zeros(4), np.zeros((0, 0)), np.array([["a"]]), np.array([[0, np.inf], [np.inf, 0]])],
)
def test_what_is_no_matrix(matrix):
    with pytest.raises(CorruptFileError, match="expected"):
        check_connectome(matrix)


# ---- graphs


def edges_of(columns):
    return {
        (s, t): w
        for (s, t), w in zip(columns["edge_index"].T.tolist(), columns["edge_attr"][:, 0].tolist(), strict=True)
    }


def test_every_entry_off_the_diagonal_that_is_not_zero_is_an_edge_in_both_directions():
    matrix = symmetric()
    columns = connectome_columns(matrix)
    found = edges_of(columns)
    expected = {(i, j): np.float32(matrix[i, j]) for i in range(9) for j in range(9) if i != j and matrix[i, j] != 0}
    assert found == expected
    assert columns["edge_index"].dtype == np.int64
    assert columns["edge_attr"].dtype == columns["node_feat"].dtype == np.float32
    assert (columns["node_feat"] == matrix.astype(np.float32)).all(), "the profile keeps its diagonal"
    order = [tuple(edge) for edge in columns["edge_index"].T.tolist()]
    assert order == sorted(order)


def test_isolated_nodes_and_empty_graphs_keep_their_nodes():
    matrix = symmetric()
    matrix[4, :] = matrix[:, 4] = 0
    columns = connectome_columns(matrix)
    assert columns["num_nodes"] == 9
    assert columns["metadata"] == {"num_isolated_nodes": 1}
    empty = connectome_columns(np.eye(3))
    assert (empty["edge_index"].shape, empty["edge_attr"].shape) == ((2, 0), (0, 1))
    assert empty["metadata"] == {"num_isolated_nodes": 3}


def test_threshold_and_density_keep_the_strongest():
    matrix = symmetric(zeros=0)
    strong = connectome_columns(matrix, threshold=0.7)
    assert set(edges_of(strong)) == {(i, j) for i, j in np.argwhere(np.abs(matrix) >= 0.7).tolist() if i != j}
    assert (strong["node_feat"] == matrix.astype(np.float32)).all()
    dense = edges_of(connectome_columns(matrix, density=0.25))
    assert len(dense) == 2 * round(0.25 * 36)
    weakest = min(abs(w) for w in dense.values())
    left = [abs(matrix[i, j]) for i, j in np.argwhere(matrix).tolist() if i != j and (i, j) not in dense]
    assert weakest >= max(left)
    assert all(dense[j, i] == w for (i, j), w in dense.items())


def test_nan_is_no_edge_unless_asked_for():
    matrix = symmetric(zeros=0)
    matrix[1, :] = matrix[:, 1] = np.nan
    columns = connectome_columns(matrix)
    assert not any(1 in edge for edge in edges_of(columns))
    assert np.isfinite(columns["edge_attr"]).all()
    assert np.isnan(columns["node_feat"][1]).all()
    asked = edges_of(connectome_columns(matrix, nan_edges=True))
    assert {w for edge, w in asked.items() if 1 in edge} == {0.0}
    assert len(asked) == 9 * 8
    assert np.isfinite(connectome_columns(matrix, node_features="ldp")["node_feat"]).all()


def test_node_features():
    matrix = symmetric()
    matrix[4, :] = matrix[:, 4] = 0
    kept = (matrix != 0) & ~np.eye(9, dtype=bool)
    assert (connectome_columns(matrix, node_features="identity")["node_feat"] == np.eye(9)).all()
    degree = connectome_columns(matrix, node_features="degree")["node_feat"]
    np.testing.assert_allclose(degree[:, 0], (matrix * kept).sum(axis=1), atol=1e-6)
    columns = connectome_columns(matrix, node_features="ldp")
    transforms = pytest.importorskip("torch_geometric.transforms")
    from torch_geometric.data import Data

    data = Data(edge_index=torch.from_numpy(columns["edge_index"]), num_nodes=9)
    np.testing.assert_allclose(columns["node_feat"], transforms.LocalDegreeProfile()(data).x.numpy(), atol=1e-5)


def test_views_share_their_edges():
    first, second = symmetric(seed=1), symmetric(seed=2)
    columns = connectome_columns(np.stack([first, second], axis=2))
    either = ((first != 0) | (second != 0)) & ~np.eye(9, dtype=bool)
    assert {tuple(edge) for edge in columns["edge_index"].T.tolist()} == {
        tuple(e) for e in np.argwhere(either).tolist()
    }
    source, target = columns["edge_index"]
    np.testing.assert_array_equal(
        columns["edge_attr"], np.stack([first, second], axis=2)[source, target].astype(np.float32)
    )
    assert (columns["node_feat"] == first.astype(np.float32)).all()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("threshold", -1),
        ("threshold", "a"),
        ("density", 0),
        ("density", 1.5),
        ("node_features", "pca"),
        ("nan_edges", 1),
    ],
)
def test_options_that_are_not_allowed(option, value):
    check_connectome_options("abcd", CONNECTOME_OPTIONS)
    with pytest.raises(OptionError, match=f"abcd: `{option}`"):
        check_connectome_options("abcd", {**CONNECTOME_OPTIONS, option: value})


def test_links_become_both_directions_once():
    edges, counts = both_directions(np.array([[3, 1], [1, 3], [1, 3], [2, 2], [0, 1]]), 6)
    assert edges.T.tolist() == [[0, 1], [1, 0], [1, 3], [3, 1]]
    assert counts == {"num_self_loops_removed": 1, "num_isolated_nodes": 3}
    edges, counts = both_directions(np.empty((0, 2)), 2)
    assert edges.shape == (2, 0)
    assert counts["num_isolated_nodes"] == 2
    for pair in ([0, 6], [-1, 0]):
        with pytest.raises(CorruptFileError, match="between the nodes 0 to 5"):
            both_directions(np.array([pair]), 6)


# ---- time series files


def write(path, text):
    path.write_text(text, newline="")
    return path


def test_series_files_round_trip(tmp_path):
    values = series(5, 3).round(6)
    for header in ("#1\t#2\t#3\n", "# 2001\t2002\t2003\n", "# made by hand\n#1\t#2\t#3\n", ""):
        text = header + "".join("\t".join(f"{x:.6f}" for x in row) + "\n" for row in values)
        assert (read_1d(write(tmp_path / "a.1D", text)) == values).all()
        assert (read_1d(write(tmp_path / "a.1D", text.replace("\n", "\r\n"))) == values).all()
        assert has_points(tmp_path / "a.1D", 5)
        assert not has_points(tmp_path / "a.1D", 6)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("#1\t#2\n1\t2\n3\t4", "truncated"),
        ("#1\t#2\n1\t2\n3\n", "equally many numbers"),
        ("#1\t#2\n1\t2\nx\t4\n", "equally many numbers"),
        ("#1\t#2\t#3\n1\t2\n3\t4\n", "expected 3 regions by its header, found rows of 2"),
        ("#1\t#2\n", "no row"),
        ("", "truncated"),
        ("<html>é</html>\n", "text table of numbers"),
    ],
)
def test_damaged_series_files_are_named(tmp_path, text, reason):
    with pytest.raises(CorruptFileError, match=rf"a\.1D.*{reason}"):
        read_1d(write(tmp_path / "a.1D", text))


def test_a_cut_or_empty_file_is_not_taken_for_a_short_one(tmp_path):
    assert has_points(write(tmp_path / "a.1D", "#1\n1\n2.5"), 100)
    assert has_points(write(tmp_path / "a.1D", ""), 100)
    with pytest.raises(CorruptFileError, match="cannot be read"):
        has_points(tmp_path / "absent.1D", 100)
