"""Oddities of the sources of picture and text: Quilt-1M, DeepEyeNet, and MIMIC-CXR as pairs of film and report."""

import csv
import gzip
import json
import shutil

import pytest
from source_helpers import by_id, left_out

import climb_hf
from climb_hf import schema, vocabulary
from climb_hf.builder import ClimbConfig
from climb_hf.errors import CorruptFileError, LayoutError, OptionError, SchemaError, SplitError
from climb_hf.indexing import build_index
from climb_hf.readers.mimic_pairs import pair_text

LOOKUP = "quilt_1M_lookup.csv"
EMPTY, AGAIN = "row with an empty caption", "train row of an image that `val` has too"
UNNAMED = "picture that no row names"


def load(name, folder, cache, **options):
    return climb_hf.load_dataset(name, folder, cache_dir=cache, **options)


def index_of(name, folder, **options):
    """Return the index of a source and what was left out, without building."""
    source, config = climb_hf.get_source(name), ClimbConfig(name=name)
    for option, value in options.items():
        setattr(config, option, value)
    return build_index(source, source.find_root(folder), config.options())


def records_of(index):
    return {record.id: record for records in index.splits.values() for record in records}


def edit_table(path, change):
    """Rewrite a table, each row as a dictionary through `change`, which may return `None` to drop it."""
    usual = csv.field_size_limit(1 << 24)  # of the whole process
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = [changed for row in reader if (changed := change(row)) is not None]
        names = [name for name in reader.fieldnames if not rows or name in rows[0]]
        names += [name for name in rows[0] if name not in names]
    csv.field_size_limit(usual)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def test_they_are_told_apart_from_the_sources_of_the_climb_paper():
    named = {name for name in climb_hf.list_sources() if climb_hf.get_source(name).benchmark == "openpmc"}
    assert named >= {"quilt1m", "deepeyenet"}
    assert not named & {"mimic_cxr", "vital", "pad_ufes_20", "lc25000"}


# Quilt-1M


def test_quilt_captions_pictures_and_facts(miniatures, tmp_path):
    folder, expected = miniatures("quilt1m", 64)
    built = load("quilt1m", folder, tmp_path)
    rows = by_id(built)
    assert list(rows) == [truth.id for truth in sorted(expected, key=lambda truth: truth.split == "validation")]
    for truth in expected:
        split, row = rows[truth.id]
        assert (split, row["text"], row["group"]) == (truth.split, truth.values["text"], truth.group)
        assert (row["image"].size, row["image"].mode, row["messages"]) == (truth.values["size"], "RGB", None)
        facts = row["metadata"]
        for key in ("subset", "pathology", "magnification", "height", "width", "not_histology", "single_wsi"):
            assert facts[key] == truth.values[key], (truth.id, key)
    assert left_out(tmp_path) == {EMPTY: 1, AGAIN: 1, UNNAMED: 1}
    texts = [row["text"] for _, row in rows.values()]
    assert any("\n" in text for text in texts)
    assert any('"' in text for text in texts)
    groups = [row["group"] for _, row in rows.values()]
    assert len(set(groups)) < len(groups), "an image has several captions"


def test_quilt_broken_and_absent_lists_are_empty(miniatures):
    folder, expected = miniatures("quilt1m")
    records = records_of(index_of("quilt1m", folder))
    assert "'Soft\"" in (folder / LOOKUP).read_text(encoding="utf-8").replace("['Dermatopathology', ", "")
    assert records[expected[4].id].metadata["pathology"] == []
    assert records[expected[0].id].metadata["pathology"] == ["Dermatopathology"]
    assert max(map(len, (folder / LOOKUP).read_text(encoding="utf-8").split('"'))) > 131_072


@pytest.mark.parametrize(
    ("subsets", "kept"),
    [
        ("all", {"quilt", "openpath", "pubmed", "laion"}),
        ("no_pubmed_no_laion", {"quilt", "openpath"}),
        ("pubmed", {"pubmed"}),
        ("quilt+laion", {"quilt", "laion"}),
        (["openpath", "laion"], {"openpath", "laion"}),
    ],
)
def test_quilt_subsets(miniatures, subsets, kept):
    folder, expected = miniatures("quilt1m", 64)
    index = index_of("quilt1m", folder, subsets=subsets)
    assert set(records_of(index)) == {truth.id for truth in expected if truth.values["subset"] in kept}
    assert {record.metadata["subset"] for record in records_of(index).values()} == kept
    n_rows = 64 + 2
    counted = sum(count for rule, count in index.left_out.items() if rule != UNNAMED)
    assert index.n_records + counted == n_rows
    assert index.left_out[UNNAMED] == 1, "a picture of a subset that was not asked for has its row"


