"""What the 12-lead ECG sources share: the order of the leads, and the records of the PhysioNet/CinC Challenges.

A Challenge record is a header whose comments hold age, sex and SNOMED CT codes, and a MATLAB v4 file with the samples;
the index is made of the headers alone.
"""

import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from climb_hf.errors import CorruptFileError, LayoutError
from climb_hf.readers.tables import to_float
from climb_hf.readers.wfdb import WfdbHeader, read_header, read_record
from climb_hf.source import LeftOut, Options, Record, Skipped, Source
from climb_hf.vocabulary import SourceVocabulary

__all__ = [
    "ECG_LEADS",
    "ChallengeComments",
    "challenge_comments",
    "challenge_rows",
    "find_challenge_root",
    "find_stems",
    "known_codes",
    "read_twelve_leads",
    "sex_of",
    "signal_columns",
    "warn_of_unknown",
]

logger = logging.getLogger(__name__)
#: The twelve leads in the order of the signal column.
ECG_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
_SEX = {"male": "male", "m": "male", "female": "female", "f": "female"}
_FREE_TEXT = ("Rx", "Hx", "Sx")  # prescriptions, history, symptoms
#: Rules under which a record without a usable label is left out.
NO_CODE, NO_KNOWN_CODE = "no statement given", "no code of the source's label table"


@dataclass(frozen=True)
class ChallengeComments:
    """The comment lines of a Challenge header.

    Args:
        codes (`tuple[str, ...]`): SNOMED CT codes of `Dx`, in file order.
        age (`float`, *optional*): years; `None` where the header says `NaN` or a non-positive number.
        sex (`str`, *optional*): `"female"`, `"male"` or `None`.
        other (`dict[str, str]`): the remaining comments (`Rx`, `Hx`, `Sx`) by key.
    """

    codes: tuple[str, ...]
    age: float | None
    sex: str | None
    other: dict[str, str]


def challenge_comments(header: WfdbHeader, path: Path) -> ChallengeComments:
    """Take the comments of a Challenge 2020 (`#Dx:`) or 2021 (`# Dx:`) header apart.

    Args:
        header (`WfdbHeader`): the header.
        path (`Path`): its file, for the message.

    Returns:
        `ChallengeComments`.

    Raises:
        CorruptFileError: there is no `Dx` line.
        SchemaError: the age is not a number.
    """
    fields = {}
    for comment in header.comments:
        key, separator, value = comment.strip().lstrip("#").partition(":")
        if separator:
            fields[key.strip()] = value.strip()
    if "Dx" not in fields:
        raise CorruptFileError(
            f"`{path}`: expected a comment line `Dx:` with diagnosis codes, found {sorted(fields)}."
        )
    age = to_float(fields.pop("Age", ""), missing=("", "NaN", "nan", "Unknown"))
    return ChallengeComments(
        codes=tuple(code.strip() for code in fields.pop("Dx").split(",") if code.strip()),
        age=age if age is not None and age > 0 else None,
        sex=sex_of(fields.pop("Sex", "")),
        other=fields,
    )


def sex_of(text: str) -> str | None:
    """Read a publisher's word for the sex, in any letter case.

    Args:
        text (`str`): such as `"Male"` or `"F"`.

    Returns:
        `"female"`, `"male"`, or `None` for anything else, such as `"Unknown"`.

    Example:
        >>> sex_of("Female"), sex_of("Unknown")
        ('female', None)
    """
    return _SEX.get(text.strip().lower())


def find_challenge_root(data_dir: Path, pattern: str, source: Source, *, other: str = "") -> Path:
    """Return a folder that holds a source's records at whatever depth; the trees of the copies differ.

    Args:
        data_dir (`Path`): what the user gave.
        pattern (`str`): glob pattern of a record's header.
        source (`Source`): the source; its steps of `how_to_get` are in the message.
        other (`str`, *optional*): a further file that marks a layout without headers.

    Returns:
        `Path`: `data_dir`.

    Raises:
        LayoutError: there is neither.
    """
    for wanted in filter(None, (pattern, other)):
        if next(data_dir.rglob(wanted), None):
            return data_dir
    raise LayoutError(
        f"{source.name}: expected records (`{pattern}`) in `{data_dir}` or the folders below it, found none. "
        f"{' '.join(source.how_to_get)} See `climb info {source.name}`."
    )


