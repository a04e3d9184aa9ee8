"""The arguments of contrastive training."""

from dataclasses import dataclass, field
from typing import Literal

from climb_hf.errors import OptionError
from climb_hf.training.arguments import ClimbTrainingArguments

__all__ = ["ContrastiveTrainingArguments"]


@dataclass
class ContrastiveTrainingArguments(ClimbTrainingArguments):
    """Arguments of `ContrastiveTrainer`: those of `ClimbTrainingArguments` and the following.

    `gradient_accumulation_steps` averages the gradients of several contrastive batches; negatives never span them.
    `ddp_find_unused_parameters` is false: both towers see every batch.

    Args:
        contrastive_batch_size (`int`, *optional*):
            pairs that are contrasted with each other, over all processes; sets `per_device_train_batch_size`. Where it
            is absent, `per_device_train_batch_size` times the number of processes is.
        gradient_cache_size (`int`, *optional*):
            embed at most this many pairs at once on each process (gradient caching): memory then depends on this
            number instead of the contrastive batch, for a second forward pass. Off by default.
        logit_scale (`str`, *optional*, defaults to `"single"`):
            logits are s · cos, or with `"squared"` s² · cos.
        max_logit_scale (`float`, *optional*, defaults to `100.0`):
            s is clamped to this after every optimizer step.
        false_negatives (`str`, *optional*, defaults to `"keep"`):
            `"mask"` takes pairs with the same text out of each other's negatives; `"keep"` leaves them, as CLIP does.

    Raises:
        OptionError: a value that is not allowed.

    Example:
        >>> arguments = ContrastiveTrainingArguments("runs/demo", contrastive_batch_size=64, use_cpu=True)
        >>> arguments.per_device_train_batch_size
        64
    """

    contrastive_batch_size: int | None = field(
        default=None, metadata={"help": "Pairs contrasted with each other, over all processes."}
    )
    gradient_cache_size: int | None = field(
        default=None, metadata={"help": "Embed at most this many pairs at once on each process; all by default."}
    )
    logit_scale: Literal["single", "squared"] = field(
        default="single", metadata={"help": "Logits are s · cos (single) or s² · cos (squared)."}
    )
    max_logit_scale: float = field(default=100.0, metadata={"help": "Bound of s."})
    false_negatives: Literal["keep", "mask"] = field(
        default="keep", metadata={"help": "mask: pairs with the same text are no negatives of each other."}
    )
    ddp_find_unused_parameters: bool | None = field(
        default=False, metadata={"help": "Look for parameters without a gradient in every step; slow."}
    )

    def __post_init__(self) -> None:
        self._check_contrastive()
        super().__post_init__()
        pairs = self.contrastive_batch_size or self.per_device_train_batch_size * self.world_size
        if pairs < 2:
            raise OptionError(
                "a contrastive batch must hold at least 2 pairs, found 1: without negatives the loss is 0; raise "
                "`contrastive_batch_size`."
            )
        if self.contrastive_batch_size is None:
            return
        if self.contrastive_batch_size % self.world_size:
            raise OptionError(
                f"`contrastive_batch_size` must be a multiple of the number of processes, found "
                f"{self.contrastive_batch_size} for {self.world_size} processes."
            )
        self.per_device_train_batch_size = self.contrastive_batch_size // self.world_size

    def _check_contrastive(self) -> None:
        for name, choices in (("logit_scale", ("single", "squared")), ("false_negatives", ("keep", "mask"))):
            if getattr(self, name) not in choices:
                raise OptionError(f"`{name}` must be one of {', '.join(choices)}, found {getattr(self, name)!r}.")
        for name in ("contrastive_batch_size", "gradient_cache_size"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise OptionError(f"`{name}` must be at least 1, or absent, found {value!r}.")
        if not self.max_logit_scale > 0:
            raise OptionError(f"`max_logit_scale` must be above 0, found {self.max_logit_scale!r}.")
