"""Volumes on disk against nibabel and ITK: orientation, scaling, partial reading, damage and absurd headers."""

import gzip
import io
import itertools
import os
import tracemalloc
import zlib

import nibabel
import numpy as np
import pytest
from PIL import Image

from climb_hf.errors import CorruptFileError, OptionError
from climb_hf.miniatures._ct import nifti_bytes
from climb_hf.processing.volumes import OTHER_CODE, MaskLayer, read_volume_columns
from climb_hf.readers.mhd import open_mhd, read_mhd_header
from climb_hf.readers.nifti import open_nifti
from climb_hf.readers.volume import read_slices
from climb_hf.source import Options

CODES = [
    "".join(c) for order in itertools.permutations(("RL", "AP", "SI")) for c in itertools.product(*order)
]  # fmt: skip
VOXEL = (3.0, 0.5, 0.75)  # slices, rows, columns


def display(dtype="<i2", shape=(9, 6, 7)):
    """Distinct values: slices from superior, rows from anterior, columns from the patient's right."""
    return (np.arange(np.prod(shape)).reshape(shape) - 100).astype(dtype)


def write(path, content):
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def frames(columns):
    with_bytes = [Image.open(io.BytesIO(frame["bytes"])) for frame in columns]
    return np.stack([np.asarray(picture) for picture in with_bytes])


# ---- NIfTI


@pytest.mark.parametrize("codes", CODES)
def test_every_orientation_comes_out_the_same(tmp_path, codes):
    content = nifti_bytes(display(), VOXEL, codes, form="both")
    for name in ("a.nii", "a.nii.gz"):
        volume = open_nifti(write(tmp_path / name, content))
        assert volume.display_shape == (9, 6, 7)
        assert volume.spacing == pytest.approx(VOXEL)
        found = read_slices(volume, [8, 0, 3, 3])
        assert np.array_equal(found, display()[[8, 0, 3, 3]])
        assert nibabel.aff2axcodes(volume.affine) == tuple(codes)


@pytest.mark.parametrize("dtype", ["u1", "i1", "<i2", ">i2", "<u2", ">i4", "<f4", ">f8", "<i8"])
@pytest.mark.parametrize("codes", ["LAS", "SPR", "AIL"])
def test_every_data_type_equals_nibabel(tmp_path, dtype, codes):
    values = np.abs(display()).astype(dtype)
    image = nibabel.Nifti1Image.from_bytes(nifti_bytes(values.astype(np.dtype(dtype).newbyteorder("=")), VOXEL, codes))
    order = ">" if dtype.startswith(">") else "<"
    image.header["vox_offset"] = 352
    header = image.header.as_byteswapped(order)
    array = np.asarray(image.dataobj).astype(np.dtype(dtype))
    content = header.binaryblock + bytes(4) + array.tobytes(order="F")
    path = write(tmp_path / "a.nii.gz", content)
    volume = open_nifti(path)
    assert np.array_equal(read_slices(volume, range(9)), values)
    reference = np.asarray(nibabel.load(path).dataobj)
    assert np.array_equal(reference, array)


def test_scaling_units_second_volume_and_nifti_2(tmp_path):
    scaled = nifti_bytes(display(), VOXEL, "LAS", scaled=True)
    volume = open_nifti(write(tmp_path / "scaled.nii", scaled))
    assert (volume.slope, volume.intercept) == (1, -1024)
    assert np.array_equal(read_slices(volume, range(9)), display())
    image = nibabel.Nifti1Image.from_bytes(nifti_bytes(display(), VOXEL, "RPI", form="both"))
    for code, factor in (("meter", 1000), ("micron", 0.001), ("mm", 1), ("unknown", 1)):
        image.header.set_xyzt_units(code)
        volume = open_nifti(write(tmp_path / "units.nii", image.to_bytes()))
        assert volume.spacing == pytest.approx([value * factor for value in VOXEL])
    array = np.asarray(image.dataobj)
    several = nibabel.Nifti2Image(np.stack([array, array * 0], axis=-1), image.affine)
    path = write(tmp_path / "two.nii.gz", several.to_bytes())
    assert np.array_equal(read_slices(open_nifti(path), range(9)), display())


