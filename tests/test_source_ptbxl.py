"""Oddities of PTB-XL: layouts, rates, label rule, heart axis, ages, lists of the paper."""

import csv

import numpy as np
import pytest

import climb_hf
from climb_hf import vocabulary
from climb_hf.errors import AccessError, SchemaError, SplitError
from climb_hf.registry import get_source


def load(folder, cache, name="ptbxl", **options):
    return climb_hf.load_dataset(name, folder, cache_dir=cache, **options)


def by_id(dataset):
    return {row["id"]: (split, row) for split, part in dataset.items() for row in part.with_format("numpy")}


def class_names(row, name="ptbxl"):
    source = get_source(name)
    return {source.classes[source.concepts.index(vocabulary.concepts()[i])] for i in row["labels"]}


def test_signals_are_twelve_leads_in_millivolt_at_the_native_rate(miniatures, tmp_path):
    folder, expected = miniatures("ptbxl")
    rows = by_id(load(folder, tmp_path))
    for truth in expected:
        _, row = rows[truth.id]
        assert row["signal"].shape == (truth.values["num_samples"], 12)
        assert row["signal"].dtype == np.float32
        assert row["sampling_rate"] == 500
        np.testing.assert_allclose(row["signal"][0], truth.values["first_sample"], atol=1e-6)
        assert row["metadata"]["scp_codes"] == truth.values["scp_codes"]
        assert row["raw_labels"].tolist() == list(truth.values["scp_codes"])


def test_sampling_rate_100_takes_the_publishers_own_records(miniatures, tmp_path):
    folder, expected = miniatures("ptbxl")
    rows = by_id(load(folder, tmp_path, sampling_rate=100))
    for truth in expected:
        _, row = rows[truth.id]
        assert row["signal"].shape == (1000, 12)
        assert row["sampling_rate"] == 100
        np.testing.assert_allclose(row["signal"][0], truth.values["first_sample_100"], atol=1e-6)


def test_sampling_rate_100_without_the_100_hz_records_is_resampled(miniatures, tmp_path):
    folder, expected = miniatures.copy("ptbxl", tmp_path / "raw")
    (folder / "records100").rename(tmp_path / "elsewhere")
    rows = by_id(load(folder, tmp_path / "cache", sampling_rate=100))
    assert {row["signal"].shape for _, row in rows.values()} == {(1000, 12)}
    assert len(rows) == len(expected)


def test_other_rates_are_resampled_and_length_cuts_or_pads_with_nan(miniatures, tmp_path):
    folder, _ = miniatures("ptbxl")
    rows = by_id(load(folder, tmp_path, sampling_rate=250, length=2600))
    for _, row in rows.values():
        assert row["signal"].shape == (2600, 12)
        assert np.isfinite(row["signal"][:2500]).all()
        assert np.isnan(row["signal"][2500:]).all()
    cut = by_id(load(folder, tmp_path, length=2500))
    assert {row["signal"].shape for _, row in cut.values()} == {(2500, 12)}


def test_a_copy_with_the_100_hz_records_only_says_so_and_loads(miniatures, tmp_path, caplog):
    folder, expected = miniatures.copy("ptbxl", tmp_path / "raw")
    (folder / "records500").rename(tmp_path / "elsewhere")
    rows = by_id(load(folder, tmp_path / "cache"))
    assert len(rows) == len(expected)
    assert {row["sampling_rate"] for _, row in rows.values()} == {100.0}
    assert "records500" in caplog.text


def test_ages_above_89_are_null_and_sex_is_decoded(miniatures, tmp_path):
    folder, expected = miniatures("ptbxl", 64)
    rows = by_id(load(folder, tmp_path))
    with (folder / "ptbxl_database.csv").open(newline="") as stream:
        table = {row["ecg_id"]: row for row in csv.DictReader(stream)}
    assert any(float(row["age"] or 0) == 300 for row in table.values()), "the miniature holds a coded age"
    for truth in expected:
        _, row = rows[truth.id]
        if float(table[truth.id]["age"] or 0) == 300:
            assert row["age"] is None or np.isnan(row["age"])
        assert row["sex"] == ("male" if float(table[truth.id]["sex"]) == 0 else "female")


