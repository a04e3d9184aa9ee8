"""Training without labels: any model whose `forward` returns a loss, with a slow target encoder where it has one."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback

from climb_hf.processing.batching import RowBatcher
from climb_hf.training.batches import DRAW
from climb_hf.training.trainer import ClimbTrainer

__all__ = ["PretrainingCollator", "PretrainingTrainer", "target_momentum"]

_FIRST_MOMENTUM = 0.996


def target_momentum(step: int, steps: int, first: float = _FIRST_MOMENTUM) -> float:
    """Return the momentum of a target encoder: from `first` linearly to 1 over all steps (ECG-JEPA, published code).

    Args:
        step (`int`): optimizer steps done, from 1.
        steps (`int`): of the whole training.
        first (`float`, *optional*, defaults to `0.996`): at the beginning.

    Returns:
        `float`

    Example:
        >>> target_momentum(0, 100), target_momentum(50, 100), target_momentum(100, 100)
        (0.996, 0.998, 1.0)
    """
    return first + (1 - first) * min(step / max(steps, 1), 1.0)


class PretrainingCollator:
    """Turns rows into a model's input without targets; the labels of the rows play no part.

    Args:
        processor: see `climb_hf.processing.batching.RowBatcher`.
    """

    uses_draws = True

    def __init__(self, processor: Any) -> None:  # noqa: ANN401 - any processor
        self.inputs = RowBatcher(processor)
        self._seed: int | None = None

    def for_training(self, seed: int) -> "PretrainingCollator":
        """Return the collator for training, where the processor does something at random.

        Args:
            seed (`int`): its seed.

        Returns:
            `PretrainingCollator`
        """
        if not self.inputs.is_random:
            return self
        collator = copy.copy(self)
        collator._seed = seed
        return collator

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Collate rows.

        Args:
            rows (`Sequence[Mapping]`): rows of one of our datasets.

        Returns:
            `dict`: the model's input, and `ids`, `sources`, `groups`.
        """
        seeds = None
        if self._seed is not None:
            drawn = [np.random.SeedSequence([self._seed, int(row.get(DRAW, 0))]).generate_state(1) for row in rows]
            seeds = [int(state[0]) for state in drawn]
        batch = self.inputs(rows, seeds)
        for key, column in (("ids", "id"), ("sources", "source"), ("groups", "group")):
            batch[key] = [row.get(column) for row in rows]
        return batch


class PretrainingTrainer(ClimbTrainer):
    """`ClimbTrainer` for objectives without labels.

    Beside the schedules of transformers there is a step decay: `lr_scheduler_kwargs={"step_size": n, "gamma": g}`
    multiplies the rate by g every n steps. A model with `update_target(momentum)` has it called after every optimizer
    step.

    Args:
        *args: as `ClimbTrainer`.
        **kwargs: as `ClimbTrainer`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as in ClimbTrainer
        super().__init__(*args, **kwargs)
        self.add_callback(_Target(self))

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:  # noqa: ANN401 - as in Trainer
        """Create the schedule, see the class.

        Args:
            num_training_steps (`int`): of the whole training.
            optimizer (`torch.optim.Optimizer`, *optional*): defaults to the trainer's.

        Returns:
            The scheduler.
        """
        wanted = self.args.lr_scheduler_kwargs or {}
        if not isinstance(wanted, dict) or "step_size" not in wanted:
            return super().create_scheduler(num_training_steps, optimizer)
        if self.lr_scheduler is None:
            decayed: Any = self.optimizer if optimizer is None else optimizer
            scheduler: Any = torch.optim.lr_scheduler.StepLR(decayed, **wanted)
            self.lr_scheduler = scheduler
        return self.lr_scheduler


class _Target(TrainerCallback):
    def __init__(self, trainer: PretrainingTrainer) -> None:
        self.trainer = trainer

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ANN401
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        if hasattr(model, "update_target"):
            model.update_target(target_momentum(state.global_step + 1, state.max_steps))
