"""Pictures as they are published: their bytes in the row, DICOM as PNG."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from climb_hf.errors import AccessError

__all__ = ["embedded", "is_dicom", "is_picture", "transcode"]


def is_picture(feature: Any) -> bool:  # noqa: ANN401 - any feature of datasets
    """Tell whether a column holds pictures, one or a list of them, per row."""
    from datasets import Image, List

    return isinstance(feature, Image) or (isinstance(feature, List) and isinstance(feature.feature, Image))


def is_dicom(item: Mapping[str, Any]) -> bool:
    """Tell by content whether a stored picture, `{"bytes", "path"}`, is a DICOM file."""
    if item["bytes"] is not None:
        return item["bytes"][128:132] == b"DICM"
    with Path(item["path"]).open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def transcode(item: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return a stored picture with DICOM exchanged for PNG of the same values; anything else as it is."""
    if item is None or (item["bytes"] is None and item["path"] is None) or not is_dicom(item):
        return item
    from PIL import Image

    import climb_hf.readers.dicom  # the Pillow plugin for DICOM

    climb_hf.readers.dicom.register_pillow_plugin()
    source = io.BytesIO(item["bytes"]) if item["bytes"] is not None else item["path"]
    buffer = io.BytesIO()
    with Image.open(source) as picture:
        picture.save(buffer, format="PNG", compress_level=1)  # as `encode_image`: a fraction of the time
    name = Path(item["path"] or "image").with_suffix(".png").name
    return {"bytes": buffer.getvalue(), "path": name}


def embedded(value: Any) -> Any:  # noqa: ANN401 - any value of an image column
    """Return the value of a picture column with the bytes of its files in it.

    Args:
        value: what a source hands out: a path, `{"bytes", "path"}`, a picture, a list of these, or `None`.

    Returns:
        The same, with paths exchanged for `{"bytes", "path"}`, where `path` is the name of the file only.

    Raises:
        AccessError: a file does not exist.
    """
    if isinstance(value, list):
        return [embedded(item) for item in value]
    if isinstance(value, str | Path):
        value = {"bytes": None, "path": str(value)}
    if not isinstance(value, Mapping):
        return value
    item = transcode({"bytes": value.get("bytes"), "path": value.get("path")})
    if item is None or item["path"] is None:
        return item
    path = Path(item["path"])
    if item["bytes"] is None:
        if not path.is_file():
            raise AccessError(f"the file `{path}` does not exist any more. Put the raw data back.")
        item["bytes"] = path.read_bytes()
    return {"bytes": item["bytes"], "path": path.name}
