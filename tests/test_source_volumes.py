"""Oddities of the CT volume sources: `lndb`, `inspect` and `kits23`, on miniatures."""

import csv
import gzip
import json
import shutil
from collections import Counter, defaultdict
from datetime import datetime

import nibabel
import numpy as np
import pytest
from source_helpers import by_id

import climb_hf
from climb_hf import vocabulary
from climb_hf.builder import ClimbConfig
from climb_hf.errors import AccessError, CorruptFileError, LayoutError, OptionError, SchemaError, SplitError
from climb_hf.indexing import build_index
from climb_hf.readers.nodules import Mark, equivalent_diameter, merge_marks


def load(name, folder, cache, **options):
    return climb_hf.load_dataset(name, folder, cache_dir=cache, **options)


def index_of(name, folder, **options):
    source, config = climb_hf.get_source(name), ClimbConfig(name=name)
    for option, value in options.items():
        setattr(config, option, value)
    return build_index(source, source.find_root(folder), config.options())


def records(index):
    return {record.id: (split, record) for split, part in index.splits.items() for record in part}


def edit_table(path, change, delimiter=","):
    """Rewrite a table: `change` gets its rows as lists, the header first."""
    with path.open(newline="", encoding="utf-8-sig") as stream:
        rows = list(csv.reader(stream, delimiter=delimiter))
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, delimiter=delimiter).writerows(change(rows))


def grey(picture):
    pixels = np.asarray(picture)
    return pixels[..., 0] if pixels.ndim == 3 else pixels


def label_name(row):
    return [vocabulary.concepts()[i] for i in row["labels"]]


# lndb

LARGE, SMALL, NONE = "nodule >= 3mm", "nodule < 3mm", "non-nodule"


