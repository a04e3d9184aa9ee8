"""Pairs of image and text: which rows can be trained on, and batches of them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from climb_hf.errors import OptionError, SchemaError
from climb_hf.training.collator import prepare_for_training
from climb_hf.training.pretraining import PretrainingCollator

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["TEXT_KEY", "ContrastiveCollator", "PairCounts", "clean_text", "pairs_fingerprint", "usable_pairs"]

#: Under this key a batch carries one number per row that is equal for equal texts.
TEXT_KEY = "text_key"

_COLUMNS = ("id", "source", "group", "image", "text")
_ROWS = 1000  # texts tokenized at once


def clean_text(text: str) -> str:
    r"""Return a text with every run of white space as one space, as open_clip's tokenizers do before they begin.

    Args:
        text (`str`): any text.

    Returns:
        `str`

    Example:
        >>> clean_text(" Chest X-ray,\n  frontal. ")
        'Chest X-ray, frontal.'
    """
    return " ".join(text.split())


@dataclass(frozen=True)
class PairCounts:
    """What became of the rows of a source.

    Args:
        rows (`int`): rows there were.
        without_image (`int`): left out: no image.
        without_text (`int`): left out: an image, but no text, or white space alone.
        truncated (`int`): kept, their text cut to the context of the text tower.
    """

    rows: int
    without_image: int
    without_text: int
    truncated: int

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)


def usable_pairs(dataset: "Dataset", tokenizer: Any, *, name: str) -> "tuple[Dataset, PairCounts]":  # noqa: ANN401
    """Leave out the rows that are no pair, and count what will be cut.

    Args:
        dataset (`Dataset`): rows with `id`, `image` and `text`; `source` and `group` where they are known.
        tokenizer: its `model_max_length` is the context.
        name (`str`): of the source; becomes the column `source` where there is none.

    Returns:
        `tuple[Dataset, PairCounts]`: the columns of a pair, pictures undecoded; and the counts.

    Raises:
        SchemaError: a column is missing, or no row is a pair.
    """
    if missing := [column for column in ("id", "image", "text") if column not in dataset.column_names]:
        raise SchemaError(
            f"{name}: contrastive training needs the columns `image` and `text`, but {missing} are missing (found "
            f"{dataset.column_names}). `climb sources --family text-image` lists what fits."
        )
    for column, value in (("source", name), ("group", None)):
        if column not in dataset.column_names:
            dataset = dataset.add_column(column, dataset["id"][:] if value is None else [value] * len(dataset))
    pairs = prepare_for_training(dataset.select_columns(list(_COLUMNS)))
    kept, counts = _examine(pairs, tokenizer)
    if not len(kept):
        raise SchemaError(
            f"{name}: none of its {counts.rows} rows is a pair: {counts.without_image} have no image, "
            f"{counts.without_text} no text. Check that its pictures are in the folder (`climb doctor {name}`)."
        )
    return (pairs if len(kept) == len(pairs) else pairs.select(kept)), counts


def _examine(pairs: "Dataset", tokenizer: Any) -> tuple[np.ndarray, PairCounts]:  # noqa: ANN401 - any tokenizer
    from tqdm.auto import tqdm

    kept, without_image, without_text, truncated, first = [], 0, 0, 0, 0
    table = pairs.select_columns(["image", "text"]).with_format("arrow")
    with tqdm(total=len(pairs), unit="pair", desc="checking texts", disable=len(pairs) < 20 * _ROWS) as bar:
        for block in table.iter(batch_size=_ROWS):
            texts = [clean_text(text or "") for text in block.column("text").to_pylist()]
            absent = np.asarray(block.column("image").is_null())
            empty = ~absent & np.array([not text for text in texts])
            chosen = np.flatnonzero(~absent & ~empty)
            if len(chosen):
                tokens = tokenizer([texts[row] for row in chosen], truncation=False, verbose=False)["input_ids"]
                truncated += sum(len(ids) > tokenizer.model_max_length for ids in tokens)
            kept.append(first + chosen)
            without_image, without_text = without_image + int(absent.sum()), without_text + int(empty.sum())
            first += len(texts)
            bar.update(len(texts))
    rows = np.concatenate(kept) if kept else np.zeros(0, dtype=np.int64)
    return rows, PairCounts(len(pairs), without_image, without_text, truncated)


def pairs_fingerprint(dataset: "Dataset") -> str:
    """Digest which records with which texts a dataset holds, whatever machine or folder it was built on.

    Args:
        dataset (`Dataset`): rows with `source`, `id` and `text`.

    Returns:
        `str`: 16 hexadecimal digits; the order of the rows has no part in it.
    """
    columns = dataset.select_columns(["source", "id", "text"]).with_format("arrow")
    lines: list[bytes] = []
    for block in columns.iter(batch_size=_ROWS):
        values = (block.column(name).to_pylist() for name in ("source", "id", "text"))
        lines += [hashlib.sha256("\0".join(map(str, row)).encode()).digest() for row in zip(*values, strict=True)]
    return hashlib.sha256(b"".join(sorted(lines))).hexdigest()[:16]


class ContrastiveCollator(PretrainingCollator):
    """Turns rows with an `image` and a `text` into the input of a dual encoder.

    Texts are padded to the longest of the batch: padding is masked, so what a text becomes does not depend on it. (The
    Open-PMC-18M runs pad all of them to 256 tokens, which costs time and changes nothing.)

    Args:
        processor (`VisionTextDualEncoderProcessor`): its `image_processor` prepares the pictures, with its
            `augmentation` in training; its `tokenizer` cuts texts to `model_max_length`.

    Raises:
        OptionError: a processor without the two, or a tokenizer without a context or a padding token.
    """

    def __init__(self, processor: Any) -> None:  # noqa: ANN401 - any processor of the two
        tokenizer = getattr(processor, "tokenizer", None)
        if tokenizer is None or getattr(processor, "image_processor", None) is None:
            raise OptionError(
                f"expected a processor with `image_processor` and `tokenizer`, found `{type(processor).__name__}`."
            )
        if tokenizer.pad_token is None or tokenizer.model_max_length > 1_000_000:
            raise OptionError("the tokenizer must have a `pad_token` and a `model_max_length`; set both.")
        super().__init__(processor.image_processor)
        self.tokenizer = tokenizer

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Collate rows.

        Args:
            rows (`Sequence[Mapping]`): each with `image` and a `text` that is not empty.

        Returns:
            `dict`: `pixel_values` (n, 3, height, width) float32, `input_ids` and `attention_mask` (n, tokens) int64
            and what else the tokenizer gives, `text_key` (n,) int64, and the lists `ids`, `sources`, `groups`.

        Raises:
            SchemaError: a row without a text.
        """
        texts = [clean_text(row.get("text") or "") for row in rows]
        for row, text in zip(rows, texts, strict=True):
            if not text:
                raise SchemaError(
                    f"record `{row.get('id')}` of `{row.get('source')}` has no `text`; leave such rows out with "
                    "`climb_hf.training.contrastive_data.usable_pairs`."
                )
        batch = super().__call__(rows)
        batch.update(self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt"))
        digests = [hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts]
        keys = [int.from_bytes(digest, "big", signed=True) for digest in digests]
        batch[TEXT_KEY] = torch.tensor(keys, dtype=torch.int64)
        return batch

    def prepare_dataset(self, dataset: Any) -> Any:  # noqa: ANN401 - any dataset
        """Have a dataset hand out its pictures undecoded.

        Args:
            dataset: any dataset; only those of `datasets` are changed.

        Returns:
            The dataset to read from.
        """
        return prepare_for_training(dataset) if hasattr(dataset, "cast_column") else dataset
