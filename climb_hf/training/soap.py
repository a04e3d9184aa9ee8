"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner, in plain PyTorch.

Vyas et al., "SOAP: Improving and Stabilizing Shampoo using Adam" (2024), as in the authors' reference implementation
(`nikhilvyas/SOAP`), with the refresh schedule of the optimizer that the CLIMB paper trained with (`heavyball`).
"""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from climb_hf.errors import OptionError, TrainingError
from climb_hf.training.eigenbasis import accumulate, eigenbasis, merged_shape, refresh, refresh_probability, rotate
from climb_hf.training.optimizers import decay_parameter_names

__all__ = ["SOAP", "soap_parameter_groups"]

_SHARD_MARKS = ("device_mesh", "_fsdp_flattened", "_is_flat_param", "ds_id")  # DTensor, FSDP 1 (twice), ZeRO-3


class SOAP(torch.optim.Optimizer):
    """Adam whose moments live in a slowly rotating eigenbasis of the gradient's covariance, one basis per axis.

    The first step of a parameter only sets up its basis and changes nothing. Weight decay is decoupled. The state is
    float32 for parameters of lower precision, and takes two tensors of the parameter's size plus two square matrices
    per preconditioned axis. Parameters must be whole: DDP is fine; FSDP, ZeRO and tensor parallelism are refused.

    Args:
        params (`Iterable`): parameters, or groups of them (see `soap_parameter_groups`).
        lr (`float`, *optional*, defaults to `3e-3`): learning rate.
        betas (`tuple[float, float]`, *optional*, defaults to `(0.95, 0.95)`): decay of the two moments, in [0, 1).
        shampoo_beta (`float`, *optional*): decay of the covariances, in [0, 1); the second beta if `None` or negative.
        eps (`float`, *optional*, defaults to `1e-8`): added to the root of the second moment.
        weight_decay (`float`, *optional*, defaults to `0.01`): decoupled: each step takes off `lr * weight_decay`.
        precondition_frequency (`int`, *optional*, defaults to `10`): steps between refreshes of the basis.
        max_precond_dim (`int`, *optional*, defaults to `2048`): longer axes keep the identity as their basis.
        merge_dims (`bool`, *optional*, defaults to `False`): merge neighbouring axes first, see `merged_shape`.
        precondition_1d (`bool`, *optional*, defaults to `False`): whether one-dimensional parameters get a basis.
        normalize_grads (`bool`, *optional*, defaults to `False`): divide each update by its root mean square.
        correct_bias (`bool`, *optional*, defaults to `True`): Adam's bias correction.
        precondition_schedule (`tuple[float, float]`, *optional*): `(power, exponent)` of `refresh_probability`; the
            basis is refreshed whenever the sum of the probabilities passes a whole number, and
            `precondition_frequency` does not count. `(1/3, 9)` in the CLIMB paper's runs.

    Raises:
        OptionError: an option is out of range, or a parameter is complex or sharded.

    Example:
        >>> layer = nn.Linear(3, 2)
        >>> optimizer = SOAP(soap_parameter_groups(layer, weight_decay=1e-3), lr=1e-2)
        >>> for _ in range(2):
        ...     optimizer.zero_grad()
        ...     layer(torch.ones(1, 3)).square().sum().backward()
        ...     _ = optimizer.step()
        >>> optimizer.state[layer.weight]["step"]
        1
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 3e-3,
        betas: tuple[float, float] = (0.95, 0.95),
        shampoo_beta: float | None = None,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        precondition_frequency: int = 10,
        max_precond_dim: int = 2048,
        merge_dims: bool = False,
        precondition_1d: bool = False,
        normalize_grads: bool = False,
        correct_bias: bool = True,
        precondition_schedule: Sequence[float] | None = None,
    ) -> None:
        schedule = None if precondition_schedule is None else tuple(float(value) for value in precondition_schedule)
        defaults = {
            "lr": lr,
            "betas": tuple(betas),
            "shampoo_beta": shampoo_beta,
            "eps": eps,
            "weight_decay": weight_decay,
            "precondition_frequency": precondition_frequency,
            "max_precond_dim": max_precond_dim,
            "merge_dims": merge_dims,
            "precondition_1d": precondition_1d,
            "normalize_grads": normalize_grads,
            "correct_bias": correct_bias,
            "precondition_schedule": schedule,
        }
        _check_options(defaults)
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, as `torch.optim.Optimizer`; refuses complex and sharded ones."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        _check_options(group)
        for parameter in group["params"]:
            if parameter.is_complex():
                raise OptionError("SOAP takes real parameters, found a complex one: use another optimizer for it.")
            if any(hasattr(parameter, mark) for mark in _SHARD_MARKS):
                raise OptionError(
                    f"SOAP needs whole parameters, found a sharded one of local shape {tuple(parameter.shape)} (FSDP, "
                    f"DeepSpeed ZeRO or DTensor). Train with DDP, or choose another optimizer."
                )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # noqa: ANN401 - what the closure returns
        """Update the parameters that have a gradient.

        Args:
            closure (`Callable`, *optional*): computes the loss anew and returns it.

        Returns:
            What `closure` returned, or `None`.

        Raises:
            TrainingError: a gradient is sparse, or the first gradient of a parameter is not finite.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        if gradient.is_sparse:
            raise TrainingError(
                "SOAP takes dense gradients, found a sparse one: build the embedding with sparse=False."
            )
        state = self.state[parameter]
        grad = gradient.to(torch.promote_types(parameter.dtype, torch.float32))
        if group["merge_dims"] and grad.ndim > 1:
            grad = grad.reshape(merged_shape(grad.shape, group["max_precond_dim"]))
        beta1, beta2 = group["betas"]
        shampoo_beta = group["shampoo_beta"]
        if shampoo_beta is None or shampoo_beta < 0:
            shampoo_beta = beta2
        if not state:
            _start(state, grad, parameter.ndim > 1 or group["precondition_1d"], group["max_precond_dim"])
            accumulate(state["covariances"], grad, shampoo_beta)
            state["bases"] = [None if matrix is None else eigenbasis(matrix) for matrix in state["covariances"]]
            return  # the reference, too, makes no update from the gradient that the basis was taken from
        state["step"] += 1
        step, mean, square = state["step"], state["mean"], state["square"]
        turned = rotate(grad, state["bases"])
        mean.lerp_(turned, 1 - beta1)
        square.mul_(beta2).addcmul_(turned, turned, value=1 - beta2)
        direction = rotate(mean / square.sqrt().add_(group["eps"]), state["bases"], back=True)
        if group["normalize_grads"]:
            direction /= direction.square().mean().sqrt() + 1e-30
        size = group["lr"]
        if group["correct_bias"]:
            size *= math.sqrt(1 - beta2**step) / (1 - beta1**step)
        _apply(parameter, direction.reshape(parameter.shape), size, 1 - group["lr"] * group["weight_decay"])
        accumulate(state["covariances"], grad, shampoo_beta)
        if _is_due(state, group):
            refresh(state)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state; unlike the base class it keeps float32 state of lower-precision parameters as it was saved."""
        super().load_state_dict(state_dict)
        saved = itertools.chain.from_iterable(group["params"] for group in state_dict["param_groups"])
        own = itertools.chain.from_iterable(group["params"] for group in self.param_groups)
        for number, parameter in zip(saved, own, strict=True):
            for name, value in state_dict["state"].get(number, {}).items():
                self.state[parameter][name] = _placed(value, parameter.device)


