"""Synthetic raw copy of the ABCD connectomes: one array of correlation matrices and two text tables.

Every matrix is drawn at random; no value comes from a person. In matrices of `M` the regions of the first half go
together, in those of `F` the second half.

Oddities of the release that it writes:

* `ids_HCP2016.txt` without a header, in the order of the array; `id2sex.txt`, a CSV with a header in another order;
* an id without a sex, and a sex whose matrix is not in the array;
* `timeseires` in two file names; a time series list of fewer subjects;
* a matrix with a region that is NaN throughout; a matrix whose diagonal is 0.
"""

from pathlib import Path

import numpy as np

from climb_hf.miniatures._common import Expected, check_count, rng, write_bytes, write_csv, write_text
from climb_hf.miniatures._networks import matrix, npy_bytes, series

__all__ = ["make"]

_CLASSES = {"F": "Female", "M": "Male"}


def make(
    root: Path, n: int = 32, seed: int = 0, *, regions: int = 20, timeseries: bool = True, labels: bool = False
) -> list[Expected]:
    """Write a synthetic folder of ABCD connectomes.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of subjects with a matrix and a sex, at least 8.
        seed (`int`, *optional*, defaults to `0`): seed of the content.
        regions (`int`, *optional*, defaults to `20`): regions; the real atlas has 360.
        timeseries (`bool`, *optional*, defaults to `True`): also write the series and their list.
        labels (`bool`, *optional*, defaults to `False`): also write `labels.csv` as an approved user would, with
            `Abnormal` for every third subject and no row for the last one.

    Returns:
        `list[Expected]`: in the order of the array; `values`: `sex`, `num_nodes`, `num_nan`, `has_timeseries`, `row`,
        `diagnosis` (or `None`).

    Raises:
        OptionError: an option out of range.
    """
    check_count("abcd", n, seed)
    ids = [f"NDARINV{word}" for word in _words(n + 2, seed)]
    without_sex = 2  # this row of the array has no sex
    rows = [row for row in range(n + 1) if row != without_sex]
    sexes = {row: "M" if position % 2 else "F" for position, row in enumerate(rows)}
    matrices = np.stack(
        [matrix(rng(seed, "abcd", row), regions, sexes.get(row) == "M") for row in range(n + 1)]
    ).astype(np.float32)
    matrices[4, 3, :] = matrices[4, :, 3] = np.nan
    matrices[5, np.arange(regions), np.arange(regions)] = 0.0
    write_bytes(root / "abcd_rest-pearson-HCP2016.npy", npy_bytes(matrices))
    write_text(root / "ids_HCP2016.txt", "".join(f"{name}\n" for name in ids[: n + 1]))
    table = [(ids[row], sexes[row]) for row in rng(seed, "abcd", "order").permutation(rows)]
    write_csv(root / "id2sex.txt", [("id", "sex"), *table, (ids[n + 1], "F")])
    with_series = [row for row in range(n + 1) if row % 5]
    if timeseries:
        values = [series(rng(seed, "abcd", "series", row), 32, regions, True).T for row in with_series]
        write_bytes(root / "abcd_rest-timeseires-HCP2016.npy", npy_bytes(np.stack(values).astype(np.float32)))
        write_text(root / "ids_HCP2016_timeseires.txt", "".join(f"{ids[row]}\n" for row in with_series))
    diagnoses = {row: "Abnormal" if row % 3 == 0 else "Normal" for row in rows[:-1]} if labels else {}
    if labels:
        write_csv(root / "labels.csv", [("id", "label"), *((ids[row], name) for row, name in diagnoses.items())])
    expected = []
    for row in rows:
        truths: dict[str, object] = {
            "sex": "male" if sexes[row] == "M" else "female",
            "num_nodes": regions,
            "num_nan": 2 * regions - 1 if row == 4 else 0,
            "has_timeseries": row in with_series if timeseries else None,
            "row": row,
            "diagnosis": diagnoses.get(row),
        }
        expected.append(Expected(ids[row], None, ids[row], (_CLASSES[sexes[row]],), truths))
    return expected


def _words(count: int, seed: int) -> list[str]:
    """Different texts of eight letters and digits, as the study's pseudonyms have."""
    signs = np.array(list("0123456789ABCDEFGHJKLMNPRTUVWXYZ"))
    random = rng(seed, "abcd", "ids")
    return [f"{position:03d}{''.join(random.choice(signs, 5))}" for position in random.permutation(count)]
