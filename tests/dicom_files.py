"""Synthetic DICOM files for tests and benchmarks, and a small JPEG Lossless encoder (no library writes that)."""

import struct
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGLosslessSV1, generate_uid

SECONDARY_CAPTURE = UID("1.2.840.10008.5.1.4.1.1.7")


def make_dicom(array: np.ndarray, *, syntax: UID = ExplicitVRLittleEndian, n_frames: int = 1, **elements) -> Dataset:
    """Return a synthetic DICOM image; `elements` are set last, `None` removes one."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = SECONDARY_CAPTURE
    ds.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["synthetic"])
    ds.SOPClassUID, ds.SOPInstanceUID = SECONDARY_CAPTURE, ds.file_meta.MediaStorageSOPInstanceUID
    is_colour = array.ndim - (n_frames > 1) == 3
    ds.SamplesPerPixel = 3 if is_colour else 1
    ds.PhotometricInterpretation = "RGB" if is_colour else "MONOCHROME2"
    if is_colour:
        ds.PlanarConfiguration = 0
    ds.Rows, ds.Columns = array.shape[n_frames > 1 :][:2]
    if n_frames > 1:
        ds.NumberOfFrames = n_frames
    bits = array.dtype.itemsize * 8
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, bits, bits - 1
    ds.PixelRepresentation = int(array.dtype.kind == "i")
    data = array.tobytes()
    ds.PixelData = data + b"\x00" * (len(data) % 2)
    ds["PixelData"].VR = "OB" if bits == 8 else "OW"
    for keyword, value in elements.items():
        if value is None:
            del ds[keyword]
        else:
            setattr(ds, keyword, value)
    return ds


def write_dicom(path: Path, array: np.ndarray, **options) -> Path:
    """Write a synthetic DICOM image."""
    make_dicom(array, **options).save_as(path, enforce_file_format=True)
    return path


def encode_lossless(array: np.ndarray, precision: int = 16) -> bytes:
    """Encode (rows, columns) unsigned values as JPEG Lossless, process 14, selection value 1 (left predictor)."""
    values = array.astype(np.int64)
    predicted = np.empty_like(values)
    predicted[:, 1:] = values[:, :-1]
    predicted[1:, 0] = values[:-1, 0]
    predicted[0, 0] = 1 << (precision - 1)
    bits = []
    for difference in (values - predicted).ravel().tolist():
        difference = (difference + 32768) % 65536 - 32768
        size = abs(difference).bit_length()
        bits.append(f"{size:05b}")  # the table below gives every category the code of 5 bits that is its number
        if size and size < 16:
            bits.append(f"{difference if difference > 0 else difference + (1 << size) - 1:0{size}b}")
    stream = "".join(bits)
    stream += "1" * (-len(stream) % 8)
    scan = int(stream, 2).to_bytes(len(stream) // 8, "big").replace(b"\xff", b"\xff\x00")
    rows, columns = array.shape
    frame = struct.pack(">HHBHHBBBB", 0xFFC3, 11, precision, rows, columns, 1, 1, 0x11, 0)
    table = struct.pack(">HHB", 0xFFC4, 2 + 17 + 17, 0) + bytes([0, 0, 0, 0, 17] + [0] * 11) + bytes(range(17))
    header = struct.pack(">HHBBBBBB", 0xFFDA, 8, 1, 1, 0, 1, 0, 0)
    return b"\xff\xd8" + frame + table + header + scan + b"\xff\xd9"


def write_lossless(path: Path, array: np.ndarray, precision: int = 16, **elements) -> Path:
    """Write a synthetic DICOM image in the transfer syntax JPEG Lossless SV1 (1.2.840.10008.1.2.4.70)."""
    return write_encapsulated(path, array, [encode_lossless(array, precision)], JPEGLosslessSV1, **elements)


def write_encapsulated(path: Path, array: np.ndarray, frames: list[bytes], syntax: UID, **elements) -> Path:
    """Write frames that are compressed already."""
    ds = make_dicom(array, **elements)
    ds.file_meta.TransferSyntaxUID = syntax
    ds.PixelData = encapsulate(frames)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    ds.save_as(path, enforce_file_format=True)
    return path