def test_the_heart_axis_adds_classes(miniatures, tmp_path):
    folder, expected = miniatures("ptbxl", 64)
    rows = by_id(load(folder, tmp_path))
    axes = {"LAD", "ALAD", "RAD", "ARAD"}
    affected = [t for t in expected if t.values.get("heart_axis") in axes]
    assert affected
    for truth in affected:
        assert "Hypertrophy (HYP)" in class_names(rows[truth.id][1])


@pytest.mark.parametrize("layout", ["challenge", "challenge-2021"])
def test_challenge_copies_load_with_snomed_codes(miniatures, tmp_path, layout):
    folder, expected = miniatures("ptbxl", layout=layout)
    rows = by_id(load(folder, tmp_path))
    assert set(rows) == {truth.id for truth in expected}
    for truth in expected:
        _, row = rows[truth.id]
        assert class_names(row) == set(truth.classes)
        np.testing.assert_allclose(row["signal"][0], truth.values["first_sample"], atol=1e-6)
        assert all(code.isdigit() for code in row["raw_labels"])


def test_the_papers_split_comes_from_the_published_list(miniatures, tmp_path):
    folder, _expected = miniatures("ptbxl", with_benchmd=True)
    (listed,) = folder.rglob("ptbxl_splits.csv")
    with listed.open(newline="") as stream:
        table = {int(row["file_name"].split("HR")[-1][:5]): row for row in csv.DictReader(stream)}
    rows = by_id(load(folder, tmp_path, split_by="paper", split_file=str(listed)))
    names = {"train": "train", "val": "test"}
    assert {id_: split for id_, (split, _) in rows.items()} == {str(i): names[r["split"]] for i, r in table.items()}
    own = tmp_path / "own.csv"
    own.write_text(listed.read_text().replace(",val,", ",train,"))
    assert set(load(folder, tmp_path, split_by="paper", split_file=str(own))) == {"train"}
    own.write_text(listed.read_text())
    assert set(load(folder, tmp_path, split_by="paper", split_file=str(own))) == {"train", "test"}, (
        "not from the cache"
    )
    plain, _ = miniatures("ptbxl")
    with pytest.raises(SplitError, match="sha256 e48f07e9"):
        load(plain, tmp_path, split_by="paper")


def test_benchmd_labels_are_the_seeded_draw_of_the_published_list(miniatures, tmp_path):
    folder, _expected = miniatures("ptbxl", with_benchmd=True)
    (listed,) = folder.rglob("ptbxl_splits.csv")
    order = ("normal", "cd", "mi", "sttc", "other", "afib", "hyp")
    benchmd = vocabulary.source_vocabulary("ptbxl", "benchmd")
    with listed.open(newline="") as stream:
        label = {str(int(row["file_name"].split("HR")[-1][:5])): int(row["label"]) for row in csv.DictReader(stream)}
    rows = by_id(load(folder, tmp_path, labels="benchmd"))
    for id_, (_, row) in rows.items():
        assert class_names(row) == {benchmd.class_of(order[label[id_]])}


def test_the_finegrained_config_takes_its_map_from_the_statement_table(miniatures, tmp_path):
    folder, expected = miniatures.copy("ptbxl_finegrained", tmp_path / "raw", n=96)
    rows = by_id(load(folder, tmp_path / "a", "ptbxl_finegrained"))
    assert any(not truth.classes for truth in expected), "records without a diagnostic statement stay"
    for truth in expected:
        assert class_names(rows[truth.id][1], "ptbxl_finegrained") == set(truth.classes)
    (folder / "scp_statements.csv").unlink()
    again = by_id(load(folder, tmp_path / "b", "ptbxl_finegrained"))
    assert {i: row["labels"].tolist() for i, (_, row) in again.items()} == {
        i: row["labels"].tolist() for i, (_, row) in rows.items()
    }
    challenge, _ = miniatures("ptbxl", layout="challenge")
    with pytest.raises(AccessError, match="lost"):
        load(challenge, tmp_path / "c", "ptbxl_finegrained")


def test_a_header_that_promises_more_samples_is_skipped(miniatures, tmp_path):
    folder, expected = miniatures.copy("ptbxl", tmp_path / "raw")
    header = next(folder.glob("records500/*/*_hr.hea"))
    header.write_text(header.read_text().replace(" 12 500 5000", " 12 500 6000"))
    rows = by_id(load(folder, tmp_path / "cache"))
    assert set(rows) == {t.id for t in expected} - {str(int(header.stem.split("_")[0]))}


