"""Graph batches by value: against torch_geometric, by hand, and through the collator and the trainer's rows."""

import pickle

import datasets
import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, List, Value
from torch.utils.data import DataLoader

import climb_hf
from climb_hf import schema, vocabulary
from climb_hf.arrow_columns import ArrowFeatures
from climb_hf.errors import OptionError, SchemaError
from climb_hf.processing import ClimbGraphProcessor
from climb_hf.processing.arrow_graph import MatrixReader
from climb_hf.processing.graph_batch import graph_batch
from climb_hf.training.batches import describe, split_batch
from climb_hf.training.collator import ClassificationCollator
from climb_hf.training.sampling import IndexedRows, RowIndexCollator

GRAPH_COLUMNS = ("edge_index", "edge_attr", "node_feat", "node_labels")
FEATURES = Features(
    {
        "id": Value("string"),
        "source": Value("string"),
        "group": Value("string"),
        "labels": List(ClassLabel(names=["a", "b"])),
        **schema.input_columns("graph"),
    }
)


def graph(nodes, width=3, weights=True, labels=None, seed=0, density=0.4):
    random = np.random.default_rng([seed, nodes])
    edges = np.argwhere(random.random((nodes, nodes)) < density).T
    return {
        "id": f"g{nodes}-{seed}",
        "edge_index": edges,
        "edge_attr": random.standard_normal((edges.shape[1], 1)).astype("float32") if weights else None,
        "node_feat": random.standard_normal((nodes, width)).astype("float32"),
        "num_nodes": nodes,
        "node_labels": None if labels is None else random.integers(0, 2, (nodes, labels)),
    }


def listed(one):
    return {name: value.tolist() if hasattr(value, "tolist") else value for name, value in one.items()}


def dataset(graphs, source="s"):
    rows = [
        {**listed(one), "id": f"r{k}", "source": source, "group": f"p{k}", "labels": [k % 2]}
        for k, one in enumerate(graphs)
    ]
    return Dataset.from_list(rows, features=FEATURES)


def reference(graphs):
    data = pytest.importorskip("torch_geometric.data")
    return data.Batch.from_data_list(
        [
            data.Data(
                **{
                    theirs: torch.as_tensor(np.asarray(one[ours]))
                    for ours, theirs in zip(GRAPH_COLUMNS, ("edge_index", "edge_attr", "x", "y"), strict=True)
                    if one[ours] is not None
                }
            )
            for one in graphs
        ]
    )


# ---- batches


@pytest.mark.parametrize("form", [dict, listed])
@pytest.mark.parametrize("options", [{}, {"weights": False}, {"labels": 4}])
def test_equals_torch_geometric(options, form):
    graphs = [graph(5, **options), graph(1, density=0, **options), graph(8, **options), graph(4, density=0, **options)]
    ours, theirs = graph_batch([form(one) for one in graphs]).to_pyg(), reference(graphs)
    assert set(ours.keys()) == set(theirs.keys())
    for name in ours.keys():  # noqa: SIM118 - not a dictionary
        assert torch.equal(ours[name], theirs[name]), name
        assert ours[name].dtype == theirs[name].dtype
    assert ours.num_graphs == theirs.num_graphs == 4
    for one, other in zip(ours.to_data_list(), theirs.to_data_list(), strict=True):
        assert set(one.keys()) == set(other.keys())
        assert all(torch.equal(one[name], other[name]) for name in one.keys())  # noqa: SIM118
    assert torch.equal(ours[2].x, torch.from_numpy(graphs[2]["node_feat"]))