def find_stems(root: Path, pattern: re.Pattern[str], suffix: str) -> dict[str, list[str]]:
    """List the files of a suffix below a folder whose stems match a pattern as a whole, however deep they lie.

    Args:
        root (`Path`): folder to look in.
        pattern (`re.Pattern`): of the file name without its suffix.
        suffix (`str`): such as `".hea"`.

    Returns:
        `dict[str, list[str]]`: by stem, sorted: paths relative to `root` without the suffix, sorted.
    """
    found: dict[str, list[str]] = {}
    for folder, _, names in os.walk(root):
        place = Path(folder).relative_to(root)
        for name in names:
            stem = name.removesuffix(suffix)
            if stem != name and pattern.fullmatch(stem):
                found.setdefault(stem, []).append((place / stem).as_posix())
    return {stem: sorted(found[stem]) for stem in sorted(found)}


def challenge_rows(
    root: Path, pattern: re.Pattern[str], vocabulary: SourceVocabulary, *, id_of: Callable[[str], str] = str
) -> Iterator[Record | Skipped | LeftOut]:
    """List the Challenge records below a folder from their headers.

    The releases give no patient. Records with the same length, first samples and checksums in all leads are the same
    recording: the later ones get `duplicate_of`, and all of them the id of the first as `group`. Codes that the
    vocabulary does not know stay in `raw_labels`, are listed in `metadata["unknown_codes"]` and counted in a warning.

    Args:
        root (`Path`): folder of a copy, whatever its tree.
        pattern (`re.Pattern`): of the record names.
        vocabulary (`SourceVocabulary`): the vocabulary whose raw values are the codes with a class.
        id_of (`Callable`, *optional*): makes an id of a record name; by default the name itself.

    Yields:
        `Record` per header, `Skipped` for a header that cannot be used or is missing beside its `.mat` file, `LeftOut`
        for a record without a usable code.
    """
    firsts: dict[tuple[int | None, ...], str] = {}
    unknown: Counter[str] = Counter()
    headers, data = (find_stems(root, pattern, suffix) for suffix in (".hea", ".mat"))
    for stem in sorted({*headers, *data}):
        record_id = id_of(stem)
        for path in headers.get(stem, ()):
            file = f"{path}.hea"
            try:
                header = read_header(root / file)
                comments = challenge_comments(header, root / file)
            except ValueError as error:
                yield Skipped(record_id, file, str(error))
                continue
            known, others = known_codes(comments.codes, vocabulary)
            unknown.update(others)
            if not known:
                yield LeftOut(record_id, NO_KNOWN_CODE if comments.codes else NO_CODE)
                continue
            content = _content(header)
            first = record_id if None in content else firsts.setdefault(content, record_id)
            yield _record(record_id, path, first, comments, known, others)
        if stem not in headers:
            yield Skipped(record_id, f"{data[stem][0]}.mat", f"the header `{stem}.hea` is missing; fetch it again.")
    warn_of_unknown(vocabulary.source, unknown)


def _record(
    record_id: str, path: str, first: str, comments: ChallengeComments, known: tuple[str, ...], others: tuple[str, ...]
) -> Record:
    """Make the record of a header; `first` is the id of the first copy of its recording."""
    texts = {key: comments.other.get(key) for key in _FREE_TEXT}
    return Record(
        id=record_id,
        group=first,
        raw_labels=comments.codes,
        label_values=known,
        files=(f"{path}.hea", f"{path}.mat"),
        age=comments.age,
        sex=comments.sex,
        duplicate_of=None if first == record_id else first,
        metadata={
            "dx_codes": list(comments.codes),
            "unknown_codes": list(others),
            **{key.lower(): None if text in (None, "", "Unknown") else text for key, text in texts.items()},
        },
    )


