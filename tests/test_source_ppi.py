"""Oddities of PPI: two publishers' files, graphs without ids, labels of nodes, the node split."""

import json

import numpy as np
import pytest
from source_helpers import by_id

import climb_hf
from climb_hf import vocabulary
from climb_hf.errors import CorruptFileError, LayoutError, SchemaError
from climb_hf.miniatures._networks import npy_bytes

LAYOUTS = ("dgl", "pyg", "graphsage", "toy")


def load(folder, cache, **options):
    return by_id(climb_hf.load_dataset("ppi", folder, cache_dir=cache, **options))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_graphs_in_every_layout(miniatures, tmp_path, layout):
    folder, expected = miniatures("ppi", layout=layout)
    rows = load(folder, tmp_path)
    assert set(rows) == {truth.id for truth in expected}
    for truth in expected:
        (split, row), wanted = rows[truth.id], truth.values
        edges = np.array(row["edge_index"])
        assert split == truth.split
        assert row["num_nodes"] == wanted["num_nodes"] == len(row["node_feat"])
        assert edges.shape == (2, wanted["num_edges"])
        assert edges.min() >= 0
        assert edges.max() < row["num_nodes"]
        pairs = [tuple(edge) for edge in edges.T.tolist()]
        assert pairs == sorted(set(pairs))
        assert {(b, a) for a, b in pairs} == set(pairs)
        assert all(a != b for a, b in pairs)
        np.testing.assert_array_equal(row["node_feat"], np.array(wanted["features"], "float32"))
        np.testing.assert_array_equal(row["node_labels"], wanted["labels"])
        assert row["edge_attr"] is None
        facts = row["metadata"]
        assert facts["num_self_loops_removed"] == wanted["num_self_loops"]
        assert facts["num_isolated_nodes"] == wanted["num_isolated"]
        assert facts["first_node"] == wanted["first_node"]
        assert facts["num_scored_nodes"] == row["num_nodes"]


def test_official_split_by_graph(miniatures, tmp_path):
    folder, _ = miniatures("ppi", n=24)
    data = climb_hf.load_dataset("ppi", folder, cache_dir=tmp_path)
    assert {split: len(part) for split, part in data.items()} == {"train": 20, "validation": 2, "test": 2}
    assert data["validation"]["id"][:] == ["21", "22"]
    assert data["test"]["id"][:] == ["23", "24"]


def test_both_publishers_give_the_same_graphs(miniatures, tmp_path):
    one, other = (load(miniatures("ppi", layout=layout)[0], tmp_path / layout) for layout in ("dgl", "graphsage"))
    for id_, (split, row) in one.items():
        other_split, same = other[id_]
        assert split == other_split
        for column in ("edge_index", "node_feat", "node_labels", "labels", "num_nodes"):
            assert row[column] == same[column]


def test_labels_of_a_graph_are_those_of_any_of_its_nodes(miniatures, tmp_path):
    folder, expected = miniatures("ppi", n=8)
    names = vocabulary.concepts()
    for id_, (_, row) in load(folder, tmp_path).items():
        present = np.flatnonzero(np.array(row["node_labels"]).any(axis=0))
        assert [names[i] for i in row["labels"]] == [f"protein.go_{k:03d}" for k in present]
        assert row["raw_labels"] == [f"go_{k:03d}" for k in present]
        assert id_ in {truth.id for truth in expected}
    assert len(climb_hf.get_source("ppi").classes) == 121


def test_node_split_has_the_papers_size_and_depends_on_the_seed(miniatures, tmp_path):
    folder, expected = miniatures("ppi", n=12)
    total = sum(truth.values["num_nodes"] for truth in expected)
    rows = load(folder, tmp_path, split_by="paper")
    counts = {"train": 0, "test": 0}
    for truth in expected:
        parts = []
        for split in counts:
            found, row = rows[f"{truth.id}-{split}"]
            labels = np.array(row["node_labels"])
            scored = (labels >= 0).all(axis=1)
            assert found == split
            assert ((labels == -1).all(axis=1) == ~scored).all()
            np.testing.assert_array_equal(labels[scored], np.array(truth.values["labels"])[scored])
            assert row["metadata"]["num_scored_nodes"] == scored.sum()
            assert row["num_nodes"] == len(labels) == truth.values["num_nodes"]
            assert row["group"] == truth.id
            counts[split] += int(scored.sum())
            parts.append(scored)
        assert (parts[0] ^ parts[1]).all()
    assert counts == {"train": round(0.8 * total), "test": total - round(0.8 * total)}
    drawn = np.random.RandomState(42).permutation(total)[: round(0.8 * total)]
    first = expected[0].values["num_nodes"]
    scored = np.array(rows["1-train"][1]["node_labels"])[:, 0] >= 0
    assert set(np.flatnonzero(scored)) == {node for node in drawn if node < first}
    other = load(folder, tmp_path, split_by="paper", seed=1)
    assert any(rows[i][1]["node_labels"] != other[i][1]["node_labels"] for i in rows)


