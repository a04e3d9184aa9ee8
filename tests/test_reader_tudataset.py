import hashlib
import io

import numpy as np
import pytest

from climb_hf.errors import ClimbError, CorruptFileError, LayoutError
from climb_hf.readers.tudataset import TuDataset, read_tu_dataset

# graph 1: a path 1-2-3 and the isolated node 4; graph 2: a single node; graph 3: a triangle
INDICATOR = "1\n1\n1\n1\n2\n3\n3\n3\n"
EDGES = "2, 1\n1, 2\n3, 2\n2, 3\n6, 7\n7, 6\n6, 8\n8, 6\n7, 8\n8, 7\n"
TABLES = {"A": EDGES, "graph_indicator": INDICATOR, "graph_labels": "1\n-1\n1\n"}


def write(folder, **tables):
    folder.mkdir(parents=True, exist_ok=True)
    for what, text in (TABLES | tables).items():
        if text is not None:
            (folder / f"TOY_{what}.txt").write_bytes(text.encode())
    return folder


def edges(graph):
    return [tuple(pair) for pair in graph.edge_index.T.tolist()]


def test_labels_sizes_and_local_edges(tmp_path):
    data = read_tu_dataset(write(tmp_path), "TOY")
    assert len(data) == 3
    assert data.graph_labels.tolist() == [1, -1, 1]
    assert data.num_nodes.tolist() == [4, 1, 3]
    first, second, third = data
    assert (first.graph_id, first.label, first.num_nodes, first.num_isolated_nodes) == (1, 1, 4, 1)
    assert edges(first) == [(0, 1), (1, 0), (1, 2), (2, 1)]
    assert (second.graph_id, second.label, second.num_nodes, second.num_isolated_nodes) == (2, -1, 1, 1)
    assert second.edge_index.shape == (2, 0)
    assert edges(third) == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]
    assert first.edge_index.dtype == np.int64
    assert first.node_labels is None
    assert first.node_attributes is None
    assert first.edge_labels is None
    assert first.edge_attributes is None
    assert data.edge_counts == {"lines": 10, "edges": 5, "self_loops": 0, "duplicates": 0, "one_way": 0}


def test_positions(tmp_path):
    data = TuDataset(write(tmp_path), "TOY")
    assert data.graph(-1).graph_id == 3
    for index in (3, -4):
        with pytest.raises(IndexError):
            data.graph(index)


def test_order_of_lines_does_not_matter(tmp_path):
    shuffled = "".join(
        sorted(EDGES.splitlines(keepends=True), key=lambda line: hashlib.sha256(line.encode()).digest())
    )
    assert shuffled != EDGES
    plain, other = (
        list(read_tu_dataset(write(tmp_path / n, A=text), "TOY")) for n, text in (("a", EDGES), ("b", shuffled))
    )
    for left, right in zip(plain, other, strict=True):
        np.testing.assert_array_equal(left.edge_index, right.edge_index)


def test_one_way_edges_duplicates_and_self_loops(tmp_path):
    text = "1, 2\n2, 3\n3, 2\n2, 3\n4, 4\n6, 7\n7, 8\n6, 8\n"
    data = read_tu_dataset(write(tmp_path, A=text), "TOY")
    assert data.edge_counts == {"lines": 8, "edges": 5, "self_loops": 1, "duplicates": 1, "one_way": 4}
    reference = read_tu_dataset(write(tmp_path / "reference"), "TOY")
    for left, right in zip(data, reference, strict=True):
        np.testing.assert_array_equal(left.edge_index, right.edge_index)
    assert data.graph(0).num_isolated_nodes == 1


def test_collection_without_edges(tmp_path):
    data = read_tu_dataset(write(tmp_path, A="", edge_labels=""), "TOY")
    assert [graph.edge_index.shape for graph in data] == [(2, 0)] * 3
    assert [graph.num_isolated_nodes for graph in data] == [4, 1, 3]
    assert data.graph(0).edge_labels.shape == (0,)


def test_node_tables(tmp_path):
    labels = "0\n1\n2\n0\n1\n2\n0\n1\n"
    attributes = " 23.000000\n-538.5\n1e3\n0\n5\n6\n7\n8\n"
    first, second, third = read_tu_dataset(write(tmp_path, node_labels=labels, node_attributes=attributes), "TOY")
    assert first.node_labels.tolist() == [0, 1, 2, 0]
    assert first.node_attributes.tolist() == [[23.0], [-538.5], [1000.0], [0.0]]
    assert (second.node_labels.tolist(), second.node_attributes.tolist()) == ([1], [[5.0]])
    assert third.node_labels.tolist() == [2, 0, 1]
    assert (first.node_labels.dtype, first.node_attributes.dtype) == (np.int64, np.float64)


