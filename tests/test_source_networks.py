"""Oddities of the brain networks: ABIDE's two inputs, ABCD's joins, PPMI's views and polarity."""

import json
import os

import numpy as np
import pytest
from source_helpers import by_id, left_out

import climb_hf
from climb_hf.errors import CorruptFileError, LayoutError, OptionError, SchemaError, SplitError
from climb_hf.miniatures._common import write_csv
from climb_hf.miniatures._networks import npy_bytes
from climb_hf.readers.braingb import autism_label
from climb_hf.registry import get_source

BRAINS = ("abcd", "abide", "ppmi")


def load(name, folder, cache, **options):
    return by_id(climb_hf.load_dataset(name, folder, cache_dir=cache, **options))


def classes(dataset_row):
    from climb_hf import vocabulary

    return [vocabulary.concepts()[i] for i in dataset_row["labels"]]


def adjacency(row):
    """The weights as a matrix, and that every edge stands once and in both directions with one weight."""
    edges, weights = np.array(row["edge_index"]).reshape(2, -1), np.array(row["edge_attr"]).reshape(edges_of(row), -1)
    found = np.zeros((row["num_nodes"], row["num_nodes"], weights.shape[1] if weights.size else 1))
    found[edges[0], edges[1]] = weights
    assert len({tuple(edge) for edge in edges.T.tolist()}) == edges.shape[1]
    assert (edges[0] != edges[1]).all()
    assert (found == found.swapaxes(0, 1)).all()
    assert len(row["node_feat"]) == row["num_nodes"]
    return found[:, :, 0] if found.shape[2] == 1 else found


def edges_of(row):
    return len(row["edge_index"][0])


# ---- what holds for all


@pytest.mark.parametrize("name", BRAINS)
def test_options_of_networks(miniatures, tmp_path, name):
    folder, expected = miniatures(name, n=8)
    rows = load(name, folder, tmp_path, density=0.2, node_features="ldp")
    for truth in expected:
        _, row = rows[truth.id]
        assert np.shape(row["node_feat"]) == (20, 5)
        assert 0 < edges_of(row) <= 2 * round(0.2 * 190)
        adjacency(row)
    rows = load(name, folder, tmp_path, threshold=0.4, node_features="identity")
    assert all(np.abs(row["edge_attr"]).min() >= np.float32(0.4) for _, row in rows.values())
    assert all(np.array_equal(row["node_feat"], np.eye(20)) for _, row in rows.values())
    with pytest.raises(OptionError, match="density"):
        load(name, folder, tmp_path, density=2)
    with pytest.raises(SplitError, match="random without a seed"):
        load(name, folder, tmp_path, split_by="paper")


@pytest.mark.parametrize("name", BRAINS)
def test_a_simple_rule_finds_the_classes(miniatures, tmp_path, name):
    folder, expected = miniatures(name)
    rows = load(name, folder, tmp_path)
    half = []
    for truth in expected:
        matrix = adjacency(rows[truth.id][1])
        half.append(matrix[:10, :10].sum() > matrix[10:, 10:].sum())
    first = get_source(name).classes[0 if name == "abide" else 1]
    assert [truth.classes == (first,) for truth in expected] == half


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("abcd", {"labels": True}),
        ("abide", {"layout": "braingb"}),
        ("abide", {"layout": "npy"}),
        ("ppmi", {}),
        ("ppi", {}),
    ],
)
def test_miniatures_are_the_same_bytes_again(tmp_path, name, options):
    made = [climb_hf.miniature(name, tmp_path / d, n=9, seed=s, **options) for d, s in (("a", 3), ("b", 3), ("c", 4))]
    trees = [
        {
            p.relative_to(tmp_path / d).as_posix(): p.read_bytes()
            for p in sorted((tmp_path / d).rglob("*"))
            if p.is_file()
        }
        for d in "abc"
    ]
    assert made[0] == made[1]
    assert trees[0] == trees[1] != trees[2]
    assert all(len({row.id for row in rows}) == 9 for rows in made)


# ---- abide