@pytest.mark.parametrize("subsets", ["", "twitter", "quilt+twitter", [], "no_pubmed"])
def test_quilt_unknown_subsets_are_refused(miniatures, tmp_path, subsets):
    folder, _ = miniatures("quilt1m")
    with pytest.raises(OptionError, match=r"`subsets` must be one of \['all', 'no_pubmed_no_laion'\]"):
        load("quilt1m", folder, tmp_path, subsets=subsets)


def test_quilt_slides_and_drawings_may_be_left_out(miniatures):
    folder, expected = miniatures("quilt1m", 64)
    n_drawings = sum(bool(truth.values["not_histology"]) for truth in expected)
    index = index_of("quilt1m", folder, drop_not_histology=True)
    assert index.left_out["row marked as no histology (`drop_not_histology=True`)"] == n_drawings > 0
    assert not any(record.metadata["not_histology"] for record in records_of(index).values())
    older, truths = miniatures("quilt1m", is_later=False)
    index = index_of("quilt1m", older, drop_not_histology=True)
    assert len(records_of(index)) == len(truths)
    assert {record.metadata["single_wsi"] for record in records_of(index).values()} == {None}


@pytest.mark.parametrize(
    ("layout", "place"), [("entries", "quilt_1m"), ("split", "images"), ("lookup", "root"), ("split", "root")]
)
def test_quilt_layouts_hold_the_same_pairs(miniatures, tmp_path, layout, place):
    folder, expected = miniatures("quilt1m", layout=layout, folder=place)
    rows = by_id(load("quilt1m", folder, tmp_path))
    assert {id_: row["text"] for id_, (_, row) in rows.items()} == {t.id: t.values["text"] for t in expected}
    plain, _ = miniatures("quilt1m")
    texts = {record.inputs["text"] for record in records_of(index_of("quilt1m", plain)).values()}
    assert {row["text"] for _, row in rows.values()} == texts
    assert left_out(tmp_path) == {EMPTY: 1, AGAIN: 1, **({} if place == "root" else {UNNAMED: 1})}


def test_quilt_ids_of_tables_that_pandas_wrote_again(miniatures, tmp_path):
    """A copy has a second index column: the older one, `Unnamed: 0`, is the publisher's."""
    folder, expected = miniatures.copy("quilt1m", tmp_path / "raw")
    numbers = iter(range(1000))
    edit_table(folder / LOOKUP, lambda row: {"": next(numbers), "Unnamed: 0": row.pop(""), **row})
    assert set(records_of(index_of("quilt1m", folder))) == {truth.id for truth in expected}
    edit_table(
        folder / LOOKUP, lambda row: {key: value for key, value in row.items() if key not in ("", "Unnamed: 0")}
    )
    records = records_of(index_of("quilt1m", folder))
    assert len(records) == len(expected)
    assert set(records) <= {str(place) for place in range(len(expected) + 2)}


def test_quilt_rows_whose_index_repeats_go_by_their_place(miniatures, tmp_path):
    """Joined tables may bring their own counts: no row is lost for a number that another has too."""
    folder, expected = miniatures("quilt1m")
    plain = records_of(index_of("quilt1m", folder))
    copy, _ = miniatures.copy("quilt1m", tmp_path / "raw")
    numbers = (number % 20 for number in range(1000))
    edit_table(copy / LOOKUP, lambda row: row | {"": next(numbers)})
    index = index_of("quilt1m", copy)
    assert not index.failures
    records = records_of(index)
    assert [record.inputs["text"] for record in records.values()] == [r.inputs["text"] for r in plain.values()]
    assert len(records) == len(expected)
    assert {int(id_) for id_ in records} < set(range(len(expected) + 2))


def test_quilt_tables_derived_from_the_lookup_table_are_not_read_beside_it(miniatures, tmp_path):
    folder, expected = miniatures.copy("quilt1m", tmp_path / "raw")
    header = (folder / LOOKUP).read_text(encoding="utf-8").partition("\n")[0] + "\n"
    for name in ("quilt_1m_train.csv", "quilt_1m_val.csv", "quilt_1M_entries.csv"):
        (folder / name).write_text(header, encoding="utf-8")
    assert set(records_of(index_of("quilt1m", folder))) == {truth.id for truth in expected}


