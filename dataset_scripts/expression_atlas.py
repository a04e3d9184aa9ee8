"""Expression Atlas: bulk gene expression of about 4,500 experiments in 67 species, EMBL-EBI.

A record is an assay group of a baseline experiment (`expression`: TPM, the median over its replicates; FPKM where
there is no TPM), or an assay where an experiment publishes values per assay: raw counts of RNA-seq, log2 intensities
or ratios of microarrays. Proteomics: relative abundances per assay group. `genes` are Ensembl gene ids; lines of one
gene (the probes of an array) are averaged. Experiments that publish statistics only are left out and counted.
Classes: none; characteristics and factors of the samples stand in `metadata`.
Splits: none published; by experiment (hash), 80/20; experiments that share a run are one group.
Licence: CC-BY-4.0. Cite: doi 10.1093/nar/gkad1021.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import ClimbError
from climb_hf.readers import atlas
from climb_hf.readers.linked_groups import linked_groups
from climb_hf.readers.memo import memoize_file
from climb_hf.readers.sample_facts import age_in_years, sex_of
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

ACCESSION = re.compile(r"E-[A-Z]{4}-\d+")
_read = memoize_file(atlas.read_values)


def _natural(name: str) -> list[tuple[int, str]]:
    """Order names by the numbers in them: `g2` before `g10`."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


class ExpressionAtlas(Source):
    """Expression Atlas, bulk experiments."""

    name = "expression_atlas"
    title = "Expression Atlas: bulk gene expression"
    homepage = "https://www.ebi.ac.uk/gxa/home"
    citation = (
        "@article{george2024expressionatlas, title={Expression Atlas update: insights from sequencing data at both "
        "bulk and single cell level}, author={George, Nancy and others}, journal={Nucleic Acids Research}, "
        "volume={52}, pages={D107--D114}, year={2024}, doi={10.1093/nar/gkad1021}}"
    )
    license = "CC-BY-4.0"
    license_note = "The site's licence page; the CLIMB paper says CC-BY-NC-ND-4.0. Cite the Atlas and the study."
    redistributable = True
    access = "open"
    how_to_get = (
        "`wget -r -np -nH -A '*-tpms.tsv,*-fpkms.tsv,*-raw-counts.tsv,*-normalized-expressions.tsv,"
        "*-log-fold-changes.tsv,*.condensed-sdrf.tsv,*-configuration.xml,*.idf.txt' "
        "http://ftp.ebi.ac.uk/pub/databases/microarray/data/atlas/experiments/` (no account needed; the whole tree "
        "has hundreds of GB, mostly files that are not used); or single experiments.",
        "Pass the folder that holds `experiments/`, or the folder of the `E-…` folders.",
    )
    modality = "Gene Expression"
    family = "expression"
    domains = ("Molecular Biology", "Genetics")
    tasks = ("Expression Analysis", "Classification")
    published_splits = {"train": 3605, "test": 901}
    cautions = (
        "The CLIMB paper counts experiments (4,506); a record here is an assay group or an assay, so counts differ.",
        "Units (`metadata['unit']`), species and gene ids differ between experiments: choose one species "
        "(`species=`) and one unit before pooling.",
        "Experiments `E-GEOD-n` are GEO's series GSEn (`metadata['study']`): a mixture with `geo` holds some twice.",
    )
    unavailable_splits = {"paper": "the paper's 80/20 draw over experiments is random without a seed or a list;"}
    #: `species`: keep assays of one species only, such as `"Homo sapiens"`.
    extra_options = {"species": None}
    root_markers = ("experiments/E-*", "E-*/E-*-configuration.xml", "E-*/E-*.condensed-sdrf.tsv")

    def _folders(self, root: Path) -> list[Path]:
        base = root / "experiments" if (root / "experiments").is_dir() else root
        found = [path for path in base.glob("E-*") if ACCESSION.fullmatch(path.name) and path.is_dir()]
        return sorted(found, key=lambda path: _natural(path.name))

    def fingerprint_files(self, root: Path) -> Iterator[Path]:
        """Yield the matrices and annotation files of every experiment."""
        for folder in self._folders(root):
            yield from atlas.atlas_files(folder)

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """List the columns of each experiment's matrices; of these only the header lines are read."""
        folders = self._folders(root)
        groups = linked_groups({folder.name: atlas.run_ids(folder) for folder in folders})
        for folder in folders:
            try:
                experiment, matrices = atlas.read_experiment(folder), atlas.find_matrices(folder)
            except ClimbError as error:
                file = folder.relative_to(root).as_posix()
                yield Skipped(folder.name, file, str(error), type(error).__name__)
                continue
            if not matrices:
                yield LeftOut(folder.name, "experiment without a matrix of values")
            for matrix in matrices:
                file = (folder / matrix.file).relative_to(root).as_posix()
                for column in sorted(matrix.columns, key=_natural):
                    record = self._record(experiment, matrix, column, groups[folder.name], file)
                    if options["species"] not in (None, (record.metadata or {})["species"]):
                        yield LeftOut(record.id, "assay of another species (`species=`)")
                    else:
                        yield record
                if matrix.is_grouped:
                    absent = set(experiment.groups) - set(map(matrix.name_of, matrix.columns))
                    yield from (LeftOut(f"{folder.name}/{g}", "assay group without a column") for g in sorted(absent))

    @staticmethod
    def _record(
        experiment: atlas.AtlasExperiment, matrix: atlas.AtlasMatrix, column: str, group: str, file: str
    ) -> Record:
        name = matrix.name_of(column)
        assays = experiment.groups.get(name, ()) if matrix.is_grouped else (name,)
        facts = experiment.facts_of(assays)
        assay_group = name if matrix.is_grouped else experiment.group_of(name)
        species = facts.value("organism")
        return Record(
            id="/".join(part for part in (experiment.accession, matrix.array_design, name) if part),
            group=group,
            files=(file,),
            age=age_in_years(facts.value("age"), species),
            sex=sex_of(facts.value("sex")),
            metadata={
                "accession": experiment.accession,
                "study": experiment.study,
                "experiment_type": experiment.type,
                "experiment_title": experiment.title,
                "pubmed_id": experiment.pubmed_id,
                "species": species,
                "unit": matrix.unit,
                "array_design": matrix.array_design,
                "assay_group": assay_group,
                "assay_group_label": experiment.labels.get(assay_group or ""),
                "assays": list(assays),
                "characteristics": facts.characteristics,
                "factors": facts.factors,
                "ontology": facts.ontology,
                "column": column,
            },
        )

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Return the record's column as Arrow; a matrix is parsed once for all its columns."""
        facts = record.metadata or {}
        matrix = _read(root / record.files[0], facts["unit"])
        counts = {"n_genes": len(matrix.genes), "n_merged_lines": matrix.n_merged}
        return {**matrix.columns(facts["column"]), "metadata": counts}