def test_lndb_frames_show_the_nodule_where_it_was_drawn_and_the_mask_covers_it(miniatures, tmp_path):
    folder, expected = miniatures("lndb")
    rows = by_id(load("lndb", folder, tmp_path, window="raw"))
    seen = Counter()
    for truth in expected:
        _, row = rows[truth.id]
        metadata, start = row["metadata"], truth.values["start_slice"]
        assert metadata["slice_numbers"] == list(range(start + 23, start - 1, -1)), "superior to inferior"
        assert row["spacing"] == pytest.approx(truth.values["voxel_mm"])
        assert grey(row["frames"][0]).shape == truth.values["shape"]
        assert metadata["mask_readers"] == truth.values["mask_readers"]
        assert grey(row["frames"][5])[-4, truth.values["shape"][1] // 2] < 300, "air behind the back, not the chest"
        if "large_at" in truth.values:
            number, *place = truth.values["large_at"]
            at = metadata["slice_numbers"].index(number)
            assert grey(row["frames"][at])[tuple(place)] == 60 + 1024
            (finding,) = (f for f in metadata["findings"] if f["is_nodule"] and f["diameter_mm"] > 3.001)
            assert grey(row["masks"][at])[tuple(place)] == finding["mask_value"]
            assert (finding["first_slice"] <= number <= finding["last_slice"], finding["slices_from"]) == (
                True,
                "mask",
            )
            shown = [n for n, m in zip(metadata["slice_numbers"], row["masks"], strict=True)
                     if (grey(m) == finding["mask_value"]).any()]  # fmt: skip
            assert set(shown) == set(range(finding["first_slice"], finding["last_slice"] + 1)) & set(
                range(start, start + 24)
            )
            seen[truth.values["is_turned"], len(finding["readers"])] += 1
    assert {turned for turned, _ in seen} == {True, False}
    assert max(readers for _, readers in seen) == 3


def test_lndb_the_slice_behind_the_window_counts_in_the_papers_split_only(miniatures, tmp_path):
    folder, expected = miniatures("lndb", n=64)
    differ = {t.id for t in expected if t.classes != (t.values["paper_class"],)}
    assert differ
    default, paper = records(index_of("lndb", folder)), records(index_of("lndb", folder, split_by="paper"))
    assert {t.id: t.classes for t in expected} == {i: r.raw_labels for i, (_, r) in default.items()}
    assert {i: r.raw_labels for i, (_, r) in paper.items()} == {
        t.id: (t.values["paper_class"],) for t in expected if t.values["kind"] != "none"
    }
    assert {r.metadata["has_small"] for _, r in default.values() if r.raw_labels == (LARGE,)} == {True, False}


def test_lndb_papers_split_takes_three_quarters_of_the_marked_cts_by_number(miniatures, tmp_path):
    folder, expected = miniatures("lndb", n=64)
    marked = sorted({t.group for t in expected if t.values["kind"] != "none"})
    (folder_copy, _) = miniatures.copy("lndb", tmp_path / "raw", n=64)
    train = set(marked[: int(0.75 * len(marked))])
    gone = marked[0]
    for file in (folder_copy / "data0").glob(f"{gone}.*"):
        file.unlink()
    for root, missing in ((folder, set()), (folder_copy, {gone})):
        index = index_of("lndb", root, split_by="paper")
        groups = {split: {r.group for r in part} for split, part in index.splits.items()}
        assert groups == {"train": train - missing, "test": set(marked) - train}, "the border is the table's"
        assert index.left_out["CT without any finding, which the paper does not use"] > 0
    assert index.left_out["CT of the tables that is not there (partial download)"] == 1


def test_lndb_findings_carry_what_the_tables_say(miniatures, tmp_path):
    folder, expected = miniatures("lndb", n=64)
    found = records(index_of("lndb", folder))
    kinds = defaultdict(list)
    for truth in expected:
        kinds[truth.values["kind"]].append(found[truth.id][1].metadata)
    disputed = kinds["disputed"][0]["findings"]
    assert sorted((f["is_nodule"], [m["reader"] for m in f["readers"]]) for f in disputed) == [
        (False, [2]),
        (True, [1]),
    ]
    small = kinds["small"][0]["findings"]
    assert [(f["slices_from"], f["last_slice"] - f["first_slice"]) for f in small] == [("centre", 4)]
    assert small[0]["diameter_mm"] == 3.0
    assert all(1 <= reader["malignancy"] <= 5 for f in small for reader in f["readers"])
    assert kinds["none"][0]["findings"] == []
    about = kinds["large"][0]
    assert (about["fleischner"], about["manufacturer"], about["tube_voltage_kv"]) == (3, "SIEMENS", 120.0)
    assert about["pixel_spacing_mm"] == [2.0, 2.0]
    assert about["fold"] in ("Fold0", "Fold1", "Fold2", "Fold3")
    assert about["convolution_kernel"] in ("B50f", "B60f")
    assert index_of("lndb", folder).left_out == {"CT of the test set, whose labels are not published": 1}


def test_lndb_layouts_and_index_without_voxels(miniatures, tmp_path):
    folder, expected = miniatures.copy("lndb", tmp_path / "flat", layout="flat")
    for file in folder.glob("LNDb-????.raw"):
        file.write_bytes(b"")
    assert {i: r.raw_labels for i, (_, r) in records(index_of("lndb", folder)).items()} == {
        t.id: t.classes for t in expected
    }


def test_lndb_without_masks_takes_spheres(miniatures, tmp_path):
    folder, expected = miniatures.copy("lndb", tmp_path / "raw")
    shutil.rmtree(folder / "masks")
    found = by_id(load("lndb", folder, tmp_path / "cache", num_frames=2))
    assert all(row["masks"] is None for _, row in found.values())
    origins = {f["slices_from"] for _, row in found.values() for f in row["metadata"]["findings"]}
    assert origins == {"centre", "sphere"}
    assert all(len(row["frames"]) == 2 for _, row in found.values())
    same = [t for t in expected if t.values["kind"] == "large"]
    assert {found[t.id][1]["raw_labels"][0] for t in same} == {LARGE}


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder, name: (folder / "masks" / f"{name}_rad1.raw").unlink(), "_rad1.raw"),
        (lambda folder, name: next(folder.glob(f"data?/{name}.mhd")).write_text("NDims = 3\n"), "is missing"),
        (lambda folder, name: next(folder.glob(f"data?/{name}.raw")).unlink(), ".raw"),
        (lambda folder, name: next(folder.glob(f"data?/{name}.raw")).write_bytes(bytes(999)), "999"),
    ],
)
def test_lndb_damaged_cts_are_skipped_with_the_reason(miniatures, tmp_path, damage, reason):
    folder, expected = miniatures.copy("lndb", tmp_path / "raw")
    damage(folder, expected[5].group)
    found = by_id(load("lndb", folder, tmp_path / "cache", num_frames=1))
    assert set(found) == {t.id for t in expected} - {expected[5].id}
    (log,) = (tmp_path / "cache").rglob("skipped.jsonl")
    assert reason in json.loads(log.read_text())["reason"]


