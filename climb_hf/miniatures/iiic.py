"""Synthetic raw copy of the IIIC / SPaRCNet release: drawn ten-second segments in NumPy arrays side by side.

Every signal is drawn and every vote is made up; none comes from a patient.

Oddities of the release that it writes:

* signals, votes, one-hot labels and keys in four arrays, in a sub-folder; labels in the order Other, SZ, LPD, GPD,
  LRDA, GRDA, which is not the paper's;
* ties between votes, which the lowest index wins (so mostly `Other`); up to 32 votes;
* the segments with ten votes and more once again, as `10_train_*`;
* segments of further patients without labels (`all_test_X.npy`);
* signals clipped at ±500 µV; an array in float32 (`dtype=`: float64 or int16).
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.miniatures._common import Expected, check_choice, check_count, rng, write_text
from climb_hf.miniatures._eeg import bipolar, draw_eeg

__all__ = ["make"]

_CLASSES = (
    "Other",
    "Seizure (SZ)",
    "Lateralized Periodic Discharges (LPD)",
    "Generalized Periodic Discharges (GPD)",
    "Lateralized Rhythmic Delta Activity (LRDA)",
    "Generalized Rhythmic Delta Activity (GRDA)",
)
_PATTERNS = ("alpha", "seizure", "lpd", "gpd", "lrda", "grda")


def make(
    root: Path,
    n: int = 32,
    seed: int = 0,
    *,
    dtype: str = "float32",
    keys: str = "unicode",
    demographics: bool = False,
) -> list[Expected]:
    """Write a synthetic IIIC folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of labelled segments.
        seed (`int`, *optional*, defaults to `0`): seed of keys, votes and signals.
        dtype (`str`, *optional*, defaults to `"float32"`): `"float32"`, `"float64"` or `"int16"`.
        keys (`str`, *optional*, defaults to `"unicode"`): keys as fixed-width `"unicode"` or as `"object"` array.
        demographics (`bool`, *optional*, defaults to `False`): also write `patient_demo.mat` of the authors' code.

    Returns:
        `list[Expected]`: in the order of the arrays; `values`: `file`, `votes`, `sampling_rate`, `num_samples`,
        `first_sample` (16 values, µV), `segment`, `n_votes`.

    Raises:
        OptionError: an option out of range.
    """
    check_count("iiic", n, seed)
    check_choice("iiic", "dtype", dtype, ("float32", "float64", "int16"))
    check_choice("iiic", "keys", keys, ("unicode", "object"))
    random = rng(seed, "iiic", "plan")
    n_patients = max(6, n // 2)
    numbers = np.sort(random.choice(np.arange(1, 1951), n_patients, replace=False))
    of_segment = random.permutation(np.arange(n) % n_patients)
    names = [f"subject{numbers[i]:04d}" for i in of_segment]
    segment = [int(np.sum(of_segment[:i] == of_segment[i])) + 1 for i in range(n)]
    labels = random.permutation(np.arange(n) % 6)
    votes = np.stack([_votes(rng(seed, "iiic", "votes", i), int(label)) for i, label in enumerate(labels)])
    signals = np.stack([_signal(rng(seed, "iiic", "signal", i), int(label), dtype) for i, label in enumerate(labels)])
    folder = root / "sparcnet_data"
    text = [f"{name}_{number}" for name, number in zip(names, segment, strict=True)]
    _save(folder, "all_train", signals, votes, labels, text, keys)
    expert = votes.sum(axis=1) >= 10
    chosen = [key for key, is_expert in zip(text, expert, strict=True) if is_expert]
    _save(folder, "10_train", signals[expert], votes[expert], labels[expert], chosen, keys)
    np.save(folder / "all_test_X.npy", signals[:3][:, ::-1].copy())
    write_text(folder / "readme.txt", "Synthetic data in the format of the SPaRCNet release.\n")
    if demographics:
        _save_demographics(root / "patient_demo.mat", sorted(set(names)))
    split = _splits(names)
    return [
        Expected(
            text[i],
            split[names[i]],
            names[i],
            (_CLASSES[labels[i]],),
            {
                "file": "sparcnet_data/all_train_X.npy", "votes": votes[i].tolist(), "sampling_rate": 200.0,
                "num_samples": 2000, "first_sample": tuple(float(v) for v in signals[i, :, 0]),
                "segment": segment[i], "n_votes": int(votes[i].sum()), "row": i,
            },
        )
        for i in range(n)
    ]  # fmt: skip


def _votes(random: np.random.Generator, label: int) -> NDArray[np.int64]:
    """Six vote counts whose first maximum is the label; every fifth draw is a tie."""
    votes = random.integers(0, 3, 6)
    votes[label] = int(random.choice((3, 5, 9, 20)))
    votes[label + 1 :] = np.minimum(votes[label + 1 :], 2)
    if label < 5 and random.random() < 0.3:
        votes[label + 1] = votes[label]
    return votes


def _signal(random: np.random.Generator, label: int, dtype: str) -> NDArray[np.generic]:
    """(16, 2000) µV of one segment."""
    waves = bipolar(draw_eeg(random, [(_PATTERNS[label], None)], 10, 200))
    clipped = np.clip(waves, -500.0, 500.0)
    return (np.rint(clipped) if dtype == "int16" else clipped).astype(dtype)


def _splits(names: list[str]) -> dict[str, str]:
    """60/20/20 of the sorted patients, shuffled by the legacy generator with seed 42."""
    patients = np.unique(names)
    np.random.RandomState(42).shuffle(patients)
    train, validation = int(0.6 * len(patients)), int(0.2 * len(patients))
    order = ["train"] * train + ["validation"] * validation
    return {str(p): order[i] if i < len(order) else "test" for i, p in enumerate(patients)}


def _save(
    folder: Path,
    prefix: str,
    signals: NDArray[np.generic],
    votes: NDArray[np.int64],
    labels: NDArray[np.int64],
    text: list[str],
    keys: str,
) -> None:
    """Write the four arrays of one part."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"{prefix}_X.npy", signals)
    np.save(folder / f"{prefix}_Y.npy", votes.astype(np.float64))
    np.save(folder / f"{prefix}_Y2_hard.npy", np.eye(6)[labels])
    np.save(folder / f"{prefix}_key.npy", np.array(text, dtype=object if keys == "object" else None))


def _save_demographics(path: Path, names: list[str]) -> None:
    """Write sex and age of the patients as a MATLAB cell; the last age is missing."""
    from scipy.io import savemat

    cell = np.empty((len(names), 3), dtype=object)
    for i, name in enumerate(names):
        age = float("nan") if i == len(names) - 1 else 40.0 + i
        cell[i] = [name, ("Male", "Female")[i % 2], age]
    savemat(path, {"res": cell})
    content = bytearray(path.read_bytes())
    content[:116] = b"MATLAB 5.0 MAT-file, synthetic".ljust(116)  # scipy writes the date there
    path.write_bytes(content)
