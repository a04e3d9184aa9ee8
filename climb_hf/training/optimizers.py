"""The optimizers of the papers for `transformers.Trainer`, and which parameters have weight decay."""

import inspect
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from climb_hf.errors import OptionError

if TYPE_CHECKING:
    from climb_hf.training.arguments import ClimbTrainingArguments

__all__ = ["decay_parameter_names", "optimizer_class"]


def optimizer_class(args: "ClimbTrainingArguments") -> tuple[type[torch.optim.Optimizer], dict[str, Any]] | None:
    """Return the optimizer's class and arguments, without its parameter groups.

    Args:
        args (`ClimbTrainingArguments`): `optimizer`, `optimizer_kwargs`, `learning_rate`, `adam_beta1`, `adam_beta2`,
            `adam_epsilon`.

    Returns:
        `tuple`, or `None` where transformers' own `optim` is to be used.

    Raises:
        OptionError: `optimizer_kwargs` of another optimizer.
    """
    extra = args.optimizer_kwargs if isinstance(args.optimizer_kwargs, dict) else {}
    if args.optimizer == "adamw" and not extra:
        return None
    common = {"lr": args.learning_rate, "betas": (args.adam_beta1, args.adam_beta2), "eps": args.adam_epsilon, **extra}
    chosen: type[torch.optim.Optimizer] = torch.optim.AdamW if args.optimizer == "adamw" else torch.optim.Adam
    if args.optimizer == "soap":
        from climb_hf.training.soap import SOAP

        chosen = SOAP
    if unknown := sorted(set(extra) - set(inspect.signature(chosen).parameters)):
        named = ", ".join(f"`{name}`" for name in unknown)
        raise OptionError(
            f"`optimizer_kwargs` holds {named}, which `optimizer={args.optimizer!r}` does not have. Clear "
            "those of the recipe with `--set training.optimizer_kwargs=null`."
        )
    return chosen, common


def decay_parameter_names(model: nn.Module) -> list[str]:
    """Return the names of the parameters with weight decay.

    Args:
        model (`nn.Module`): any model.

    Returns:
        `list[str]`: parameters of two or more dimensions that no submodule lists in a `no_weight_decay()` without
        arguments (timm's class tokens and position tables). Biases and norms are one-dimensional.

    Example:
        >>> decay_parameter_names(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
        ['0.weight']
    """
    excluded: set[str] = set()
    for prefix, module in model.named_modules():
        if callable(listed := getattr(module, "no_weight_decay", None)):
            excluded |= {f"{prefix}.{name}" if prefix else name for name in listed()}
    return [name for name, value in model.named_parameters() if value.ndim > 1 and name not in excluded]
