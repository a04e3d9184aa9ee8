"""`climb qa finetune`: loss on answer tokens, what is trained, saving and loading, resuming, cards and pushing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hub_server import stand_in_hub
from typer.testing import CliRunner
from vlm_tiny import tiny_processor, tiny_vlm

from climb_hf.cli.app import app
from climb_hf.errors import DependencyError, OptionError
from climb_hf.hub.adapter import push_adapter
from climb_hf.protocols.qa_finetune import adapt, finetune_questions
from climb_hf.protocols.qa_run import AnswerSettings, load_questions, run_questions
from climb_hf.qa.answering import Generator
from climb_hf.qa.vlm import load_base, load_vlm
from climb_hf.training.answers import AnswerCollator
from climb_hf.training.recipes import load_recipe
from climb_hf.training.vlm_recipe import TARGETS, LoraSettings

TOKEN = "hf_finetunefinetunefinetunefinetunefine"
FAST = ["training.num_train_epochs=2", "training.use_cpu=true"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_vlm(tmp_path_factory.mktemp("vlm") / "base")


@pytest.fixture(scope="module")
def sources(miniatures):
    return {"brain_tumor": miniatures("brain_tumor", n=16)[0]}


@pytest.fixture(scope="module")
def tuned(base, sources, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    keys = {"use_cpu": "true", "num_train_epochs": 12, "per_device_train_batch_size": 4, "learning_rate": 2e-2}
    overrides = [*(f"training.{key}={value}" for key, value in keys.items()), "training.save_strategy=no"]
    run = finetune_questions(base, sources, folder, recipe="qa/quick", overrides=overrides)
    return folder, run


def test_only_tokens_of_the_answer_and_its_end_have_a_loss(sources):
    processor = tiny_processor()
    rows = [dict(row) for row in load_questions(sources, "train")["brain_tumor"]][:4]
    batch = AnswerCollator(processor, 3)(rows)
    for row, ids, labels, mask in zip(rows, batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True):
        counted = labels != -100
        spoken = processor.tokenizer.convert_ids_to_tokens(labels[counted].tolist())
        assert "".join(spoken) == "▁" + row["answer"].replace(" ", "▁") + "</s>"
        assert torch.equal(ids[counted], labels[counted])
        n = int(mask.sum())
        assert counted.nonzero().flatten().tolist() == list(range(n - len(spoken), n))  # one block, at the end
        before = processor.tokenizer.decode(ids[: n - len(spoken)])
        assert before.endswith("[/INST]")
        assert row["question"].splitlines()[-1] in before
        assert (labels[n:] == -100).all()


def test_the_loss_is_that_of_the_answer_tokens_alone(base, sources):
    model, processor = load_base(str(base))
    rows = [dict(row) for row in load_questions(sources, "train")["brain_tumor"]][:3]
    batch = AnswerCollator(processor, 3)(rows)
    with torch.inference_mode():
        out = model(**batch)
    logs = out.logits[:, :-1].log_softmax(-1)
    places = [(row, col) for row, col in (batch["labels"] != -100).nonzero().tolist()]
    by_hand = [-logs[row, col - 1, batch["labels"][row, col]] for row, col in places]
    assert out.loss.item() == pytest.approx(torch.stack(by_hand).mean().item(), rel=1e-5)


def test_adapters_are_on_the_language_model_and_the_projector_is_whole(base):
    model, _ = load_base(str(base))
    adapted = adapt(model, LoraSettings(rank=2, alpha=4))
    trained = {name for name, one in adapted.named_parameters() if one.requires_grad}
    lora = {name for name in trained if "lora_" in name}
    assert len(lora) == 2 * len(TARGETS) * 2  # A and B of every target in both layers
    assert all("language_model.layers" in name and "vision" not in name for name in lora)
    assert all("multi_modal_projector" in name for name in trained - lora)
    assert len(trained - lora) == 4
    frozen, _ = load_base(str(base))
    names = {
        name
        for name, one in adapt(frozen, LoraSettings(rank=2, projector="none")).named_parameters()
        if one.requires_grad
    }
    assert all("lora_" in name for name in names)


@pytest.mark.parametrize(
    ("change", "text"),
    [({"targets": ("query",)}, "no linear layers \\['query'\\]"), ({"projector": "bridge"}, "no projector.*bridge")],
)
def test_layers_that_are_not_there_are_named(base, change, text):
    model, _ = load_base(str(base))
    with pytest.raises(OptionError, match=text):
        adapt(model, LoraSettings(**change))


def test_the_loss_falls_and_the_adapter_answers_after_loading(tuned, base, sources):
    folder, run = tuned
    losses = [entry["loss"] for entry in run.history if "loss" in entry]
    assert losses[-1] < 0.6 * losses[0]
    loaded = load_vlm(folder, device="cpu")
    assert loaded.training["sources"] == ["brain_tumor"]
    rows = [dict(row) for row in load_questions(sources, "train")["brain_tumor"]][:3]
    again = load_vlm(folder / "adapter", device="cpu")
    fresh = load_vlm(base, device="cpu")
    batch = AnswerCollator(loaded.processor, 3)(rows)
    with torch.inference_mode():
        first, second, other = (vlm.model(**batch) for vlm in (loaded, again, fresh))
    assert torch.equal(first.logits, second.logits)
    assert first.loss < other.loss
    assert len(Generator(loaded, 4).answer(rows)) == 3


def test_a_run_with_an_adapter_is_called_fine_tuned(tuned, sources, tmp_path):
    folder, run = tuned
    rows = run_questions(
        folder, sources, tmp_path, settings=AnswerSettings(max_new_tokens=3), n_bootstrap=0, device="cpu"
    )
    kept = json.loads((run.adapter / "training.json").read_text())
    assert {row.settings["training"] for row in rows} == {"fine-tuned"}
    assert {row.recipe_hash for row in rows} == {kept["recipe_hash"]}
    assert rows[0].settings["trained_on"] == ["brain_tumor"]
    assert all(row.synthetic for row in rows)


def test_a_stopped_training_goes_on(base, sources, tmp_path):
    finetune_questions(base, sources, tmp_path / "a", recipe="qa/quick", overrides=FAST)
    finetune_questions(
        base, sources, tmp_path / "b", recipe="qa/quick", overrides=[*FAST, "training.num_train_epochs=1"]
    )
    run = finetune_questions(base, sources, tmp_path / "b", recipe="qa/quick", overrides=FAST, resume=True)
    from safetensors.torch import load_file

    whole, resumed = (load_file(tmp_path / name / "adapter/adapter_model.safetensors") for name in "ab")
    assert whole.keys() == resumed.keys()
    for name, value in whole.items():
        torch.testing.assert_close(value, resumed[name], msg=name)
    assert max(entry["epoch"] for entry in run.history) == 2


def test_the_projector_has_its_own_rate(base):
    from transformers import TrainingArguments

    from climb_hf.training.answers import AdapterTrainer

    adapted = adapt(load_base(str(base))[0], LoraSettings(rank=2))
    arguments = TrainingArguments(learning_rate=2e-4, use_cpu=True, weight_decay=0.1)
    trainer = AdapterTrainer(adapted, arguments, projector_learning_rate=2e-5)
    groups = trainer.create_optimizer().param_groups
    assert [group["lr"] for group in groups] == [2e-4, 2e-5]
    assert [len(group["params"]) for group in groups] == [28, 4]


def test_recipes_hold_the_common_values():
    recipe = load_recipe("qa/lora")
    lora = LoraSettings.of(recipe["model"])
    assert (lora.rank, lora.alpha, lora.projector_learning_rate, lora.targets) == (128, 256, 2e-5, TARGETS)
    training = recipe["training"]
    assert training["learning_rate"] == 2e-4
    assert training["num_train_epochs"] == 1
    assert training["per_device_train_batch_size"] * training["gradient_accumulation_steps"] == 128
    assert recipe["data"]["train_split"] == "train"
    with pytest.raises(OptionError, match=r"unknown key `rnak` \(near: rank\)"):
        load_recipe("qa/lora", ["model.rnak=3"])
    with pytest.raises(OptionError, match="`quantize` must be `4bit`"):
        LoraSettings.of({"quantize": "8bit"})


def test_the_recipe_for_numbers_runs_on_a_tiny_model(base, sources, tmp_path):
    small = ["training.bf16=false", "training.use_cpu=true", "training.max_steps=2", "model.rank=2"]
    small += ["training.gradient_accumulation_steps=2", "training.per_device_train_batch_size=2"]
    run = finetune_questions(base, sources, tmp_path, recipe="qa/lora", overrides=small, base_model_license="mit")
    assert all(torch.isfinite(torch.tensor(entry["grad_norm"])) for entry in run.history if "grad_norm" in entry)
    assert "license: mit" in (run.adapter / "README.md").read_text()


def test_qlora_says_what_it_needs(base, sources, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(DependencyError, match="needs a GPU"):
        finetune_questions(base, sources, tmp_path, recipe="qa/quick", overrides=["model.quantize=4bit"])


def test_a_recipe_of_encoders_is_refused(base, sources, tmp_path):
    with pytest.raises(OptionError, match="recipe of encoders"):
        finetune_questions(base, sources, tmp_path, recipe="quick")


def test_an_adapter_is_pushed_with_a_card(tuned, base, tmp_path):
    _, run = tuned
    with pytest.raises(OptionError, match=r"folder of this machine.*--base-model"):
        push_adapter(run.adapter, "somebody/lora")
    arguments = ["push", str(run.adapter.parent), "somebody/lora", "--base-model", "somebody/base"]
    with stand_in_hub({TOKEN: "somebody"}) as (endpoint, hub):
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))},
            **{"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": TOKEN},
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]),
        }
        shown = subprocess.run(
            [sys.executable, "-m", "climb_hf", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert shown.returncode == 0, shown.stderr[-3000:]
        files = hub.files("somebody/lora")
    wanted = {"README.md", "adapter_config.json", "adapter_model.safetensors", "recipe.yaml", "chat_template.jinja"}
    assert wanted <= set(files)
    card = files["README.md"].decode()
    assert "license: other" in card  # that of the base was not said
    assert "base_model: somebody/base" in card
    assert "synthetic miniatures" in card
    assert "Not for clinical use" in card
    assert "Rank 8, alpha 16" in card
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == "somebody/base"
    assert all(str(base).encode() not in content for content in files.values())
    assert TOKEN not in shown.stdout + shown.stderr


def test_the_command_runs_on_miniatures(base, tmp_path):
    shown = CliRunner().invoke(
        app,
        ["qa", "finetune", str(base), "brain_tumor", "--to", str(tmp_path), "--recipe", "qa/quick", "--miniature",
         "--miniature-n", "16", "--set", "training.max_steps=1", "--set", "training.use_cpu=true"],
    )  # fmt: skip
    assert shown.exit_code == 0, shown.output
    assert (tmp_path / "adapter/adapter_model.safetensors").is_file()
    assert json.loads((tmp_path / "adapter/training.json").read_text())["synthetic"] is True