def test_quilt_rows_of_unknown_kind_are_named_and_absent_pictures_left_out(miniatures, tmp_path):
    folder, expected = miniatures.copy("quilt1m", tmp_path / "raw", 64)
    bad, gone = expected[10], expected[20]
    edit_table(folder / LOOKUP, lambda row: row | ({"split": "dev"} if row[""] == bad.id else {}))
    (folder / gone.values["file"]).unlink()
    rows = by_id(load("quilt1m", folder, tmp_path / "cache"))
    assert set(rows) == {truth.id for truth in expected} - {bad.id, gone.id}
    (log,) = (tmp_path / "cache").rglob("skipped.jsonl")
    entries = {entry["id"]: entry for entry in map(json.loads, log.read_text().splitlines())}
    assert set(entries) == {bad.id}
    assert "found 'dev'" in entries[bad.id]["reason"]


def test_a_part_of_quilt_loads(miniatures, tmp_path):
    folder, expected = miniatures.copy("quilt1m", tmp_path / "raw", 64)
    kept = {truth.values["file"] for truth in expected[::7]}
    for path in (folder / "quilt_1m").iterdir():
        if f"quilt_1m/{path.name}" not in kept:
            path.unlink()
    rows = by_id(load("quilt1m", folder, tmp_path / "cache"))
    assert set(rows) == {truth.id for truth in expected if truth.values["file"] in kept}
    assert left_out(tmp_path)["row whose picture is not there: some of the release, or a partial download"] > 40


def test_quilt_without_pictures_or_columns_is_refused(miniatures, tmp_path):
    folder, _ = miniatures.copy("quilt1m", tmp_path / "raw")
    shutil.rmtree(folder / "quilt_1m")
    with pytest.raises(LayoutError, match=r"no folder .*images_part_\*\.zip"):
        load("quilt1m", folder, tmp_path / "cache")
    edit_table(folder / LOOKUP, lambda row: {key: value for key, value in row.items() if key != "caption"})
    with pytest.raises(SchemaError, match="column `caption` is missing"):
        load("quilt1m", folder, tmp_path / "cache")


# DeepEyeNet


def test_deepeyenet_texts_pictures_and_lists(miniatures, tmp_path):
    folder, expected = miniatures("deepeyenet", 48)
    rows = by_id(load("deepeyenet", folder, tmp_path))
    assert list(rows) == [truth.id for truth in expected]
    for truth in expected:
        split, row = rows[truth.id]
        assert (split, row["text"]) == (truth.split, truth.values["text"])
        facts = row["metadata"]
        assert facts["keywords"] == truth.values["keywords"]
        assert (facts["clinical_description"], facts["series"]) == (truth.values["text"], truth.values["series"])
        assert (row["image"].size, row["image"].mode) == (truth.values["size"], "RGB")
    assert left_out(tmp_path) == {
        "picture with an empty text (`text='clinical-description'`)": 1,
        "picture that no list names": 3,
    }
    texts = [row["text"] for _, row in rows.values()]
    assert len(set(texts)) < len(texts), "pictures of one eye share a description"
    assert len({row["group"] for _, row in rows.values()}) == len(rows), "the group is the picture"


def test_deepeyenet_other_texts(miniatures, tmp_path):
    folder, expected = miniatures("deepeyenet", 48)
    words = {truth.id: truth.values["keyword_text"] for truth in expected}
    found = records_of(index_of("deepeyenet", folder, text="keywords"))
    lost = {"eyenet0420/train_set/group999-1.jpg": "drusen"}  # its description is empty, its keywords are not
    assert {id_: record.inputs["text"] for id_, record in found.items()} == {
        k: v for k, v in words.items() if v
    } | lost
    assert index_of("deepeyenet", folder, text="keywords").left_out[
        "picture with an empty text (`text='keywords'`)"
    ] == sum(not text for text in words.values())
    both = records_of(index_of("deepeyenet", folder, text="both"))
    for truth in expected:
        assert both[truth.id].inputs["text"] == f"{words[truth.id]}\n{truth.values['text']}".strip()
    with pytest.raises(OptionError, match=r"`text` must be one of \['clinical-description', 'keywords', 'both'\]"):
        load("deepeyenet", folder, tmp_path, text="caption")


