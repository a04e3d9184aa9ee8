"""Dual encoders of images and texts: transformers' `VisionTextDualEncoderModel` around any two towers.

A tower is described by a dictionary, as the recipes of `climb train` hold it: `preset` or `type` (a `model_type` of
transformers, `climb_vision` included), fields of its configuration, and `pretrained`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from climb_hf.errors import OptionError

__all__ = ["DUAL_ENCODER", "TOWER_PRESETS", "base_models", "build_dual_encoder", "tower_fields"]

#: `model_type` of the model.
DUAL_ENCODER = "vision-text-dual-encoder"

_BERT = {"type": "bert", "hidden_act": "gelu", "max_position_embeddings": 512}

#: Towers by kind and name: `type`, and fields of the configuration.
TOWER_PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "image": {
        # The class token after the last norm, without a pooler, as open_clip takes it from timm.
        "vit_base_patch16_224": {
            "type": "climb_vision",
            "backbone": "timm/vit_base_patch16_224.augreg2_in21k_ft_in1k",
            "image_size": 224,
        },
        "vit_tiny_test": {"type": "climb_vision", "backbone": "timm/test_vit", "image_size": 64},
    },
    "text": {
        # The shape of PubMedBERT (`microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract`).
        # Open-PMC-18M ends its text tower with a class token, Linear 768→640, GELU, Linear 640→512, both without bias.
        # The transformers class has one linear projection behind BERT's pooler, so ours ends with the class token,
        # Linear 768→768 with bias, tanh, Linear 768→512: a head of the same depth, other width and activation. It is
        # kept so that a checkpoint loads with plain `VisionTextDualEncoderModel.from_pretrained`.
        "bert_base": {
            **_BERT,
            "vocab_size": 30522,
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "intermediate_size": 3072,
        },
        "bert_tiny": {
            **_BERT,
            "vocab_size": 2000,
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 128,
        },
    },
}

#: Keys of a tower besides the fields of its configuration.
_TOWER = ("preset", "type", "pretrained")


def tower_fields(kind: str, tower: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the `model_type` of a tower and the fields of its configuration, the preset's included.

    Args:
        kind (`str`): `"image"` or `"text"`.
        tower (`Mapping`): as in a recipe; `pretrained` plays no part.

    Returns:
        `tuple[str, dict]`

    Raises:
        OptionError: no such preset or type, or a key that the configuration does not have.

    Example:
        >>> tower_fields("text", {"type": "bert", "hidden_size": 32})
        ('bert', {'hidden_size': 32})
    """
    from transformers import CONFIG_MAPPING

    from climb_hf.training.recipes import refuse_unknown

    preset = tower.get("preset")
    if preset is not None and preset not in TOWER_PRESETS[kind]:
        raise OptionError(
            f"`model.{kind}.preset` must be one of {', '.join(TOWER_PRESETS[kind])}, found {preset!r}. Any other "
            "architecture is given by its `type` and the fields of its configuration."
        )
    fields = {**TOWER_PRESETS[kind].get(preset or "", {}), **{key: tower[key] for key in tower if key != "preset"}}
    fields.pop("pretrained", None)
    model_type = fields.pop("type", None)
    if model_type is None and isinstance(tower.get("pretrained"), str):
        return "", fields  # what the checkpoint says
    if model_type not in CONFIG_MAPPING:
        raise OptionError(
            f"`model.{kind}` must have a `preset` ({', '.join(TOWER_PRESETS[kind])}), a `type` that transformers "
            f"knows, or `pretrained` with a folder or Hub repository, found {dict(tower)!r}."
        )
    known = {field.name for field in dataclasses.fields(CONFIG_MAPPING[model_type])}
    refuse_unknown(fields, known | set(_TOWER), f"`model.{kind}` (type `{model_type}`)")
    return model_type, fields


