"""Experiments of Expression Atlas: configuration, condensed SDRF and title of one, and which matrix holds its values.

File names and columns follow the Atlas' own readers (repositories `atlas-web-core` and `index-gxa` of
ebi-gene-expression-group); the first columns of a matrix are taken by position, as their headers vary.
"""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers import expat

from climb_hf.errors import CorruptFileError
from climb_hf.readers.expression import ExpressionMatrix, read_matrix_file
from climb_hf.readers.tables import is_junk

__all__ = [
    "AssayFacts",
    "AtlasExperiment",
    "AtlasMatrix",
    "atlas_files",
    "find_matrices",
    "read_experiment",
    "read_values",
    "run_ids",
]

#: Endings of the files that a build depends on; bedGraph and coexpression files are never looked at.
_ENDINGS = (
    "-tpms.tsv", "-fpkms.tsv", "-raw-counts.tsv", "-raw-counts.tsv.undecorated", "-normalized-expressions.tsv",
    "-log-fold-changes.tsv", "-configuration.xml", ".condensed-sdrf.tsv", ".idf.txt",
)  # fmt: skip
_RUN = re.compile(r"(?:[SED]RR|GSM)\d+")
_ARRAY = re.compile(r"_(A-[A-Z]+-\d+)-")
_ABUNDANCE = ".WithInSampleAbundance"
_GROUPED = ("TPM", "FPKM", "abundance")
_MAX_LINE = 1 << 26


@dataclass(frozen=True, slots=True)
class AtlasMatrix:
    """A matrix of an experiment.

    Args:
        file (`str`): name in the experiment's folder.
        unit (`str`): such as `"TPM"`.
        columns (`tuple[str, ...]`): headers of the columns of values.
        first_value (`int`): place of the first of them.
        array_design (`str`, *optional*): accession of the array of a microarray experiment.
        is_grouped (`bool`): columns are assay groups, not single assays.
    """

    file: str
    unit: str
    columns: tuple[str, ...]
    first_value: int
    array_design: str | None = None
    is_grouped: bool = False

    @staticmethod
    def name_of(column: str) -> str:
        """Return the group or assay of a column: `g1` for `g1.WithInSampleAbundance`."""
        return column.removesuffix(_ABUNDANCE)


@dataclass(slots=True)
class AssayFacts:
    """Annotation of one assay, or what the assays of a group agree on.

    Args:
        characteristics (`dict`): type -> value; a list where assays differ or a type repeats.
        factors (`dict`): the same for the experimental factors.
        ontology (`dict[str, str]`): type -> ontology URIs of its value.
    """

    characteristics: dict[str, Any] = field(default_factory=dict)
    factors: dict[str, Any] = field(default_factory=dict)
    ontology: dict[str, str] = field(default_factory=dict)

    def value(self, key: str) -> str | None:
        """Return a single characteristic, `None` where it is absent or not the same for all."""
        value = self.characteristics.get(key)
        return value if isinstance(value, str) else None


@dataclass(slots=True)
class AtlasExperiment:
    """What the small files of an experiment's folder say.

    Args:
        accession (`str`): such as `"E-MTAB-5072"`.
        type (`str`, *optional*): experiment type of the configuration, such as `"rnaseq_mrna_baseline"`.
        groups (`dict[str, tuple[str, ...]]`): assay group -> its assays.
        labels (`dict[str, str]`): assay group -> label.
        assays (`dict[str, AssayFacts]`): assay -> annotation of the condensed SDRF.
        title (`str`, *optional*): title of the investigation.
        pubmed_id (`str`, *optional*): of the publication.
        study (`str`, *optional*): the accession the study has elsewhere, such as `"GSE781"` for `E-GEOD-781`.
    """

    accession: str
    type: str | None = None
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    assays: dict[str, AssayFacts] = field(default_factory=dict)
    title: str | None = None
    pubmed_id: str | None = None
    study: str | None = None

    def group_of(self, assay: str) -> str | None:
        """Return the assay group of an assay, `None` where the configuration names none."""
        return next((group for group, assays in self.groups.items() if assay in assays), None)

    def facts_of(self, assays: Iterable[str]) -> AssayFacts:
        """Return what is known of some assays together."""
        found = [self.assays[assay] for assay in assays if assay in self.assays]
        merged = AssayFacts()
        for facts in found:
            merged.ontology.update(facts.ontology)
        for name in ("characteristics", "factors"):
            for facts in found:
                for key, value in getattr(facts, name).items():
                    _add(getattr(merged, name), key, value)
        return merged


