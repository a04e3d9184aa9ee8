"""A build with `image_size=224` from DICOM against a loop of pydicom and Pillow, and its scaling with processes."""

import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

import climb_hf

RECORDS, SIZE, FACTOR, ROUNDS = 320, 224, 6, 3


def enlarge(folder: Path) -> None:
    """Blow the miniature's films up to about a megapixel of 12-bit grey with noise, uncompressed."""
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian

    generator = np.random.default_rng(0)
    for path in folder.rglob("*.dicom"):
        dataset = pydicom.dcmread(path)
        pixels = np.kron(dataset.pixel_array, np.ones((FACTOR, FACTOR), np.uint16))
        pixels = np.clip(pixels + generator.integers(0, 60, pixels.shape), 0, 4095).astype(np.uint16)
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.PixelData = pixels.tobytes()
        dataset["PixelData"].VR = "OW"
        dataset["PixelData"].is_undefined_length = False
        dataset.save_as(path)


def build(folder: Path, cache: Path, num_proc: int | None) -> float:
    """Return the seconds of a fresh build."""
    shutil.rmtree(cache, ignore_errors=True)
    start = time.perf_counter()
    climb_hf.load_dataset("vindr_cxr", folder, image_size=SIZE, num_proc=num_proc, cache_dir=cache)
    return time.perf_counter() - start


def plain(folder: Path) -> float:
    """Return the seconds of the loop a user would write: rescale, window or full range, invert, resize, encode."""
    import io

    import pydicom
    from PIL import Image
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    start = time.perf_counter()
    for path in sorted(folder.rglob("*.dicom")):
        dataset = pydicom.dcmread(path)
        values = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset).astype(np.float64)
        grey = (values - values.min()) / max(np.ptp(values), 1e-9)
        grey = 1 - grey if dataset.PhotometricInterpretation == "MONOCHROME1" else grey
        image = Image.fromarray((grey * 255).astype(np.uint8)).convert("RGB").resize((SIZE, SIZE), Image.BICUBIC)
        image.save(io.BytesIO(), format="PNG")
    return time.perf_counter() - start


def run() -> list[dict]:
    """Return two rows: images/s of one process against the loop, and of two processes against one."""
    with tempfile.TemporaryDirectory() as root:
        folder, cache = Path(root) / "vindr", Path(root) / "cache"
        climb_hf.miniature("vindr_cxr", folder, n=RECORDS)
        enlarge(folder)
        build(folder, cache, None)
        times = [(build(folder, cache, None), plain(folder), build(folder, cache, 2)) for _ in range(ROUNDS)]
    one, loop, two = (RECORDS / statistics.median(column) for column in zip(*times, strict=True))
    return [
        {"name": "build DICOM to 224 px vs a pydicom + Pillow loop", "ours": one, "reference": loop,
         "ratio": one / loop, "required": 1.0, "unit": "images/s"},
        {"name": "build DICOM to 224 px, 2 processes vs 1", "ours": two, "reference": one, "ratio": two / one,
         "required": None, "unit": "images/s"},
    ]  # fmt: skip


if __name__ == "__main__":
    print(run())
