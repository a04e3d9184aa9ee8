"""A LLaVA of random weights with its processor, small enough for every test: nothing is downloaded."""

import re

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.decoders import Metaspace as MetaspaceDecoder
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    MistralConfig,
    PreTrainedTokenizerFast,
)

SPECIAL = ("<unk>", "<s>", "</s>", "<pad>", "<image>")
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}[INST] "
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}"
    "{% endif %}{% endfor %} [/INST]{% else %}{% for part in message['content'] %} {{ part['text'] }}{% endfor %}"
    "{{ eos_token }}{% endif %}{% endfor %}"
)


def tiny_tokenizer():
    """Characters as tokens: every text can be written and read back."""
    alphabet = [chr(code) for code in range(33, 127)] + ["\n", "▁", "é", "µ", "–", "≤", "≥", "×", "’"]
    vocabulary = {token: index for index, token in enumerate((*SPECIAL, *alphabet))}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    core.decoder = MetaspaceDecoder(prepend_scheme="never")
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
        extra_special_tokens=["<image>"],
    )  # fmt: skip


def tiny_processor(template=TEMPLATE):
    pictures = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return LlavaProcessor(
        pictures, tiny_tokenizer(), patch_size=16, vision_feature_select_strategy="default", chat_template=template,
        num_additional_image_tokens=1,
    )  # fmt: skip


def tiny_config(positions=2048, hidden=32):
    vocabulary = len(tiny_tokenizer())
    text = MistralConfig(
        vocab_size=vocabulary, hidden_size=hidden, intermediate_size=2 * hidden, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=positions, sliding_window=None,
        bos_token_id=1, eos_token_id=2, pad_token_id=3, initializer_range=0.1,
    )  # fmt: skip
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2, image_size=32, patch_size=16
    )
    return LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=4, image_seq_length=4, vision_feature_layer=-2,
        vision_feature_select_strategy="default", projector_hidden_act="gelu",
    )  # fmt: skip


def tiny_vlm(folder, *, seed=0, template=TEMPLATE, positions=2048):
    """Write model and processor to a folder and return it."""
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration(tiny_config(positions)).eval()
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = 2, 3
    model.save_pretrained(folder)
    tiny_processor(template).save_pretrained(folder)
    return folder


def masked(text):
    """A text without the digits of a machine's paths and times."""
    return re.sub(r"/tmp/\S+", "PATH", text)
