"""Synthetic 12-lead ECGs that show their labels, and the WFDB files that publishers keep them in."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.miniatures._common import Floats, write_bytes, write_text

__all__ = ["LEADS", "draw_ecg", "to_millivolt", "write_wfdb_dat", "write_wfdb_mat"]

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

_RATE = 500
_WINDOW = np.arange(-250, 350) / _RATE  # seconds around an R peak
_ALL = range(8)  # independent leads: I II V1 V2 V3 V4 V5 V6
_P = np.array([0.7, 1.0, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6])
_R = np.array([0.6, 0.9, 0.25, 0.5, 0.8, 1.2, 1.1, 0.9])
_S = -np.array([0.1, 0.15, 0.8, 1.0, 0.7, 0.4, 0.2, 0.1])
_T = np.array([0.6, 0.9, 0.3, 0.9, 1.0, 0.9, 0.8, 0.7])

_REGION = {  # diagnostic subclass -> the independent leads that show it most
    "LAFB/LPFB": (0, 1), "IRBBB": (2, 3), "CRBBB": (2, 3), "ILBBB": (0, 6, 7), "CLBBB": (0, 6, 7), "IVCD": (4, 5),
    "LVH": (6, 7), "RVH": (2, 3), "SEHYP": (4, 5), "RAO/RAE": (1,), "AMI": (2, 3, 4, 5), "IMI": (1,),
    "LMI": (0, 6, 7), "PMI": (2, 3), "ISCA": (3, 4, 5), "ISCI": (1,), "ISC_": _ALL, "STTC": (0, 6, 7),
}  # fmt: skip
_GROUPS = {
    "cd": {"LAFB/LPFB", "IRBBB", "CRBBB", "ILBBB", "CLBBB", "IVCD", "_AVB", "WPW"},
    "hyp": {"LVH", "RVH", "SEHYP", "LAO/LAE", "RAO/RAE"},
    "mi": {"AMI", "IMI", "LMI", "PMI"},
    "sttc": {"NST_", "ISCA", "ISCI", "ISC_", "STTC"},
}


def draw_ecg(
    random: np.random.Generator,
    classes: Collection[str],
    subclasses: Collection[str] = (),
    rhythm: str | None = None,
) -> NDArray[np.int16]:
    """Ten seconds of a synthetic 12-lead ECG.

    Every class adds its own structure: P waves (`normal`), wide notched QRS (`cd`), tall QRS (`hyp`), deep Q waves
    (`mi`), depressed ST and inverted T (`sttc`), irregular beats with f waves (`afib`), ectopic wide beats (`other`).
    A subclass moves its structure to the leads of its region. Limb leads obey Einthoven's and Goldberger's equations.

    Args:
        random (`numpy.random.Generator`): source of randomness.
        classes: short class names, any of `normal cd hyp mi sttc afib other`.
        subclasses (*optional*): diagnostic subclasses of PTB-XL.
        rhythm (`str`, *optional*): `"STACH"`, `"SBRAD"` or `"SARRH"` change the beats' distances.

    Returns:
        (5000, 12) int16 array, µV at 500 Hz, leads I, II, III, aVR, aVL, aVF, V1 … V6.
    """
    peaks = _peaks(random, "afib" in classes, rhythm)
    gain = random.uniform(0.85, 1.15)
    normal = gain * _beat(random, set(classes), set(subclasses))
    ectopic = gain * _ectopic(random)
    signal = np.zeros((8, 6000))
    for number, peak in enumerate(peaks):
        odd = "other" in classes and number % 3 == 2
        start = peak + 500 - 250 - (80 if odd else 0)
        signal[:, start : start + 600] += ectopic if odd else normal
    signal = signal[:, 500:5500]
    time = np.arange(5000) / _RATE
    if "afib" in classes:
        phase = 2 * np.pi * (random.uniform(5.0, 7.0) * time + 0.3 * np.sin(2 * np.pi * 0.4 * time))
        signal += 0.14 * _P[:, None] * np.sin(phase + random.uniform(0, 6))
    wander = random.uniform(0.02, 0.08, (8, 1))
    signal += wander * np.sin(2 * np.pi * random.uniform(0.15, 0.4) * time + random.uniform(0, 6, (8, 1)))
    signal += random.normal(0.0, random.uniform(0.008, 0.02), signal.shape)
    return _twelve(np.rint(signal * 1000.0).astype(np.int64))


def _peaks(random: np.random.Generator, irregular: bool, rhythm: str | None) -> list[int]:
    """Samples of the R peaks within 0..5000."""
    mean = {"STACH": 0.48, "SBRAD": 1.25}.get(rhythm or "", random.uniform(0.7, 0.95))
    spread = 0.45 if irregular else 0.18 if rhythm == "SARRH" else 0.02
    peaks, at = [], random.uniform(0.1, 0.5)
    while at < 9.9:
        peaks.append(int(at * _RATE))
        at += mean * (1.0 + random.uniform(-spread, spread))
    return peaks


def _beat(random: np.random.Generator, classes: set[str], subclasses: set[str]) -> Floats:
    """(8, 600) mV of one beat that carries the structures of its classes."""
    weight = {
        name: _weights(subclasses & group) if name in classes else np.zeros(8) for name, group in _GROUPS.items()
    }
    complete = 1.4 if subclasses & {"CRBBB", "CLBBB", "IVCD"} or not subclasses & _GROUPS["cd"] else 0.9
    tall = 1.0 + 1.5 * weight["hyp"]
    wide = 1.0 + complete * min(1.0, weight["cd"].max())
    shift = random.uniform(-0.01, 0.01)
    p_at, p_width, p_size = -0.17 + shift, 0.025, 0.2
    if "_AVB" in subclasses:
        p_at -= 0.15
    if "WPW" in subclasses:
        p_at += 0.06
    if subclasses & {"LAO/LAE", "RAO/RAE"}:
        p_size, p_width = (0.38, 0.045) if "LAO/LAE" in subclasses else (0.5, 0.02)
    sign = np.where(np.isin(np.arange(8), (2, 3)) & ("PMI" in subclasses), -1.0, 1.0)
    t_size = 0.35 * _T if subclasses.isdisjoint({"NST_"}) or weight["sttc"].max() == 0 else 0.12 * _T
    waves = [
        (-0.05, 0.012, -0.06 * np.ones(8)),
        (-0.045, 0.022, -0.9 * weight["mi"] * sign),
        (0.0, 0.011 * wide, _R * tall * random.uniform(0.85, 1.15, 8)),
        (0.03 * wide, 0.012 * wide, _S * tall * random.uniform(0.85, 1.15, 8)),
        (0.09, 0.022, 0.9 * weight["cd"] * complete),
        (0.17, 0.045, -0.30 * weight["sttc"]),
        (0.30 + shift, 0.05, t_size * random.uniform(0.8, 1.2) - 0.75 * _T * weight["sttc"]),
    ]
    if "normal" in classes:
        waves.append((p_at, p_width, p_size * _P))
    if "WPW" in subclasses:
        waves.append((-0.055, 0.025, 0.4 * np.ones(8)))
    return sum((amount[:, None] * _bell(at, width) for at, width, amount in waves), np.zeros((8, len(_WINDOW))))


def _weights(subclasses: set[str]) -> Floats:
    """How strongly each independent lead shows a class: everywhere, more in the region of the subclass."""
    weights = np.full(8, 0.6)
    for name in subclasses:
        weights[list(_REGION.get(name, ()))] += 0.8
    return np.minimum(weights, 1.4)


def _ectopic(random: np.random.Generator) -> Floats:
    """(8, 600) mV of a premature ventricular beat: no P wave, wide, with an opposite T wave."""
    size = np.array([1.2, 1.6, -1.5, -1.2, 1.3, 1.5, 1.2, 1.0]) * random.uniform(0.8, 1.2)
    return size[:, None] * _bell(0.0, 0.05) - 0.5 * size[:, None] * _bell(0.25, 0.06)


def _bell(at: float, width: float) -> Floats:
    return np.exp(-0.5 * ((_WINDOW - at) / width) ** 2)


def _twelve(lead: NDArray[np.int64]) -> NDArray[np.int16]:
    """(8, time) µV of I, II, V1 … V6 to (time, 12) with the four derived limb leads."""
    one, two = lead[0], lead[1]
    limb = [one, two, two - one, -(one + two) // 2, (2 * one - two) // 2, (2 * two - one) // 2]
    return np.clip(np.stack([*limb, *lead[2:]], axis=1), -32000, 32000).astype(np.int16)


def to_millivolt(samples: NDArray[np.int16]) -> tuple[float, ...]:
    """Physical value of one time step.

    Args:
        samples (array): (12,) int16, µV.

    Returns:
        `tuple[float, ...]`: mV, gain 1000 per mV.
    """
    return tuple(float(v) / 1000.0 for v in samples)


def write_wfdb_dat(stem: Path, signal: NDArray[np.int16], rate: int, leads: Collection[str], unit: str = "mV") -> None:
    """Write `<stem>.dat` (format 16, little-endian, channels interleaved) and its header.

    Args:
        stem (`pathlib.Path`): path without suffix; its name is the record name.
        signal (array): (time, channels) int16.
        rate (`int`): Hz.
        leads: channel names.
        unit (`str`, *optional*, defaults to `"mV"`): unit after the gain.
    """
    write_bytes(stem.with_name(f"{stem.name}.dat"), signal.astype("<i2").tobytes())
    lines = _header_lines(f"{stem.name}.dat 16 1000.0(0)/{unit}", signal, leads)
    text = f"{stem.name} {signal.shape[1]} {rate} {len(signal)}\n" + "".join(f"{line}\n" for line in lines)
    write_text(stem.with_name(f"{stem.name}.hea"), text)


def write_wfdb_mat(
    stem: Path,
    signal: NDArray[np.int16],
    rate: int,
    comments: Collection[str],
    unit: str = "mV",
    *,
    leads: Collection[str] = LEADS,
    form: str = "16x1+24 1000.0(0)",
    start: str = "",
) -> None:
    """Write a record as the PhysioNet/CinC Challenges do: MATLAB v4 `<stem>.mat` with 24 header bytes, and a header.

    Args:
        stem (`pathlib.Path`): path without suffix; its name is the record name.
        signal (array): (time, leads) int16.
        rate (`int`): Hz.
        comments: comment lines, with their `#`.
        unit (`str`, *optional*, defaults to `"mV"`): unit after the gain.
        leads (*optional*): channel names, by default the twelve.
        form (`str`, *optional*): format and gain as the release spells them.
        start (`str`, *optional*): time and date after the number of samples.
    """
    head = np.array([30, signal.shape[1], len(signal), 0, 4], "<i4").tobytes() + b"val\x00"
    write_bytes(stem.with_name(f"{stem.name}.mat"), head + signal.astype("<i2").tobytes())
    lines = [f"{stem.name} {signal.shape[1]} {rate} {len(signal)} {start}".rstrip()]
    lines += _header_lines(f"{stem.name}.mat {form}/{unit}", signal, leads)
    write_text(stem.with_name(f"{stem.name}.hea"), "".join(f"{line}\n" for line in [*lines, *comments]))


def _header_lines(start: str, signal: NDArray[np.int16], leads: Collection[str]) -> list[str]:
    """Signal lines with first value and 16-bit checksum."""
    sums = signal.sum(axis=0, dtype=np.int64).astype(np.int16)  # wraps, as the checksum does
    return [
        f"{start} 16 0 {first} {total} 0 {lead}" for first, total, lead in zip(signal[0], sums, leads, strict=True)
    ]