def atlas_files(folder: Path) -> list[Path]:
    """List the files of an experiment that a build reads, sorted.

    Args:
        folder (`Path`): the experiment's folder, named by its accession.

    Returns:
        `list[Path]`.
    """
    own = f"{folder.name}.tsv"
    with os.scandir(folder) as entries:
        names = sorted(e.name for e in entries if (e.name.endswith(_ENDINGS) or e.name == own) and not is_junk(e.name))
    return [folder / name for name in names]


def run_ids(folder: Path) -> set[str]:
    """Return the run and sample accessions of an experiment, which are the same wherever a run is used again.

    Args:
        folder (`Path`): the experiment's folder.

    Returns:
        `set[str]`: such as `SRR891293`; names that are unique in their experiment only are left out.
    """
    path = folder / f"{folder.name}.condensed-sdrf.tsv"
    if not path.is_file():
        return set()
    with path.open("rb") as stream:
        third = {line.split(b"\t", 3)[2] for line in stream if line.count(b"\t") > 2}
    return {name for name in (raw.decode("utf-8", "replace") for raw in third) if _RUN.fullmatch(name)}


def read_experiment(folder: Path) -> AtlasExperiment:
    """Read configuration, condensed SDRF and IDF of an experiment; each may be absent.

    Args:
        folder (`Path`): the experiment's folder, named by its accession.

    Returns:
        `AtlasExperiment`.

    Raises:
        CorruptFileError: one of them is damaged; the file and the line are named.
    """
    accession = folder.name
    experiment = AtlasExperiment(accession)
    geo = re.fullmatch(r"E-GEOD-(\d+)", accession)
    experiment.study = f"GSE{geo[1]}" if geo else None
    configuration = folder / f"{accession}-configuration.xml"
    if configuration.is_file():
        _read_configuration(configuration, experiment)
    for line, cells in _rows(folder / f"{accession}.condensed-sdrf.tsv"):
        place = next((i for i in (3, 4) if i < len(cells) and cells[i] in ("characteristic", "factor")), None)
        if place is None or len(cells) < place + 3:
            raise CorruptFileError(
                f"`{accession}.condensed-sdrf.tsv`, line {line}: expected assay, `characteristic` or `factor`, type "
                f"and value, found {cells[:6]}. Get the file again."
            )
        facts = experiment.assays.setdefault(cells[2], AssayFacts())
        _add(
            facts.characteristics if cells[place] == "characteristic" else facts.factors, *cells[place + 1 : place + 3]
        )
        if len(cells) > place + 3 and cells[place + 3]:
            facts.ontology[cells[place + 1]] = cells[place + 3]
    for _, (key, *values) in _rows(folder / f"{accession}.idf.txt"):
        value = next(iter(values), "").strip('" ') or None
        if key == "Investigation Title":
            experiment.title = value
        elif key == "PubMed ID":
            experiment.pubmed_id = value
        elif key == "Comment[SecondaryAccession]":
            experiment.study = experiment.study or value
    return experiment


def find_matrices(folder: Path) -> list[AtlasMatrix]:
    """Choose the matrices that hold the values of an experiment; only their header lines are read.

    TPM per assay group, else FPKM per assay group, else raw counts per run, else one matrix per array design
    (normalised intensities or log2 ratios per assay), else abundances of proteins per assay group.

    Args:
        folder (`Path`): the experiment's folder.

    Returns:
        `list[AtlasMatrix]`: empty for experiments that publish statistics only.

    Raises:
        CorruptFileError: a header line is damaged.
    """
    accession = folder.name
    names = [path.name for path in atlas_files(folder)]
    for ending, unit, is_grouped in (
        ("-tpms.tsv", "TPM", True), ("-fpkms.tsv", "FPKM", True), ("-raw-counts.tsv", "count", False),
        ("-raw-counts.tsv.undecorated", "count", False),
    ):  # fmt: skip
        if f"{accession}{ending}" in names:
            return [_matrix(folder / f"{accession}{ending}", unit, is_grouped=is_grouped)]
    arrays = []
    for ending, unit in (("-normalized-expressions.tsv", "log2 intensity"), ("-log-fold-changes.tsv", "log2 ratio")):
        arrays += [_matrix(folder / name, unit) for name in names if name.endswith(ending) and _ARRAY.search(name)]
    if arrays:
        return arrays
    proteins = (
        [_matrix(folder / f"{accession}.tsv", "abundance", is_grouped=True)] if f"{accession}.tsv" in names else []
    )
    return [matrix for matrix in proteins if matrix.columns]