def _placed(value: Any, device: torch.device) -> Any:  # noqa: ANN401 - tensors, numbers, lists of both
    if isinstance(value, Tensor):
        return value.to(device, copy=True)
    return [_placed(entry, device) for entry in value] if isinstance(value, list) else value


def _check_options(group: dict[str, Any]) -> None:
    rules = {
        "lr": (group["lr"] >= 0, "0 or more"),
        "betas": (len(group["betas"]) == 2 and all(0 <= beta < 1 for beta in group["betas"]), "two numbers in [0, 1)"),
        "shampoo_beta": (group["shampoo_beta"] is None or group["shampoo_beta"] < 1, "below 1, or None"),
        "eps": (group["eps"] >= 0, "0 or more"),
        "weight_decay": (group["weight_decay"] >= 0, "0 or more"),
        "precondition_frequency": (group["precondition_frequency"] >= 1, "at least 1"),
        "max_precond_dim": (group["max_precond_dim"] >= 1, "at least 1"),
        "precondition_schedule": (
            group["precondition_schedule"] is None or len(group["precondition_schedule"]) == 2,
            "(power, exponent) such as (1/3, 9), or None",
        ),
    }
    for name, (holds, wanted) in rules.items():
        if not holds:
            raise OptionError(f"SOAP: `{name}` must be {wanted}, found {group[name]!r}.")


def _start(state: dict[str, Any], grad: Tensor, preconditioned: bool, limit: int) -> None:
    if not torch.isfinite(grad).all():
        raise TrainingError(f"SOAP: the first gradient of a parameter of shape {tuple(grad.shape)} is not finite.")
    sides = [side if preconditioned and side <= limit else None for side in grad.shape]
    covariances = [None if side is None else grad.new_zeros(side, side) for side in sides]
    state.update(step=0, refreshes_due=0.0, mean=torch.zeros_like(grad), square=torch.zeros_like(grad))
    state["covariances"] = covariances


def _is_due(state: dict[str, Any], group: dict[str, Any]) -> bool:
    if group["precondition_schedule"] is None:
        return state["step"] % group["precondition_frequency"] == 0
    before = state["refreshes_due"]
    state["refreshes_due"] = before + refresh_probability(state["step"], *group["precondition_schedule"])
    return math.floor(state["refreshes_due"]) > math.floor(before)


def _apply(parameter: Tensor, direction: Tensor, size: float, decay: float) -> None:
    if parameter.dtype == direction.dtype:
        parameter.add_(direction, alpha=-size).mul_(decay)
    else:  # round once, at the end
        parameter.copy_(parameter.to(direction.dtype).add_(direction, alpha=-size).mul_(decay))


def soap_parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters that train, in two groups: with weight decay, and without (biases, norms and what the model exempts).

    Args:
        model (`nn.Module`): any model.
        weight_decay (`float`): decay of the first group.

    Returns:
        `list[dict]`: groups for an optimizer; an empty one is left out.

    Example:
        >>> groups = soap_parameter_groups(nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3)), weight_decay=0.1)
        >>> [(len(group["params"]), group["weight_decay"]) for group in groups]
        [(1, 0.1), (3, 0.0)]
    """
    decayed = set(decay_parameter_names(model))
    trained = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
    groups = [
        {"params": [value for name, value in trained if name in decayed], "weight_decay": weight_decay},
        {"params": [value for name, value in trained if name not in decayed], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
