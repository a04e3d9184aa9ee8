"""Pictures at 224 px from 1–2 megapixel JPEG against a Pillow loop, and DICOM headers and rendering against pydicom.

Run: `python benchmarks/bench_image.py`. All pictures are synthetic, with a spectrum like that of photographs; at JPEG
quality 90 they take about 2 bits per pixel, which is usual (the gain falls with the bits per pixel, because every bit
has to be read either way). A figure is the median over repetitions in which both sides take turns, from the page
cache, in CPU time of the one thread that works, so that other processes on the machine do not count.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from climb_hf.readers.dicom import read_dicom_header, render_dicom
from climb_hf.readers.image import load_image

SIZES = ((1024, 1024), (1000, 1500), (1440, 1080), (1200, 1600))
SIDE = 224
REPETITIONS = 15
TAGS = ("PatientAge", "PatientSex", "Rows", "Columns", "ViewPosition")


def synthetic(height: int, width: int, channels: int, seed: int) -> np.ndarray:
    """A synthetic picture with a power-law spectrum: (height, width[, 3]) uint8."""
    generator = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    amplitude = 1 / np.maximum(frequency, 1 / max(height, width)) ** 1.4
    planes = []
    for _ in range(channels):
        phase = np.exp(2j * np.pi * generator.random(amplitude.shape))
        plane = np.fft.irfft2(amplitude * phase, s=(height, width))
        planes.append((plane - plane.mean()) / plane.std())
    mixed = np.stack([0.9 * planes[0] + 0.3 * plane for plane in planes], axis=-1)
    return np.clip(128 + 50 * mixed, 0, 255).astype(np.uint8).squeeze()


def write_jpegs(folder: Path, channels: int) -> list[Path]:
    """Write one JPEG per size."""
    paths = []
    for seed, (height, width) in enumerate(SIZES):
        paths.append(folder / f"{channels}-{seed}.jpg")
        Image.fromarray(synthetic(height, width, channels, seed)).save(paths[-1], quality=90)
    return paths


def write_dicoms(folder: Path, n_files: int = 6) -> list[Path]:
    """Write native 12-bit X-rays of 2,560 × 2,048 with a window."""
    values = synthetic(2560, 2048, 1, 9).astype(np.uint16) * 16
    paths = []
    for index in range(n_files):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid(entropy_srcs=[str(index)])
        ds.PatientAge, ds.PatientSex, ds.ViewPosition = "045Y", "F", "PA"
        ds.Rows, ds.Columns = values.shape
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME1", 0
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
        ds.WindowCenter, ds.WindowWidth, ds.RescaleSlope, ds.RescaleIntercept = 2048, 3000, 1, 0
        ds.PixelData = values.tobytes()
        ds["PixelData"].VR = "OW"
        paths.append(folder / f"{index}.dcm")
        ds.save_as(paths[-1], enforce_file_format=True)
    return paths


def pillow_loop(path: Path) -> np.ndarray:
    """What most projects write: decode all, then resize."""
    return np.asarray(Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def pydicom_pixels(path: Path) -> tuple[Any, ...]:
    """What most projects write to list a folder: open every image."""
    ds = pydicom.dcmread(path)
    return ds.PatientAge, ds.PatientSex, ds.pixel_array.shape


def pydicom_render(path: Path) -> np.ndarray:
    """The pipeline with pydicom's own functions."""
    ds = pydicom.dcmread(path)
    shown = apply_voi_lut(apply_modality_lut(ds.pixel_array, ds), ds) / 4095
    return np.rint((1 - shown) * 255).astype(np.uint8)


def compare(
    name: str,
    paths: Sequence[Path],
    ours: Callable[[Path], Any],
    reference: Callable[[Path], Any],
    required: float | None,
) -> dict[str, Any]:
    """Time both sides in turns on every file; medians in milliseconds per file."""
    times: dict[str, list[float]] = {"ours": [], "reference": []}
    for repetition in range(REPETITIONS + 1):
        for path in paths:
            start = time.thread_time()
            ours(path)
            middle = time.thread_time()
            reference(path)
            end = time.thread_time()
            if repetition:  # the first round warms up
                times["ours"].append(middle - start)
                times["reference"].append(end - middle)
    fast, slow = (1e3 * statistics.median(times[side]) for side in ("ours", "reference"))
    return {"name": name, "ours": fast, "reference": slow, "ratio": slow / fast, "required": required, "unit": "ms"}


def run() -> list[dict[str, Any]]:
    """Measure; rows of name, ours, reference, ratio, required ratio (or `None`), unit."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        colour, grey, dicoms = write_jpegs(folder, 3), write_jpegs(folder, 1), write_dicoms(folder)
        difference = max(
            np.abs(load_image(path, size=SIDE).astype(int) - pillow_loop(path)).mean() for path in colour + grey
        )
        if difference >= 3:
            raise RuntimeError(f"load_image differs from full decoding by {difference:.2f} grey levels on average")
        if np.abs(render_dicom(dicoms[0]).astype(int) - pydicom_render(dicoms[0])).max() > 1:
            raise RuntimeError("render_dicom differs from pydicom")
        return [
            compare(
                "JPEG 1–2 MP to 224 px, colour", colour, lambda p: load_image(p, size=SIDE), pillow_loop, required=2.5
            ),
            compare(
                "JPEG 1–2 MP to 224 px, grey", grey, lambda p: load_image(p, size=SIDE), pillow_loop, required=2.5
            ),
            compare(
                "DICOM folder index, 5 MP: header against pixels",
                dicoms,
                lambda p: read_dicom_header(p, tags=TAGS),
                pydicom_pixels,
                required=3.0,
            ),
            compare("DICOM 12 bit, 5 MP, rendered", dicoms, render_dicom, pydicom_render, required=None),
        ]


if __name__ == "__main__":
    for row in run():
        print(row)
