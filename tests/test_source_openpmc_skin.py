"""`skincancer` (HAM10000) and `pad_ufes_20_6class`: classes, the evaluation's split, layouts, leaks, facts."""

import csv
import hashlib
from collections import Counter, defaultdict

import numpy as np
import pytest
from climb_hf.dataset_scripts import skincancer
from PIL import Image
from source_helpers import by_id, left_out

import climb_hf
from climb_hf.access import ways
from climb_hf.errors import LayoutError, OptionError, SplitError
from climb_hf.indexing import build_index
from climb_hf.source import Options
from climb_hf.vocabulary import source_vocabulary


def load(name, folder, cache, **options):
    return climb_hf.load_dataset(name, folder, cache_dir=cache, **options)


def index_of(name, root, **options):
    return build_index(climb_hf.get_source(name), root, Options(**options))


def digest(ids):
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()


def groups_of(index):
    return {split: {record.group for record in records} for split, records in index.splits.items()}


# ---- skincancer

DX = ("nv", "mel", "bkl", "bcc", "akiec", "vasc", "df")
N = 10_015


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A made-up table with as many rows as the real one: three pictures per lesion, diagnoses unevenly spread."""
    root = tmp_path_factory.mktemp("ham")
    random = np.random.default_rng(0)
    ids = [f"ISIC_{number:07d}" for number in random.permutation(np.arange(24306, 24306 + N))]
    at = ids.index("ISIC_0027419")
    ids[0], ids[at] = ids[at], ids[0]
    lesion = random.integers(0, 3339, N)
    kind = random.choice(len(DX), 3339, p=(0.67, 0.11, 0.11, 0.05, 0.03, 0.015, 0.015))
    rows = [
        [f"HAM_{one:07d}", name, DX[kind[one]], "histo", "40.0", "male", "back"]
        for one, name in zip(lesion, ids, strict=True)
    ]
    write(root / "HAM10000_metadata.csv", rows)
    return root, rows


def write(path, rows):
    header = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"]
    with path.open("w", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([header, *rows])


def test_skincancer_has_the_seven_diagnoses_in_the_evaluations_order():
    source = climb_hf.get_source("skincancer")
    found = source_vocabulary("skincancer")
    assert [found.class_of(code) for code in DX] == list(source.classes)
    assert [found.class_of(code.upper()) for code in DX] == list(source.classes)
    assert source.classes == source.zero_shot_names
    assert (source.prompts_end_with_stop, source.benchmark) == (False, "openpmc")
    ham = source_vocabulary("ham10000")
    assert [found.concept_of(c) for c in ("nv", "mel", "bcc", "akiec")] == [
        ham.concept_of(c) for c in ("nv", "mel", "bcc", "akiec")
    ]
    assert "skin.other" not in source.concepts
    derma = source_vocabulary("dermamnist")
    assert set(derma.concepts) == set(found.concepts)
    assert derma.concept_of("2") == found.concept_of("bkl") == "skin.benign_keratosis_like_lesion"


@pytest.mark.parametrize("layout", ["openpmc", "kaggle", "dataverse", "flat", "isic"])
def test_skincancer_layouts(miniatures, tmp_path, layout):
    folder, expected = miniatures("skincancer", layout=layout)
    rows = by_id(load("skincancer", folder, tmp_path))
    assert set(rows) == {truth.id for truth in expected}
    names = climb_hf.vocabulary.concepts()
    concept_of = dict(
        zip(climb_hf.get_source("skincancer").classes, climb_hf.get_source("skincancer").concepts, strict=True)
    )
    for truth in expected:
        _, row = rows[truth.id]
        assert [names[label] for label in row["labels"]] == [concept_of[truth.classes[0]]]
        assert row["metadata"]["dx"] == truth.values["dx"]
        assert (row["age"], row["sex"], row["group"]) == (truth.values["age"], truth.values["sex"], truth.group)
        assert row["image"].size == (600, 450)
    assert {truth.classes[0] for truth in expected} == set(climb_hf.get_source("skincancer").classes)


def test_the_tables_that_the_evaluation_leaves_behind_are_not_read(miniatures, tmp_path):
    folder, expected = miniatures("skincancer")
    assert (folder / "HAM10000_train.csv").is_file()
    assert (folder / "HAM10000_test.csv").is_file()
    assert len(list((folder / "skin_cancer").glob("*.jpg"))) == len(expected)
    assert index_of("skincancer", folder).n_records == len(expected)


def test_the_openpmc_split_is_scikit_learns_draw_in_file_order(table, monkeypatch):
    model_selection = pytest.importorskip("sklearn.model_selection")
    root, rows = table
    train, test = model_selection.train_test_split([row[1] for row in rows], test_size=0.2, random_state=42)
    assert (len(train), len(test)) == (8012, 2003)
    monkeypatch.setattr("climb_hf.dataset_scripts.skincancer.TEST_DIGEST", digest(test))
    index = index_of("skincancer", root, split_by="openpmc")
    found = {split: [record.id for record in records] for split, records in index.splits.items()}
    assert found == {"train": train, "test": test}, "also in the order of the draw"
    groups = groups_of(index)
    assert groups["train"] & groups["test"], "it leaks lesions, as the caution says"
    assert climb_hf.get_source("skincancer").published_splits == {"train": 8012, "test": 2003}


def test_the_positions_of_the_openpmc_split_are_pinned():
    order = np.random.RandomState(42).permutation(N)
    assert order[:5].tolist() == [1617, 8128, 2168, 1090, 7754]
    assert (order[2002], order[2003], order[-1]) == (4823, 6582, 7270)


def test_the_digest_of_the_openpmc_split_is_pinned():
    assert skincancer.TEST_DIGEST == "14ffd30bef36994b3a2623d0a5bda3df47debe704d314d5add6ea88a44fa7718"
    assert (skincancer.FIRST, skincancer.N_TEST, skincancer.N_PUBLISHED) == ("ISIC_0027419", 2003, N)


def test_a_skincancer_copy_written_by_hand(tmp_path):
    names = [
        "Melanocytic Nevi", "Melanoma", "Benign Keratosis-like Lesions", "Basal Cell Carcinoma",
        "Actinic Keratoses and Intraepithelial Carcinoma", "Vascular Lesions", "Dermatofibroma",
    ]  # fmt: skip
    assert climb_hf.get_source("skincancer").classes == tuple(names)
    (tmp_path / "skin_cancer").mkdir()
    rows = [
        [f"HAM_{9000 + n // 2:07d}", f"ISIC_{99100 - n:07d}", DX[n // 2 % 7], "consensus", *("", "unknown", "unknown")]
        if n % 5 == 0
        else [f"HAM_{9000 + n // 2:07d}", f"ISIC_{99100 - n:07d}", DX[n // 2 % 7], "histo", "80.0", "female", "ear"]
        for n in range(42)
    ]
    write(tmp_path / "HAM10000_metadata.csv", rows)
    for number, row in enumerate(rows):
        Image.new("RGB", (600, 450), (5 * number, 200, 90)).save(tmp_path / "skin_cancer" / f"{row[1]}.jpg")
    built = load("skincancer", tmp_path, tmp_path / "cache")
    place = {row[1]: number for number, row in enumerate(rows)}
    concepts = climb_hf.vocabulary.concepts()
    for part in built.values():
        assert [place[name] for name in part["id"]] == sorted(place[name] for name in part["id"])
    for name, (_, row) in by_id(built).items():
        lesion, _, dx, kind, age, sex, site = rows[place[name]]
        kept = {"dx": dx, "lesion_id": lesion, "dx_type": kind, "localization": site}
        assert (row["group"], row["raw_labels"], row["metadata"]) == (lesion, [dx], kept)
        assert (row["age"], row["sex"]) == (float(age) if age else None, None if sex == "unknown" else sex)
        assert [concepts[i] for i in row["labels"]] == [climb_hf.get_source("skincancer").concepts[DX.index(dx)]]
        assert np.abs(np.asarray(row["image"])[0, 0].astype(int) - (5 * place[name], 200, 90)).max() < 4
    assert sum(map(len, built.values())) == 42


def test_the_openpmc_split_needs_the_untouched_table(table, tmp_path):
    root, rows = table
    with pytest.raises(
        SplitError, match=r"other test pictures than the published ones \(digest [0-9a-f]{12}…, expected 14ff"
    ):
        index_of("skincancer", root, split_by="openpmc")
    for changed, message in (
        (rows[:-1], "found 10014 rows, `ISIC_0027419` first"),
        (sorted(rows, key=lambda row: row[1]), "found 10015 rows, `ISIC_0024306` first"),
    ):
        write(tmp_path / "HAM10000_metadata.csv", changed)
        with pytest.raises(SplitError, match=rf"{message}.*Restore the table.*split_by='official'"):
            index_of("skincancer", tmp_path, split_by="openpmc")
        assert index_of("skincancer", tmp_path).n_records == len(changed)


def test_the_default_keeps_lesions_together_whatever_the_order_of_the_rows(table, tmp_path):
    root, rows = table
    index = index_of("skincancer", root)
    groups = groups_of(index)
    assert not groups["train"] & groups["test"]
    assert 0.18 < len(index.splits["test"]) / N < 0.22
    write(tmp_path / "HAM10000_metadata.csv", rows[::-1])
    again = index_of("skincancer", tmp_path)
    assert {r.id for r in again.splits["test"]} == {r.id for r in index.splits["test"]}
    assert {r.id for r in index.splits["test"]} == {r.id for r in index_of("ham10000", root).splits["test"]}


def test_skincancer_refuses_the_climb_papers_split(miniatures, tmp_path):
    folder, _ = miniatures("skincancer")
    for split in ("paper", "image"):
        with pytest.raises(OptionError, match=r"\['official', 'openpmc'\]"):
            load("skincancer", folder, tmp_path, split_by=split)


def test_skincancer_without_tables(tmp_path):
    (tmp_path / "skin_cancer").mkdir()
    (tmp_path / "skin_cancer" / "ISIC_0027419.jpg").write_bytes(b"x")
    with pytest.raises(LayoutError, match=r"HAM10000_metadata\.csv"):
        load("skincancer", tmp_path, tmp_path / "cache")


# ---- pad_ufes_20_6class

CODES = ("BCC", "MEL", "SCC", "ACK", "NEV", "SEK")


def test_pad_has_six_classes_and_shares_only_what_is_the_same():
    source = climb_hf.get_source("pad_ufes_20_6class")
    six, five = source_vocabulary("pad_ufes_20_6class"), source_vocabulary("pad_ufes_20")
    assert [six.class_of(code) for code in CODES] == list(source.classes) == list(source.zero_shot_names)
    assert source.prompts_end_with_stop
    assert set(six.concepts) & set(five.concepts) == {"skin.basal_cell_carcinoma", "skin.melanoma", "skin.nevus"}
    ham = source_vocabulary("ham10000")
    assert six.concept_of("ACK") != ham.concept_of("akiec")


@pytest.mark.parametrize("layout", ["openpmc", "mendeley", "kaggle", "flat"])
def test_pad_layouts(miniatures, tmp_path, layout):
    folder, expected = miniatures("pad_ufes_20_6class", layout=layout)
    rows = by_id(load("pad_ufes_20_6class", folder, tmp_path))
    five = by_id(load("pad_ufes_20", folder, tmp_path))
    assert set(rows) == set(five) == {truth.id for truth in expected}
    for truth in expected:
        _, row = rows[truth.id]
        assert row["raw_labels"] == list(truth.values["raw_labels"])
        for key in ("age", "sex", "group", "duplicate_of", "metadata"):
            assert row[key] == five[truth.id][1][key]
        assert (row["image"].mode, row["image"].size) == ("RGB", truth.values["size"])
    if layout == "openpmc":
        assert len(list((folder / "Dataset").glob("PAT_*.png"))) == len(expected)


PAD_HEADER = (
    "patient_id,lesion_id,smoke,drink,background_father,background_mother,age,pesticide,gender,skin_cancer_history,"
    "cancer_history,has_piped_water,has_sewage_system,fitspatrick,region,diameter_1,diameter_2,diagnostic,itch,grew,"
    "hurt,changed,bleed,elevation,img_id,biopsed"
)


@pytest.mark.parametrize(
    ("folder", "prefix", "yes"),
    [("Dataset", "", "True"), ("imgs_part_2/imgs_part_2", "images/", "TRUE"), ("images/imgs_part_3", "", "True")],
)
def test_a_pad_copy_written_by_hand(tmp_path, folder, prefix, yes):
    names = ["Basal Cell Carcinoma", "Melanoma", "Squamous Cell Carcinoma", "Actinic Keratosis", "Nevus"]
    source = climb_hf.get_source("pad_ufes_20_6class")
    assert source.classes == (*names, "Seborrheic Keratosis")
    (tmp_path / folder).mkdir(parents=True)
    random, pictures, lines = np.random.default_rng(3), {}, [PAD_HEADER]
    for n in range(24):
        name, code = f"PAT_{9001 + n // 2}_{9100 - n}_{n}.png", CODES[n % 6]
        pixels = random.integers(0, 256, (30 + n, 25, 4 if n % 2 else 3), dtype=np.uint8)
        pixels[..., 3:] = 255
        Image.fromarray(pixels).save(tmp_path / folder / name)
        pictures[name] = (f"PAT_{9001 + n // 2}", code, pixels[..., :3], n % 3 == 0)
        start, end = f"PAT_{9001 + n // 2},{9100 - n}", f"{prefix}{name},{yes}"
        if n % 3 == 0:
            lines.append(f"{start},,,,,8,,,,,,,,ARM,,,{code},False,False,False,False,False,False,{end}")
        else:
            habits = f"False,{yes},ITALY,UNK,61,False,FEMALE,{yes},{yes},{yes},{yes},2.0,NOSE,7.0,5.0"
            lines.append(f"{start},{habits},{code},{yes},UNK,False,UNK,False,{yes},{end}")
    (tmp_path / "metadata.csv").write_text("\n".join(lines) + "\n")
    rows, concepts = by_id(load(source.name, tmp_path, tmp_path / "cache")), climb_hf.vocabulary.concepts()
    assert set(rows) == set(pictures)
    for name, (patient, code, pixels, is_sparse) in pictures.items():
        _, row = rows[name]
        assert (row["group"], row["raw_labels"]) == (patient, [code])
        assert [concepts[i] for i in row["labels"]] == [source.concepts[CODES.index(code)]]
        np.testing.assert_array_equal(np.asarray(row["image"]), pixels)
        assert (row["age"], row["sex"]) == ((8.0, None) if is_sparse else (61.0, "female"))
        facts = row["metadata"]
        assert [facts[key] for key in ("smoke", "drink", "fitspatrick", "background_mother", "diameter_2")] == (
            [None] * 5 if is_sparse else [False, True, 2.0, "UNK", 5.0]
        )
        assert [facts[key] for key in ("region", "grew", "hurt", "biopsed")] == (
            ["ARM", "FALSE", "FALSE", True] if is_sparse else ["NOSE", "UNK", "FALSE", True]
        )


@pytest.fixture(scope="module")
def patients(tmp_path_factory):
    """A made-up table with the published number of rows, patients and diagnoses; no pictures."""
    root = tmp_path_factory.mktemp("pad")
    random = np.random.default_rng(1)
    codes = np.repeat(CODES, (845, 52, 192, 730, 244, 235))
    random.shuffle(codes)
    owner = [*range(1373), *random.integers(0, 1373, 2298 - 1373)]
    lines = ["patient_id,lesion_id,diagnostic,img_id"]
    lines += [f"PAT_{p},{n},{c},PAT_{p}_{n}_{n % 1000}.png" for n, (p, c) in enumerate(zip(owner, codes, strict=True))]
    (root / "metadata.csv").write_text("\n".join(lines) + "\n")
    return root


def test_pad_splits_have_the_evaluations_size(patients):
    index = index_of("pad_ufes_20_6class", patients, split_by="image_random")
    assert {split: len(records) for split, records in index.splits.items()} == {"train": 1838, "test": 460}
    assert {len(records) for records in index.splits.values()} == set(
        climb_hf.get_source("pad_ufes_20_6class").published_splits.values()
    )
    groups = groups_of(index)
    assert groups["train"] & groups["test"]
    again = index_of("pad_ufes_20_6class", patients, split_by="image_random")
    other = index_of("pad_ufes_20_6class", patients, split_by="image_random", seed=1)
    test = {record.id for record in index.splits["test"]}
    assert test == {record.id for record in again.splits["test"]} != {record.id for record in other.splits["test"]}
    default = index_of("pad_ufes_20_6class", patients)
    groups = groups_of(default)
    assert not groups["train"] & groups["test"]
    assert 400 < len(default.splits["test"]) < 520
    counts = Counter(record.raw_labels[0] for records in default.splits.values() for record in records)
    assert counts == dict(zip(CODES, (845, 52, 192, 730, 244, 235), strict=True))


@pytest.mark.parametrize("split", ["openpmc", "paper"])
def test_pad_says_why_the_evaluations_split_is_lost(miniatures, tmp_path, split):
    folder, _ = miniatures("pad_ufes_20_6class")
    with pytest.raises(SplitError, match=r"without a seed.*overlap.*image_random.*\['official', 'image_random'\]"):
        load("pad_ufes_20_6class", folder, tmp_path, split_by=split)


def test_pad_image_random_keeps_what_the_parent_leaves_out(miniatures, tmp_path):
    folder, expected = miniatures.copy("pad_ufes_20_6class", tmp_path / "raw")
    (folder / "Dataset" / "PAT_1_1_1.png").write_bytes((folder / "Dataset" / expected[0].id).read_bytes())
    rows = load("pad_ufes_20_6class", folder, tmp_path / "cache", split_by="image_random")
    assert {split: len(part) for split, part in rows.items()} == {"train": 26, "test": 6}
    assert left_out(tmp_path / "cache") == {"picture without a row in `metadata.csv`": 1}
    owners = defaultdict(set)
    for split, part in rows.items():
        for row in part:
            owners[row["group"]].add(split)
    assert len(owners) > 8


def test_both_come_from_the_places_of_their_parents():
    assert ways("skincancer") == ways("ham10000")
    assert ways("pad_ufes_20_6class") == ways("pad_ufes_20")
    for name, parent in (("skincancer", "ham10000"), ("pad_ufes_20_6class", "pad_ufes_20")):
        source, other = climb_hf.get_source(name), climb_hf.get_source(parent)
        assert (source.license, source.access, source.homepage) == (other.license, other.access, other.homepage)
        assert other.benchmark == "climb"
