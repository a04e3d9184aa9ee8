"""Fusion of picture, signal and text for one outcome (CLIMB paper, RQ3): train, score, compare with one alone."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.errors import OptionError, SchemaError
from climb_hf.hub.training_file import write_training
from climb_hf.models.fusion.configuration_fusion import MODALITIES, STRATEGIES
from climb_hf.protocols.data import Sources, data_fingerprint, is_synthetic, load_parts
from climb_hf.protocols.fusion_parts import TASKS, Encoders, FusionTask, build_encoders, build_fusion
from climb_hf.provenance import provenance, recipe_hash
from climb_hf.registry import get_source
from climb_hf.training.recipes import load_recipe

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset

    from climb_hf.results import ResultRow

__all__ = ["TASKS", "FusionTask", "fuse"]

logger = logging.getLogger(__name__)

_METRICS = ("auc", "sensitivity", "specificity")


@dataclass
class _Plan:
    """What all runs of one call share."""

    task: FusionTask
    source: str
    settings: dict[str, Any]
    parts: "dict[str, Dataset]"
    encoders: Encoders
    output_dir: Path
    n_bootstrap: int
    skip_empty: bool
    facts: dict[str, Any]


@dataclass(frozen=True)
class _Run:
    """One run: a model trained and scored."""

    strategy: str
    modalities: tuple[str, ...]
    shots: int | None
    seed: int

    @property
    def name(self) -> str:
        shots = "full" if self.shots is None else f"{self.shots}shot"
        what = self.strategy if len(self.modalities) > 1 else "alone"
        return f"{what}-{'-'.join(self.modalities)}-{shots}-seed{self.seed}"


@dataclass
class _Rows:
    """Rows of a split that a run uses."""

    dataset: "Dataset"
    values: "np.ndarray"
    n_left_out: int
    counts: dict[str, int] = field(default_factory=dict)
    short: dict[str, int] = field(default_factory=dict)


def fuse(
    sources: Sources,
    output_dir: str | Path,
    *,
    task: str = "ihm48",
    strategies: Sequence[str] = STRATEGIES,
    shots: Sequence[int | None] = (None,),
    seeds: int = 1,
    modalities: Sequence[str] = MODALITIES,
    singles: bool = False,
    checkpoints: Mapping[str, str | Path | None] | None = None,
    recipe: str | Path = "fusion/paper",
    overrides: Sequence[str] = (),
    n_bootstrap: int = 1000,
    skip_empty: bool = False,
    cache_dir: str | Path | None = None,
    num_proc: int | None = None,
    synthetic: bool = False,
) -> "list[ResultRow]":
    """Train and score fusion models, one for every strategy, number of shots and seed.

    Nothing is chosen on the test split: the last epoch is kept. Few-shot samples are spread over patients
    (`climb_hf.protocols.few_shot`).

    Args:
        sources (`Mapping`): folder of the raw data of one source of the family `multimodal`, by its name.
        output_dir (`str` or `Path`): `results.jsonl`, and a folder with the checkpoint of every run.
        task (`str`, *optional*, defaults to `"ihm48"`): `"ihm48"` (death within 48 hours: AUC, sensitivity,
            specificity at p >= 0.5) or `"los_days"` (length of stay: mean absolute error in days).
        strategies (`Sequence[str]`, *optional*): `"late"`, `"mlp"`, `"cross_attention"`; all by default.
        shots (`Sequence[int]`, *optional*, defaults to `(None,)`): records per class to train on; `None` for all.
        seeds (`int`, *optional*, defaults to `1`): runs of each kind, from the seed of the recipe on.
        modalities (`Sequence[str]`, *optional*): what is fused, of `"image"`, `"signal"`, `"text"`; all by default.
        singles (`bool`, *optional*, defaults to `False`): also train on each modality alone, on the records that have
            it.
        checkpoints (`Mapping`, *optional*): encoder by modality: folder or Hub repository.
        recipe (`str` or `Path`, *optional*, defaults to `"fusion/paper"`): a recipe of the library or a YAML file.
        overrides (`Sequence[str]`, *optional*): `section.key=value`.
        n_bootstrap (`int`, *optional*, defaults to `1000`): resamples of patients for the intervals; 0 for none.
        skip_empty (`bool`, *optional*, defaults to `False`): leave out records that have none of the modalities, and
            count them, instead of refusing them.
        cache_dir (`str` or `Path`, *optional*): where tables are built.
        num_proc (`int`, *optional*): worker processes of the build.
        synthetic (`bool`, *optional*, defaults to `False`): the data is synthetic; results and cards say so.

    Returns:
        `list[ResultRow]`: the metrics of every run with patient-cluster intervals.

    Raises:
        AccessError: raw data or a checkpoint is missing.
        OptionError: an option that is not allowed.
        SchemaError: records without any of the modalities; they are named.
    """
    from climb_hf.results import write_results

    source = _check(sources, task, strategies, shots, seeds, modalities)
    settings = load_recipe(recipe, overrides)
    data = settings["data"]
    names = {"train": data.get("train_split", "train"), "test": data.get("eval_split", "test")}
    options = data.get("options") or {}
    parts = {
        part: load_parts(sources, split, options, cache_dir=cache_dir, num_proc=num_proc)[source]
        for part, split in names.items()
    }
    texts = parts["train"]["text"] if "text" in modalities else []
    encoders = build_encoders(settings, _ordered(modalities), checkpoints or {}, texts)
    facts = {
        "split": names["test"],
        "protocol": "fusion",
        "recipe_hash": recipe_hash({**settings, "encoders": encoders.names}),
        "data_fingerprint": data_fingerprint(parts["test"]),
        "synthetic": synthetic or is_synthetic(sources),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": provenance(),
    }
    plan = _Plan(TASKS[task], source, settings, parts, encoders, Path(output_dir), n_bootstrap, skip_empty, facts)
    results: list[ResultRow] = []
    for run in _runs(settings, strategies, _ordered(modalities), shots, seeds, singles=singles):
        results += _one(plan, run)
        write_results(plan.output_dir / "results.jsonl", results)  # after every run: what is done stays
    return results


def _check(
    sources: Sources,
    task: str,
    strategies: Sequence[str],
    shots: Sequence[int | None],
    seeds: int,
    modalities: Sequence[str],
) -> str:
    """Check the options; return the source."""
    if len(sources) != 1:
        raise OptionError(f"fusion takes one source, found {list(sources) or 'none'}; name one, such as `mimic_iv`.")
    source = next(iter(sources))
    if get_source(source).family != "multimodal":
        raise OptionError(
            f"{source}: fusion needs a source of the family `multimodal`, but this one is of the family "
            f"`{get_source(source).family}`. `climb sources --family multimodal` lists what fits."
        )
    choices = (("task", (task,), tuple(TASKS)), ("strategy", strategies, STRATEGIES))
    for name, given, known in (*choices, ("modalities", modalities, MODALITIES)):
        if not given or (wrong := [one for one in given if one not in known]):
            raise OptionError(f"`{name}` must be of {', '.join(known)}, found {wrong if given else 'nothing'}.")
    if any(k is not None and k < 1 for k in shots) or not shots or seeds < 1:
        raise OptionError(f"`shots` and `seeds` must be at least 1, found {list(shots)} and {seeds}.")
    if TASKS[task].is_regression and any(k is not None for k in shots):
        raise OptionError(f"few-shot samples are drawn per class, and `{task}` has none; leave `shots` at `full`.")
    return source


def _ordered(modalities: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in MODALITIES if name in modalities)


def _runs(
    settings: Mapping[str, Any],
    strategies: Sequence[str],
    modalities: tuple[str, ...],
    shots: Sequence[int | None],
    seeds: int,
    *,
    singles: bool,
) -> list[_Run]:
    kinds = [(strategy, modalities) for strategy in dict.fromkeys(strategies)]
    if len(modalities) == 1:
        kinds = [("mlp", modalities)]  # with one modality there is nothing to fuse
    elif singles:
        kinds += [("mlp", (name,)) for name in modalities]
    first = int(settings["training"].get("seed", 42))
    numbers = range(first, first + seeds)
    return [_Run(*kind, k, seed) for k in dict.fromkeys(shots) for kind in kinds for seed in numbers]


def _rows(plan: _Plan, part: str, run: _Run) -> _Rows:
    """The rows of a split with a known target and any of the run's modalities."""
    import numpy as np

    from climb_hf.processing import ClimbFusionProcessor
    from climb_hf.training.fusion import modality_presence, target_values

    dataset = plan.parts[part]
    values, present = target_values(dataset, plan.task.name), modality_presence(dataset, run.modalities).any(1)
    known = np.isfinite(values)
    empty = np.flatnonzero(known & ~present)
    if len(empty) and not (plan.skip_empty or len(run.modalities) == 1):
        shown = dataset.select_columns(["id", "source"]).select(empty[:10])
        names = ClimbFusionProcessor.name_records(list(shown), range(len(shown)))
        raise SchemaError(
            f"{len(empty)} of {len(dataset)} records have none of {', '.join(run.modalities)}, so there is nothing to "
            f"predict from: {names}. Leave such records out with `--skip-empty`; they are counted."
        )
    chosen = np.flatnonzero(known & present)
    if not len(chosen):
        raise SchemaError(f"{plan.source}: no record of `{part}` has `{plan.task.name}` and {run.modalities}.")
    return _Rows(dataset.select(chosen), values[chosen], len(dataset) - len(chosen))


