"""The arrays of the SPaRCNet release: keys, votes and signals side by side, and the table of its patients."""

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.errors import CorruptFileError, LayoutError, SchemaError
from climb_hf.readers.npy import read_npy_header, read_npy_strings

__all__ = ["CLASSES", "SHAPE", "SparcnetPart", "draw_patients", "patient_of", "read_keys", "read_part", "read_people"]

logger = logging.getLogger(__name__)

#: Columns of the votes and of the one-hot labels.
CLASSES = ("Other", "Seizure", "LPD", "GPD", "LRDA", "GRDA")
#: Derivations and samples of a segment.
SHAPE = (16, 2000)


@dataclass(frozen=True, eq=False)
class SparcnetPart:
    """One part of the release, such as `all_train`.

    Args:
        keys (`list[str]`): name of each segment.
        votes (`np.ndarray`): (segments, 6) float64 vote counts, columns as `CLASSES`; where the release has no votes,
            the one-hot labels.
        has_votes (`bool`): whether `votes` are counts of votes.
        signals (`str`): file of the signals, relative to the root.
    """

    keys: list[str]
    votes: NDArray[np.float64]
    has_votes: bool
    signals: str


def patient_of(key: str) -> tuple[str, str]:
    """Take a key apart.

    Args:
        key (`str`): `<patient>_<number>`; the prefix `sparcnet_` of the authors' other files is ignored.

    Returns:
        Patient and number of the segment.

    Example:
        >>> patient_of("subject0123_7"), patient_of("sparcnet_subject1026_9")
        (('subject0123', '7'), ('subject1026', '9'))
    """
    patient, _, number = key.removeprefix("sparcnet_").rpartition("_")
    return (patient, number) if patient else (number, "")


def draw_patients(patients: Iterable[str]) -> dict[str, str]:
    """Split patients 60/20/20 as the paper's code does.

    The patients are sorted, shuffled in place by NumPy's legacy generator with seed 42, and cut after `int(0.6 n)` and
    `int(0.2 n)` more.

    Args:
        patients (`Iterable[str]`): all patients of the release, in any order.

    Returns:
        `dict[str, str]`: split of each patient.

    Example:
        >>> draw_patients(["c", "a", "b", "e", "d"])
        {'b': 'train', 'e': 'train', 'c': 'train', 'a': 'validation', 'd': 'test'}
    """
    order = np.unique(list(patients))
    np.random.RandomState(42).shuffle(order)
    n_train, n_validation = int(0.6 * len(order)), int(0.2 * len(order))
    names = ["train"] * n_train + ["validation"] * n_validation
    names += ["test"] * (len(order) - len(names))
    return dict(zip(map(str, order), names, strict=True))


def read_keys(root: Path, files: Mapping[str, str], prefix: str) -> list[str] | None:
    """Read the keys of a part.

    Args:
        root (`Path`): folder the paths are relative to.
        files (`Mapping[str, str]`): lower-cased file name -> relative path.
        prefix (`str`): such as `"all_train"`.

    Returns:
        `list[str]`, *optional*: `None` where the file is absent.

    Raises:
        CorruptFileError: the file does not hold strings.
    """
    file = files.get(f"{prefix}_key.npy")
    return read_npy_strings(root / file) if file else None


def read_part(root: Path, files: Mapping[str, str], prefix: str) -> SparcnetPart:
    """Read keys and votes of a part and check that they belong to its signals.

    Args:
        root (`Path`): folder the paths are relative to.
        files (`Mapping[str, str]`): lower-cased file name -> relative path.
        prefix (`str`): such as `"all_train"`.

    Returns:
        [`SparcnetPart`].

    Raises:
        LayoutError: the signals, the keys, or both votes and labels are absent.
        SchemaError: the arrays do not have the same number of segments, or not the documented shape.
        CorruptFileError: a file is damaged.
    """
    keys, signals = read_keys(root, files, prefix), files.get(f"{prefix}_x.npy")
    counted, labelled = (_matrix(root, files, f"{prefix}_{kind}.npy") for kind in ("y", "y2_hard"))
    votes = labelled if counted is None else counted
    if keys is None or signals is None or votes is None:
        raise LayoutError(
            f"`{root}`: expected `{prefix}_X.npy`, `{prefix}_key.npy` and `{prefix}_Y.npy` (or "
            f"`{prefix}_Y2_hard.npy`), found {sorted(files.values())}. Fetch the missing ones from the publisher."
        )
    shape = read_npy_header(root / signals).shape
    if shape != (len(keys), *SHAPE) or len(votes) != len(keys):
        raise SchemaError(
            f"`{prefix}`: expected one key, one row of votes and {SHAPE[0]} × {SHAPE[1]} samples per segment, found "
            f"{len(keys)} keys, {len(votes)} rows and signals of shape {shape}. Fetch all of them from one version."
        )
    votes = np.nan_to_num(votes)
    if counted is not None and labelled is not None and len(labelled) == len(votes):
        differing = int((votes.argmax(axis=1) != labelled.argmax(axis=1)).sum())
        if differing:
            logger.warning(
                "iiic: %d of %d one-hot labels are not the most voted class; the votes are used", differing, len(votes)
            )
    return SparcnetPart(keys, votes, counted is not None, signals)


def _matrix(root: Path, files: Mapping[str, str], name: str) -> NDArray[np.float64] | None:
    """Read a (segments, 6) array of votes or labels."""
    if name not in files:
        return None
    path = root / files[name]
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise CorruptFileError(f"`{path}`: expected an array of numbers ({error}). Fetch it again.") from error
    if values.ndim != 2 or values.shape[1] != len(CLASSES) or values.dtype.kind not in "biuf":
        raise SchemaError(
            f"`{path}`: expected numbers in {len(CLASSES)} columns ({', '.join(CLASSES)}), found {values.dtype} of "
            f"shape {values.shape}. Fetch it again."
        )
    return values.astype(np.float64)


def read_people(path: Path) -> dict[str, tuple[float | None, str | None]]:
    """Read `patient_demo.mat` of the authors' code: a cell of patient, sex and age.

    Args:
        path (`Path`): the MATLAB file.

    Returns:
        `dict`: patient -> age in years (*optional*) and sex (*optional*).

    Raises:
        CorruptFileError: the file is damaged, or holds no such cell.
    """
    from scipy.io import loadmat

    try:
        rows = loadmat(path, variable_names=["res"])["res"]
        people = {}
        for patient, sex, age in rows:
            years = float(np.ravel(age)[0]) if np.size(age) else math.nan
            word = str(np.ravel(sex)[0]).strip().lower() if np.size(sex) else ""
            known = None if math.isnan(years) else years
            people[str(np.ravel(patient)[0]).strip()] = (known, word if word in ("female", "male") else None)
    except (ValueError, KeyError, IndexError, TypeError, OSError, NotImplementedError) as error:
        raise CorruptFileError(f"`{path}`: expected a cell `res` of patient, sex and age ({error!r}).") from error
    return people