def test_isolated_nodes_and_graphs_without_edges_keep_their_place():
    lonely = {"node_feat": [[1.0], [2.0]], "edge_index": [[], []], "edge_attr": []}
    pair = {"node_feat": [[3.0], [4.0], [5.0]], "edge_index": [[0, 2], [2, 0]], "edge_attr": [[0.5], [0.5]]}
    batch = graph_batch([lonely, pair, lonely])
    assert batch.batch.tolist() == [0, 0, 1, 1, 1, 2, 2]
    assert batch.ptr.tolist() == [0, 2, 5, 7]
    assert batch.edge_ptr.tolist() == [0, 0, 2, 2]
    assert batch.edge_index.tolist() == [[2, 4], [4, 2]]
    assert batch.edge_attr.tolist() == [[0.5], [0.5]]
    empty = graph_batch([lonely, lonely])
    assert (tuple(empty.edge_index.shape), tuple(empty.edge_attr.shape)) == ((2, 0), (0, 1))
    assert empty.edge_index.dtype == torch.int64


def test_widths_differ():
    graphs = [graph(3, width=2), graph(4, width=5)]
    with pytest.raises(SchemaError, match=r"2 in graph `g3-0` and 5 in another; pass `pad_features_to=5`"):
        graph_batch(graphs)
    batch = graph_batch(graphs, pad_features_to=6)
    assert tuple(batch.x.shape) == (7, 6)
    np.testing.assert_array_equal(batch.x[:3, :2], graphs[0]["node_feat"])
    assert not batch.x[:3, 2:].any()
    with pytest.raises(SchemaError, match="more than `pad_features_to=4`"):
        graph_batch(graphs, pad_features_to=4)


def test_nan_mask_comes_after_the_padding():
    one = graph(2, width=2)
    one["node_feat"][1, 0] = np.nan
    plain = graph_batch([one]).x
    assert torch.isnan(plain[1, 0])
    x = graph_batch([one, graph(1, width=3)], pad_features_to=4, nan_mask=True).x
    assert tuple(x.shape) == (3, 8)
    assert x[:, 4:].tolist() == [[0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert x[1, :4].tolist() == [0, one["node_feat"][1, 1], 0, 0]
    assert np.isnan(one["node_feat"][1, 0]), "the example is left alone"


def test_self_loops_are_the_diagonal():
    matrix = np.array([[1, 0.5, 0], [0.5, 0, 0], [0, 0, np.nan]], dtype="float32")
    one = {"node_feat": matrix, "edge_index": [[0, 1], [1, 0]], "edge_attr": [[0.5], [0.5]]}
    batch = graph_batch([one, one], self_loops=True, nan_mask=True)
    assert batch.edge_index.tolist() == [[0, 1, 0, 2, 3, 4, 3, 5], [1, 0, 0, 2, 4, 3, 3, 5]]
    assert batch.edge_attr.flatten().tolist() == [0.5, 0.5, 1, 0] * 2
    assert batch.edge_ptr.tolist() == [0, 4, 8]
    with pytest.raises(SchemaError, match=r"diagonal of square node features.*self_loops=False"):
        graph_batch([graph(3, width=2)], self_loops=True)
    views = {**one, "edge_attr": [[0.5, 1], [0.5, 1]]}
    with pytest.raises(SchemaError, match="one view, the edges have 2"):
        graph_batch([views], self_loops=True)


def test_what_some_graphs_lack_is_filled():
    batch = graph_batch([graph(3, labels=2), graph(4, weights=False)])
    edges = batch.edge_ptr.tolist()
    assert (batch.edge_attr[edges[1] :] == 1).all()
    assert (batch.y[3:] == -1).all()
    assert (batch.y[:3] >= 0).all()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"node_feat": None}, "no `node_feat`"),
        ({"edge_index": np.array([[0], [5]]), "edge_attr": None}, "found 0 to 5"),
        ({"edge_index": np.array([[0], [-1]])}, "found -1 to 0"),
        ({"edge_index": np.zeros((3, 4), int)}, r"`edge_index` \(2, edges\)"),
        ({"num_nodes": 7}, "5 rows for 7 nodes"),
        ({"edge_attr": np.zeros((2, 1))}, "`edge_attr` with"),
        ({"node_labels": np.zeros((4, 2), int)}, "`node_labels` with 5 rows"),
        ({"node_feat": [[1.0], [1.0, 2.0]]}, "no matrix|not a matrix"),
    ],
)
def test_graphs_that_contradict_themselves_are_named(change, reason):
    with pytest.raises(SchemaError, match=rf"g5-0.*({reason})"):
        graph_batch([graph(4), {**graph(5), **change}])


