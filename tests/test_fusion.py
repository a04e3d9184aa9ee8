"""The fusion protocol on the synthetic MIMIC-IV: runs, results, checkpoints, bad input, and what fusion is worth."""

import copy
import json

import numpy as np
import pytest
import torch
from datasets import Array2D, Dataset, Features, Image, Json, Value
from PIL import Image as Pillow
from torch.nn import functional
from transformers import AutoProcessor
from typer.testing import CliRunner

import climb_hf
from climb_hf.cli.app import app
from climb_hf.errors import AccessError, OptionError, SchemaError
from climb_hf.metrics import binary_auc
from climb_hf.models import ClimbFusionForClassification, ClimbFusionForRegression
from climb_hf.protocols.checkpoints import build_model
from climb_hf.protocols.fusion import fuse
from climb_hf.report.fusion import fusion_table, strategy_bars, write_fusion_report
from climb_hf.results import ResultRow, read_results
from climb_hf.training.collator import ClassificationCollator
from climb_hf.training.fusion import TargetCollator, modality_presence, target_values
from climb_hf.training.losses import masked_classification_loss
from climb_hf.training.recipes import load_recipe

BRIEF = ["training.num_train_epochs=1", "training.disable_tqdm=true"]
QUICK = load_recipe("fusion/quick")["data"]["options"]["*"]
DEATH = "admission.in_hospital_mortality_48h_yes"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("fusion")


@pytest.fixture(scope="module")
def raw(place):
    climb_hf.miniature("mimic_iv", place / "raw", n=32)
    return {"mimic_iv": place / "raw"}


def run(raw, place, folder, **options):
    given = {"recipe": "fusion/quick", "overrides": BRIEF, "n_bootstrap": 40, "cache_dir": place / "cache"}
    return fuse(raw, folder, **{**given, **options})


@pytest.fixture(scope="module")
def results(raw, place):
    """Two strategies and one modality alone, all records and four per class."""
    options = {"strategies": ["late", "cross_attention"], "shots": [None, 4]}
    return run(raw, place, place / "run", modalities=["signal", "text"], singles=False, **options)


def predictions(kind, folder, rows):
    model = copy.deepcopy(kind.from_pretrained(folder))
    processor = AutoProcessor.from_pretrained(folder)
    batch = TargetCollator(processor, "ihm48")(rows)
    keep = set(processor.model_input_names)
    with torch.inference_mode():
        return model(**{key: value for key, value in batch.items() if key in keep}).logits[:, 0].numpy()


