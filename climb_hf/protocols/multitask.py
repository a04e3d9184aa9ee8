"""Joint training of one encoder on any mixture of sources, and its evaluation source by source (CLIMB paper, RQ1)."""

import functools
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.errors import AccessError
from climb_hf.hub.training_file import read_training, write_training
from climb_hf.mixture import combine, label_schemes, source_options
from climb_hf.models.catalogue import entry_of
from climb_hf.protocols.checkpoints import (
    architecture_of,
    build_model,
    build_processor,
    check_classes,
    check_inputs,
    load_checkpoint,
)
from climb_hf.protocols.data import (
    Sources,
    data_fingerprint,
    is_synthetic,
    load_parts,
    model_classes,
    repeat_rows,
)
from climb_hf.protocols.demographics import demographics
from climb_hf.provenance import provenance
from climb_hf.results import WITHOUT_DUPLICATES, ResultRow, rows_from_metrics, write_results
from climb_hf.training.recipes import load_recipe

if TYPE_CHECKING:
    from datasets import Dataset

    from climb_hf.training.trainer import ClimbTrainer

__all__ = ["Predicted", "Run", "evaluate", "predict", "train"]

logger = logging.getLogger(__name__)


@dataclass
class Run:
    """A finished training run.

    Args:
        checkpoint (`Path`): folder with model, processor, vocabulary and card.
        history (`list[dict]`): log of the training: losses by step, held-out metrics by epoch.
        facts (`dict`): what the card says of the training.
    """

    checkpoint: Path
    history: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def train(
    sources: Sources,
    output_dir: str | Path,
    *,
    recipe: str | Path = "quick",
    overrides: Sequence[str] = (),
    cache_dir: str | Path | None = None,
    num_proc: int | None = None,
    resume: bool = False,
    synthetic: bool = False,
) -> Run:
    """Train one encoder jointly on several sources and save it.

    Every output is a concept of the unified vocabulary; each record is scored on the classes of its own source only.
    The curve is measured on a validation part carved from the train groups (`data.validation` of the recipe); the test
    split is not touched.

    Args:
        sources (`Mapping`): folder of the raw data by source name; `None` takes `$CLIMB_DATA/NAME`.
        output_dir (`str` or `Path`): the checkpoint goes to `output_dir/model`.
        recipe (`str` or `Path`, *optional*, defaults to `"quick"`): a recipe of the library or a YAML file.
        overrides (`Sequence[str]`, *optional*): `section.key=value` for keys of the recipe.
        cache_dir (`str` or `Path`, *optional*): where tables are built.
        num_proc (`int`, *optional*): worker processes of each build.
        resume (`bool`, *optional*, defaults to `False`): go on from the last checkpoint of `output_dir/trainer`.
        synthetic (`bool`, *optional*, defaults to `False`): the data is synthetic; the card and results say so.
            Miniatures are recognised without it.

    Returns:
        `Run`.

    Raises:
        AccessError: the raw data of a source is missing, or there is no checkpoint to go on from.
        OptionError: a key of the recipe does not exist, or a source that the model cannot read.
        TrainingError: the loss is no longer finite; the records of the batch are named.
    """
    from transformers import set_seed

    from climb_hf.hub import save_checkpoint

    if resume and not is_begun(output_dir):
        raise AccessError(
            f"`{Path(output_dir) / 'trainer'}` holds no checkpoint to go on from; start without `--resume`."
        )
    check_classes(list(sources))
    settings = load_recipe(recipe, overrides)
    settings.pop("search", None)  # what could be tried is no part of what was done
    data = settings["data"]
    set_seed(settings["training"].get("seed", 42))
    model = build_model(settings, model_classes(list(sources), _options(data), data.get("vocabulary", "concepts")))
    processor = build_processor(settings, model)
    check_inputs(entry_of(model.config.model_type), processor, list(sources))
    load = functools.partial(load_parts, sources, options=_options(data), cache_dir=cache_dir, num_proc=num_proc)
    parts = load(split=data.get("train_split", "train"))
    held_out = load(split=data.get("eval_split", "validation"), is_required=False)
    mixed = [
        combine(
            list(part.values()),
            vocabulary=data.get("vocabulary", "concepts"),
            of=label_schemes(list(sources), _options(data)),
        )
        if part
        else None
        for part in (repeat_rows(parts, data.get("repeat") or {}), held_out)
    ]
    trainer = _trainer(settings, Path(output_dir), model, processor, (mixed[0], mixed[1]))
    trainer.train(resume_from_checkpoint=True if resume else None)
    facts = _training_facts(settings, sources, parts, seed=trainer.args.seed, synthetic=synthetic)
    folder = Path(output_dir) / "model"
    if trainer.is_world_process_zero():
        save_checkpoint(folder, trainer.model, processor, recipe=settings, training=facts)
        write_training(folder, facts, settings, trainer.state.log_history)
    trainer.accelerator.wait_for_everyone()
    return Run(folder, trainer.state.log_history, facts)