def test_batches_that_do_not_fit_together():
    with pytest.raises(SchemaError, match="empty batch"):
        graph_batch([])
    views = graph(5) | {"edge_attr": np.zeros((graph(5)["edge_index"].shape[1], 3))}
    with pytest.raises(SchemaError, match="edge weights"):
        graph_batch([graph(4), views])
    with pytest.raises(SchemaError, match="node labels"):
        graph_batch([graph(4, labels=2), graph(5, labels=3)])


# ---- Arrow storage


def test_matrices_are_views_of_the_storage_through_every_kind_of_table():
    graphs = [graph(5), graph(3, density=0), graph(8), graph(2, weights=False), graph(6)]
    joined = datasets.concatenate_datasets([dataset(graphs[:2]), dataset(graphs[2:])])
    for data, order in (
        (joined, range(5)),
        (joined.select([4, 0, 3, 1]), [4, 0, 3, 1]),
        (joined.select(range(1, 4)), [1, 2, 3]),
    ):
        for column in GRAPH_COLUMNS:
            reader = pickle.loads(pickle.dumps(MatrixReader(data, column)))
            for found, position in zip(reader.rows(range(len(data))), order, strict=True):
                wanted = graphs[position][column]
                if wanted is None:
                    assert found is None
                elif wanted.size:
                    np.testing.assert_array_equal(found, wanted)
                    assert not found.flags.writeable
                else:
                    assert found.size == 0
    assert MatrixReader(joined, "node_feat").rows([-1, 0])[0].shape == (6, 3)
    with pytest.raises(IndexError, match=r"\[-5, 5\)"):
        MatrixReader(joined, "node_feat").rows([5])
    for column in ("id", "labels", "absent"):
        with pytest.raises(SchemaError, match=f"`{column}`"):
            MatrixReader(joined, column)


def test_ragged_rows_and_nulls():
    ragged = Dataset.from_dict({"a": [[[1, 2], [3]]]}, features=Features({"a": List(List(Value("int64")))}))
    with pytest.raises(SchemaError, match="other lengths"):
        MatrixReader(ragged, "a").rows([0])
    holes = Dataset.from_dict({"a": [[[1.0, None]]]}, features=Features({"a": List(List(Value("float32")))}))
    np.testing.assert_array_equal(MatrixReader(holes, "a").rows([0])[0], np.array([[1, np.nan]], "float32"))
    numbers = Dataset.from_dict({"a": [[[1, None]]]}, features=Features({"a": List(List(Value("int64")))}))
    with pytest.raises(SchemaError, match="nulls"):
        MatrixReader(numbers, "a").rows([0])


def test_a_matrix_is_stored_as_its_lists_would_be(tmp_path):
    from datasets.arrow_writer import ArrowWriter

    graphs = [graph(4), graph(2, density=0), graph(5, weights=False), graph(3, labels=2)]
    stored = ArrowFeatures(FEATURES)
    assert stored == FEATURES
    with ArrowWriter(features=stored, path=str(tmp_path / "a.arrow"), writer_batch_size=3) as writer:
        for k, one in enumerate(graphs):
            row = {**one, "id": f"r{k}", "source": "s", "group": f"p{k}", "labels": [k % 2]}
            writer.write(stored.encode_example(row))
        writer.finalize()
    assert Dataset.from_file(str(tmp_path / "a.arrow")).to_list() == dataset(graphs).to_list()


# ---- processor