@pytest.mark.parametrize(
    "options", [{"layout": "inside"}, {"layout": "flat"}, {"validation": "val"}, {"form": "dict"}], ids=str
)
def test_deepeyenet_layouts_hold_the_same_pictures(miniatures, tmp_path, options):
    folder, expected = miniatures("deepeyenet", **options)
    rows = by_id(load("deepeyenet", folder, tmp_path))
    assert {id_: (split, row["text"]) for id_, (split, row) in rows.items()} == {
        truth.id: (truth.split, truth.values["text"]) for truth in expected
    }
    assert all(row["image"].size == (72, 72) for _, row in rows.values())
    if options == {"layout": "inside"}:  # the inner folder may be passed as well
        inner = by_id(load("deepeyenet", folder / "eyenet0420", tmp_path / "inner"))
        assert {id_: split for id_, (split, _) in inner.items()} == {id_: split for id_, (split, _) in rows.items()}


def test_deepeyenet_damaged_and_odd_lists(miniatures, tmp_path):
    folder, expected = miniatures.copy("deepeyenet", tmp_path / "raw", 48)
    file = folder / "DeepEyeNet_train.json"
    content = json.loads(file.read_text())
    odd = expected[7].id
    for entry in content:
        if odd in entry:
            del entry[odd]["clinical-description"]
    file.write_text("\ufeff" + json.dumps(content), encoding="utf-8")
    index = index_of("deepeyenet", folder)
    assert set(records_of(index)) == {truth.id for truth in expected} - {odd}
    assert [(failure.id, failure.error) for failure in index.failures] == [(odd, "SchemaError")]
    file.write_text(file.read_text(encoding="utf-8-sig")[:-50], encoding="utf-8")
    with pytest.raises(CorruptFileError, match=r"`DeepEyeNet_train.json`: damaged or cut off"):
        index_of("deepeyenet", folder)
    file.write_text("[1, 2]")
    with pytest.raises(CorruptFileError, match="expected a list of dictionaries"):
        index_of("deepeyenet", folder)
    file.write_text(json.dumps([{"../secret.jpg": {"keywords": "", "clinical-description": "x"}}]))
    assert "outside the raw folder" in index_of("deepeyenet", folder).failures[0].reason
    file.unlink()
    with pytest.raises(LayoutError, match=r"`DeepEyeNet_train\.json` not found"):
        index_of("deepeyenet", folder)


# MIMIC-CXR as pairs


def best_films(expected):
    """Study -> its film by the documented rule."""
    films = {}
    for truth in expected:
        order = {"PA": 0, "AP": 1}.get(truth.values["view"], 2)
        films.setdefault(truth.values["study_id"], []).append((order, truth.id, truth))
    return {study: min(found)[2] for study, found in films.items()}


def test_mimic_pairs_have_one_film_and_one_text_per_study(miniatures, tmp_path):
    folder, expected = miniatures("mimic_cxr", 64)
    built = load("mimic_cxr", folder, tmp_path, task="pairs")
    assert built["test"].features == schema.features("text-image", vocabulary.concepts())
    rows, films = by_id(built), best_films(expected)
    source = climb_hf.get_source("mimic_cxr")
    unlabelled = set(rows) - set(films)
    assert len(unlabelled) == 1, "a study without labels has no film of the other task, but a pair"
    assert set(films) == set(rows) - unlabelled
    names = vocabulary.concepts()
    for study, truth in films.items():
        split, row = rows[study]
        assert (split, row["group"]) == (truth.split, truth.group)
        assert (row["metadata"]["dicom_id"], row["metadata"]["view"]) == (truth.id, truth.values["view"])
        sections = truth.values["sections"] or {}
        parts = [sections[name] for name in ("findings", "impression") if name in sections]
        if not parts and sections:
            parts = [sections["last_paragraph"].replace("\n \n ", " ")]
        assert row["text"] == ("\n".join(parts) or None)
        assert row["image"].size == truth.values["size"]
        assert {source.classes[source.concepts.index(names[i])] for i in row["labels"]} == set(truth.classes)
    (study,) = unlabelled
    assert (rows[study][1]["labels"], rows[study][1]["metadata"]["chexpert"]) == ([], None)
    kinds = {tuple(truth.values["sections"] or ()) for truth in films.values()}
    assert len(kinds) >= 4
    n_films = len(expected) + 1
    assert left_out(tmp_path) == {"further image of a study (`task='pairs'` takes one)": n_films - len(rows)}
    plain = load("mimic_cxr", folder, tmp_path / "labels")
    assert "view" in plain["test"].column_names
    assert "text" not in plain["test"].column_names


