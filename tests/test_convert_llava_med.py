"""LLaVA-Med v1.5: shards with the original names become a LLaVA that computes what CLIP, projector and Mistral do."""

import json

import PIL.Image
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    MistralConfig,
    MistralForCausalLM,
)
from typer.testing import CliRunner
from vlm_tiny import tiny_tokenizer

from climb_hf.cli.app import app
from climb_hf.errors import AccessError, CorruptFileError, OptionError
from climb_hf.models.llava_med.convert_llava_med import convert_checkpoint, rename
from climb_hf.qa.chat import encode_answer, encode_prompts, prompt_text

WORDS = 100
TOWER = "model.vision_tower.vision_tower.vision_model."


def parts(seed=0):
    torch.manual_seed(seed)
    text = MistralConfig(
        vocab_size=WORDS, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, sliding_window=None, initializer_range=0.2,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6}, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=2, image_size=32, patch_size=8
    )
    projector = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 32))
    return CLIPVisionModel(vision).eval(), projector, MistralForCausalLM(text).eval()


def original_names(tower, projector, language):
    state = {name: value for name, value in language.state_dict().items()}
    state |= {f"model.mm_projector.{name}": value for name, value in projector.state_dict().items()}
    state |= {TOWER + name.removeprefix("vision_model."): value for name, value in tower.state_dict().items()}
    state[f"{TOWER}embeddings.position_ids"] = torch.arange(17)[None]
    return {name: value.clone().contiguous() for name, value in state.items()}


def write(folder, state, **config):
    folder.mkdir()
    names = sorted(state)
    halves = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, own in halves.items():
        save_file({name: state[name] for name in own}, folder / file)
    weight_map = {name: file for file, own in halves.items() for name in own}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    facts = {
        "model_type": "llava_mistral", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512, "rms_norm_eps": 1e-6,
        "rope_theta": 1e6, "mm_vision_select_layer": -2, "vocab_size": WORDS, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps({**facts, **config}))
    tokenizer = tiny_tokenizer()
    core = json.loads(tokenizer.backend_tokenizer.to_str())
    words = {word: index for word, index in core["model"]["vocab"].items() if index < WORDS and word != "<image>"}
    core["model"]["vocab"] = {word: index for index, word in enumerate(words)}
    core["model"]["vocab"] |= {f"word{index}": index for index in range(len(words), WORDS)}
    core["added_tokens"] = [one for one in core["added_tokens"] if one["content"] in ("<unk>", "<s>", "</s>")]
    (folder / "tokenizer.json").write_text(json.dumps(core))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="module")
def original():
    return parts()


@pytest.fixture(scope="module")
def shards(original, tmp_path_factory):
    return write(tmp_path_factory.mktemp("llava") / "shards", original_names(*original))


def by_hand(tower, projector, language, pixels, before, after):
    """The official splice: embeddings, features of the last but one layer without the class token, embeddings."""
    features = projector(tower(pixels, output_hidden_states=True).hidden_states[-2][:, 1:])
    embed = language.get_input_embeddings()
    spliced = torch.cat([embed(before), features, embed(after)], dim=1)
    return language(inputs_embeds=spliced).logits


def test_the_forward_is_clip_projector_and_mistral_by_hand(original, shards):
    model = convert_checkpoint(shards, vision_heads=2)
    torch.manual_seed(1)
    pixels, before, after = torch.randn(1, 3, 32, 32), torch.tensor([[1, 7, 9]]), torch.tensor([[8, 30, 31, 2]])
    ids = torch.cat([before, torch.full((1, 16), WORDS), after], dim=1)
    with torch.inference_mode():
        ours = model(input_ids=ids, pixel_values=pixels, attention_mask=torch.ones_like(ids)).logits
        expected = by_hand(*original, pixels, before, after)
    assert ours.shape == (1, 23, 128)  # 102 tokens, up to a multiple of 64
    torch.testing.assert_close(ours[..., :WORDS], expected, atol=1e-6, rtol=1e-5)
    config = model.config
    assert (config.image_token_index, config.image_seq_length, config.vision_feature_layer) == (WORDS, 16, -2)
    assert config.vision_feature_select_strategy == "default"
    assert config.text_config.rope_parameters["rope_theta"] == 1e6


def test_new_tokens_are_never_written(shards):
    model = convert_checkpoint(shards, vision_heads=2)
    assert model.generation_config.suppress_tokens == list(range(100, 128))
    assert model.generation_config.pad_token_id == 101
    rows = model.get_input_embeddings().weight
    torch.testing.assert_close(rows[100:], rows[:100].mean(0).expand(28, -1))