def test_processor_round_trip_and_options(tmp_path):
    processor = ClimbGraphProcessor(pad_features_to=7, nan_mask=False, feature_mean=[0.1, 0, 1], feature_std=[1, 2, 3])
    processor.save_pretrained(tmp_path)
    again = ClimbGraphProcessor.from_pretrained(tmp_path)
    assert again.to_dict() == processor.to_dict()
    assert ClimbGraphProcessor.from_pretrained(tmp_path, nan_mask=True).nan_mask
    for fields in (
        {"pad_features_to": 0},
        {"nan_mask": 1},
        {"feature_mean": [1.0]},
        {"unknown": 1},
        {"self_loops": "a"},
    ):
        with pytest.raises(OptionError):
            ClimbGraphProcessor(**fields)
    with pytest.raises(OptionError, match="above 0"):
        ClimbGraphProcessor(feature_mean=[1.0], feature_std=[0.0])
    with pytest.raises(OptionError, match="`image`"):
        ClimbGraphProcessor.for_source("busi")


def test_processor_defaults_are_those_of_brain_networks(miniatures, tmp_path):
    folder, expected = miniatures("abcd")
    rows = climb_hf.load_dataset("abcd", folder, cache_dir=tmp_path)["train"]
    with_nan = (
        next(row for row in rows if row["metadata"]["has_nan"])
        if any(row["metadata"]["has_nan"] for row in rows)
        else rows[0]
    )
    inputs = ClimbGraphProcessor.for_source("abcd", pad_features_to=30)([with_nan, rows[0]])
    assert list(inputs) == ClimbGraphProcessor.model_input_names
    assert tuple(inputs["x"].shape) == (40, 60)
    assert torch.isfinite(inputs["x"]).all()
    assert torch.isfinite(inputs["edge_attr"]).all()
    assert inputs["x"][:20, 30:].sum() == with_nan["metadata"]["num_nan"]
    loops = int((inputs["edge_index"][0] == inputs["edge_index"][1]).sum())
    assert loops == 40 - 20 * sum(not np.diag(row["node_feat"]).any() for row in (with_nan, rows[0]))
    as_numpy = ClimbGraphProcessor()(rows[0], return_tensors="np")
    assert isinstance(as_numpy["x"], np.ndarray)
    assert len(expected) == 32


def test_standardisation_by_the_training_nodes():
    data = dataset([graph(5), graph(9), graph(2)])
    processor = ClimbGraphProcessor(nan_mask=False, self_loops=False, pad_features_to=4).fit(data)
    rows = np.concatenate([graph(n)["node_feat"] for n in (5, 9, 2)])
    x = processor([graph(5)])["x"]
    np.testing.assert_allclose(x[:, :3], (graph(5)["node_feat"] - rows.mean(0)) / rows.std(0), atol=1e-5)
    assert not x[:, 3].any()
    with pytest.raises(SchemaError, match="expected 3 node features to standardise, found 2"):
        processor([graph(4, width=2)])


# ---- collator


def collator(**options):
    processor = ClimbGraphProcessor(nan_mask=False, self_loops=False)
    return ClassificationCollator(processor, ["b", "a"], {"s": ["a", "b"]}, {"s": False}, label_names=["a", "b"])


def test_collator_gives_inputs_targets_and_records():
    graphs = [graph(5), graph(3, density=0), graph(8)]
    rows = dataset(graphs)
    batch = collator()([rows[k] for k in range(3)])
    inputs, targets = split_batch(batch)
    assert list(inputs) == ["x", "edge_index", "edge_attr", "batch"]
    theirs = reference(graphs)
    for name, value in inputs.items():
        assert torch.equal(value, theirs[name])
    assert targets["labels"].tolist() == [[0, 1], [1, 0], [0, 1]]
    assert targets["exclusive"].tolist() == [True] * 3
    assert (batch["ids"], batch["groups"]) == (["r0", "r1", "r2"], ["p0", "p1", "p2"])
    assert describe(batch) == "s:r0, s:r1, s:r2"