class TestRuns:
    def test_every_run_has_its_rows(self, results, place):
        assert read_results(place / "run" / "results.jsonl") == results
        assert [(row.settings["strategy"], row.settings["shots"]) for row in results[::3]] == [
            ("late", "full"), ("cross_attention", "full"), ("late", 4), ("cross_attention", 4)
        ]  # fmt: skip
        for row in results:
            assert (row.protocol, row.source, row.split, row.level) == ("fusion", "mimic_iv", "test", "source")
            assert row.settings["modalities"] == ["signal", "text"]
            assert row.settings["task"] == "ihm48"
            assert row.settings["encoders"] == {"signal": "random", "text": "random"}
            assert row.synthetic
            assert (row.seed, row.n_left_out) == (42, 0)
            assert 0 < row.n_groups <= row.n
            assert row.interval is None or row.interval[0] <= row.value <= row.interval[1]
            assert row.recipe_hash
            assert row.data_fingerprint
            assert row.versions
        assert {row.metric for row in results} == {"auc", "sensitivity", "specificity"}
        few = [row.settings for row in results if row.settings["shots"] == 4]
        assert all(one["n_train"] == 8 and one["n_train_by_class"] == {"0": 4, "1": 4} for one in few)
        assert all(one["positive_weight"] == 1.0 and one["short_classes"] == {} for one in few)

    def test_a_class_with_fewer_records_gives_all_and_is_named(self, raw, place):
        rows = run(raw, place, place / "short", modalities=["text"], shots=[64])
        own = rows[0].settings
        assert own["short_classes"] == own["n_train_by_class"]
        assert 0 < own["n_train"] == sum(own["short_classes"].values()) < 64

    def test_the_numbers_are_those_of_the_saved_checkpoint(self, results, place, raw):
        test = climb_hf.load_dataset("mimic_iv", raw["mimic_iv"], cache_dir=place / "cache", **QUICK)["test"]
        truth = target_values(test, "ihm48")
        for strategy in ("late", "cross_attention"):
            folder = place / "run" / f"{strategy}-signal-text-full-seed42" / "model"
            scores = predictions(ClimbFusionForClassification, folder, list(test))
            found = {row.metric: row for row in results if row.model == folder.parent.name}
            assert found["auc"].value == pytest.approx(binary_auc(truth > 0.5, scores), abs=1e-12)
            called = scores >= 0
            assert found["sensitivity"].value == pytest.approx(called[truth == 1].mean())
            assert found["specificity"].value == pytest.approx((~called)[truth == 0].mean())
            assert found["auc"].n == len(test)
            assert found["auc"].n_groups == len(set(test["group"]))

    def test_the_checkpoint_says_what_it_is(self, results, place):
        folder = place / "run" / "late-signal-text-full-seed42" / "model"
        config = json.loads((folder / "config.json").read_text())
        assert (config["strategy"], config["modalities"]) == ("late", ["signal", "text"])
        assert config["vocabulary"] == [DEATH]
        assert config["positive_weight"] == pytest.approx(
            results[0].settings["n_train_by_class"]["0"] / results[0].settings["n_train_by_class"]["1"]
        )
        facts = json.loads((folder / "training.json").read_text())
        assert facts["synthetic"]
        assert facts["n_examples"]["mimic_iv"] == results[0].settings["n_train"]
        card = (folder / "README.md").read_text()
        assert "ClimbFusionForClassification" in card
        assert "AutoProcessor" in card
        assert "synthetic" in card.lower()

    def test_length_of_stay(self, raw, place):
        (row,) = run(raw, place, place / "stay", task="los_days", strategies=["mlp"])
        assert (row.metric, row.settings["unit"]) == ("mae", "days")
        assert row.interval[0] <= row.value <= row.interval[1]
        folder = place / "stay" / row.model / "model"
        data = climb_hf.load_dataset("mimic_iv", raw["mimic_iv"], cache_dir=place / "cache", **QUICK)
        guesses = predictions(ClimbFusionForRegression, folder, list(data["test"]))
        errors = np.abs(guesses - target_values(data["test"], "los_days"))
        assert row.value == pytest.approx(errors.mean(), rel=1e-6)
        trained = target_values(data["train"], "los_days")
        config = json.loads((folder / "config.json").read_text())
        assert config["target_mean"] == pytest.approx([trained.mean()])
        assert config["target_scale"] == pytest.approx([trained.std()])
        with pytest.raises(OptionError, match="per class"):
            run(raw, place, place / "stay", task="los_days", shots=[8])

    def test_encoders_from_checkpoints_and_each_alone(self, results, raw, place):
        from climb_hf.models import ClimbVisionConfig, ClimbVisionForClassification, EcgJepaConfig, EcgJepaModel
        from climb_hf.processing import ClimbImageProcessor

        ecg = EcgJepaModel(EcgJepaConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2))
        ecg.save_pretrained(place / "ecg" / "encoder")  # as `climb pretrain` leaves it
        vision = {"backbone": "timm/test_vit", "image_size": 32, "vocabulary": ["a", "b"]}
        ClimbVisionForClassification(ClimbVisionConfig(**vision)).save_pretrained(place / "vision")
        ClimbImageProcessor(size=32).save_pretrained(place / "vision")
        found = run(
            raw, place, place / "alone", strategies=["mlp"], modalities=["image", "signal"], singles=True, seeds=1,
            checkpoints={"image": place / "vision", "signal": place / "ecg"},
            overrides=[*BRIEF, "model.frozen=[image, signal]"], n_bootstrap=0,
        )  # fmt: skip
        aucs = [row for row in found if row.metric == "auc"]
        assert [row.settings["strategy"] for row in aucs] == ["mlp", "alone", "alone"]
        assert aucs[0].settings["encoders"] == {"image": "vision", "signal": "ecg"}
        assert aucs[0].settings["frozen"] == ["image", "signal"]
        assert aucs[0].n_left_out == 0
        test = climb_hf.load_dataset("mimic_iv", raw["mimic_iv"], cache_dir=place / "cache", **QUICK)["test"]
        present = modality_presence(test, ["image", "signal"])
        assert [row.n for row in aucs[1:]] == present.sum(0).tolist()
        assert [row.n + row.n_left_out for row in aucs] == [len(test)] * 3
        folder = place / "alone" / "mlp-image-signal-full-seed42" / "model"
        model = ClimbFusionForClassification.from_pretrained(folder)
        for name, value in ecg.state_dict().items():
            assert torch.equal(model.fusion.signal_encoder.state_dict()[name], value), name
        assert AutoProcessor.from_pretrained(folder).feature_extractor.length == 2500