def test_node_split_of_the_real_collection_has_the_published_counts():
    from climb_hf.dataset_scripts.ppi import _drawn_nodes

    from climb_hf.readers.ppi_files import PpiGraph

    sizes = [44906, 6514, 5524]
    graphs = [PpiGraph(k, "train", 0, None, None, np.empty((size, 0))) for k, size in enumerate(sizes)]
    drawn = np.concatenate(_drawn_nodes(graphs, 42))
    assert (drawn.sum(), (~drawn).sum()) == (45555, 11389)


def test_another_number_of_graphs_is_a_warning(miniatures, tmp_path, caplog):
    load(miniatures("ppi", n=8)[0], tmp_path)
    assert "found 8 graphs, the published collection has 24" in caplog.text
    caplog.clear()
    load(miniatures("ppi", n=24)[0], tmp_path)
    assert "published collection" not in caplog.text


def rewrite(file, change):
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("layout", "file", "change", "reason"),
    [
        ("dgl", "train_graph.json", lambda c: c["links"].append({"source": 0, "target": 10**6}), "links between its"),
        ("dgl", "train_graph.json", lambda c: c["links"].append({"source": 0, "target": 100}), "within one graph"),
        ("dgl", "train_graph.json", lambda c: c["nodes"].pop(), r"links between|one row per node"),
        ("dgl", "valid_graph.json", lambda c: c.pop("links"), "`nodes` and `links`"),
        ("graphsage", "ppi-id_map.json", lambda c: c.pop("3"), "no features or labels"),
        ("graphsage", "ppi-class_map.json", lambda c: c["3"].pop(), "no features or labels"),
        ("graphsage", "ppi-class_map.json", lambda c: c["3"].__setitem__(0, 7), "labels 0 or 1"),
        ("graphsage", "ppi-G.json", lambda c: c["nodes"][3].update(test=True, val=True), "both `val` and `test`"),
    ],
)
def test_files_that_contradict_each_other(miniatures, tmp_path, layout, file, change, reason):
    folder, _ = miniatures.copy("ppi", tmp_path / "raw", layout=layout)
    rewrite(next(folder.rglob(file)), change)
    with pytest.raises(CorruptFileError, match=reason):
        load(folder, tmp_path / "cache")


@pytest.mark.parametrize(
    ("layout", "file"),
    [
        ("dgl", "train_feats.npy"),
        ("dgl", "test_graph.json"),
        ("graphsage", "ppi-G.json"),
        ("graphsage", "ppi-feats.npy"),
    ],
)
def test_cut_and_missing_files_are_named(miniatures, tmp_path, layout, file):
    folder, _ = miniatures.copy("ppi", tmp_path / "raw", layout=layout)
    path = next(p for p in folder.rglob(file) if "__MACOSX" not in p.parts)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(CorruptFileError, match=file.replace(".", r"\.")):
        load(folder, tmp_path / "cache")
    path.unlink()
    with pytest.raises(LayoutError):
        load(folder, tmp_path / "cache")


def test_another_number_of_labels_is_another_collection(miniatures, tmp_path):
    folder, _ = miniatures.copy("ppi", tmp_path / "raw")
    for file in folder.rglob("*_labels.npy"):
        file.write_bytes(npy_bytes(np.load(file)[:, :50]))
    with pytest.raises(SchemaError, match="expected 121 labels per node, found 50"):
        load(folder, tmp_path / "cache")


def test_pickled_features_are_refused(miniatures, tmp_path):
    folder, _ = miniatures.copy("ppi", tmp_path / "raw")
    (file,) = folder.rglob("train_feats.npy")
    file.write_bytes(npy_bytes(np.array([[1], "a"], dtype=object)))
    with pytest.raises(CorruptFileError, match=r"train_feats\.npy"):
        load(folder, tmp_path / "cache")


@pytest.mark.filterwarnings("ignore")  # of torch_geometric's own
def test_torch_geometric_reads_the_same_graphs(miniatures, tmp_path):
    pytest.importorskip("networkx")
    library = pytest.importorskip("torch_geometric.datasets")
    folder, _ = miniatures.copy("ppi", tmp_path / "raw", n=12, layout="pyg")
    ours = climb_hf.load_dataset("ppi", folder, cache_dir=tmp_path / "cache")
    for theirs, split in (("train", "train"), ("val", "validation"), ("test", "test")):
        for graph, row in zip(library.PPI(str(folder / "PPI"), split=theirs), ours[split], strict=True):
            np.testing.assert_array_equal(graph.x, row["node_feat"])
            np.testing.assert_array_equal(graph.y, row["node_labels"])
            assert sorted(graph.edge_index.T.tolist()) == np.array(row["edge_index"]).T.tolist()