def test_a_missing_table_or_column_is_an_error_that_names_it(miniatures, tmp_path):
    folder, _ = miniatures.copy("ptbxl", tmp_path / "raw")
    table = folder / "ptbxl_database.csv"
    text = table.read_text()
    table.write_text(text.replace("strat_fold", "fold", 1))
    with pytest.raises(ValueError, match="strat_fold"):
        load(folder, tmp_path / "cache")
    table.unlink()
    with pytest.raises(AccessError, match=r"ptbxl_database\.csv"):
        load(folder, tmp_path / "cache")


def test_real_challenge_records(real_dir, tmp_path):
    rows = by_id(load(real_dir / "ecg_cinc2021", tmp_path))
    assert set(rows) == {str(i) for i in range(6000, 6010)}
    _, row = rows["6000"]
    assert row["signal"].shape == (5000, 12)
    np.testing.assert_allclose(
        row["signal"][0], np.array([10, -20, -30, 5, 20, -25, -85, -60, 175, 15, 470, 625]) / 1000, atol=1e-6
    )
    assert (row["age"], row["sex"]) == (59.0, "female")
    # 164934002 T wave abnormal, 426783006 sinus rhythm
    assert class_names(row) == {"Normal", "Sinus Tachycardia/Bradycardia/Conduction (STTC)"}
    # 426177001 sinus bradycardia, 426783006 sinus rhythm, 713426002 incomplete right bundle branch block
    assert class_names(rows["6002"][1]) == {"Normal", "Conduction Delay (CD)"}


@pytest.mark.parametrize(("column", "value"), [("scp_codes", "{[]: 1}"), ("patient_id", "inf")])
def test_a_row_no_literal_or_number_is_skipped(miniatures, tmp_path, column, value):
    folder, expected = miniatures.copy("ptbxl", tmp_path / "raw")
    table = folder / "ptbxl_database.csv"
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    rows[0][column] = value
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert len(by_id(load(folder, tmp_path / "cache"))) == len(expected) - 1


def test_challenge_headers_that_cannot_be_used_do_not_stop_the_others(miniatures, tmp_path):
    folder, expected = miniatures.copy("ptbxl", tmp_path / "raw", layout="challenge")
    first, second, *_ = sorted(folder.rglob("HR*.hea"))
    text = "\n".join("# Age: 5x" if "Age:" in line else line for line in first.read_text().splitlines())
    first.write_text(text + "\n")
    lines = second.read_text().splitlines()
    second.write_text("\n".join("# Dx: " if "Dx:" in line else line for line in lines) + "\n")
    first.with_name(f"{first.stem} (1).hea").write_text(text)
    found = by_id(load(folder, tmp_path / "cache"))
    lost = {str(int(path.stem[2:])) for path in (first, second)}
    assert set(found) == {truth.id for truth in expected} - lost
    (rules,) = (tmp_path / "cache").rglob("left_out.json")
    assert "no statement given" in rules.read_text()


def test_files_repaired_in_place_and_changed_split_lists_are_read_anew(miniatures, tmp_path):
    folder, expected = miniatures.copy("ptbxl", tmp_path / "raw")
    file = sorted((folder / "records500").rglob("*.dat"))[0]
    content = file.read_bytes()
    file.write_bytes(content[:100])
    assert len(by_id(load(folder, tmp_path / "cache"))) == len(expected) - 1
    file.write_bytes(content)
    assert len(by_id(load(folder, tmp_path / "cache"))) == len(expected)
    listed = tmp_path / "ptbxl_splits.csv"
    for split, name in (("train", "train"), ("val", "test")):
        rows = "".join(f"/x/HR{int(truth.id):05d}.hea,{split}\n" for truth in expected)
        listed.write_text(f"file_name,split\n{rows}")
        dataset = load(folder, tmp_path / "cache", split_by="paper", split_file=str(listed))
        assert list(dataset) == [name]


def test_a_damaged_statement_table_is_an_error_that_names_it(miniatures, tmp_path):
    folder, _ = miniatures.copy("ptbxl_finegrained", tmp_path / "raw")
    (folder / "scp_statements.csv").write_text("<html>not found</html>\n")
    with pytest.raises(SchemaError, match=r"scp_statements\.csv`: column"):
        load(folder, tmp_path / "cache", name="ptbxl_finegrained")
