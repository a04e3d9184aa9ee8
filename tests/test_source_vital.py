"""Oddities of BioMed-VITAL: ids, spelling, image token, missing figures, repeated rows, several files, options."""

import hashlib
import json

import pytest
from source_helpers import by_id, left_out

import climb_hf
from climb_hf.errors import CorruptFileError, LayoutError, OptionError, SchemaError, SplitError
from climb_hf.readers.conversations import conversation_of, to_messages

FILE = "BioMed-VITAL-instructions-210K.json"


def load(folder, cache, **options):
    return climb_hf.load_dataset("vital", folder, cache_dir=cache, **options)


@pytest.fixture
def raw(miniatures, tmp_path):
    return miniatures.copy("vital", tmp_path / "raw")


def test_conversations_pictures_and_flags(miniatures, tmp_path):
    folder, expected = miniatures("vital")
    rows = by_id(load(folder, tmp_path))
    assert set(rows) == {truth.id for truth in expected}
    for truth in expected:
        _, row = rows[truth.id]
        said = [(m["role"], m["content"][-1]["text"]) for m in row["messages"]]
        assert said == list(truth.values["turns"])
        assert row["text"] == "\n".join(text for _, text in truth.values["turns"])
        kinds = [[part["type"] for part in message["content"]] for message in row["messages"]]
        assert kinds == [["image", "text"] if "file" in truth.values else ["text"], *[["text"]] * 3]
        facts = row["metadata"]
        assert (tuple(facts["domain"]), facts["part"]) == (truth.values["domain"], truth.values["part"])
        assert (facts["pmid"], facts["n_turns"]) == (truth.group, 4)
        assert row["duplicate_of"] == truth.values["duplicate_of"]
        if "file" in truth.values:
            assert (row["image"].size, row["image"].mode) == (truth.values["size"], "RGB")
        else:
            assert row["image"] is None
    parts = {row["metadata"]["part"]: row["metadata"] for _, row in rows.values()}
    assert parts["LLaVA-Med"]["fig_caption"].startswith("Synthetic figure")
    assert parts["BioMed-VITAL"]["fig_caption"] is None
    tokens = {row["metadata"]["image_token"] for _, row in rows.values()}
    assert tokens == {"first", "last", None}


def test_rows_of_an_article_stay_together(miniatures, tmp_path):
    folder, _ = miniatures("vital", n=96)
    built = load(folder, tmp_path)
    groups = {split: set(part["group"]) for split, part in built.items()}
    assert set(groups) == {"train", "test"}
    assert not groups["train"] & groups["test"]
    for part in built.values():
        assert all(id_.startswith(f"{group}_") for id_, group in zip(part["id"], part["group"], strict=True))


def test_rows_without_a_picture_are_counted_or_left_out(miniatures, tmp_path, caplog):
    folder, expected = miniatures("vital")
    n_absent = sum("file" not in truth.values for truth in expected)
    load(folder, tmp_path / "a")
    assert f"{n_absent} rows have no picture" in caplog.text
    rows = by_id(load(folder, tmp_path / "b", require_image=True))
    assert len(rows) == len(expected) - n_absent
    assert left_out(tmp_path / "b") == {"row without its picture (`require_image=True`)": n_absent}


def test_without_any_picture_the_text_loads(raw, tmp_path):
    folder, expected = raw
    for picture in (folder / "images").iterdir():
        picture.unlink()
    rows = by_id(load(folder, tmp_path / "cache"))
    assert len(rows) == len(expected)
    assert all(row["image"] is None and row["text"] for _, row in rows.values())


def test_pictures_are_resized(miniatures, tmp_path):
    folder, _ = miniatures("vital")
    rows = by_id(load(folder, tmp_path, image_size=24))
    assert {row["image"].size for _, row in rows.values() if row["image"]} == {(24, 24)}


def test_the_largest_file_is_taken_or_the_one_asked_for(raw, tmp_path):
    folder, expected = raw
    rows = json.loads((folder / FILE).read_text(encoding="utf-8"))
    (folder / FILE.replace("210K", "60K")).write_text(json.dumps(rows[:9]), encoding="utf-8")
    assert len(by_id(load(folder, tmp_path / "a"))) == len(expected)
    small = by_id(load(folder, tmp_path / "b", part="60K"))
    assert len(small) == 9
    assert small[expected[0].id][1]["metadata"]["file"] == FILE.replace("210K", "60K")
    with pytest.raises(LayoutError, match="150K"):
        load(folder, tmp_path / "c", part="150K")
    with pytest.raises(OptionError, match="`part` must be one of"):
        load(folder, tmp_path / "c", part="70K")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"image": "../secret.jpg"}, "found '../secret.jpg'"),
        ({"image": "28104940_F2/../../x.jpg"}, "expected `image`"),
        ({"image": None}, "found None"),
        ({"conversations": []}, "list of turns"),
        ({"conversations": [{"from": "robot", "value": "x"}]}, "expected a turn"),
    ],
)
def test_odd_rows_are_skipped_and_named(raw, tmp_path, change, reason):
    folder, expected = raw
    rows = json.loads((folder / FILE).read_text(encoding="utf-8"))
    rows[4] |= change
    (folder / FILE).write_text(json.dumps(rows), encoding="utf-8")
    assert len(by_id(load(folder, tmp_path / "cache"))) == len(expected) - 1
    (log,) = (tmp_path / "cache").rglob("skipped.jsonl")
    (entry,) = map(json.loads, log.read_text().splitlines())
    assert (entry["file"], entry["error"]) == (FILE, "SchemaError")
    assert reason in entry["reason"]


def test_a_cut_table_is_refused_with_its_place(raw, tmp_path):
    folder, _ = raw
    content = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(content[:-200])
    with pytest.raises(CorruptFileError, match=r"210K.json`, byte \d+: .*cut off"):
        load(folder, tmp_path / "cache")


def test_the_papers_split_cannot_be_rebuilt(miniatures):
    folder, _ = miniatures("vital")
    with pytest.raises(SplitError, match="random without a seed"):
        climb_hf.load_dataset("vital", folder, split_by="paper")


def test_rows_do_not_depend_on_indentation(raw, tmp_path):
    folder, _ = raw
    digests = []
    for cache, options in (("a", {}), ("b", {"indent": 4}), ("c", {"ensure_ascii": False})):
        rows = json.loads((folder / FILE).read_text(encoding="utf-8"))
        (folder / FILE).write_text(json.dumps(rows, **options), encoding="utf-8")
        texts = [(id_, row["text"]) for id_, (_, row) in sorted(by_id(load(folder, tmp_path / cache)).items())]
        digests.append(hashlib.sha256(repr(texts).encode()).hexdigest())
    assert len(set(digests)) == 1


def test_turns_of_other_forms_are_refused():
    with pytest.raises(SchemaError, match="found None"):
        conversation_of({"image": "a.jpg"})
    with pytest.raises(SchemaError, match="expected a turn"):
        conversation_of({"conversations": ["hello"]})
    turns = conversation_of(
        {"conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "<image>"}]}
    )
    messages = to_messages(turns, has_image=True)
    assert [[part["type"] for part in message["content"]] for message in messages] == [["text"], ["image", "text"]]
