"""The graph networks: what all encoders do, recorded numbers, both backends, and the converter."""

import math
import sys

import numpy as np
import pytest
import torch
from model_contract import ModelCase, ModelContract, poisoned_memory, vocabulary_fields  # noqa: F401 - a fixture
from reference_states import assert_fingerprint, reference_input, reference_state
from transformers import AutoFeatureExtractor

from climb_hf.errors import CorruptFileError, DependencyError, OptionError, SchemaError
from climb_hf.hub import save_checkpoint
from climb_hf.models import (
    AutoModelForClimbClassification,
    ClimbGraphConfig,
    ClimbGraphForClassification,
    ClimbGraphModel,
)
from climb_hf.models.graph.convert_graph import convert_checkpoint
from climb_hf.models.graph.modeling_graph import mean_over_nodes
from climb_hf.optional import is_available
from climb_hf.processing import ClimbGraphProcessor

KINDS = ("gcn", "gat", "gatv2", "graph_transformer")
BACKENDS = ("torch", "torch_geometric") if is_available("torch_geometric") else ("torch",)
TINY = {"num_features": 5, "hidden_size": 8, "num_attention_heads": 2}


def graphs(count, generator, columns=1, features=5):
    """Graphs of 3 to 7 nodes with self-loops, isolated nodes and repeated edges."""
    sizes = torch.randint(3, 8, (count,), generator=generator)
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), sizes.cumsum(0)])
    edges = [
        start + torch.randint(0, int(size), (2, 4 * int(size)), generator=generator)
        for start, size in zip(starts, sizes, strict=False)
    ]
    edges = torch.cat(edges, 1)
    edges = edges[:, ~torch.isin(edges, starts[:-1]).any(0)]  # the first node of every graph stays alone
    return {
        "x": torch.randn(int(sizes.sum()), features, generator=generator),
        "edge_index": edges.unique(dim=1),
        "edge_attr": torch.randn(edges.unique(dim=1).shape[1], columns, generator=generator),
        "batch": torch.repeat_interleave(torch.arange(count), sizes),
    }


def select(inputs, rows):
    """The inputs of these graphs in this order."""
    parts, start = [], 0
    for place, row in enumerate(rows.tolist()):
        nodes = torch.nonzero(inputs["batch"] == row).flatten()
        edges = (inputs["batch"][inputs["edge_index"][0]] == row).nonzero().flatten()
        shifted = inputs["edge_index"][:, edges] - nodes[0] + start
        parts.append((inputs["x"][nodes], shifted, inputs["edge_attr"][edges], torch.full_like(nodes, place)))
        start += len(nodes)
    x, edge_index, edge_attr, batch = zip(*parts, strict=True)
    edge_index = torch.cat(edge_index, 1)
    return {"x": torch.cat(x), "edge_index": edge_index, "edge_attr": torch.cat(edge_attr), "batch": torch.cat(batch)}


def case(kind, backend, name="", columns=1, **fields):
    fields = {**TINY, "hidden_dropout": 0.0, "dropout": 0.0, **fields}
    return ModelCase(
        name=f"{kind}-{backend}{name}",
        config=lambda: ClimbGraphConfig(convolution=kind, backend=backend, **fields, **vocabulary_fields()),
        base=ClimbGraphModel,
        classifier=ClimbGraphForClassification,
        inputs=lambda count, generator: graphs(count, generator, columns),
        select=select,
        head=("classifier.", "head_dense."),
        # a constant added to all keys of a softmax, or before a norm, changes nothing
        zero_gradient=("lin_key.bias", "convs.0.convolution.bias", "lin_value.bias", "lin_skip.bias"),
    )


