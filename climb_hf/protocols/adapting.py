"""One adaptation of one model to one source: full fine-tuning, LoRA, or a linear layer on frozen features."""

import contextlib
import dataclasses
import logging
import math
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from climb_hf.errors import OptionError
from climb_hf.protocols.features import extract_features
from climb_hf.protocols.linear_head import ProbeSettings, fit_linear_head
from climb_hf.protocols.scoring import ScoredSource, predicted_rows
from climb_hf.protocols.starts import Start, TargetClasses

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["METHODS", "AdaptSettings", "Method", "adapt", "add_lora"]

Method = Literal["full", "linear", "lora"]
METHODS: tuple[str, ...] = get_args(Method)


@dataclass(frozen=True)
class AdaptSettings:
    """How a model is adapted; both models of a comparison get the same.

    With one example per class an epoch is one step, so a run has at least `min_steps` of them.

    Args:
        epochs (`int`, *optional*, defaults to `20`): passes over the sample, for `full` and `lora`.
        min_steps (`int`, *optional*, defaults to `100`): optimizer steps at least.
        batch_size (`int`, *optional*, defaults to `16`): records per step.
        learning_rate (`float`, *optional*): defaults to 5e-4 for `full` and 1e-3 for `lora`.
        weight_decay (`float`, *optional*, defaults to `0.05`): of AdamW.
        warmup (`float`, *optional*, defaults to `0.1`): share of the steps, followed by one cosine to 0.
        lora_rank (`int`, *optional*, defaults to `8`): r; the scale is 2.
        training (`dict`, *optional*): further fields of `ClimbTrainingArguments`, which take precedence.
        probe (`ProbeSettings`, *optional*): of the linear layer.

    Raises:
        OptionError: a value out of range, or an unknown field in `training`.
    """

    epochs: int = 20
    min_steps: int = 100
    batch_size: int = 16
    learning_rate: float | None = None
    weight_decay: float = 0.05
    warmup: float = 0.1
    lora_rank: int = 8
    training: Mapping[str, Any] = field(default_factory=dict)
    probe: ProbeSettings = field(default_factory=ProbeSettings)

    def __post_init__(self) -> None:
        from climb_hf.training.arguments import ClimbTrainingArguments

        for name in ("epochs", "min_steps", "batch_size", "lora_rank"):
            if getattr(self, name) < 1:
                raise OptionError(f"`{name}` must be at least 1, found {getattr(self, name)!r}.")
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise OptionError(f"`learning_rate` must be above 0, found {self.learning_rate!r}.")
        known = {item.name for item in dataclasses.fields(ClimbTrainingArguments) if item.init}
        if unknown := sorted(set(self.training) - known):
            raise OptionError(f"{unknown} are no fields of `ClimbTrainingArguments`; see `climb train --help`.")

    def as_dict(self, method: str) -> dict[str, Any]:
        """Return what matters for a method, by name."""
        if method == "linear":
            return {"probe": {name: value for name, value in self.probe.as_dict().items() if name != "seed"}}
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self) if item.name != "probe"}
        values["learning_rate"] = self.rate(method)
        if method != "lora":
            del values["lora_rank"]
        return {**values, "training": dict(self.training)}

    def rate(self, method: str) -> float:
        """Return the learning rate of a method."""
        return self.learning_rate or {"full": 5e-4, "lora": 1e-3}[method]


