"""Synthetic raw copy of PPMI's structural brain networks: the MATLAB file `PPMI.mat`, or a folder of single matrices.

Every matrix is drawn at random; no value comes from a person. In networks of `PD patients` the regions of the first
half are tied together, in those of `Control` the second half.

Oddities of the release that it writes:

* `X` is a cell array (N, 1) of (regions, regions, 3) doubles, `label` an int16 column of -1 and 1, 79 % of them 1;
* three views of one brain, not quite symmetric, non-negative, with a zero diagonal and missing connections;
* a region without any connection; a file without ids (`ids=True` writes a list of subjects with several visits).
"""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.miniatures._common import Expected, check_choice, check_count, rng, write_bytes, write_csv, write_text

__all__ = ["make"]

_CLASSES = {-1: "Control", 1: "PD patients"}


def make(
    root: Path,
    n: int = 32,
    seed: int = 0,
    *,
    regions: int = 20,
    ids: bool = False,
    layout: str = "mat",
    inverted: bool = False,
) -> list[Expected]:
    """Write a synthetic PPMI folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of networks, at least 8.
        seed (`int`, *optional*, defaults to `0`): seed of the content.
        regions (`int`, *optional*, defaults to `20`): regions; the real file has 84.
        ids (`bool`, *optional*, defaults to `False`): also write `ids.txt`, a subject per network, some with two.
        layout (`str`, *optional*, defaults to `"mat"`): `"mat"` (`PPMI.mat`) or `"folder"` (a file per visit with
            `connectivity`, and `labels.csv`).
        inverted (`bool`, *optional*, defaults to `False`): write the other sign, so that most labels are -1.

    Returns:
        `list[Expected]`: in the order of the file (of names with `"folder"`); `values`: `num_nodes`, `raw_labels`,
        `isolated` (region without connection, or `None`), `matrix` (regions, regions, 3) as lists.

    Raises:
        OptionError: an option out of range.
    """
    check_count("ppmi", n, seed)
    check_choice("ppmi", "layout", layout, ("mat", "folder"))
    labels = [-1 if number % 5 == 1 else 1 for number in range(n)]
    subjects = [
        f"{3000 + number // 2 if number < 8 and labels[number] == 1 else 3100 + number}" for number in range(n)
    ]
    networks = [_network(rng(seed, "ppmi", number), regions, label == 1) for number, label in enumerate(labels)]
    isolated = [number % regions if number % 8 == 5 else None for number in range(n)]
    for network, lone in zip(networks, isolated, strict=True):
        if lone is not None:
            network[lone, :, :] = network[:, lone, :] = 0.0
    written = [-label if inverted else label for label in labels]
    names = [f"{number:04d}" for number in range(n)]
    if layout == "folder":
        names = [f"{subject}_V{number:02d}" for number, subject in enumerate(subjects)]
        for name, network in zip(names, networks, strict=True):
            write_bytes(root / f"{name}.mat", _mat({"connectivity": network}))
        rows = dict(zip(subjects, written, strict=True))
        write_csv(root / "labels.csv", [("id", "label"), *rows.items()])
    else:
        cells = np.empty((n, 1), dtype=object)
        for number, network in enumerate(networks):
            cells[number, 0] = network
        write_bytes(root / "PPMI.mat", _mat({"X": cells, "label": np.array(written, dtype=np.int16)[:, None]}))
        if ids:
            write_text(root / "ids.txt", "".join(f"{subject}\n" for subject in subjects))
    grouped = ids or layout == "folder"
    expected = [
        Expected(
            names[number],
            None,
            subjects[number] if grouped else names[number],
            (_CLASSES[labels[number]],),
            {
                "num_nodes": regions,
                "raw_labels": (str(written[number]),),
                "isolated": isolated[number],
                "matrix": networks[number].tolist(),
            },
        )
        for number in range(n)
    ]
    return sorted(expected, key=lambda row: row.id)


def _network(random: np.random.Generator, regions: int, patient: bool) -> NDArray[np.float64]:
    """Three views of one random network, (regions, regions, 3), each a little asymmetric."""
    together = (np.arange(regions) < regions // 2) == patient
    mean = 3.0 + 9.0 * np.outer(together, together)
    counts = random.poisson(mean)
    counts = np.triu(counts, 1) + np.triu(counts, 1).T
    present = np.triu(random.random((regions, regions)) < 0.6, 1)
    views = []
    for scale in (1.0, 0.5, 20.0):
        noise = 1.0 + 0.02 * random.standard_normal((regions, regions))
        views.append((counts * (present | present.T) * scale * noise).round(4))
    return np.stack(views, axis=2)


def _mat(variables: dict[str, NDArray[np.generic]]) -> bytes:
    """The content of a MATLAB 5 file without the time of its writing."""
    from scipy.io import savemat

    buffer = io.BytesIO()
    savemat(buffer, variables)
    content = bytearray(buffer.getvalue())
    content[:116] = b"MATLAB 5.0 MAT-file, synthetic networks".ljust(116)
    return bytes(content)