def test_affine_of_the_qform_and_of_neither(tmp_path):
    image = nibabel.Nifti1Image.from_bytes(nifti_bytes(display(), VOXEL, "LPS", form="qform"))
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (0, 1)
    volume = open_nifti(write(tmp_path / "q.nii", image.to_bytes()))
    assert np.array_equal(read_slices(volume, [4])[0], display()[4])
    image = nibabel.Nifti1Image.from_bytes(nifti_bytes(display(), VOXEL, "LAS"))
    image.set_sform(None, 0)
    volume = open_nifti(write(tmp_path / "none.nii", image.to_bytes()))
    assert np.array_equal(read_slices(volume, range(9)), display()), "nibabel's convention: the first axis to the left"


def test_a_plain_file_is_read_at_the_asked_slices_only(tmp_path):
    header = nibabel.Nifti1Image(np.zeros((1, 1, 1), np.int16), np.diag([-1, -1, 1, 1])).header
    header.set_data_shape((512, 512, 16000))  # 8 GB, nearly all of it a hole
    header["vox_offset"], header["magic"] = 352, b"n+1"
    path = tmp_path / "sparse.nii"
    path.write_bytes(header.binaryblock + bytes(4))
    os.truncate(path, 352 + 512 * 512 * 16000 * 2)
    with path.open("r+b") as file:
        file.seek(352 + 512 * 512 * 2 * 7)
        file.write(np.full((512, 512), 77, "<i2").tobytes())
    found = read_slices(open_nifti(path), [15999 - 7, 15999 - 8])
    assert (int(found[0].min()), int(found[0].max()), int(found[1].max())) == (77, 77, 0)


@pytest.mark.parametrize("codes", ["LAS", "SAL"])  # slices on the slowest and on the fastest axis
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_memory_is_that_of_the_frames_not_of_the_volume(tmp_path, name, codes):
    values = np.zeros((160, 256, 256), np.int16)  # 21 MB
    values[80] = 77
    path = write(tmp_path / name, nifti_bytes(values, VOXEL, codes))
    del values
    tracemalloc.start()
    columns = read_volume_columns(open_nifti(path), Options(num_frames=3, window="raw"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert frames(columns["frames"]).max(axis=(1, 2)).tolist() == [1024, 1024 + 77, 1024]
    assert peak < 6e6


def test_members_padding_and_appendices_of_gzip(tmp_path):
    content = nifti_bytes(display(), VOXEL, "LAS")
    half = len(content) // 2
    parts = gzip.compress(content[:half]) + gzip.compress(content[half:])
    for name, whole in (
        ("members", parts),
        ("padded", parts + bytes(512)),
        ("longer", gzip.compress(content + b"end")),
    ):
        path = tmp_path / f"{name}.nii.gz"
        path.write_bytes(whole)
        assert np.array_equal(read_slices(open_nifti(path), [8]), display()[[8]])
    broken = tmp_path / "second.nii.gz"
    broken.write_bytes(parts[:-20])
    with pytest.raises(CorruptFileError, match="second"):
        read_slices(open_nifti(broken), [8])  # the most inferior slice: the first in the file


@pytest.mark.parametrize("codes", ["LAS", "IPL"])
def test_a_truncated_file_is_found_wherever_it_ends(tmp_path, codes):
    plain = nifti_bytes(display(), VOXEL, codes)
    for name, content in (("a.nii", plain), ("a.nii.gz", gzip.compress(plain, mtime=0))):
        for cut in range(0, len(content), 97):
            path = tmp_path / name
            path.write_bytes(content[:cut])
            with pytest.raises(CorruptFileError, match=name):
                read_slices(open_nifti(path), [4])
    content = bytearray(gzip.compress(plain, mtime=0))
    content[-6] ^= 1  # the checksum
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"a\.nii\.gz"):
        read_slices(open_nifti(path), range(9))


@pytest.mark.parametrize(
    "rows",
    [
        [[np.nan, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]],
        [[1, 0, 0, np.inf], [0, 1, 0, 0], [0, 0, 1, 0]],
        [[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]],
        [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
        [[1, 2, 0, 0], [1, 2, 0, 0], [0, 0, 1, 0]],
    ],
)
def test_a_broken_affine_is_named(tmp_path, rows):
    image = nibabel.Nifti1Image.from_bytes(nifti_bytes(display(), VOXEL, "LAS"))
    for name, row in zip("xyz", rows, strict=True):
        image.header[f"srow_{name}"] = row
    content = image.header.binaryblock + bytes(4) + np.asarray(image.dataobj).tobytes(order="F")
    with pytest.raises(CorruptFileError, match=r"affine is broken.*orientation and spacing"):
        open_nifti(write(tmp_path / "a.nii.gz", content))


def nifti_with(**fields):
    image = nibabel.Nifti1Image.from_bytes(nifti_bytes(display(), VOXEL, "LAS"))
    for name, value in fields.items():
        image.header[name] = value
    return image.header.binaryblock + bytes(4) + np.asarray(image.dataobj).tobytes(order="F")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a NIfTI"),
        (b"error page" * 90, "not a NIfTI"),
        (nifti_with(dim=[3, 32767, 32767, 32767, 1, 1, 1, 1]), "sizes of a volume"),
        (nifti_with(dim=[3, 7, -6, 9, 1, 1, 1, 1]), "sizes of a volume"),
        (nifti_with(dim=[3, 7, 0, 9, 1, 1, 1, 1]), "sizes of a volume"),
        (nifti_with(dim=[4, 7, 6, 9, 0, 1, 1, 1]), "sizes"),
        (nifti_with(dim=[3, 700, 600, 900, 1, 1, 1, 1]), "truncated"),
        (nifti_with(dim=[9, 7, 6, 9, 1, 1, 1, 1]), "header"),
        (nifti_with(datatype=128, bitpix=24), "one real number per voxel"),
        (nifti_with(datatype=32, bitpix=64), "one real number per voxel"),
        (nifti_with(datatype=9999), "header"),
        (nifti_with(magic=b"ni1"), "single-file"),
        (nifti_with(vox_offset=1e9), "truncated"),
    ],
)
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_other_files_and_absurd_headers_are_refused(tmp_path, content, reason, name):
    if name.endswith(".gz") and b"error" in content:
        content = content[:40]
    with pytest.raises(CorruptFileError, match=reason):
        open_nifti(write(tmp_path / name, content))


