"""Oddities of Expression Atlas and GEO: which matrix counts, what is left out, annotation, groups, damaged files."""

import json
import shutil

import numpy as np
import pytest
from source_helpers import by_id, left_out

import climb_hf
from climb_hf.errors import CorruptFileError, OptionError, SplitError
from climb_hf.readers import atlas

NO_MATRIX = "experiment without a matrix of values"


def load(name, folder, cache, **options):
    return climb_hf.load_dataset(name, folder, cache_dir=cache, **options)


def same_values(row, truth):
    assert row["genes"] == list(truth.values["genes"])
    np.testing.assert_array_equal(np.float32(row["expression"]), np.float32(truth.values["expression"]))


@pytest.mark.parametrize(("name", "layout"), [
    ("expression_atlas", "ftp"), ("expression_atlas", "flat"), ("geo", "mirror"), ("geo", "flat"),
])  # fmt: skip
def test_every_value_in_every_layout(miniatures, tmp_path, name, layout):
    folder, expected = miniatures(name, layout=layout)
    rows = by_id(load(name, folder, tmp_path))
    assert set(rows) == {truth.id for truth in expected}
    for truth in expected:
        _, row = rows[truth.id]
        same_values(row, truth)
        assert (row["group"], row["age"], row["sex"]) == (truth.group, truth.values["age"], truth.values["sex"])
        assert row["labels"] == row["raw_labels"] == []


@pytest.mark.parametrize("name", ["expression_atlas", "geo"])
def test_a_row_is_arrow_when_built_and_python_when_streamed(miniatures, tmp_path, name):
    folder, _ = miniatures(name)
    built = load(name, folder, tmp_path)
    split = next(iter(built))
    assert built[split].with_format("arrow")[:].column("expression").type.value_type == "float"
    streamed = next(iter(load(name, folder, tmp_path, streaming=True)[split]))
    assert isinstance(streamed["genes"], list)
    assert isinstance(streamed["expression"][0], float)


@pytest.mark.parametrize("name", ["expression_atlas", "geo"])
def test_the_papers_split_cannot_be_rebuilt(miniatures, name):
    folder, _ = miniatures(name)
    with pytest.raises(SplitError, match="random without a seed"):
        climb_hf.load_dataset(name, folder, split_by="paper")


# ---- Expression Atlas


def test_atlas_annotation_units_and_counts(miniatures, tmp_path):
    folder, expected = miniatures("expression_atlas")
    rows = by_id(load("expression_atlas", folder, tmp_path))
    units = set()
    for truth in expected:
        facts = rows[truth.id][1]["metadata"]
        assert (facts["unit"], facts["species"]) == (truth.values["unit"], truth.values["species"])
        assert facts["factors"] == {"organism part": truth.values["tissue"]}
        assert facts["characteristics"]["organism part"] == truth.values["tissue"]
        assert facts["characteristics"]["compound"] == ["none", "synthetic"]
        assert facts["ontology"]["organism part"].startswith("http://purl.obolibrary.org/obo/UBERON_")
        assert tuple(facts["assays"]) == truth.values["assays"]
        assert facts["assay_group_label"] == f"{facts['assay_group']} of <{facts['accession']}>"
        assert facts["experiment_title"] == f"Synthetic experiment {facts['accession']}"
        units.add(facts["unit"])
    assert units == {"TPM", "FPKM", "count", "log2 intensity", "log2 ratio", "abundance"}
    assert rows["E-GEOD-6001/A-AFFY-34/Sample 1"][1]["metadata"]["study"] == "GSE6001"
    assert rows["E-GEOD-6001/A-AFFY-34/Sample 1"][1]["metadata"]["array_design"] == "A-AFFY-34"
    assert rows["E-MTAB-5001/g10"][1]["metadata"]["study"] == "SYN5001"
    assert rows["E-MTAB-5001/g1"][1]["metadata"]["n_merged_lines"] == 1
    assert rows["E-GEOD-6001/A-AFFY-34/Sample 1"][1]["metadata"]["n_merged_lines"] == 24
    assert left_out(tmp_path) == {NO_MATRIX: 1, "assay group without a column": 1}


def test_atlas_experiments_that_share_a_run_are_one_group(miniatures, tmp_path):
    folder, _ = miniatures.copy("expression_atlas", tmp_path / "raw")
    shared = {row["group"] for _, row in by_id(load("expression_atlas", folder, tmp_path / "a")).values()}
    assert "E-MTAB-5001" not in shared
    shutil.rmtree(folder / "experiments" / "E-ERAD-400")
    rows = by_id(load("expression_atlas", folder, tmp_path / "b"))
    assert rows["E-MTAB-5001/g1"][1]["group"] == "E-MTAB-5001"
    names = folder / "experiments" / "E-GEOD-6001", folder / "experiments" / "E-MEXP-601"
    assert [atlas.run_ids(name) for name in names] == [set(), set()], "`Sample 1` of two experiments is not one sample"


