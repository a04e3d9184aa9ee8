"""What a training run says about itself, for the card of its model."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from climb_hf.errors import OptionError
from climb_hf.hub.licence import Terms, terms_of
from climb_hf.provenance import provenance

if TYPE_CHECKING:
    from climb_hf.models.vision.presets import VisionPreset

__all__ = ["TrainingFacts", "base_model_license"]


@dataclass(frozen=True, kw_only=True)
class TrainingFacts:
    """Facts of a training run that a checkpoint does not hold itself.

    Args:
        sources (`tuple[str, ...]`, *optional*): sources trained on. Defaults to those of the model's configuration.
        pretrained_on (`tuple[str, ...]`, *optional*): sources that the base model was trained on before; their terms
            count like those of `sources`.
        base_model (`str`, *optional*): the pretrained model it started from: `"timm/<architecture>.<tag>"`, or a Hub
            repository.
        base_model_license (`str`, *optional*): its licence; known without saying for `timm/` weights.
        further_base_models (`tuple[str, ...]`, *optional*): other pretrained models that parts of it started from; the
            licence of one that is not in timm's table counts as unknown.
        recipe (`str`, *optional*): name of the recipe.
        seed (`int`, *optional*): seed of the training.
        n_examples (`dict[str, int]`, *optional*): training examples by source.
        data_fingerprints (`dict[str, str]`, *optional*): fingerprint of the training data by source.
        options (`dict[str, dict]`, *optional*): options of the data by source: `{"ptbxl": {"split_by": "paper"}}`.
        synthetic (`bool`, *optional*, defaults to `False`): whether the data was synthetic (miniatures).
        date (`str`, *optional*): ISO-8601 date of the training.
        versions (`dict[str, str]`, *optional*): see `climb_hf.results.provenance`. Defaults to those installed.
    """

    sources: tuple[str, ...] | None = None
    pretrained_on: tuple[str, ...] = ()
    base_model: str | None = None
    base_model_license: str | None = None
    further_base_models: tuple[str, ...] = ()
    recipe: str | None = None
    seed: int | None = None
    n_examples: Mapping[str, int] = field(default_factory=dict)
    data_fingerprints: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    synthetic: bool = False
    date: str | None = None
    versions: Mapping[str, str] = field(default_factory=provenance)

    @classmethod
    def of(cls, value: "TrainingFacts | Mapping[str, Any] | None") -> "TrainingFacts":
        """Make facts of a dictionary, or of nothing.

        Args:
            value (`TrainingFacts` or `dict`, *optional*): the facts.

        Returns:
            `TrainingFacts`.

        Raises:
            OptionError: a key that is no fact.
        """
        if isinstance(value, TrainingFacts):
            return value
        content: dict[str, Any] = dict(value or {})
        known = [item.name for item in dataclasses.fields(cls)]
        if unknown := sorted(set(content) - set(known)):
            raise OptionError(f"`training` has unknown facts {unknown}; known are {', '.join(known)}.")
        for name in ("sources", "pretrained_on", "further_base_models"):
            if isinstance(content.get(name), str):
                raise OptionError(
                    f"`{name}` of `training` must be a list of names, found the string {content[name]!r}."
                )
            if content.get(name) is not None:
                content[name] = tuple(content[name])
        return cls(**content)

    def with_recipe(self, recipe: Any) -> "TrainingFacts":  # noqa: ANN401 - nested plain values, or a dataclass
        """Return the facts with the base model that a recipe names, where they name none themselves.

        A recipe whose section `model` has `pretrained: true` starts from the published weights of its `backbone` or
        its `preset`. With a path or another name there, the licence of those weights is not known.

        Args:
            recipe (`dict`, *optional*): the recipe.

        Returns:
            `TrainingFacts`.

        Example:
            >>> recipe = {"model": {"backbone": "timm/test_vit.r160_in1k", "pretrained": True}}
            >>> TrainingFacts().with_recipe(recipe).base_model
            'timm/test_vit.r160_in1k'
        """
        model = recipe.get("model") if isinstance(recipe, Mapping) else None
        if self.base_model is not None or not isinstance(model, Mapping) or not model.get("pretrained"):
            return self
        preset = _vision_presets().get(str(model.get("preset")))
        weights = model.get("backbone") if preset is None else preset.weights
        if not isinstance(weights, str):
            return self
        licence = self.base_model_license or (None if model["pretrained"] is True else "unknown")
        return dataclasses.replace(self, base_model=weights, base_model_license=licence)

    def data_terms(self, model_sources: tuple[str, ...]) -> list[Terms]:
        """Return the terms of every source trained on, now or before, in order of name.

        Args:
            model_sources (`tuple[str, ...]`): sources of the model's configuration, for when `sources` is not given.
        """
        now = model_sources if self.sources is None else self.sources
        return [terms_of(name) for name in sorted({*now, *self.pretrained_on})]

    def weight_terms(self) -> list[Terms]:
        """Return the terms of the base model, an empty list where there is none."""
        first = [] if self.base_model is None else [(self.base_model, self.base_model_license)]
        further = [(name, None) for name in self.further_base_models]
        return [_weights(name, given) for name, given in (*first, *further)]


def _weights(name: str, given: str | None) -> Terms:
    licence = given or base_model_license(name)
    note = "its licence was not given (`base_model_license`)" if licence in (None, "unknown") else ""
    return Terms(name, "weights", licence or "unknown", note, name, f"https://huggingface.co/{name}")


def base_model_license(name: str) -> str | None:
    """Return the licence of a base model as far as it is known without a network.

    Args:
        name (`str`): `"timm/<architecture>.<tag>"`, or any other name.

    Returns:
        `str`, *optional*: for the weights of a vision preset what the preset says; for other `timm/` weights what
        timm's table says (weights without an entry are published under Apache-2.0, timm's own default for its cards);
        `None` for all others.

    Example:
        >>> base_model_license("timm/convnextv2_atto.fcmae_ft_in1k")
        'cc-by-nc-4.0'
    """
    stated = {preset.weights: preset.license for preset in _vision_presets().values()}
    if stated.get(name, "unknown") != "unknown":
        return stated[name]
    if not name.startswith("timm/"):
        return None
    import timm

    try:
        found = timm.get_pretrained_cfg(name.removeprefix("timm/"), allow_unregistered=False)
    except RuntimeError:  # no such architecture or tag
        return None
    if found is None or not found.has_weights:
        return None
    return (found.license or "apache-2.0").lower()


def _vision_presets() -> "Mapping[str, VisionPreset]":
    from climb_hf.models.vision.presets import VISION_PRESETS

    return VISION_PRESETS
