"""Graph networks through `ClimbTrainer`: graphs and nodes, by value, on synthetic copies of the publishers' files."""

import json
import os
import socket
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
import torch.multiprocessing
from sklearn.metrics import roc_auc_score
from transformers import AutoFeatureExtractor

import climb_hf
from climb_hf.errors import OptionError, SchemaError
from climb_hf.models import ClimbGraphConfig, ClimbGraphForClassification
from climb_hf.processing import ClimbGraphProcessor
from climb_hf.training import ClassificationCollator, ClimbTrainer, ClimbTrainingArguments
from climb_hf.training.batches import describe, empty_stand_ins
from climb_hf.training.node_rows import nodes_per_record, record_first, rows_of_nodes


@pytest.fixture(scope="module")
def load(miniatures, tmp_path_factory):
    cache, loaded = str(tmp_path_factory.mktemp("cache")), {}

    def get(name, split="train"):
        if name not in loaded:
            folder, _ = miniatures(name, n=24)
            loaded[name] = climb_hf.load_dataset(name, data_dir=str(folder), cache_dir=cache)
        return loaded[name][split]

    return get


def make_model(names, seed=0, **fields):
    sources = {name: climb_hf.get_source(name) for name in names}
    torch.manual_seed(seed)
    defaults = {"hidden_size": 16, "hidden_dropout": 0.0, "dropout": 0.0, "backend": "torch"}
    config = ClimbGraphConfig(
        vocabulary=list(dict.fromkeys(concept for source in sources.values() for concept in source.concepts)),
        source_classes={name: list(source.concepts) for name, source in sources.items()},
        source_multi_label={name: name == "ppi" for name in names},
        **{**defaults, **fields},
    )
    return ClimbGraphForClassification(config)


def make_trainer(folder, model, processor, train=None, evaluation=None, **options):
    defaults = {
        "num_train_epochs": 8,
        "learning_rate": 0.01,
        "per_device_train_batch_size": 8,
        "per_device_eval_batch_size": 3,
        "logging_steps": 1,
        "save_strategy": "no",
        "use_cpu": True,
        "disable_tqdm": True,
    }
    arguments = ClimbTrainingArguments(str(folder), **{**defaults, **options})
    return ClimbTrainer(model, arguments, train_dataset=train, eval_dataset=evaluation, processing_class=processor)


def losses(trainer):
    return [entry["loss"] for entry in trainer.state.log_history if "grad_norm" in entry]


def macro_auc(rows, columns, of_rows=slice(None)):
    """Mean over the classes with both outcomes, by scikit-learn, from logits (n, |V|)."""
    truth, scores = rows["references"][of_rows][:, columns], rows["scores"][of_rows][:, columns]
    defined = [k for k in range(len(columns)) if 0 < truth[:, k].sum() < len(truth)]
    return np.mean([roc_auc_score(truth[:, k], scores[:, k]) for k in defined]), len(defined)


PPI = {"num_features": 50, "edge_dim": None, "batch_norm": False, "level": "node"}


@pytest.mark.parametrize("head", ["mlp", "convolution"])
def test_nodes_of_ppi_are_learned_and_scored(load, tmp_path, head):
    model = make_model(["ppi"], convolution="graph_transformer", head=head, **PPI)
    processor = ClimbGraphProcessor.for_source("ppi")
    trainer = make_trainer(
        tmp_path,
        model,
        processor,
        load("ppi"),
        load("ppi", "test"),
        num_train_epochs=12,
        learning_rate=0.03,
        save_predictions=True,
    )
    trainer.train()
    curve = losses(trainer)
    assert np.mean(curve[-3:]) < 0.85 * np.mean(curve[:3])
    metrics = trainer.evaluate()
    rows, test = trainer.predict_rows(), load("ppi", "test")
    sizes = test["num_nodes"]
    assert rows["ids"] == [
        f"{id_}:{node}" for id_, size in zip(test["id"], sizes, strict=True) for node in range(size)
    ]
    assert rows["groups"] == list(np.repeat(test["group"], sizes))
    assert rows["row_index"].tolist() == list(np.repeat(np.arange(len(sizes)), sizes))
    np.testing.assert_array_equal(rows["references"], np.concatenate([np.array(one) for one in test["node_labels"]]))
    assert rows["target_mask"].all()
    assert not rows["exclusive"].any()
    model.eval()
    with torch.no_grad():
        alone = torch.cat([model(**processor(row)).logits for row in test])
    np.testing.assert_allclose(rows["scores"], alone.numpy(), rtol=1e-4, atol=1e-5)
    auc, defined = macro_auc(rows, list(range(121)))
    assert metrics["eval_ppi_auc"] == pytest.approx(auc, rel=1e-9)
    assert auc > 0.7  # the synthetic labels follow the features
    assert (metrics["eval_ppi_n"], metrics["eval_ppi_n_classes_defined"]) == (sum(sizes), defined)
    terms = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.from_numpy(rows["scores"]).double(), torch.from_numpy(rows["references"]).double()
    )
    assert metrics["eval_loss"] == pytest.approx(terms.item(), rel=1e-5)
    assert (tmp_path / "predictions").is_dir()