def test_mimic_pairs_prefer_frontal_films(miniatures, tmp_path):
    folder, expected = miniatures.copy("mimic_cxr", tmp_path / "raw", 64)
    studies = {}
    for truth in expected:
        studies.setdefault(truth.values["study_id"], []).append(truth.id)
    study, films = next((study, sorted(films)) for study, films in studies.items() if len(films) == 2)
    for views, best in ((("LATERAL", "AP"), 1), (("AP", "PA"), 1), (("PA", "PA"), 0), (("LL", ""), 0)):
        path = folder / "mimic-cxr-2.0.0-metadata.csv.gz"
        lines = gzip.decompress(path.read_bytes()).decode().splitlines()
        rows = [line.split(",") for line in lines]
        for row in rows:
            if row[0] in films:
                row[4] = views[films.index(row[0])]
        path.write_bytes(gzip.compress("".join(",".join(row) + "\n" for row in rows).encode()))
        record = records_of(index_of("mimic_cxr", folder, task="pairs"))[study]
        assert record.files[0].endswith(f"{films[best]}.jpg")


@pytest.mark.parametrize("reports", ["zip", "folder"])
def test_mimic_pairs_of_packed_reports_and_without_label_tables(miniatures, tmp_path, reports):
    folder, _ = miniatures("mimic_cxr", 32)
    texts = {
        id_: row["text"] for id_, (_, row) in by_id(load("mimic_cxr", folder, tmp_path / "a", task="pairs")).items()
    }
    other, _ = miniatures.copy("mimic_cxr", tmp_path / "raw", 32, reports=reports)
    for name in ("chexpert", "negbio"):
        (other / f"mimic-cxr-2.0.0-{name}.csv.gz").unlink()
    rows = by_id(load("mimic_cxr", other, tmp_path / "b", task="pairs"))
    assert {id_: row["text"] for id_, (_, row) in rows.items()} == texts
    assert not any(row["labels"] for _, row in rows.values())


def test_mimic_pairs_take_other_parts_of_the_report(miniatures, tmp_path):
    folder, expected = miniatures("mimic_cxr", 32)
    rows = by_id(load("mimic_cxr", folder, tmp_path, task="pairs", text="impression"))
    whole = by_id(load("mimic_cxr", folder, tmp_path, task="pairs", text="report"))
    for study, truth in best_films(expected).items():
        sections, report = truth.values["sections"] or {}, truth.values["report"]
        assert rows[study][1]["text"] == sections.get("impression")
        assert whole[study][1]["text"] == (" ".join(report.split()) if report else None)


def test_mimic_pairs_refuse_what_cannot_be(miniatures, tmp_path):
    folder, _ = miniatures("mimic_cxr", 32)
    for options, match in (
        ({"task": "pair"}, r"`task` must be one of \['labels', 'pairs'\]"),
        ({"text": "findings"}, "`text` must be one of"),
    ):
        with pytest.raises(OptionError, match=match):
            load("mimic_cxr", folder, tmp_path, **options)
    with pytest.raises(SplitError, match="3,269 studies"):
        load("mimic_cxr", folder, tmp_path, task="pairs", split_by="paper")
    bare, _ = miniatures("mimic_cxr", 32, reports="none")
    with pytest.raises(LayoutError, match=r"needs the reports, but none .*mimic-cxr-reports\.zip"):
        load("mimic_cxr", bare, tmp_path, task="pairs")


def test_mimic_pairs_skip_a_damaged_film_and_leave_out_absent_patients(miniatures, tmp_path):
    folder, expected = miniatures.copy("mimic_cxr", tmp_path / "raw", 64)
    films = best_films(expected)
    victim, gone = (next(s for s, truth in films.items() if truth.split == split) for split in ("train", "test"))
    file = folder / films[victim].values["file"]
    file.write_bytes(file.read_bytes()[:500])
    shutil.rmtree((folder / films[gone].values["file"]).parents[1])
    built = load("mimic_cxr", folder, tmp_path / "cache", task="pairs")
    assert victim not in by_id(built)
    assert gone not in by_id(built)
    (log,) = (tmp_path / "cache").rglob("skipped.jsonl")
    (entry,) = map(json.loads, log.read_text().splitlines())
    assert (entry["id"], entry["file"]) == (victim, films[victim].values["file"])
    with pytest.raises(CorruptFileError, match=f"record `{victim}`"):
        load("mimic_cxr", folder, tmp_path / "strict", task="pairs", strict=True)


def test_pair_text_of_reports_set_by_hand():
    assert pair_text(None, "50000001") is None
    assert pair_text("\n FINDINGS: \n \n", "50000001") is None
    assert pair_text("No header\n \n at all.", "58235663") is None, "the publisher found no conclusion in it"
    text = "\n TECHNIQUE:  Frontal view shows no change.\n"
    assert pair_text(text, "59279892") == "Frontal view shows no change."