def test_atlas_order_of_groups_is_by_number(miniatures, tmp_path):
    folder, _ = miniatures("expression_atlas")
    ids = [id_ for part in load("expression_atlas", folder, tmp_path).values() for id_ in part["id"]]
    assert [id_ for id_ in ids if id_.startswith("E-MTAB-5001/")] == [f"E-MTAB-5001/g{i}" for i in (1, 2, 3, 10)]


def test_atlas_one_species(miniatures, tmp_path):
    folder, expected = miniatures("expression_atlas")
    rows = by_id(load("expression_atlas", folder, tmp_path, species="Mus musculus"))
    assert set(rows) == {truth.id for truth in expected if truth.values["species"] == "Mus musculus"}
    assert left_out(tmp_path)["assay of another species (`species=`)"] == len(expected) - len(rows)


def test_atlas_takes_fpkm_without_tpm_and_counts_without_both(miniatures, tmp_path):
    folder, _ = miniatures.copy("expression_atlas", tmp_path / "raw")
    place = folder / "experiments" / "E-MTAB-5010"
    tpm = by_id(load("expression_atlas", folder, tmp_path / "a"))["E-MTAB-5010/g1"][1]
    (place / "E-MTAB-5010-tpms.tsv").unlink()
    fpkm = by_id(load("expression_atlas", folder, tmp_path / "b"))["E-MTAB-5010/g1"][1]
    assert (tpm["metadata"]["unit"], fpkm["metadata"]["unit"]) == ("TPM", "FPKM")
    np.testing.assert_array_equal(np.array(fpkm["expression"]), np.array(tpm["expression"]) + 1)
    (place / "E-MTAB-5010-fpkms.tsv").unlink()
    (matrix,) = atlas.find_matrices(place)
    assert (matrix.unit, matrix.columns, matrix.first_value) == ("count", ("SRR1",), 1)


@pytest.mark.parametrize(
    ("file", "damage", "reason"),
    [
        ("-configuration.xml", lambda text: text[:-30], "not readable as XML"),
        (
            "-configuration.xml",
            lambda text: text.replace("<conf", '<!DOCTYPE a [<!ENTITY b "c">]><conf', 1),
            "entities",
        ),
        (".condensed-sdrf.tsv", lambda text: text[: text.rindex("factor") + 3], "condensed-sdrf.tsv`, line 14"),
        ("-tpms.tsv", lambda text: "GeneID", "header line"),
    ],
)
def test_atlas_damaged_small_files_skip_the_experiment(miniatures, tmp_path, file, damage, reason):
    folder, expected = miniatures.copy("expression_atlas", tmp_path / "raw")
    path = folder / "experiments" / "E-MTAB-5012" / f"E-MTAB-5012{file}"
    path.write_text(damage(path.read_text()))
    rows = by_id(load("expression_atlas", folder, tmp_path / "cache"))
    assert len(rows) == len(expected) - 1
    (log,) = (tmp_path / "cache").rglob("skipped.jsonl")
    entry = json.loads(log.read_text())
    assert (entry["id"], entry["error"]) == ("E-MTAB-5012", "CorruptFileError")
    assert reason in entry["reason"]


def test_atlas_without_annotation_still_loads(miniatures, tmp_path):
    folder, expected = miniatures.copy("expression_atlas", tmp_path / "raw")
    place = folder / "experiments" / "E-MTAB-5011"
    for ending in (".condensed-sdrf.tsv", "-configuration.xml", ".idf.txt"):
        (place / f"E-MTAB-5011{ending}").unlink()
    _, row = by_id(load("expression_atlas", folder, tmp_path / "cache"))["E-MTAB-5011/g1"]
    same_values(row, next(truth for truth in expected if truth.id == "E-MTAB-5011/g1"))
    assert row["metadata"]["species"] is None
    assert row["metadata"]["characteristics"] == {}


def test_atlas_strict_build_names_the_line(miniatures, tmp_path):
    folder, _ = miniatures.copy("expression_atlas", tmp_path / "raw")
    path = folder / "experiments" / "E-MTAB-5013" / "E-MTAB-5013-tpms.tsv"
    lines = path.read_text().split("\n")
    lines[10] = lines[10].rpartition("\t")[0] + "\t1,2,three,4,5"
    path.write_text("\n".join(lines))
    with pytest.raises(CorruptFileError, match=r"E-MTAB-5013/g1.*line 11"):
        load("expression_atlas", folder, tmp_path / "cache", strict=True)


