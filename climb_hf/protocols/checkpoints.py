"""Models of recipes and checkpoints, with the processor that belongs to each, whatever they read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from climb_hf.errors import AccessError, OptionError
from climb_hf.models.catalogue import ModelEntry, entry_of
from climb_hf.registry import get_source

__all__ = [
    "architecture_name",
    "architecture_of",
    "build_model",
    "build_processor",
    "check_classes",
    "check_inputs",
    "load_checkpoint",
]

#: Families of sources by what a model reads.
_FAMILIES = {
    "image": ("image", "frames"),
    "ecg": ("signal",),
    "eeg": ("signal",),
    "graph": ("graph",),
    "multimodal": ("multimodal", "text-image", "image", "frames", "signal"),
}


def check_classes(names: Sequence[str]) -> None:
    """Check that some sources have classes to learn, before any of them is built.

    Args:
        names (`Sequence[str]`): sources.

    Raises:
        OptionError: a source without classes.
    """
    for name in names:
        if not get_source(name).concepts:
            raise OptionError(f"`{name}` has no classes, so no classifier can learn from it; choose another source.")


def check_inputs(entry: ModelEntry, processor: Any, names: Sequence[str]) -> None:  # noqa: ANN401 - any processor
    """Check that a model can read some sources, before any of them is built.

    Args:
        entry (`ModelEntry`): the model.
        processor: its processor.
        names (`Sequence[str]`): sources.

    Raises:
        OptionError: a source of another family, or a signal with other channels.
    """
    families = _FAMILIES[entry.inputs]
    for name in names:
        source = get_source(name)
        if source.family not in families:
            raise OptionError(
                f"{name}: `{entry.stem}` reads {' or '.join(f'`{family}`' for family in families)}, but the source is "
                f"of the family `{source.family}`. `climb sources --family {families[0]}` lists what fits."
            )
        expected = getattr(processor, "input_channels", None)
        if expected is None:
            continue
        same = [processor.canonical(channel) for channel in source.channels] == [
            processor.canonical(channel) for channel in expected
        ]
        if not same:
            raise OptionError(
                f"{name}: its channels are {', '.join(source.channels)}, but `{type(processor).__name__}` expects "
                f"{', '.join(expected)}. Choose a model of this modality ({source.modality})."
            )


def build_model(settings: Mapping[str, Any], classes: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any classifier
    """Build the classifier of a recipe.

    Args:
        settings (`Mapping`): the recipe; `model.type` names the architecture, `model.pretrained` where its weights
            come from: `true` for a backbone's published ones (vision), or a folder or Hub repository of an encoder.
        classes (`Mapping`): `vocabulary`, `source_classes`, `source_multi_label`.

    Returns:
        The model in evaluation mode.

    Raises:
        OptionError: weights that the model cannot start from.
    """
    fields = {**settings["model"], **classes}
    entry = entry_of(fields.pop("type"))
    if entry.inputs == "multimodal":
        raise OptionError(f"`{entry.stem}` is put together from encoders; train it with `climb fuse`.")
    kind = entry.load("ForClassification")
    pretrained, preset = fields.pop("pretrained", False), fields.pop("preset", None)
    if preset is not None and entry.name == "vision":
        return kind.from_preset(preset, pretrained=pretrained, **fields).eval()
    if preset is not None:
        fields = {**_fields_of(entry.load("Config").preset(preset)), **fields}
    if not pretrained:
        return kind(entry.load("Config")(**fields)).eval()
    if entry.name == "vision":
        return kind.from_backbone(fields.pop("backbone"), pretrained=pretrained, **fields)
    if pretrained is True:
        raise OptionError(
            f"`model.pretrained` must name a folder or Hub repository of a `{entry.stem}` encoder, but is true. "
            f"Convert a published checkpoint first: `climb convert {entry.name} FILE --to DIR`."
        )
    return kind.from_pretrained(str(pretrained), **fields).eval()


def _fields_of(config: Any) -> dict[str, Any]:  # noqa: ANN401 - any configuration
    """Return the fields in which a configuration differs from its class's defaults."""
    default = type(config)().to_dict()
    return {name: value for name, value in config.to_dict().items() if default.get(name) != value}


