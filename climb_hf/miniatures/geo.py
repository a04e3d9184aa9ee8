"""Synthetic raw copy of GEO: SOFT files of data sets and series matrix files, as a mirror of the FTP site holds them.

Every value is drawn at random; no sample is real. Samples whose `disease state` is `RCC` have high values in the first
ten probes, `normal` ones in the next ten.

Oddities of the site that it writes:

* data sets: `^DATASET` twice, attributes with `=` in the value or without one, a byte that is Latin-1 and not UTF-8,
  cells `null`, probes that share a gene symbol, control probes `--Control`, a `_full` copy beside the file;
* two data sets that are the two arrays of one series, with the same individuals; a third data set of another series
  that holds a sample of the first again (from n = 14 on);
* series matrix files: quoted cells, a carriage return and quotes inside values, repeated characteristics that are not
  aligned, four spellings of null and empty cells, a probe named `NA`, one file per array;
* a series matrix of samples that a data set holds, a series of sequencing data with an empty table, a platform's
  annotation file and a family file.
"""

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from climb_hf.miniatures._common import Expected, check_choice, check_count, rng, write_bytes

__all__ = ["make"]

_LAYOUTS = ("mirror", "flat")
_STATES = ("RCC", "normal")
_PROBES, _SINGLE_PROBES = 64, 240
_SERIES = {"sets": "GSE9001", "again": "GSE9002", "matrix": "GSE9005", "empty": "GSE9004"}
_SINGLES = ("GSE9010", "GSE9011", "GSE9012", "GSE9013")


