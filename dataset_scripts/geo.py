"""GEO: expression profiles of the curated DataSets (GDS) and of series (GSE) of NCBI's Gene Expression Omnibus.

A record is a sample (GSM) in a data set: `genes` are probe ids (`genes="symbol"`: gene symbols, probes of one gene
averaged), `expression` the published values, whose scale (counts, log ratios …) differs between data sets.
Classes: none; the curated subsets (disease state, tissue, agent …) stand in `metadata["subsets"]`, and
`metadata["category"]` is the one that the CLIMB paper's questions ask for, with the choices of its data set.
Splits: none published; by series (hash), 80/20; series that share a sample are one group.
Licence: none stated by NCBI. Cite: doi 10.1093/nar/gks1193, and the accessions used.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import ClimbError, OptionError
from climb_hf.readers.geo_samples import sample_metadata, series_of
from climb_hf.readers.linked_groups import linked_groups
from climb_hf.readers.memo import memoize_file
from climb_hf.readers.sample_facts import age_in_years, sex_of
from climb_hf.readers.soft import GeoHeader, geo_accession, read_geo_header, read_geo_matrix
from climb_hf.readers.tables import is_junk
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

GENES = ("probe", "symbol")
FAMILY = "family file of a series without its series matrix file, which is the one to get"
_read = memoize_file(read_geo_matrix)


def _number(accession: str) -> tuple[bool, list[int]]:
    """Order data sets before series, each by number."""
    return not accession.startswith("GDS"), [int(part) for part in re.findall(r"\d+", accession)]


class Geo(Source):
    """GEO DataSets and series."""

    name = "geo"
    title = "GEO: curated gene expression DataSets"
    homepage = "https://www.ncbi.nlm.nih.gov/geo/"
    citation = (
        "@article{barrett2013geo, title={NCBI GEO: archive for functional genomics data sets - update}, "
        "author={Barrett, Tanya and others}, journal={Nucleic Acids Research}, volume={41}, pages={D991--D995}, "
        "year={2013}, doi={10.1093/nar/gks1193}}"
    )
    license = "LicenseRef-NCBI-GEO"
    license_note = "NCBI places no restriction on GEO data, but submitters may hold rights in single records."
    redistributable = False
    access = "open"
    how_to_get = (
        "`wget -r -np -nH -A 'GDS*.soft.gz' -R '*_full*' https://ftp.ncbi.nlm.nih.gov/geo/datasets/` (about 20 GB, no "
        "account needed), or single files, such as .../geo/datasets/GDSnnn/GDS507/soft/GDS507.soft.gz.",
        "Series newer than 2015 have no data set: take .../geo/series/GSEnnn/GSE781/matrix/*_series_matrix.txt.gz.",
        "Pass the folder that holds `datasets/` and `series/`, or a flat folder of the files.",
    )
    modality = "Gene Expression"
    family = "expression"
    domains = ("Molecular Biology", "Genetics")
    tasks = ("Expression Analysis", "Classification")
    published_splits = {"train": 101162, "test": 25290}
    cautions = (
        "Values of different data sets are on different scales (`metadata['value_type']`): never pool them without "
        "normalising each data set.",
        "A sample may stand in several data sets of a series (`duplicate_of`), and a patient in several samples "
        "(subset type `individual`).",
        "Expression Atlas experiments `E-GEOD-n` are the series GSEn: a mixture of both sources holds some twice.",
    )
    unavailable_splits = {"paper": "the paper's 80/20 draw over samples is random without a seed or a list;"}
    #: `genes`: `"probe"` or `"symbol"`.
    extra_options = {"genes": "probe"}
    fingerprint_patterns = ("**/GDS*.soft*", "**/GSE*_series_matrix.txt*")
    root_markers = (
        "datasets/GDS*nnn", "series/GSE*nnn", "GDS*nnn", "GSE*nnn", "GDS*.soft*", "GSE*_series_matrix.txt*",
    )  # fmt: skip

    def check_options(self, options: Options) -> None:
        """Check the own option too."""
        super().check_options(options)
        if options["genes"] not in GENES:
            raise OptionError(f"{self.name}: `genes` must be one of {list(GENES)}, got {options['genes']!r}.")

    def _files(self, root: Path) -> tuple[dict[str, Path], list[LeftOut]]:
        """Return the first file of each accession, and what stands beside them."""
        files: dict[str, Path] = {}
        others = []
        for path in sorted(path for pattern in self.fingerprint_patterns for path in root.glob(pattern)):
            accession = geo_accession(path.name)
            if accession in files:
                others.append(LeftOut(path.name, "second file of the same accession"))
            elif accession is not None and not is_junk(path.name):
                files[accession] = path
        families = {path.name.partition("_")[0]: path.name for path in root.glob("**/GSE*_family.soft*")}
        held = {accession.partition("-")[0] for accession in files}
        return files, others + [LeftOut(families[series], FAMILY) for series in sorted(families.keys() - held)]

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """List the samples by data set, then by series, in the order of each table; reads headers only."""
        files, others = self._files(root)
        yield from others
        headers: dict[str, GeoHeader] = {}
        members: dict[str, list[str]] = defaultdict(list)
        for accession in sorted(files, key=_number):
            try:
                header = headers[accession] = read_geo_header(files[accession])
            except ClimbError as error:
                file = files[accession].relative_to(root).as_posix()
                yield Skipped(accession, file, str(error), type(error).__name__)
                continue
            members[series_of(accession, header)].extend(header.samples)
        groups, first, curated = linked_groups(members), dict[str, str](), set[tuple[str, str]]()
        for accession, header in headers.items():
            series = series_of(accession, header)
            file = files[accession].relative_to(root).as_posix()
            for sample in header.samples:
                name = f"{accession}/{sample}"
                if header.kind == "GDS":
                    curated.add((series, sample))
                elif (series, sample) in curated:
                    yield LeftOut(name, "sample of a series matrix that a data set of the same series holds")
                    continue
                if header.is_empty:
                    yield LeftOut(name, "sample of a series whose matrix is empty (sequencing data)")
                    continue
                if header.kind == "GSE" and options["genes"] == "symbol":
                    yield LeftOut(name, 'series matrix file, which has no gene symbols (`genes="symbol"`)')
                    continue
                facts = sample_metadata(accession, header, sample)
                known = {**facts["characteristics"], **facts["subsets"]}
                yield Record(
                    id=name,
                    group=groups[series],
                    files=(file,),
                    age=age_in_years(known.get("age"), facts["organism"]),
                    sex=sex_of(known.get("gender") or known.get("sex")),
                    duplicate_of=first.get(sample),
                    metadata=facts,
                )
                first.setdefault(sample, name)

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Return the sample's column as Arrow; the table of a file is parsed once for all its samples."""
        matrix = _read(root / record.files[0], options["genes"])
        counts = {"n_genes": len(matrix.genes), "n_merged_lines": matrix.n_merged}
        return {**matrix.columns((record.metadata or {})["sample"]), "metadata": counts}
