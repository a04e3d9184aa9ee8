"""Synthetic raw copy of Expression Atlas: a folder of tables per experiment, as on the FTP site.

Every value is drawn at random; no sample is real. Assays of `liver` have high values in the first genes, those of
`brain` in the next.

Oddities of the site that it writes:

* baseline RNA-seq: cells of five quartiles, single numbers, `NA` and `-`; groups sorted as text (`g1`, `g10`, `g2`), a
  group of the configuration without a column, an empty gene name, quotes in one, a gene that stands twice; TPM beside
  FPKM, FPKM alone with its old copy `<accession>.tsv`, raw counts without gene names beside both;
* id headers `GeneID` and `Gene ID`; per-run counts of a differential experiment; an experiment that uses a run of
  another one again; microarrays of one colour with two array designs and several probes per gene, and of two colours;
  proteins with two columns per group;
* condensed SDRF of 6, 7 and, with a bioreplicate, 8 columns, a characteristic with two values, two ontology URIs;
* an experiment with statistics only, experiments of one group, bedGraph and coexpression files, another species.
"""

import gzip
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from climb_hf.miniatures._common import Expected, check_choice, check_count, rng, write_bytes, write_text

__all__ = ["make"]

_LAYOUTS = ("ftp", "flat")
_GENES = 48
_TISSUES = ("liver", "brain")
_URIS = {
    "liver": "http://purl.obolibrary.org/obo/UBERON_0002107",
    "brain": "http://purl.obolibrary.org/obo/UBERON_0000955 http://www.ebi.ac.uk/efo/EFO_0000302",
}
#: Kinds of experiments beside the first one and the four of one group: accession, type.
_KINDS = {
    "counts": ("E-MTAB-5021", "rnaseq_mrna_differential"),
    "one_colour": ("E-GEOD-6001", "microarray_1colour_mrna_differential"),
    "fpkm": ("E-ERAD-400", "rnaseq_mrna_baseline"),
    "two_colour": ("E-MEXP-601", "microarray_2colour_mrna_differential"),
    "protein": ("E-PROT-12", "proteomics_baseline"),
}
_ARRAYS = ("A-AFFY-33", "A-AFFY-34")


def make(root: Path, n: int = 32, seed: int = 0, *, layout: str = "ftp") -> list[Expected]:
    """Write a synthetic folder of experiments.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of assay groups and assays that count, at least 8.
        seed (`int`, *optional*, defaults to `0`): seed of the values.
        layout (`str`, *optional*, defaults to `"ftp"`): `"ftp"` (`experiments/` in the root) or `"flat"` (the folders
            of the experiments in the root).

    Returns:
        `list[Expected]`: first a baseline experiment of four groups, then four of one group, then the other kinds;
        `values`: `file`, `genes` and `expression` (tuples; probes of a gene averaged), `unit`, `tissue`, `species`,
        `age`, `sex`, `assays`.

    Raises:
        OptionError: an option out of range.
    """
    check_count("expression_atlas", n, seed)
    check_choice("expression_atlas", "layout", layout, _LAYOUTS)
    writer = _Writer(root, root / "experiments" if layout == "ftp" else root, seed)
    sizes = {kind: len(range(place, n - 8, len(_KINDS))) for place, kind in enumerate(_KINDS)}
    if sizes["fpkm"]:
        writer.linked["E-MTAB-5001"] = "E-ERAD-400"
    expected = writer.baseline("E-MTAB-5001", ["g1", "g2", "g3", "g10"], 100)
    for place in range(4):
        expected += writer.baseline(f"E-MTAB-501{place}", ["g1"], 200 + 10 * place)
    for kind, size in sizes.items():
        if size:
            expected += getattr(writer, kind)(*_KINDS[kind], size)
    writer.statistics_only("E-GEOD-6009")
    return expected