def build_processor(settings: Mapping[str, Any], model: Any) -> Any:  # noqa: ANN401 - any model and processor
    """Build the processor of a recipe; its `preset` is taken first, then its other fields.

    Args:
        settings (`Mapping`): the recipe.
        model: the model that it belongs to.

    Returns:
        The processor.
    """
    entry = entry_of(model.config.model_type)
    kind, fields = entry.load("processor"), dict(settings["processor"])
    preset = fields.pop("preset", None)
    if entry.inputs == "image":
        fields = {"size": model.config.image_size, **fields}
        return kind(**fields) if preset is None else kind.from_preset(preset, **fields)
    return kind(**fields) if preset is None else kind.preset(preset, **fields)


def load_checkpoint(checkpoint: str | Path) -> tuple[Any, Any, Path]:
    """Load a classifier of ours and its processor.

    Args:
        checkpoint (`str` or `Path`): folder of a run or of a checkpoint, or a Hub repository.

    Returns:
        The model, its processor, and the folder or repository they came from.

    Raises:
        AccessError: no checkpoint is there.
    """
    from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoProcessor

    from climb_hf.models.auto import AutoModelForClimbClassification

    folder = Path(checkpoint)
    if not (folder / "config.json").is_file() and (folder / "model" / "config.json").is_file():
        folder = folder / "model"  # the folder that `climb train` was given
    if folder.exists() and not (folder / "config.json").is_file():
        raise AccessError(
            f"`{folder}` holds no checkpoint: `config.json` is absent. Pass what `climb train --to DIR` was given."
        )
    place = str(folder) if folder.exists() else str(checkpoint)
    try:
        model = AutoModelForClimbClassification.from_pretrained(place)
        inputs = entry_of(model.config.model_type).inputs
        autos: dict[str, Any] = {"image": AutoImageProcessor, "multimodal": AutoProcessor}
        auto = autos.get(inputs, AutoFeatureExtractor)
        return model, auto.from_pretrained(place), folder
    except OSError as error:
        raise AccessError(
            f"expected a checkpoint in the folder or Hub repository `{place}`, but it cannot be loaded: {error} "
            "Pass what `climb train --to DIR` was given, or USER/NAME of a repository."
        ) from error


def architecture_name(config: Any) -> str:  # noqa: ANN401 - any configuration of ours
    """Name an architecture as results and reports do.

    Args:
        config: configuration of a model of ours.

    Returns:
        `str`: a preset of the vision models or their backbone, else the model of `docs/models.md`, a graph model with
        its convolution.

    Example:
        >>> from climb_hf.models import BiotConfig
        >>> architecture_name(BiotConfig())
        'biot'
    """
    name = entry_of(config.model_type).name
    if name == "vision":
        from climb_hf.models.vision.presets import VISION_PRESETS

        fitting = (p for p in VISION_PRESETS.values() if p.config.get("backbone", p.weights) == config.backbone)
        return next((preset.name for preset in fitting), config.backbone)
    return f"graph_{config.convolution}" if name == "graph" else name


def architecture_of(model: Any, facts: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - any classifier
    """Name what was scored, for `settings` of the results and the tables of the reports.

    Args:
        model: the classifier.
        facts (`Mapping`): facts of its training, with `sources` where they are known.

    Returns:
        `dict`: `architecture` (see `architecture_name`) and `training`: `"multitask"` or `"single-task"`, where it is
        known.
    """
    n_sources = len(facts.get("sources") or ())
    training = {"training": "multitask" if n_sources > 1 else "single-task"} if n_sources else {}
    return {"architecture": architecture_name(model.config), **training}
