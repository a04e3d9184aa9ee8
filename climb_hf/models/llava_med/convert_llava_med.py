"""Checkpoints of `microsoft/llava-med-v1.5-mistral-7b` (four safetensors shards, 15.13 GB, bfloat16).

The architecture is that of LLaVA 1.5 with a Mistral-7B-Instruct-v0.2, under a `model_type` that transformers does not
know; `LlavaForConditionalGeneration` holds it. Key map (file -> transformers 5 in memory):

| file | here |
|---|---|
| `model.embed_tokens.*`, `model.layers.*`, `model.norm.*` | `model.language_model.…` |
| `lm_head.weight` | `lm_head.weight` |
| `model.mm_projector.0.*`, `model.mm_projector.2.*` | `model.multi_modal_projector.linear_1.*`, `….linear_2.*` |
| `model.vision_tower.vision_tower.vision_model.*` | `model.vision_tower.*` (`vision_model.` added where needed) |

Not verified against the published weights or their outputs: the map is tested on shards of a tiny configuration whose
forward is compared with CLIP, projector and Mistral put together by hand. Licence: the card says Apache-2.0, the
repository Microsoft Research License (research use); the stricter counts: convert for yourself, do not pass it on.

Which vision tower: the shards hold a fine-tuned copy of OpenAI's CLIP; the official loader of v1.5 uses OpenAI's own
weights instead (issues 105 and 109 of `microsoft/LLaVA-Med`). `vision_tower="checkpoint"` (default) takes the weights
the model was trained with, `"openai"` reproduces the official evaluation.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from climb_hf.errors import AccessError, CorruptFileError, OptionError
from climb_hf.models.checkpoints import load_exactly, read_state_dict

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

__all__ = ["CHAT_TEMPLATE", "build_processor", "convert_checkpoint", "convert_folder", "rename"]

OPENAI_TOWER = "openai/clip-vit-large-patch14-336"
BASE_MODEL, BASE_LICENSE = "microsoft/llava-med-v1.5-mistral-7b", "Microsoft Research License"
IMAGE_TOKEN, PAD_TOKEN = "<image>", "<pad>"
#: Mistral's instructions without a system prompt, as the conversation `mistral_instruct` of the official code.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}[INST] "
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n{% endif %}{% endfor %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
    " [/INST]{% elif message['role'] == 'assistant' %}{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %} {{ part['text'] }}{% endif %}{% endfor %}{{ eos_token }}{% endif %}{% endfor %}"
)
_TOWER = "model.vision_tower.vision_tower.vision_model."
_HEAD_WIDTH = 64  # of CLIP ViT-L/14: 1024 / 16
_MULTIPLE = 64  # the embedding grows to a multiple of this


def rename(name: str, tower_level: str = "") -> str | None:
    """Return the name in transformers 5 of a tensor of the checkpoint; `None` for one that is no weight.

    Args:
        name (`str`): in the shards.
        tower_level (`str`, *optional*, defaults to `""`): `"vision_model."` where the installed CLIP has that level.

    Returns:
        `str`, *optional*.

    Example:
        >>> rename("model.mm_projector.2.bias")
        'model.multi_modal_projector.linear_2.bias'
    """
    if name.endswith(("position_ids", "rotary_emb.inv_freq")):
        return None
    if name.startswith(_TOWER):
        return f"model.vision_tower.{tower_level}{name.removeprefix(_TOWER)}"
    if found := re.fullmatch(r"model\.mm_projector\.([02])\.(weight|bias)", name):
        return f"model.multi_modal_projector.linear_{1 + int(found[1]) // 2}.{found[2]}"
    if re.match(r"model\.(embed_tokens|layers|norm)\.", name):
        return f"model.language_model.{name.removeprefix('model.')}"
    return name


def _read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, "Tensor"]]:
    """Return configuration and tensors of all shards."""
    config_file, index_file = folder / "config.json", folder / "model.safetensors.index.json"
    if not config_file.is_file():
        raise AccessError(
            f"`{folder}` holds no checkpoint of LLaVA-Med: `config.json` is absent. Fetch it with "
            f"`hf download {BASE_MODEL} --local-dir DIR`."
        )
    config = json.loads(config_file.read_text(encoding="utf-8"))
    if config.get("model_type") not in ("llava_mistral", "llava"):
        raise CorruptFileError(
            f"`{config_file}`: expected the `model_type` `llava_mistral` of LLaVA-Med v1.5, found "
            f"{config.get('model_type')!r}."
        )
    if index_file.is_file():
        names = sorted(set(json.loads(index_file.read_text(encoding="utf-8"))["weight_map"].values()))
    else:
        names = sorted(path.name for path in folder.glob("*.safetensors"))
    if any(Path(name).name != name for name in names):
        raise CorruptFileError(f"`{index_file}` names files outside of its folder.")
    if missing := [name for name in names if not (folder / name).is_file()] or (["*.safetensors"] * (not names)):
        raise AccessError(f"`{folder}` lacks {missing}; fetch the checkpoint again (`hf download {BASE_MODEL}`).")
    state: dict[str, Tensor] = {}
    for name in names:
        state.update(read_state_dict(folder / name))
    return config, state


def _config(config: Mapping[str, Any], state: Mapping[str, "Tensor"], heads: int | None) -> "LlavaConfig":
    """Build the configuration: language from the file, vision from the shapes."""
    from transformers import CLIPVisionConfig, LlavaConfig, MistralConfig

    try:
        patches = state[f"{_TOWER}embeddings.patch_embedding.weight"]
        positions = state[f"{_TOWER}embeddings.position_embedding.weight"].shape[0]
        inner = state[f"{_TOWER}encoder.layers.0.mlp.fc1.weight"].shape[0]
        vocabulary = state["model.embed_tokens.weight"].shape[0]
    except KeyError as error:
        raise CorruptFileError(f"the shards have no tensor {error}: they are none of LLaVA-Med v1.5.") from error
    layers = 1 + max(int(name.split(".")[6]) for name in state if name.startswith(f"{_TOWER}encoder.layers."))
    width, _, patch, _ = patches.shape
    side = round((positions - 1) ** 0.5)
    if side * side != positions - 1:
        raise CorruptFileError(f"the vision tower has {positions} positions, which is no square and one.")
    fields = (
        "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
        "max_position_embeddings", "rms_norm_eps", "hidden_act", "bos_token_id", "eos_token_id", "head_dim",
    )  # fmt: skip
    given = {name: config[name] for name in fields if config.get(name) is not None}
    theta = config.get("rope_theta", 1e6)
    total = -(-(vocabulary + 2) // _MULTIPLE) * _MULTIPLE  # <image>, <pad>, and up to a multiple
    text = MistralConfig(
        **given,
        vocab_size=total,
        sliding_window=None,
        rope_parameters={"rope_type": "default", "rope_theta": theta},
        pad_token_id=vocabulary + 1,
        tie_word_embeddings=False,
    )
    vision = CLIPVisionConfig(
        hidden_size=width, intermediate_size=inner, num_hidden_layers=layers, patch_size=patch,
        image_size=side * patch, num_attention_heads=heads or max(width // _HEAD_WIDTH, 1),
        projection_dim=config.get("projection_dim", 768),
    )  # fmt: skip
    return LlavaConfig(
        text_config=text,
        vision_config=vision,
        image_token_index=vocabulary,
        image_seq_length=side * side,
        projector_hidden_act="gelu",
        vision_feature_layer=config.get("mm_vision_select_layer", -2),
        vision_feature_select_strategy="default",
        tie_word_embeddings=False,
    )


def convert_checkpoint(
    folder: str | Path,
    *,
    vision_tower: str = "checkpoint",
    openai_tower: str | Path = OPENAI_TOWER,
    vision_heads: int | None = None,
    dtype: str | None = None,
) -> "LlavaForConditionalGeneration":
    """Build the LLaVA of a checkpoint; nothing of it is left over and nothing of ours is left unfilled.

    Args:
        folder (`str` or `Path`): the checkpoint: `config.json`, shards and their index.
        vision_tower (`str`, *optional*, defaults to `"checkpoint"`): `"checkpoint"` for the tower in the shards,
            `"openai"` for the one that the official loader uses.
        openai_tower (`str` or `Path`, *optional*): folder or Hub repository of that one.
        vision_heads (`int`, *optional*): attention heads of the tower, where a head's width is not 64.
        dtype (`str`, *optional*): type of the weights; that of the shards by default.

    Returns:
        `LlavaForConditionalGeneration`: in evaluation mode, its embedding grown by rows for `<image>` and `<pad>`.

    Raises:
        AccessError: a file is missing.
        CorruptFileError: another architecture, or tensors missing, left over or of other shapes.
        OptionError: an unknown `vision_tower` or `dtype`.
    """
    from transformers import LlavaForConditionalGeneration

    if vision_tower not in ("checkpoint", "openai"):
        raise OptionError(f"`vision_tower` must be 'checkpoint' or 'openai', got {vision_tower!r}.")
    if dtype not in (None, "float32", "bfloat16", "float16"):
        raise OptionError(f"`dtype` must be 'float32', 'bfloat16' or 'float16', got {dtype!r}.")
    raw, state = _read_folder(Path(folder))
    config = _config(raw, state, vision_heads)
    kind = state["lm_head.weight"].dtype if dtype is None else getattr(torch, dtype)
    before = torch.get_default_dtype()
    torch.set_default_dtype(kind)
    try:
        model = LlavaForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(before)
    level = "vision_model." if any(".vision_tower.vision_model." in name for name in model.state_dict()) else ""
    if vision_tower == "openai":
        state = {**state, **_openai_tensors(openai_tower, state)}
    state = {name: value.to(kind) for name, value in state.items()}
    vocabulary, text = config.image_token_index, config.get_text_config()
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        state[name] = _grown(state[name], text.vocab_size)
    load_exactly(model, state, rename=lambda name: rename(name, level), of=f"the checkpoint `{folder}`")
    added = list(range(vocabulary, text.vocab_size))
    model.generation_config.update(
        bos_token_id=raw.get("bos_token_id", 1), eos_token_id=raw.get("eos_token_id", 2), pad_token_id=vocabulary + 1,
        suppress_tokens=added, do_sample=False,
    )  # fmt: skip
    return model.eval()


def _grown(weights: "Tensor", rows: int) -> "Tensor":
    """Add rows for new tokens: their mean, so that nothing about them stands out; they are never read nor written."""
    mean = weights.float().mean(dim=0, keepdim=True).to(weights.dtype)
    return torch.cat([weights, mean.expand(rows - weights.shape[0], -1)])


def _openai_tensors(place: str | Path, state: Mapping[str, "Tensor"]) -> dict[str, "Tensor"]:
    """Return the tensors of OpenAI's tower under the names of the shards; shapes are compared by `load_exactly`."""
    from transformers import CLIPVisionModel

    try:
        own = CLIPVisionModel.from_pretrained(str(place)).state_dict()
    except (OSError, ValueError) as error:
        raise AccessError(
            f"expected CLIP's vision tower in the folder or Hub repository `{place}`, but it cannot be loaded: {error}"
        ) from error
    found = {_TOWER + name.removeprefix("vision_model."): value for name, value in own.items()}
    found = {name: value for name, value in found.items() if not name.endswith("position_ids")}
    wanted = {name for name in state if name.startswith(_TOWER) and not name.endswith("position_ids")}
    if set(found) != wanted:
        raise CorruptFileError(
            f"`{place}` has not the tensors of the checkpoint's tower: {sorted(set(found) ^ wanted)[:6]} differ."
        )
    return found