@pytest.mark.parametrize("layout", ["pcp", "braingb", "s3"])
def test_abide_series_in_every_layout(miniatures, tmp_path, layout):
    folder, expected = miniatures("abide", layout=layout)
    rows = load("abide", folder, tmp_path)
    assert set(rows) == {truth.id for truth in expected}
    for truth in expected:
        _, row = rows[truth.id]
        series = np.loadtxt(folder / truth.values["file"])
        assert row["metadata"]["num_points"] == truth.values["num_points"] == len(series)
        assert row["metadata"]["site"] == truth.values["site"]
        assert row["metadata"]["fiq"] == truth.values["fiq"]
        assert (row["age"], row["sex"]) == (np.float32(truth.values["age"]), truth.values["sex"])
        matrix, lone = adjacency(row), truth.values["constant"]
        assert np.isfinite(matrix).all()
        assert np.isfinite(row["node_feat"]).all()
        assert row["metadata"]["num_isolated_nodes"] == row["metadata"]["num_constant_regions"] == (lone is not None)
        assert edges_of(row) == (20 * 19 if lone is None else 19 * 18)
        np.testing.assert_array_equal(np.array(row["node_feat"]), matrix)
        with np.errstate(invalid="ignore"):
            plain = np.nan_to_num(np.corrcoef(series, rowvar=False))
        strong = np.abs(plain) > 0.3
        np.fill_diagonal(strong, False)
        assert (np.sign(matrix[strong]) == np.sign(plain[strong])).all()
        assert (np.abs(np.tanh(matrix[strong])) < np.abs(plain[strong])).all(), "shrunk"
    assert left_out(tmp_path) == {
        "no usable functional data (`FILE_ID` is `no_filename`)": 1,
        "series of fewer than 100 time points": 1,
        "series without a row in `Phenotypic_V1_0b_preprocessed1.csv`": 1,
    }


def test_abide_missing_cells(miniatures, tmp_path):
    folder, expected = miniatures("abide")
    rows = load("abide", folder, tmp_path)
    metadata = [rows[truth.id][1]["metadata"] for truth in expected]
    assert {m["handedness_category"] for m in metadata} == {"R", "L", None, "Ambi", "Mixed", "L->R"}
    assert {m["viq"] for m in metadata} == {None}
    assert None in {m["fiq"] for m in metadata}
    assert len({m["fiq"] for m in metadata}) > 4
    assert {m["dsm_iv_tr"] for m in metadata} == {0.0, 1.0, 2.0, 3.0}


def test_abide_plain_correlation(miniatures, tmp_path):
    folder, expected = miniatures("abide")
    truth = expected[0]
    _, row = load("abide", folder, tmp_path, correlation="pearson", fisher_z=False)[truth.id]
    plain = np.corrcoef(np.loadtxt(folder / truth.values["file"]), rowvar=False)
    np.testing.assert_allclose(np.array(row["node_feat"]), plain, atol=1e-6)
    np.testing.assert_allclose(adjacency(row), plain - np.eye(20), atol=1e-6)
    with pytest.raises(OptionError, match="correlation"):
        load("abide", folder, tmp_path, correlation="spearman")


def test_abide_short_series_are_kept_on_request(miniatures, tmp_path):
    folder, _ = miniatures("abide")
    rows = load("abide", folder, tmp_path, min_points=78)
    assert rows["50142"][1]["metadata"]["num_points"] == 78


def test_abide_damage_is_named_and_absence_too(miniatures, tmp_path):
    folder, expected = miniatures.copy("abide", tmp_path / "raw")
    victim = folder / expected[5].values["file"]
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size * 6 // 10])
    rows = load("abide", folder, tmp_path / "cache")
    assert set(rows) == {truth.id for truth in expected} - {expected[5].id}
    (log,) = (tmp_path / "cache").rglob("skipped.jsonl")
    (entry,) = map(json.loads, log.read_text().splitlines())
    assert entry["id"] == expected[5].id
    assert expected[5].values["file"].endswith(entry["file"])
    assert "truncated" in entry["reason"] or "equally many" in entry["reason"]
    with pytest.raises(CorruptFileError, match=f"record `{expected[5].id}`"):
        load("abide", folder, tmp_path / "strict", strict=True)
    victim.unlink()
    assert len(load("abide", folder, tmp_path / "cache")) == len(expected) - 1
    for truth in expected[6:12]:
        (folder / truth.values["file"]).unlink()
    with pytest.raises(climb_hf.errors.DamagedDataError, match="5"):
        load("abide", folder, tmp_path / "cache2")
    assert len(load("abide", folder, tmp_path / "cache3", partial=True)) == len(expected) - 7


