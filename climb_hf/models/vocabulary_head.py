"""The head over V that every classifier shares: which outputs belong to a source, and how V grows."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from climb_hf.errors import OptionError, SchemaError, VocabularyError
from climb_hf.models.outputs import ClimbClassifierOutput

__all__ = ["VocabularyHead"]


class VocabularyHead:
    """Mixin of the `XForClassification` models; expects `config` and a linear layer `classifier` of |V| outputs.

    A model makes its head with `build_head(width)` and ends its `forward` with `return self.classify(outputs, …)`.
    """

    config: Any  # a VocabularyConfig; each model narrows it
    dropout: nn.Dropout
    classifier: nn.Linear

    def build_head(self, width: int) -> None:
        """Make `dropout` and `classifier` for features of a width; to be called in the constructor."""
        self.dropout = nn.Dropout(self.config.dropout)
        self.classifier = nn.Linear(width, len(self.config.vocabulary))

    def head_input(self, outputs: Any) -> Tensor:  # noqa: ANN401 - a ModelOutput of the encoder
        """Return what the linear layer reads, before dropout: (batch, width). Models with their own head override it.

        Args:
            outputs (`ModelOutput`): of the encoder.

        Returns:
            `torch.Tensor`: (batch, width); the pooled feature unless a model says otherwise.
        """
        return outputs.pooler_output

    def positive_weights(self) -> Tensor | None:
        """Return factors of the positive terms of multi-label rows, (|V|,) or a scalar; `None` for none.

        Models whose configuration has such a weight override it.
        """
        return None

    def classify(
        self,
        outputs: Any,  # noqa: ANN401 - a ModelOutput of the encoder
        labels: Tensor | None = None,
        target_mask: Tensor | None = None,
        exclusive: Tensor | None = None,
    ) -> ClimbClassifierOutput:
        """Score the concepts of V from the encoder's output, and compute the loss where labels are given.

        Args:
            outputs (`ModelOutput`): of the encoder, with `pooler_output` (batch, hidden).
            labels (`torch.Tensor`, *optional*):
                (batch, |V|) float in {0, 1}: the positives of each row; or (batch,) int64: one concept per row, which
                makes every row exclusive unless `exclusive` says otherwise.
            target_mask (`torch.Tensor`, *optional*):
                (batch, |V|) bool: V_k of each row's source. Outputs outside never contribute. All count if absent.
            exclusive (`torch.Tensor`, *optional*):
                (batch,) bool: `True` for softmax cross-entropy over V_k, `False` (default) for binary cross-entropy.

        Returns:
            `ClimbClassifierOutput`: with `logits` (batch, |V|) and, for labels, the mean loss.

        Raises:
            SchemaError: shapes that do not fit.
        """
        logits = self.classifier(self.dropout(self.head_input(outputs)))  # (B, D) -> (B, |V|)
        loss = None
        if labels is not None:
            from climb_hf.training.losses import masked_classification_loss

            labels, exclusive = self._targets(labels, exclusive)
            weights = self.positive_weights()
            loss = masked_classification_loss(logits.float(), labels, target_mask, exclusive, positive_weights=weights)
        return ClimbClassifierOutput(
            loss=loss,
            logits=logits,
            pooler_output=outputs.pooler_output,
            last_hidden_state=outputs.last_hidden_state,
            hidden_states=getattr(outputs, "hidden_states", None),
            attentions=getattr(outputs, "attentions", None),
        )

    def _targets(self, labels: Tensor, exclusive: Tensor | None) -> tuple[Tensor, Tensor]:
        single = labels.ndim == 1 and not labels.is_floating_point()
        if exclusive is None:
            exclusive = torch.full(labels.shape[:1], single, dtype=torch.bool, device=labels.device)
        if single:
            labels = nn.functional.one_hot(labels.long(), len(self.config.vocabulary)).float()  # (B,) -> (B, |V|)
        return labels, exclusive

    def check_head(self) -> None:
        """Check that the configuration has a vocabulary that fits together; to be called before the head is built.

        Raises:
            VocabularyError: no vocabulary, or sources with classes outside it.
        """
        self.config.check_vocabulary()
        if not self.config.vocabulary:
            raise VocabularyError(
                f"`{type(self).__name__}` needs a `vocabulary`, but the configuration has none. Pass "
                "`vocabulary=[…]` (the concepts of its outputs), or use the model without a head."
            )

    def require_source(self, source: str, concepts: Sequence[str] | None = None) -> Tensor:
        """Return the outputs that belong to a source, or say which of its concepts this checkpoint lacks.

        Args:
            source (`str`): name of the source, such as `"ham10000"`.
            concepts (`Sequence[str]`, *optional*):
                the source's concepts in order (`climb_hf.get_source(source).concepts`). Defaults to what the
                checkpoint was trained on.

        Returns:
            `torch.Tensor`: (|V_k|,) int64, positions in the logits, in the order of the concepts.

        Raises:
            VocabularyError: the checkpoint does not know the source, or its vocabulary lacks concepts of it.
        """
        if concepts is None:
            concepts = self.config.source_classes.get(source)
        if concepts is None:
            known = ", ".join(sorted(self.config.source_classes)) or "none"
            raise VocabularyError(
                f"this checkpoint has no classes of the source `{source}` (it knows: {known}). Pass "
                f"`concepts=climb_hf.get_source({source!r}).concepts`, or add the source with `model.add_source(…)`."
            )
        position = {name: index for index, name in enumerate(self.config.vocabulary)}
        if missing := [name for name in concepts if name not in position]:
            raise VocabularyError(
                f"the vocabulary of this checkpoint ({len(position)} concepts) lacks {len(missing)} of the "
                f"{len(concepts)} concepts of `{source}`: {missing}. Add them with "
                f"`model.extend_vocabulary({missing!r})`; their outputs start untrained."
            )
        return torch.tensor([position[name] for name in concepts], dtype=torch.int64)

    def logits_for(self, source: str) -> Tensor:
        """Return the positions of a source's classes V_k in the logits.

        Args:
            source (`str`): a source of `config.source_classes`.

        Returns:
            `torch.Tensor`: (|V_k|,) int64 on the CPU, in the order of `config.source_classes[source]`.

        Raises:
            VocabularyError: the checkpoint does not know the source.
        """
        return self.require_source(source)

    def masked_probabilities(self, logits: Tensor, source: str) -> Tensor:
        """Turn logits into the probabilities of one source's classes.

        Args:
            logits (`torch.Tensor`): (…, |V|), any floating dtype.
            source (`str`): a source of `config.source_classes`.

        Returns:
            `torch.Tensor`:
                (…, |V_k|) float32 (float64 for float64 logits) in [0, 1]: a softmax over V_k for a single-label
                source, a sigmoid each for a multi-label source. Logits outside V_k play no part.

        Raises:
            VocabularyError: the checkpoint does not know the source.
            SchemaError: the last axis of `logits` is not |V| long.
        """
        if logits.shape[-1] != len(self.config.vocabulary):
            raise SchemaError(
                f"`logits` must have {len(self.config.vocabulary)} columns, one per concept of the vocabulary, but "
                f"has the shape {tuple(logits.shape)}. Pass the model's `logits` as they are."
            )
        chosen = logits.index_select(-1, self.logits_for(source).to(logits.device))
        chosen = chosen.to(torch.promote_types(logits.dtype, torch.float32))
        return chosen.sigmoid() if self.config.source_multi_label[source] else chosen.softmax(-1)

    @torch.no_grad()
    def extend_vocabulary(self, new_concepts: Sequence[str]) -> list[str]:
        """Add outputs for new concepts at the end of the head; the old rows keep every bit.

        Call it before the model is wrapped (DDP, peft) and before an optimizer is made. Concepts that the vocabulary
        already has are left alone.

        Args:
            new_concepts (`Sequence[str]`): names of concepts.

        Returns:
            `list[str]`: the concepts that were added, in order. Their weights are drawn from N(0,
            `config.initializer_range`²) with torch's global generator, their biases are 0.

        Raises:
            OptionError: one string instead of several names, or the head is wrapped already.
        """
        if isinstance(new_concepts, str):
            raise OptionError(f"`new_concepts` must be a list of names, but is the string {new_concepts!r}.")
        if not isinstance(self.classifier, nn.Linear):
            raise OptionError(
                f"the head is a {type(self.classifier).__name__}, not a plain linear layer. Extend the vocabulary "
                "before the model is wrapped by peft."
            )
        have = set(self.config.vocabulary)
        added = [name for name in dict.fromkeys(new_concepts) if name not in have]
        if not added:
            return []
        old = self.classifier
        new = nn.Linear(
            old.in_features, old.out_features + len(added), device=old.weight.device, dtype=old.weight.dtype
        )
        new.weight.normal_(0.0, self.config.initializer_range)
        new.bias.zero_()
        new.weight[: old.out_features].copy_(old.weight)
        new.bias[: old.out_features].copy_(old.bias)
        new.requires_grad_(old.weight.requires_grad)
        new.train(old.training)
        self.classifier = new
        self.config.vocabulary = [*self.config.vocabulary, *added]
        self.config.check_vocabulary()
        return added

    def add_source(self, source: str, concepts: Sequence[str], *, multi_label: bool) -> list[str]:
        """Make a source known to the checkpoint, with new outputs for the concepts it lacks.

        Args:
            source (`str`): name of the source.
            concepts (`Sequence[str]`): its concepts in order, V_k.
            multi_label (`bool`): whether an example may have any number of them.

        Returns:
            `list[str]`: the concepts that were added to the vocabulary.
        """
        added = self.extend_vocabulary(concepts)
        self.config.source_classes = {**self.config.source_classes, source: list(concepts)}
        self.config.source_multi_label = {**self.config.source_multi_label, source: multi_label}
        self.config.check_vocabulary()
        return added