def test_lndb_a_path_out_of_the_folder_is_not_read(miniatures, tmp_path):
    folder, expected = miniatures.copy("lndb", tmp_path / "raw")
    header = next(folder.glob(f"data?/{expected[5].group}.mhd"))
    header.write_text(header.read_text().replace(f"{expected[5].group}.raw", "../../secret.raw"))
    index = index_of("lndb", folder)
    (failure,) = index.failures
    assert "outside its own folder" in failure.reason


def test_lndb_short_cts_and_missing_tables(miniatures, tmp_path):
    folder, expected = miniatures.copy("lndb", tmp_path / "raw")
    header = next(folder.glob(f"data?/{expected[3].group}.mhd"))  # a CT without findings
    header.write_text(
        "".join("DimSize = 48 44 35\n" if "DimSize" in x else f"{x}\n" for x in header.read_text().splitlines())
    )
    index = index_of("lndb", folder)
    assert index.left_out["CT of less than 36 slices, which holds no window"] == 1
    assert expected[3].id not in records(index)
    (folder / "trainset_csv" / "trainNodules.csv").unlink()
    with pytest.raises(LayoutError, match=r"trainNodules\.csv"):
        index_of("lndb", folder)


def test_merged_findings_follow_the_publishers_rule():
    assert equivalent_diameter(14.13716694) <= 3 < equivalent_diameter(14.2)
    ball = 4 / 3 * np.pi * 5**3  # 10 mm
    marks = [
        Mark(1, 1, (0, 0, 0), True, ball, 5),
        Mark(1, 2, (1, 0, 0), True, 14.13716694, 5),  # the same reader: never one finding
        Mark(2, 1, (0, 0, 4.9), True, 14.13716694, 4),  # within the radius of the first
        Mark(3, 1, (0, 0, 4.9), False, 14.13716694, 0),  # another kind
        Mark(3, 2, (9, 0, 0), True, 14.13716694, 5),  # too far from all
    ]
    merged = merge_marks(marks)
    assert [[(m.reader, m.number) for m in f.marks] for f in merged] == [
        [(1, 1), (2, 1)],
        [(1, 2)],
        [(3, 1)],
        [(3, 2)],
    ]
    assert [(f.is_large, f.is_small) for f in merged] == [(True, False), (False, True), (False, False), (False, True)]
    assert merged[0].point == (0, 0, 2.45)
    assert merged[0].diameter_mm == pytest.approx(equivalent_diameter((ball + 14.13716694) / 2))
    assert merged[0].texture == 4.5


# inspect


def test_inspect_shows_the_embolus_whatever_the_file_looks_like(miniatures, tmp_path):
    folder, expected = miniatures("inspect")
    rows = by_id(load("inspect", folder, tmp_path, num_frames="all"))
    for truth in expected:
        _, row = rows[truth.id]
        number, *place, units = truth.values["embolus_at"]
        assert len(row["frames"]) == truth.values["shape"][0]
        shown = grey(row["frames"][number])
        assert shown.shape == truth.values["shape"][1:]
        assert shown[tuple(place)] == round((np.clip(units, -250, 450) + 250) / 700 * 255)
        assert row["spacing"] == pytest.approx(truth.values["voxel_mm"])
        assert grey(row["frames"][-1])[16, 11] > grey(row["frames"][0])[16, 11] + 50, "the organ on the right is low"
    assert len({t.values["codes"] for t in expected}) == 4