def known_codes(codes: tuple[str, ...], vocabulary: SourceVocabulary) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split codes into those a vocabulary knows and the others, each once, in file order.

    Args:
        codes (`tuple[str, ...]`): codes of a record, possibly repeated.
        vocabulary (`SourceVocabulary`): the vocabulary.

    Returns:
        The known and the unknown codes.

    Example:
        >>> from climb_hf.vocabulary import source_vocabulary
        >>> known_codes(("164889003", "1", "164889003"), source_vocabulary("georgia"))
        (('164889003',), ('1',))
    """
    distinct = dict.fromkeys(codes)
    known = tuple(code for code in distinct if vocabulary.knows(code))
    return known, tuple(code for code in distinct if not vocabulary.knows(code))


def warn_of_unknown(source: str, unknown: Counter[str]) -> None:
    """Log how many records hold which codes that the label table does not know; nothing where there are none.

    Args:
        source (`str`): name of the source.
        unknown (`Counter[str]`): records by code.
    """
    if unknown:
        counts = ", ".join(f"{code} ({count})" for code, count in unknown.most_common())
        logger.warning(
            "%s: codes that the label table does not know, with their numbers of records; they stay in `raw_labels` "
            "and give no class: %s",
            source,
            counts,
        )


def _content(header: WfdbHeader) -> tuple[int | None, ...]:
    """What tells one recording from another without its samples; holds `None` where a header does not say enough."""
    values = (value for channel in header.channels for value in (channel.initial_value, channel.checksum))
    return (header.n_samples, *values)


def read_twelve_leads(
    path: Path, options: Options, *, wrong_gains: Mapping[float, float] = MappingProxyType({})
) -> dict[str, Any]:
    """Read a WFDB record as the columns of a 12-lead ECG: leads in standard order by name, mV.

    Args:
        path (`Path`): the header.
        options (`Options`): `sampling_rate`, `length`; `verify="none"` leaves the checksums of the header unchecked.
        wrong_gains (`Mapping[float, float]`, *optional*): gains that a release is known to state wrongly, and the
            right ones, in ADC units per mV.

    Returns:
        `dict`: see `signal_columns`; a gain that was put right is told in `metadata["gain_in_header"]`.

    Raises:
        CorruptFileError: the samples contradict the header, a lead is missing, or no sample is valid.
    """
    import numpy as np

    ecg = read_record(path, channels=ECG_LEADS, verify_checksum=options.verify != "none")
    stated = {channel.gain for channel in ecg.header.channels}
    wrong = next((gain for gain in wrong_gains if stated == {gain}), None)
    if wrong is None:
        return signal_columns(ecg.signal, ecg.sampling_rate, options, path)
    digital = np.rint(ecg.signal.astype("f8") * wrong)
    columns = signal_columns((digital / wrong_gains[wrong]).astype("f4"), ecg.sampling_rate, options, path)
    columns["metadata"]["gain_in_header"] = wrong
    return columns


def signal_columns(signal: Any, rate: float, options: Options, path: Path) -> dict[str, Any]:  # noqa: ANN401 - array
    """Make the columns of a 12-lead ECG, at the wanted rate and length.

    Args:
        signal (`np.ndarray`): (time, 12) float32, mV, NaN where a sample is invalid.
        rate (`float`): Hz.
        options (`Options`): `sampling_rate` and `length`.
        path (`Path`): the file, for the message.

    Returns:
        `dict`: `signal`, `sampling_rate`, and `metadata` with `n_samples` as recorded, `flat_leads` (one value
        throughout) and `invalid_leads` (no valid sample); such leads are kept as they are.

    Raises:
        CorruptFileError: no lead has a valid sample.
    """
    import numpy as np

    from climb_hf.processing.signal import fit_signal

    flat: list[str] = []
    invalid = [] if len(signal) else list(ECG_LEADS)
    sampled = signal[:: len(signal) // 50 + 1]  # a lead that changes here is neither flat nor invalid
    for i in np.flatnonzero(~(np.fmin.reduce(sampled) < np.fmax.reduce(sampled))) if len(signal) else ():
        values = signal[~np.isnan(signal[:, i]), i]
        if not len(values):
            invalid.append(ECG_LEADS[i])
        elif (values == values[0]).all():
            flat.append(ECG_LEADS[i])
    if len(invalid) == len(ECG_LEADS):
        raise CorruptFileError(f"`{path}`: expected at least one valid sample, found none. Leave this record out.")
    fitted, new_rate = fit_signal(signal, rate, options.sampling_rate, options.length)
    flags = {"n_samples": len(signal), "flat_leads": flat, "invalid_leads": invalid}
    return {"signal": fitted, "sampling_rate": new_rate, "metadata": flags}
