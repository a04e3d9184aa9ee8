"""Recipes of vision-language models: which keys their sections know, and what they mean."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from climb_hf.errors import OptionError

__all__ = ["TARGETS", "VLM_TYPE", "LoraSettings", "known_keys"]

#: `model.type` of a recipe that fine-tunes an image-text-to-text model of transformers.
VLM_TYPE = "image_text_to_text"
#: The projections of a language model's layers, as most of them are called.
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_DATA = ("options", "train_split", "eval_split", "num_proc")


@dataclasses.dataclass(frozen=True)
class LoraSettings:
    """Section `model` of a recipe.

    Args:
        type (`str`, *optional*, defaults to `"image_text_to_text"`): the kind of recipe.
        rank (`int`, *optional*, defaults to `128`): rank of the adapters.
        alpha (`int`, *optional*, defaults to `256`): their scale is `alpha / rank`.
        dropout (`float`, *optional*, defaults to `0.05`): dropout before them.
        targets (`tuple[str, ...]`, *optional*): linear layers of the language model that get adapters, by the last
            part of their names.
        projector (`str`, *optional*, defaults to `"auto"`): module between vision and language that is trained as a
            whole; `"auto"` finds it, `"none"` leaves it frozen. The vision part is always frozen.
        projector_learning_rate (`float`, *optional*): of the projector; that of the adapters where absent.
        quantize (`str`, *optional*): `"4bit"` for QLoRA (a GPU and `bitsandbytes` are needed), absent for none.
        dtype (`str`, *optional*, defaults to `"auto"`): type of the frozen weights.
    """

    type: str = VLM_TYPE
    rank: int = 128
    alpha: int = 256
    dropout: float = 0.05
    targets: tuple[str, ...] = TARGETS
    projector: str = "auto"
    projector_learning_rate: float | None = None
    quantize: str | None = None
    dtype: str = "auto"

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> "LoraSettings":
        """Check the section of a recipe.

        Args:
            section (`Mapping`): `model` of the recipe.

        Returns:
            `LoraSettings`.

        Raises:
            OptionError: a value that is not allowed.
        """
        settings = cls(**{**section, "targets": tuple(section.get("targets", TARGETS))})
        if settings.rank < 1 or settings.alpha <= 0 or not 0 <= settings.dropout < 1 or not settings.targets:
            raise OptionError(
                "section `model`: `rank` must be at least 1, `alpha` above 0, `dropout` in [0, 1) and `targets` not "
                f"empty, got {settings.rank}, {settings.alpha}, {settings.dropout} and {list(settings.targets)}."
            )
        if settings.quantize not in (None, "4bit"):
            raise OptionError(f"section `model`: `quantize` must be `4bit` or absent, got {settings.quantize!r}.")
        return settings


def known_keys() -> dict[str, tuple[str, ...]]:
    """Return the keys that each section of such a recipe may have."""
    from transformers import TrainingArguments

    training = {field.name for field in dataclasses.fields(TrainingArguments) if field.init} - {"output_dir"}
    return {
        "model": tuple(field.name for field in dataclasses.fields(LoraSettings)),
        "processor": (),
        "data": _DATA,
        "training": tuple(training),
    }
