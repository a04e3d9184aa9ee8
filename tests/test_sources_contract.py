"""What every registered source must do, parametrised by the registry; a source's oddities have tests of their own."""

import itertools
import json
import shutil
from pathlib import Path

import datasets
import numpy as np
import pytest

import climb_hf
from climb_hf import miniatures as makers
from climb_hf import schema, vocabulary
from climb_hf.errors import AccessError, ClimbError, OptionError
from climb_hf.registry import source_names

SOURCES = source_names()
N = 32
#: All records stand in one array: what damage to it does is tested with the source.
ONE_ARRAY = ("iiic", "pcam")
#: All of a set, labels included, stands in one `.npz` file: any damage to it refuses the build.
ONE_FILE = tuple(name for name in SOURCES if name.endswith("mnist"))
#: The sets of MedMNIST+ differ in facts only: one in colour and one in grey stand for all where files are built anew.
DISTINCT = tuple(name for name in SOURCES if name not in ONE_FILE or name in ("bloodmnist", "organsmnist"))


@pytest.fixture(scope="module")
def loaded(miniatures, tmp_path_factory):
    """Return a loader of (dataset by split, expected rows, raw folder), built once per source."""
    cache = tmp_path_factory.mktemp("cache")
    made = {}

    def load(name):
        if name not in made:
            folder, expected = miniatures(name, N)
            made[name] = climb_hf.load_dataset(name, folder, cache_dir=cache), expected, folder
        return made[name]

    return load


def rows_of(
    dataset, columns=("id", "source", "group", "labels", "uncertain", "age", "sex", "duplicate_of", "raw_labels")
):
    return {
        split: part.select_columns(list(columns)).to_list() if isinstance(part, datasets.Dataset) else list(part)
        for split, part in dataset.items()
    }


def comparable(value):
    """Make a column comparable: pictures by their pixels, numbers at the precision of the stored column."""
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in value.items()}
    if isinstance(value, float):
        return float(np.float32(value)) if value == value else "NaN"
    if isinstance(value, list | tuple):
        return [comparable(item) for item in value]
    if hasattr(value, "getdata"):
        return value.size, value.tobytes()
    return comparable(value.tolist()) if isinstance(value, np.ndarray) else value


def test_registry_miniatures_and_vocabulary_agree():
    assert set(SOURCES) == set(makers.available())
    assert set(SOURCES) <= set(vocabulary.sources())
    assert datasets.get_dataset_config_names("climb") == list(SOURCES)


@pytest.mark.parametrize("name", SOURCES)
def test_facts_are_complete(name):
    source = climb_hf.get_source(name)
    assert source.title
    assert source.citation.startswith("@")
    assert source.homepage.startswith("https://")
    assert source.access in ("open", "registration", "credentialed", "application", "competition")
    assert isinstance(source.redistributable, bool)
    assert len(source.how_to_get) >= 2
    assert source.classes or source.multi_label, "only sources that are no classification have no classes"
    assert len(source.classes) == len(source.concepts) == len(set(source.concepts))
    assert set(source.published_splits) <= {"train", "validation", "test"}
    assert source.evaluation_split == "test" or "test" not in source.published_splits
    assert type(source).__module__ == f"climb_hf.dataset_scripts.{name}"
    assert type(source).__doc__
    assert source.benchmark in ("climb", "openpmc")
    assert len(source.zero_shot_names) in (0, len(source.classes))
    assert source.benchmark == "climb" or source.zero_shot_names or not source.classes


@pytest.mark.parametrize("name", SOURCES)
def test_every_expected_row_is_there_with_its_content(loaded, name):
    dataset, expected, _ = loaded(name)
    rows = {row["id"]: (split, row) for split, part in rows_of(dataset).items() for row in part}
    assert set(rows) == {row.id for row in expected}
    source = climb_hf.get_source(name)
    concept_of = dict(zip(source.classes, source.concepts, strict=True))
    names = dataset[next(iter(dataset))].features["labels"].feature.names
    for truth in expected:
        split, row = rows[truth.id]
        assert truth.split in (None, split), truth.id
        assert row["group"] == truth.group
        assert row["source"] == name
        assert [names[i] for i in row["labels"]] == [concept_of[c] for c in truth.classes], truth.id


@pytest.mark.parametrize("name", SOURCES)
def test_every_expected_value_is_there(loaded, name):
    dataset, expected, _ = loaded(name)
    position = {id_: (part, i) for part in dataset.values() for i, id_ in enumerate(part["id"])}
    for truth in itertools.islice(expected, 12):
        part, index = position[truth.id]
        row = part[index]
        for key, value in truth.values.items():  # further keys are for the tests of oddities
            found = row[key] if key in row else (row["metadata"] or {}).get(key, (row["targets"] or {}).get(key))
            if key in ("age", "sex", "duplicate_of", "sampling_rate", "num_nodes"):
                assert found == pytest.approx(value) if isinstance(value, float) else found == value, (truth.id, key)


