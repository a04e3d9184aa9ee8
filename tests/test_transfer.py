"""Transfer: what is refused, what learns, how runs are paired and averaged, the command; on synthetic miniatures."""

import dataclasses
import json
import math
import shutil

import pytest
import torch
from typer.testing import CliRunner

import climb_hf
from climb_hf.cli.app import app
from climb_hf.errors import AccessError, OptionError
from climb_hf.metrics import mean_interval
from climb_hf.protocols.adapting import AdaptSettings, add_lora
from climb_hf.protocols.aggregating import AGGREGATE, DIFFERENCE, aggregate_seeds
from climb_hf.protocols.contamination import look_for_contamination, trained_sources
from climb_hf.protocols.few_shot import few_shot
from climb_hf.protocols.linear_probe import linear_probe
from climb_hf.protocols.multitask import train
from climb_hf.protocols.ood_tasks import OOD_TASKS, ood_table
from climb_hf.protocols.starts import TargetClasses, checkpoint_start, random_start
from climb_hf.protocols.transfer import transfer
from climb_hf.results import ResultRow, read_results

TINY = ["model.backbone=timm/test_vit", "model.pretrained=false", "model.image_size=32", "processor.size=32",
        "data.options={'*': {image_size: 32, num_frames: 2, validation: 0.2}}", "training.num_train_epochs=1",
        "training.eval_strategy='no'"]  # fmt: skip
QUICK = AdaptSettings(epochs=1, min_steps=2)
SKIN = TargetClasses("pad_ufes_20", list(climb_hf.get_source("pad_ufes_20").concepts), False)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def folders(miniatures):
    return {name: miniatures(name)[0] for name in ("brain_tumor", "pad_ufes_20")}


