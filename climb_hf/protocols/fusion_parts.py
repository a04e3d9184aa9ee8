"""The parts of a fusion run: encoders from checkpoints, presets or random weights, their processors, the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from climb_hf.errors import AccessError, OptionError

__all__ = ["TASKS", "Encoders", "FusionTask", "build_encoders", "build_fusion"]

#: What says in a recipe where an encoder comes from, beside the fields of its configuration.
_PLACES = ("preset", "pretrained")
_PART = {"image": "image_processor", "signal": "feature_extractor", "text": "tokenizer"}


@dataclass(frozen=True)
class FusionTask:
    """What is predicted.

    Args:
        name (`str`): key of `targets`.
        concept (`str`): name of the one output of a binary outcome; empty for a number.
    """

    name: str
    concept: str = ""

    @property
    def is_regression(self) -> bool:
        """Whether a number is predicted."""
        return not self.concept


TASKS = {
    "ihm48": FusionTask("ihm48", "admission.in_hospital_mortality_48h_yes"),
    "los_days": FusionTask("los_days"),
}


@dataclass
class Encoders:
    """Encoders and what prepares their input.

    Args:
        models (`dict`): encoder by modality; for random ones its configuration, so that every run draws its own.
        processor (`ClimbFusionProcessor`): of all of them.
        names (`dict[str, str]`): where each comes from, for results: a checkpoint's name, or `"random"`.
    """

    models: dict[str, Any]
    processor: Any
    names: dict[str, str] = field(default_factory=dict)

    def of(self, modalities: Sequence[str]) -> "Encoders":
        """Return those of some modalities."""
        from climb_hf.processing import ClimbFusionProcessor

        parts = {_PART[name]: getattr(self.processor, _PART[name]) for name in modalities}
        processor = ClimbFusionProcessor(**parts, max_length=self.processor.max_length)
        return Encoders(
            {name: self.models[name] for name in modalities},
            processor,
            {name: self.names[name] for name in modalities},
        )


def build_encoders(
    settings: Mapping[str, Any],
    modalities: Sequence[str],
    checkpoints: Mapping[str, str | Path | None],
    texts: Sequence[str | None],
) -> Encoders:
    """Make the encoders of a recipe.

    Args:
        settings (`Mapping`): the recipe. `model.image_config`, `signal_config`, `text_config` hold the fields of a
            configuration, and where weights come from: `pretrained` (`true` for the published ones of a preset, a
            folder or Hub repository, `false` for random ones) and for pictures `preset`.
        modalities (`Sequence[str]`): which of them.
        checkpoints (`Mapping`): folder or Hub repository by modality, over those of the recipe.
        texts (`Sequence[str]`): training texts, on which the tokenizer of a text encoder with random weights is
            fitted.

    Returns:
        `Encoders`.

    Raises:
        AccessError: no checkpoint there.
        OptionError: an encoder without published weights that the recipe wants pretrained.
    """
    from climb_hf.processing import ClimbFusionProcessor

    models, parts, names = {}, {}, {}
    makers = {"image": _image, "signal": _signal, "text": _text}
    fields = dict(settings["processor"])
    for name in modalities:
        own = dict(settings["model"].get(f"{name}_config") or {})
        if checkpoints.get(name):
            own = {"pretrained": str(checkpoints[name])}
        options = {**fields, "texts": texts}
        models[name], parts[_PART[name]] = makers[name](dict(own), options)
        given = own.get("pretrained")
        names[name] = Path(given).name if isinstance(given, str) else "random" if not given else own["preset"]
    longest = int(fields.get("max_length", 512))
    if "text" in modalities:
        config = getattr(models["text"], "config", models["text"])
        longest = min(longest, getattr(config, "max_position_embeddings", None) or longest)
    return Encoders(models, ClimbFusionProcessor(**parts, max_length=longest), names)


def build_fusion(settings: Mapping[str, Any], encoders: Encoders, **fields: Any) -> Any:  # noqa: ANN401 - a model
    """Build the model of one run.

    Args:
        settings (`Mapping`): the recipe.
        encoders (`Encoders`): of the modalities that the run fuses.
        **fields: fields of `ClimbFusionConfig` over those of the recipe; with `regression_targets` the model predicts
            numbers.

    Returns:
        `ClimbFusionForClassification` or `ClimbFusionForRegression`, in evaluation mode.
    """
    from transformers import AutoModel, PreTrainedConfig

    from climb_hf.models import ClimbFusionForClassification, ClimbFusionForRegression

    aside = ("type", "checkpoint", *_PLACES, "modalities", *(f"{name}_config" for name in _PART))
    own = {key: value for key, value in settings["model"].items() if key not in aside}
    is_regression = bool(fields.get("regression_targets"))
    if not is_regression:
        own = {key: value for key, value in own.items() if not key.startswith("target_")}
    kind = ClimbFusionForRegression if is_regression else ClimbFusionForClassification
    models = {
        name: AutoModel.from_config(one) if isinstance(one, PreTrainedConfig) else one
        for name, one in encoders.models.items()
    }
    return kind.from_encoders(models, **{**own, **fields})


def _load(place: str) -> Any:  # noqa: ANN401 - an encoder
    from transformers import AutoModel

    try:
        return AutoModel.from_pretrained(place)
    except OSError as error:
        raise AccessError(
            f"expected an encoder in the folder or Hub repository `{place}`, but it cannot be loaded: {error}"
        ) from error


def _folder(place: str) -> str:
    """Return the folder of the checkpoint: a run of `climb train` or `climb pretrain` holds it one level down."""
    for inner in ("", "encoder", "model"):
        if (Path(place) / inner / "config.json").is_file():
            return str(Path(place) / inner)
    return place


def _processor_of(place: str, auto: Any, made: Any) -> Any:  # noqa: ANN401 - an Auto class, a processor
    """Return the processor beside a checkpoint, or one that is made where there is none."""
    try:
        return auto.from_pretrained(place)
    except (OSError, ValueError):
        return made()


def _image(own: dict[str, Any], options: Mapping[str, Any]) -> tuple[Any, Any]:
    from transformers import AutoImageProcessor

    from climb_hf.models import ClimbVisionConfig, ClimbVisionModel
    from climb_hf.processing import ClimbImageProcessor

    fields = dict(options.get("image_processor") or {})
    statistics_of = fields.pop("preset", None)
    preset, pretrained = own.pop("preset", None), own.pop("pretrained", False)
    if isinstance(pretrained, str) and preset is None:
        place = _folder(pretrained)
        model = _load(place)
        return model, _processor_of(
            place, AutoImageProcessor, lambda: ClimbImageProcessor(size=model.config.image_size)
        )
    own.pop("model_type", None)
    if preset is not None:
        processor = ClimbImageProcessor.from_preset(statistics_of or preset, **fields)
        if pretrained is False:
            return ClimbVisionConfig.preset(preset, **own), processor
        own.setdefault("image_size", processor.size["height"])
        return ClimbVisionModel.from_preset(preset, pretrained=pretrained, **own), processor
    if pretrained:
        raise OptionError("`model.image_config.pretrained` needs a `preset`, or name a checkpoint: `--image CKPT`.")
    config = ClimbVisionConfig(**own)
    return config, ClimbImageProcessor(**{"size": config.image_size, **fields})


def _signal(own: dict[str, Any], options: Mapping[str, Any]) -> tuple[Any, Any]:
    from transformers import CONFIG_MAPPING, AutoFeatureExtractor

    from climb_hf.models.catalogue import entry_of

    kind, pretrained = own.pop("model_type", "climb_ecg_jepa"), own.pop("pretrained", False)
    if pretrained is True:
        raise OptionError(
            "the recipe wants a pretrained encoder of signals, and none is published in our format. Convert one "
            "(`climb convert ecg_jepa FILE --to DIR`) or pretrain one (`climb pretrain`) and pass `--signal DIR`, or "
            "start from random weights: `--set model.signal_config.pretrained=false`."
        )
    place = _folder(pretrained) if pretrained else ""
    model = _load(place) if pretrained else CONFIG_MAPPING[kind](**own)
    config = getattr(model, "config", model)
    entry = entry_of(config.model_type)
    extractor = entry.load("processor")
    length = getattr(config, "signal_length", None)
    own_length = {} if length is None else {"length": length}
    if pretrained:  # what the recipe says of its own encoder is not meant for this one
        preset = entry.name if entry.name in extractor.presets else None
        made = lambda: extractor(**{**(extractor.presets[preset] if preset else {}), **own_length})  # noqa: E731
        return model, _processor_of(place, AutoFeatureExtractor, made)
    fields = {**own_length, **(options.get("feature_extractor") or {})}
    preset = fields.pop("preset", None)
    return model, extractor(**fields) if preset is None else extractor.preset(preset, **fields)


def _text(own: dict[str, Any], options: Mapping[str, Any]) -> tuple[Any, Any]:
    from transformers import CONFIG_MAPPING, AutoTokenizer

    from climb_hf.processing.text import fit_tokenizer

    pretrained = own.pop("pretrained", False)
    if pretrained:
        place = _folder(str(pretrained))
        return _load(place), AutoTokenizer.from_pretrained(place)
    kind, size = own.pop("model_type", "distilbert"), own.pop("vocab_size", 2000)
    tokenizer = fit_tokenizer(options["texts"], vocab_size=int(size))
    fitted: dict[str, Any] = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    return CONFIG_MAPPING[kind](**own, **fitted), tokenizer