def read_values(path: Path, unit: str) -> ExpressionMatrix:
    """Read a matrix that `find_matrices` found.

    Args:
        path (`Path`): the file.
        unit (`str`): its unit.

    Returns:
        `ExpressionMatrix`: by gene id; the samples are named as the columns are.

    Raises:
        CorruptFileError: the file is cut off, or a line is damaged; the line is named.
    """
    matrix = _matrix(path, unit, is_grouped=unit in _GROUPED)
    quartiles = unit in ("TPM", "FPKM")
    return read_matrix_file(
        path, id_column=0, first_value=matrix.first_value, columns=matrix.columns, quartiles=quartiles
    )


def _matrix(path: Path, unit: str, *, is_grouped: bool = False) -> AtlasMatrix:
    """Describe a matrix by its header line; ids stand first, then a gene name and a design element where there are."""
    with path.open("rb") as stream:
        line = stream.readline(_MAX_LINE)
    try:
        cells = line.decode().rstrip("\r\n").split("\t")
    except UnicodeDecodeError as error:
        raise CorruptFileError(f"`{path.name}`, line 1: expected UTF-8 text ({error}). Get it again.") from error
    if not line.endswith(b"\n") or len(cells) < 2:
        raise CorruptFileError(f"`{path.name}`: expected a header line with columns, found {cells[:3]}. Get it again.")
    array = _ARRAY.search(path.name)
    first = 2 if is_grouped or cells[1].lower() == "gene name" else 1  # "undecorated" files have the ids only
    if array is not None and first == 2:
        first = 3  # the design element
    columns = tuple(cells[first:])
    if unit == "abundance":
        columns = tuple(cell for cell in columns if cell.endswith(_ABUNDANCE))
    return AtlasMatrix(path.name, unit, columns, first, array[1] if array else None, is_grouped)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of a tab-separated file without quoting; nothing where it does not exist."""
    if not path.is_file():
        return
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise CorruptFileError(f"`{path.name}`: expected UTF-8 text ({error}). Get it again.") from error
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line.rstrip("\r").split("\t")


def _add(values: dict[str, Any], key: str, value: Any) -> None:  # noqa: ANN401 - a text, or a list of them
    """Add a value of a type; several different ones become a list in order of appearance."""
    known = values.get(key, [])
    both = [*(known if isinstance(known, list) else [known]), *(value if isinstance(value, list) else [value])]
    distinct = list(dict.fromkeys(both))
    values[key] = distinct[0] if len(distinct) == 1 else distinct


def _read_configuration(path: Path, experiment: AtlasExperiment) -> None:
    """Read the type and the assay groups; several `<analytics>` blocks (one per array design) add up."""
    state: dict[str, Any] = {"group": None, "text": None}

    def start(tag: str, attributes: dict[str, str]) -> None:
        if tag == "configuration":
            experiment.type = attributes.get("experimentType")
        elif tag == "assay_group":
            state["group"] = attributes.get("id", "")
            experiment.groups.setdefault(state["group"], ())
            if attributes.get("label"):
                experiment.labels[state["group"]] = attributes["label"]
        elif tag == "assay":
            state["text"] = []

    def end(tag: str) -> None:
        if tag == "assay" and state["group"] is not None:
            known, name = experiment.groups[state["group"]], "".join(state["text"]).strip()
            experiment.groups[state["group"]] = known if name in known else (*known, name)
            state["text"] = None
        elif tag == "assay_group":
            state["group"] = None

    def text(data: str) -> None:
        if state["text"] is not None:
            state["text"].append(data)

    def refuse(*_: object) -> None:
        raise CorruptFileError(f"`{path.name}`: declares entities, which no configuration does; it is not read.")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(path.read_bytes(), True)
    except expat.ExpatError as error:
        raise CorruptFileError(f"`{path.name}`: not readable as XML ({error}). Get it again.") from error
