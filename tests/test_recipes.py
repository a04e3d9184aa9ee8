"""Recipes: inheritance, overrides, YAML scalars, unknown keys, and what the shipped ones say."""

import pytest

import climb_hf
from climb_hf.errors import OptionError
from climb_hf.provenance import recipe_hash
from climb_hf.training.optimizers import optimizer_class
from climb_hf.training.recipes import list_recipes, load_recipe, training_arguments

SMALL = """
model: {type: climb_vision, backbone: timm/test_vit}
training: {learning_rate: 1e-4, lr_scheduler_kwargs: {num_cycles: 1}, seed: 3}
"""


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def test_paper_vision_holds_the_published_values():
    training = load_recipe("paper_vision")["training"]
    assert training["optimizer"] == "soap"
    assert (training["learning_rate"], training["weight_decay"], training["max_grad_norm"]) == (1.5e-4, 1e-3, 2.0)
    assert (training["adam_beta1"], training["adam_beta2"]) == (0.9, 0.95)
    kwargs = training["optimizer_kwargs"]
    assert kwargs["precondition_schedule"] == pytest.approx([1 / 3, 9])
    assert (kwargs["precondition_frequency"], kwargs["max_precond_dim"], kwargs["merge_dims"]) == (2, 2048, True)
    assert (training["num_train_epochs"], training["warmup_steps"]) == (5, 500)
    data = load_recipe("paper_vision")["data"]
    frames = {
        name for name in climb_hf.list_sources(benchmark="climb") if climb_hf.get_source(name).family == "frames"
    }
    assert data["repeat"] == dict.fromkeys(frames - {"echonet_dynamic"}, 20)  # which has no classes


@pytest.mark.parametrize("name", ["paper_vision", "rq1/vision"])
def test_recipes_of_the_paper_take_its_splits(name):
    options = load_recipe(name)["data"]["options"]
    sources = [climb_hf.get_source(own) for own in climb_hf.list_sources(benchmark="climb")]
    having = {own.name for own in sources if own.family in ("image", "frames") and "paper" in own.splits}
    lists = {"ham10000", "isic2020", "inspect"}  # need a file that the user has to get
    assert {own for own, chosen in options.items() if chosen.get("split_by") == "paper"} == having - lists


@pytest.mark.parametrize("name", ["quick", "quickstart", "paper_vision"])
def test_shipped_recipes_make_arguments(name, tmp_path):
    assert name in list_recipes()
    recipe = load_recipe(name)
    arguments = training_arguments(recipe, tmp_path, use_cpu=True)
    assert arguments.learning_rate == recipe["training"]["learning_rate"]
    assert arguments.optimizer == recipe["training"]["optimizer"]
    assert arguments.output_dir == str(tmp_path)
    assert recipe["data"]["eval_split"] == "validation"  # never chosen on the test split
    assert recipe["model"]["image_size"] == recipe["processor"]["size"]


def test_inheritance_merges_keys(tmp_path, small):
    own = tmp_path / "own.yaml"
    own.write_text(
        "base: small.yaml\ntraining: {seed: 4, lr_scheduler_kwargs: {num_warmup: 2}}\nprocessor: {size: 64}\n"
    )
    recipe = load_recipe(own)
    assert recipe["name"] == "own"
    assert recipe["model"] == {"type": "climb_vision", "backbone": "timm/test_vit"}
    assert recipe["training"] == {
        "learning_rate": 1e-4,
        "lr_scheduler_kwargs": {"num_cycles": 1, "num_warmup": 2},
        "seed": 4,
    }
    assert recipe["processor"] == {"size": 64}
    third = tmp_path / "third.yaml"
    third.write_text("base: own.yaml\n")
    with pytest.raises(OptionError, match="may have one base only"):
        load_recipe(third)
    named = tmp_path / "named.yaml"
    named.write_text("base: quick\ntraining: {seed: 1}\n")
    assert load_recipe(named)["training"] == {**load_recipe("quick")["training"], "seed": 1}


