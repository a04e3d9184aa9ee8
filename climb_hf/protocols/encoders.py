"""Frozen encoders of checkpoints: one vector per record, whatever they read, loaded with nothing missing or left over.

A published evaluation wrapped the loading of its checkpoint in a catch-all, so that a tower whose names did not match
kept its initial weights without a word. Here a tensor that is missing or left over is an error.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from climb_hf.errors import AccessError, CorruptFileError, OptionError
from climb_hf.hub.training_file import read_training
from climb_hf.models.catalogue import entry_of

__all__ = ["Encoder", "as_encoder", "checkpoint_facts", "load_encoder", "load_exactly_from", "locate"]

#: Image-text models of transformers whose projected image tower is an encoder.
_DUAL = ("vision-text-dual-encoder", "clip", "siglip", "siglip2")
_NAMED = 5  # names that a message lists


@dataclass
class Encoder:
    """A frozen encoder with the processor that belongs to it.

    Args:
        model: the encoder, in evaluation mode.
        processor: what turns rows into its input.
        name (`str`): what results call it.
        output (`str`): `"pooled"` (the encoder's `pooler_output`), `"projected"` (the image embedding of a dual
            encoder) or `"nodes"` (a vector per node of a graph).
        facts (`dict`): facts of its training, empty where none were saved.
    """

    model: Any
    processor: Any
    name: str
    output: str = "pooled"
    facts: Mapping[str, Any] = field(default_factory=dict)

    @torch.inference_mode()
    def __call__(self, inputs: Mapping[str, Any]) -> Tensor:
        """Encode one batch.

        Args:
            inputs (`Mapping`): what a `RowBatcher` returned.

        Returns:
            `Tensor`: (rows, width) in the model's precision; rows are nodes where `output` is `"nodes"`.
        """
        device = next(self.model.parameters()).device
        moved = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in inputs.items()}
        if self.output == "projected":
            found = _image_features(self.model, moved)
        else:
            outputs = self.model(**moved)
            found = outputs.last_hidden_state if self.output == "nodes" else outputs.pooler_output
        if not isinstance(found, Tensor) or found.ndim != 2:
            raise OptionError(
                f"`{self.name}` gives no pooled vector per record (found {getattr(found, 'shape', None)}); use a "
                "model whose output has `pooler_output` (batch, width)."
            )
        return found

    @property
    def state(self) -> dict[str, Tensor]:
        """The tensors that its output depends on, by name; text towers and heads are no part of it."""
        state = self.model.state_dict()
        if self.output != "projected":
            return state
        return {key: value for key, value in state.items() if key.startswith(("vision_model.", "visual_projection."))}


def _image_features(model: Any, inputs: Mapping[str, Any]) -> Tensor:  # noqa: ANN401 - any dual encoder
    if "frame_mask" not in inputs:
        return _tensor_of(model.get_image_features(pixel_values=inputs["pixel_values"]))
    pixels, mask = inputs["pixel_values"], inputs["frame_mask"]
    frames = _tensor_of(model.get_image_features(pixel_values=pixels[mask]))  # (n, D) of all valid frames
    sums = frames.new_zeros(len(mask), frames.shape[1])
    sums.index_add_(0, torch.arange(len(mask), device=mask.device).repeat_interleave(mask.sum(1)), frames)
    return sums / mask.sum(1, keepdim=True)  # (B, D): mean over the frames


def _tensor_of(found: Any) -> Tensor:  # noqa: ANN401 - a tensor, or an output object from transformers 5 on
    return found if isinstance(found, Tensor) else found.pooler_output


def locate(checkpoint: str | Path) -> Path:
    """Return the folder that holds the checkpoint's files, where it is one on this machine.

    Args:
        checkpoint (`str` or `Path`): folder of a run, of a checkpoint or of an encoder, or a Hub repository.

    Returns:
        `Path`: with `config.json`, or the name of the repository as it came.

    Raises:
        AccessError: the folder exists, but holds no checkpoint.
    """
    folder = Path(checkpoint)
    for place in (folder, folder / "model"):
        if (place / "config.json").is_file():
            return place
    if folder.exists():
        raise AccessError(
            f"`{folder}` holds no checkpoint: `config.json` is absent. Pass what `climb train --to DIR` was given."
        )
    return folder


def checkpoint_facts(checkpoint: str | Path) -> dict[str, Any]:
    """Return what a checkpoint says about its training; empty where it says nothing.

    Args:
        checkpoint (`str` or `Path`): folder of a run or of a checkpoint.

    Returns:
        `dict`: `sources`, `recipe_settings`, `recipe_hash`, `synthetic` and so on; see `training.json`.
    """
    return read_training(locate(checkpoint))


def load_encoder(checkpoint: str | Path) -> Encoder:
    """Load the encoder of a checkpoint: a classifier or base model of ours, or the image tower of a dual encoder.

    Args:
        checkpoint (`str` or `Path`): folder of a run or of a checkpoint, or a Hub repository.

    Returns:
        `Encoder`: in evaluation mode.

    Raises:
        AccessError: no checkpoint is there.
        CorruptFileError: weights are missing, left over or of another shape; they are named.
        OptionError: a model that is none of ours and no dual encoder.
    """
    from transformers import AutoConfig, AutoFeatureExtractor, AutoImageProcessor, AutoModel

    place = locate(checkpoint)
    try:
        config = AutoConfig.from_pretrained(str(place))
        if config.model_type in _DUAL:
            model = load_exactly_from(AutoModel, place)
            return Encoder(model, AutoImageProcessor.from_pretrained(str(place)), Path(checkpoint).name, "projected",
                           checkpoint_facts(checkpoint))  # fmt: skip
        entry = entry_of(config.model_type)
        named = (config.architectures or [f"{entry.stem}ForClassification"])[0]
        kind = entry.load("Model") if named == f"{entry.stem}Model" else entry.load("ForClassification")
        if named.endswith("ForPretraining"):
            kind = entry.load_pretraining()
        model = load_exactly_from(kind, place)
        auto: Any = AutoImageProcessor if entry.inputs == "image" else AutoFeatureExtractor
        processor = auto.from_pretrained(str(place))
    except OSError as error:
        if isinstance(error, AccessError):
            raise
        raise AccessError(
            f"expected a checkpoint in the folder or Hub repository `{place}`, but it cannot be loaded: {error} "
            "Pass what `climb train --to DIR` was given, or USER/NAME of a repository."
        ) from error
    return as_encoder(model, processor, name=Path(checkpoint).name, facts=checkpoint_facts(checkpoint))


def as_encoder(
    model: Any,  # noqa: ANN401 - any model
    processor: Any,  # noqa: ANN401 - any processor
    *,
    name: str = "model",
    facts: Mapping[str, Any] | None = None,
) -> Encoder:
    """Make an encoder of a model in memory: its base model without the head, or a dual encoder's image tower.

    Args:
        model: a classifier or base model of ours, or a dual encoder of transformers.
        processor: the processor that belongs to it.
        name (`str`, *optional*, defaults to `"model"`): what results call it.
        facts (`Mapping`, *optional*): facts of its training.

    Returns:
        `Encoder`: sharing the model's weights; the model is put into evaluation mode.

    Example:
        >>> from climb_hf.models import ClimbVisionConfig, ClimbVisionForClassification
        >>> from climb_hf.processing import ClimbImageProcessor
        >>> config = ClimbVisionConfig(backbone="timm/test_vit", image_size=32, vocabulary=["nevus", "melanoma"])
        >>> encoder = as_encoder(ClimbVisionForClassification(config), ClimbImageProcessor(size=32))
        >>> encoder({"pixel_values": torch.zeros(2, 3, 32, 32)}).shape
        torch.Size([2, 64])
    """
    if hasattr(model, "get_image_features"):
        return Encoder(model.eval(), processor, name, "projected", facts or {})
    base = model.base_model
    has_nodes = getattr(model.config, "level", "graph") == "node"
    return Encoder(base.eval(), processor, name, "nodes" if has_nodes else "pooled", facts or {})


def load_exactly_from(kind: Any, place: str | Path, fresh: tuple[str, ...] = (), **fields: Any) -> Any:  # noqa: ANN401
    """Load a model with `from_pretrained`, and refuse weights that are missing, left over or of another shape.

    Args:
        kind: the class, or an Auto class.
        place (`str` or `Path`): folder or repository.
        fresh (`tuple[str, ...]`, *optional*): beginnings of names that may be missing: a new head.
        **fields: fields of the configuration that take precedence.

    Returns:
        The model in evaluation mode.

    Raises:
        CorruptFileError: naming what does not fit.
    """
    model, info = kind.from_pretrained(str(place), output_loading_info=True, **fields)
    missing = [name for name in info["missing_keys"] if not (fresh and name.startswith(fresh))]
    kinds = {
        "missing": sorted(missing),
        "left over": sorted(info["unexpected_keys"]),
        "of another shape": sorted(str(item) for item in info.get("mismatched_keys") or ()),
    }
    if any(kinds.values()):
        found = "; ".join(
            f"{len(names)} {what} ({', '.join(names[:_NAMED])}{', …' if len(names) > _NAMED else ''})"
            for what, names in kinds.items()
            if names
        )
        raise CorruptFileError(
            f"the weights in `{place}` do not fit `{type(model).__name__}`: {found}. Nothing is measured on a model "
            "that is partly random: save it again with `save_pretrained`, or convert it with `climb convert`."
        )
    return model.eval()