def test_batches_of_one_and_of_many_graphs_give_the_same_rows(load, tmp_path):
    model = make_model(["ppi"], **PPI)
    data = load("ppi").select([4, 0, 7, 2, 9])
    one, many = (
        make_trainer(
            tmp_path, model, ClimbGraphProcessor.for_source("ppi"), None, data, per_device_eval_batch_size=size
        ).predict_rows()
        for size in (1, 5)
    )
    for key in ("ids", "groups"):
        assert one[key] == many[key]
    for key in ("references", "target_mask", "row_index"):
        np.testing.assert_array_equal(one[key], many[key])
    np.testing.assert_allclose(one["scores"], many["scores"], rtol=1e-4, atol=1e-5)


def test_accumulated_nodes_give_the_curve_of_the_whole_batch(load, tmp_path):
    curves = []
    for batch, steps in ((8, 1), (2, 4)):
        trainer = make_trainer(
            tmp_path,
            make_model(["ppi"], **PPI),
            ClimbGraphProcessor.for_source("ppi"),
            load("ppi"),
            num_train_epochs=2,
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=steps,
        )
        trainer.train()
        curves.append(losses(trainer))
    assert len(curves[0]) == 6  # 20 graphs in batches of 8
    np.testing.assert_allclose(*curves, rtol=2e-4)


def _process(rank, world, folder, port):
    os.environ.update(
        RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    torch.set_num_threads(1)
    data = datasets.load_from_disk(f"{folder}/data")
    options = {"num_train_epochs": 2, "per_device_train_batch_size": 2, "ddp_backend": "gloo"}
    processor = ClimbGraphProcessor.for_source("ppi")
    trainer = make_trainer(folder, make_model(["ppi"], **PPI), processor, data, data, **options)
    trainer.train()
    rows = trainer.predict_rows()
    found = {"curve": losses(trainer), "ids": rows["ids"], "scores": rows["scores"].tolist()}
    (Path(folder) / f"rank{rank}.json").write_text(json.dumps(found))
    torch.distributed.barrier()
    os._exit(0)  # gloo's threads abort now and then when the interpreter takes them down


@pytest.mark.slow
def test_two_processes_give_the_nodes_of_one(load, tmp_path):
    data = load("ppi").select(range(7))  # neither 7 graphs nor their nodes come out even
    data.save_to_disk(tmp_path / "data")
    one = make_trainer(
        tmp_path,
        make_model(["ppi"], **PPI),
        ClimbGraphProcessor.for_source("ppi"),
        data,
        data,
        num_train_epochs=2,
        per_device_train_batch_size=4,
    )
    one.train()
    rows = one.predict_rows()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_process, (2, str(tmp_path), port), nprocs=2)
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    np.testing.assert_allclose(first["curve"], losses(one), rtol=2e-4)
    assert first["ids"] == second["ids"] == rows["ids"]
    np.testing.assert_allclose(first["scores"], rows["scores"], rtol=1e-3, atol=1e-4)


def test_nodes_that_are_not_scored_are_left_out_and_counted(miniatures, tmp_path):
    folder, _ = miniatures("ppi", n=24)
    data = climb_hf.load_dataset("ppi", data_dir=str(folder), split_by="paper", cache_dir=str(tmp_path / "cache"))
    trainer = make_trainer(
        tmp_path, make_model(["ppi"], **PPI), ClimbGraphProcessor.for_source("ppi"), None, data["test"]
    )
    metrics, rows = trainer.evaluate(), trainer.predict_rows()
    scored = rows["target_mask"].all(1)
    assert scored.any()
    assert not rows["target_mask"][~scored].any()
    assert (metrics["eval_ppi_n"], metrics["eval_ppi_n_left_out"]) == (scored.sum(), (~scored).sum())
    assert metrics["eval_ppi_auc"] == pytest.approx(macro_auc(rows, list(range(121)), scored)[0], rel=1e-9)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("proteins", {"convolution": "graph_transformer", "num_features": 3, "edge_dim": None, "batch_norm": False}),
        ("abide", {"convolution": "gcn", "num_features": 40}),
    ],
)
def test_graphs_are_learned_and_scored(load, tmp_path, name, fields):
    model, processor = make_model([name], **fields), ClimbGraphProcessor.for_source(name)
    data = load(name)
    trainer = make_trainer(tmp_path, model, processor, data, data, num_train_epochs=15, save_strategy="epoch")
    trainer.train()
    curve = losses(trainer)
    assert np.mean(curve[-3:]) < 0.8 * np.mean(curve[:3])
    metrics, rows = trainer.evaluate(), trainer.predict_rows()
    assert rows["ids"] == data["id"][:]
    assert rows["references"].sum() == len(data)
    expected = roc_auc_score(rows["references"][:, 0], np.subtract(*rows["scores"].T))  # softmax over two classes
    assert metrics[f"eval_{name}_auc"] == pytest.approx(expected, rel=1e-6)
    assert expected > 0.8
    checkpoint = max(tmp_path.glob("checkpoint-*"))
    assert AutoFeatureExtractor.from_pretrained(checkpoint).to_dict() == processor.to_dict()
    again = ClimbGraphForClassification.from_pretrained(checkpoint)
    assert again.config.source_classes == model.config.source_classes