def build_dual_encoder(
    image: Mapping[str, Any],
    text: Mapping[str, Any],
    *,
    projection_dim: int = 512,
    logit_scale_init_value: float | None = None,
    **text_fields: Any,  # noqa: ANN401 - fields of the text tower's configuration
) -> Any:  # noqa: ANN401 - a VisionTextDualEncoderModel
    """Build a dual encoder from the description of its towers.

    Args:
        image (`Mapping`): the image tower. `pretrained` is `false` for random weights, `true` for the published ones
            of a `climb_vision` backbone, or a folder or Hub repository.
        text (`Mapping`): the text tower, likewise, without `true`.
        projection_dim (`int`, *optional*, defaults to `512`): width of the shared space.
        logit_scale_init_value (`float`, *optional*): logarithm of the scale; log(1 / 0.07) by default.
        **text_fields: fields of the text tower that take precedence, such as `vocab_size` of a tokenizer just trained.

    Returns:
        `VisionTextDualEncoderModel` in evaluation mode, its projections freshly initialised.

    Raises:
        OptionError: a description that does not fit.

    Example:
        >>> model = build_dual_encoder({"preset": "vit_tiny_test"}, {"preset": "bert_tiny"}, projection_dim=16)
        >>> model.config.vision_config.model_type, model.visual_projection.weight.shape
        ('climb_vision', torch.Size([16, 64]))
    """
    from transformers import VisionTextDualEncoderConfig, VisionTextDualEncoderModel

    from climb_hf.training.contrastive import DEFAULT_LOGIT_SCALE

    towers = _tower("image", image), _tower("text", text, **text_fields)
    scale = DEFAULT_LOGIT_SCALE if logit_scale_init_value is None else float(logit_scale_init_value)
    config = VisionTextDualEncoderConfig.from_vision_text_configs(
        towers[0].config, towers[1].config, projection_dim=projection_dim, logit_scale_init_value=scale
    )
    model = VisionTextDualEncoderModel(config)
    # Put in after construction, so that nothing initialises over pretrained weights.
    model.vision_model.load_state_dict(towers[0].state_dict())
    model.text_model.load_state_dict(towers[1].state_dict())
    return model.eval()


def _tower(kind: str, tower: Mapping[str, Any], **more: Any) -> Any:  # noqa: ANN401 - fields; a model
    from transformers import CONFIG_MAPPING, AutoModel

    model_type, fields = tower_fields(kind, {**tower, **more})
    pretrained = tower.get("pretrained", False)
    if isinstance(pretrained, str):
        # A published checkpoint brings its architecture; fields named beside it go over it.
        own = {key: value for key, value in tower.items() if key not in _TOWER}
        model = AutoModel.from_pretrained(pretrained, **own)
    elif pretrained is True:
        if model_type != "climb_vision":
            raise OptionError(
                f"`model.{kind}.pretrained` is true, which only towers of the type `climb_vision` have published "
                "weights for; name a folder or Hub repository."
            )
        from climb_hf.models import ClimbVisionModel

        model = ClimbVisionModel.from_backbone(fields.pop("backbone"), pretrained=True, **fields)
    elif pretrained is False or pretrained is None:
        model = AutoModel.from_config(CONFIG_MAPPING[model_type](**fields))
    else:
        raise OptionError(f"`model.{kind}.pretrained` must be true, false or a name, found {pretrained!r}.")
    if not hasattr(model.config, "hidden_size"):  # the projection's width; our own encoders know it by their backbone
        model.config.hidden_size = model.hidden_size
    return model


def base_models(image: Mapping[str, Any], text: Mapping[str, Any]) -> list[str]:
    """Return the published weights that a dual encoder starts from.

    Args:
        image (`Mapping`): the image tower.
        text (`Mapping`): the text tower.

    Returns:
        `list[str]`: names; empty for random weights.

    Example:
        >>> base_models({"preset": "vit_base_patch16_224", "pretrained": True}, {"preset": "bert_base"})
        ['timm/vit_base_patch16_224.augreg2_in21k_ft_in1k']
    """
    found = []
    for kind, tower in (("image", image), ("text", text)):
        pretrained = tower.get("pretrained")
        if isinstance(pretrained, str):
            found.append(pretrained)
        elif pretrained:
            found.append(str(tower_fields(kind, tower)[1].get("backbone")))
    return found