@dataclass
class _Assay:
    """An assay: accession, number and what the condensed SDRF says of it."""

    name: str
    number: int
    species: str = "Homo sapiens"
    facts: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.facts = {
            "organism": self.species, "organism part": _TISSUES[self.number % 2],
            "sex": ("female", "male")[self.number // 2 % 2], "age": f"{30 + self.number % 40} year",
        }  # fmt: skip


class _Writer:
    """Writes experiments and tells what they hold."""

    def __init__(self, root: Path, base: Path, seed: int) -> None:
        self._root, self._base, self._seed = root, base, seed
        #: Experiments that share a run with an earlier one.
        self.linked: dict[str, str] = {}

    def baseline(self, accession: str, groups: Sequence[str], first: int) -> list[Expected]:
        """Write TPM and FPKM of assay groups of two runs each."""
        runs = {g: [_Assay(f"SRR{8000 + first + 2 * i + r}", first + i) for r in (0, 1)] for i, g in enumerate(groups)}
        self._annotate(accession, "rnaseq_mrna_baseline", {**runs, **({"g4": []} if len(groups) > 1 else {})})
        genes = [f"ENSG{place:011d}" for place in range(_GENES)]
        genes.insert(7, genes[3])  # the gene stands twice
        columns = sorted(groups)
        values = self._values(accession, [runs[group][0] for group in columns], len(genes), digits=0)
        self._write_quartiles(accession, "tpms", genes, columns, values)
        self._write_quartiles(accession, "fpkms", genes, columns, values + 1)
        self._write(accession, "-raw-counts.tsv.undecorated", [["Gene ID", "SRR1"], [genes[0], "7"]])
        self._write(accession, "-transcripts-tpms.tsv", [["Gene ID", "Gene Name", "GeneID", "t1"]])
        folder = self._base / accession
        write_bytes(folder / f"{accession}-coexpressions.tsv.gz", gzip.compress(b"\n", mtime=0))
        write_text(folder / f"{accession}.g1.genes.expressions_tpms.bedGraph", "chr1\t1\t2\t3\n")
        file = f"{accession}-tpms.tsv"
        return [
            self._expected(accession, g, file, runs[g], _merged(genes, values[columns.index(g)]), "TPM")
            for g in groups
        ]

    def fpkm(self, accession: str, kind: str, size: int) -> list[Expected]:
        """Write FPKM alone, with an old copy under the short name; its first run is one of the first experiment."""
        names = [f"g{place}" for place in range(1, size + 1)]
        runs = {g: [_Assay(f"SRR{8100 + 700 * (i > 0) + i}", 400 + i, "Mus musculus")] for i, g in enumerate(names)}
        self._annotate(accession, kind, runs)
        genes = [f"ENSMUSG{place:011d}" for place in range(_GENES)]
        columns = sorted(names)
        values = self._values(accession, [runs[group][0] for group in columns], _GENES, digits=0)
        self._write_quartiles(accession, "fpkms", genes, columns, values)
        folder = self._base / accession
        write_bytes(folder / f"{accession}.tsv", (folder / f"{accession}-fpkms.tsv").read_bytes())
        return [
            self._expected(
                accession, g, f"{accession}-fpkms.tsv", runs[g], _merged(genes, values[columns.index(g)]), "FPKM",
            )
            for g in names
        ]  # fmt: skip

    def counts(self, accession: str, kind: str, size: int) -> list[Expected]:
        """Write raw counts per run, with statistics beside them."""
        runs = [_Assay(f"ERR{5000 + place}", 500 + place) for place in range(size)]
        self._annotate(accession, kind, {"g1": runs[::2], "g2": runs[1::2]}, bioreps=True)
        genes = [f"ENSG{place:011d}" for place in range(_GENES)]
        values = self._values(accession, runs, _GENES, digits=0)
        rows = [[gene, f"NAME{i}", *(f"{v:.0f}" for v in values[:, i])] for i, gene in enumerate(genes)]
        self._write(accession, "-raw-counts.tsv", [["Gene ID", "Gene Name", *(run.name for run in runs)], *rows])
        self._statistics(accession)
        file = f"{accession}-raw-counts.tsv"
        return [
            self._expected(accession, run.name, file, [run], _merged(genes, values[i]), "count")
            for i, run in enumerate(runs)
        ]

    def one_colour(self, accession: str, kind: str, size: int) -> list[Expected]:
        """Write normalised intensities of two array designs, one from two assays on."""
        arrays = _ARRAYS if size > 1 else _ARRAYS[:1]
        return self._microarray(accession, kind, size, arrays, "normalized-expressions", "log2 intensity")

    def two_colour(self, accession: str, kind: str, size: int) -> list[Expected]:
        """Write log2 ratios of one array design."""
        return self._microarray(accession, kind, size, ("A-MEXP-58",), "log-fold-changes", "log2 ratio")

    def _microarray(
        self, accession: str, kind: str, size: int, arrays: Sequence[str], ending: str, unit: str
    ) -> list[Expected]:
        assays = [_Assay(f"Sample {place}", 600 + place) for place in range(size)]
        groups, names = dict[str, list[_Assay]](), dict[str, list[str]]()
        for number, array in enumerate(arrays):
            names[array] = [f"g{2 * number + 1}", f"g{2 * number + 2}"]
            for place, group in enumerate(names[array]):
                groups[group] = assays[number :: len(arrays)][place::2]
        self._annotate(accession, kind, groups, arrays=names)
        genes = [f"ENSG{place // 2:011d}" for place in range(_GENES)]  # two probes per gene
        expected = []
        for number, array in enumerate(arrays):
            mine = assays[number :: len(arrays)]
            values = self._values(accession + array, mine, _GENES, digits=2)
            rows = [[g, f"NAME{i}", f"{i}_at", *(f"{v:.2f}" for v in values[:, i])] for i, g in enumerate(genes)]
            header = ["Gene ID", "Gene Name", "Design Element", *(assay.name for assay in mine)]
            self._write(accession, f"_{array}-{ending}.tsv", [header, *rows])
            self._write(accession, f"_{array}-analytics.tsv", [["Gene ID", "Gene Name", "Design Element"]])
            expected += [
                self._expected(
                    accession, f"{array}/{assay.name}", f"{accession}_{array}-{ending}.tsv", [assay],
                    _merged(genes, values[i]), unit,
                )
                for i, assay in enumerate(mine)
            ]  # fmt: skip
        return expected

    def protein(self, accession: str, kind: str, size: int) -> list[Expected]:
        """Write abundances of proteins, with spectral counts between them."""
        names = [f"g{place}" for place in range(1, size + 1)]
        runs = {group: [_Assay(f"run {group}", 700 + place)] for place, group in enumerate(names)}
        self._annotate(accession, kind, runs)
        genes = [f"ENSG{place:011d}" for place in range(_GENES)]
        values = self._values(accession, [runs[group][0] for group in names], _GENES, digits=2)
        header = [f"{group}.{what}" for group in names for what in ("SpectralCount", "WithInSampleAbundance")]
        rows = [
            [gene, f"NAME{i}", *(text for v in values[:, i] for text in ("3", f"{v:.2f}"))]
            for i, gene in enumerate(genes)
        ]
        self._write(accession, ".tsv", [["Gene ID", "Gene Name", *header], *rows])
        return [
            self._expected(accession, g, f"{accession}.tsv", runs[g], _merged(genes, values[i]), "abundance")
            for i, g in enumerate(names)
        ]

    def statistics_only(self, accession: str) -> None:
        """Write an experiment without a matrix of values."""
        self._annotate(accession, "rnaseq_mrna_differential", {"g1": [_Assay("SRR9990", 0)]})
        self._statistics(accession)

    def _statistics(self, accession: str) -> None:
        header = ["Gene ID", "Gene Name", "g1_g2.p-value", "g1_g2.log2foldchange"]
        self._write(accession, "-analytics.tsv", [header, ["ENSG00000000000", "NAME0", "NA", "-inf"]])

    def _values(self, key: str, assays: Sequence[_Assay], genes: int, *, digits: int) -> NDArray[np.float64]:
        """Return (assays, genes) values that depend on the tissue."""
        values = rng(self._seed, "expression_atlas", key).gamma(2.0, 3.0, (len(assays), genes))
        for row, assay in zip(values, assays, strict=True):
            row[8 * (assay.number % 2) : 8 * (assay.number % 2) + 8] += 60
        return values.round(digits)

    def _write_quartiles(
        self, accession: str, what: str, genes: Sequence[str], columns: Sequence[str], values: NDArray[np.float64]
    ) -> None:
        rows = [["GeneID", "Gene Name", *columns]]
        for place, gene in enumerate(genes):
            cells = []
            for value in values[:, place]:
                cells.append(f"{value - 1:.0f},{value:.0f},{value:.0f},{value + 1:.0f},{value + 2:.0f}")
            if place % 5 == 4:
                cells = [f"{value:.0f}" for value in values[:, place]]
            if place in (11, 13):
                cells[0] = "NA" if place == 11 else "-"
                values[0, place] = np.nan
            rows.append([gene, {5: "", 6: 'say "x'}.get(place, f"NAME{place}"), *cells])
        self._write(accession, f"-{what}.tsv", rows)

    def _write(self, accession: str, ending: str, rows: Sequence[Sequence[str]]) -> None:
        text = "".join("\t".join(row) + "\n" for row in rows)
        write_text(self._base / accession / f"{accession}{ending}", text)

    def _annotate(
        self,
        accession: str,
        kind: str,
        groups: dict[str, list[_Assay]],
        *,
        arrays: dict[str, list[str]] | None = None,
        bioreps: bool = False,
    ) -> None:
        """Write configuration (a block per array design, with the names of its groups), condensed SDRF and IDF."""
        blocks = ""
        for array, names in (arrays or {"": list(groups)}).items():
            inner = "".join(
                f'<assay_group id="{group}" label="{group} of &lt;{accession}&gt;">'
                + "".join(
                    f'<assay technical_replicate_id="t{i}">{a.name}</assay>' for i, a in enumerate(groups[group])
                )
                + "</assay_group>\n"
                for group in names
            )
            design = f"<array_design>{array}</array_design>" if array else ""
            blocks += f"<analytics>{design}<assay_groups>\n{inner}</assay_groups></analytics>\n"
        xml = '<?xml version="1.0" encoding="UTF-8"?>\n'
        xml += f'<configuration experimentType="{kind}">{blocks}</configuration>\n'
        write_text(self._base / accession / f"{accession}-configuration.xml", xml)
        array_of = {group: array for array, names in (arrays or {}).items() for group in names}
        rows = []
        for group, assay in ((group, assay) for group, assays in groups.items() for assay in assays):
            head = [accession, array_of.get(group, ""), assay.name, *(["br1"] if bioreps else [])]
            rows += [[*head, "characteristic", key, value] for key, value in assay.facts.items()]
            rows += [[*head, "characteristic", "compound", value] for value in ("none", "synthetic")]
            tissue = assay.facts["organism part"]
            rows.append([*head, "factor", "organism part", tissue, _URIS[tissue]])
        self._write(accession, ".condensed-sdrf.tsv", rows)
        idf = [["Investigation Title", f"Synthetic experiment {accession}"], ["PubMed ID", "10000003"],
               ["Comment[SecondaryAccession]", f"SYN{accession[-4:]}"], ["Experiment Description"]]  # fmt: skip
        self._write(accession, ".idf.txt", idf)

    def _expected(
        self, accession: str, name: str, file: str, assays: Sequence[_Assay], values: tuple[Any, Any], unit: str,
    ) -> Expected:  # fmt: skip
        facts = assays[0].facts
        path = (self._base / accession / file).relative_to(self._root).as_posix()
        is_human = facts["organism"] == "Homo sapiens"
        truths: dict[str, object] = {
            "file": path, "genes": values[0], "expression": values[1], "unit": unit, "tissue": facts["organism part"],
            "species": facts["organism"], "age": float(facts["age"].split()[0]) if is_human else None,
            "sex": facts["sex"], "assays": tuple(assay.name for assay in assays),
        }  # fmt: skip
        return Expected(f"{accession}/{name}", None, self.linked.get(accession, accession), (), truths)


def _merged(genes: Sequence[str], values: NDArray[np.float64]) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Average the lines of a gene, missing values left out."""
    lines: dict[str, list[float]] = {}
    for gene, value in zip(genes, values, strict=True):
        lines.setdefault(gene, []).append(float(np.float32(value)))
    means = []
    for found in lines.values():
        known = [value for value in found if not np.isnan(value)]
        means.append(float(np.float32(sum(known) / len(known))) if known else float("nan"))
    return tuple(lines), tuple(means)