def _sample(plan: _Plan, rows: _Rows, run: _Run) -> _Rows:
    """The few-shot sample of the training rows, or all of them; counts by outcome."""
    if plan.task.is_regression:
        return rows
    from climb_hf.protocols.few_shot import few_shot

    labels = [[str(int(value))] for value in rows.values]
    columns = rows.dataset.select_columns(["group", "id"])
    sample = few_shot(labels, columns["group"], columns["id"], run.shots, classes=["0", "1"], seed=run.seed)
    return replace(
        rows,
        dataset=rows.dataset.select(sample.positions),
        values=rows.values[sample.positions],
        counts=sample.counts,
        short=sample.short,
    )


def _model_fields(plan: _Plan, rows: _Rows, run: _Run) -> dict[str, Any]:
    """The fields of the model that depend on the task and on the training rows."""
    own, task = plan.settings["model"], plan.task
    if not task.is_regression:
        weight = own.get("positive_weight")
        if weight is None:  # the rarer outcome weighs as much as the other one
            weight = rows.counts["0"] / rows.counts["1"] if rows.counts["1"] and rows.counts["0"] else 1.0
        return {
            "strategy": run.strategy,
            "vocabulary": [task.concept],
            "source_classes": {plan.source: [task.concept]},
            "source_multi_label": {plan.source: True},
            "positive_weight": float(weight),
        }
    mean, scale = own.get("target_mean"), own.get("target_scale")
    return {
        "strategy": run.strategy,
        "regression_targets": [task.name],
        "target_mean": [float(rows.values.mean())] if mean is None else mean,
        "target_scale": [float(rows.values.std()) or 1.0] if scale is None else scale,
    }


