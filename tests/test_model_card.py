"""The generated model card: its full text, its metadata, its code, and the licence it states."""

import contextlib
import io
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub._eval_results import parse_eval_result_entries

from climb_hf.errors import OptionError, UnknownSourceError
from climb_hf.hub import TrainingFacts, model_card, save_checkpoint
from climb_hf.hub.facts import base_model_license
from climb_hf.hub.licence import Terms, combine_licences
from climb_hf.hub.results import eval_results_yaml, model_index
from climb_hf.models.vision.presets import get_preset
from climb_hf.results import ResultRow

ALPHA = SimpleNamespace(
    name="alpha",
    title="Alpha skin pictures",
    license="CC-BY-NC-4.0",
    license_note="",
    homepage="https://example.org/alpha",
    access="open",
    redistributable=True,
    cautions=("The test split shares patients with train.",),
    citation="@misc{alpha, title={Alpha}}",
    modality="Dermoscopy",
    family="image",
    concepts=("skin.nevus", "skin.melanoma"),
    classes=("Nevus (NV)", "Melanoma (MEL)"),
)
BETA = SimpleNamespace(
    name="beta",
    title="Beta | chest films",
    license="LicenseRef-Beta-DUA",
    license_note="Section 4: no copies.",
    homepage="https://example.org/beta",
    access="credentialed",
    redistributable=False,
    cautions=(),
    citation="@misc{beta, title={Beta}}",
    modality="Chest X-ray",
    family="image",
    concepts=("chest_xray.edema", "chest_xray.fracture"),
    classes=("Edema", "Fracture"),
)
RESULTS = [
    ResultRow(
        source="alpha", split="test", metric="auc", value=0.91234, n=2003, n_groups=1500, n_classes=2, n_defined=2,
        interval=(0.89, 0.934), seed=3, date="2026-02-01",
    ),
    ResultRow(source="alpha", split="test", metric="sensitivity", value=0.8, n=2003, n_groups=1500, seed=3),
    ResultRow(source="alpha", split="test", metric="specificity", value=0.85, n=2003, n_groups=1500, seed=3),
    ResultRow(source="alpha", split="test", metric="top1", value=0.82, n=2003, n_groups=1500, seed=3),
    ResultRow(
        source="beta", split="test", metric="auc", value=float("nan"), reason="no class has both outcomes", n=12,
        n_groups=5, n_classes=2, n_defined=0, seed=3,
    ),
    ResultRow(
        source="alpha", split="test", metric="auc", value=0.88, n=900, interval=(0.85, 0.91), subgroup="sex=female",
        seed=3,
    ),
    ResultRow(
        source="all", level="overall", split="test", metric="auc", value=0.91234, n=2015, n_defined=1,
        interval=(0.89, 0.934), seed=3,
    ),
]  # fmt: skip
FACTS = {
    "base_model": "timm/test_vit.r160_in1k",
    "recipe": "tiny",
    "seed": 3,
    "n_examples": {"alpha": 8012},
    "data_fingerprints": {"alpha": "0123456789abcdef"},
    "options": {"alpha": {"split_by": "paper"}},
    "date": "2026-01-31",
    "versions": {"climb_hf": "0.1.0", "torch": "2.6.0", "python": "3.11.0"},
}
RECIPE = {"learning_rate": 0.0001, "epochs": 3, "hub_token": "hf_never", "data_dir": "/home/someone/raw/alpha"}

CARD = Path(__file__).with_name("golden") / "model_card.md"


@pytest.fixture
def sources(monkeypatch):
    """A registry of two sources, so that the text of the card does not follow the facts of the real ones."""
    known = {"alpha": ALPHA, "beta": BETA}

    def get_source(name):
        if name not in known:
            raise UnknownSourceError(name)
        return known[name]

    monkeypatch.setattr("climb_hf.hub.licence.get_source", get_source)
    monkeypatch.setattr("climb_hf.hub.card.get_source", get_source)


def make_model(**changes):
    from climb_hf.models import ClimbVisionConfig, ClimbVisionForClassification

    fields = {
        "vocabulary": [*ALPHA.concepts, *BETA.concepts],
        "source_classes": {"alpha": list(ALPHA.concepts), "beta": list(BETA.concepts)},
        "source_multi_label": {"alpha": False, "beta": True},
    }
    return ClimbVisionForClassification(
        ClimbVisionConfig(backbone="timm/test_vit", image_size=32, **{**fields, **changes})
    ).eval()