@pytest.mark.parametrize("name", SOURCES)
def test_features_are_those_of_the_family(loaded, name):
    dataset, _, _ = loaded(name)
    source = climb_hf.get_source(name)
    expected = schema.features(source.family, vocabulary.concepts(), channels=len(source.channels))
    assert all(part.features == expected for part in dataset.values())


@pytest.mark.parametrize("name", SOURCES)
def test_ids_are_unique_and_no_group_is_in_two_splits(loaded, name):
    dataset, _, _ = loaded(name)
    ids = [id_ for part in dataset.values() for id_ in part["id"]]
    assert len(ids) == len(set(ids))
    groups = {split: set(part["group"]) for split, part in dataset.items()}
    for one, other in itertools.combinations(groups, 2):
        assert not groups[one] & groups[other]


@pytest.mark.parametrize("name", SOURCES)
def test_labels_lie_in_the_vocabulary_of_the_source(loaded, name):
    dataset, _, _ = loaded(name)
    source_vocabulary = vocabulary.source_vocabulary(name)
    allowed, seen = set(source_vocabulary.indices), set()
    for part in dataset.values():
        for labels, uncertain in zip(part["labels"], part["uncertain"], strict=True):
            assert source_vocabulary.multi_label or len(labels) == 1
            assert set(labels) <= allowed
            assert set(uncertain) <= allowed - set(labels)
            seen |= set(labels)
    n_classes = len(allowed) - len(source_vocabulary.classes_without_values)
    assert len(seen) == n_classes or n_classes > N // 2, "every class must occur in the miniature"


@pytest.mark.parametrize("name", DISTINCT)
def test_streaming_and_worker_processes_give_the_same_rows(loaded, tmp_path, name):
    dataset, _, folder = loaded(name)
    streamed = climb_hf.load_dataset(name, folder, streaming=True)
    parallel = climb_hf.load_dataset(name, folder, num_proc=2, cache_dir=tmp_path)
    assert list(streamed) == list(dataset) == list(parallel)
    for split, part in dataset.items():
        assert parallel[split]["id"][:] == part["id"][:]
        for row, other, third in zip(part, streamed[split], parallel[split], strict=True):
            assert comparable(row) == comparable(other)
            assert comparable(row) == comparable(third)


@pytest.mark.parametrize("name", DISTINCT)
def test_the_hook_gives_the_same_dataset(loaded, tmp_path, name):
    dataset, _, folder = loaded(name)
    hooked = datasets.load_dataset("climb", name, data_dir=str(folder), cache_dir=str(tmp_path))
    assert {split: part["id"][:] for split, part in hooked.items()} == {s: p["id"][:] for s, p in dataset.items()}
    assert (tmp_path / "climb").is_dir(), "the cache folder carries the name of the path"


@pytest.mark.parametrize("name", SOURCES)
def test_a_missing_root_says_how_to_get_the_data(tmp_path, name):
    with pytest.raises(AccessError, match=r"(?s)1\. .*2\. .*climb miniature"):
        climb_hf.load_dataset(name, tmp_path / "nowhere")
    with pytest.raises(AccessError, match="CLIMB_DATA"):
        climb_hf.load_dataset(name)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AccessError, match=name):
        climb_hf.load_dataset(name, tmp_path / "empty", cache_dir=tmp_path)


@pytest.mark.parametrize("name", DISTINCT)
def test_the_root_may_be_one_level_up(loaded, tmp_path, name):
    dataset, _, folder = loaded(name)
    (tmp_path / "outer" / "__MACOSX").mkdir(parents=True)
    shutil.copytree(folder, tmp_path / "outer" / "inner-1.0")
    again = climb_hf.load_dataset(name, tmp_path / "outer", cache_dir=tmp_path / "cache")
    assert {s: p["id"][:] for s, p in again.items()} == {s: p["id"][:] for s, p in dataset.items()}


def damage(file: Path) -> None:
    """Cut a file to 60 % of its bytes."""
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * 0.6)])


def data_file_of(folder: Path, row) -> Path | None:
    """Find the data file of an expected row: the one it names, or by its id; graphs and tables have none."""
    if "file" in row.values:
        return folder / row.values["file"]
    row_id = row.id
    stem = Path(row_id).stem
    every = [p for p in folder.rglob("*") if p.is_file() and p.parent.name != "masks"]
    files = [p for p in every if p.stem == stem or p.stem.split("_")[0] == stem.zfill(5)]
    if not files:  # the id begins with the file's name, or ends the name of a folder above it
        files = [p for p in every if row_id.startswith(f"{p.stem}_") or any(n.endswith(row_id) for n in p.parts)]
    data = [p for p in files if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".dicom", ".dcm", ".mp4", ".dat")]
    data = [p for p in data if {*Path(row_id).parent.parts} <= {*p.parts}] or data
    named = [p for p in data if p.as_posix().endswith(row_id)] or sorted(
        data, key=lambda p: (p.stem.endswith("_hr"), p.as_posix())
    )
    return named[-1] if named else None


