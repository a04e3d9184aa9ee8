"""Masks as a column: kept as they are, or resized with their picture without inventing new label values."""

import io
from pathlib import Path
from typing import Any

from climb_hf.source import Options

__all__ = ["read_mask"]


def read_mask(path: Path, options: Options) -> str | dict[str, Any]:
    """Return the value of the `mask` column for a mask file.

    Args:
        path (`Path`): a mask of one channel, or of a palette; its values are kept.
        options (`Options`): with `image_size` the mask is stretched to that square, as the picture is, by nearest
            neighbour.

    Returns:
        The path, or `{"bytes": png, "path": None}`.

    Raises:
        CorruptFileError: the file cannot be decoded (`image_size` only).
    """
    if options.image_size is None:
        return str(path)
    from PIL import Image

    from climb_hf.readers.integrity import damage_named

    buffer = io.BytesIO()
    with damage_named(str(path), "decoding"), Image.open(path) as mask:
        mask.resize((options.image_size, options.image_size), Image.Resampling.NEAREST).save(buffer, format="PNG")
    return {"bytes": buffer.getvalue(), "path": None}
