"""Fine-tuning a vision-language model on CLIMB-QA with low-rank adapters (CLIMB paper, appendix B)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.errors import DependencyError, OptionError
from climb_hf.hub.training_file import write_training
from climb_hf.mixture import source_options
from climb_hf.optional import require
from climb_hf.protocols.data import Sources, is_synthetic
from climb_hf.protocols.qa_run import load_questions
from climb_hf.provenance import provenance
from climb_hf.qa.chat import context_limit
from climb_hf.qa.vlm import adapter_folder, load_base
from climb_hf.training.recipes import load_recipe
from climb_hf.training.vlm_recipe import VLM_TYPE, LoraSettings

if TYPE_CHECKING:
    from datasets import Dataset

    from climb_hf.training.answers import AdapterTrainer

__all__ = ["FineTuning", "adapt", "finetune_questions"]

#: What models call the module between vision and language.
PROJECTORS = ("multi_modal_projector", "visual.merger", "connector", "mlp1", "aligner")


@dataclass
class FineTuning:
    """A finished fine-tuning.

    Args:
        adapter (`Path`): folder of the adapter with processor, card and recipe.
        history (`list[dict]`): log of the training.
        facts (`dict`): what the card says.
    """

    adapter: Path
    history: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def finetune_questions(
    model: str | Path,
    sources: Sources,
    output_dir: str | Path,
    *,
    recipe: str | Path = "qa/lora",
    overrides: Sequence[str] = (),
    base_model: str | None = None,
    base_model_license: str | None = None,
    chat_template: str | Path | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    resume: bool = False,
    synthetic: bool = False,
    cache_dir: str | Path | None = None,
    num_proc: int | None = None,
) -> FineTuning:
    """Train adapters on the questions of several sources and save them with a card.

    The loss is on the tokens of the answers and their ends only. Where a source has a validation split, its loss is
    logged; nothing is chosen on it, and the test split is not touched.

    Args:
        model (`str` or `Path`): folder or Hub repository of an image-text-to-text model of transformers.
        sources (`Mapping`): folder of the raw data by source name.
        output_dir (`str` or `Path`): the adapter goes to `output_dir/adapter`.
        recipe (`str` or `Path`, *optional*, defaults to `"qa/lora"`): a recipe of the library or a YAML file.
        overrides (`Sequence[str]`, *optional*): `section.key=value`.
        base_model (`str`, *optional*): Hub name of the base, for the card, where `model` is a local copy.
        base_model_license (`str`, *optional*): licence of the base.
        chat_template (`str` or `Path`, *optional*): a Jinja file in place of the processor's template.
        options (`Mapping`, *optional*): options by source beside those of the recipe.
        resume (`bool`, *optional*, defaults to `False`): go on from the last checkpoint of `output_dir/trainer`.
        synthetic (`bool`, *optional*, defaults to `False`): the data is synthetic; miniatures are recognised without.
        cache_dir (`str` or `Path`, *optional*): where tables are built.
        num_proc (`int`, *optional*): worker processes of each build.

    Returns:
        `FineTuning`.

    Raises:
        AccessError: model or raw data is not there.
        OptionError: a recipe of another kind, no chat template, or a question that does not fit into the context.
        DependencyError: QLoRA without a GPU or without `bitsandbytes`.
        TrainingError: the loss is no longer finite.
    """
    from transformers import set_seed
    from transformers.trainer_utils import get_last_checkpoint

    from climb_hf.hub.adapter import save_adapter
    from climb_hf.qa.scoring import fingerprints_of

    settings = load_recipe(recipe, overrides)
    if settings["model"].get("type") != VLM_TYPE:
        raise OptionError(
            f"`{settings['name']}` is a recipe of encoders; choose `qa/lora`, `qa/quick` or one of yours."
        )
    lora, data = LoraSettings.of(settings["model"]), settings["data"]
    quantized = _quantized(lora)
    if adapter_folder(model) is not None:
        raise OptionError(f"`{model}` is an adapter; give its base, or merge it first (`merge_and_unload` of peft).")
    set_seed(settings["training"].get("seed", 42))
    chosen = _joined(data.get("options") or {}, options or {})
    how: dict[str, Any] = {"cache_dir": cache_dir, "num_proc": num_proc or data.get("num_proc")}
    parts = load_questions(sources, data.get("train_split", "train"), chosen, **how)
    held_out = load_questions(sources, data.get("eval_split", "validation"), chosen, is_required=False, **how)
    folder = Path(output_dir) / "trainer"
    base, processor = load_base(str(model), dtype=lora.dtype, chat_template=chat_template, **quantized)
    trainer = _trainer(base, processor, lora, settings["training"], folder, parts, held_out)
    last = get_last_checkpoint(str(folder)) if resume and folder.is_dir() else None
    trainer.train(resume_from_checkpoint=last)
    facts = {
        **_base_facts(model, base_model, base_model_license),
        "sources": list(sources),
        "recipe": settings["name"],
        "seed": trainer.args.seed,
        "n_examples": {name: len(part) for name, part in parts.items()},
        "data_fingerprints": fingerprints_of(_one(parts).select_columns(["id", "source", "answers"])),
        "options": {name: source_options(name, chosen) for name in sources},
        "synthetic": synthetic or is_synthetic(sources),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": provenance(),
    }
    target = Path(output_dir) / "adapter"
    if trainer.is_world_process_zero():
        save_adapter(target, trainer.model, processor, recipe=settings, training=facts)
        write_training(target, facts, settings, trainer.state.log_history)
    trainer.accelerator.wait_for_everyone()
    return FineTuning(target, trainer.state.log_history, facts)


def _trainer(
    base: Any,  # noqa: ANN401 - any model
    processor: Any,  # noqa: ANN401 - any processor
    lora: LoraSettings,
    training: Mapping[str, Any],
    folder: Path,
    parts: "Mapping[str, Dataset]",
    held_out: "Mapping[str, Dataset]",
) -> "AdapterTrainer":
    from transformers import TrainingArguments

    from climb_hf.training.answers import AdapterTrainer, AnswerCollator
    from climb_hf.training.progress import use_plain_progress

    given = {**training, "remove_unused_columns": False, "label_names": ["labels"]}
    if not held_out:
        given["eval_strategy"] = "no"
    collator = AnswerCollator(processor, processor.tokenizer.pad_token_id, context_limit(base))
    trainer = AdapterTrainer(
        adapt(base, lora), TrainingArguments(**given, output_dir=str(folder)), train_dataset=_one(parts),
        eval_dataset=_one(held_out) if held_out else None, data_collator=collator, processing_class=processor,
        projector_learning_rate=lora.projector_learning_rate,
    )  # fmt: skip
    use_plain_progress(trainer)
    return trainer


def _base_facts(model: str | Path, name: str | None, licence: str | None) -> dict[str, Any]:
    """Return name and licence of the base; those of a local copy are not known unless they are said."""
    is_local = Path(str(model)).exists()
    return {
        "base_model": name or (Path(model).resolve().name if is_local else str(model)),
        "base_model_license": licence or ("unknown" if is_local else None),
    }


def _joined(*parts: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    names = {name for part in parts for name in part}
    return {name: {key: value for part in parts for key, value in part.get(name, {}).items()} for name in names}


def _one(parts: "Mapping[str, Dataset]") -> "Dataset":
    import datasets

    return datasets.concatenate_datasets(list(parts.values()))


def _quantized(lora: LoraSettings) -> dict[str, Any]:
    """Return the arguments of `from_pretrained` that QLoRA needs."""
    if lora.quantize is None:
        return {}
    import torch

    if not torch.cuda.is_available():
        raise DependencyError(
            "QLoRA (`model.quantize=4bit`) needs a GPU, and torch finds none. Leave `model.quantize` out to train "
            "plain LoRA on this machine."
        )
    require("bitsandbytes", extra="vlm")
    from transformers import BitsAndBytesConfig

    how = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=[*PROJECTORS, "lm_head", "vision_tower", "visual"],
    )  # fmt: skip
    return {"quantization_config": how, "device_map": {"": torch.cuda.current_device()}}


def adapt(model: Any, lora: LoraSettings) -> Any:  # noqa: ANN401 - any model
    """Put adapters on the language model, and unfreeze the projector.

    Args:
        model: an image-text-to-text model of transformers.
        lora (`LoraSettings`): rank, targets and more.

    Returns:
        A `PeftModel`; only adapters and projector are trained.

    Raises:
        OptionError: the language model has no layer with a target's name, or the projector is not found.

    Example:
        >>> LoraSettings(rank=4, alpha=8).targets[0]
        'q_proj'
    """
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
    from torch import nn

    modules = dict(model.named_modules())
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else None
    prefix = next((name for name, module in modules.items() if module is decoder and name), "")
    found = {
        name.rpartition(".")[2]
        for name, module in modules.items()
        if name.startswith(f"{prefix}.") and isinstance(module, nn.Linear)
    }
    if missing := [target for target in lora.targets if target not in found]:
        raise OptionError(
            f"the language model (`{prefix}`) has no linear layers {missing}; it has {sorted(found)}. Name its own: "
            "`--set model.targets=[…]`."
        )
    projector = _projector(modules, lora.projector)
    if lora.quantize:
        model = prepare_model_for_kbit_training(model)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=rf"{re.escape(prefix)}\..*\.({'|'.join(map(re.escape, lora.targets))})",
        modules_to_save=[projector] if projector else None,
        bias="none",
    )
    adapted = get_peft_model(model, config)
    if hasattr(adapted, "enable_input_require_grads"):
        adapted.enable_input_require_grads()  # so that checkpointing reaches the adapters of frozen layers
    return adapted


def _projector(modules: Mapping[str, Any], wanted: str) -> str | None:
    """Return the name of the projector as `modules_to_save` takes it: the end of its dotted name."""
    if wanted == "none":
        return None
    names = PROJECTORS if wanted == "auto" else (wanted,)
    for name in names:
        if any(found == name or found.endswith(f".{name}") for found in modules):
            return name
    raise OptionError(
        f"no projector was found under the names {list(names)}. Name it with `--set model.projector=NAME`, or leave "
        "it frozen with `--set model.projector=none`."
    )
