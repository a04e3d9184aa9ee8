"""Pretrained weights for a backbone: published ones, or a local file, checked to have really arrived."""

import copy
import logging
from pathlib import Path
from typing import Any

import timm
import torch
from transformers import PreTrainedConfig

from climb_hf.errors import AccessError, CorruptFileError, OptionError
from climb_hf.models.checkpoints import read_state_dict
from climb_hf.models.vision.backbones import Backbone, architecture, timm_arguments, transformers_arguments
from climb_hf.models.vision.configuration_vision import ClimbVisionConfig

__all__ = ["native_statistics", "published_file", "resolve_transformers_config", "with_weights"]

logger = logging.getLogger(__name__)

_PROBE_SEED = 7_919_104_729


def resolve_transformers_config(name: str) -> PreTrainedConfig:
    """Read the configuration of a Hub repository or folder; of an image-text model, that of its vision tower."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(name)
    return getattr(config, "vision_config", config)


def native_statistics(name: str) -> dict[str, Any]:
    """Return what the published weights of a timm backbone were trained with.

    Args:
        name (`str`): `timm/<architecture>[.<tag>]`.

    Returns:
        `dict`: `size` (side, or [height, width]) in pixels, `image_mean` and `image_std` per channel of [0, 1].

    Raises:
        OptionError: timm has no such architecture or tag.
    """
    try:
        facts = timm.get_pretrained_cfg(name.removeprefix("timm/"), allow_unregistered=True)
    except RuntimeError as error:
        raise OptionError(
            f"timm {timm.__version__} has no weights called {name!r}: {error} `timm.list_pretrained()` lists them all."
        ) from error
    if facts is None:
        raise OptionError(
            f"timm {timm.__version__} has no facts about {name!r}. `timm.list_models()` lists the architectures."
        )
    height, width = facts.input_size[-2:]
    return {
        "size": height if height == width else [height, width],
        "image_mean": list(facts.mean),
        "image_std": list(facts.std),
    }


def with_weights(config: ClimbVisionConfig, weights: bool | str | Path, name: str) -> Backbone:
    """Build the backbone of a configuration with pretrained weights in it.

    Args:
        config (`ClimbVisionConfig`): the configuration.
        weights (`bool`, `str` or `Path`): `True` for the published weights of `name`; a path to a local file (timm) or
            folder (transformers) otherwise.
        name (`str`): what the user called the backbone: `timm/<architecture>.<tag>` or a Hub repository or folder.

    Returns:
        the backbone on the CPU.

    Raises:
        AccessError: published weights cannot be fetched and are not in the cache.
        CorruptFileError: the file holds no state dictionary, or one of another architecture.
    """
    if weights is not True:
        return _loaded(config, weights, name)
    try:
        return _loaded(config, weights, name)
    except OSError as error:
        raise _out_of_reach(name, error) from error


def published_file(kind: str, repository: str, name: str) -> Path:
    """Return a file of the Hub, fetched if the cache does not have it.

    Args:
        kind (`str`): `"model"` or `"dataset"`.
        repository (`str`): such as `"axiong/pmc_oa"`.
        name (`str`): the file's name there.

    Returns:
        `Path`: in the cache of `huggingface_hub`.

    Raises:
        AccessError: the file cannot be fetched and is not in the cache.
    """
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repository, name, repo_type=kind))
    except OSError as error:
        raise _out_of_reach(f"{repository}:{name}", error) from error


def _out_of_reach(name: str, error: OSError) -> AccessError:
    return AccessError(
        f"the published weights of `{name}` are not in the cache and cannot be fetched ({type(error).__name__}). "
        "Check the connection and `HF_HUB_OFFLINE`, pass the path of a local file as `pretrained`, or start from "
        "random weights with `pretrained=False` (recipes: `--set model.pretrained=false`)."
    )


def _loaded(config: ClimbVisionConfig, weights: bool | str | Path, name: str) -> Backbone:
    if config.timm_name is None:
        from transformers import AutoModel

        place = name if weights is True else str(weights)
        inner = copy.deepcopy(config.backbone_config)  # loading writes the checkpoint's dtype into it
        return AutoModel.from_pretrained(place, config=inner, **transformers_arguments(inner, config.backbone_pooling))
    return _timm_with_weights(config, None if weights is True else Path(str(weights)))


def _timm_with_weights(config: ClimbVisionConfig, path: Path | None) -> Backbone:
    """Let timm load and adapt the weights, then see what they did not reach.

    timm loads without complaint a file that fits nowhere, as soon as its own head is left out. The same seed twice
    tells: a randomly initialised matrix that is the same with and without the weights was not in the file.
    """
    arguments = timm_arguments(config)
    overlay = None if path is None else {"state_dict": read_state_dict(path)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_PROBE_SEED)
        fresh = timm.create_model(architecture(config), pretrained=False, **arguments)
        torch.manual_seed(_PROBE_SEED)
        try:
            backbone = timm.create_model(
                str(config.timm_name), pretrained=True, pretrained_cfg_overlay=overlay, **arguments
            )
        except RuntimeError as error:
            raise CorruptFileError(
                f"the weights `{path or config.timm_name}` do not fit the backbone {config.backbone!r}: {error} "
                "Check the architecture and its tag (`timm.list_pretrained()`)."
            ) from error
    before = dict(fresh.named_parameters())
    untouched = [
        name
        for name, value in backbone.named_parameters()
        if value.ndim > 1 and value.unique().numel() > 1 and torch.equal(value, before[name])
    ]
    if untouched and path is not None:
        raise CorruptFileError(
            f"`{path}` does not fit the backbone {config.backbone!r}: it has no weights for {len(untouched)} of its "
            f"tensors ({', '.join(untouched[:4])}, …). Check the architecture, or strip a prefix from the names."
        )
    if untouched:
        logger.warning("the published weights of `%s` leave these tensors at random: %s", config.backbone, untouched)
    return backbone
