"""Oddities of PROTEINS: isolated nodes, dirty lengths, sorted classes, three places for the files."""

import numpy as np
import pytest

import climb_hf
from climb_hf.errors import CorruptFileError, LayoutError


def load(folder, cache, **options):
    dataset = climb_hf.load_dataset("proteins", folder, cache_dir=cache, **options)
    return {row["id"]: row for part in dataset.values() for row in part}


@pytest.mark.parametrize("layout", ["publisher", "flat", "pyg"])
def test_graphs_in_every_layout(miniatures, tmp_path, layout):
    folder, expected = miniatures("proteins", layout=layout)
    rows = load(folder, tmp_path)
    for truth in expected:
        row, edges = rows[truth.id], np.array(rows[truth.id]["edge_index"])
        assert row["num_nodes"] == truth.values["num_nodes"] == len(row["node_feat"])
        assert edges.shape == (2, truth.values["num_edges"])
        assert edges.min() >= 0
        assert edges.max() < row["num_nodes"]
        assert {tuple(edge) for edge in edges.T} == {tuple(edge) for edge in edges[::-1].T}, "both directions"
        assert row["metadata"]["num_isolated_nodes"] == truth.values["num_isolated"]
        assert np.argmax(row["node_feat"], axis=1).tolist() == list(truth.values["node_labels"])
        assert row["metadata"]["element_lengths"] == list(truth.values["node_attributes"])


def test_node_attributes_stand_before_the_element_type(miniatures, tmp_path):
    folder, expected = miniatures("proteins")
    rows = load(folder, tmp_path, node_attributes=True)
    for truth in expected:
        features = np.array(rows[truth.id]["node_feat"])
        assert features.shape[1] == 4
        assert features[:, 0].tolist() == list(truth.values["node_attributes"])


def test_a_cut_table_is_refused_by_name(miniatures, tmp_path):
    folder, _ = miniatures.copy("proteins", tmp_path / "raw")
    (table,) = folder.rglob("PROTEINS_node_labels.txt")
    table.write_bytes(table.read_bytes()[:-20])
    with pytest.raises(CorruptFileError, match="PROTEINS_node_labels"):
        load(folder, tmp_path / "cache")


def test_changed_files_are_read_anew_in_the_same_process(miniatures, tmp_path):
    folder, _ = miniatures.copy("proteins", tmp_path / "raw")
    before = load(folder, tmp_path / "cache")
    (table,) = folder.rglob("PROTEINS_graph_labels.txt")
    labels = table.read_text().split()
    table.write_text("\n".join({"1": "2", "2": "1"}[label] for label in labels) + "\n")
    after = load(folder, tmp_path / "cache")
    assert all(before[i]["raw_labels"] != after[i]["raw_labels"] for i in before)


def test_real_counts(real_dir, tmp_path):
    rows = load(real_dir / "proteins", tmp_path)
    assert len(rows) == 1113
    assert sum(row["raw_labels"] == ["1"] for row in rows.values()) == 663
    sizes = {i: (rows[i]["num_nodes"], len(rows[i]["edge_index"][0])) for i in ("1", "663", "664", "1113")}
    assert sizes == {"1": (42, 162), "663": (43, 164), "664": (32, 128), "1113": (40, 148)}
    isolated = {i for i, row in rows.items() if row["metadata"]["num_isolated_nodes"]}
    assert isolated == {"405", "646", "703", "990", "994"}
    assert min(min(row["metadata"]["element_lengths"]) for row in rows.values()) == -538


@pytest.mark.parametrize("value", ["3", "-1"])
def test_an_unknown_element_type_is_skipped_and_named(miniatures, tmp_path, value):
    folder, expected = miniatures.copy("proteins", tmp_path / "raw")
    (file,) = folder.rglob("PROTEINS_node_labels.txt")
    lines = file.read_text().split("\n")
    file.write_text("\n".join([value, *lines[1:]]))
    rows = load(folder, tmp_path / "cache")
    assert set(rows) == {truth.id for truth in expected} - {"1"}
    (skipped,) = (tmp_path / "cache").rglob("skipped.jsonl")
    assert "expected node labels 0 (helix), 1 (sheet) and 2 (turn)" in skipped.read_text()


def test_missing_node_tables_are_refused_by_name(miniatures, tmp_path):
    folder, expected = miniatures.copy("proteins", tmp_path / "raw")
    (attributes,) = folder.rglob("PROTEINS_node_attributes.txt")
    attributes.unlink()
    rows = load(folder, tmp_path / "cache")
    assert len(rows) == len(expected)
    assert rows["1"]["metadata"]["element_lengths"] is None
    with pytest.raises(LayoutError, match=r"PROTEINS_node_attributes\.txt"):
        load(folder, tmp_path / "cache", node_attributes=True)
    (labels,) = folder.rglob("PROTEINS_node_labels.txt")
    labels.unlink()
    with pytest.raises(LayoutError, match=r"PROTEINS_node_labels\.txt"):
        load(folder, tmp_path / "cache")


def test_an_empty_edge_table_is_damage_not_a_collection_without_edges(miniatures, tmp_path):
    folder, _ = miniatures.copy("proteins", tmp_path / "raw")
    (file,) = folder.rglob("PROTEINS_A.txt")
    file.write_bytes(b"")
    with pytest.raises(CorruptFileError, match=r"PROTEINS_A\.txt` holds no edge"):
        load(folder, tmp_path / "cache")