def build_processor(folder: str | Path, config: "LlavaConfig") -> "LlavaProcessor":
    """Build the processor: pad to a square with CLIP's mean colour, resize bicubic, Mistral's instructions.

    Args:
        folder (`str` or `Path`): the checkpoint, with its tokenizer.
        config (`LlavaConfig`): of the converted model.

    Returns:
        `LlavaProcessor`: with a chat template.

    Raises:
        AccessError: the folder has no tokenizer.
        CorruptFileError: the tokenizer has another vocabulary than the embedding.
    """
    from transformers import AutoTokenizer, LlavaImageProcessor, LlavaProcessor

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder))
    except (OSError, ValueError, KeyError) as error:
        raise AccessError(f"`{folder}` has no tokenizer that can be loaded: {error}") from error
    if len(tokenizer) != config.image_token_index:
        raise CorruptFileError(
            f"the tokenizer of `{folder}` has {len(tokenizer)} tokens, its embedding {config.image_token_index} rows."
        )
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE_TOKEN]})
    tokenizer.add_special_tokens({"pad_token": PAD_TOKEN})
    vision: Any = config.vision_config
    side = vision.image_size
    pictures = LlavaImageProcessor(
        do_pad=True, size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    )
    return LlavaProcessor(
        pictures, tokenizer, patch_size=vision.patch_size, vision_feature_select_strategy="default",
        chat_template=CHAT_TEMPLATE, num_additional_image_tokens=1,
    )  # fmt: skip