def test_abide_array(miniatures, tmp_path):
    folder, expected = miniatures("abide", layout="npy")
    with pytest.raises(OptionError, match=r"(?s)32 rows, 16 of label 1.*asd_label=0"):
        load("abide", folder, tmp_path)
    content = np.load(folder / "ABIDE.npy", allow_pickle=True).item()  # written by this test's own miniature
    for asd in (0, 1):
        rows = load("abide", folder, tmp_path, asd_label=asd)
        for position, truth in enumerate(expected):
            _, row = rows[truth.id]
            assert row["metadata"]["site"] == truth.values["site"]
            assert row["raw_labels"] == (["1"] if truth.values["label"] == asd else ["2"])
            np.testing.assert_array_equal(adjacency(row), content["corr"][position].astype(np.float32))
    assert [row["age"] for _, row in rows.values()] == [None] * 32
    with pytest.raises(OptionError, match="asd_label"):
        load("abide", folder, tmp_path, asd_label=2)


def test_abide_polarity_by_the_counts_of_the_complete_file():
    assert autism_label(np.repeat([1, 0], [516, 493]), None) == 0
    assert autism_label(np.repeat([1, 0], [493, 516]), None) == 1
    assert autism_label(np.repeat([1, 0], [493, 516]), 0) == 0
    for ones, total in ((516, 1010), (515, 1009)):
        with pytest.raises(OptionError, match="asd_label=0"):
            autism_label(np.repeat([1, 0], [ones, total - ones]), None)


def test_abide_array_with_code_or_another_content_is_refused(miniatures, tmp_path):
    folder, _ = miniatures.copy("abide", tmp_path / "raw", layout="npy")
    file, trace = folder / "ABIDE.npy", tmp_path / "trace"

    class Runs:
        def __reduce__(self):
            return os.mkdir, (str(trace),)

    file.write_bytes(npy_bytes(np.array({"corr": Runs()}, dtype=object)))
    with pytest.raises(CorruptFileError, match=r"asks for `(posix|nt|os)\.mkdir`, which is not allowed"):
        load("abide", folder, tmp_path / "cache", asd_label=0)
    assert not trace.exists()
    file.write_bytes(npy_bytes(np.array({"label": np.array([0, 1])})))
    with pytest.raises(SchemaError, match=r"expected `corr` \(N, R, R\)"):
        load("abide", folder, tmp_path / "cache", asd_label=0)


def test_abide_asymmetric_matrices_of_the_array_are_skipped(miniatures, tmp_path):
    folder, expected = miniatures.copy("abide", tmp_path / "raw", layout="npy")
    content = np.load(folder / "ABIDE.npy", allow_pickle=True).item()  # written by this test's own miniature
    content["corr"][3, 0, 1] += 0.5
    content["corr"][4, 2, :] = content["corr"][4, :, 2] = np.nan
    (folder / "ABIDE.npy").write_bytes(npy_bytes(np.array(content)))
    rows = load("abide", folder, tmp_path / "cache", asd_label=0)
    assert set(rows) == {truth.id for truth in expected} - {"0003"}
    (log,) = (tmp_path / "cache").rglob("skipped.jsonl")
    assert "symmetric" in log.read_text()
    row = rows["0004"][1]
    assert row["metadata"]["num_nan"] == 39
    assert np.isfinite(row["edge_attr"]).all()
    assert row["metadata"]["num_isolated_nodes"] >= 1


def test_abide_without_series_says_what_to_download(miniatures, tmp_path):
    folder, _ = miniatures("abide")
    with pytest.raises(LayoutError, match=r"(?s)filt_global.*rois_cc200"):
        load("abide", folder, tmp_path, strategy="filt_global")


# ---- abcd


def test_abcd_joins_by_id(miniatures, tmp_path):
    folder, expected = miniatures("abcd")
    matrices = np.load(folder / "abcd_rest-pearson-HCP2016.npy")
    rows = load("abcd", folder, tmp_path)
    assert set(rows) == {truth.id for truth in expected}
    for truth in expected:
        _, row = rows[truth.id]
        matrix, facts = matrices[truth.values["row"]], row["metadata"]
        assert row["sex"] == truth.values["sex"]
        assert facts["raw_sex"] == row["raw_labels"][0]
        assert (facts["row"], facts["has_timeseries"]) == (truth.values["row"], truth.values["has_timeseries"])
        assert (facts["num_nan"], facts["has_nan"]) == (truth.values["num_nan"], truth.values["num_nan"] > 0)
        np.testing.assert_array_equal(np.array(row["node_feat"]), matrix)
        np.testing.assert_array_equal(adjacency(row), np.nan_to_num(matrix) * (1 - np.eye(20)))
    assert left_out(tmp_path) == {
        "no sex in the tables": 1,
        "label without a matrix in `abcd_rest-pearson-HCP2016.npy`": 1,
    }


