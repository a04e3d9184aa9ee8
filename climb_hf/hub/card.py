"""The card of a model, generated from the run: facts of its sources, results, recipe, and code that runs."""

import importlib.resources
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from huggingface_hub import ModelCard, ModelCardData

from climb_hf.errors import UnknownSourceError
from climb_hf.hub import tables
from climb_hf.hub.facts import TrainingFacts
from climb_hf.hub.licence import AGREEMENT_LEVELS, ModelLicence, Terms, combine_licences
from climb_hf.hub.results import hub_metric, model_index
from climb_hf.models.dual_encoder import DUAL_ENCODER
from climb_hf.provenance import clean_recipe, recipe_hash
from climb_hf.registry import get_source
from climb_hf.results import ResultRow

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["load_template", "model_card", "parts_of", "recipe_text", "tidy", "vocabulary_of"]


def parts_of(model: "PreTrainedModel", facts: TrainingFacts) -> list[Terms]:
    """Return the terms that bind a model: of its data and its base model; of the latter alone for synthetic data.

    Args:
        model (`PreTrainedModel`): the model.
        facts (`TrainingFacts`): facts of the training.

    Returns:
        `list[Terms]`.
    """
    data = [] if facts.synthetic else facts.data_terms(_model_sources(model))
    return [*data, *facts.weight_terms()]


def vocabulary_of(model: "PreTrainedModel") -> dict[str, Any]:
    """Return the vocabulary of a model as `vocabulary.json` holds it.

    Args:
        model (`PreTrainedModel`): a model with `vocabulary`, `source_classes` and `source_multi_label` in its
            configuration; what is absent is empty.

    Returns:
        `dict`: `concepts` (V in the order of the logits), `display_names` by concept, and per source its `concepts`,
        their `indices` in V, `classes` (display names) and `multi_label`.
    """
    from climb_hf import vocabulary

    config = model.config
    known = set(vocabulary.concepts())
    names = list(getattr(config, "vocabulary", []))
    display = {name: vocabulary.display_name(name) if name in known else name for name in names}
    position = {name: index for index, name in enumerate(names)}
    sources = {
        source: {
            "concepts": list(concepts),
            "indices": [position[name] for name in concepts],
            "classes": _class_names(source, list(concepts), display),
            "multi_label": config.source_multi_label[source],
        }
        for source, concepts in sorted(getattr(config, "source_classes", {}).items())
    }
    return {"schema_version": 1, "concepts": names, "display_names": display, "sources": sources}


def _class_names(source: str, concepts: list[str], display: dict[str, str]) -> list[str]:
    """The source's own class names where the checkpoint has its default classes, else display names."""
    try:
        facts = get_source(source)
    except UnknownSourceError:
        return [display[name] for name in concepts]
    return list(facts.classes) if list(facts.concepts) == concepts else [display[name] for name in concepts]