def test_the_command_saves_what_transformers_loads(original, shards, tmp_path):
    shown = CliRunner().invoke(
        app, ["convert", "llava_med", str(shards), "--to", str(tmp_path / "hf"), "--set", "vision_heads=2"]
    )
    assert shown.exit_code == 0, shown.output
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "hf")
    processor = AutoProcessor.from_pretrained(tmp_path / "hf")
    text = prompt_text(processor, "Is it?", 1)
    assert text == "<s>[INST] <image>\nIs it? [/INST]"
    assert processor.tokenizer.decode(encode_answer(processor, "Is it?", 1, "Yes")).endswith("Yes</s>")
    picture = PIL.Image.new("RGB", (60, 20), (255, 0, 0))
    inputs = encode_prompts(processor, [text], [[picture]])
    assert inputs["input_ids"][0].tolist().count(WORDS) == 16
    pixels = inputs["pixel_values"][0]
    assert pixels.shape == (3, 32, 32)
    assert pixels[:, 0].abs().max() < 0.02  # above and below the picture: the mean colour of CLIP
    assert pixels[0, 16].min() > 1.5
    ids = inputs["input_ids"]
    place = ids[0].tolist().index(WORDS)
    with torch.inference_mode():
        ours = model(**inputs).logits[..., :WORDS]
        expected = by_hand(*original, inputs["pixel_values"], ids[:, :place], ids[:, place + 16 :])
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)
    assert "do not pass it on" in (tmp_path / "hf/README.md").read_text()


def test_the_tower_of_openai_can_be_had_instead(original, shards, tmp_path):
    other = parts(seed=5)[0]
    other.save_pretrained(tmp_path / "clip")
    model = convert_checkpoint(shards, vision_tower="openai", openai_tower=tmp_path / "clip", vision_heads=2)
    pixels, before, after = torch.randn(1, 3, 32, 32), torch.tensor([[1]]), torch.tensor([[8]])
    ids = torch.cat([before, torch.full((1, 16), WORDS), after], dim=1)
    with torch.inference_mode():
        ours = model(input_ids=ids, pixel_values=pixels).logits[..., :WORDS]
        torch.testing.assert_close(ours, by_hand(other, *original[1:], pixels, before, after), atol=1e-6, rtol=1e-5)
        assert not torch.allclose(ours, by_hand(*original, pixels, before, after), atol=1e-3)


def test_shards_that_do_not_fit_are_refused(original, tmp_path):
    state = original_names(*original)
    strange = write(tmp_path / "strange", {**state, "model.mm_projector.4.bias": torch.zeros(3)})
    with pytest.raises(CorruptFileError, match=r"1 left over \(model.mm_projector.4.bias"):
        convert_checkpoint(strange, vision_heads=2)
    state.pop("model.layers.1.mlp.up_proj.weight")
    with pytest.raises(CorruptFileError, match=r"1 missing \(model.language_model.layers.1.mlp.up_proj.weight"):
        convert_checkpoint(write(tmp_path / "short", state), vision_heads=2)
    with pytest.raises(CorruptFileError, match="found 'mistral'"):
        convert_checkpoint(write(tmp_path / "other", state, model_type="mistral"))
    with pytest.raises(AccessError, match=r"config.json` is absent"):
        convert_checkpoint(tmp_path)
    (tmp_path / "short/model-00002-of-00002.safetensors").unlink()
    with pytest.raises(AccessError, match=r"lacks \['model-00002-of-00002.safetensors'\]"):
        convert_checkpoint(tmp_path / "short")


def test_wrong_options_are_named(shards, tmp_path):
    with pytest.raises(OptionError, match="'checkpoint' or 'openai'"):
        convert_checkpoint(shards, vision_tower="own")
    shown = CliRunner().invoke(app, ["convert", "llava_med", str(shards), "--to", str(tmp_path), "--set", "head=2"])
    assert isinstance(shown.exception, OptionError) or shown.exit_code != 0


def test_names():
    assert rename(f"{TOWER}embeddings.position_ids") is None
    assert rename(f"{TOWER}pre_layrnorm.bias") == "model.vision_tower.pre_layrnorm.bias"
    assert rename(f"{TOWER}pre_layrnorm.bias", "vision_model.") == "model.vision_tower.vision_model.pre_layrnorm.bias"
    assert rename("model.norm.weight") == "model.language_model.norm.weight"
    assert rename("lm_head.weight") == "lm_head.weight"