def _one(plan: _Plan, run: _Run) -> "list[ResultRow]":
    """Train one model, save it, score it."""
    from transformers import set_seed

    from climb_hf.training.fusion import FusionTrainer, TargetCollator
    from climb_hf.training.progress import use_plain_progress
    from climb_hf.training.recipes import training_arguments

    test = _rows(plan, "test", run)
    train = _sample(plan, _rows(plan, "train", run), run)
    set_seed(run.seed)
    encoders = plan.encoders.of(run.modalities)
    model = build_fusion(plan.settings, encoders, **_model_fields(plan, train, run))
    folder = plan.output_dir / run.name
    arguments = training_arguments(
        plan.settings, folder / "trainer", seed=run.seed, eval_strategy="no", load_best_model_at_end=False
    )
    trainer = FusionTrainer(
        model,
        arguments,
        TargetCollator(encoders.processor, plan.task.name),
        train_dataset=train.dataset,
    )
    use_plain_progress(trainer)
    logger.info("%s: training on %s records", run.name, len(train.dataset))
    trainer.train()
    predictions = trainer.predict_rows(test.dataset)["scores"][:, 0]
    settings: dict[str, Any] = {
        "task": plan.task.name,
        "strategy": run.strategy if len(run.modalities) > 1 else "alone",
        "modalities": list(run.modalities),
        "shots": "full" if run.shots is None else run.shots,
        "encoders": encoders.names,
        "frozen": list(model.config.frozen),
        "n_train": len(train.dataset),
    }
    if train.counts:
        settings |= {
            "n_train_by_class": train.counts,
            "short_classes": train.short,
            "positive_weight": model.config.positive_weight,
        }
    facts = {**plan.facts, "model": run.name, "seed": run.seed}
    results = _score(plan, test, predictions, {**facts, "settings": settings})
    if trainer.is_world_process_zero():
        _save(plan, run, trainer, train, results)
    return results