def test_a_missing_file_is_a_corrupt_one(tmp_path):
    with pytest.raises(CorruptFileError, match=r"gone\.nii\.gz"):
        open_nifti(tmp_path / "gone.nii.gz")


# ---- MetaImage

TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip


def write_mhd(path, array, kind="MET_SHORT", *, data="voxels.raw", drop=(), **fields):
    """Write a header; `array` is (z, y, x). Returns the header's path."""
    lines = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "0 0 0",
        "ElementSpacing": "0.75 0.5 3",
        "DimSize": " ".join(map(str, array.shape[::-1])),
        "ElementType": kind,
        **fields,
        "ElementDataFile": data,
    }
    path.write_text("".join(f"{key} = {value}\n" for key, value in lines.items() if key not in drop))
    return path


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("order", ["<", ">"])
def test_mhd_types_and_byte_orders(tmp_path, kind, order):
    array = np.abs(display("i8"))[::-1] % 120  # z grows to superior
    stored = array.astype(np.dtype(TYPES[kind]).newbyteorder(order))
    (tmp_path / "voxels.raw").write_bytes(stored.tobytes())
    volume = open_mhd(write_mhd(tmp_path / "a.mhd", array, kind, BinaryDataByteOrderMSB=str(order == ">")))
    assert volume.spacing == VOXEL
    assert np.array_equal(read_slices(volume, range(9)), array[::-1])


def test_mhd_compressed_local_and_with_a_header_before_the_voxels(tmp_path):
    array = display()[::-1]
    raw, packed = array.tobytes(), zlib.compress(array.tobytes())
    (tmp_path / "voxels.zraw").write_bytes(packed)
    path = write_mhd(
        tmp_path / "z.mhd", array, data="voxels.zraw", CompressedData="True", CompressedDataSize=len(packed)
    )
    assert np.array_equal(read_slices(open_mhd(path), [1, 0]), display()[[1, 0]])
    for name, content, compressed in (("a.mha", raw, "False"), ("b.mha", packed, "True")):
        path = write_mhd(tmp_path / name, array, data="LOCAL", CompressedData=compressed)
        path.write_bytes(path.read_bytes() + content)
        assert np.array_equal(read_slices(open_mhd(path), range(9)), display())
        path.write_bytes(path.read_bytes()[:-9])
        with pytest.raises(CorruptFileError, match=name):
            read_slices(open_mhd(path), [8])
    (tmp_path / "voxels.raw").write_bytes(b"123" + raw)
    for size in ("3", "-1"):
        volume = open_mhd(write_mhd(tmp_path / "h.mhd", array, HeaderSize=size))
        assert np.array_equal(read_slices(volume, range(9)), display())