def test_inspect_labels_reports_outcomes_and_acquisition(miniatures, tmp_path):
    folder, expected = miniatures("inspect")
    found = records(index_of("inspect", folder))
    for truth in expected:
        _, record = found[truth.id]
        assert record.inputs["report"] == truth.values["report"]
        assert record.targets["12_month_mortality"] is truth.values["month"]
        assert record.targets["tte_mortality_days"] == pytest.approx(truth.values["days"])
        assert isinstance(record.targets["is_censored_PH"], bool)
        assert record.metadata["impression_id"] == truth.values["number"]
        assert record.metadata["ehr_person_id"] == record.metadata["person_id"] == truth.group
        assert (record.metadata["num_slices"], record.metadata["SliceThickness"]) == (120, 1.25)
        assert record.metadata["ConvolutionKernel"] == "I26f"
        assert (record.age, record.sex) == (None, None)
    months = [r.targets["12_month_mortality"] for _, r in found.values()]
    assert {True, False, None} == set(months)
    assert any("\n" in r.inputs["report"] and '"' in r.inputs["report"] for _, r in found.values())
    assert index_of("inspect", folder).left_out == {
        "study whose volume is not there (eight in all, else a partial download)": 1,
        "study without the columns that make its label": 1,
    }


def test_inspect_persons_give_sex_and_age_at_the_study(miniatures, tmp_path):
    folder, expected = miniatures("inspect", with_persons=True)
    found = records(index_of("inspect", folder))
    with_age = 0
    for truth in expected:
        _, record = found[truth.id]
        assert record.sex == truth.values["sex"]
        assert (record.metadata["race"], record.metadata["ethnicity"]) == ("white", "not hispanic")
        if truth.values["date"]:
            time = datetime.fromisoformat(truth.values["date"]) - datetime(truth.values["birth_year"], 1, 15)
            assert record.age == pytest.approx(time.total_seconds() / 86400 / 365.25)
            with_age += 1
        else:
            assert record.age is None
    assert 0 < with_age < len(expected)


def test_inspect_older_release_and_the_papers_split(miniatures, tmp_path):
    old, old_expected = miniatures("inspect", layout="old")
    assert {i: r.group for i, (_, r) in records(index_of("inspect", old)).items()} == {
        t.id: t.id for t in old_expected
    }
    paper = records(index_of("inspect", old, split_by="paper"))
    assert [paper[t.id][0] for t in old_expected] == ["train"] * 24 + ["test"] * 8
    new, expected = miniatures("inspect")
    with pytest.raises(SplitError, match=r"Final_Impressions_labels\.csv.*split_file="):
        load("inspect", new, tmp_path, split_by="paper")
    listed = old / "Final_Impressions_labels.csv"
    joined = records(index_of("inspect", new, split_by="paper", split_file=str(listed)))
    assert [joined[t.id][0] for t in expected] == ["train"] * 24 + ["test"] * 8


def test_inspect_sample_beside_full_partial_copies_and_other_tables(miniatures, tmp_path):
    folder, expected = miniatures.copy("inspect", tmp_path / "raw")
    shutil.copytree(folder / "full", folder / "sample", ignore=lambda *_: ["CTPA"])
    assert set(records(index_of("inspect", folder))) == {t.id for t in expected}
    full = folder / "full"
    for truth in expected[:20]:
        (folder / truth.values["file"]).unlink()
    (full / "CTPA" / "PEffff.nii.gz").write_bytes(b"")
    index = index_of("inspect", folder)
    assert set(records(index)) == {t.id for t in expected[20:]}
    assert index.left_out["volume without a row in the tables"] == 1
    (full / "splits_20250611.tsv").unlink()
    assert set(records(index_of("inspect", folder))) == {t.id for t in expected[20:]}
    (full / "study_mapping_20250611.tsv").unlink()
    with pytest.raises(LayoutError, match="study_mapping"):
        index_of("inspect", folder)