def is_begun(output_dir: str | Path) -> bool:
    """Whether a run has saved a checkpoint that it can go on from.

    Args:
        output_dir (`str` or `Path`): of `train`.

    Returns:
        `bool`.

    Example:
        >>> is_begun("no/such/folder")
        False
    """
    return any((Path(output_dir) / "trainer").glob("checkpoint-*"))


def _training_facts(
    settings: Mapping[str, Any], sources: Sources, parts: "Mapping[str, Dataset]", *, seed: int, synthetic: bool
) -> dict[str, Any]:
    options = _options(settings["data"])
    return {
        "sources": list(sources),
        "recipe": settings["name"],
        "seed": seed,
        "n_examples": {name: len(part) for name, part in parts.items()},
        "data_fingerprints": {name: data_fingerprint(part) for name, part in parts.items()},
        "options": {name: source_options(name, options) for name in sources},
        "synthetic": synthetic or is_synthetic(sources),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": provenance(),
    }


def _options(data: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return data.get("options") or {}


def _trainer(
    settings: Mapping[str, Any],
    folder: Path,
    model: Any,  # noqa: ANN401 - any classifier
    processor: Any,  # noqa: ANN401 - any processor
    parts: "tuple[Dataset, Dataset | None]",
) -> "ClimbTrainer":
    from climb_hf.training.progress import use_plain_progress
    from climb_hf.training.recipes import training_arguments
    from climb_hf.training.trainer import ClimbTrainer

    unscored = {} if parts[1] is not None else {"eval_strategy": "no", "load_best_model_at_end": False}
    arguments = training_arguments(settings, folder / "trainer", **unscored)
    trainer = ClimbTrainer(model, arguments, train_dataset=parts[0], eval_dataset=parts[1], processing_class=processor)
    use_plain_progress(trainer)
    return trainer


@dataclass
class Predicted:
    """What a checkpoint predicts for one split of several sources.

    Args:
        trainer (`ClimbTrainer`): holds the model.
        facts (`dict`): facts of the checkpoint's training.
        parts (`dict[str, Dataset]`): the split of each source, with the options of the checkpoint's recipe.
        mixture (`Dataset`): all of them.
        rows (`dict`): ids, sources, logits and more; see `ClimbTrainer.predict_rows`.
    """

    trainer: "ClimbTrainer"
    facts: dict[str, Any]
    parts: "dict[str, Dataset]"
    mixture: "Dataset"
    rows: dict[str, Any]


def predict(
    checkpoint: str | Path,
    sources: Sources,
    *,
    split: str = "test",
    batch_size: int = 64,
    cache_dir: str | Path | None = None,
    num_proc: int | None = None,
) -> Predicted:
    """Compute the logits of a checkpoint for one split of several sources.

    Args:
        checkpoint (`str` or `Path`): folder or Hub repository of a model of ours.
        sources (`Mapping`): folder of the raw data by source name; the model must have been trained on each.
        split (`str`, *optional*, defaults to `"test"`): the split.
        batch_size (`int`, *optional*, defaults to `64`): records per batch.
        cache_dir (`str` or `Path`, *optional*): where tables are built.
        num_proc (`int`, *optional*): worker processes of each build.

    Returns:
        `Predicted`.

    Raises:
        AccessError: the checkpoint is not there.
        VocabularyError: the checkpoint lacks a class of a source; the message names what is missing.
        SplitError: a source has no such split.
    """
    model, processor, facts = _load(checkpoint)
    data = facts.get("recipe_settings", {}).get("data", {})
    vocabulary = data.get("vocabulary", "concepts")
    classes = model_classes(list(sources), _options(data), vocabulary)["source_classes"]
    for name, concepts in classes.items():
        model.require_source(name, concepts)
    parts = load_parts(sources, split, _options(data), cache_dir=cache_dir, num_proc=num_proc)
    mixture = combine(
        list(parts.values()), vocabulary=vocabulary, of=label_schemes(facts.get("sources", ()), _options(data))
    )
    trainer = _evaluator(model, processor, mixture, batch_size)
    return Predicted(trainer, facts, parts, mixture, trainer.predict_rows(mixture))


def evaluate(
    checkpoint: str | Path,
    sources: Sources,
    *,
    split: str = "test",
    output_dir: str | Path | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
    definition: str = "climb",
    subgroups: bool = True,
    calibration: bool = True,
    batch_size: int = 64,
    cache_dir: str | Path | None = None,
    num_proc: int | None = None,
) -> list[ResultRow]:
    """Score a checkpoint on one split of several sources, with patient-cluster bootstrap intervals.

    Where a source names copies of the same content (`duplicate_of`), its scored split is scored a second time without
    them; those rows carry `settings["without_duplicates"]`.

    Args:
        checkpoint (`str` or `Path`): folder or Hub repository of a model of ours.
        sources (`Mapping`): folder of the raw data by source name; the model must have been trained on each.
        split (`str`, *optional*, defaults to `"test"`): the split to score.
        output_dir (`str` or `Path`, *optional*): where `results.jsonl` and `predictions.npz` go; nowhere where absent.
        n_bootstrap (`int`, *optional*, defaults to `1000`): bootstrap resamples; 0 for no intervals.
        seed (`int`, *optional*, defaults to `0`): seed of the bootstrap.
        definition (`str`, *optional*, defaults to `"climb"`): `"paper"` for the numbers as the paper prints them.
        subgroups (`bool`, *optional*, defaults to `True`): score each source also by sex and age band, where it has
            them; see `climb_hf.metrics.age_bands`.
        calibration (`bool`, *optional*, defaults to `True`): add Brier score and expected calibration error.
        batch_size (`int`, *optional*, defaults to `64`): records per batch.
        cache_dir (`str` or `Path`, *optional*): where tables are built.
        num_proc (`int`, *optional*): worker processes of each build.

    Returns:
        `list[ResultRow]`: per source (and its subgroups), per modality and over all sources. `settings` names the
        `architecture`, and whether the model was trained on one source or several (`training`).

    Raises:
        AccessError: the checkpoint is not there.
        VocabularyError: the checkpoint lacks a class of a source; the message names what is missing.
        SplitError: a source has no such split.
    """
    from climb_hf.training.evaluation import save_rows

    predicted = predict(
        checkpoint, sources, split=split, batch_size=batch_size, cache_dir=cache_dir, num_proc=num_proc
    )
    trainer, model, facts = predicted.trainer, predicted.trainer.model, predicted.facts
    parts, mixture, rows = predicted.parts, predicted.mixture, predicted.rows
    duplicates = {
        (name, id_)
        for name, part in parts.items()
        for id_, of in zip(part["id"], part["duplicate_of"], strict=True)
        if of
    }
    scoring = {"definition": definition, "n_bootstrap": n_bootstrap, "seed": seed, "calibration": calibration}
    strata = demographics(mixture, rows) if subgroups else {}
    common = _common_facts(checkpoint, facts, parts, split, synthetic=is_synthetic(sources))
    common["settings"] = {**architecture_of(model, facts), **_other_splits(parts, facts)}
    results = _score(trainer, rows, {**scoring, "subgroups": strata}, common)
    if duplicates:
        affected = {name for name, _ in duplicates}
        kept = [
            position
            for position, key in enumerate(zip(rows["sources"], rows["ids"], strict=True))
            if key[0] in affected and key not in duplicates
        ]
        again = _score(
            trainer, _select(rows, kept), scoring, {**common, "settings": {**common["settings"], **WITHOUT_DUPLICATES}}
        )
        results += [row for row in again if row.level == "source"]
    if output_dir is not None:
        write_results(Path(output_dir) / "results.jsonl", results)
        save_rows(rows, Path(output_dir) / "predictions.npz", model.config.vocabulary)
    return results


def _other_splits(names: Iterable[str], facts: Mapping[str, Any]) -> dict[str, Any]:
    """The setting that says which sources are not scored on their default split, such as the paper's, if any."""
    options = _options(facts.get("recipe_settings", {}).get("data", {}))
    chosen = {name: source_options(name, options).get("split_by", "official") for name in names}
    others = {name: split for name, split in chosen.items() if split != "official"}
    return {"split_by": others} if others else {}


def _load(checkpoint: str | Path) -> tuple[Any, Any, dict[str, Any]]:
    """Return model, processor and facts of a checkpoint."""
    model, processor, folder = load_checkpoint(checkpoint)
    return model, processor, read_training(folder)


def _evaluator(model: Any, processor: Any, mixture: "Dataset", batch_size: int) -> "ClimbTrainer":  # noqa: ANN401
    from climb_hf.training.arguments import ClimbTrainingArguments
    from climb_hf.training.progress import use_plain_progress
    from climb_hf.training.trainer import ClimbTrainer

    arguments = ClimbTrainingArguments(output_dir=None, per_device_eval_batch_size=batch_size)
    trainer = ClimbTrainer(model, arguments, eval_dataset=mixture, processing_class=processor)
    use_plain_progress(trainer)
    return trainer


def _common_facts(
    checkpoint: str | Path, facts: Mapping[str, Any], parts: Mapping[str, Any], split: str, *, synthetic: bool
) -> dict[str, Any]:
    return {
        "split": split,
        "protocol": "multitask",
        "model": Path(checkpoint).name,
        "seed": facts.get("seed"),
        "recipe_hash": facts.get("recipe_hash"),
        "synthetic": synthetic or bool(facts.get("synthetic", False)),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": provenance(),
        "facts_by_source": {name: {"data_fingerprint": data_fingerprint(part)} for name, part in parts.items()},
    }


def _score(
    trainer: "ClimbTrainer", rows: dict[str, Any], scoring: Mapping[str, Any], facts: Mapping[str, Any]
) -> list[ResultRow]:
    from climb_hf.training.evaluation import Scheme, score_rows

    config = trainer.model.config
    scheme = Scheme(config.vocabulary, config.source_classes, config.source_multi_label)
    present = {name: name for name in dict.fromkeys(rows["sources"])}
    _, table = score_rows(rows, rows["sources"], scheme.relabelled(present), **scoring)
    return rows_from_metrics(table, **facts)


def _select(rows: Mapping[str, Any], positions: Sequence[int]) -> dict[str, Any]:
    """Keep some rows of what `predict_rows` returned."""
    import numpy as np

    kept = np.asarray(positions, dtype=np.int64)
    return {
        key: values[kept] if isinstance(values, np.ndarray) else [values[position] for position in positions]
        for key, values in rows.items()
    }