def convert_folder(folder: str | Path, to: str | Path, **options: Any) -> Path:  # noqa: ANN401 - of convert_checkpoint
    """Convert a checkpoint and save model and processor, for `climb qa run` and everything else in transformers.

    Args:
        folder (`str` or `Path`): the published checkpoint.
        to (`str` or `Path`): folder for the result.
        **options: as of `convert_checkpoint`.

    Returns:
        `Path`: the folder.
    """
    import inspect

    known = [name for name in inspect.signature(convert_checkpoint).parameters if name != "folder"]
    if unknown := sorted(set(options) - set(known)):
        raise OptionError(f"llava_med: there are no options {unknown}; it has {', '.join(known)}.")
    model = convert_checkpoint(folder, **options)
    processor = build_processor(folder, model.config)
    target = Path(to)
    target.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(target)
    processor.save_pretrained(target)
    tower = options.get("vision_tower", "checkpoint")
    (target / "README.md").write_text(
        "---\nlicense: other\nlicense_name: microsoft-research-license\nlibrary_name: transformers\n"
        f"pipeline_tag: image-text-to-text\nbase_model: {BASE_MODEL}\n---\n\n# LLaVA-Med v1.5, converted\n\n"
        f"`{BASE_MODEL}` as a LLaVA of transformers, vision tower: {tower}. Converted with climb-hf for use on this "
        "machine. Terms: Microsoft Research License (research use); do not pass it on. Not for clinical use.\n",
        encoding="utf-8",
    )
    return target
