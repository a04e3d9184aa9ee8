"""The card of a model that `Trainer.push_to_hub` publishes: ours, with data terms and scores, instead of a draft."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from transformers import Trainer

if TYPE_CHECKING:
    from climb_hf.training.arguments import ClimbTrainingArguments

__all__ = ["CardWriter"]


class CardWriter(Trainer):
    """Writes the files of `climb_hf.hub.save_checkpoint` where transformers would write its draft of a card."""

    args: "ClimbTrainingArguments"
    evaluation_table: dict[str, Any] | None

    def create_model_card(self, model_name: str | None = None, **kwargs: Any) -> None:  # type: ignore[override]  # noqa: ANN401
        """Write model, processor, vocabulary, card and the scores of the last evaluation to `args.output_dir`.

        Models without a vocabulary of ours, or trainers without a processor, get the draft of transformers.

        Args:
            model_name (`str`, *optional*): name in the card; the folder's where absent.
            **kwargs: arguments of transformers' own draft, which ours does not need.
        """
        model: Any = self.accelerator.unwrap_model(self.model)
        processor: Any = self.processing_class
        if not self.is_world_process_zero():
            return
        if processor is None or not hasattr(model.config, "source_classes"):
            super().create_model_card(model_name=model_name, **kwargs)
            return
        from climb_hf.hub import save_checkpoint
        from climb_hf.provenance import provenance
        from climb_hf.results import rows_from_metrics

        today = datetime.now(UTC).date().isoformat()
        facts: dict[str, Any] = {"seed": self.args.seed, "date": today, "versions": provenance()}
        rows = [] if self.evaluation_table is None else rows_from_metrics(self.evaluation_table, split="eval", **facts)
        save_checkpoint(
            str(self.args.output_dir),
            model,
            processor,
            results=rows,
            training=facts,
            name=self.hub_model_id or model_name,
        )