def test_overrides(small):
    overrides = [
        "training.learning_rate=3e-5",
        "training.lr_scheduler_kwargs.num_cycles=0.5",
        "training.optimizer_kwargs.betas=[0.9, 0.95]",
        "training.bf16=true",
        "data.sources=[ham10000, no]",
        "processor.augmentation=null",
        "model.backbone=timm/a=b",
    ]
    recipe = load_recipe(small, overrides)
    assert recipe["training"]["learning_rate"] == 3e-5
    assert recipe["training"]["lr_scheduler_kwargs"] == {"num_cycles": 0.5}
    assert recipe["training"]["optimizer_kwargs"] == {"betas": [0.9, 0.95]}
    assert recipe["training"]["bf16"] is True
    assert recipe["data"]["sources"] == ["ham10000", "no"]
    assert recipe["processor"] == {"augmentation": None}
    assert recipe["model"]["backbone"] == "timm/a=b"
    assert load_recipe(small)["training"]["lr_scheduler_kwargs"] == {"num_cycles": 1}


def test_scalars_of_yaml(tmp_path):
    path = tmp_path / "scalars.yaml"
    path.write_text(
        "model: {type: climb_vision}\n"
        "data: {options: {a: 1e-4, b: 1.5e-4, c: 5, d: 010, e: no, f: 'true', g: true, h: 1:30, i: -.5, j: ~,\n"
        "  k: 2020-01-01, l: -3, m: 1.0.3}}\n"
        "processor:\n"
    )
    assert load_recipe(path)["data"]["options"] == {
        "a": 1e-4,
        "b": 1.5e-4,
        "c": 5,
        "d": "010",
        "e": "no",
        "f": "true",
        "g": True,
        "h": "1:30",
        "i": -0.5,
        "j": None,
        "k": "2020-01-01",
        "l": -3,
        "m": "1.0.3",
    }


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.learning_rat=1", r"unknown key `learning_rat` \(near: learning_rate"),
        ("training.output_dir=x", "unknown key `output_dir`"),
        ("model.backbon=x", r"unknown key `backbon` \(near: backbone"),
        ("processor.sizes=3", r"unknown key `sizes` \(near: size"),
        ("data.source=[a]", r"unknown key `source` \(near: sources"),
        ("trainin.seed=1", r"must be `section\.key=value`.*near: training"),
        ("training.seed", r"must be `section\.key=value`"),
        ("seed=1", r"must be `section\.key=value`"),
        ("training.seed.deep=1", "`training.seed` is 3, so"),
        ("training.seed=[", "no valid YAML"),
        ("model.type=climb_visio", r"found 'climb_visio' \(near: climb_vision"),
    ],
)
def test_unknown_keys_and_wrong_overrides(small, override, message):
    with pytest.raises(OptionError, match=message):
        load_recipe(small, [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trainings: {}\n", r"unknown key `trainings` \(near: training"),
        ("- a\n", "must hold the sections"),
        ("training: 3\n", "section `training` of `wrong.yaml` must hold keys, found 3"),
        ("training: {seed: 1, seed: 2}\n", "stand twice"),
        ("training: {seed: !!python/object/apply:os.system [x]}\n", "no valid YAML"),
        ("training: {}\n", "must name the `type` of the model, found None"),
    ],
)
def test_files_that_are_no_recipes(tmp_path, text, message):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(OptionError, match=message):
        load_recipe(path)


def test_recipes_that_do_not_exist(tmp_path):
    with pytest.raises(OptionError, match=r"no recipe 'quik' \(near: quick.*path, which ends in `\.yaml`"):
        load_recipe("quik")
    with pytest.raises(OptionError, match="there is no recipe"):
        load_recipe(tmp_path / "absent.yaml")


def test_hash_is_of_the_content(small):
    recipe = load_recipe(small)
    renamed = {**recipe, "name": "x", "description": "y", "training": dict(reversed(recipe["training"].items()))}
    assert recipe_hash(renamed) == recipe_hash(recipe)
    assert len(recipe_hash(recipe)) == 16
    assert recipe_hash(load_recipe(small, ["training.seed=4"])) != recipe_hash(recipe)
    assert recipe_hash({"training": {"a": 1}}) == "5124f9f0288e8ea4"


@pytest.mark.parametrize(
    ("name", "optimizer", "rate", "decay", "batch", "epochs"),
    [
        ("rq1/eeg", "adam", 1e-3, 1e-5, 512, 20),
        ("rq1/ecg", "adam", 1e-3, 1e-2, 32, 20),
        ("rq1/ecg_units", "adam", 1e-4, 5e-6, 32, 5),
        ("rq1/graph", "soap", 1e-2, 1e-3, 32, 100),
        ("rq1/vision", "soap", 1.5e-4, 1e-3, 24, 5),
        ("fusion/paper", "soap", 1e-4, 0.01, 64, 10),
    ],
)
def test_recipes_of_the_papers_experiments_hold_its_values(name, optimizer, rate, decay, batch, epochs, tmp_path):
    training = load_recipe(name)["training"]
    assert (training["optimizer"], training["learning_rate"], training["weight_decay"]) == (optimizer, rate, decay)
    assert (training["per_device_train_batch_size"], training["num_train_epochs"]) == (batch, epochs)
    if optimizer == "soap":  # the optimizer of all the paper's scripts, with its own defaults
        chosen, values = optimizer_class(training_arguments(load_recipe(name), tmp_path, use_cpu=True, bf16=False))
        assert (chosen.__name__, values["betas"], values["eps"]) == ("SOAP", (0.9, 0.95), 1e-8)
        assert values["precondition_schedule"] == pytest.approx([1 / 3, 9])
        assert (values["precondition_frequency"], values["max_precond_dim"], values["merge_dims"]) == (2, 2048, True)


def test_a_warm_up_never_takes_a_small_source_whole(tmp_path):
    arguments = training_arguments(load_recipe("rq1/vision"), tmp_path, use_cpu=True, bf16=False)
    assert [arguments.get_warmup_steps(steps) for steps in (45, 2_000, 100_000)] == [4, 200, 500]
    plain = training_arguments(load_recipe("quick"), tmp_path, use_cpu=True)
    assert plain.get_warmup_steps(45) == 9  # a share of a fifth, as given
    with pytest.raises(OptionError, match=r"`max_warmup_share` must be in \(0, 1\], found 0"):
        training_arguments(load_recipe("quick", ["training.max_warmup_share=0"]), tmp_path, use_cpu=True)


def test_a_recipe_that_this_machine_cannot_run_says_what_to_pass(tmp_path, monkeypatch):
    import transformers.training_args

    monkeypatch.setattr(transformers.training_args, "is_torch_bf16_gpu_available", lambda: False)
    with pytest.raises(OptionError, match=r"recipe `rq1/vision` is refused: .*`--set training.bf16=false`"):
        training_arguments(load_recipe("rq1/vision"), tmp_path)
    with pytest.raises(OptionError, match=r"round multiple of the evaluation steps[^`]*$"):  # no advice on bfloat16
        training_arguments(load_recipe("rq1/vision", ["training.bf16=false", "training.save_steps=7"]), tmp_path)


def test_arguments_of_another_optimizer_are_named(tmp_path):
    changed = load_recipe("rq1/vision", ["training.optimizer=adamw"])
    arguments = training_arguments(changed, tmp_path, use_cpu=True, bf16=False)
    with pytest.raises(OptionError, match=r"`max_precond_dim`, `merge_dims`.*training.optimizer_kwargs=null"):
        optimizer_class(arguments)
    cleared = load_recipe("rq1/vision", ["training.optimizer=adamw", "training.optimizer_kwargs=null"])
    assert optimizer_class(training_arguments(cleared, tmp_path, use_cpu=True, bf16=False)) is None