def model_card(
    model: "PreTrainedModel",
    *,
    name: str,
    results: Sequence[ResultRow] = (),
    recipe: Any = None,  # noqa: ANN401 - nested plain values, or a dataclass
    training: TrainingFacts | dict[str, Any] | None = None,
) -> ModelCard:
    """Write the card of a model.

    Args:
        model (`PreTrainedModel`): the model.
        name (`str`): repository (`"user/name"`) or folder that the code example loads; its last part is the title.
        results (`Sequence[ResultRow]`, *optional*): numbers of an evaluation.
        recipe (`dict` or dataclass, *optional*): the recipe; secrets and local paths are left out of it.
        training (`TrainingFacts` or `dict`, *optional*): facts of the training.

    Returns:
        `huggingface_hub.ModelCard`.

    Raises:
        OptionError: `training` holds a key that is no fact.
    """
    facts, results = TrainingFacts.of(training).with_recipe(recipe), list(results)
    title = name.rstrip("/").rsplit("/", 1)[-1]
    parts = parts_of(model, facts)
    licence = combine_licences(parts)
    vocabulary = vocabulary_of(model)
    data = [part for part in parts if part.kind == "data"]
    card = ModelCard.from_template(
        _card_data(model, title, facts, licence, results),
        template_str=load_template("template.md"),
        name=title,
        synthetic=_synthetic_text(facts, results),
        summary=_summary(model, facts, vocabulary),
        snippet=_snippet(model, name),
        table=tables.results_table(results),
        table_note=tables.metrics_note(results),
        averages=tables.averages_text(results),
        subgroups=tables.subgroup_table(results),
        n_concepts=len(vocabulary["concepts"]),
        vocabulary_table=tables.vocabulary_table(
            [{"name": source, **entry} for source, entry in vocabulary["sources"].items()]
        ),
        data_table=tables.data_table(parts, dict(facts.n_examples)),
        signed=_names(part.name for part in data if part.access in AGREEMENT_LEVELS),
        unknown=_names(part.name for part in data if part.license == "unknown"),
        earlier=_names(sorted(set(facts.pretrained_on) - set(facts.sources or ()))),
        imitated=_names(_trained_on(model, facts)) if facts.synthetic else "",
        cautions="\n".join(f"* `{part.name}`: {caution}" for part in data for caution in part.cautions),
        licence=licence,
        training_table=_training_table(facts, recipe),
        recipe=recipe_text(recipe).strip(),
        citations="\n\n".join(dict.fromkeys(part.citation for part in data if part.citation)),
    )
    card.text = tidy(card.text)
    return card


def recipe_text(recipe: Any) -> str:  # noqa: ANN401 - nested plain values, or a dataclass
    """Return a recipe as YAML, cleaned of secrets and local paths; `""` for none."""
    import yaml

    if recipe is None:
        return ""
    return yaml.safe_dump(clean_recipe(recipe), sort_keys=False, allow_unicode=True, width=120)


def load_template(name: str) -> str:
    """Return the text of a template of `climb_hf.model_cards`."""
    return importlib.resources.files("climb_hf.model_cards").joinpath(name).read_text(encoding="utf-8")


def tidy(text: str) -> str:
    """Collapse the empty lines that unused parts of the template leave, outside code blocks."""
    lines: list[str] = []
    in_code = False
    for line in text.rstrip().split("\n"):
        in_code ^= line.startswith("```")
        if in_code or line.strip() or (lines and lines[-1]):
            lines.append(line.rstrip())
    return "\n".join(lines) + "\n"


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _model_sources(model: "PreTrainedModel") -> tuple[str, ...]:
    return tuple(sorted(getattr(model.config, "source_classes", {})))


def _trained_on(model: "PreTrainedModel", facts: TrainingFacts) -> tuple[str, ...]:
    return _model_sources(model) if facts.sources is None else tuple(sorted(facts.sources))


def _families(sources: Sequence[str]) -> tuple[list[str], set[str]]:
    """Modalities in order, and families, of the registered sources."""
    modalities: set[str] = set()
    families: set[str] = set()
    for name in sources:
        try:
            source = get_source(name)
        except UnknownSourceError:
            continue
        modalities.add(source.modality)
        families.add(source.family)
    return sorted(modalities), families


def _task(model: "PreTrainedModel", sources: Sequence[str]) -> str:
    """The Hub's task: what the widget and the filters of the Hub show the model under."""
    if model.config.model_type == DUAL_ENCODER:
        return "zero-shot-image-classification"
    if not getattr(model.config, "vocabulary", None):
        return "image-feature-extraction" if model.main_input_name == "pixel_values" else "feature-extraction"
    if model.main_input_name != "pixel_values":
        return "other"
    return "video-classification" if _families(sources)[1] == {"frames"} else "image-classification"