@pytest.fixture(scope="module")
def run(folders, cache, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "mri"
    train({"brain_tumor": folders["brain_tumor"]}, folder, overrides=TINY, cache_dir=cache)
    return folder


def settings_of(cache, **more):
    return {"cache_dir": cache, "feature_cache": cache / "features", "n_bootstrap": 20, "settings": QUICK, **more}


@pytest.mark.parametrize("method", ["linear", "full", pytest.param("lora", marks=pytest.mark.slow)])
def test_every_method_against_random_weights(method, run, folders, cache, tmp_path):
    rows = transfer(run, "pad_ufes_20", folders["pad_ufes_20"], shots=[1, "full"], seeds=2, method=method,
                    against="random", output_dir=tmp_path, **settings_of(cache))  # fmt: skip
    runs = [row for row in rows if row.metric == "auc" and "aggregate" not in row.settings]
    plain = [row for row in runs if not row.settings.get("without_duplicates")]
    assert {(row.model, row.settings["k"], row.seed) for row in plain} == {
        (model, k, seed) for model in ("mri", "random") for k in (1, "full") for seed in (0, 1)
    }
    assert all(row.protocol == "transfer" and row.synthetic and row.data_fingerprint for row in rows)
    one = next(row for row in plain if row.settings["k"] == 1)
    assert one.settings["n_train"] == sum(one.settings["shots"].values())
    assert one.settings["known_concepts"] == []
    assert one.settings["trained_on"] == ["brain_tumor"]
    assert one.settings["contamination"] == {"reasons": [], "checked": ["names", "linked patients"]}
    means = {(row.model, row.settings["k"]): row for row in rows
             if row.metric == "auc" and row.settings.get("aggregate") == AGGREGATE
             and not row.settings.get("without_duplicates")}  # fmt: skip
    both = [row.value for row in plain if (row.model, row.settings["k"]) == ("mri", "full")]
    assert means["mri", "full"].value == pytest.approx(sum(both) / 2)
    assert means["mri", "full"].seed is None
    paired = [row for row in rows if row.metric == "auc_difference" and row.settings["k"] == "full"]
    assert paired[0].value == pytest.approx(means["mri", "full"].value - means["random", "full"].value)
    assert paired[0].settings["aggregate"] == DIFFERENCE
    assert len(read_results(tmp_path / "results.jsonl")) == len(rows)
    assert (tmp_path / "transfer.svg").is_file()
    assert (tmp_path / "transfer.png").stat().st_size > 5000
    page = (tmp_path / "report.html").read_text()
    assert "synthetic" in page
    assert "0" in page


def test_the_same_seed_gives_the_same_numbers(run, folders, cache):
    def once():
        rows = transfer(run, "pad_ufes_20", folders["pad_ufes_20"], shots=[1], seeds=[3], **settings_of(cache))
        return [row.value for row in rows if row.is_defined]

    assert once() == once()


def test_seen_sources_are_refused_unless_told(run, folders, cache):
    options = settings_of(cache, shots=[1], seeds=1, method="linear")
    with pytest.raises(OptionError, match=r"trained on `brain_tumor`.*--allow-seen"):
        transfer(run, "brain_tumor", folders["brain_tumor"], **options)
    rows = transfer(run, "brain_tumor", folders["brain_tumor"], allow_seen=True, **options)
    assert rows[0].settings["contamination"]["reasons"] == ["the checkpoint was trained on `brain_tumor`"]
    assert len(rows[0].settings["known_concepts"]) == 4


def test_linked_patients_shared_records_and_chained_trainings(folders, cache, tmp_path, run):
    with pytest.raises(OptionError, match="patients of one register"):
        look_for_contamination("tuev", ["tuab"])
    with pytest.raises(OptionError, match="`ptbxl`"):
        look_for_contamination("ptbxl_finegrained", ["ptbxl"])
    assert look_for_contamination("tuev", ["iiic"]).reasons == []
    copy = tmp_path / "brain_mri"
    climb_hf.miniature("brain_mri", copy, n=16)
    clean = {"target_dir": copy, "raw": {"brain_tumor": folders["brain_tumor"]}, "cache_dir": tmp_path / "a"}
    found = look_for_contamination("brain_mri", ["brain_tumor"], **clean)
    assert found.checked[-1] == "records of brain_tumor"
    assert found.reasons == []
    picture = next(path for path in copy.rglob("*.jpg"))
    shutil.copy(next((folders["brain_tumor"] / "Training").rglob("*.jpg")), picture)
    with pytest.raises(OptionError, match=r"1 records of `brain_mri`.*identical"):
        look_for_contamination("brain_mri", ["brain_tumor"], **{**clean, "cache_dir": tmp_path / "b"})
    with pytest.raises(OptionError, match="training sources are"):
        look_for_contamination("brain_mri", ["brain_tumor"], raw={"busi": None})
    later = tmp_path / "later" / "model"
    later.mkdir(parents=True)
    (later / "config.json").write_text("{}")
    facts = {"sources": ["busi"], "recipe_settings": {"model": {"pretrained": str(run)}}}
    (later / "training.json").write_text(json.dumps(facts))
    assert trained_sources(tmp_path / "later") == ["busi", "brain_tumor"]


def test_training_sources_that_nothing_is_compared_with_are_refused(run, folders, cache, monkeypatch, caplog):
    place = (run, "pad_ufes_20", folders["pad_ufes_20"])
    options = settings_of(cache, shots=[1], seeds=1, method="linear")
    with pytest.raises(OptionError, match="given of busi, but the checkpoint was trained on brain_tumor"):
        transfer(*place, trained_data={"busi": folders["brain_tumor"]}, **options)
    nameless = dataclasses.replace(checkpoint_start(run), trained_on=None)
    monkeypatch.setattr("climb_hf.protocols.transfer.checkpoint_start", lambda checkpoint: nameless)
    rows = transfer(*place, **options)
    assert rows[0].settings["trained_on"] is None
    assert rows[0].settings["contamination"] == {"reasons": [], "checked": []}
    assert "does not say what it was trained on" in caplog.text
    rows = transfer(*place, trained_data={"brain_tumor": folders["brain_tumor"]}, **options)
    assert rows[0].settings["contamination"]["checked"][-1] == "records of brain_tumor"
    with pytest.raises(OptionError, match="--allow-seen"):
        transfer(*place, trained_data={"pad_ufes_20": folders["pad_ufes_20"]}, **options)


def test_what_the_checkpoint_knew_keeps_its_outputs(run):
    start = checkpoint_start(run)
    concepts = list(climb_hf.get_source("brain_tumor").concepts)
    mixed = TargetClasses("x", [concepts[0], "chest_xray.edema", "a new concept"], False)
    one, two = start.classifier(mixed, 0), start.classifier(mixed, 1)
    place = {name: row for row, name in enumerate(one.config.vocabulary)}
    kept, fresh = place[concepts[0]], [place[name] for name in mixed.concepts[1:]]
    old = start.state["classifier.weight"]
    assert torch.equal(one.classifier.weight[kept], old[kept])
    assert not torch.equal(one.classifier.weight[fresh], two.classifier.weight[fresh])
    assert not torch.equal(one.classifier.weight[fresh[0]], old[fresh[0]])  # in V, but no training source taught it
    for name, value in one.base_model.state_dict().items():
        assert torch.equal(value, two.base_model.state_dict()[name])
    assert one.config.source_classes == {"x": mixed.concepts}
    random = random_start(start)
    first, again, other = (random.classifier(mixed, seed) for seed in (0, 0, 1))
    weights = [next(model.base_model.parameters()) for model in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert random.known_concepts == set()


@pytest.mark.parametrize("backbone", ["timm/test_vit", "timm/test_convnext", "timm/test_resnet"])
def test_lora_changes_adapters_and_head_only(backbone):
    recipe = [f"model.backbone={backbone}", *TINY[1:]]
    model = random_start(recipe="quick", overrides=recipe).classifier(SKIN, 0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    adapted = add_lora(model, 2)
    optimizer = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], lr=0.5)
    adapted.eval()  # batch statistics are no parameters
    for _ in range(2):
        optimizer.zero_grad()
        adapted(pixel_values=torch.randn(4, 3, 32, 32), labels=torch.tensor([0, 1, 2, 0])).loss.backward()
        optimizer.step()
    changed = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    assert any("lora_B" in name for name in changed)
    assert all("lora_" in name or "classifier" in name for name in changed)
    for name, value in adapted.get_base_model().state_dict().items():
        if "lora_" not in name and "modules_to_save" not in name:
            assert torch.equal(value, before[name.replace(".base_layer", "").replace(".original_module", "")])


def test_no_patient_of_the_sample_is_scored_and_both_models_get_one_sample(folders, cache):
    test = climb_hf.load_dataset("pad_ufes_20", folders["pad_ufes_20"], split="test", cache_dir=cache)
    train_part = climb_hf.load_dataset("pad_ufes_20", folders["pad_ufes_20"], split="train", cache_dir=cache)
    names = train_part.features["labels"].feature.names
    labels = [[names[label] for label in own] for own in train_part["labels"]]
    sample = few_shot(labels, train_part["group"], train_part["id"], 4, classes=SKIN.concepts)
    assert not {train_part[row]["group"] for row in sample.positions} & set(test["group"])


def row_of(value, seed, model="m", k=1):
    undefined = math.isnan(value)
    return ResultRow(source="s", split="test", metric="auc", value=value, n=5, model=model, seed=seed,
                     reason="one class" if undefined else None, settings={"k": k, "n_train": 2})  # fmt: skip


def test_means_leave_out_what_is_undefined_and_say_so():
    rows = [row_of(0.6, 0), row_of(0.8, 1), row_of(math.nan, 2), row_of(0.5, 0, "o"), row_of(math.nan, 1, "o")]
    found = {(row.model, row.metric): row for row in aggregate_seeds(rows, ("m", "o"))}
    mean = found["m", "auc"]
    assert mean.value == pytest.approx(0.7)
    assert (mean.settings["n_seeds"], mean.settings["n_seeds_undefined"]) == (2, 1)
    half = 12.7062 * math.sqrt(0.02) / math.sqrt(2)  # t(0.975, 1 degree of freedom) times the standard error
    assert mean.interval == pytest.approx((0.7 - half, 0.7 + half), abs=1e-4)
    assert found["m", "auc_difference"].value == pytest.approx(0.1)
    assert found["m", "auc_difference"].settings["n_seeds"] == 1
    assert found["m", "auc_difference"].interval is None
    (nothing,) = aggregate_seeds([row_of(math.nan, 0)])
    assert math.isnan(nothing.value)
    assert "undefined for every seed: one class" in nothing.reason
    assert mean_interval([])[1] is None


def test_bad_requests(run, folders, cache, miniatures):
    place = (run, "pad_ufes_20", folders["pad_ufes_20"])
    for more, text in (
        ({"shots": [0]}, "from 1 on"),
        ({"shots": ["some"]}, "or `full`"),
        ({"seeds": [1, 1]}, "different numbers"),
        ({"method": "prompt"}, "full, linear, lora"),
        ({"against": run}, "both models are called"),
    ):
        with pytest.raises(OptionError, match=text):
            transfer(*place, **settings_of(cache, **more))
    with pytest.raises(OptionError, match="--recipe"):
        transfer("random", *place[1:], **settings_of(cache))
    with pytest.raises(OptionError, match="family `graph`"):
        transfer(run, "proteins", miniatures("proteins")[0], **settings_of(cache))
    for tried in (transfer, lambda model, name, folder, **more: linear_probe(model, {name: folder})):
        with pytest.raises(OptionError, match="`echonet_dynamic` has no classes"):
            tried(run, "echonet_dynamic", folders["brain_tumor"], **settings_of(cache))
    with pytest.raises(OptionError, match="`echonet_dynamic` has no classes"):
        train({"echonet_dynamic": None}, cache / "none", overrides=TINY)
    with pytest.raises(OptionError, match="`learning_rate` must be above 0, found 0"):
        AdaptSettings(learning_rate=0)
    with pytest.raises(OptionError, match="no fields"):
        AdaptSettings(training={"learning_speed": 1})
    with pytest.raises(AccessError, match="climb train --to"):
        transfer(cache, *place[1:], **settings_of(cache))


def test_the_ten_tasks_and_the_command(tmp_path):
    assert len(OOD_TASKS) == 10
    assert {row["source"] for row in ood_table()} == set(OOD_TASKS)
    result = CliRunner().invoke(app, ["transfer", "--list"])
    assert result.exit_code == 0
    assert all(name in result.stdout for name in OOD_TASKS)
    assert CliRunner().invoke(app, ["transfer", "random"]).exit_code == 2
    assert CliRunner().invoke(app, ["transfer", "random", "8", "--to", "busi", "--out", "x"]).exit_code == 2
    for option, text in (("--seeds", "`seeds` must be"), ("--min-steps", "`min_steps` must be")):  # 0 is no default
        asked = ["transfer", "random", "--to", "busi", "--out", str(tmp_path), "--miniature", option, "0"]
        result = CliRunner().invoke(app, asked)
        assert result.exit_code != 0
        assert text in str(result.exception or "") + result.output
    places = {"--out": tmp_path, "--cache-dir": tmp_path / "c", "--feature-cache": tmp_path / "f"}
    arguments = ["transfer", "random", "--to", "brain_tumor", "--miniature", "--method", "linear", "--json"]
    arguments += ["--shots", "2", "full", "--set", "learning_rate=1e-4", "--n-bootstrap", "0"]
    arguments += [part for name, path in places.items() for part in (name, str(path))]
    for override in TINY:
        arguments += ["--recipe-set", override]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert {row["settings"]["k"] for row in rows} == {2, "full"}
    assert all(row["synthetic"] for row in rows)
