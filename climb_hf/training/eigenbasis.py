"""The linear algebra of `climb_hf.training.soap`: covariances per axis, their eigenbases, and when to refresh them."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["accumulate", "eigenbasis", "merged_shape", "refresh", "refresh_probability", "rotate"]


def accumulate(covariances: list[Tensor | None], grad: Tensor, beta: float) -> None:
    """Move every covariance towards the outer product of `grad` along its axis, by `1 - beta`, in place."""
    for axis, matrix in enumerate(covariances):
        if matrix is not None:
            rows = grad.movedim(axis, 0).reshape(grad.shape[axis], -1)
            matrix.lerp_(rows @ rows.T, 1 - beta)


def rotate(tensor: Tensor, bases: list[Tensor | None], back: bool = False) -> Tensor:
    """Project `tensor` onto its bases, or back; every contraction moves the first axis to the end, so all return."""
    for basis in bases:
        tensor = tensor.movedim(0, -1) if basis is None else torch.tensordot(tensor, basis, dims=([0], [int(back)]))
    return tensor


def eigenbasis(matrix: Tensor) -> Tensor:
    """Eigenvectors of a covariance as columns, largest eigenvalue first."""
    lifted = matrix + 1e-30 * torch.eye(len(matrix), device=matrix.device, dtype=matrix.dtype)
    try:
        vectors = torch.linalg.eigh(lifted).eigenvectors
    except torch.linalg.LinAlgError:  # float32 may not converge on an ill-conditioned matrix
        vectors = torch.linalg.eigh(lifted.double()).eigenvectors.to(matrix.dtype)
    return vectors.flip(1)


def refresh(state: dict[str, Any]) -> None:
    """One power iteration per basis, its columns sorted by their eigenvalue estimates; the moments follow."""
    straight = rotate(state["mean"], state["bases"], back=True)
    for axis, (matrix, basis) in enumerate(zip(state["covariances"], state["bases"], strict=True)):
        if basis is None:
            continue
        product = matrix @ basis
        order = torch.argsort((basis * product).sum(0), descending=True, stable=True)
        state["square"] = state["square"].index_select(axis, order)
        state["bases"][axis] = torch.linalg.qr(product.index_select(1, order)).Q
    state["mean"] = rotate(straight, state["bases"])


def merged_shape(shape: Sequence[int], limit: int) -> list[int]:
    """Merge neighbouring axes while their product stays within `limit`.

    Args:
        shape (`Sequence[int]`): shape of a parameter.
        limit (`int`): largest side that is preconditioned.

    Returns:
        `list[int]`: the shape that SOAP works on.

    Example:
        >>> merged_shape((64, 32, 3, 3), 2048)
        [2048, 9]
    """
    merged, side = [], 1
    for length in shape:
        if side * length <= limit:
            side *= length
        elif side > 1:
            merged.append(side)
            side = length
        else:
            merged.append(length)
    return [*merged, side] if side > 1 or not merged else merged


def refresh_probability(step: int, power: float = 1 / 3, exponent: float = 9) -> float:
    """Share of the steps around `step` that refresh the basis: 1 / (1 + log10(step ** power) ** exponent).

    Args:
        step (`int`): step of the parameter, 1 or more.
        power (`float`, *optional*, defaults to `1/3`): stretches the steps.
        exponent (`float`, *optional*, defaults to `9`): how sharply refreshes become rare.

    Returns:
        `float`: in (0, 1].

    Example:
        >>> refresh_probability(1), refresh_probability(1000), round(1 / refresh_probability(1_000_000))
        (1.0, 0.5, 513)
    """
    return 1 / (1 + (power * math.log10(step)) ** exponent)