def test_full_text(sources):
    model = make_model()
    found = str(model_card(model, name="user/tiny", results=RESULTS, recipe=RECIPE, training=FACTS))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    hash_of_recipe = re.search(r"`([0-9a-f]{16})` \(`recipe.yaml`\)", found).group(1)
    text = CARD.read_text(encoding="utf-8")
    assert found == text.replace("<PARAMETERS>", f"{parameters:,}").replace("<HASH>", hash_of_recipe)


def test_metadata_is_read_back_by_the_hub_client(sources):
    data = ModelCard(str(model_card(make_model(), name="user/tiny", results=RESULTS, training=FACTS))).data
    assert [(result.dataset_config, result.metric_type, result.metric_value) for result in data.eval_results] == [
        ("alpha", "roc_auc", 0.91234), ("alpha", "recall", 0.8), ("alpha", "specificity", 0.85),
        ("alpha", "accuracy", 0.82),
    ]  # fmt: skip


def test_eval_results_file_is_read_back_by_the_hub_client():
    entries = parse_eval_result_entries(yaml.safe_load(eval_results_yaml(RESULTS)))
    assert [(entry.dataset_id, entry.task_id, entry.value) for entry in entries][:2] == [
        ("climb-hf/climb", "alpha_auc", 0.91234), ("climb-hf/climb", "alpha_sensitivity", 0.8),
    ]  # fmt: skip
    assert len(entries) == 4  # neither the undefined number, nor the subgroup, nor the average
    assert entries[0].date == "2026-02-01"
    assert entries[0].notes == "split test, 95% interval 0.89 to 0.934, n 2003, definition climb"


def test_two_seeds_are_told_apart(sources):
    rows = [ResultRow(source="alpha", split="test", metric="auc", value=0.9, n=5, seed=seed) for seed in (0, 1)]
    names = [entry.metric_name for entry in model_index(rows, {}, "image-classification")]
    assert names == ["AUC (macro, one-vs-rest), seed 0", "AUC (macro, one-vs-rest), seed 1"]
    card = model_card(make_model(), name="x", results=rows)
    assert "| source | split | seed | AUC" in card.text
    assert "| alpha | test | 1 | 0.900 [no interval] |" in card.text


def test_settings_are_told_apart(sources):
    settings = ({"n_bootstrap": 100}, {"n_bootstrap": 100, "without_duplicates": True})
    rows = [
        ResultRow(source="alpha", split="test", metric="auc", value=0.9, n=5 - index, settings=values)
        for index, values in enumerate(settings)
    ]
    card = model_card(make_model(), name="x", results=rows)
    assert "| source | split | settings | AUC" in card.text
    assert "| alpha | test | default | 0.900" in card.text
    assert "| alpha | test | without duplicates | 0.900" in card.text
    assert [entry["dataset"]["task_id"] for entry in yaml.safe_load(eval_results_yaml(rows))] == [
        "alpha_auc", "alpha_auc_without_duplicates",
    ]  # fmt: skip


def test_pretrained_backbone_of_the_recipe_binds(sources):
    recipe = {"model": {"backbone": "timm/convnextv2_atto.fcmae_ft_in1k", "pretrained": True}}
    card = model_card(make_model(), name="x", recipe=recipe, training={"synthetic": True})
    assert card.data.license == "cc-by-nc-4.0"
    assert card.data.base_model == "timm/convnextv2_atto.fcmae_ft_in1k"
    recipe["model"]["pretrained"] = "/home/someone/weights.safetensors"
    card = model_card(make_model(), name="x", recipe=recipe, training={"synthetic": True})
    assert card.data.license == "other"
    recipe["model"]["pretrained"] = False
    assert model_card(make_model(), name="x", recipe=recipe, training={"synthetic": True}).data.base_model is None


def test_synthetic_is_said_everywhere_and_stays_off_leaderboards(sources):
    rows = [ResultRow(source="alpha", split="test", metric="auc", value=0.99, n=5, synthetic=True)]
    card = model_card(make_model(), name="x", results=rows, training={"synthetic": True})
    assert "> **Synthetic data.** Trained and scored on synthetic miniatures" in card.text
    assert "| alpha (synthetic) | test | 0.990" in card.text
    assert "Synthetic miniatures of `alpha`, `beta`: no publisher's data went into the weights" in card.text
    assert "synthetic" in card.data.tags
    assert card.data.license == "apache-2.0"
    assert card.data.datasets is None
    assert card.data.eval_results[0].dataset_name == "Alpha skin pictures (synthetic)"
    assert eval_results_yaml(rows) == ""
    real = model_card(make_model(), name="x", results=RESULTS, training=FACTS)
    assert "ynthetic" not in str(real)