@pytest.mark.parametrize("workers", [0, 2])
def test_the_rows_of_the_trainer_reach_the_collator_without_lists(workers):
    graphs = [graph(n) for n in range(2, 12)]
    data = dataset(graphs).shuffle(seed=1)
    indexed = IndexedRows(data)
    row = indexed[0]
    assert all(isinstance(row[name], np.ndarray) for name in GRAPH_COLUMNS[:3])
    assert row["node_labels"] is None
    loader = DataLoader(indexed, batch_size=4, collate_fn=RowIndexCollator(collator()), num_workers=workers)
    for batch in loader:
        graphs_of_batch = [graphs[int(id_[1:])] for id_ in batch["ids"]]
        assert torch.equal(batch["x"], reference(graphs_of_batch).x)
        assert torch.equal(batch["edge_index"], reference(graphs_of_batch).edge_index)
        assert len(batch["row_index"]) == len(batch["labels"]) == len(graphs_of_batch)


def test_targets_of_nodes(miniatures, tmp_path):
    folder, _ = miniatures("ppi", n=8)
    data = climb_hf.load_dataset("ppi", folder, cache_dir=tmp_path, split_by="paper")["train"]
    concepts = list(climb_hf.get_source("ppi").concepts)
    names = ["brain_network.male", *reversed(concepts)]
    known = {"ppi": concepts[:100], "abcd": ["brain_network.male"]}
    made = ClassificationCollator(ClimbGraphProcessor.for_source("ppi"), names, known, {"ppi": True, "abcd": True})
    rows = [IndexedRows(data)[k] for k in range(3)]
    batch = made(rows)
    labels = np.concatenate([row["node_labels"] for row in rows])
    assert tuple(batch["labels"].shape) == tuple(batch["target_mask"].shape) == (len(labels), 122)
    assert len(batch["x"]) == len(batch["exclusive"]) == len(labels)
    assert not batch["exclusive"].any()
    for column, concept in enumerate(concepts):
        output = names.index(concept)
        inside = column < 100
        np.testing.assert_array_equal(batch["target_mask"][:, output], (labels[:, column] >= 0) & inside)
        np.testing.assert_array_equal(batch["labels"][:, output], (labels[:, column] == 1) & inside)
    assert not batch["target_mask"][:, 0].any()
    with pytest.raises(SchemaError, match="Train such sources apart"):
        made([rows[0], {**rows[1], "node_labels": None}])
    with pytest.raises(SchemaError, match="expected 121 labels per node"):
        made([{**rows[0], "node_labels": rows[0]["node_labels"][:, :5]}])


def test_graph_sources_concatenate(miniatures, tmp_path):
    parts = [
        climb_hf.load_dataset(n, miniatures(n)[0], cache_dir=tmp_path)["train"] for n in ("abcd", "abide", "ppmi")
    ]
    joined = datasets.concatenate_datasets(parts)
    made = ClassificationCollator.from_config(ClimbGraphProcessor(), _Config(("abcd", "abide", "ppmi")), joined)
    rows = IndexedRows(joined)
    picked = [rows[0], rows[len(parts[0])], rows[len(joined) - 1]]
    batch = made(picked)
    assert batch["sources"] == ["abcd", "abide", "ppmi"]
    assert tuple(batch["x"].shape) == (60, 40)
    assert batch["labels"].sum(dim=1).tolist() == [1, 1, 1]
    loops = batch["batch"][batch["edge_index"][0][batch["edge_index"][0] == batch["edge_index"][1]]]
    assert set(loops.tolist()) <= {0}, "only correlation matrices of ABCD have a diagonal"


class _Config:
    def __init__(self, names):
        self.source_classes = {name: list(climb_hf.get_source(name).concepts) for name in names}
        self.vocabulary = sorted({concept for classes in self.source_classes.values() for concept in classes})
        self.source_multi_label = dict.fromkeys(names, False)
        assert set(self.vocabulary) <= set(vocabulary.concepts())