def test_tables_of_several_columns(tmp_path):
    rows = "".join(f"{i}, {-i}\n" for i in range(8))
    (graph, *_) = read_tu_dataset(write(tmp_path, node_labels=rows, node_attributes=rows), "TOY")
    assert graph.node_labels.tolist() == [[0, 0], [1, -1], [2, -2], [3, -3]]
    assert graph.node_attributes.shape == (4, 2)


def test_edge_tables_follow_their_edges(tmp_path):
    labels = "".join(f"{i}\n" for i in range(10, 20))
    attributes = "".join(f"{i}.5, {i}\n" for i in range(10))
    first, second, third = read_tu_dataset(write(tmp_path, edge_labels=labels, edge_attributes=attributes), "TOY")
    assert edges(first) == [(0, 1), (1, 0), (1, 2), (2, 1)]
    assert first.edge_labels.tolist() == [11, 10, 13, 12]
    assert first.edge_attributes.tolist() == [[1.5, 1], [0.5, 0], [3.5, 3], [2.5, 2]]
    assert second.edge_labels.shape == (0,)
    assert third.edge_labels.tolist() == [14, 16, 15, 18, 17, 19]


def test_an_added_direction_takes_the_label_of_the_stated_one(tmp_path):
    text, labels = "4, 4\n2, 1\n2, 3\n3, 2\n2, 3\n", "9\n5\n6\n7\n8\n"
    graph = read_tu_dataset(write(tmp_path, A=text, edge_labels=labels), "TOY").graph(0)
    assert edges(graph) == [(0, 1), (1, 0), (1, 2), (2, 1)]
    assert graph.edge_labels.tolist() == [5, 5, 6, 7]


def test_graphs_do_not_share_memory_with_the_collection(tmp_path):
    data = read_tu_dataset(write(tmp_path, node_labels="0\n1\n2\n0\n1\n2\n0\n1\n"), "TOY")
    data.graph(0).node_labels[:] = 99
    data.graph(0).edge_index[:] = 99
    assert data.graph(0).node_labels.tolist() == [0, 1, 2, 0]
    assert edges(data.graph(0))[0] == (0, 1)


@pytest.mark.parametrize("place", ["", "TOY", "raw", "TOY/raw"])
def test_places(tmp_path, place):
    write(tmp_path / place)
    assert read_tu_dataset(tmp_path, "TOY").graph(2).num_nodes == 3


def test_missing_files(tmp_path):
    write(tmp_path / "raw", graph_labels=None)
    with pytest.raises(LayoutError, match=r"`raw/` or `TOY/raw/` below it; `TOY_graph_labels.txt` not found"):
        read_tu_dataset(tmp_path, "TOY")


def test_crlf(tmp_path):
    data = read_tu_dataset(write(tmp_path, **{k: v.replace("\n", "\r\n") for k, v in TABLES.items()}), "TOY")
    assert edges(data.graph(0)) == [(0, 1), (1, 0), (1, 2), (2, 1)]


@pytest.mark.parametrize(
    ("table", "text", "message"),
    [
        ("A", EDGES + "8, 9\n", r"TOY_A.txt`, line 11: expected node ids from 1 to 8 .* found 8, 9"),
        ("A", "1, 2\n0, 1\n", r"TOY_A.txt`, line 2: expected node ids from 1 to 8"),
        (
            "A",
            EDGES + "6, 5\n",
            r"TOY_A.txt`, line 11: expected an edge within one graph, found 6 of graph 3 and 5 of",
        ),
        ("A", EDGES[:-1], r"TOY_A.txt`, line 10: expected a line end"),
        ("A", EDGES + "8\n", r"TOY_A.txt`, line 11: expected 2 whole numbers, found '8'"),
        ("A", "1, 2\n2 1\n", r"TOY_A.txt`, line 2: expected 2 whole numbers"),
        ("A", "1, 2\n2, x\n", r"TOY_A.txt`, line 2: expected 2 whole numbers, found '2, x'"),
        ("A", "1, 2\n2, 1.0\n", r"TOY_A.txt`, line 2: expected 2 whole numbers"),
        ("A", "1, 2\n\n2, 1\n", r"TOY_A.txt`, line 2: expected 2 whole numbers, found ''"),
        ("A", "1, 2\n  \n2, 1\n", r"TOY_A.txt`, line 2: expected 2 whole numbers"),
        ("A", "1, 2, 3\n", r"TOY_A.txt`, line 1: expected 2 whole numbers"),
        ("A", "1, 2\n2, 1_0\n", r"TOY_A.txt`, line 2"),
        (
            "graph_indicator",
            "1\n1\n1\n1\n2\n3\n3\n2\n",
            r"indicator.txt`, line 8: .* ascend without gaps, found 2 after 3",
        ),
        ("graph_indicator", "1\n1\n1\n1\n3\n3\n3\n3\n", r"indicator.txt`, line 5: .* found 3 after 1"),
        ("graph_indicator", "0\n1\n1\n1\n2\n3\n3\n3\n", r"indicator.txt`, line 1: .* found 0 after nothing"),
        ("graph_indicator", "2\n2\n2\n2\n2\n3\n3\n3\n", r"indicator.txt`, line 1: .* found 2 after nothing"),
        ("graph_indicator", "1\n1\n1\n1\n2\n2\n2\n2\n", r"indicator.txt`, line 8: expected 3 graphs by .* found 2"),
        ("graph_indicator", INDICATOR[:-2], r"A.txt`, line 7: expected node ids from 1 to 7"),
        ("graph_indicator", INDICATOR[:-1], r"indicator.txt`, line 8: expected a line end"),
        ("graph_indicator", "", r"indicator.txt`, line 1: expected a line end"),
        ("graph_labels", "1\n2\n", r"indicator.txt`, line 8: expected 2 graphs by `TOY_graph_labels.txt`, found 3"),
        ("graph_labels", "1\n2\n1, 2\n", r"labels.txt`, line 3: expected 1 whole numbers"),
        (
            "node_labels",
            "0\n1\n2\n",
            r"node_labels.txt`, line 4: expected 8 lines as in `TOY_graph_indicator.txt`, found 3",
        ),
        ("node_labels", "0\n" * 9, r"node_labels.txt`, line 9: expected 8 lines"),
        ("node_labels", "0\n" * 7 + "x\n", r"node_labels.txt`, line 8"),
        ("node_attributes", "0.5\n" * 7 + "0.5", r"node_attributes.txt`, line 8: expected a line end"),
        ("node_attributes", "0.5\n" * 6 + "0.5, 1\n0.5\n", r"node_attributes.txt`, line 7: expected 1 numbers"),
        ("edge_labels", "1\n" * 9, r"edge_labels.txt`, line 10: expected 10 lines as in `TOY_A.txt`, found 9"),
        ("edge_attributes", "1\n" * 11, r"edge_attributes.txt`, line 11: expected 10 lines"),
    ],
)
def test_damage_names_file_and_line(tmp_path, table, text, message):
    data = read_tu_dataset(write(tmp_path, **{table: text}), "TOY")
    with pytest.raises(CorruptFileError, match=message):
        list(data)