def test_abcd_nan_as_edges_of_no_strength(miniatures, tmp_path):
    folder, expected = miniatures("abcd")
    (truth,) = [truth for truth in expected if truth.values["num_nan"]]
    plain, asked = (load("abcd", folder, tmp_path, nan_edges=flag)[truth.id][1] for flag in (False, True))
    assert (edges_of(plain), edges_of(asked)) == (19 * 18, 20 * 19)
    assert (plain["metadata"]["num_isolated_nodes"], asked["metadata"]["num_isolated_nodes"]) == (1, 0)
    assert np.isfinite(asked["edge_attr"]).all()


def test_abcd_without_the_list_of_series(miniatures, tmp_path):
    folder, _ = miniatures("abcd", timeseries=False)
    rows = load("abcd", folder, tmp_path)
    assert {row["metadata"]["has_timeseries"] for _, row in rows.values()} == {None}


def test_abcd_diagnoses_come_only_from_the_users_table(miniatures, tmp_path):
    folder, expected = miniatures("abcd", labels=True)
    assert classes(load("abcd", folder, tmp_path / "a")[expected[0].id][1]) == ["brain_network.female"]
    rows = load("abcd", folder, tmp_path / "b", labels="diagnosis")
    wanted = {t.id: f"brain_network.{t.values['diagnosis'].lower()}" for t in expected if t.values["diagnosis"]}
    assert {i: classes(row) for i, (_, row) in rows.items()} == {i: [concept] for i, concept in wanted.items()}
    assert left_out(tmp_path / "b") == {"no diagnosis in the tables": 2}
    assert {row["sex"] for _, row in rows.values()} == {"female", "male"}
    table = tmp_path / "mine.csv"
    write_csv(table, [("id", "label"), (expected[3].id, "Abnormal")])
    (row,) = [row for _, row in load("abcd", folder, tmp_path / "c", label_file=str(table)).values()]
    assert classes(row) == ["brain_network.abnormal"]
    plain, _ = miniatures("abcd")
    with pytest.raises(LayoutError, match="hold no diagnosis"):
        load("abcd", plain, tmp_path / "d", labels="diagnosis")


def test_abcd_tables_that_do_not_fit_are_refused(miniatures, tmp_path):
    folder, _ = miniatures.copy("abcd", tmp_path / "raw")
    ids = folder / "ids_HCP2016.txt"
    lines = ids.read_text().splitlines()
    ids.write_text("\n".join(lines))  # no line end: the last id must stay whole
    assert len(load("abcd", folder, tmp_path / "cache")) == 32
    ids.write_text("\n".join(lines[:-1]))
    with pytest.raises(LayoutError, match=r"found 32 ids in `ids_HCP2016\.txt` and 33 matrices"):
        load("abcd", folder, tmp_path / "cache")
    ids.write_text("\n".join(lines))
    array = folder / "abcd_rest-pearson-HCP2016.npy"
    array.write_bytes(array.read_bytes()[:-100])
    with pytest.raises(CorruptFileError, match=r"pearson-HCP2016\.npy`: expected a whole array"):
        load("abcd", folder, tmp_path / "cache")
    for name in ("id2sex.txt", "ids_HCP2016.txt"):
        other, _ = miniatures.copy("abcd", tmp_path / name)
        (other / name).unlink()
        with pytest.raises(LayoutError, match=name):
            load("abcd", other, tmp_path / "cache2")


def test_abcd_asymmetric_matrix_is_skipped_and_named(miniatures, tmp_path):
    folder, expected = miniatures.copy("abcd", tmp_path / "raw")
    array = np.load(folder / "abcd_rest-pearson-HCP2016.npy")
    array[expected[7].values["row"], 0, 1] = 0.9
    (folder / "abcd_rest-pearson-HCP2016.npy").write_bytes(npy_bytes(array))
    assert set(load("abcd", folder, tmp_path / "cache")) == {t.id for t in expected} - {expected[7].id}


# ---- ppmi