def test_mhd_directions_are_those_of_itk(tmp_path):
    # SimpleITK 2.5: TransformIndexToPhysicalPoint((3, 4, 2)) is (-5.0, 22.1, -33.2), to left, posterior, superior.
    array = np.arange(5 * 6 * 7, dtype="<i2").reshape(5, 6, 7)
    (tmp_path / "voxels.raw").write_bytes(array.tobytes())
    fields = {"TransformMatrix": "0 1 0 0 0 -1 1 0 0", "Offset": "-10 20 -30", "ElementSpacing": "0.7 0.8 2.5"}
    volume = open_mhd(write_mhd(tmp_path / "a.mhd", array, **fields))
    assert volume.affine @ [3, 4, 2, 1] == pytest.approx([5.0, -22.1, -33.2, 1])
    assert volume.voxel_of((5.1, -22.0, -33.0)) == (3, 4, 2)
    # y runs to inferior, x to posterior, z to the left: slices are y, rows x, columns z.
    assert volume.display == ((1, 0, 2), (False, False, False))
    assert volume.spacing == (0.8, 0.7, 2.5)
    assert np.array_equal(read_slices(volume, range(6)), array.transpose(1, 2, 0))
    older = {"Orientation": fields["TransformMatrix"], "Position": fields["Offset"]}
    path = write_mhd(
        tmp_path / "b.mhd", array, drop=("TransformMatrix", "Offset"), **older, ElementSpacing="0.7 0.8 2.5"
    )
    assert np.array_equal(open_mhd(path).affine, volume.affine)


@pytest.mark.parametrize(
    "name",
    ["../voxels.raw", "/etc/passwd", "a/../../voxels.raw", "..\\voxels.raw", "C:\\voxels.raw", "\\\\host\\v.raw"],
)
def test_mhd_reads_nothing_outside_its_folder(tmp_path, name):
    (tmp_path / "in").mkdir()
    (tmp_path / "voxels.raw").write_bytes(display().tobytes())
    path = write_mhd(tmp_path / "in" / "a.mhd", display(), data=name)
    with pytest.raises(CorruptFileError, match="outside its own folder"):
        open_mhd(path)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"DimSize": "7 6 8"}, r"7 × 6 × 8 .*672 bytes, `voxels\.raw` has 756"),
        ({"DimSize": "7 6 10"}, "truncated"),
        ({"DimSize": "7 6"}, "3 numbers in `DimSize`"),
        ({"DimSize": "7 6 -9"}, "sizes of a volume"),
        ({"DimSize": "99999 99999 99999"}, "sizes of a volume"),
        ({"DimSize": "7 6 x"}, "header failed"),
        ({"NDims": "2"}, "`NDims = 3`"),
        ({"ElementType": "MET_STRING"}, "MET_SHORT"),
        ({"ElementNumberOfChannels": "3"}, "3 channels"),
        ({"BinaryData": "False"}, "as text"),
        ({"HeaderSize": "-5"}, "HeaderSize"),
        ({"TransformMatrix": "1 0 0 1 0 0 0 0 1"}, "affine is broken"),
        ({"ElementSpacing": "0 1 1"}, "affine is broken"),
        ({"ElementSpacing": "nan 1 1"}, "affine is broken"),
        ({"data": "LIST"}, "several files"),
        ({"data": "slice%03d.raw 1 9 1"}, "several files"),
        ({"data": "gone.raw"}, r"gone\.raw`, which is not there"),
        ({"drop": ("ElementSpacing",)}, "ElementSpacing"),
        ({"drop": ("DimSize",)}, "`DimSize` is missing"),
        ({"drop": ("ElementDataFile",)}, "`ElementDataFile` is missing"),
    ],
)
def test_mhd_contradictions_are_named(tmp_path, fields, reason):
    (tmp_path / "voxels.raw").write_bytes(display().tobytes())
    path = write_mhd(tmp_path / "a.mhd", display(), **fields)
    with pytest.raises(CorruptFileError, match=reason):
        open_mhd(path)


def test_mhd_geometry_without_voxels_and_no_header_at_all(tmp_path):
    path = write_mhd(tmp_path / "a.mhd", display())
    assert open_mhd(path, check=False).shape == (7, 6, 9)
    assert read_mhd_header(path)["ElementType"] == "MET_SHORT"
    for content in (b"", b"<html>", bytes(100_000), b"NDims = 3\n"):
        path.write_bytes(content)
        with pytest.raises(CorruptFileError, match=r"a\.mhd.*is missing"):
            open_mhd(path)
    with pytest.raises(CorruptFileError, match="gone"):
        open_mhd(tmp_path / "gone.mhd")


