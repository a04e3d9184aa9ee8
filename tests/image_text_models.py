"""Tiny random image-text encoders with a tokenizer built on the spot; nothing is downloaded."""

import re
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    CLIPConfig,
    CLIPModel,
    CLIPProcessor,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipModel,
    SiglipProcessor,
    VisionTextDualEncoderConfig,
    VisionTextDualEncoderModel,
    VisionTextDualEncoderProcessor,
    ViTConfig,
    ViTImageProcessor,
)

_TEXT = """
a an the of with in image slide histopathology pathology tissue showing presence on mri slice brain tumor glioma
meningioma pituitary no without magnetic resonance imaging scan figure shows is what x ray chest ct gross specimen
drawing modality and shown does caption not say diameter over benign malignant normal breast user assistant
"""
WORDS = _TEXT.split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def tokenizer(max_length=32, digits=True):
    """A word-level tokenizer with BERT's special tokens; every number below 500 is a word."""
    words = list(dict.fromkeys([*SPECIAL, *WORDS, *(map(str, range(500)) if digits else ())]))
    engine = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    engine.normalizer = normalizers.Lowercase()
    engine.pre_tokenizer = pre_tokenizers.Whitespace()
    engine.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", words.index("[CLS]")), ("[SEP]", words.index("[SEP]"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=engine,
        model_max_length=max_length,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )


_TOWER = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}


def image_processor():
    return ViTImageProcessor(size={"height": 32, "width": 32})


def dual_encoder(folder: Path, seed=0, positions=40):
    """Save a VisionTextDualEncoder and its processor; returns the folder."""
    torch.manual_seed(seed)
    words = tokenizer(max_length=positions)
    config = VisionTextDualEncoderConfig.from_vision_text_configs(
        ViTConfig(image_size=32, patch_size=8, **_TOWER),
        BertConfig(vocab_size=len(words), max_position_embeddings=positions, **_TOWER),
        projection_dim=16,
    )
    model = VisionTextDualEncoderModel(config)
    for parameter in model.parameters():  # larger than the library's, so that inputs make a difference
        torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    VisionTextDualEncoderProcessor(image_processor(), words).save_pretrained(folder)
    return folder


def clip(folder: Path):
    """Save a CLIP model and its processor."""
    torch.manual_seed(1)
    words = tokenizer(max_length=16)
    text = {**_TOWER, "vocab_size": len(words), "max_position_embeddings": 16, "eos_token_id": words.sep_token_id}
    text |= {"bos_token_id": words.cls_token_id, "pad_token_id": words.pad_token_id}
    vision = {**_TOWER, "image_size": 32, "patch_size": 8}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).save_pretrained(folder)
    CLIPProcessor(image_processor(), words).save_pretrained(folder)
    return folder


def siglip(folder: Path):
    """Save a SigLIP model and its processor."""
    torch.manual_seed(2)
    words = tokenizer(max_length=16)
    text = {**_TOWER, "vocab_size": len(words), "max_position_embeddings": 16, "pad_token_id": words.pad_token_id}
    vision = {**_TOWER, "image_size": 32, "patch_size": 8}
    SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    SiglipProcessor(image_processor(), words).save_pretrained(folder)
    return folder


def n_words(text):
    """Tokens of a text for `tokenizer`, with the two special ones."""
    return len(re.findall(r"\w+|[^\w\s]+", text)) + 2