CASES = [
    *(case(kind, backend) for kind in KINDS for backend in BACKENDS),
    case("gat", "torch", "-deep", columns=3, edge_dim=3, num_hidden_layers=3, num_output_heads=2),
    case("gcn", "torch", "-no-norm", edge_dim=None, batch_norm=False, num_hidden_layers=1),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
class TestContract(ModelContract):
    pass


# ---- the published layout


def reference_shapes(
    kind, features, hidden=64, heads=4, *, layers=2, last=None, last_heads=1, edge_dim=1, norm=True, mlp=2, wide=None
):
    """Names and shapes of the authors' models: `mlp` classes behind the mean, or none."""
    shapes, inputs = {}, features
    heads, last_heads = (1, 1) if kind == "gcn" else (heads, last_heads)
    for index in range(layers):
        ends = index == layers - 1
        count, width = (last_heads, last or hidden) if ends else (heads, hidden)
        own, prefix = count * width, f"convs.{index}."
        linear = {"gcn": ["lin"], "gat": ["lin"], "gatv2": ["lin_l", "lin_r"]}.get(
            kind, ["lin_key", "lin_query", "lin_value", "lin_skip"]
        )
        own_shapes = {f"{name}.weight": (own, inputs) for name in linear}
        if kind in ("gatv2", "graph_transformer"):
            own_shapes |= {f"{name}.bias": (own,) for name in linear}
        if kind != "graph_transformer":
            own_shapes["bias"] = (own,)
        if kind == "gat":
            names = ("att_src", "att_dst", "att_edge") if edge_dim else ("att_src", "att_dst")
            own_shapes |= dict.fromkeys(names, (1, count, width))
        if kind == "gatv2":
            own_shapes["att"] = (1, count, width)
        if kind != "gcn" and edge_dim:
            own_shapes["lin_edge.weight"] = (own, edge_dim)
        shapes |= {prefix + name: shape for name, shape in own_shapes.items()}
        inputs = own
    if norm:
        shapes |= {f"bn.{name}": (heads * hidden,) for name in ("weight", "bias", "running_mean", "running_var")}
    if mlp:
        wide = wide or hidden
        shapes |= {"mlp.0.weight": (wide, inputs), "mlp.0.bias": (wide,)}
        shapes |= {"mlp.3.weight": (mlp, wide), "mlp.3.bias": (mlp,)}
    return shapes


def published(kind, features, **options):
    kept = {"bn.num_batches_tracked": torch.tensor(0)} if options.get("norm", True) else {}
    return reference_state(reference_shapes(kind, features, **options), kept)


def dense_graph():
    """The recorded input: one graph whose matrix is both features (with a mask of no missing values) and edges."""
    matrix = reference_input(20, 20)
    places = torch.arange(20)
    return {
        "x": torch.cat([matrix, torch.zeros(20, 20)], 1),
        "edge_index": torch.stack([places.repeat_interleave(20), places.repeat(20)]),  # row: source, column: target
        "edge_attr": matrix.reshape(-1, 1),
        "batch": torch.zeros(20, dtype=torch.int64),
    }


PROTEINS = {"features": 3, "edge_dim": None, "norm": False}
PPI = {"features": 50, "hidden": 256, "last": 121, "edge_dim": None, "norm": False, "mlp": 0}
RECORDED = {
    "gcn": (0.0702524, -0.314858),
    "gat": (0.184567, -0.187831),
    "graph_transformer": (-0.143336, -1.02332),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", RECORDED)
def test_recorded_numbers(kind, backend):
    model = convert_checkpoint(published(kind, 40), backend=backend)
    assert model.config.convolution == kind
    assert not model.training
    assert_fingerprint(model(**dense_graph()).logits, RECORDED[kind])


def test_the_recorded_input_is_what_the_processor_makes():
    matrix = reference_input(20, 20).numpy()
    off = ~np.eye(20, dtype=bool)
    network = {"node_feat": matrix, "edge_index": np.argwhere(off).T, "edge_attr": matrix[off][:, None]}
    model = convert_checkpoint(published("gat", 40), backend="torch")
    assert_fingerprint(model(**ClimbGraphProcessor()(network)).logits, RECORDED["gat"])


@pytest.mark.parametrize(
    ("kind", "options", "parameters", "entries"),
    [
        ("gcn", {"features": 720}, 54_722, 13),
        ("gat", {"features": 720}, 207_106, 21),
        ("graph_transformer", {"features": 720}, 809_218, 27),
        ("gcn", PROTEINS, 8_706, 8),
        ("gat", PROTEINS, 22_402, 12),
        ("graph_transformer", PROTEINS, 74_178, 20),
        ("gcn", PPI, 44_153, 4),
        ("gat", PPI, 178_539, 8),
        ("graph_transformer", PPI, 704_996, 16),
    ],
)
def test_sizes_of_the_published_networks(kind, options, parameters, entries):
    options = dict(options)
    state = published(kind, options.pop("features"), **options)
    assert len(state) == entries
    model = convert_checkpoint(state)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert len(model.state_dict()) == entries
    config = model.config
    assert (config.head, config.level) == (("mlp", "graph") if options.get("mlp", 2) else ("convolution", "node"))
    assert config.hidden_size == options.get("hidden", 64)
    assert config.num_attention_heads == 4
    assert config.edge_dim == (1 if kind == "gcn" else options.get("edge_dim", 1))


def test_sizes_of_the_defaults():
    for kind, parameters in (("gcn", 54_722), ("gat", 207_106), ("graph_transformer", 809_218)):
        with torch.device("meta"):
            model = ClimbGraphForClassification(ClimbGraphConfig(convolution=kind, num_labels=2))
        assert model.num_parameters() == parameters
        assert (model.config.hidden_dropout, model.config.dropout) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("kind", "layers", "convolutions"), [("graph_transformer", 2, 5_251_072), ("gatv2", 3, 4_730_880)]
)
def test_a_trunk_that_ends_with_several_heads(kind, layers, convolutions):
    # the networks of two protein sources, less the input layers (14,080 parameters) and one of the heads
    options = {"layers": layers, "last_heads": 4, "edge_dim": None, "norm": False, "mlp": 121, "wide": 256}
    model = convert_checkpoint(published(kind, 256, hidden=256, **options))
    assert model.config.num_output_heads == 4
    assert model.climb_graph.num_parameters() == convolutions
    assert model.num_parameters() - convolutions == 1024 * 256 + 256 + 256 * 121 + 121


# ---- the converter


@pytest.mark.parametrize("kind", KINDS)
def test_other_sizes_convert_and_equal_the_layers_of_torch_geometric(kind):
    geometric = pytest.importorskip("torch_geometric.nn")
    options = {"hidden": 24, "heads": 3, "layers": 3, "mlp": 5, "wide": 10, "edge_dim": 1 if kind == "gcn" else 2}
    state = published(kind, 7, **options)
    inputs = graphs(3, torch.Generator().manual_seed(1), columns=options["edge_dim"], features=7)
    model = convert_checkpoint({"state_dict": {f"module.{name}": value for name, value in state.items()}})
    assert [model.config.hidden_size, model.config.num_hidden_layers, len(model.config.vocabulary)] == [24, 3, 5]
    edges = inputs["edge_attr"].abs().flatten() if kind == "gcn" else inputs["edge_attr"]
    names = {"gcn": "GCNConv", "gat": "GATConv", "gatv2": "GATv2Conv", "graph_transformer": "TransformerConv"}
    nodes = inputs["x"]
    for index in range(3):  # the published forward pass, with their layers
        heads = {} if kind == "gcn" else {"heads": 1 if index == 2 else 3, "edge_dim": 2}
        layer = getattr(geometric, names[kind])(nodes.shape[1], 24, **heads)
        prefix = f"convs.{index}."
        own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        layer.load_state_dict(own)
        nodes = layer(nodes, inputs["edge_index"], edges)
        if index < 2:
            scale = state["bn.weight"] / (state["bn.running_var"] + 1e-5).sqrt()
            nodes = ((nodes - state["bn.running_mean"]) * scale + state["bn.bias"]).relu()
    pooled = geometric.global_mean_pool(nodes, inputs["batch"])
    hidden = pooled @ state["mlp.0.weight"].T + state["mlp.0.bias"]
    hidden = (
        torch.nn.functional.leaky_relu(hidden) if kind == "graph_transformer" else torch.nn.functional.gelu(hidden)
    )
    expected = hidden @ state["mlp.3.weight"].T + state["mlp.3.bias"]
    for backend in ("auto", "torch"):
        output = convert_checkpoint(state, backend=backend)(**inputs)
        torch.testing.assert_close(output.logits, expected, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(output.pooler_output, pooled, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_encoders_and_models_of_nodes(kind):
    encoder = convert_checkpoint(published(kind, 9, mlp=0, hidden=16))
    assert type(encoder) is ClimbGraphModel
    assert (encoder.config.hidden_size, encoder.config.num_attention_heads) == (16, 4)
    nodes = convert_checkpoint(published(kind, 9, mlp=0, hidden=16, last=13, norm=False))
    inputs = graphs(3, torch.Generator().manual_seed(0), features=9)
    output = nodes(**inputs)
    assert output.logits.shape == (len(inputs["x"]), 13)
    assert torch.equal(output.logits, output.last_hidden_state)
    named = convert_checkpoint(published(kind, 9, mlp=0, hidden=16, norm=False), num_labels=16)
    assert (type(named), named.config.head) == (ClimbGraphForClassification, "convolution")
    with pytest.raises(OptionError, match="cannot grow"):
        named.extend_vocabulary(["edema"])


def test_names_of_older_releases_of_torch_geometric():
    state = published("gat", 40)
    old = {}
    for name, value in state.items():
        old[name.replace(".lin.", ".lin_src.")] = value
        if ".lin." in name:
            old[name.replace(".lin.", ".lin_dst.")] = value.clone()
    assert_fingerprint(convert_checkpoint(old)(**dense_graph()).logits, RECORDED["gat"])
    old["convs.0.lin_dst.weight"] += 1
    with pytest.raises(CorruptFileError, match="lin_dst"):
        convert_checkpoint(old)


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_fit_is_named(kind):
    state = published(kind, 40)
    with pytest.raises(CorruptFileError, match=r"left over \(climb_graph\.stranger\.weight\)"):
        convert_checkpoint({**state, "stranger.weight": torch.zeros(2)})
    for name in state:
        with pytest.raises(CorruptFileError, match=r"missing|left over|none of"):
            convert_checkpoint({other: value for other, value in state.items() if other != name})
    with pytest.raises(CorruptFileError, match="it is none of"):
        convert_checkpoint({"convs.0.weight": torch.zeros(1, 1, 3)})


# ---- the function


@pytest.mark.skipif("torch_geometric" not in BACKENDS, reason="compares with torch_geometric, which is not installed")
@pytest.mark.parametrize("columns", [1, 3, None])
@pytest.mark.parametrize("kind", KINDS)
def test_backends_agree_in_values_and_gradients(kind, columns):
    if kind == "gcn" and columns == 3:
        pytest.skip("the GCN weighs edges by one number")
    inputs = graphs(5, torch.Generator().manual_seed(2), columns=columns or 1)
    found = []
    for backend in BACKENDS:
        torch.manual_seed(0)
        fields = {**TINY, "edge_dim": columns, "num_hidden_layers": 3, "num_output_heads": 2}
        model = ClimbGraphModel(ClimbGraphConfig(convolution=kind, backend=backend, **fields)).double()
        if found:
            model.load_state_dict(found[0][0].state_dict())
        model.eval()
        output = model(**{**inputs, "x": inputs["x"].double()})
        output.pooler_output.square().sum().backward()
        found.append((model, output.last_hidden_state, [parameter.grad for parameter in model.parameters()]))
    (_, ours, own), (_, theirs, others) = found
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(own, others, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_initial_weights_are_those_of_torch_geometric(kind, backend):
    geometric = pytest.importorskip("torch_geometric.nn")
    names = {"gcn": "GCNConv", "gat": "GATConv", "gatv2": "GATv2Conv", "graph_transformer": "TransformerConv"}
    options = {} if kind == "gcn" else {"heads": 4, "edge_dim": 2}
    theirs = getattr(geometric, names[kind])(100, 64, **options)
    fields = {"num_features": 100, "hidden_size": 64, "edge_dim": 1 if kind == "gcn" else 2, "num_output_heads": 4}
    ours = ClimbGraphModel(ClimbGraphConfig(convolution=kind, backend=backend, num_hidden_layers=1, **fields))
    own = dict(ours.convs[0].convolution.named_parameters())
    for name, value in theirs.named_parameters():
        assert own[name].shape == value.shape
        assert own[name].std().item() == pytest.approx(value.std().item(), rel=0.15, abs=1e-9), name
        assert own[name].abs().max().item() == pytest.approx(value.abs().max().item(), rel=0.1, abs=1e-9), name


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_does_not_lose_neighbours(kind):
    # one node with 2000 neighbours: sums in bfloat16 would stop at 256
    count = 2000
    model = ClimbGraphModel(ClimbGraphConfig(convolution=kind, num_hidden_layers=1, backend="torch", **TINY)).eval()
    edges = torch.stack([torch.arange(1, count + 1), torch.zeros(count, dtype=torch.int64)])
    inputs = {"x": torch.randn(count + 1, 5, generator=torch.Generator().manual_seed(0)) + 1, "edge_index": edges}
    expected = model(**inputs).last_hidden_state[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model(**inputs).last_hidden_state[0]
    half = model.to(torch.bfloat16)(**inputs).last_hidden_state[0]
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(mixed.float(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(half.float(), expected, rtol=0.02, atol=0.02)


def test_the_mean_over_nodes():
    values = torch.arange(8.0).view(4, 2)
    batch, ptr = torch.tensor([0, 0, 0, 2]), torch.tensor([0, 3, 3, 4, 4])
    assert mean_over_nodes(values, batch).tolist() == [[2, 3], [0, 0], [6, 7]]
    assert mean_over_nodes(values, batch, ptr).tolist() == [[2, 3], [0, 0], [6, 7], [0, 0]]
    assert mean_over_nodes(values, None, ptr).tolist() == [[2, 3], [0, 0], [6, 7], [0, 0]]
    assert mean_over_nodes(values, None).tolist() == [[3, 4]]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_edges_that_are_absent(kind, backend):
    model = ClimbGraphModel(ClimbGraphConfig(convolution=kind, backend=backend, **TINY)).eval()
    inputs = graphs(2, torch.Generator().manual_seed(0))
    ones = model(**{**inputs, "edge_attr": torch.ones_like(inputs["edge_attr"])})
    del inputs["edge_attr"]
    assert torch.equal(model(**inputs).pooler_output, ones.pooler_output)
    alone = model(inputs["x"], torch.empty(2, 0, dtype=torch.int64))
    assert alone.pooler_output.shape == (1, 8)
    assert torch.isfinite(alone.pooler_output).all()
    blind = ClimbGraphModel(ClimbGraphConfig(convolution=kind, backend=backend, edge_dim=None, **TINY)).eval()
    with_values = blind(**inputs, edge_attr=torch.randn(inputs["edge_index"].shape[1], 1))
    assert torch.equal(with_values.pooler_output, blind(**inputs).pooler_output)


def test_the_gcn_reads_absolute_values():
    model = ClimbGraphModel(ClimbGraphConfig(**TINY)).eval()
    inputs = graphs(2, torch.Generator().manual_seed(0))
    turned = {**inputs, "edge_attr": -inputs["edge_attr"].flatten()}
    assert torch.equal(model(**turned).pooler_output, model(**inputs).pooler_output)


def test_one_norm_serves_all_gaps():
    model = ClimbGraphModel(ClimbGraphConfig(num_hidden_layers=4, **TINY))
    assert [name for name, _ in model.named_parameters() if name.startswith("bn")] == ["bn.weight", "bn.bias"]
    model(**graphs(3, torch.Generator().manual_seed(0)))
    assert model.bn.num_batches_tracked == 3
    assert ClimbGraphModel(ClimbGraphConfig(num_hidden_layers=1, **TINY)).bn is None


def test_nodes_are_classified_one_by_one():
    config = ClimbGraphConfig(level="node", num_labels=3, **TINY)
    model, inputs = ClimbGraphForClassification(config).eval(), graphs(3, torch.Generator().manual_seed(0))
    labels = torch.randint(0, 2, (len(inputs["x"]), 3)).float()
    output = model(**inputs, labels=labels)
    expected = model.classifier(torch.nn.functional.gelu(model.head_dense(output.last_hidden_state)))
    torch.testing.assert_close(output.logits, expected)
    terms = torch.nn.functional.binary_cross_entropy_with_logits(expected, labels)
    assert output.loss.item() == pytest.approx(terms.item(), rel=1e-5)


def with_starts(inputs):
    return {**inputs, "ptr": torch.nn.functional.pad(torch.bincount(inputs["batch"]).cumsum(0), (1, 0))}


@pytest.mark.parametrize("kind", KINDS)
def test_export_with_any_number_of_nodes_edges_and_graphs(kind):
    config = ClimbGraphConfig(convolution=kind, backend="torch", num_labels=3, **TINY)
    model = ClimbGraphForClassification(config).eval()
    example, other = (with_starts(graphs(count, torch.Generator().manual_seed(count))) for count in (3, 5))
    nodes, edges, count = (torch.export.Dim(name, min=3) for name in ("nodes", "edges", "count"))
    dynamic = {"x": {0: nodes}, "edge_index": {1: edges}, "edge_attr": {0: edges}, "batch": {0: nodes}}
    exported = torch.export.export(model, (), example, dynamic_shapes={**dynamic, "ptr": {0: count}}).module()
    for inputs in (example, other):
        torch.testing.assert_close(exported(**inputs).logits, model(**inputs).logits, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_compiled_as_one_graph(kind):
    config = ClimbGraphConfig(convolution=kind, backend="torch", num_labels=3, **TINY)
    model = ClimbGraphForClassification(config).eval()
    inputs = with_starts(graphs(3, torch.Generator().manual_seed(0)))
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(**inputs).logits, model(**inputs).logits, atol=1e-6, rtol=1e-5)


# ---- input and configuration


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": torch.zeros(8, 4)}, "ClimbGraphProcessor"),
        ({"x": torch.zeros(8, 5, dtype=torch.int64)}, "ClimbGraphProcessor"),
        ({"edge_index": torch.zeros(3, 4, dtype=torch.int64)}, "sources above targets"),
        ({"edge_index": torch.zeros(2, 4)}, "sources above targets"),
        ({"edge_attr": torch.zeros(4, 2)}, "edge_dim"),
        ({"edge_attr": torch.zeros(3, 1)}, "edge_dim"),
        ({"batch": torch.zeros(7, dtype=torch.int64)}, "graph of every node"),
    ],
)
def test_shapes_that_do_not_fit(changed, message):
    inputs = {
        "x": torch.zeros(8, 5),
        "edge_index": torch.zeros(2, 4, dtype=torch.int64),
        "edge_attr": torch.zeros(4, 1),
    }
    with pytest.raises(SchemaError, match=message):
        ClimbGraphModel(ClimbGraphConfig(**TINY))(**{**inputs, **changed})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"convolution": "gin"}, "convolution"),
        ({"level": "edge"}, "level"),
        ({"backend": "dgl"}, "torch_geometric"),
        ({"head_activation": "tanh"}, "leaky_relu"),
        ({"num_hidden_layers": 0}, "num_hidden_layers"),
        ({"hidden_dropout": 1.0}, "hidden_dropout"),
        ({"edge_dim": 3}, "edge_dim=1"),
        ({"head": "convolution"}, "vocabulary"),
        ({"head": "convolution", "num_labels": 3, "num_output_heads": 2}, "num_output_heads=1"),
    ],
)
def test_configurations_that_cannot_be(fields, message):
    with pytest.raises(OptionError, match=message):
        ClimbGraphConfig(**fields)


def test_hidden_states():
    output = ClimbGraphModel(ClimbGraphConfig(**TINY))(**CASES[0].batch(2), output_hidden_states=True)
    assert [state.shape[1] for state in output.hidden_states] == [5, 8, 8]


def test_without_torch_geometric(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_geometric", None)
    monkeypatch.setitem(sys.modules, "torch_geometric.nn", None)
    monkeypatch.setattr("climb_hf.models.graph.convolutions.is_available", lambda name: False)
    assert ClimbGraphModel(ClimbGraphConfig(**TINY)).convs[0].convolution.__module__.startswith("climb_hf.")
    with pytest.raises(DependencyError, match=r"climb-hf\[graph\]"):
        ClimbGraphModel(ClimbGraphConfig(backend="torch_geometric", **TINY))


def test_a_checkpoint_and_one_network_predict(tmp_path):
    config = ClimbGraphConfig(num_features=6, hidden_size=8, num_labels=2)
    model, processor = ClimbGraphForClassification(config).eval(), ClimbGraphProcessor(pad_features_to=3)
    folder = save_checkpoint(tmp_path / "graph", model, processor)
    loaded = AutoModelForClimbClassification.from_pretrained(folder)
    assert type(loaded) is ClimbGraphForClassification
    again = AutoFeatureExtractor.from_pretrained(folder)
    assert again.to_dict() == processor.to_dict()
    network = {"node_feat": [[1.0, math.nan], [0.5, 2.0]], "edge_index": [[0, 1], [1, 0]], "edge_attr": [[0.5], [0.5]]}
    torch.testing.assert_close(loaded(**again(network)).logits, model(**processor(network)).logits)
    (folder / "preprocessor_config.json").rename(tmp_path / "preprocessor_config.json")
    assert type(AutoFeatureExtractor.from_pretrained(tmp_path)) is ClimbGraphProcessor  # by its name alone
