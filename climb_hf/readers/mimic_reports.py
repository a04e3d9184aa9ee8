"""Reports of MIMIC-CXR: where they lie beside the pictures, and their sections by the publisher's rule.

The rule and its lists of header names, hand-set sections and offsets are those of `MIT-LCP/mimic-cxr`,
`txt/section_parser.py` and `txt/create_section_files.py` (MIT licence); the code here is our own.
"""

import functools
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from climb_hf.errors import OptionError
from climb_hf.readers.integrity import damage_named

__all__ = ["read_report", "report_places", "report_sections", "report_summary", "watched_reports"]

ARCHIVE = "mimic-cxr-reports.zip"
#: Where the reports of the sister project are looked for, relative to the folder of the pictures, in this order.
_BASES = (".", "..", "../mimic-cxr", "../../mimic-cxr/2.1.0", "../../mimic-cxr/2.0.0")
_FOLDER = "mimic-cxr-reports"  # some unpack the archive into a folder of its name

_HEADER = re.compile(r"\n ([A-Z ()/,-]+):\s")
_BLANK = "\n \n"
#: Header as written, lower case -> name of the section; the publisher's table, misprints included.
_NAMES = {
    "comparisons": "comparison", "comparison exam": "comparison", "comparison film": "comparison",
    "reference exam": "comparison", "comparision": "comparison", "comparsion": "comparison",
    "comparrison": "comparison", "comparisions": "comparison",
    "clinical history": "history", "clinical information": "history", "patient history": "history", "pfi": "history",
    "reason for examination": "indication", "reason for exam": "indication", "clinical indication": "indication",
    "idication": "indication",
    "exam": "examination", "type of examination": "examination",
    "chest, two views": "findings", "reference findings": "findings",
    **dict.fromkeys(("finding", "findins", "findindgs", "findgings", "findngs", "findnings", "finidngs"), "findings"),
    "conclusion": "impression", "findings and impression": "impression", "findings/impression": "impression",
    "findings/ impression": "impression", "ndication": "impression",
    **dict.fromkeys(("impresson", "imprression", "imoression", "impressoin", "imprssion", "impresion", "imperssion",
                     "mpression", "impession"), "impression"),
    "recommendation(s)": "recommendations", "recommendation": "recommendations", "wetread": "wet read",
}  # fmt: skip
#: A header that holds one of these words is that section; the first that fits counts.
_CONTAINED = ("impression", "findings", "history", "comparison", "addendum")
#: A header that describes the study as a whole opens its findings.
_STUDY = re.compile(
    "chest|portable|pa and lat|lateral and pa|ap and lateral|lateral and ap|frontal and|two views|frontal view|"
    "pa view|ap view|one view|lateral view|bone window|frontal upright|frontal semi-upright|ribs"
)
#: What a reader should see of a report, most wanted first.
_WANTED = ("impression", "findings", "last_paragraph", "comparison")
#: Studies whose conclusion stands under another header.
_SECTION_OF = {
    **dict.fromkeys(("50913680", "59768032", "59067458", "59087630", "58157373", "56482935", "58375018"),
                    "recommendations"),
    **dict.fromkeys(("59363654", "53356173", "50743547", "59215320", "55157853"), "examination"),
    **dict.fromkeys(("59279892", "53202765", "50808053"), "technique"),
    **dict.fromkeys(("57936451", "50058765", "51966317", "55124749", "54365831", "54654948"), "indication"),
    "56451190": "note", "51491012": "history",
}  # fmt: skip
#: Studies whose conclusion is a range of characters; (0, 0) where the report has none.
_RANGE_OF = {
    "50525523": (201, 349), "57564132": (233, 554), "59982525": (313, 717), "53488209": (149, 475),
    "54875119": (234, 988), "50196495": (59, 399), "56579911": (59, 218), "52648681": (292, 631),
    "59889364": (172, 453), "53514462": (73, 377), "59505494": (59, 450), "53182247": (59, 412),
    "51410602": (47, 320), "56412866": (522, 822), "54986978": (59, 306), "59003148": (262, 505),
    "57150433": (61, 394), "56760320": (219, 457), "59562049": (158, 348), "52674888": (145, 296),
    "55258338": (192, 568), "59330497": (140, 655), "52119491": (179, 454),
    **dict.fromkeys(("58235663", "50798377", "54168089", "53071062", "56724958", "54231141", "53607029", "52035334"),
                    (0, 0)),
}  # fmt: skip


def report_places(root: Path, given: str | None = None) -> Iterator[Path]:
    """Yield the folders and archives that may hold reports, as far as they exist.

    Args:
        root (`Path`): folder of the pictures (with `files/`).
        given (`str`, *optional*): folder or archive the user named; then only that.

    Returns:
        `Iterator[Path]`: folders that hold `files/pNN/…`, and archives.

    Raises:
        OptionError: what the user named does not exist.
    """
    if given and not Path(given).exists():
        raise OptionError(
            f"mimic_cxr: expected `reports` to be a folder or `{ARCHIVE}`, but `{given}` does not exist."
        )
    bases = (Path(given),) if given else tuple(root / base for base in _BASES)
    for base in bases:
        if base.suffix == ".zip":
            if base.is_file():
                yield base
            continue
        for folder in (base, base / _FOLDER):
            if (folder / "files").is_dir():
                yield folder
        if (base / ARCHIVE).is_file():
            yield base / ARCHIVE