def test_inspect_names_bad_cells_and_unmapped_studies(miniatures, tmp_path):
    folder, expected = miniatures.copy("inspect", tmp_path / "raw")
    full = folder / "full"

    def labels(rows):
        rows[1][2], rows[2][7] = "maybe", "perhaps"
        rows[3][3] = ""  # the first class that needs it
        return [*rows, rows[4]]

    edit_table(full / "labels_20250611.tsv", labels, "\t")
    edit_table(
        full / "splits_20250611.tsv", lambda rows: [[*r[:2], "dev"] if r[0] == "1035" else r for r in rows], "\t"
    )
    edit_table(full / "study_mapping_20250611.tsv", lambda rows: [r for r in rows if r[0] != "1042"], "\t")
    index = index_of("inspect", folder)
    assert {f.id for f in index.failures} == {expected[0].id, expected[1].id, expected[5].id}
    assert any("dev" in failure.reason for failure in index.failures)
    assert index.left_out["row that repeats an earlier study"] == 1
    assert index.left_out["study that the mapping to volumes does not list"] == 1
    assert index.left_out["study without the columns that make its label"] == 2


def test_inspect_a_broken_affine_is_skipped_and_named(miniatures, tmp_path):
    folder, expected = miniatures.copy("inspect", tmp_path / "raw")
    path = folder / expected[5].values["file"]
    image = nibabel.load(path)
    header, content = image.header.copy(), gzip.decompress(path.read_bytes())
    header["sform_code"], header["srow_x"], header["vox_offset"] = 1, [0, 0, 0, np.nan], 352
    path.write_bytes(gzip.compress(header.binaryblock + content[348:]))
    load("inspect", folder, tmp_path / "cache", num_frames=1)
    (log,) = (tmp_path / "cache").rglob("skipped.jsonl")
    entry = json.loads(log.read_text())
    assert entry["id"] == expected[5].id
    assert "affine is broken" in entry["reason"]


# kits23


def test_kits23_masks_lie_over_the_frames(miniatures, tmp_path):
    folder, expected = miniatures("kits23")
    rows = by_id(load("kits23", folder, tmp_path, num_frames="all", window="raw"))
    codes = set()
    for truth in expected:
        _, row = rows[truth.id]
        number, *place, units = truth.values["tumor_at"]
        masks = np.stack([grey(mask) for mask in row["masks"]])
        assert masks.shape == truth.values["shape"]
        assert masks[number][tuple(place)] == 2
        assert int((masks == 2).sum()) == truth.values["tumor_voxels"]
        assert grey(row["frames"][number])[tuple(place)] == units + 1024
        assert row["spacing"] == [3.0, 4.0, 4.0]
        codes |= set(np.unique(masks))
    assert codes == {0, 1, 2, 3}
    assert len({t.values["shape"][2] for t in expected}) == 2


def test_kits23_resized_few_frames_stay_aligned(miniatures, tmp_path):
    folder, expected = miniatures("kits23")
    rows = by_id(load("kits23", folder, tmp_path, num_frames=5, image_size=24))
    for truth in expected:
        _, row = rows[truth.id]
        assert {frame.size for frame in [*row["frames"], *row["masks"]]} == {(24, 24)}
        assert row["metadata"]["slice_numbers"][0] == 0
        assert row["metadata"]["slice_numbers"][-1] == truth.values["shape"][0] - 1
        assert row["spacing"][0] == pytest.approx(3 * (truth.values["shape"][0] - 1) / 4)
        assert row["spacing"][2] == pytest.approx(4 * truth.values["shape"][2] / 24)
        assert set(np.unique([grey(mask) for mask in row["masks"]])) <= {0, 1, 2, 3}