def test_ppmi_networks(miniatures, tmp_path):
    folder, expected = miniatures("ppmi")
    rows = load("ppmi", folder, tmp_path)
    for truth in expected:
        _, row = rows[truth.id]
        published = np.array(truth.values["matrix"])[:, :, 0]
        assert row["raw_labels"] == list(truth.values["raw_labels"])
        np.testing.assert_array_equal(np.array(row["node_feat"]), published.astype(np.float32))
        np.testing.assert_allclose(adjacency(row), (published + published.T) / 2, rtol=1e-6)
        assert row["metadata"]["asymmetry"] == pytest.approx(np.abs(published - published.T).max())
        assert row["metadata"]["asymmetry"] > 0
        assert row["metadata"]["num_isolated_nodes"] == int((~published.any(axis=1)).sum())
        assert row["group"] == row["id"]


@pytest.mark.parametrize("view", [1, 2, "all"])
def test_ppmi_views(miniatures, tmp_path, view):
    folder, expected = miniatures("ppmi", n=8)
    for truth in expected:
        _, row = load("ppmi", folder, tmp_path, view=view)[truth.id]
        published = np.array(truth.values["matrix"])
        mean = (published + published.swapaxes(0, 1)) / 2
        np.testing.assert_allclose(adjacency(row), mean if view == "all" else mean[:, :, view], rtol=1e-6)
        np.testing.assert_array_equal(
            np.array(row["node_feat"]), published[:, :, 0 if view == "all" else view].astype(np.float32)
        )
    for wrong in (3, -1, "first"):
        with pytest.raises(OptionError, match="view"):
            load("ppmi", folder, tmp_path, view=wrong)


def test_ppmi_majority_is_parkinson(miniatures, tmp_path, caplog):
    plain, expected = miniatures("ppmi")
    inverted, other = miniatures("ppmi", inverted=True)
    before, after = load("ppmi", plain, tmp_path / "a"), load("ppmi", inverted, tmp_path / "b")
    assert "most labels are -1" in caplog.text
    for truth, turned in zip(expected, other, strict=True):
        assert truth.classes == turned.classes
        assert before[truth.id][1]["labels"] == after[truth.id][1]["labels"]
        assert after[truth.id][1]["raw_labels"] == list(turned.values["raw_labels"])
    kept = load("ppmi", inverted, tmp_path / "c", pd_label=1)
    assert all(kept[t.id][1]["labels"] != before[t.id][1]["labels"] for t in expected)


def test_ppmi_subjects_keep_their_visits_together(miniatures, tmp_path):
    folder, expected = miniatures("ppmi", ids=True)
    rows = load("ppmi", folder, tmp_path / "a")
    assert {i: row["group"] for i, (_, row) in rows.items()} == {t.id: t.group for t in expected}
    assert len({t.group for t in expected}) < len(expected)
    (folder / "ids.txt").write_text("1\n2\n")
    with pytest.raises(LayoutError, match="expected 32 subjects"):
        load("ppmi", folder, tmp_path / "b")


def test_ppmi_folder_of_visits(miniatures, tmp_path):
    folder, expected = miniatures.copy("ppmi", tmp_path / "raw", layout="folder")
    rows = load("ppmi", folder, tmp_path / "a")
    assert {i: row["group"] for i, (_, row) in rows.items()} == {t.id: t.group for t in expected}
    for truth in expected:
        _, row = rows[truth.id]
        assert f"{row['metadata']['subject']}_{row['metadata']['visit']}" == truth.id
        np.testing.assert_array_equal(
            np.array(row["node_feat"]), np.array(truth.values["matrix"])[:, :, 0].astype(np.float32)
        )
    victim = folder / f"{expected[5].id}.mat"
    victim.write_bytes(victim.read_bytes()[:1000])
    assert set(load("ppmi", folder, tmp_path / "b")) == {t.id for t in expected} - {expected[5].id}


def test_ppmi_other_files_of_that_name_are_refused(miniatures, tmp_path):
    from scipy.io import savemat

    folder, _ = miniatures.copy("ppmi", tmp_path / "raw")
    file = folder / "PPMI.mat"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorruptFileError, match=r"PPMI\.mat"):
        load("ppmi", folder, tmp_path / "cache")
    savemat(file, {"clinical": np.zeros(3)})
    with pytest.raises(SchemaError, match="variable `X` is not there"):
        load("ppmi", folder, tmp_path / "cache")
    savemat(file, {"X": np.zeros((4, 3)), "label": np.ones((4, 1))})
    with pytest.raises(SchemaError, match="cell array"):
        load("ppmi", folder, tmp_path / "cache")
    file.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400))
    with pytest.raises(CorruptFileError, match="-v7"):
        load("ppmi", folder, tmp_path / "cache")
