"""What features depend on: the digest of it names an entry of the feature cache, so that none is ever stale."""

import hashlib
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from climb_hf.protocols.encoders import Encoder
from climb_hf.provenance import provenance

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["digest_of", "features_key", "weights_digest"]

_VERSION = 1
#: Keys of a configuration or processor that say where it came from, not what it does.
_VOLATILE = ("_name_or_path", "name_or_path", "transformers_version", "architectures", "_commit_hash", "auto_map")
_HEAD = ("vocabulary", "source_classes", "source_multi_label", "id2label", "label2id", "problem_type")


def features_key(encoder: Encoder, dataset: "Dataset", dtype: str = "float16", *, weights: str | None = None) -> dict:
    """Return what features depend on; the digest of it names an entry of the cache.

    Args:
        encoder (`Encoder`): the encoder.
        dataset (`Dataset`): the rows.
        dtype (`str`, *optional*, defaults to `"float16"`): how they are stored.
        weights (`str`, *optional*): digest of the weights, where it is known already.

    Returns:
        `dict`: JSON values.
    """
    processor = encoder.processor
    settings = processor.to_dict() if hasattr(processor, "to_dict") else vars(processor)
    config = {name: value for name, value in encoder.model.config.to_dict().items() if name not in _HEAD}
    versions = {name: text for name, text in provenance().items() if name in ("climb_hf", "torch", "transformers")}
    return {
        "version": _VERSION,
        "weights": weights or weights_digest(encoder),
        "model": f"{type(encoder.model).__name__}.{encoder.output}",
        "config": digest_of(_plain(config)),
        "processor": digest_of([type(processor).__name__, _plain(settings)]),
        "data": dataset._fingerprint,
        "files": _files_digest(dataset),
        "rows": len(dataset),
        "dtype": dtype,
        "versions": versions,
    }


def _plain(value: Any) -> Any:  # noqa: ANN401 - nested values of a configuration
    """Drop what does not change the output, at any depth; other objects are taken by their text."""
    if isinstance(value, Mapping):
        return {str(name): _plain(own) for name, own in value.items() if name not in _VOLATILE}
    if isinstance(value, list | tuple):
        return [_plain(own) for own in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def digest_of(content: Any) -> str:  # noqa: ANN401 - JSON values
    """Digest JSON values, whatever the order of their keys.

    Args:
        content: JSON values.

    Returns:
        `str`: 16 hexadecimal digits.
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def weights_digest(encoder: Encoder) -> str:
    """Digest the tensors that an encoder's output depends on: names, shapes, dtypes and every bit.

    Args:
        encoder (`Encoder`): the encoder.

    Returns:
        `str`: 32 hexadecimal digits.
    """
    import torch

    digest = hashlib.sha256()
    for name, value in sorted(encoder.state.items()):
        held = value.detach().cpu().contiguous()
        digest.update(f"{name}\0{held.dtype}\0{tuple(held.shape)}\0".encode())
        digest.update(held.reshape(-1).view(torch.uint8).numpy().data if held.numel() else b"")
    return digest.hexdigest()[:32]


def _files_digest(dataset: "Dataset") -> str | None:
    """Digest size and time of the picture files that the rows point to; a picture may change in place."""
    import pyarrow as pa
    from datasets import Image, List

    digest, seen = hashlib.sha256(), 0
    for name, feature in dataset.features.items():
        is_list = isinstance(feature, List) and isinstance(feature.feature, Image)
        if not is_list and not isinstance(feature, Image):
            continue
        for batch in dataset.select_columns([name]).with_format("arrow").iter(1024):
            column = batch[name].combine_chunks()
            column = column.flatten() if is_list else column
            column = getattr(column, "storage", column)
            if pa.types.is_null(column.type):
                continue
            for path in column.field("path").drop_null().to_pylist():
                if os.path.isfile(path):  # noqa: PTH113 - pathlib takes ten times as long for a million of them
                    state = os.stat(path)  # noqa: PTH116 - see above
                    digest.update(f"{path}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
                    seen += 1
    return digest.hexdigest()[:16] if seen else None