def test_index_needs_neither_edges_nor_features(tmp_path):
    data = read_tu_dataset(write(tmp_path, A="damaged", node_labels="damaged"), "TOY")
    assert data.num_nodes.tolist() == [4, 1, 3]
    assert data.graph_labels.tolist() == [1, -1, 1]
    with pytest.raises(ClimbError):
        data.graph(0)


# --- the real collection ---


def test_counts_of_proteins(shared_dir):
    data = read_tu_dataset(shared_dir / "real" / "proteins", "PROTEINS")
    assert len(data) == 1113
    assert np.bincount(data.graph_labels).tolist() == [0, 663, 450]
    assert data.num_nodes.sum() == 43471
    assert (data.num_nodes.min(), data.num_nodes.max()) == (4, 620)
    assert data.edge_counts == {"lines": 162088, "edges": 81044, "self_loops": 0, "duplicates": 0, "one_way": 0}
    graphs = list(data)
    assert sum(graph.edge_index.shape[1] for graph in graphs) == 162088
    shapes = {
        i: (graphs[i - 1].num_nodes, graphs[i - 1].edge_index.shape[1], graphs[i - 1].label)
        for i in (1, 663, 664, 1113)
    }
    assert shapes == {1: (42, 162, 1), 663: (43, 164, 1), 664: (32, 128, 2), 1113: (40, 148, 2)}
    assert [g.graph_id for g in graphs if g.num_isolated_nodes] == [405, 646, 703, 990, 994]
    labels = np.concatenate([graph.node_labels for graph in graphs])
    assert np.bincount(labels).tolist() == [21151, 20931, 1389]
    lengths = np.concatenate([graph.node_attributes for graph in graphs])
    assert lengths.shape == (43471, 1)
    assert (lengths.min(), lengths.max(), int((lengths <= 0).sum())) == (-538, 798, 10)
    for graph in graphs:
        matrix = np.zeros((graph.num_nodes, graph.num_nodes), dtype=bool)
        matrix[tuple(graph.edge_index)] = True
        assert (matrix == matrix.T).all()
        assert matrix.sum() == graph.edge_index.shape[1]


def test_edges_of_proteins_line_by_line(shared_dir):
    folder = shared_dir / "real" / "proteins" / "PROTEINS"
    graph_of = [int(line) for line in (folder / "PROTEINS_graph_indicator.txt").read_text().split()]
    first = {graph: node for node, graph in reversed(list(enumerate(graph_of)))}
    expected = {graph: set() for graph in first}
    for line in io.StringIO((folder / "PROTEINS_A.txt").read_text()):
        source, target = (int(cell) - 1 for cell in line.split(","))
        graph = graph_of[source]
        expected[graph].add((source - first[graph], target - first[graph]))
    for graph in read_tu_dataset(folder, "PROTEINS"):
        assert edges(graph) == sorted(expected[graph.graph_id])
