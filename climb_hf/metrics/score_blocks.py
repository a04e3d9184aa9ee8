"""Blocks of a matrix of cosines: what certainly scores more than a goal, and the pairs too near to tell."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["NumpyBlocks", "TorchBlocks"]

Pairs = tuple[NDArray[np.intp], NDArray[np.intp]]
#: Per direction: how many cells score certainly more than the goal of their row or column, and the doubtful pairs.
Found = list[tuple[NDArray[np.int64], Pairs]]
Part = tuple[slice, slice]
_NO_PAIRS: Pairs = (np.empty(0, np.intp), np.empty(0, np.intp))


def _limits(goal: NDArray[np.float64], width: int, kind: Any) -> tuple[NDArray[Any], NDArray[Any]]:  # noqa: ANN401
    """Scores that a cell is certainly below or above the goal at, in the type of the block."""
    from climb_hf.metrics.ranking import tolerance

    reach = tolerance(width, kind)
    return (goal - reach).astype(kind), (goal + reach).astype(kind)


class NumpyBlocks:
    """Blocks multiplied by numpy.

    Args:
        a (`NDArray`): unit rows, shape `(n, d)`, float32.
        b (`NDArray`): unit rows, shape `(m, d)`, float32.
    """

    def __init__(self, a: NDArray[np.float32], b: NDArray[np.float32]) -> None:
        self.a, self.b = a, b

    def sort_out(
        self,
        part: Part,
        goals: tuple[NDArray[np.float64] | None, ...],
        kind: Any,  # noqa: ANN401 - a floating type of numpy
    ) -> Found:
        """Score one block and compare it with the goals of its rows and of its columns.

        Args:
            part (`tuple[slice, slice]`): rows of `a` and rows of `b`.
            goals (`tuple`): goals of those rows and columns, float64; `None` leaves a direction out.
            kind (`type`): type to multiply in, `np.float32` or `np.float64`.

        Returns:
            `list`: per direction the counts and the doubtful pairs, numbered within the block.
        """
        rows, columns = self.a[part[0]].astype(kind, copy=False), self.b[part[1]].astype(kind, copy=False)
        scores = rows @ columns.T
        found: Found = []
        for axis, goal in enumerate(goals):
            if goal is None:
                found.append((np.zeros(1, np.int64), _NO_PAIRS))
                continue
            low, high = (np.expand_dims(limit, 1 - axis) for limit in _limits(goal, rows.shape[1], kind))
            above = scores > high
            if axis == 0:
                counts = np.fromiter(map(np.count_nonzero, above), dtype=np.int64, count=len(above))
            else:
                counts = np.add.reduce(above.view(np.uint8), axis=0, dtype=np.int32).astype(np.int64)
            near = scores >= low
            near ^= above
            left, right = np.divmod(np.flatnonzero(near), near.shape[1])
            found.append((counts, (left, right)))
        return found


class TorchBlocks:
    """Blocks multiplied by torch, on any device that knows float64.

    Args:
        a (`NDArray`): unit rows, shape `(n, d)`, float32.
        b (`NDArray`): unit rows, shape `(m, d)`, float32.
        device (`str`): torch device, such as `"cuda"`.
    """

    def __init__(self, a: NDArray[np.float32], b: NDArray[np.float32], device: str) -> None:
        import torch

        self.device = torch.device(device)
        self.a, self.b = (torch.from_numpy(rows).to(self.device) for rows in (a, b))

    def sort_out(
        self,
        part: Part,
        goals: tuple[NDArray[np.float64] | None, ...],
        kind: Any,  # noqa: ANN401 - a floating type of numpy
    ) -> Found:
        """See `NumpyBlocks.sort_out`."""
        import torch

        dtype = torch.float32 if kind is np.float32 else torch.float64
        precision = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")  # the bound of the rounding error is that of float32
        try:
            scores = self.a[part[0]].to(dtype) @ self.b[part[1]].to(dtype).T
        finally:
            torch.set_float32_matmul_precision(precision)
        found: Found = []
        for axis, goal in enumerate(goals):
            if goal is None:
                found.append((np.zeros(1, np.int64), _NO_PAIRS))
                continue
            limits = _limits(goal, self.a.shape[1], kind)
            low, high = (torch.from_numpy(limit).to(self.device).unsqueeze(1 - axis) for limit in limits)
            above = scores > high
            counts = above.sum(dim=1 - axis)
            left, right = torch.nonzero((scores >= low) ^ above, as_tuple=True)
            found.append((counts.cpu().numpy(), (left.cpu().numpy(), right.cpu().numpy())))
        return found