def make(root: Path, n: int = 32, seed: int = 0, *, layout: str = "mirror") -> list[Expected]:
    """Write a synthetic mirror of GEO.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of samples that count, at least 8.
        seed (`int`, *optional*, defaults to `0`): seed of the values.
        layout (`str`, *optional*, defaults to `"mirror"`): `"mirror"` (the tree of the FTP site, compressed) or
            `"flat"` (one folder, not compressed but for the series of one sample).

    Returns:
        `list[Expected]`: samples of the first data set, the four series of one sample, then the other files;
        `values`: `file`, `genes` and `expression` (tuples), `title`, `subsets`, `age`, `sex`, `duplicate_of`.

    Raises:
        OptionError: an option out of range.
    """
    check_count("geo", n, seed)
    check_choice("geo", "layout", layout, _LAYOUTS)
    writer = _Writer(root, seed, layout)
    others = n - 8
    sizes = {"second": (others + 2) // 3, "again": (others + 1) // 3 if others >= 6 else 0}
    sizes["matrix"] = others - sizes["second"] - sizes["again"]
    expected = writer.dataset("GDS4001", "GPL97", _SERIES["sets"], list(range(4)), full=True)
    for place, series in enumerate(_SINGLES):
        expected += writer.series(series, "", [900 + place], probes=_SINGLE_PROBES)
    if sizes["second"]:
        expected += writer.dataset("GDS4002", "GPL96", _SERIES["sets"], list(range(100, 100 + sizes["second"])))
    if sizes["again"]:
        numbers = [0, *range(201, 200 + sizes["again"])]
        expected += writer.dataset("GDS4010", "GPL97", _SERIES["again"], numbers, again="GDS4001")
    if sizes["matrix"]:
        expected += writer.series(_SERIES["matrix"], "", list(range(300, 300 + sizes["matrix"])))
    writer.series(_SERIES["sets"], "-GPL97", list(range(4)))  # the data set wins
    writer.series(_SERIES["empty"], "", [400, 401], probes=0)
    writer.litter()
    return expected


class _Writer:
    """Writes files of a synthetic mirror and tells what they hold."""

    def __init__(self, root: Path, seed: int, layout: str) -> None:
        self._root, self._seed, self._is_flat = root, seed, layout == "flat"

    def dataset(
        self, name: str, platform: str, series: str, numbers: Sequence[int], *, full: bool = False, again: str = ""
    ) -> list[Expected]:
        """Write a data set of the samples with these numbers."""
        samples = [f"GSM{10000 + number}" for number in numbers]
        states = [_STATES[number % 2] for number in numbers]
        values, cells = self._values(name, states, _PROBES)
        for place, number in enumerate(numbers):
            values[place, 20 + number % 8] = np.nan
            cells[place][20 + number % 8] = "null"
        probes = [f"{200000 + place}_s_at" for place in range(_PROBES - 4)] + [
            f"AFFX-{place}_at" for place in range(4)
        ]
        symbols = [f"GENE{place // 2}" for place in range(_PROBES - 4)] + ["--Control"] * 4
        subsets = self._subsets(samples, numbers, states)
        lines = self._head(name, platform, series, samples, subsets)
        lines += [f"^DATASET = {name}", "#ID_REF = Platform reference identifier", "#IDENTIFIER = identifier"]
        lines += [f"#{sample} = Value for {sample}: Sample {sample}; src: synthetic tissue" for sample in samples]
        lines += ["!dataset_table_begin", "\t".join(["ID_REF", "IDENTIFIER", *samples])]
        table = [
            [probe, symbol, *row] for probe, symbol, row in zip(probes, symbols, zip(*cells, strict=True), strict=True)
        ]
        text = "".join(f"{line}\n" for line in [*lines, *map("\t".join, table), "!dataset_table_end"])
        file = f"datasets/{_range(name)}/{name}/soft/{name}.soft"
        file = self._write(file, text.encode("latin-1"))
        if full:
            self._write(f"datasets/{_range(name)}/{name}/soft/{name}_full.soft", text.encode("latin-1"))
        return [
            Expected(
                f"{name}/{sample}", None, _SERIES["sets"] if again else series, (),
                {
                    "file": file, "genes": tuple(probes), "expression": tuple(values[place].tolist()),
                    "title": f"Sample {sample}", "age": 40.0 + number % 30 if number % 3 else None,
                    "sex": ("female", "male")[number % 2],
                    "subsets": {kind: text for kind, text, members in subsets if sample in members},
                    "duplicate_of": f"{again}/{sample}" if again and number < 100 else None,
                },
            )
            for place, (sample, number) in enumerate(zip(samples, numbers, strict=True))
        ]  # fmt: skip

    @staticmethod
    def _head(
        name: str, platform: str, series: str, samples: Sequence[str], subsets: Sequence[tuple[str, str, list[str]]]
    ) -> list[str]:
        """Return the lines of the data set and its subsets."""
        lines = [
            "^DATABASE = Geo", "!Database_name = Gene Expression Omnibus (GEO)", "!Database_institute = NCBI NLM NIH",
            f"^DATASET = {name}", f"!dataset_title = Synthetic carcinoma ({platform}, a = b)",
            "!dataset_description = Synthetic values; caf\xe9", "!dataset_type = gene expression array-based",
            "!dataset_pubmed_id = 10000001", f"!dataset_platform = {platform}",
            f"!dataset_feature_count = {_PROBES}", "!dataset_sample_organism = Homo sapiens",
            "!dataset_sample_type = RNA", "!dataset_channel_count = 1", f"!dataset_sample_count = {len(samples)}",
            "!dataset_value_type = count", f"!dataset_reference_series = {series}", "!dataset_order = ",
            "!dataset_update_date = Mar 04 2004",
        ]  # fmt: skip
        for place, (kind, description, members) in enumerate(subsets, 1):
            lines += [f"^SUBSET = {name}_{place}", f"!subset_dataset_id = {name}"]
            lines += [f"!subset_description = {description}", f"!subset_sample_id = {','.join(members)}"]
            lines.append(f"!subset_type = {kind}")
        return lines

    @staticmethod
    def _subsets(
        samples: Sequence[str], numbers: Sequence[int], states: Sequence[str]
    ) -> list[tuple[str, str, list[str]]]:
        """Return type, description and samples of each subset; every third sample has no age."""
        facts = {
            "disease state": states,
            "individual": [f"{number // 2:03d}" for number in numbers],
            "gender": [("female", "male")[number % 2] for number in numbers],
            "age": [f"{40 + number % 30} y" if number % 3 else "" for number in numbers],
        }
        found = []
        for kind, values in facts.items():
            for value in dict.fromkeys(filter(None, values)):
                found.append((kind, value, [s for s, v in zip(samples, values, strict=True) if v == value]))
        return found

    def series(self, name: str, array: str, numbers: Sequence[int], *, probes: int = _PROBES) -> list[Expected]:
        """Write the series matrix file of the samples with these numbers."""
        samples = [f"GSM{10000 + number}" for number in numbers]
        states = [_STATES[number % 2] for number in numbers]
        values, cells = self._values(name, states, probes)
        for place in range(len(samples) if probes else 0):
            for row, text in zip((21, 23, 25, 27, 29), ("", "NA", "null", "NULL", "Null"), strict=True):
                values[place, row], cells[place][row] = np.nan, text
        ids = [f"{200000 + place}_at" for place in range(probes)]
        if probes:
            ids[5] = "NA"
        ages, sexes = [30 + number % 40 for number in numbers], [("F", "M")[number % 2] for number in numbers]
        facts = [(f"Sex: {sex}", f"age: {age}") for sex, age in zip(sexes, ages, strict=True)]
        lines = [
            f'!Series_title\t"Synthetic "series" {name}"', f'!Series_geo_accession\t"{name}"',
            '!Series_pubmed_id\t"10000002"', '!Series_summary\t"first line\r second line"', '!Series_summary\t"more"',
            f'!Series_platform_id\t"{array[1:] or "GPL570"}"', "",
            _line("!Sample_title", [f"Sample {sample}" for sample in samples]),
            _line("!Sample_geo_accession", samples),
            _line("!Sample_source_name_ch1", ["synthetic tissue"] * len(samples)),
            _line("!Sample_organism_ch1", ["Homo sapiens"] * len(samples)),
            # the first sample states its sex first, the others their age: the rows are not aligned
            _line("!Sample_characteristics_ch1", [stated[place > 0] for place, stated in enumerate(facts)]),
            _line("!Sample_characteristics_ch1", [stated[place == 0] for place, stated in enumerate(facts)]),
            _line("!Sample_characteristics_ch1", [f"disease state: {state}" for state in states]),
            _line("!Sample_platform_id", [array[1:] or "GPL570"] * len(samples)),
            "!series_matrix_table_begin", _line('"ID_REF"', samples),
        ]  # fmt: skip
        lines += ["\t".join([f'"{probe}"', *row]) for probe, row in zip(ids, zip(*cells, strict=True), strict=True)]
        text = "".join(f"{line}\n" for line in [*lines, "!series_matrix_table_end"])
        path = f"series/{_range(name)}/{name}/matrix/{name}{array}_series_matrix.txt"
        file = self._write(path, text.encode(), always=probes == _SINGLE_PROBES)
        sex = {"F": "female", "M": "male"}
        return [
            Expected(
                f"{name}{array}/{sample}", None, name, (),
                {
                    "file": file, "genes": tuple(ids), "expression": tuple(values[place].tolist()),
                    "title": f"Sample {sample}", "age": float(ages[place]), "sex": sex[sexes[place]], "subsets": {},
                    "duplicate_of": None,
                },
            )
            for place, sample in enumerate(samples)
        ]  # fmt: skip

    def _values(self, name: str, states: Sequence[str], probes: int) -> tuple[np.ndarray, list[list[str]]]:
        """Return (samples, probes) float32 values that depend on the state, and their cells as text."""
        random = rng(self._seed, "geo", name)
        values = random.gamma(2.0, 100.0, (len(states), probes))
        for place, state in enumerate(states):
            start = 10 * _STATES.index(state)
            values[place, start : start + 10] += 2000
        cells = [[f"{value:.3f}" for value in row] for row in values]
        return np.array([[float(cell) for cell in row] for row in cells], np.float32).reshape(values.shape), cells

    def litter(self) -> None:
        """Write what lies beside the files that count."""
        self._write("platforms/GPLnnn/GPL97/annot/GPL97.annot", b"^Annotation\n!Annotation_platform = GPL97\n")
        self._write("series/GSE9nnn/GSE9001/soft/GSE9001_family.soft", b"^SERIES = GSE9001\n")

    def _write(self, file: str, content: bytes, *, always: bool = False) -> str:
        """Write a file of the mirror, or its copy in the flat folder; returns the path relative to the root."""
        if self._is_flat:
            file = file.rpartition("/")[2]
        if always or not self._is_flat:
            file, content = f"{file}.gz", gzip.compress(content, mtime=0)
        write_bytes(self._root / file, content)
        return file


def _range(name: str) -> str:
    """Return the folder of a range of accessions: GDS4001 -> GDS4nnn."""
    return f"{name[:-3]}nnn" if len(name) > 6 else f"{name[:3]}nnn"


def _line(key: str, values: Sequence[str]) -> str:
    return "\t".join([key, *(f'"{value}"' for value in values)])
