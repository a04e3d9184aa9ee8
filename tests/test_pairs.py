"""Pairs of picture and text from every source that has them, in one form."""

import json

import datasets
import pytest

import climb_hf
from climb_hf.errors import OptionError, SplitError
from climb_hf.protocols.data import data_fingerprint
from climb_hf.protocols.pairs import COLUMNS, load_pairs, pair_sources

NAMES = ("deepeyenet", "mimic_cxr", "quilt1m", "vital")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def raw(miniatures):
    return {name: miniatures(name, 48)[0] for name in NAMES}


def test_every_source_of_the_family_gives_pairs(raw, cache):
    assert set(climb_hf.list_sources(family="text-image")) < set(pair_sources()) == set(NAMES)
    pairs = load_pairs(raw, "train", cache_dir=cache)
    assert list(pairs) == list(raw)
    for name, part in pairs.items():
        assert tuple(part.column_names) == COLUMNS
        assert set(part["source"]) == {name}
        assert all(text.strip() for text in part["text"])
        assert part[0]["image"].mode == "RGB"
        assert len(set(part["id"])) == len(part)
        assert len(data_fingerprint(part)) == 16
    joined = datasets.concatenate_datasets(list(pairs.values()))
    assert len(joined) == sum(map(len, pairs.values()))


def test_what_is_no_pair_is_dropped_counted_and_said(raw, cache, caplog):
    pairs = load_pairs(raw, "train", cache_dir=cache)
    assert pairs.dropped["quilt1m"] == pairs.dropped["deepeyenet"] == {}
    whole = climb_hf.load_dataset("vital", raw["vital"], cache_dir=cache)["train"]
    n_absent = sum(row["image"] is None for row in whole)
    assert pairs.dropped["vital"] == {"no picture": n_absent}
    assert n_absent > 0
    assert len(pairs["vital"]) == len(whole) - n_absent
    films = climb_hf.load_dataset("mimic_cxr", raw["mimic_cxr"], task="pairs", cache_dir=cache)["train"]
    n_silent = sum(not text for text in films["text"])
    assert pairs.dropped["mimic_cxr"] == {"no text": n_silent}
    assert n_silent > 0
    assert pairs["mimic_cxr"]["id"][:] == [row["id"] for row in films if row["text"]], "the order is kept"
    assert f"mimic_cxr: {n_silent} of {len(films)} rows of `train` are no pairs: {n_silent} no text" in caplog.text


def test_texts_and_pictures_stay_together(miniatures, raw, cache):
    _, expected = miniatures("quilt1m", 48)
    truths = {truth.id: truth for truth in expected if truth.split == "validation"}
    part = load_pairs({"quilt1m": raw["quilt1m"]}, None, cache_dir=cache)["quilt1m"]
    assert part["id"][:] == list(truths)
    for row in part:
        truth = truths[row["id"]]
        assert (row["text"], row["image"].size, row["group"]) == (
            truth.values["text"], truth.values["size"], truth.group,
        )  # fmt: skip


def test_a_conversation_is_its_first_question_and_answer(miniatures, raw, cache):
    _, expected = miniatures("vital", 48)
    turns = {truth.id: truth.values["turns"] for truth in expected}
    part = load_pairs({"vital": raw["vital"]}, "train", cache_dir=cache)["vital"]
    for id_, text in zip(part["id"], part["text"], strict=True):
        (_, question), (_, answer), *rest = turns[id_]
        assert text == f"{question}\n{answer}"
        assert rest


def test_a_conversation_without_an_answer_is_no_pair(miniatures, tmp_path):
    folder, expected = miniatures.copy("vital", tmp_path / "raw", 48)
    file = folder / "BioMed-VITAL-instructions-210K.json"
    rows = json.loads(file.read_text(encoding="utf-8"))
    rows[4]["conversations"] = rows[4]["conversations"][:1]
    file.write_text(json.dumps(rows), encoding="utf-8")
    pairs = [load_pairs({"vital": folder}, split, cache_dir=tmp_path) for split in ("train", "test")]
    assert expected[4].id not in {id_ for part in pairs for id_ in part["vital"]["id"]}
    assert sum(part.dropped["vital"].get("no text", 0) for part in pairs) == 1


def test_options_reach_their_source(raw, cache):
    options = {"mimic_cxr": {"text": "impression"}, "deepeyenet": {"text": "keywords"}, "*": {"image_size": 32}}
    names = ("deepeyenet", "mimic_cxr")
    pairs = load_pairs({name: raw[name] for name in names}, "train", options, cache_dir=cache)
    assert {part[0]["image"].size for part in pairs.values()} == {(32, 32)}
    assert "\n" not in "".join(pairs["mimic_cxr"]["text"])
    assert all("(synthetic)" in text or text == "drusen" for text in pairs["deepeyenet"]["text"])
    assert pairs.dropped["mimic_cxr"]["no text"] > 1, "findings alone are no impression"


def test_what_gives_no_pairs_is_refused(raw, miniatures, cache, tmp_path):
    with pytest.raises(OptionError, match=r"proteins: a source of the family `graph` .*deepeyenet, mimic_cxr"):
        load_pairs({"proteins": None}, "train")
    with pytest.raises(OptionError, match=r"mimic_cxr: .*no `text`; pairs need \{'task': 'pairs'\}"):
        load_pairs({"mimic_cxr": raw["mimic_cxr"]}, "test", {"mimic_cxr": {"task": "labels"}}, cache_dir=cache)
    with pytest.raises(SplitError, match="vital: there is no split `validation`"):
        load_pairs(raw, "validation", cache_dir=cache)
    some = load_pairs(raw, "validation", cache_dir=cache, is_required=False)
    assert set(some) == {"deepeyenet", "mimic_cxr", "quilt1m"}
    folder, _ = miniatures.copy("vital", tmp_path / "raw")
    for picture in (folder / "images").iterdir():
        picture.unlink()
    with pytest.raises(SplitError, match=r"not one has a picture and a text \(\{'no picture': \d+\}\)"):
        load_pairs({"vital": folder}, "train", cache_dir=tmp_path)
