"""`climb pretrain`: an encoder from signals alone, by the objective of its paper."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from climb_hf.errors import OptionError
from climb_hf.hub.training_file import write_training
from climb_hf.mixture import combine, source_options
from climb_hf.models.catalogue import ModelEntry, entry_of
from climb_hf.protocols.checkpoints import build_processor, check_inputs
from climb_hf.protocols.data import Sources, data_fingerprint, is_synthetic, load_parts
from climb_hf.protocols.multitask import Run
from climb_hf.provenance import provenance
from climb_hf.training.recipes import load_recipe, training_arguments

__all__ = ["pretrain"]


def pretrain(
    sources: Sources,
    output_dir: str | Path,
    *,
    recipe: str | Path = "pretrain/ecg_jepa",
    overrides: Sequence[str] = (),
    cache_dir: str | Path | None = None,
    num_proc: int | None = None,
    resume: bool = False,
    synthetic: bool = False,
) -> Run:
    """Pretrain one encoder on several sources without labels, and save it.

    `output_dir/model` is the whole pretraining model, `output_dir/encoder` the encoder with its processor: what
    `model.pretrained=output_dir/encoder` of a training recipe starts from.

    Args:
        sources (`Mapping`): folder of the raw data by source name.
        output_dir (`str` or `Path`): folder of the run.
        recipe (`str` or `Path`, *optional*, defaults to `"pretrain/ecg_jepa"`): a recipe of the library or a file.
        overrides (`Sequence[str]`, *optional*): `section.key=value`.
        cache_dir (`str` or `Path`, *optional*): where tables are built.
        num_proc (`int`, *optional*): worker processes of each build.
        resume (`bool`, *optional*, defaults to `False`): go on from the last checkpoint of `output_dir/trainer`.
        synthetic (`bool`, *optional*, defaults to `False`): the data is synthetic; the card says so.
            Miniatures are recognised without it.

    Returns:
        `Run`: its checkpoint is the encoder.

    Raises:
        OptionError: the model has no pretraining objective, or a source that it cannot read.
        TrainingError: the loss is no longer finite.
    """
    from transformers import set_seed

    from climb_hf.hub import save_checkpoint
    from climb_hf.training.pretraining import PretrainingCollator, PretrainingTrainer
    from climb_hf.training.progress import use_plain_progress

    settings = load_recipe(recipe, overrides)
    output_dir, data = Path(output_dir), settings["data"]
    set_seed(settings["training"].get("seed", 42))
    entry = entry_of(settings["model"]["type"])
    model = _model(entry, settings)
    processor = build_processor(settings, model)
    check_inputs(entry, processor, list(sources))
    options = data.get("options") or {}
    parts = load_parts(sources, data.get("train_split", "train"), options, cache_dir=cache_dir, num_proc=num_proc)
    parts = {name: _usable(part, processor, name) for name, part in parts.items()}
    trainer = PretrainingTrainer(
        model,
        training_arguments(settings, output_dir / "trainer", eval_strategy="no", load_best_model_at_end=False),
        PretrainingCollator(processor),
        train_dataset=combine(list(parts.values())),
        processing_class=processor,
    )
    use_plain_progress(trainer)
    trainer.train(resume_from_checkpoint=True if resume else None)
    facts = {
        "sources": list(sources),
        "recipe": settings["name"],
        "seed": trainer.args.seed,
        "n_examples": {name: len(part) for name, part in parts.items()},
        "data_fingerprints": {name: data_fingerprint(part) for name, part in parts.items()},
        "options": {name: source_options(name, options) for name in sources},
        "synthetic": synthetic or is_synthetic(sources),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": provenance(),
    }
    if trainer.is_world_process_zero():
        _save(trainer, output_dir, processor, settings, facts, save_checkpoint)
    trainer.accelerator.wait_for_everyone()
    return Run(output_dir / "encoder", trainer.state.log_history, facts)


def _save(
    trainer: Any,  # noqa: ANN401 - a PretrainingTrainer
    output_dir: Path,
    processor: Any,  # noqa: ANN401 - any processor
    settings: Mapping[str, Any],
    facts: dict[str, Any],
    save_checkpoint: Any,  # noqa: ANN401 - a function
) -> None:
    whole = trainer.accelerator.unwrap_model(trainer.model)
    whole.save_pretrained(output_dir / "model")
    processor.save_pretrained(output_dir / "model")
    folder = save_checkpoint(
        output_dir / "encoder", whole.base_model, processor, recipe=dict(settings), training=facts
    )
    write_training(folder, facts, settings, trainer.state.log_history)


def _model(entry: ModelEntry, settings: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a pretraining model
    kind = entry.load_pretraining()
    fields = {name: value for name, value in settings["model"].items() if name != "type"}
    pretrained = fields.pop("pretrained", None)
    if pretrained:
        return kind.from_pretrained(str(pretrained), **fields)
    return kind(entry.load("Config")(**fields))


def _usable(part: Any, processor: Any, name: str) -> Any:  # noqa: ANN401 - a Dataset and any processor
    """Leave out records that the processor refuses, or that lack a channel: the objectives need all of them."""

    def keep(row: Mapping[str, Any]) -> bool:
        return bool(processor.is_usable(row)) and bool(processor(row)["channel_mask"].all())

    if not hasattr(processor, "is_usable"):
        return part
    kept = part.with_format("numpy", columns=["signal", "sampling_rate"], output_all_columns=True).filter(
        keep, desc=f"usable records of {name}"
    )
    if not len(kept):
        raise OptionError(f"{name}: none of its {len(part)} records can be used; see the processor's `is_usable`.")
    return kept.with_format(None)