def _score(plan: _Plan, rows: _Rows, predictions: "np.ndarray", facts: Mapping[str, Any]) -> "list[ResultRow]":
    from climb_hf.metrics import masked_metrics, mean_absolute_error
    from climb_hf.results import ResultRow, rows_from_metrics

    groups = list(rows.dataset["group"])
    bootstrap: dict[str, Any] = {"n_bootstrap": plan.n_bootstrap, "seed": 0}
    if not plan.task.is_regression:
        table = masked_metrics(
            rows.values[:, None] > 0.5,
            predictions[:, None],
            [plan.source] * len(groups),
            source_classes={plan.source: [0]},
            multi_label={plan.source: True},
            groups=groups,
            **bootstrap,
        )
        found = [row for row in rows_from_metrics(table, **facts) if row.level == "source" and row.metric in _METRICS]
        return [replace(row, n_left_out=rows.n_left_out) for row in found]
    table = mean_absolute_error(rows.values, predictions, groups=groups, name=plan.source, **bootstrap)
    settings = {**facts["settings"], "unit": "days", "n_bootstrap": plan.n_bootstrap, "bootstrap_seed": 0}
    ends = table.get("interval")
    return [
        ResultRow(
            **{**facts, "settings": settings},
            source=plan.source,
            metric="mae",
            value=table["mae"],
            n=table["n"],
            n_groups=table["n_groups"],
            n_left_out=rows.n_left_out,
            interval=None if ends is None or ends[0] != ends[0] else tuple(ends),
        )
    ]


def _save(plan: _Plan, run: _Run, trainer: Any, train: _Rows, results: "list[ResultRow]") -> None:  # noqa: ANN401
    from climb_hf.hub import save_checkpoint

    model = trainer.accelerator.unwrap_model(trainer.model)
    options = plan.settings["data"].get("options") or {}
    facts = {
        "sources": [plan.source],
        "recipe": plan.settings["name"],
        "seed": run.seed,
        "n_examples": {plan.source: len(train.dataset)},
        "data_fingerprints": {plan.source: data_fingerprint(train.dataset)},
        "options": {plan.source: {**options.get("*", {}), **options.get(plan.source, {})}},
        "synthetic": bool(plan.facts["synthetic"]),
        "date": plan.facts["date"],
        "versions": plan.facts["versions"],
    }
    folder = save_checkpoint(
        plan.output_dir / run.name / "model",
        model,
        plan.encoders.of(run.modalities).processor,
        results=results,
        recipe=plan.settings,
        training=facts,
    )
    write_training(folder, facts, plan.settings, trainer.state.log_history, recipe_hash=plan.facts["recipe_hash"])