def _card_data(
    model: "PreTrainedModel", title: str, facts: TrainingFacts, licence: ModelLicence, results: list[ResultRow]
) -> ModelCardData:
    sources = _trained_on(model, facts)
    modalities, _ = _families(sources)
    titles = {name: get_source(name).title for name in {row.source for row in results} if _is_registered(name)}
    task = _task(model, sources)
    index, fields = model_index(results, titles, task), licence.card_fields
    tags = ["climb", "medical", *(modality.lower().replace(" ", "-") for modality in modalities)]
    return ModelCardData(
        library_name="transformers",
        pipeline_tag=task,
        license=fields["license"],
        license_name=fields.get("license_name"),
        license_link=fields.get("license_link"),
        tags=[*tags, *(["synthetic"] if _synthetic_text(facts, results) else [])],
        base_model=[str(facts.base_model), *facts.further_base_models]
        if facts.further_base_models
        else facts.base_model,
        datasets=None if facts.synthetic else sorted({*sources, *facts.pretrained_on}) or None,
        metrics=list(dict.fromkeys(hub_metric(row.metric) for row in results if row.level == "source")) or None,
        model_name=title if index else None,
        eval_results=index or None,
    )


def _is_registered(name: str) -> bool:
    try:
        get_source(name)
    except UnknownSourceError:
        return False
    return True


def _synthetic_text(facts: TrainingFacts, results: Sequence[ResultRow]) -> str:
    scored = any(row.synthetic for row in results)
    if facts.synthetic and scored:
        return "Trained and scored on synthetic miniatures, not on the data sets named below."
    if facts.synthetic:
        return "Trained on synthetic miniatures, not on the data sets named below."
    return "Scored on synthetic miniatures, not on the data sets named below." if scored else ""


def _summary(model: "PreTrainedModel", facts: TrainingFacts, vocabulary: dict[str, Any]) -> str:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    size = f"{parameters / 1e6:.1f} M" if parameters >= 1e6 else f"{parameters:,}"
    backbone = getattr(model.config, "backbone", None)
    if backbone == "transformers":
        backbone = f"transformers/{model.config.backbone_config.model_type}"
    with_backbone = f" with the backbone `{backbone}`" if backbone else ""
    sources = _trained_on(model, facts)
    modalities, _ = _families(sources)
    text = f"`{type(model).__name__}`{with_backbone}, {size} parameters"
    if vocabulary["concepts"]:
        text += f", one output for each of {len(vocabulary['concepts'])} concepts"
    text += ". Made with climb-hf"
    if sources:
        of = f" ({', '.join(modalities)})" if modalities else ""
        text += f" for {len(sources)} source{'s' if len(sources) > 1 else ''}{of}: {', '.join(sources)}"
    return text + "."


def _snippet(model: "PreTrainedModel", name: str) -> str:
    """Code that loads the checkpoint and predicts; runs as it stands, with a picture beside it."""
    sources = sorted(getattr(model.config, "source_classes", {}))
    head = bool(getattr(model.config, "vocabulary", None))
    if model.main_input_name == "modality_mask":
        return _snippet_of_fusion(model, name, sources)
    if model.config.model_type == DUAL_ENCODER:
        return _snippet_of_pairs(name)
    if model.main_input_name != "pixel_values":
        return _snippet_of_rows(name, sources, head=head)
    auto = "AutoModelForImageClassification" if head else "AutoModel"
    lines = [
        "import climb_hf  # registers the model with transformers",
        "import torch",
        "from PIL import Image",
        f"from transformers import AutoImageProcessor, {auto}",
        "",
        f'checkpoint = "{name}"',
        f"model = {auto}.from_pretrained(checkpoint)",
        "processor = AutoImageProcessor.from_pretrained(checkpoint)",
        "",
    ]
    is_video = _families(sources)[1] == {"frames"}
    if is_video:
        lines.append(
            'inputs = processor([[Image.open("frame_0.png"), Image.open("frame_1.png")]])  # one video or volume'
        )
    else:
        lines.append('inputs = processor(Image.open("image.png"))')
    lines.append("with torch.inference_mode():")
    if not head:
        return "\n".join([*lines, "    features = model(**inputs).pooler_output[0]", "print(features.shape)"])
    lines.append("    logits = model(**inputs).logits")
    if sources:
        lines += [
            f'source = "{sources[0]}"',
            "probabilities = model.masked_probabilities(logits, source)[0]",
            "for concept, probability in zip(model.config.source_classes[source], probabilities.tolist()):",
        ]
    else:
        lines += ["for concept, probability in zip(model.config.vocabulary, logits[0].sigmoid().tolist()):"]
    return "\n".join([*lines, '    print(f"{concept}: {probability:.3f}")'])


