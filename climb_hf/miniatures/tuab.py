"""Synthetic raw copy of the TUH Abnormal EEG Corpus: drawn recordings in EDF, in the corpus' tree.

Every signal is drawn and every header is made up; none comes from a patient. Abnormal recordings show slow waves
everywhere, normal ones a posterior 10 Hz rhythm.

Oddities of the release that it writes:

* order and number of the channels differ between files; ear, midline and non-EEG channels stand between the others,
  some of them at a rate of their own (`IBI`, `BURSTS`, `SUPPR`);
* 250 Hz in most files, 256 or 512 Hz in some; recordings do not end at a multiple of ten seconds;
* ages as `Age:37`, with decimals and as 999; birth year 0000; patient ids that are zeros;
* a train subject with a normal and an abnormal session;
* `layout="v2.0.0"`: numeric subjects, folders per subject and session, a report beside every recording.

Records are ten-second windows. Eval has one window per file; in train every fifth file has three.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from climb_hf.miniatures._common import Expected, check_choice, check_count, rng, write_text
from climb_hf.miniatures._eeg import ELECTRODES, PAIRS, Trace, draw_eeg, to_trace, trace_values, write_edf

__all__ = ["make"]

_EXTRA = ("EEG EKG1-REF", "EMG-REF", "PHOTIC-REF", "EEG 26-REF", "EEG T1-REF")
_SLOW = ("IBI", "BURSTS", "SUPPR")
_CLASSES = {"normal": "Normal", "abnormal": "Abnormal"}


@dataclass(frozen=True)
class _File:
    split: str
    label: str
    number: int
    subject: int
    session: int
    windows: int


def make(root: Path, n: int = 32, seed: int = 0, *, layout: str = "v3.0.1") -> list[Expected]:
    """Write a synthetic TUAB folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of ten-second windows.
        seed (`int`, *optional*, defaults to `0`): seed of headers and signals.
        layout (`str`, *optional*, defaults to `"v3.0.1"`): `"v3.0.1"` or `"v2.0.0"`.

    Returns:
        `list[Expected]`: by path and window; `values`: `file`, `age`, `sex`, `sampling_rate`, `window`,
        `start_second`, `num_samples`, `first_sample` (16 derivations, µV), `subject`, `session`, `token`.

    Raises:
        OptionError: an option out of range.
    """
    check_count("tuab", n, seed)
    check_choice("tuab", "layout", layout, ("v3.0.1", "v2.0.0"))
    expected = [row for file in _plan(n) for row in _write(root, file, seed, layout)]
    write_text(root / "AAREADME.txt", "Synthetic data in the format of the TUH Abnormal EEG Corpus.\n")
    write_text(root / "DOCS" / "01_tcp_ar_montage.txt", "montage = 0, FP1-F7: EEG FP1-REF -- EEG F7-REF\n")
    return sorted(expected, key=lambda row: (str(row.values["file"]), row.id))


def _plan(n: int) -> list[_File]:
    """Spread n windows over files of both classes and splits."""
    n_eval, files, number = max(2, n // 4), [], 0
    for split, total in (("eval", n_eval), ("train", n - n_eval)):
        left, place = total, 0
        while left:
            windows = min(left, 3) if split == "train" and place % 5 == 4 else 1
            label = ("abnormal", "normal")[place % 2]
            second = split == "train" and place == 1  # the subject of the file before, now with a normal session
            files.append(_File(split, label, number, number - second, 1 + second, windows))
            left, place, number = left - windows, place + 1, number + 1
    return files


def _name(file: _File, layout: str) -> tuple[str, str]:
    """Folder of a file below its class, and its stem."""
    token = "t000" if layout == "v3.0.1" else "t001"
    if layout == "v3.0.1":
        letters = "".join("abcdefghijklmnopqrstuvwxyz"[(file.subject // 26**k) % 26] for k in (2, 1, 0))
        return "01_tcp_ar", f"aaaaa{letters}_s{file.session:03d}_{token}"
    subject = f"{10194 + 37 * file.subject:08d}"
    folder = f"01_tcp_ar/{subject[3:6]}/{subject}/s{file.session:03d}_2013_01_09"
    return folder, f"{subject}_s{file.session:03d}_{token}"


def _write(root: Path, file: _File, seed: int, layout: str) -> list[Expected]:
    """Write one recording and return its windows."""
    random = rng(seed, "tuab", "file", file.number)
    person = rng(seed, "tuab", "person", file.subject)
    folder, stem = _name(file, layout)
    relative = f"edf/{file.split}/{file.label}/{folder}/{stem}.edf"
    rate = {3: 256, 5: 512}.get(file.number % 8, 250)
    seconds = 10 * file.windows + int(random.integers(0, 4))
    waves = draw_eeg(random, [("delta" if file.label == "abnormal" else "alpha", None)], seconds, rate)
    physical = (("-5000.00", "5000.00"), ("-3276.8", "3276.7"))[file.number % 2]
    traces = {name: to_trace(f"EEG {name}-REF", waves[name], rate, physical) for name in ELECTRODES}
    sex, age = "MF"[int(person.integers(2))], int(person.integers(18, 90))
    text = {2: "999", 4: f"{age}.5"}.get(file.number % 9, str(age))
    subject = stem.split("_")[0] if file.number % 3 else "00000000"
    year = "0000" if file.number % 4 == 1 else "1978"
    patient = f"{subject} {sex} 01-JAN-{year} {subject} Age:{text}"
    write_edf(root / relative, _arrange(random, traces, seconds, rate), patient)
    if layout == "v2.0.0":
        write_text((root / relative).with_suffix(".txt"), "Synthetic report.\n")
    values = {name: trace_values(trace) for name, trace in traces.items()}
    return [
        Expected(
            f"{stem}_{window:04d}",
            {"eval": "test", "train": "train"}[file.split],
            stem.split("_")[0],
            (_CLASSES[file.label],),
            {
                "file": relative, "age": None if text == "999" else float(text),
                "sex": {"M": "male", "F": "female"}[sex], "sampling_rate": float(rate), "window": window,
                "start_second": 10.0 * window, "num_samples": 10 * rate,
                "first_sample": tuple(float(values[a][10 * rate * window] - values[b][10 * rate * window])
                                      for a, b in PAIRS),
                "subject": stem.split("_")[0], "session": stem.split("_")[1], "token": stem.split("_")[2],
            },
        )
        for window in range(file.windows)
    ]  # fmt: skip


def _arrange(random: np.random.Generator, traces: dict[str, Trace], seconds: int, rate: int) -> list[Trace]:
    """Channels of a file in an order of its own, with the ones nobody asked for between them."""
    channels = list(traces.values())
    for label in _EXTRA[: int(random.integers(1, len(_EXTRA) + 1))]:
        channels.append(to_trace(label, random.normal(0.0, 50.0, seconds * rate), rate))
    order = [channels[i] for i in random.permutation(len(channels))]
    slow = [Trace(label, np.zeros(seconds, np.int16), 1, ("0", "1"), "", (0, 1)) for label in _SLOW]
    at = int(random.integers(0, len(order)))
    return [*order[:at], *slow[: int(random.integers(0, 4))], *order[at:]]