class TestReport:
    def test_table_and_page(self, results, tmp_path):
        table = fusion_table(results)
        assert [line["shots"] for line in table] == ["full", "full", "4", "4"]
        first = results[0]
        assert table[0]["auc"].startswith(f"{first.value:.3f}")
        page = write_fusion_report(tmp_path, results).read_text()
        assert "synthetic" in page.lower()
        assert table[0]["auc"].split(" ")[0] in page
        assert (tmp_path / "fusion-auc.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (tmp_path / "fusion-auc.svg").read_text()

    def test_bars_are_means_over_seeds(self):
        def row(strategy, seed, value, interval, shots="full"):
            settings = {"task": "ihm48", "strategy": strategy, "modalities": ["image", "text"], "shots": shots}
            return ResultRow(source="mimic_iv", split="test", metric="auc", value=value, n=9, interval=interval,
                             protocol="fusion", settings=settings, seed=seed,
                             reason="no class has both outcomes" if value != value else None)  # fmt: skip

        nan = float("nan")
        rows = [row("late", 1, 0.6, (0.5, 0.7)), row("late", 2, 0.8, (0.7, 0.9)), row("mlp", 1, nan, None)]
        (axes,) = strategy_bars(rows).axes
        assert [(round(bar.get_x() + bar.get_width() / 2, 6), bar.get_height()) for bar in axes.patches] == [(0, 0.7)]
        half = 12.706 * 0.1 / 2**0.5 * 2**0.5  # Student's t with one degree of freedom, deviation 0.1414
        assert list(axes.lines[0].get_ydata()) == pytest.approx([0.7 - half, 0.7 + half], abs=1e-4)
        assert [label.get_text() for label in axes.get_xticklabels()] == ["late", "mlp"]
        assert fusion_table(rows)[0]["auc"] == "0.700 [-0.571, 1.971]"
        assert fusion_table(rows[:1])[0]["auc"] == "0.600 [0.500, 0.700]"
        assert fusion_table(rows)[1]["auc"] == "n/a (no class has both outcomes)"
        with pytest.raises(OptionError, match="mae"):
            strategy_bars(rows, "mae")


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"task": "age"}, "ihm48, los_days"),
            ({"strategies": ["early"]}, "cross_attention"),
            ({"modalities": ["video"]}, "signal"),
            ({"modalities": []}, "nothing"),
            ({"shots": [0]}, "at least 1"),
            ({"seeds": 0}, "at least 1"),
            ({"overrides": ["model.colour=red"]}, "colour"),
            ({"overrides": ["model.frozen=[txt]"]}, r"`frozen` must be a list .* holds \['txt'\]"),
            ({"overrides": ["model.frozen=text"]}, "`frozen` must be a list .* holds 'text'"),
            ({"recipe": "fusion/paper", "overrides": ["model.image_config={pretrained: false}"]}, "--signal DIR"),
        ],
    )
    def test_options(self, raw, place, options, message):
        with pytest.raises(OptionError, match=message):
            run(raw, place, place / "bad", **options)

    def test_sources(self, place, tmp_path):
        with pytest.raises(OptionError, match="one source"):
            run({}, place, tmp_path)
        with pytest.raises(OptionError, match="family `multimodal`"):
            run({"brain_tumor": tmp_path}, place, tmp_path)
        with pytest.raises(OptionError, match="climb fuse"):
            build_model({"model": {"type": "climb_fusion"}}, {})

    @pytest.mark.parametrize("shots", ["-3", "²", "some"])
    def test_shots_of_the_command(self, tmp_path, shots):
        result = CliRunner().invoke(
            app, ["fuse", "mimic_iv", "--miniature", "--to", str(tmp_path), f"--shots={shots}"]
        )
        assert isinstance(result.exception, OptionError) or "must be `full` or a number" in result.output

    def test_checkpoints_that_are_none(self, raw, place, tmp_path):
        with pytest.raises(AccessError, match="expected an encoder"):
            run(raw, place, tmp_path, checkpoints={"signal": tmp_path / "nothing"})

    def test_records_without_any_modality_are_named(self, tmp_path):
        expected = climb_hf.miniature("mimic_iv", tmp_path / "raw", n=16, modules="hosp")
        options = {"modalities": ["image", "signal"], "strategies": ["mlp"]}
        raw = {"mimic_iv": tmp_path / "raw"}
        with pytest.raises(SchemaError, match=r"none of image, signal.*--skip-empty") as caught:
            run(raw, tmp_path, tmp_path / "out", **options)
        assert any(f"`mimic_iv:{row.id}`" in str(caught.value) for row in expected)
        with pytest.raises(SchemaError, match="no record of `test`"):
            run(raw, tmp_path, tmp_path / "out", skip_empty=True, **options)