# ---- columns


def test_frames_spacing_and_windows(tmp_path):
    values = np.zeros((9, 6, 8), np.int16) + np.arange(-1000, -1000 + 9 * 250, 250)[:, None, None].astype(np.int16)
    volume = open_nifti(write(tmp_path / "a.nii.gz", nifti_bytes(values, VOXEL, "RAS")))
    columns = read_volume_columns(volume, Options(num_frames=4, window="soft_tissue"))
    assert columns["metadata"]["slice_numbers"] == [8, 5, 3, 0], "0, 3, 5, 8 from superior; the file runs upwards"
    assert columns["spacing"] == pytest.approx([3.0 * 8 / 3, 0.5, 0.75])
    shown = frames(columns["frames"])
    assert shown.dtype == np.uint8
    assert shown[:, 0, 0].tolist() == [0, 0, 255, 255]
    assert columns["masks"] is None
    raw = read_volume_columns(volume, Options(num_frames="all", window="raw"))
    assert frames(raw["frames"])[:, 2, 2].tolist() == [value + 1024 for value in range(-1000, 1250, 250)]
    assert raw["spacing"] == pytest.approx(VOXEL)
    deep = read_volume_columns(volume, Options(num_frames=1, window=(0, 1000), bit_depth=16))
    assert frames(deep["frames"])[0, 0, 0] == 32768
    assert deep["spacing"] == pytest.approx(VOXEL)
    small = read_volume_columns(volume, Options(window="lung", image_size=3))
    assert frames(small["frames"]).shape == (9, 3, 3), "fewer slices than the default of 32: all of them"
    assert small["spacing"] == pytest.approx([3.0, 0.5 * 6 / 3, 0.75 * 8 / 3])
    part = read_volume_columns(volume, Options(num_frames=2, window="lung"), slices=range(2, 5))
    assert part["metadata"]["slice_numbers"] == [4, 2]


def test_missing_values_are_air(tmp_path):
    values = np.full((3, 4, 4), 40.0)
    values[1, 1, 1], values[1, 2, 2], values[1, 3, 3] = np.nan, np.inf, -np.inf
    volume = open_nifti(write(tmp_path / "a.nii", nifti_bytes(values, VOXEL, "LAS")))
    shown = frames(read_volume_columns(volume, Options(window="soft_tissue"))["frames"])[1]
    assert [int(shown[i, i]) for i in range(4)] == [128, 0, 255, 0]


def test_masks_lie_over_the_frames_and_the_first_reader_wins(tmp_path):
    values, one, other = np.zeros((9, 6, 8), np.int16), np.zeros((9, 6, 8), np.uint8), np.zeros((9, 6, 8), np.uint8)
    one[4, 1, 2], other[4, 1, 2], other[4, 5, 7], other[0, 0, 0] = 3, 9, 9, 8
    image, first, second = (
        open_nifti(write(tmp_path / f"{name}.nii.gz", nifti_bytes(array, VOXEL, "IPL")))
        for name, array in (("image", values), ("one", one), ("other", other))
    )
    layers = [MaskLayer(first), MaskLayer(second, {9: 2})]
    columns = read_volume_columns(image, Options(num_frames=3, window="lung"), masks=layers)
    masks = frames(columns["masks"])
    assert masks.shape == (3, 6, 8)
    assert {tuple(map(int, at)): int(masks[tuple(at)]) for at in np.argwhere(masks)} == {
        (1, 1, 2): 3,
        (1, 5, 7): 2,
        (0, 0, 0): OTHER_CODE,
    }
    resized = frames(read_volume_columns(image, Options(window="lung", image_size=12), masks=layers)["masks"])
    assert set(np.unique(resized)) == {0, 2, 3, OTHER_CODE}
    smaller = open_nifti(write(tmp_path / "small.nii.gz", nifti_bytes(one[:8], VOXEL, "IPL")))
    with pytest.raises(CorruptFileError, match=r"small\.nii\.gz.*same release"):
        read_volume_columns(image, Options(window="lung"), masks=[MaskLayer(smaller)])


def test_slices_outside_the_volume_are_refused(tmp_path):
    volume = open_nifti(write(tmp_path / "a.nii", nifti_bytes(display(), VOXEL, "LAS")))
    for positions in ([9], [-1], []):
        with pytest.raises(OptionError, match="slices from 0 to 8"):
            read_slices(volume, positions)
