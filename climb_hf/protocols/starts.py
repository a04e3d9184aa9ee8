"""Where an adaptation starts from: a checkpoint, or the same architecture with random weights."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from climb_hf.errors import AccessError, OptionError
from climb_hf.models.catalogue import ModelEntry, entry_of
from climb_hf.protocols.contamination import trained_sources
from climb_hf.protocols.encoders import Encoder, as_encoder, checkpoint_facts, load_exactly_from, locate

__all__ = ["RANDOM", "Start", "TargetClasses", "checkpoint_start", "random_start"]

RANDOM = "random"


@dataclass(frozen=True)
class TargetClasses:
    """The classes of the source to transfer to, in the names of the checkpoint's outputs.

    Args:
        source (`str`): the source.
        concepts (`list[str]`): its classes V_k in order.
        multi_label (`bool`): whether a record may have any number of them.
    """

    source: str
    concepts: list[str]
    multi_label: bool


@dataclass(frozen=True)
class Start:
    """A model to adapt; `classifier(seed)` gives a fresh copy.

    Args:
        name (`str`): what results call it.
        entry (`ModelEntry`): the architecture.
        config: its configuration.
        processor: what turns rows into its input.
        state (`dict`, *optional*): weights by name; `None` for random ones, drawn anew for every seed.
        facts (`dict`): facts of its training.
        trained_on (`tuple[str, ...]`, *optional*): sources it has seen; `None` where that is not known.
    """

    name: str
    entry: ModelEntry
    config: Any
    processor: Any
    state: dict[str, torch.Tensor] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    trained_on: tuple[str, ...] | None = ()

    @property
    def is_random(self) -> bool:
        """Whether the weights are drawn for every seed."""
        return self.state is None

    @property
    def known_concepts(self) -> set[str]:
        """The concepts V that some training source taught: an output that no source labels is not known."""
        if self.is_random:
            return set()
        classes = getattr(self.config, "source_classes", {})
        names = classes if self.trained_on is None else [name for name in self.trained_on if name in classes]
        return {concept for name in names for concept in classes[name]}

    def classifier(self, target: TargetClasses, seed: int) -> Any:  # noqa: ANN401 - any classifier
        """Build the classifier for a source.

        Outputs of concepts that a training source taught keep their weights; all others are drawn with the seed, those
        included that the vocabulary names but no training source labelled.

        Args:
            target (`TargetClasses`): the classes.
            seed (`int`): seed of everything that is drawn.

        Returns:
            The model in training precision on the CPU; its configuration knows the target only.
        """
        from transformers import set_seed

        set_seed(seed)
        config = copy.deepcopy(self.config)
        vocabulary = list(getattr(config, "vocabulary", []) or [])
        added = [name for name in target.concepts if name not in vocabulary]
        config.source_classes, config.source_multi_label = {}, {}
        kind = self.entry.load("ForClassification")
        if self.is_random or not vocabulary:
            config.vocabulary = list(target.concepts)
            added = []
        model = kind(config)
        if self.state is not None:
            self._fill(model, has_head=bool(vocabulary))
        if added:
            model.extend_vocabulary(added)
        model.config.source_classes = {target.source: list(target.concepts)}
        model.config.source_multi_label = {target.source: target.multi_label}
        if vocabulary and not self.is_random:
            self._forget_untaught(model, target)
        return model

    def _fill(self, model: Any, has_head: bool) -> None:  # noqa: ANN401 - any classifier
        """Put the weights in; of an encoder without a head, into the part that it is."""
        if has_head:
            model.load_state_dict(self.state)
        else:
            model.base_model.load_state_dict(self.state)

    @torch.no_grad()
    def _forget_untaught(self, model: Any, target: TargetClasses) -> None:  # noqa: ANN401 - any classifier
        head, known = model.classifier, self.known_concepts
        if not isinstance(head, torch.nn.Linear):
            return
        place = {name: row for row, name in enumerate(model.config.vocabulary)}
        for name in target.concepts:
            if name not in known:
                head.weight[place[name]].normal_(0.0, model.config.initializer_range)
                head.bias[place[name]] = 0.0

    def encoder(self, target: TargetClasses, seed: int) -> Encoder:
        """Return the frozen encoder; of a random start, that of this seed.

        Args:
            target (`TargetClasses`): the classes.
            seed (`int`): seed of random weights.

        Returns:
            `Encoder`.
        """
        return as_encoder(self.classifier(target, seed), self.processor, name=self.name, facts=self.facts)


def checkpoint_start(checkpoint: str | Path) -> Start:
    """Load a checkpoint to adapt: a classifier of ours, or a bare encoder.

    Args:
        checkpoint (`str` or `Path`): folder of a run or of a checkpoint, or a Hub repository.

    Returns:
        `Start`.

    Raises:
        AccessError: no checkpoint is there.
        CorruptFileError: weights are missing or left over.
    """
    from transformers import AutoConfig, AutoFeatureExtractor, AutoImageProcessor

    place = locate(checkpoint)
    try:
        config = AutoConfig.from_pretrained(str(place))
        entry = entry_of(config.model_type)
        kind = entry.load("ForClassification") if getattr(config, "vocabulary", None) else entry.load("Model")
        model = load_exactly_from(kind, place)
        auto: Any = AutoImageProcessor if entry.inputs == "image" else AutoFeatureExtractor
        processor = auto.from_pretrained(str(place))
    except OSError as error:
        raise AccessError(
            f"expected a checkpoint in the folder or Hub repository `{place}`, but it cannot be loaded: {error} "
            "Pass what `climb train --to DIR` was given, USER/NAME of a repository, or `random` with a recipe."
        ) from error
    sources = trained_sources(checkpoint)
    if sources is None and getattr(config, "source_classes", None):
        sources = list(config.source_classes)
    return Start(
        _name(checkpoint), entry, model.config, processor, model.state_dict(),
        checkpoint_facts(checkpoint), None if sources is None else tuple(sources),
    )  # fmt: skip


def random_start(
    like: Start | None = None, recipe: str | Path | None = None, overrides: Sequence[str] = (), name: str = RANDOM
) -> Start:
    """Make a start with random weights: of the architecture of another start, or of a recipe.

    Args:
        like (`Start`, *optional*): whose architecture and processor to take.
        recipe (`str` or `Path`, *optional*): a recipe; its `model.pretrained` is not used.
        overrides (`Sequence[str]`, *optional*): `section.key=value` for the recipe.
        name (`str`, *optional*, defaults to `"random"`): what results call it.

    Returns:
        `Start`.

    Raises:
        OptionError: neither is given.
    """
    if like is not None:
        return Start(name, like.entry, like.config, like.processor, None, like.facts)
    if recipe is None:
        raise OptionError("`random` weights need an architecture: name a recipe with `recipe=` (`--recipe quick`).")
    from climb_hf.protocols.linear_probe import random_encoder

    encoder = random_encoder(recipe, list(overrides))
    config = encoder.model.config
    return Start(name, entry_of(config.model_type), config, encoder.processor, None, encoder.facts)


def _name(checkpoint: str | Path) -> str:
    path = Path(checkpoint)
    return path.parent.name if path.name in ("model", "encoder") and path.parent.name else path.name