def test_presence_is_read_from_the_stored_columns():
    picture = Pillow.new("RGB", (4, 4))
    features = Features({"image": Image(), "signal": Array2D((None, 2), "float32"), "text": Value("string")})
    signal, nothing = np.ones((3, 2), "float32"), np.zeros((0, 2), "float32")
    rows = {"image": [picture, None, None, picture], "signal": [signal, nothing, signal, nothing],
            "text": ["a", None, " ", "b"]}  # fmt: skip
    data = Dataset.from_dict(rows, features=features)
    expected = np.array([[1, 1, 1], [0, 0, 0], [0, 1, 0], [1, 0, 1]], dtype=bool)
    names = ("image", "signal", "text")
    assert np.array_equal(modality_presence(data, names), expected)
    order = [3, 1, 2]
    assert np.array_equal(modality_presence(data.select(order), names), expected[order])
    assert not modality_presence(data.remove_columns("text"), ["text"]).any()


def test_targets_that_are_unknown_have_no_loss():
    features = Features({"targets": Json()})
    data = Dataset.from_dict({"targets": [{"ihm48": 1}, None, {"ihm48": None}, {"los_days": 2.0}]}, features=features)
    values = target_values(data, "ihm48")
    assert values[0] == 1
    assert np.isnan(values[1:]).all()


def test_positive_weights_are_those_of_pytorch():
    logits, labels = torch.randn(6, 3), torch.randint(0, 2, (6, 3)).float()
    weights = torch.tensor([1.0, 2.5, 0.5])
    ours = masked_classification_loss(logits, labels, positive_weights=weights)
    theirs = functional.binary_cross_entropy_with_logits(logits, labels, pos_weight=weights)
    torch.testing.assert_close(ours, theirs)


def test_a_fusion_model_scores_the_classes_of_any_source(results, raw, place):
    """The head over V with the library's own collator: softmax over the classes No and Yes of the source."""
    folder = place / "run" / "cross_attention-signal-text-full-seed42" / "model"
    model, processor = ClimbFusionForClassification.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    concepts = list(climb_hf.get_source("mimic_iv").concepts)
    assert model.add_source("mimic_iv", concepts, multi_label=False) == [concepts[0]]
    data = climb_hf.load_dataset("mimic_iv", raw["mimic_iv"], cache_dir=place / "cache", **QUICK)["test"]
    collate = ClassificationCollator.from_config(processor, model.config, data)
    batch = collate(list(data.select(range(4))))
    outputs = model(**{key: value for key, value in batch.items() if key not in ("ids", "sources", "groups")})
    truth = [concepts.index(data.features["labels"].feature.names[row[0]]) for row in data[:4]["labels"]]
    chosen = outputs.logits[:, model.logits_for("mimic_iv")]
    model.config.positive_weight = None  # has no part in single-label rows
    torch.testing.assert_close(outputs.loss, functional.cross_entropy(chosen, torch.tensor(truth)))


def test_command_on_synthetic_data(tmp_path):
    arguments = ["fuse", "mimic_iv", "--miniature", "--miniature-n", "24", "--to", str(tmp_path), "--strategy", "mlp",
                 "--modalities", "signal,text", "--n-bootstrap", "20", "--json"]  # fmt: skip
    result = CliRunner().invoke(app, [*arguments, *(part for one in BRIEF for part in ("--set", one))])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert {row["metric"] for row in rows} == {"auc", "sensitivity", "specificity"}
    assert all(row["synthetic"] for row in rows)
    assert (tmp_path / "report.html").is_file()
    assert len(read_results(tmp_path / "results.jsonl")) == len(rows)
    bad = CliRunner().invoke(app, [*arguments, "--shots", "few"])
    assert isinstance(bad.exception, OptionError)


@pytest.mark.slow
def test_fusion_beats_each_modality_alone(tmp_path):
    """By design of the synthetic data each modality alone has an AUC of 0.75, all three together 1."""
    climb_hf.miniature("mimic_iv", tmp_path / "raw", n=384)
    raw = {"mimic_iv": tmp_path / "raw"}
    found = run(raw, tmp_path, tmp_path / "run", singles=True, overrides=["training.disable_tqdm=true"])
    aucs = {row.model.rsplit("-full", 1)[0]: row.value for row in found if row.metric == "auc"}
    alone = {name: value for name, value in aucs.items() if name.startswith("alone")}
    fused = {name: value for name, value in aucs.items() if not name.startswith("alone")}
    assert len(alone) == len(fused) == 3
    assert all(0.55 < value < 0.85 for value in alone.values()), aucs  # 80 records: give or take 0.05
    assert min(fused.values()) > max(alone.values()) + 0.03, aucs
    assert max(fused.values()) > max(alone.values()) + 0.1, aucs
