"""The shared features: columns every example has, and the input columns of each family.

The features of two sources of one family (for signals: of one modality, which fixes the channels) are identical, so
`datasets.concatenate_datasets` and `interleave_datasets` work on them as they are.
"""

from collections.abc import Sequence
from typing import Any

from datasets import Array2D, ClassLabel, Features, Image, Json, List, Value

from climb_hf.errors import SchemaError

__all__ = ["absent_value", "features", "input_columns"]

_OBJECTS = {"bbox": List(List(Value("float32"), length=4)), "category": List(Value("string"))}


def _image(bit_depth: int) -> Image:
    # 16-bit grey has no RGB form in Pillow, so those pictures keep the mode of their file.
    return Image() if bit_depth == 16 else Image(mode="RGB")


def input_columns(family: str, *, channels: int = 0, bit_depth: int = 8) -> dict[str, Any]:
    """Return the input columns of a family.

    Args:
        family (`str`): one of `climb_hf.source.Family`.
        channels (`int`, *optional*, defaults to `0`): C of the signal column: 12 for ECG, 16 for EEG.
        bit_depth (`int`, *optional*, defaults to `8`): 16 drops the conversion of pictures to RGB.

    Returns:
        `dict`: features by column name.

    Raises:
        SchemaError: the family is unknown, or a signal family comes without channels.

    Example:
        >>> sorted(input_columns("signal", channels=12))
        ['frame_labels', 'report', 'sampling_rate', 'signal']
    """
    if family in ("signal", "multimodal") and channels < 1:
        raise SchemaError(
            f"family `{family}` needs the number of channels, got {channels}; set the source's `channels`."
        )
    image, text = _image(bit_depth), Value("string")
    signal = {"signal": Array2D((None, channels), "float32"), "sampling_rate": Value("float32")} if channels else {}
    families: dict[str, dict[str, Any]] = {
        "image": {"image": image, "mask": Image(), "objects": _OBJECTS, "report": text, "view": text},
        "frames": {
            "frames": List(image),
            "spacing": List(Value("float32")),
            "fps": Value("float32"),
            "masks": List(Image()),
            "report": text,
            "frame_labels": Json(),  # one entry per frame: a name, or several
        },
        "signal": {**signal, "report": text, "frame_labels": Json()},
        "graph": {
            "edge_index": List(List(Value("int64"))),
            "edge_attr": List(List(Value("float32"))),
            "node_feat": List(List(Value("float32"))),
            "num_nodes": Value("int64"),
            "node_labels": List(List(Value("int64"))),
        },
        "expression": {"genes": List(text), "expression": List(Value("float32"))},
        "multimodal": {"image": image, **signal, "text": text},
        "text-image": {"image": image, "text": text, "messages": Json()},
    }
    if family not in families:
        raise SchemaError(f"unknown family `{family}`; expected one of {sorted(families)}.")
    return families[family]


def features(family: str, label_names: Sequence[str], *, channels: int = 0, bit_depth: int = 8) -> Features:
    """Return the features of a source: the shared columns and those of its family.

    Args:
        family (`str`): one of `climb_hf.source.Family`.
        label_names (`Sequence[str]`): names of the ClassLabel: the unified vocabulary, or raw values.
        channels (`int`, *optional*, defaults to `0`): C of the signal column.
        bit_depth (`int`, *optional*, defaults to `8`): grey depth of the pictures.

    Returns:
        `datasets.Features`.

    Example:
        >>> features("graph", ["a", "b"])["labels"].feature.names
        ['a', 'b']
    """
    label, text = ClassLabel(names=list(label_names)), Value("string")
    return Features(
        {
            "id": text,
            "source": text,
            "group": text,
            **input_columns(family, channels=channels, bit_depth=bit_depth),
            "labels": List(label),
            "raw_labels": List(text),
            "uncertain": List(label),
            "age": Value("float32"),
            "sex": text,
            "targets": Json(),
            "duplicate_of": text,
            "metadata": Json(),
        }
    )


def absent_value(feature: Any) -> Any:  # noqa: ANN401 - any feature of datasets
    """Return the value that stands for "this source has none" in a column.

    Null rows of an Array2D with a dynamic first axis break reading in datasets 5.2, so an absent signal is an empty
    `(0, C)` array; every other column takes null.

    Args:
        feature: a feature of `datasets`.

    Returns:
        An empty float32 array, or `None`.
    """
    if isinstance(feature, Array2D):
        import numpy as np

        return np.zeros((0, feature.shape[1]), dtype=feature.dtype)
    return None