def watched_reports(root: Path) -> Iterator[Path]:
    """Yield the paths that change when reports are added, for the fingerprint of a build.

    Args:
        root (`Path`): folder of the pictures.

    Returns:
        `Iterator[Path]`: places of reports, and of each group of patients the first one's folder.
    """
    for place in report_places(root):
        yield place
        for folder in sorted(place.glob("files/p1?")):  # unpacked reports touch the patients' folders only
            yield from sorted(folder.glob("p*"))[:1]


def read_report(root: Path, subject: str, study: str, given: str | None = None) -> str | None:
    """Return the text of a report, or `None` where there is none.

    Args:
        root (`Path`): folder of the pictures.
        subject (`str`): the patient's number.
        study (`str`): the study's number.
        given (`str`, *optional*): folder or archive the user named.

    Returns:
        `str`, *optional*: as published, line ends as line feeds, bytes that are no UTF-8 replaced.

    Raises:
        CorruptFileError: the archive, or the report in it, is damaged.
    """
    name = f"files/p{subject[:2]}/p{subject}/s{study}.txt"
    for place in report_places(root, given):
        content = _from_archive(place, name) if place.suffix == ".zip" else _from_folder(place / name)
        if content is not None:
            return content.decode("utf-8", errors="replace").replace("\r\n", "\n")
    return None


def _from_folder(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


def _from_archive(path: Path, name: str) -> bytes | None:
    with damage_named(str(path), f"reading `{name}`"):
        archive = _archive(path, path.stat().st_mtime_ns, os.getpid())
        for member in (name, f"{_FOLDER}/{name}"):
            if member in archive.NameToInfo:
                return archive.read(member)
    return None


@functools.lru_cache(maxsize=2)
def _archive(path: Path, mtime_ns: int, process: int) -> zipfile.ZipFile:
    """Open an archive once per process: a handle that two forked workers share would mix up their reads."""
    return zipfile.ZipFile(path)


def _section_name(header: str) -> str:
    name = header.lower().strip()
    if name in _NAMES:
        return _NAMES[name]
    for word in _CONTAINED:
        if word in name:
            return word
    return "findings" if _STUDY.search(name) else name


def _cut(text: str) -> list[tuple[str, str]]:
    """Cut a report at its headers into (name, text), in order."""
    header = _HEADER.search(text)
    if header is None:
        parts = [("full report", text)]
    else:
        parts = [("preamble", text[: header.start(1)])]
        while header:
            begin = header.end()
            # the rest of the header's line belongs to it, also where it looks like a header
            after = _HEADER.search(text, max(text.find("\n", begin), begin))
            parts.append((_section_name(header[1]), text[begin : after.start() if after else len(text)]))
            header = after
    parts = [(name, part) for name, part in parts if part.strip() or name not in ("impression", "findings")]
    names = {name for name, _ in parts}
    if not names & {"impression", "findings"} and _BLANK in parts[-1][1]:
        name, part = parts[-1]
        first, rest = part.split(_BLANK, 1)
        parts[-1:] = [(name, first), ("last_paragraph", rest)]
    return parts


def report_sections(text: str) -> dict[str, str]:
    r"""Return the sections of a report by name; of several with one name the last, as the publisher takes it.

    A header is one space, a run of capitals and a colon at the start of a line. Without impression and findings, what
    follows the first blank line of the last section is `last_paragraph`; without any header all is `full report`.

    Args:
        text (`str`): a report.

    Returns:
        `dict[str, str]`: such as `findings`, `impression`, `indication`, `comparison`; outer blanks removed. What
        stands above the first header (`preamble`) is left out where it is the title only.

    Example:
        >>> report_sections("   FINAL REPORT\n INDICATION:  Cough.\n \n IMPRESSON: \n \n No acute process.\n")
        {'indication': 'Cough.', 'impression': 'No acute process.'}
    """
    sections = {name: part.strip() for name, part in _cut(text)}
    if sections.get("preamble") in ("", "FINAL REPORT"):
        del sections["preamble"]
    return sections


def report_summary(text: str, study: str) -> str | None:
    """Return the part of a report the publisher labelled: impression, else findings, last paragraph, comparison.

    54 reports that the rule gets wrong have a section or a range of characters set by hand.

    Args:
        text (`str`): the report as published.
        study (`str`): the study's number.

    Returns:
        `str`, *optional*: `None` where there is no such part.
    """
    if study in _RANGE_OF:
        begin, end = _RANGE_OF[study]
        return text[begin:end].strip() or None
    sections = report_sections(text)
    wanted = (_SECTION_OF[study],) if study in _SECTION_OF else _WANTED
    return next((sections[name] for name in wanted if name in sections), None)