# ---- GEO


def test_geo_metadata_category_and_duplicates(miniatures, tmp_path):
    folder, expected = miniatures("geo")
    rows = by_id(load("geo", folder, tmp_path))
    for truth in expected:
        _, row = rows[truth.id]
        facts = row["metadata"]
        assert (facts["title"], facts["subsets"]) == (truth.values["title"], truth.values["subsets"])
        assert row["duplicate_of"] == truth.values["duplicate_of"]
        assert facts["source"] == "synthetic tissue"
        assert facts["organism"] == "Homo sapiens"
    facts = rows["GDS4001/GSM10001"][1]["metadata"]
    assert facts["category"] == {"type": "disease state", "value": "normal", "choices": ["RCC", "normal"]}
    named = ("dataset", "series", "platform", "value_type", "pubmed_id", "update_date")
    assert [facts[name] for name in named] == ["GDS4001", "GSE9001", "GPL97", "count", "10000001", "Mar 04 2004"]
    facts = rows["GSE9005/GSM10300"][1]["metadata"]
    assert facts["characteristics"] == {"sex": "F", "age": "50", "disease state": "RCC"}
    assert (facts["dataset"], facts["platform"], facts["category"]) == (None, "GPL570", None)
    assert left_out(tmp_path) == {
        "sample of a series matrix that a data set of the same series holds": 4,
        "sample of a series whose matrix is empty (sequencing data)": 2,
    }


def test_geo_data_sets_of_a_series_and_linked_series_are_one_group(miniatures, tmp_path):
    folder, expected = miniatures("geo")
    built = load("geo", folder, tmp_path)
    groups = {id_: group for part in built.values() for id_, group in zip(part["id"], part["group"], strict=True)}
    assert {groups[id_] for id_ in groups if id_.startswith("GDS")} == {"GSE9001"}
    copies = [truth for truth in expected if truth.values["duplicate_of"]]
    assert [truth.id for truth in copies] == ["GDS4010/GSM10000"]


def test_geo_symbols(miniatures, tmp_path):
    folder, expected = miniatures("geo")
    rows = by_id(load("geo", folder, tmp_path, genes="symbol"))
    assert set(rows) == {truth.id for truth in expected if truth.id.startswith("GDS")}
    assert rows["GDS4001/GSM10000"][1]["genes"][:2] == ["GENE0", "GENE1"]
    assert left_out(tmp_path)['series matrix file, which has no gene symbols (`genes="symbol"`)'] == 12
    with pytest.raises(OptionError, match="`genes` must be one of"):
        load("geo", folder, tmp_path, genes="entrez")


def test_geo_second_copies_and_family_files_are_counted(miniatures, tmp_path):
    folder, expected = miniatures.copy("geo", tmp_path / "raw", layout="flat")
    (folder / "more").mkdir()
    shutil.copy(folder / "GDS4001.soft", folder / "more" / "GDS4001.soft")
    (folder / "GSE5_family.soft.gz").write_bytes(b"")
    rows = by_id(load("geo", folder, tmp_path / "cache"))
    assert set(rows) == {truth.id for truth in expected}
    counts = left_out(tmp_path / "cache")
    assert counts["second file of the same accession"] == 1
    assert counts["family file of a series without its series matrix file, which is the one to get"] == 1


def test_geo_real_data_set(real_dir, tmp_path):
    built = load("geo", real_dir / "geo", tmp_path)
    rows = by_id(built)
    assert len(rows) == 17
    assert {row["group"] for _, row in rows.values()} == {"GSE781"}
    states = [row["metadata"]["subsets"]["disease state"] for _, row in rows.values()]
    assert (states.count("RCC"), states.count("normal")) == (9, 8)
    assert len({row["metadata"]["subsets"]["individual"] for _, row in rows.values()}) == 10
    _, row = rows["GDS507/GSM11815"]
    assert (len(row["genes"]), row["genes"][0], row["expression"][0]) == (22645, "200000_s_at", 4254.0)
    assert row["metadata"]["title"] == "C035 Renal Clear Cell Carcinoma U133B"
    assert row["metadata"]["category"] == {"type": "disease state", "value": "RCC", "choices": ["RCC", "normal"]}
    symbols = by_id(load("geo", real_dir / "geo", tmp_path / "symbols", genes="symbol"))
    assert len(symbols["GDS507/GSM11815"][1]["genes"]) == 17952