def _snippet_of_pairs(name: str) -> str:
    """Code for a dual encoder: how well some texts fit a picture."""
    return "\n".join(
        [
            "import climb_hf  # registers its towers and its image processor with transformers",
            "import torch",
            "from PIL import Image",
            "from transformers import VisionTextDualEncoderModel, VisionTextDualEncoderProcessor",
            "",
            f'checkpoint = "{name}"',
            "model = VisionTextDualEncoderModel.from_pretrained(checkpoint)",
            "processor = VisionTextDualEncoderProcessor.from_pretrained(checkpoint)",
            "",
            'texts = ["a chest X-ray", "a histopathology image"]',
            'inputs = processor.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")',
            'pixels = processor.image_processor(Image.open("image.png"))["pixel_values"]',
            "with torch.inference_mode():",
            "    logits = model(**inputs, pixel_values=pixels).logits_per_image[0]",
            "for text, probability in zip(texts, logits.softmax(0).tolist()):",
            '    print(f"{text}: {probability:.3f}")',
        ]
    )


def _snippet_of_rows(name: str, sources: list[str], *, head: bool) -> str:
    """Code for a model that reads signals or graphs: one row of a dataset of ours in."""
    if not head:
        return f'import climb_hf\nfrom transformers import AutoModel\n\nmodel = AutoModel.from_pretrained("{name}")'
    source = sources[0] if sources else "SOURCE"
    given = f', source="{source}"' if len(sources) > 1 else ""
    return "\n".join(
        [
            "import climb_hf  # registers the model with transformers",
            "from transformers import pipeline",
            "",
            f'predict = pipeline("climb-classification", model="{name}")',
            f'row = climb_hf.load_dataset("{source}", "raw/{source}")["test"][0]',
            f"for answer in predict(row{given}):",
            "    print(f\"{answer['label']}: {answer['score']:.3f}\")",
        ]
    )


def _snippet_of_fusion(model: "PreTrainedModel", name: str, sources: list[str]) -> str:
    """Code for a model that reads several modalities of one row, any of which may be absent."""
    kind = type(model).__name__
    outcome = "logits[0].sigmoid().tolist()" if getattr(model.config, "vocabulary", None) else "logits[0].tolist()"
    lines = [
        "import climb_hf  # registers the processor with transformers",
        "import torch",
        f"from climb_hf.models import {kind}",
        "from transformers import AutoProcessor",
        "",
        f'checkpoint = "{name}"',
        f"model = {kind}.from_pretrained(checkpoint)",
        "processor = AutoProcessor.from_pretrained(checkpoint)",
        "",
        f'row = climb_hf.load_dataset("{sources[0] if sources else "SOURCE"}", "DIR")["test"][0]  # or your own',
        "with torch.inference_mode():",
        "    outputs = model(**processor(row))",
        f"print(outputs.{outcome if kind != 'ClimbFusionModel' else 'pooler_output.shape'})",
    ]
    return "\n".join(lines)


def _training_table(facts: TrainingFacts, recipe: Any) -> str:  # noqa: ANN401 - see model_card
    rows: list[tuple[str, str]] = []
    if facts.recipe:
        rows.append(("recipe", f"`{facts.recipe}`"))
    if recipe is not None:
        rows.append(("recipe hash", f"`{recipe_hash(recipe)}` (`recipe.yaml`)"))
    rows.append(("seed", "not recorded" if facts.seed is None else str(facts.seed)))
    if weights := [name for name in (facts.base_model, *facts.further_base_models) if name]:
        rows.append(("base model", _names(weights)))
    if facts.date:
        rows.append(("date", facts.date))
    rows += [
        (f"data of {name}", ", ".join(f"`{key}={value}`" for key, value in sorted(options.items())))
        for name, options in sorted(clean_recipe(dict(facts.options)).items())
        if options
    ]
    rows += [(f"fingerprint of {name}", f"`{value}`") for name, value in sorted(facts.data_fingerprints.items())]
    rows.append(("versions", ", ".join(f"{name} {number}" for name, number in facts.versions.items())))
    return tables.markdown_table(["", ""], rows)
