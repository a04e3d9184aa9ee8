"""`climb convert`: a published checkpoint in the layout of its authors becomes a checkpoint of ours."""

import importlib
from collections.abc import Sequence
from pathlib import Path

import yaml

from climb_hf.errors import OptionError
from climb_hf.models.catalogue import MODELS

__all__ = ["convert"]

#: Models of transformers whose published checkpoints are of another layout: modules with `convert_folder`.
_OF_TRANSFORMERS = {"llava_med": "climb_hf.models.llava_med.convert_llava_med"}


def convert(name: str, file: str | Path, to: str | Path, overrides: Sequence[str] = ()) -> Path:
    """Convert a checkpoint and save it with the processor of its model and a card.

    Args:
        name (`str`): folder of the encoder under `climb_hf/models`, such as `"ecg_jepa"`; or `"llava_med"`.
        file (`str` or `Path`): the published file, for `"llava_med"` the folder; nothing in it is run.
        to (`str` or `Path`): folder for the result.
        overrides (`Sequence[str]`, *optional*): `key=value` fields of the configuration that shapes do not tell.

    Returns:
        `Path`: the folder.

    Raises:
        OptionError: no such encoder, or an override that is none.
        CorruptFileError: the file is damaged, would run code, or does not fit the architecture.
    """
    from climb_hf.hub import save_checkpoint

    entries = {entry.name: entry for entry in MODELS if entry.is_convertible}
    if name not in entries and name not in _OF_TRANSFORMERS:
        known = ", ".join(sorted([*entries, *_OF_TRANSFORMERS]))
        raise OptionError(f"there is no encoder {name!r} with checkpoints to convert; ours are {known}.")
    fields = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key:
            raise OptionError(f"an override must be `key=value`, found {override!r}.")
        fields[key] = yaml.safe_load(value)
    if name in _OF_TRANSFORMERS:
        return importlib.import_module(_OF_TRANSFORMERS[name]).convert_folder(file, to, **fields)
    module = importlib.import_module(f"climb_hf.models.{name}.convert_{name}")
    model = module.convert_checkpoint(file, **fields)
    kind = entries[name].load("processor")
    presets = getattr(kind, "presets", {})
    if entries[name].inputs == "image":
        processor = kind(size=model.config.image_size)
    else:
        processor = kind.preset(name) if name in presets else kind()
    return save_checkpoint(to, model, processor, training={"base_model": f"{name}:{Path(file).name}"})