def test_kits23_values_of_the_list(miniatures, tmp_path):
    folder, expected = miniatures("kits23")
    index = index_of("kits23", folder)
    found = records(index)
    for truth in expected:
        record = found[truth.id][1]
        assert record.raw_labels == (str(truth.values["malignant"]).lower(),)
        assert (record.age, record.sex, record.metadata["gender"]) == tuple(
            truth.values[k] for k in ("age", "sex", "gender")
        )
        assert record.metadata["contrast_phase"] == "arterial"
        files = record.metadata["instance_files"]
        assert len(files) % (3 if truth.id < "case_00300" else 1) == 0
        assert files
        assert not any("suppl" in file for file in files)
        assert not {key for key in record.metadata if key.startswith(("pathol", "tumor", "aua", "malig"))}
        assert record.metadata["label_side"]["tumor_histologic_subtype"]
    assert {r.sex for _, r in found.values()} == {"male", "female", None}
    assert index.left_out == {
        "case without `malignant` in `kits23.json`": 2,
        "case without its image": 1,
        "case whose image download broke off": 1,
    }
    paper = records(index_of("kits23", folder, split_by="paper"))
    assert {i: split for i, (split, _) in paper.items()} == {t.id: t.values["paper_split"] for t in expected}


def test_kits23_papers_split_has_the_published_sizes(tmp_path):
    null = {461, 512, 514, 515, 541, 544, 550}  # since August 2025
    cases = []
    for number in (*range(300), *range(400, 589)):
        name = f"case_{number:05d}"
        (tmp_path / name).mkdir()
        (tmp_path / name / "imaging.nii.gz").write_bytes(b"")
        cases.append({"case_id": name, "malignant": None if number in null else True, "age_at_nephrectomy": 60})
    (tmp_path / "kits23.json").write_text(json.dumps(cases))
    paper = index_of("kits23", tmp_path, split_by="paper")
    assert {split: len(part) for split, part in paper.splits.items()} == {"train": 365, "test": 117}
    assert (paper.splits["train"][-1].id, paper.splits["test"][0].id) == ("case_00465", "case_00466")
    default = index_of("kits23", tmp_path)
    assert {split: len(part) for split, part in default.splits.items()} == {"train": 373, "test": 109}
    assert Counter(r.metadata["contrast_phase"] for _, r in records(default).values())["nephrographic"] == 89 - 6


def test_kits23_without_images_or_segmentations_and_with_other_lists(miniatures, tmp_path):
    folder, _ = miniatures.copy("kits23", tmp_path / "raw")
    for file in folder.rglob("segmentation.nii.gz"):
        file.unlink()
    rows = by_id(load("kits23", folder, tmp_path / "cache", num_frames=2))
    assert all(row["masks"] is None for _, row in rows.values())
    table = folder / "dataset" / "kits23.json"
    cases = json.loads(table.read_text())
    cases[0]["malignant"], cases[1]["age_at_nephrectomy"], cases[2]["case_id"] = "yes", "old", "../../etc"
    del cases[-5]
    table.write_text(json.dumps(cases))
    index = index_of("kits23", folder)
    assert [failure.id for failure in index.failures] == ["case_00000", "case_00001", "entry 2"]
    assert index.left_out["image of a case that `kits23.json` does not list"] == 2
    for content, error in (("{}", SchemaError), ("[{", CorruptFileError)):
        table.write_text(content)
        with pytest.raises(error, match=r"kits23\.json"):
            index_of("kits23", folder)
    table.write_text(json.dumps(cases[5:]))
    for file in folder.rglob("imaging.nii.gz"):
        file.unlink()
    with pytest.raises(LayoutError, match="kits23_download_data"):
        index_of("kits23", folder)


@pytest.mark.parametrize("name", ["lndb", "inspect", "kits23"])
def test_bad_options_of_volumes(miniatures, tmp_path, name):
    folder, _ = miniatures(name)
    for option in ({"window": "nonsense"}, {"num_frames": 0}, {"num_frames": 1.5}, {"bit_depth": 12}):
        with pytest.raises(OptionError, match=next(iter(option))):
            load(name, folder, tmp_path, **option)
    with pytest.raises(AccessError, match=name):
        load(name, tmp_path / "nowhere", tmp_path)
