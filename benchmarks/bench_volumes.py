"""Reading 16 slices of a 512 x 512 x 600 CT of 16 bits: peak memory against a limit, time against nibabel's proxy.

The volume (300 MB, synthetic) is written as `.nii`, `.nii.gz` and MetaImage, and once with the slices along the
fastest axis, as KiTS23 stores them. Memory is measured in processes of their own: the peak of the resident memory
while reading (the kernel's mark is reset before, Linux only), less what was resident after the imports and the reading
of a small volume. The limit for the plain files is 64 MB, so the ratio is limit / measured.
"""

import gzip
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHAPE, SLICES, LIMIT_MB = (512, 512, 600), 16, 64.0
REPEATS = {".nii": 25, ".nii.gz": 3}
FORMATS = {
    "MetaImage": "volume.mhd",
    ".nii": "volume.nii",
    ".nii.gz": "volume.nii.gz",
    ".nii.gz, slices on the fastest axis": "fastest.nii.gz",
}
REQUIRED = ("MetaImage", ".nii")


def write_volumes(folder: Path) -> None:
    """Write the synthetic volume in every format: a bright cylinder in air, with noise."""
    import nibabel
    import numpy as np

    generator = np.random.default_rng(0)
    columns, rows, slices = SHAPE
    y, x = np.mgrid[:rows, :columns]
    body = np.where((x - 256) ** 2 + (y - 256) ** 2 < 200**2, 40, -1000)
    volume = np.empty((slices, rows, columns), "<i2")
    for plane in volume:
        plane[:] = body + generator.normal(0, 12, body.shape)
    affine = np.diag([-0.7, -0.7, 1.0, 1.0])
    header = nibabel.Nifti1Image(np.zeros((1, 1, 1), "<i2"), affine).header
    for name, array, matrix in (
        ("volume", volume, affine),
        ("fastest", volume.transpose(2, 1, 0), affine[:, [2, 1, 0, 3]]),
    ):
        header.set_data_shape(array.shape[::-1])
        header.set_sform(matrix, 2)
        header["vox_offset"], header["magic"] = 352, b"n+1"
        content = header.binaryblock + bytes(4) + np.ascontiguousarray(array).tobytes()
        with gzip.open(folder / f"{name}.nii.gz", "wb", compresslevel=1) as stream:
            stream.write(content)
        if name == "volume":
            (folder / "volume.nii").write_bytes(content)
    (folder / "volume.raw").write_bytes(volume.tobytes())
    lines = (
        "ObjectType = Image", "NDims = 3", "ElementSpacing = 0.7 0.7 1", f"DimSize = {columns} {rows} {slices}",
        "ElementType = MET_SHORT", "ElementDataFile = volume.raw",
    )  # fmt: skip
    (folder / "volume.mhd").write_text("\n".join(lines) + "\n")


def open_volume(path: Path):
    """Open a file of either format."""
    from climb_hf.readers.mhd import open_mhd
    from climb_hf.readers.nifti import open_nifti

    return open_mhd(path) if path.suffix == ".mhd" else open_nifti(path)


def resident_mb(key: str) -> float:
    """Return `VmRSS` or `VmHWM` of this process in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))


def measure(path: Path) -> float:
    """Return the peak memory in MB of making 16 frames of a volume, above that of this process before."""
    from climb_hf.processing.volumes import read_volume_columns
    from climb_hf.source import Options

    options = Options(num_frames=SLICES, window="lung")
    read_volume_columns(open_volume(path.with_name("small.nii.gz")), options)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_mb("VmRSS")
    columns = read_volume_columns(open_volume(path), options)
    if len(columns["frames"]) != SLICES:
        raise RuntimeError(f"expected {SLICES} frames, found {len(columns['frames'])}")
    return resident_mb("VmHWM") - before


def ours(path: Path) -> None:
    """Read 16 slices."""
    from climb_hf.readers.video import frame_indices
    from climb_hf.readers.volume import read_slices

    volume = open_volume(path)
    read_slices(volume, frame_indices(volume.display_shape[0], SLICES))


def proxy(path: Path) -> None:
    """Read 16 slices through nibabel's array proxy."""
    import nibabel
    import numpy as np

    from climb_hf.readers.video import frame_indices

    image = nibabel.load(path)
    axis = image.shape.index(SHAPE[2])
    places = [(slice(None),) * axis + (index,) for index in frame_indices(SHAPE[2], SLICES)]
    np.stack([np.asarray(image.dataobj[place]) for place in places])


def seconds(function, path: Path) -> float:
    """Return the time of one call."""
    start = time.perf_counter()
    function(path)
    return time.perf_counter() - start


def run() -> list[dict]:
    """Return the rows: peak memory per format, then time against nibabel."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_volumes(folder)
        _write_small(folder / "small.nii.gz")
        for label, file in FORMATS.items():
            command = [sys.executable, __file__, "--measure", str(folder / file)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            peak = json.loads(done.stdout)
            title = f"16 slices of a 300 MB CT, {label}: peak memory (limit)"
            required = 1.0 if label in REQUIRED else None
            rows.append({"name": title, "ours": peak, "reference": LIMIT_MB, "unit": "MB", "required": required})
        for label, repeats in REPEATS.items():
            path = folder / FORMATS[label]
            times = [(seconds(ours, path), seconds(proxy, path)) for _ in range(repeats)]
            mine, reference = (statistics.median(column) for column in zip(*times, strict=True))
            title = f"16 slices of a 300 MB CT, {label}, vs nibabel's array proxy"
            rows.append({"name": title, "ours": mine, "reference": reference, "unit": "s", "required": None})
    return [{**row, "ratio": row["reference"] / row["ours"]} for row in rows]


def _write_small(path: Path) -> None:
    import nibabel
    import numpy as np

    nibabel.save(nibabel.Nifti1Image(np.zeros((512, 512, 4), np.int16), np.eye(4)), path)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(Path(sys.argv[2]))))
    else:
        for row in run():
            print(row)
