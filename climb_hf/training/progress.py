"""Progress of a training as people read it: one bar, and one line per evaluation."""

from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm
from transformers import PrinterCallback, ProgressCallback, TrainerCallback
from transformers.trainer_utils import has_length

if TYPE_CHECKING:
    from transformers import Trainer

__all__ = ["PlainProgress", "use_plain_progress"]


class PlainProgress(TrainerCallback):
    """A bar over the steps with the last loss, and a line with the mean AUC or recall after every evaluation."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None
        self._prediction: tqdm | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as in transformers
        """Open the bar on the main process."""
        if state.is_world_process_zero and not args.disable_tqdm:
            self._bar = tqdm(total=state.max_steps, initial=state.global_step, unit="step", dynamic_ncols=True)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as in transformers
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(state.global_step - self._bar.n)

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ANN401 - see above
        """Move the bar of an evaluation that is not part of a training."""
        loader: Any = kwargs.get("eval_dataloader")
        if self._bar is not None or args.disable_tqdm or not state.is_world_process_zero or not has_length(loader):
            return
        if self._prediction is None:
            self._prediction = tqdm(total=len(loader), unit="batch", dynamic_ncols=True, desc="scoring")
        self._prediction.update()
        if self._prediction.n >= len(loader):
            self._prediction.close()
            self._prediction = None

    def on_log(self, args: Any, state: Any, control: Any, logs: dict | None = None, **kwargs: Any) -> None:  # noqa: ANN401
        """Show the last training loss."""
        if self._bar is not None and logs and "loss" in logs:
            self._bar.set_postfix(loss=f"{float(logs['loss']):.3f}", refresh=False)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict | None = None, **kwargs: Any) -> None:  # noqa: ANN401
        """Write one line: epoch, held-out loss, mean AUC over sources, or recall of pairs."""
        if self._bar is not None and metrics:
            numbers = {name: metrics.get(f"eval_{name}") for name in ("loss", "mean_auc", "recall_at_1")}
            text = ", ".join(f"{name} {value:.3f}" for name, value in numbers.items() if value is not None)
            self._bar.write(f"epoch {state.epoch:.0f}: held-out {text}")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as in transformers
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def use_plain_progress(trainer: "Trainer") -> None:
    """Replace the callbacks of transformers that print every logged dictionary.

    Args:
        trainer (`transformers.Trainer`): the trainer.
    """
    trainer.remove_callback(ProgressCallback)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(PlainProgress)
