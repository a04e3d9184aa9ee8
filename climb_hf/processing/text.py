"""A tokenizer fitted on the texts at hand: for models trained from random weights, where nothing may be downloaded."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from climb_hf.errors import OptionError, SchemaError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["fit_tokenizer"]

#: Special tokens, in the order of their ids; those of BERT.
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def fit_tokenizer(
    texts: Iterable[str | None], vocab_size: int = 2000, *, lowercase: bool = True, max_length: int = 512
) -> "PreTrainedTokenizerFast":
    """Fit a WordPiece tokenizer, in the manner of BERT: `[CLS] text [SEP]`.

    Its tokens are the characters of the texts (at the beginning of a word and within one) and the most frequent whole
    words; a word that is none of them is spelt. The trainer of the tokenizers library breaks ties at random, so the
    vocabulary is counted here: the same texts give the same one, whatever their order. Fit it on the training split
    alone.

    Args:
        texts (`Iterable[str]`): the texts; null and blank ones are left out.
        vocab_size (`int`, *optional*, defaults to `2000`): at most this many tokens, the five special ones included.
        lowercase (`bool`, *optional*, defaults to `True`): compare words without regard to case and accents.
        max_length (`int`, *optional*, defaults to `512`): the longest input, `model_max_length`.

    Returns:
        `PreTrainedTokenizerFast`: with the padding token 0 and the class token 2.

    Raises:
        OptionError: `vocab_size` leaves no room for words.
        SchemaError: no text at all.

    Example:
        >>> tokenizer = fit_tokenizer(["heart rate 74", "heart rate 98", None], vocab_size=60)
        >>> tokenizer("Heart rate 74")["input_ids"][0], tokenizer.decode(tokenizer("heart rate 74")["input_ids"])
        (2, '[CLS] heart rate 74 [SEP]')
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    if vocab_size <= len(_SPECIAL):
        raise OptionError(f"`vocab_size` must be above {len(_SPECIAL)}, the special tokens, found {vocab_size}.")
    known = sorted(text for text in texts if text and text.strip())
    if not known:
        raise SchemaError("a tokenizer cannot be fitted: there is no text. Train on rows that have one.")
    normalizer, splitter = normalizers.BertNormalizer(lowercase=lowercase), pre_tokenizers.BertPreTokenizer()
    words = Counter(word for text in known for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    vocabulary = _vocabulary(words, vocab_size)
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106 - a token of a text
    tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder = normalizer, splitter, decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), _SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=max_length, **names)


def _vocabulary(words: Mapping[str, int], size: int) -> dict[str, int]:
    """Number the special tokens, the characters and the words; the most frequent first, then by name."""
    pieces: Counter[str] = Counter()
    for word, count in words.items():
        pieces.update({piece: count for piece in (word[0], *(f"##{letter}" for letter in word[1:]))})
    ordered = [
        name
        for counts in (pieces, words)
        for name, _ in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    ]
    return {name: number for number, name in enumerate(list(dict.fromkeys([*_SPECIAL, *ordered]))[:size])}
