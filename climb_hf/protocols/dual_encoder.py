"""Encoders of images and texts into one space: loaded with their processor, and run over data sets and prompts."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.errors import AccessError, CorruptFileError, OptionError, SchemaError

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset
    from numpy.typing import NDArray

__all__ = ["checkpoint_folder", "embed_images", "embed_texts", "load_dual_encoder", "max_text_length"]

#: Model types whose position table begins behind the id of the padding token.
_OFFSET_POSITIONS = ("roberta", "xlm-roberta", "camembert", "roberta-prelayernorm", "xlm-roberta-xl")
#: Model types that were trained on texts padded to the full length, without a mask.
_FULL_LENGTH = ("siglip", "siglip2")
_TOKENISED = 1024  # texts given to the tokenizer at once


def checkpoint_folder(checkpoint: str | Path) -> Path:
    """Return the folder that holds a checkpoint: the one given, or its `model`, as `climb train --to` writes it.

    Args:
        checkpoint (`str` or `Path`): folder of a run or of a checkpoint, or a Hub repository.

    Returns:
        `Path`: it need not exist (a Hub repository).

    Raises:
        AccessError: the folder exists, but holds no checkpoint.
    """
    folder = Path(checkpoint)
    if not (folder / "config.json").is_file() and (folder / "model" / "config.json").is_file():
        folder = folder / "model"
    if folder.exists() and not (folder / "config.json").is_file():
        raise AccessError(
            f"`{folder}` holds no checkpoint: `config.json` is absent. Pass the folder that holds the model, or what "
            "`climb train --to DIR` was given."
        )
    return folder


def load_dual_encoder(checkpoint: str | Path, *, device: str | None = None) -> tuple[Any, Any]:
    """Load an image-text encoder and its processor, in evaluation mode and float32.

    Any transformers model with `get_image_features` and `get_text_features` will do: `VisionTextDualEncoderModel`,
    CLIP, SigLIP and their kin. A checkpoint that does not fill every weight is refused.

    Args:
        checkpoint (`str` or `Path`): folder of a run or of a checkpoint, or a Hub repository.
        device (`str`, *optional*): torch device; by default a GPU if there is one.

    Returns:
        `tuple`: the model, and a processor with `image_processor` and `tokenizer`.

    Raises:
        AccessError: no checkpoint is there, it lacks weights or its processor.
        OptionError: the model is no image-text encoder.
    """
    import torch
    from transformers import AutoModel, AutoProcessor

    import climb_hf  # noqa: F401 - registers our image encoders and processors

    folder = checkpoint_folder(checkpoint)
    place = str(folder) if folder.exists() else str(checkpoint)
    try:
        model, loading = AutoModel.from_pretrained(place, dtype=torch.float32, output_loading_info=True)
        processor = AutoProcessor.from_pretrained(place)
    except (OSError, ValueError) as error:
        raise AccessError(
            f"expected an image-text encoder with its processor in the folder or Hub repository `{place}`, but it "
            f"cannot be loaded: {error} Save both there with `save_pretrained`."
        ) from error
    if not (hasattr(model, "get_image_features") and hasattr(model, "get_text_features")):
        raise OptionError(
            f"`{place}` holds a `{type(model).__name__}`, which does not embed images and texts in one space. Pass a "
            "VisionTextDualEncoder, CLIP or SigLIP model."
        )
    wrong = {key: sorted(map(str, loading[key])) for key in ("missing_keys", "mismatched_keys") if loading.get(key)}
    if wrong:
        shown = "; ".join(f"{key} {names[:3]} ({len(names)} in all)" for key, names in wrong.items())
        raise AccessError(
            f"`{place}` does not fill every weight of `{type(model).__name__}`: {shown}. Numbers of a partly random "
            "model mean nothing; convert or save the checkpoint again."
        )
    for part in ("image_processor", "tokenizer"):
        if getattr(processor, part, None) is None:
            raise AccessError(
                f"the processor in `{place}` has no `{part}`, found {type(processor).__name__}. Save a processor with "
                "an image processor and a tokenizer beside the model, such as `VisionTextDualEncoderProcessor`."
            )
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return model.eval().to(chosen), processor


def max_text_length(model: Any, processor: Any) -> int:  # noqa: ANN401 - any encoder
    """Return how many tokens the text encoder can read, the special ones included.

    Args:
        model: an image-text encoder.
        processor: its processor.

    Returns:
        `int`: the smaller of the tokenizer's limit and the encoder's positions.
    """
    config = getattr(model.config, "text_config", model.config)
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and config.model_type in _OFFSET_POSITIONS:
        positions -= (config.pad_token_id or 0) + 1
    known = [limit for limit in (processor.tokenizer.model_max_length, positions) if limit and limit < 10**6]
    return int(min(known, default=512))


def _features(output: Any) -> Any:  # noqa: ANN401 - a tensor or an output object, by release and model
    return getattr(output, "pooler_output", output)


def _progress(starts: Sequence[int], what: str, *, is_shown: bool) -> Iterator[int]:
    from tqdm import tqdm

    yield from tqdm(starts, desc=what, unit="batch", disable=not is_shown)


def embed_images(
    model: Any,  # noqa: ANN401 - any encoder
    processor: Any,  # noqa: ANN401 - any processor
    dataset: "Dataset",
    *,
    batch_size: int = 64,
    progress: bool = True,
) -> "NDArray[np.float32]":
    """Embed the column `image` of a data set; a file in several rows is embedded once, so its rows are equal.

    Args:
        model: an image-text encoder of `load_dual_encoder`.
        processor: its processor.
        dataset (`Dataset`): rows with `image`, none of them null, and `id` for error messages.
        batch_size (`int`, *optional*, defaults to `64`): pictures per batch.
        progress (`bool`, *optional*, defaults to `True`): show a progress bar.

    Returns:
        `NDArray`: shape `(n, d)`, float32, as the model gives them, not normalised.

    Raises:
        SchemaError: a row without a picture, or an embedding that is not finite; the records are named.
        CorruptFileError: a picture that cannot be decoded; the records of its batch are named.
    """
    import numpy as np
    import torch
    from datasets import Image

    from climb_hf.processing.image_processor import ClimbImageProcessor

    prepare = processor.image_processor
    raw = dataset.select_columns(["image"]).with_format(None).cast_column("image", Image(decode=False))
    codes, rows = _distinct_pictures(dataset, raw["image"])
    # ours decodes by itself, at reduced scale where that is enough
    own = isinstance(prepare, ClimbImageProcessor)
    images = raw if own else raw.cast_column("image", dataset.features["image"])
    device = next(model.parameters()).device
    parts = []
    for start in _progress(range(0, len(rows), batch_size), "images", is_shown=progress):
        chosen = rows[start : start + batch_size]
        try:
            pixels = prepare(images=images[chosen]["image"], return_tensors="pt")["pixel_values"]
        except OSError as error:
            raise CorruptFileError(f"cannot decode a picture of {_names(dataset, chosen)}: {error}.") from error
        with torch.inference_mode():
            output = _features(model.get_image_features(pixel_values=pixels.to(device, torch.float32)))
        parts.append(output.float().cpu().numpy())
        wrong = [chosen[int(row)] for row in np.flatnonzero(~np.isfinite(parts[-1]).all(axis=1))]
        if wrong:
            raise SchemaError(
                f"the image encoder gave NaN or infinity for {_names(dataset, wrong)}. Look at these pictures, or at "
                "the checkpoint if it is all of them."
            )
    return np.concatenate(parts)[codes] if parts else np.empty((0, 0), dtype=np.float32)


def _distinct_pictures(dataset: "Dataset", images: Iterable[Any]) -> "tuple[NDArray[np.intp], list[int]]":
    """Number the files of a column of undecoded pictures: the number of each row, and the first row of each number."""
    import numpy as np

    known: dict[Any, int] = {}
    first: list[int] = []
    codes, empty = [], []
    for row, image in enumerate(images):
        if image is None or (image["bytes"] is None and image["path"] is None):
            empty.append(row)
            continue
        content = image["bytes"]
        key = image["path"] if content is None else hashlib.blake2b(content, digest_size=16).digest()
        codes.append(known.setdefault(key, len(known)))
        if codes[-1] == len(first):
            first.append(row)
    if empty:
        raise SchemaError(f"expected a picture in every row, found none for {_names(dataset, empty)}.")
    return np.array(codes, dtype=np.intp), first


def _names(dataset: "Dataset", rows: Sequence[int]) -> str:
    """Name up to five rows of a data set by their ids."""
    first = list(rows[:5])
    known = "id" in dataset.column_names
    ids = dataset.select_columns(["id"]).with_format(None)[first]["id"] if known else [f"row {row}" for row in first]
    more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
    return ", ".join(f"`{name}`" for name in ids) + more


def embed_texts(
    model: Any,  # noqa: ANN401 - any encoder
    processor: Any,  # noqa: ANN401 - any processor
    texts: Sequence[str],
    *,
    batch_size: int = 64,
    max_length: int | None = None,
    progress: bool = True,
) -> "tuple[NDArray[np.float32], int]":
    """Embed texts; those of equal tokens are embedded once, so their embeddings are equal to the last bit.

    Runs of white space count as one space, as in training and as open_clip's tokenizers have it: tokenizers of bytes
    would otherwise read a line feed as a token that they never met.

    Args:
        model: an image-text encoder of `load_dual_encoder`.
        processor: its processor.
        texts (`Sequence[str]`): none of them blank.
        batch_size (`int`, *optional*, defaults to `64`): texts per batch.
        max_length (`int`, *optional*): tokens kept of a text; by default all that the encoder can read.
        progress (`bool`, *optional*, defaults to `True`): show a progress bar.

    Returns:
        `tuple`: embeddings, shape `(n, d)`, float32, not normalised; and how many of the `n` texts were cut.

    Raises:
        SchemaError: a text that is null or blank, or an embedding that is not finite; the rows are named.
        OptionError: `max_length` is more than the encoder can read.
    """
    import numpy as np
    import torch

    from climb_hf.metrics.bootstrap import codes_of
    from climb_hf.training.contrastive_data import clean_text

    limit = max_text_length(model, processor)
    if max_length is not None and not 2 < max_length <= limit:
        raise OptionError(
            f"`max_length` must be over 2 and at most {limit}, which the encoder can read: {max_length}."
        )
    limit = max_length or limit
    blank = [row for row, text in enumerate(texts) if not isinstance(text, str) or not text.strip()]
    if blank:
        raise SchemaError(f"expected a text in every row, found none in row {blank[0]} ({len(blank)} in all).")
    given, names = codes_of([clean_text(text) for text in texts])
    uncut, kept = (_token_ids(processor.tokenizer, [str(name) for name in names], at) for at in (None, limit))
    same, _ = codes_of(kept)  # texts that differ only behind the cut are one to the encoder
    codes = same[given]
    _, first = np.unique(same, return_index=True)
    distinct, lengths = [str(names[row]) for row in first], np.array([len(kept[row]) for row in first])
    order = np.argsort(-lengths, kind="stable")  # texts of a length together, so little is padded
    padding = "max_length" if model.config.model_type in _FULL_LENGTH else "longest"
    device = next(model.parameters()).device
    found: NDArray[np.float32] | None = None
    for start in _progress(range(0, len(order), batch_size), "texts", is_shown=progress):
        rows = order[start : start + batch_size]
        batch = processor.tokenizer(
            [distinct[row] for row in rows], padding=padding, truncation=True, max_length=limit, return_tensors="pt"
        )
        with torch.inference_mode():
            output = _features(model.get_text_features(**batch.to(device))).float().cpu().numpy()
        if found is None:
            found = np.empty((len(distinct), output.shape[1]), dtype=np.float32)
        found[rows] = output
        wrong = rows[~np.isfinite(output).all(axis=1)]
        if len(wrong):
            raise SchemaError(
                f"the text encoder gave NaN or infinity for {len(wrong)} texts, first {distinct[wrong[0]][:60]!r} "
                f"(row {int(np.flatnonzero(codes == wrong[0])[0])}). Look at the text, or at the checkpoint."
            )
    if found is None:
        return np.empty((0, 0), dtype=np.float32), 0
    is_cut = np.array([len(ids) > limit for ids in uncut])
    return found[codes], int(np.count_nonzero(is_cut[given]))


def _token_ids(
    tokenizer: Any,  # noqa: ANN401 - any tokenizer
    texts: Sequence[str],
    limit: int | None,
) -> list[tuple[int, ...]]:
    """Tokens of each text, cut at `limit` where there is one."""
    cut = {"truncation": False} if limit is None else {"truncation": True, "max_length": limit}
    found: list[tuple[int, ...]] = []
    for start in range(0, len(texts), _TOKENISED):
        ids = tokenizer(list(texts[start : start + _TOKENISED]), verbose=False, **cut)["input_ids"]
        found += map(tuple, ids)
    return found
