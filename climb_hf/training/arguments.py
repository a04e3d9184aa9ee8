"""The arguments of a training run: those of `transformers.TrainingArguments`, with what a mixture of sources adds."""

import json
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from transformers import TrainingArguments

from climb_hf.errors import OptionError

__all__ = ["ClimbTrainingArguments"]

_CHOICES: dict[str, tuple[str, ...]] = {
    "mixture": ("proportional", "balanced", "temperature"),
    "optimizer": ("adamw", "adam", "soap"),
    "uncertain": ("ignore", "negative"),
    "class_weighting": ("none", "inverse_frequency"),
    "metric_definition": ("climb", "paper"),
}


@dataclass
class ClimbTrainingArguments(TrainingArguments):
    """Arguments of `ClimbTrainer`.

    All arguments of `transformers.TrainingArguments` apply; where their defaults do not fit a mixture of sources with
    masked labels, they differ here: `remove_unused_columns=False` (the collator selects), `label_names=["labels"]`
    (the mask is no label), `report_to="none"`, `logging_nan_inf_filter=False` (a loss that is not finite stops
    training), `dataloader_pin_memory` only where there is an accelerator.

    Args:
        mixture (`str`, *optional*, defaults to `"proportional"`):
            how the sources of the training data are mixed: `"proportional"`, `"balanced"` or `"temperature"` (see
            `climb_hf.training.sampling`).
        temperature (`float`, *optional*, defaults to `2.0`):
            T of `mixture="temperature"`: 1 is proportional, large is balanced.
        optimizer (`str`, *optional*, defaults to `"adamw"`):
            `"adamw"` (transformers' own choice, `optim`), `"adam"` (`torch.optim.Adam`: L2, not decoupled) or `"soap"`
            (`climb_hf.training.soap.SOAP`). Biases, norms and other one-dimensional parameters have no decay.
        optimizer_kwargs (`dict`, *optional*):
            further arguments of the optimizer's class, such as `{"precondition_frequency": 10}` for SOAP.
        uncertain (`str`, *optional*, defaults to `"ignore"`):
            what uncertain labels do to the loss: `"ignore"` (leave the mask) or `"negative"` (the CLIMB paper). Used
            where the trainer makes the collator itself.
        num_frames (`int`, *optional*):
            at most this many frames per row, equally spaced. Used where the trainer makes the collator itself.
        class_weighting (`str`, *optional*, defaults to `"none"`):
            `"inverse_frequency"` weights the terms of multi-label rows by 1 / frequency of the class over the training
            rows (`climb_hf.training.losses.class_weights_from_counts`).
        max_warmup_share (`float`, *optional*, defaults to `1.0`):
            the warm-up takes at most this share of all steps, in (0, 1]: a small source is done before 500 steps.
        n_bootstrap (`int`, *optional*, defaults to `0`):
            resamples of the patient-cluster bootstrap at evaluation; 0 for no intervals.
        confidence (`float`, *optional*, defaults to `0.95`):
            level of those intervals.
        metric_definition (`str`, *optional*, defaults to `"climb"`):
            `"climb"`, or `"paper"` for the numbers as the CLIMB paper's tables print them.
        save_predictions (`bool`, *optional*, defaults to `False`):
            write the logits of every evaluation to `<output_dir>/predictions/`.

    Raises:
        OptionError: a value that is not allowed, or an argument of transformers that the masked loss cannot honour.

    Example:
        >>> arguments = ClimbTrainingArguments("runs/demo", mixture="balanced", optimizer="soap", use_cpu=True)
        >>> arguments.label_names, arguments.remove_unused_columns
        (['labels'], False)
    """

    mixture: Literal["proportional", "balanced", "temperature"] = field(
        default="proportional", metadata={"help": "How the sources of the training data are mixed."}
    )
    temperature: float = field(
        default=2.0, metadata={"help": "T of `mixture=temperature`; 1 is proportional, large is balanced."}
    )
    optimizer: Literal["adamw", "adam", "soap"] = field(
        default="adamw", metadata={"help": "adamw (transformers' `optim`), adam (L2) or soap."}
    )
    optimizer_kwargs: dict[str, Any] | str | None = field(
        default=None, metadata={"help": "Further arguments of the optimizer's class, as JSON."}
    )
    uncertain: Literal["ignore", "negative"] = field(
        default="ignore", metadata={"help": "What uncertain labels do: leave the mask, or count as negative."}
    )
    num_frames: int | None = field(default=None, metadata={"help": "At most this many frames per row."})
    class_weighting: Literal["none", "inverse_frequency"] = field(
        default="none", metadata={"help": "Weights of the classes in multi-label rows."}
    )
    max_warmup_share: float = field(
        default=1.0, metadata={"help": "The warm-up takes at most this share of all steps."}
    )
    n_bootstrap: int = field(default=0, metadata={"help": "Bootstrap resamples at evaluation; 0 for no intervals."})
    confidence: float = field(default=0.95, metadata={"help": "Level of the bootstrap intervals."})
    metric_definition: Literal["climb", "paper"] = field(
        default="climb", metadata={"help": "climb, or paper for the numbers of the CLIMB paper's tables."}
    )
    save_predictions: bool = field(
        default=False, metadata={"help": "Write the logits of every evaluation to <output_dir>/predictions/."}
    )

    # Defaults of transformers that do not fit a mixture with masked labels.
    remove_unused_columns: bool = field(default=False, metadata={"help": "Must stay false: the collator selects."})
    label_names: list[str] | None = field(
        default_factory=lambda: ["labels"], metadata={"help": "Arguments of forward that are labels."}
    )
    report_to: str | list[str] | None = field(default="none", metadata={"help": "Trackers to report to."})
    logging_nan_inf_filter: bool = field(
        default=False,
        metadata={"help": "Hide losses that are not finite from the logs; training stops at them anyway."},
    )

    def __post_init__(self) -> None:
        self._check()
        super().__post_init__()
        if self.device.type == "cpu":
            self.dataloader_pin_memory = False  # nothing to pin for; torch would warn on every epoch

    def _check(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise OptionError(f"`{name}` must be one of {', '.join(choices)}, found {getattr(self, name)!r}.")
        if isinstance(self.optimizer_kwargs, str):
            try:
                self.optimizer_kwargs = json.loads(self.optimizer_kwargs)
            except json.JSONDecodeError as error:
                raise OptionError(
                    f"`optimizer_kwargs` must be JSON, found {self.optimizer_kwargs!r}: {error}."
                ) from error
        if self.optimizer_kwargs is not None and not isinstance(self.optimizer_kwargs, dict):
            raise OptionError(f"`optimizer_kwargs` must be a dictionary, found {self.optimizer_kwargs!r}.")
        if not self.temperature > 0:
            raise OptionError(f"`temperature` must be above 0, found {self.temperature}.")
        if not 0 < self.max_warmup_share <= 1:
            raise OptionError(f"`max_warmup_share` must be in (0, 1], found {self.max_warmup_share}.")
        if self.n_bootstrap < 0 or not 0 < self.confidence < 1:
            raise OptionError(
                f"`n_bootstrap` must be 0 or more and `confidence` in (0, 1), found {self.n_bootstrap} and "
                f"{self.confidence}."
            )
        self._check_inherited()

    def _check_inherited(self) -> None:
        wanted: tuple[tuple[str, Any, str], ...] = (
            ("remove_unused_columns", False, "the collator needs `source`, `group` and the pictures"),
            ("label_smoothing_factor", 0.0, "smoothing over a masked vocabulary is not defined"),
            ("train_sampling_strategy", "random", "the order of the rows is that of `mixture`"),
            ("batch_eval_metrics", False, "metrics per source need all rows"),
            ("eval_do_concat_batches", True, "metrics per source need all rows"),
            ("prediction_loss_only", False, "metrics per source need the logits"),
        )
        for name, value, reason in wanted:
            if getattr(self, name, value) != value:
                raise OptionError(f"`{name}` must stay {value!r}, found {getattr(self, name)!r}: {reason}.")

    def get_warmup_steps(self, num_training_steps: int) -> int:
        """Return the steps of the warm-up: those of `warmup_steps`, at most `max_warmup_share` of all.

        Args:
            num_training_steps (`int`): steps of the run.

        Returns:
            `int`.
        """
        return min(super().get_warmup_steps(num_training_steps), int(self.max_warmup_share * num_training_steps))

    @property
    def has_accelerator(self) -> bool:
        """Whether the run has a device other than the processor."""
        return torch.device(self.device).type != "cpu"