def test_two_sources_of_graphs_in_one_mixture(load, tmp_path):
    model = make_model(["proteins", "abide"], convolution="gat", num_features=40)
    processor = ClimbGraphProcessor(pad_features_to=20, self_loops=False)
    columns = sorted(set(load("proteins").column_names) & set(load("abide").column_names))
    both = datasets.concatenate_datasets([load(name).select_columns(columns) for name in ("proteins", "abide")])
    trainer = make_trainer(tmp_path, model, processor, both, both, mixture="balanced", num_train_epochs=10)
    trainer.train()
    curve = losses(trainer)
    assert np.mean(curve[-5:]) < 0.85 * np.mean(curve[:5])
    metrics, rows = trainer.evaluate(), trainer.predict_rows()
    for name, columns in (("proteins", [0, 1]), ("abide", [2, 3])):
        own = np.array(rows["sources"]) == name
        assert metrics[f"eval_{name}_n"] == own.sum() == len(load(name))
        assert rows["target_mask"][own].all(0).tolist() == [column in columns for column in range(4)]
        scores = rows["scores"][own][:, columns].astype(np.float64)
        assert metrics[f"eval_{name}_auc"] == pytest.approx(
            roc_auc_score(rows["references"][own][:, columns[0]], np.subtract(*scores.T)), rel=1e-6
        )
    assert metrics["eval_mean_auc"] == pytest.approx((metrics["eval_proteins_auc"] + metrics["eval_abide_auc"]) / 2)


@pytest.mark.parametrize(("level", "name"), [("graph", "ppi"), ("node", "proteins")])
def test_what_is_scored_and_what_is_labelled_must_be_one(load, tmp_path, level, name):
    model = make_model([name], **{**PPI, "level": level, "num_features": 50 if name == "ppi" else 3})
    processor = ClimbGraphProcessor.for_source(name)
    trainer = make_trainer(tmp_path, model, processor, load(name), load(name))
    for act in (trainer.train, trainer.evaluate):
        with pytest.raises(SchemaError, match='nodes with `level="node"`'):
            act()


def test_class_weights_are_not_counted_over_nodes(load, tmp_path):
    trainer = make_trainer(
        tmp_path,
        make_model(["ppi"], **PPI),
        ClimbGraphProcessor.for_source("ppi"),
        load("ppi"),
        class_weighting="inverse_frequency",
    )
    with pytest.raises(OptionError, match="not of their nodes"):
        trainer.class_weights()


def collated(load, indices):
    config = make_model(["ppi"], **PPI).config
    collator = ClassificationCollator.from_config(ClimbGraphProcessor.for_source("ppi"), config, load("ppi"))
    return collator([load("ppi")[index] for index in indices])


def test_graphs_that_only_fill_up_a_batch_count_for_nothing(load):
    batch = collated(load, [0, 1, 2])
    sizes = torch.tensor(load("ppi")["num_nodes"][:3])
    batch["row_index"] = torch.tensor([0, -2, 2])
    empty_stand_ins(batch)
    kept = torch.tensor([True, False, True]).repeat_interleave(sizes)
    assert torch.equal(batch["target_mask"].any(1), kept)


def test_a_graph_with_a_broken_node_is_named(load):
    batch = collated(load, [0, 1, 2])
    batch["x"][torch.nonzero(batch["batch"] == 1)[3], 5] = torch.nan
    ids = [f"ppi:{number}" for number in load("ppi")["id"][:3]]
    assert describe(batch) == f"{', '.join(ids)} (with inputs that are not finite: {ids[1]})"


def test_rows_of_records_become_rows_of_nodes():
    counts = nodes_per_record({"batch": torch.tensor([0, 0, 2])}, 3)
    values = torch.arange(6.0).view(3, 2)
    padded = record_first(values, counts)
    assert padded.tolist() == [[[0, 1], [2, 3]], [[0, 0], [0, 0]], [[4, 5], [0, 0]]]
    rows = {"ids": ["a", "b", "c"], "sources": ["s"] * 3, "groups": ["g", "h", None], "scores": padded.numpy()}
    found = rows_of_nodes({**rows, "row_index": np.array([3, 5, 8])}, counts.numpy())
    assert found["scores"].tolist() == values.tolist()
    assert (found["ids"], found["groups"]) == (["a:0", "a:1", "c:0"], ["g", "g", "c"])
    assert (found["sources"], found["row_index"].tolist()) == (["s"] * 3, [3, 3, 8])
    with pytest.raises(OptionError, match="ClimbGraphProcessor"):
        nodes_per_record({}, 3)