def adapt(
    start: Start,
    target: TargetClasses,
    data: "tuple[Dataset, Dataset]",
    positions: list[int],
    method: Method,
    seed: int,
    settings: AdaptSettings,
    *,
    feature_cache: str | Path | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """Adapt a model to a few rows of a source, and predict others.

    Args:
        start (`Start`): the model.
        target (`TargetClasses`): the classes.
        data (`tuple[Dataset, Dataset]`): the rows to draw from, and the rows to predict.
        positions (`list[int]`): which of the first to learn from.
        method (`str`): `"full"`, `"linear"` or `"lora"`.
        seed (`int`): seed of new weights and of the order of the rows.
        settings (`AdaptSettings`): hyperparameters.
        feature_cache (`str` or `Path`, *optional*): where features of `linear` are kept.

    Returns:
        `tuple[dict, list[str]]`: rows as `ClimbTrainer.predict_rows` gives them, and the names of their columns.
    """
    if method == "linear":
        return _linear(start, target, data, positions, seed, settings, feature_cache)
    model = start.classifier(target, seed)
    vocabulary = list(model.config.vocabulary)
    if method == "lora":
        model = add_lora(model, settings.lora_rank)
    with tempfile.TemporaryDirectory(prefix="climb-transfer-") as folder, _silent():
        trainer = _trainer(model, start.processor, data[0].select(positions), method, seed, settings, folder)
        trainer.train()
        rows = trainer.predict_rows(data[1])
    return rows, vocabulary


def _linear(
    start: Start,
    target: TargetClasses,
    data: "tuple[Dataset, Dataset]",
    positions: list[int],
    seed: int,
    settings: AdaptSettings,
    feature_cache: str | Path | None,
) -> tuple[dict[str, Any], list[str]]:
    encoder = start.encoder(target, seed)
    train, test = (extract_features(encoder, part, cache_dir=feature_cache, progress=False) for part in data)
    labels, known = train.targets(target.concepts)
    head = fit_linear_head(
        train.values[positions], labels[positions], known[positions], multi_label=target.multi_label,
        settings=dataclasses.replace(settings.probe, seed=seed),
    )  # fmt: skip
    source = ScoredSource(target.source, target.concepts, target.multi_label)
    scores = head.scores(test.values)
    return predicted_rows(source, scores, test.targets(target.concepts), test.ids, test.groups), target.concepts


def add_lora(model: Any, rank: int = 8) -> Any:  # noqa: ANN401 - any classifier
    """Wrap a classifier such that low-rank adapters of its encoder and its head are all that learns.

    Adapters go to every linear layer of the encoder; where it has none, to its convolutions without groups.

    Args:
        model: a classifier of ours.
        rank (`int`, *optional*, defaults to `8`): r of LoRA; alpha is 2 r.

    Returns:
        A `peft.PeftModel`.

    Raises:
        OptionError: the encoder has no layer that LoRA can adapt.
    """
    from peft import LoraConfig, get_peft_model
    from torch import nn

    prefix = model.base_model_prefix
    convolutions = (nn.Conv1d, nn.Conv2d)
    layers = {name: layer for name, layer in model.named_modules() if name.startswith(f"{prefix}.")}
    chosen = [name for name, layer in layers.items() if type(layer) is nn.Linear]
    chosen = chosen or [
        name for name, layer in layers.items() if isinstance(layer, convolutions) and layer.groups == 1
    ]
    if not chosen:
        raise OptionError(f"`{type(model).__name__}` has no layer that LoRA can adapt; choose `--method full`.")
    heads = [name for name, _ in model.named_children() if name != prefix and any(True for _ in _weights(model, name))]
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=chosen, modules_to_save=heads or None)
    return get_peft_model(model, config)


def _weights(model: Any, name: str) -> Any:  # noqa: ANN401 - any module
    return getattr(model, name).parameters()


def _trainer(
    model: Any,  # noqa: ANN401 - any classifier
    processor: Any,  # noqa: ANN401 - any processor
    train: "Dataset",
    method: str,
    seed: int,
    settings: AdaptSettings,
    folder: str,
) -> Any:  # noqa: ANN401 - a ClimbTrainer
    from climb_hf.training.arguments import ClimbTrainingArguments
    from climb_hf.training.trainer import ClimbTrainer

    steps = max(math.ceil(len(train) / settings.batch_size) * settings.epochs, settings.min_steps)
    fields: dict[str, Any] = {
        "max_steps": steps,
        "per_device_train_batch_size": settings.batch_size,
        "per_device_eval_batch_size": max(settings.batch_size, 16),
        "learning_rate": settings.rate(method),
        "weight_decay": settings.weight_decay,
        "warmup_steps": round(settings.warmup * steps),
        "lr_scheduler_type": "cosine",
        "seed": seed,
        "save_strategy": "no",
        "eval_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
    }
    arguments = ClimbTrainingArguments(output_dir=folder, **{**fields, **settings.training})
    trainer = ClimbTrainer(model, arguments, train_dataset=train, processing_class=processor)
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    return trainer


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep the remarks of transformers about every one of many short runs out of the way."""
    from transformers.utils import logging as transformers_logging

    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)
