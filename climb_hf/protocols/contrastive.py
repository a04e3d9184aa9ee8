"""Contrastive image-text pretraining: `climb train --recipe openpmc/…` (Open-PMC-18M, arXiv 2506.02738)."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from climb_hf.errors import OptionError
from climb_hf.hub.training_file import write_training
from climb_hf.mixture import combine, source_options
from climb_hf.models.dual_encoder import base_models, build_dual_encoder
from climb_hf.protocols.data import Sources, is_synthetic
from climb_hf.protocols.multitask import Run
from climb_hf.protocols.pairs import load_pairs
from climb_hf.provenance import provenance
from climb_hf.splits import group_fraction
from climb_hf.training.recipes import is_contrastive, load_recipe, training_arguments

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import ProcessorMixin

    from climb_hf.training.contrastive_trainer import ContrastiveTrainer

__all__ = ["hold_out", "train"]

logger = logging.getLogger(__name__)

Parts = dict[str, "Dataset"]


def train(
    sources: Sources,
    output_dir: str | Path,
    *,
    recipe: str | Path = "openpmc/quick",
    overrides: Sequence[str] = (),
    cache_dir: str | Path | None = None,
    num_proc: int | None = None,
    resume: bool = False,
    synthetic: bool = False,
) -> Run:
    """Pretrain a dual encoder on the pairs of image and text of several sources, and save it.

    `output_dir/model` is what `VisionTextDualEncoderModel.from_pretrained` and
    `VisionTextDualEncoderProcessor.from_pretrained` load after `import climb_hf`. The curve (loss and recall@1) is
    measured on `data.held_out` of the train groups; no other split is touched.

    Args:
        sources (`Mapping`): folder of the raw data by source name; `None` takes `$CLIMB_DATA/NAME`.
        output_dir (`str` or `Path`): folder of the run.
        recipe (`str` or `Path`, *optional*, defaults to `"openpmc/quick"`): a recipe of the library or a YAML file,
            whose model is of the type `vision-text-dual-encoder`.
        overrides (`Sequence[str]`, *optional*): `section.key=value` for keys of the recipe.
        cache_dir (`str` or `Path`, *optional*): where tables are built.
        num_proc (`int`, *optional*): worker processes of each build.
        resume (`bool`, *optional*, defaults to `False`): go on from the last checkpoint of `output_dir/trainer`.
        synthetic (`bool`, *optional*, defaults to `False`): the data is synthetic; the card says so.

    Returns:
        `Run`: its `facts["pairs"]` say how many rows were left out and how many texts were cut.

    Raises:
        AccessError: the raw data of a source is missing.
        OptionError: a key of the recipe does not exist, or values that contradict each other.
        SchemaError: a source without pairs.
        TrainingError: embeddings or a loss that are not finite; records are named.
    """
    from transformers import set_seed

    settings, output_dir = load_recipe(recipe, overrides), Path(output_dir)
    if not is_contrastive(settings):
        raise OptionError(f"the recipe `{settings['name']}` trains no dual encoder; use `climb train` on it.")
    arguments = training_arguments(settings, output_dir / "trainer")  # joins the processes of a distributed run
    set_seed(arguments.seed)
    data, options = settings["data"], settings["data"].get("options") or {}
    loaded = load_pairs(
        sources, data.get("train_split", "train"), options=options, cache_dir=cache_dir, num_proc=num_proc
    )
    split = {name: hold_out(part, data.get("held_out", 0.0), arguments.seed) for name, part in loaded.items()}
    tokenizer = _tokenizer(settings, [part for part, _ in split.values()], output_dir / "tokenizer", resume=resume)
    parts, counts = _usable({name: part for name, (part, _) in split.items()}, tokenizer)
    held, held_counts = _usable({name: part for name, (_, part) in split.items() if len(part)}, tokenizer)
    trainer = _trainer(settings, output_dir, tokenizer, parts, held)
    trainer.train(resume_from_checkpoint=True if resume else None)
    facts = _facts(settings, sources, parts, synthetic=synthetic)
    if trainer.is_world_process_zero():
        more: dict[str, Any] = {"pairs": counts, "pairs_held_out": held_counts, "no_pairs": loaded.dropped}
        more["contrastive_batch"] = trainer.args.train_batch_size * trainer.args.world_size
        _save(trainer, output_dir / "model", settings, facts, more)
    trainer.accelerator.wait_for_everyone()
    return Run(output_dir / "model", trainer.state.log_history, {**facts, "pairs": counts})


def hold_out(dataset: "Dataset", share: float, seed: int) -> "tuple[Dataset, Dataset]":
    """Take a share of the groups aside.

    Args:
        dataset (`Dataset`): rows with `group`; without that column every row is one, by its `id`.
        share (`float`): of the groups, in [0, 1).
        seed (`int`): seed of the draw.

    Returns:
        `tuple[Dataset, Dataset]`: the rest, and what was taken. No group is in both.

    Raises:
        OptionError: a share out of range.
    """
    if not 0 <= share < 1:
        raise OptionError(f"`data.held_out` must be in [0, 1), found {share!r}.")
    column = "group" if "group" in dataset.column_names else "id"
    groups = dataset.with_format(None).select_columns([column])[column][:] if share else []
    taken = {group for group in set(groups) if group_fraction(str(group), seed, salt="held out") < share}
    inside = [row for row, group in enumerate(groups) if group in taken]
    if not inside:
        return dataset, dataset.select([])
    return dataset.select([row for row, group in enumerate(groups) if group not in taken]), dataset.select(inside)


def _usable(parts: Parts, tokenizer: Any) -> tuple[Parts, dict[str, dict[str, int]]]:  # noqa: ANN401 - a tokenizer
    from climb_hf.training.contrastive_data import usable_pairs

    kept, counts = {}, {}
    for name, part in parts.items():
        kept[name], found = usable_pairs(part, tokenizer, name=name)
        counts[name] = found.as_dict()
        if found.without_image or found.without_text or found.truncated:
            logger.warning(
                "%s: of %d rows, %d without image and %d without text are left out; %d texts are cut to %d tokens",
                name, found.rows, found.without_image, found.without_text, found.truncated, tokenizer.model_max_length,
            )  # fmt: skip
    return kept, counts


def _tokenizer(settings: Mapping[str, Any], parts: "Sequence[Dataset]", folder: Path, *, resume: bool) -> Any:  # noqa: ANN401
    """Return the tokenizer of a recipe; one that is trained is kept in `folder`, where a resumed run finds it."""
    from accelerate import PartialState
    from transformers import AutoTokenizer

    text = settings["model"]["text"]
    name, length = text.get("tokenizer") or text.get("pretrained"), text.get("max_length", 256)
    if not isinstance(name, str):
        raise OptionError("`model.text.tokenizer` must be a Hub repository, a folder or `train`, but is absent.")
    if name != "train":
        return AutoTokenizer.from_pretrained(name, model_max_length=length)
    if text.get("pretrained"):
        raise OptionError(
            "`model.text.tokenizer` is `train`, but the tower has pretrained weights; take their own tokenizer."
        )
    state = PartialState()
    if state.is_main_process and not (resume and (folder / "tokenizer_config.json").is_file()):
        from climb_hf.models.dual_encoder import tower_fields
        from climb_hf.processing.text import fit_tokenizer

        _, fields = tower_fields("text", _tower(text))
        size = fields.get("vocab_size", 30522)
        fit_tokenizer(_texts(parts), vocab_size=size, max_length=length).save_pretrained(folder)
    state.wait_for_everyone()
    return AutoTokenizer.from_pretrained(folder)


def _texts(parts: "Sequence[Dataset]") -> Iterator[str]:
    from climb_hf.training.contrastive_data import clean_text

    for part in parts:
        for block in part.select_columns(["text"]).with_format(None).iter(batch_size=1000):
            yield from (clean_text(text) for text in block["text"] if text)


def _tower(text: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in text.items() if key not in ("tokenizer", "max_length")}


def _model(settings: Mapping[str, Any], tokenizer: Any) -> Any:  # noqa: ANN401 - a tokenizer; a model
    model = settings["model"]
    more = {"vocab_size": len(tokenizer)} if model["text"].get("tokenizer") == "train" else {}
    fields = {key: value for key, value in model.items() if key not in ("type", "image", "text")}
    built = build_dual_encoder(model["image"], _tower(model["text"]), **fields, **more)
    config = built.config.text_config
    for limit, needed, what in (
        ("vocab_size", len(tokenizer), "tokens of the tokenizer"),
        ("max_position_embeddings", tokenizer.model_max_length, "`model.text.max_length`"),
    ):
        if getattr(config, limit, needed) < needed:
            raise OptionError(
                f"the text tower has `{limit}` {getattr(config, limit)}, but needs {needed} ({what}); set "
                f"`model.text.{limit}`, or choose another tokenizer."
            )
    return built


def _trainer(
    settings: Mapping[str, Any],
    output_dir: Path,
    tokenizer: Any,  # noqa: ANN401 - any tokenizer
    parts: Parts,
    held: Parts,
) -> "ContrastiveTrainer":
    from transformers import VisionTextDualEncoderProcessor

    from climb_hf.processing.image_processor import ClimbImageProcessor
    from climb_hf.training.contrastive_trainer import ContrastiveTrainer
    from climb_hf.training.progress import use_plain_progress

    unscored = {} if held else {"eval_strategy": "no", "load_best_model_at_end": False}
    arguments: Any = training_arguments(settings, output_dir / "trainer", **unscored)
    trainer = ContrastiveTrainer(
        _model(settings, tokenizer),
        arguments,
        train_dataset=combine(list(parts.values())),
        eval_dataset=combine(list(held.values())) if held else None,
        processing_class=VisionTextDualEncoderProcessor(ClimbImageProcessor(**settings["processor"]), tokenizer),
    )
    use_plain_progress(trainer)
    return trainer


def _facts(settings: Mapping[str, Any], sources: Sources, parts: Parts, *, synthetic: bool) -> dict[str, Any]:
    from climb_hf.training.contrastive_data import pairs_fingerprint

    options = settings["data"].get("options") or {}
    weights = base_models(settings["model"]["image"], _tower(settings["model"]["text"]))
    return {
        "sources": list(sources),
        "recipe": settings["name"],
        "seed": settings["training"].get("seed", 42),
        "base_model": weights[0] if weights else None,
        "further_base_models": weights[1:],
        "n_examples": {name: len(part) for name, part in parts.items()},
        "data_fingerprints": {name: pairs_fingerprint(part) for name, part in parts.items()},
        "options": {name: source_options(name, options) for name in sources},
        "synthetic": synthetic or is_synthetic(sources),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": provenance(),
    }


def _save(
    trainer: "ContrastiveTrainer",
    folder: Path,
    settings: Mapping[str, Any],
    facts: dict[str, Any],
    more: Mapping[str, Any],
) -> None:
    from climb_hf.hub import save_checkpoint

    model, processor = (
        trainer.accelerator.unwrap_model(trainer.model),
        cast("ProcessorMixin", trainer.processing_class),
    )
    save_checkpoint(folder, model, processor, recipe=dict(settings), training=facts)
    write_training(folder, facts, settings, trainer.state.log_history, **more)
