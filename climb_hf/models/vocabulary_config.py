"""The part of a configuration that every classifier shares: the vocabulary V and the classes V_k of each source.

A checkpoint carries its own V, so it keeps its meaning when the library's vocabulary grows. `id2label` and `label2id`
are derived from it and follow it.
"""

from dataclasses import field
from typing import Any, ClassVar

from transformers.configuration_utils import PreTrainedConfig

from climb_hf.errors import OptionError, VocabularyError

__all__ = ["VocabularyConfig"]


def _repeated(names: list[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})


class VocabularyConfig(PreTrainedConfig):
    """Base of our configurations: which concepts the head scores, and which of them each source labels.

    Args:
        vocabulary (`list[str]`, *optional*, defaults to `[]`):
            the concepts V, one output of the head each, in order. Empty for a feature extractor. Where it is absent,
            `id2label` or `num_labels` give the names, as users of transformers expect.
        source_classes (`dict[str, list[str]]`, *optional*, defaults to `{}`):
            V_k by source: the concepts that the source labels, in the source's order.
        source_multi_label (`dict[str, bool]`, *optional*, defaults to `{}`):
            for the same sources: `True` if an example may have any number of them, `False` for exactly one.
        dropout (`float`, *optional*, defaults to `0.0`):
            probability with which a feature is dropped before the head, in [0, 1).
        initializer_range (`float`, *optional*, defaults to `0.02`):
            standard deviation of new head weights; biases start at 0.

    Raises:
        OptionError: a value of the wrong type or out of range.
        VocabularyError: repeated concepts, or a source whose classes are not all in `vocabulary`.
    """

    #: The Trainer gathers the logits only, not every token of every image.
    keys_to_ignore_at_inference: ClassVar[list[str]] = [
        "pooler_output",
        "last_hidden_state",
        "hidden_states",
        "attentions",
    ]

    vocabulary: list[str] = field(default_factory=list)
    source_classes: dict[str, list[str]] = field(default_factory=dict)
    source_multi_label: dict[str, bool] = field(default_factory=dict)
    dropout: float | int = 0.0
    initializer_range: float | int = 0.02

    def __post_init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - unknown keys become attributes, as in the base
        count = kwargs.pop("num_labels", None)
        self.vocabulary = list(self.vocabulary)
        if not self.vocabulary and self.id2label:
            names = {int(key): name for key, name in self.id2label.items()}
            self.vocabulary = [names[key] for key in sorted(names)]
        elif not self.vocabulary and count:
            self.vocabulary = [f"LABEL_{index}" for index in range(count)]
        if count is not None and count != len(self.vocabulary):
            raise VocabularyError(
                f"`num_labels` is {count}, but `vocabulary` has {len(self.vocabulary)} concepts. Name the outputs "
                "with `vocabulary=[…]` (and `ignore_mismatched_sizes=True` for a new head), or pass no `num_labels`."
            )
        self._derive_labels()
        super().__post_init__(**kwargs)
        self.check_vocabulary()

    def _derive_labels(self) -> None:
        self.id2label = dict(enumerate(self.vocabulary))
        self.label2id = {name: index for index, name in enumerate(self.vocabulary)}

    def __setattr__(self, key: str, value: Any) -> None:  # noqa: ANN401 - any attribute
        # `from_pretrained(path, vocabulary=[…])` and `id2label={…}` arrive as assignments after construction
        super().__setattr__(key, value)
        if key == "vocabulary" and self.__dict__.get("label2id") is not None:
            self._derive_labels()
        elif key == "id2label" and value and self.__dict__.get("label2id") is not None:
            names = [name for _, name in sorted((int(index), name) for index, name in value.items())]
            if names != self.vocabulary:
                self.vocabulary = names

    def check_vocabulary(self) -> None:
        """Check the concepts and the classes of each source against each other; models call it when they are built.

        Raises:
            OptionError: a value of the wrong type or out of range.
            VocabularyError: repeated concepts, or a source whose classes are not all in `vocabulary`.
        """
        wrong = [name for name in self.vocabulary if not isinstance(name, str) or not name]
        if wrong:
            raise OptionError(f"`vocabulary` must hold non-empty names of concepts, but holds {wrong[:5]}.")
        if repeated := _repeated(self.vocabulary):
            raise VocabularyError(f"`vocabulary` must name each concept once, but repeats {repeated}.")
        if self.source_classes.keys() != self.source_multi_label.keys():
            raise OptionError(
                "`source_classes` and `source_multi_label` must have the same sources, but these are in one only: "
                f"{sorted(self.source_classes.keys() ^ self.source_multi_label.keys())}."
            )
        for source, classes in self.source_classes.items():
            self._check_source(source, list(classes))
        if not 0 <= self.dropout < 1:
            raise OptionError(f"`dropout` must be a probability in [0, 1), but is {self.dropout!r}.")
        if not self.initializer_range > 0:
            raise OptionError(f"`initializer_range` must be above 0, but is {self.initializer_range!r}.")

    def _check_source(self, source: str, classes: list[str]) -> None:
        multi_label = self.source_multi_label[source]
        if not isinstance(multi_label, bool):
            raise OptionError(f"`source_multi_label[{source!r}]` must be true or false, but is {multi_label!r}.")
        if repeated := _repeated(classes):
            raise VocabularyError(f"`source_classes[{source!r}]` must name each concept once, but repeats {repeated}.")
        if missing := [name for name in classes if name not in self.vocabulary]:
            raise VocabularyError(
                f"`source_classes[{source!r}]` names concepts that are not in `vocabulary`: {missing}. Add them to "
                "`vocabulary`, or to a model that is already built with `model.extend_vocabulary([…])`."
            )
        if len(classes) < (1 if multi_label else 2):
            raise VocabularyError(
                f"`source_classes[{source!r}]` has {len(classes)} concepts; a multi-label source needs at least one "
                "and a single-label source two to choose from."
            )