@pytest.mark.parametrize("has_sources", [True, False])
def test_code_of_the_card_runs_and_predicts(tmp_path, monkeypatch, has_sources):
    from PIL import Image

    from climb_hf.processing.image_processor import ClimbImageProcessor

    model = make_model() if has_sources else make_model(source_classes={}, source_multi_label={})
    processor = ClimbImageProcessor(size=32)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8))
    picture.save(tmp_path / "image.png")
    folder = save_checkpoint(tmp_path / "tiny", model, processor, name="tiny", training={"sources": []})
    code = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL).group(1)
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "card", "exec"), {})
    logits = model(**processor(picture)).logits.detach()
    if has_sources:
        expected = dict(zip(ALPHA.concepts, model.masked_probabilities(logits, "alpha")[0].tolist(), strict=True))
    else:
        expected = dict(zip(model.config.vocabulary, logits.sigmoid()[0].tolist(), strict=True))
    assert printed.getvalue() == "".join(f"{name}: {value:.3f}\n" for name, value in expected.items())


def test_own_data_and_earlier_data_are_named(sources):
    card = model_card(make_model(), name="x", training={"sources": ["mine"], "pretrained_on": ["alpha"]})
    assert "**Terms unknown:** `mine`" in card.text
    assert "The base model was trained before on `alpha`." in card.text
    assert card.data.license == "other"
    assert card.data.datasets == ["alpha", "mine"]


def test_feature_extractor_has_a_card_too():
    from climb_hf.models import ClimbVisionConfig, ClimbVisionModel

    card = model_card(ClimbVisionModel(ClimbVisionConfig(backbone="timm/test_vit", image_size=32)), name="x")
    assert card.data.pipeline_tag == "image-feature-extraction"
    assert "None: the model has no head and returns features." in card.text
    assert "features = model(**inputs).pooler_output[0]" in card.text


def test_unknown_facts_are_refused():
    with pytest.raises(OptionError, match=r"unknown facts \['epochs'\]; known are sources"):
        TrainingFacts.of({"epochs": 3})
    with pytest.raises(OptionError, match="must be a list of names"):
        TrainingFacts.of({"sources": "alpha"})


@pytest.mark.parametrize(
    ("licences", "expected"),
    [
        ([], "apache-2.0"),
        (["MIT"], "mit"),
        (["CC0-1.0", "MIT", "Apache-2.0"], "apache-2.0"),
        (["CC-BY-3.0", "MIT", "CC-BY-4.0"], "cc-by-4.0"),
        (["CC-BY-4.0", "CC-BY-NC-4.0"], "cc-by-nc-4.0"),
        (["CC-BY-NC-SA-3.0", "CC-BY-NC-SA-4.0", "CC-BY-NC-4.0", "MIT"], "cc-by-nc-sa-4.0"),
        (["AGPL-3.0-or-later", "CC-BY-4.0"], "agpl-3.0"),
        (["CC-BY-SA-4.0", "CC-BY-NC-4.0"], "other"),  # share-alike does not admit a further restriction
        (["CC-BY-SA-4.0", "ODbL-1.0"], "other"),
        (["CC-BY-NC-ND-4.0", "CC-BY-4.0"], "cc-by-nc-nd-4.0"),
        (["CC-BY-ND-4.0", "CC-BY-NC-4.0"], "cc-by-nc-nd-4.0"),
        (["CC-BY-NC-ND-4.0", "CC-BY-NC-SA-4.0"], "other"),
        (["CC-BY-4.0", "LicenseRef-PhysioNet-Credentialed-1.5.0"], "other"),
        (["unknown"], "other"),
        (["cc-by-nc-4.0", "mit"], "cc-by-nc-4.0"),  # as timm writes them
    ],
)
def test_licence_is_the_most_restrictive(licences, expected):
    parts = [Terms(f"source_{index}", "data", licence) for index, licence in enumerate(licences)]
    found = combine_licences(parts)
    assert found.license == expected
    assert set(found.card_fields) == (
        {"license", "license_name", "license_link"} if expected == "other" else {"license"}
    )
    assert combine_licences(parts[::-1]).license == expected


def test_licence_of_timm_weights_is_known():
    assert base_model_license("timm/convnextv2_atto.fcmae_ft_in1k") == "cc-by-nc-4.0"
    assert base_model_license("timm/no_such_model.at_all") is None
    assert base_model_license("somebody/model") is None
    assert base_model_license("microsoft/rad-dino") == get_preset("rad_dino").license
    facts = TrainingFacts().with_recipe({"model": {"preset": "rad_dino", "pretrained": True}})
    assert facts.weight_terms()[0].name == "microsoft/rad-dino"
    assert TrainingFacts(base_model="somebody/model").weight_terms()[0].hub_license is None
    assert TrainingFacts(base_model="a/b", base_model_license="MIT").weight_terms()[0].hub_license == "mit"