@pytest.mark.parametrize(
    "name", [n for n in DISTINCT if climb_hf.get_source(n).family != "graph" and n not in (*ONE_ARRAY, *ONE_FILE)]
)
def test_one_damaged_file_is_skipped_and_named(miniatures, tmp_path, name):
    folder, expected = miniatures.copy(name, tmp_path / "raw", N)
    victim = expected[5].id
    damage(data_file_of(folder, expected[5]))
    for num_proc in (None, 2):
        dataset = climb_hf.load_dataset(name, folder, cache_dir=tmp_path / f"cache{num_proc}", num_proc=num_proc)
        ids = {id_ for part in dataset.values() for id_ in part["id"]}
        assert ids == {row.id for row in expected} - {victim}
        (log,) = (tmp_path / f"cache{num_proc}").rglob("skipped.jsonl")
        (entry,) = map(json.loads, log.read_text().splitlines())
        assert entry["id"] == victim
        assert entry["reason"]
    for num_proc in (None, 2):
        with pytest.raises(ClimbError, match="record `"):
            climb_hf.load_dataset(name, folder, cache_dir=tmp_path / "strict", strict=True, num_proc=num_proc)
    streamed = climb_hf.load_dataset(name, folder, strict=True, streaming=True)
    with pytest.raises(ClimbError, match="record `"):
        [list(part) for part in streamed.values()]
    assert not list((tmp_path / "strict").rglob("*.arrow")), "a refused build leaves nothing that loads"


@pytest.mark.parametrize("name", [n for n in DISTINCT if climb_hf.get_source(n).family != "graph"])
def test_many_damaged_files_are_refused(miniatures, tmp_path, name):
    folder, expected = miniatures.copy(name, tmp_path / "raw", N)
    for row in expected[4:8]:
        damage(data_file_of(folder, row))
    with pytest.raises(ClimbError, match=r"\.npz`.* truncated" if name in ONE_FILE else r"5%|5 %"):
        climb_hf.load_dataset(name, folder, cache_dir=tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.arrow"))


@pytest.mark.parametrize("name", DISTINCT)
def test_unknown_options_are_refused(miniatures, name):
    folder, _ = miniatures(name, N)
    with pytest.raises(OptionError, match="split_by"):
        climb_hf.load_dataset(name, folder, splitby="official")
    with pytest.raises(ClimbError, match="official"):
        climb_hf.load_dataset(name, folder, split_by="nonsense")
    with pytest.raises(OptionError, match="climb"):
        climb_hf.load_dataset(name, folder, labels="nonsense")


@pytest.mark.parametrize("name", SOURCES)
def test_raw_labels_give_the_publishers_values(miniatures, tmp_path, name):
    folder, _ = miniatures(name, N)
    raw = climb_hf.load_dataset(name, folder, labels="raw", cache_dir=tmp_path)
    for part in raw.values():
        names = part.features["labels"].feature.names
        assert tuple(names) == vocabulary.source_vocabulary(name).raw_scheme()
        for row in part.select_columns(["labels", "raw_labels", "metadata"]):
            stated = {*row["raw_labels"], *(v for v in row["metadata"].values() if isinstance(v, str))}
            assert {names[i] for i in row["labels"]} <= stated
            assert row["labels"] or not row["raw_labels"] or name == "ptbxl_finegrained"


@pytest.mark.parametrize("name", DISTINCT)
def test_validation_is_carved_from_train_by_group(miniatures, tmp_path, name):
    folder, _ = miniatures(name, N)
    plain = climb_hf.load_dataset(name, folder, cache_dir=tmp_path)
    carved = climb_hf.load_dataset(name, folder, validation=0.4, cache_dir=tmp_path)
    groups = {split: set(part["group"]) for split, part in carved.items()}
    assert groups["validation"]
    assert not groups["validation"] & groups["train"]
    if "test" in plain:
        assert carved["test"]["id"][:] == plain["test"]["id"][:]
    kept = set(plain["train"]["id"]) | set(plain.get("validation", {"id": []})["id"])
    assert set(carved["train"]["id"]) | set(carved["validation"]["id"]) == kept


@pytest.mark.parametrize("name", DISTINCT)
def test_changed_raw_tables_are_not_served_from_an_old_cache(miniatures, tmp_path, name):
    folder, _ = miniatures.copy(name, tmp_path / "raw", N)
    first = climb_hf.load_dataset(name, folder, cache_dir=tmp_path / "cache")
    again = climb_hf.load_dataset(name, folder, cache_dir=tmp_path / "cache")
    assert [f["filename"] for f in again["train"].cache_files] == [f["filename"] for f in first["train"].cache_files]
    table = next(iter(climb_hf.get_source(name).fingerprint_files(climb_hf.get_source(name).find_root(folder))))
    table.touch()
    changed = climb_hf.load_dataset(name, folder, cache_dir=tmp_path / "cache")
    assert changed["train"].cache_files[0]["filename"] != first["train"].cache_files[0]["filename"]
