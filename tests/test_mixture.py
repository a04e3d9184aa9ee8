"""Mixtures: columns added before concatenation, absent signals that survive, strings as the paper merged them."""

import datasets
import numpy as np
import pytest

import climb_hf
from climb_hf.errors import OptionError, SchemaError, SplitError
from climb_hf.mixture import combine


@pytest.fixture(scope="module")
def folders(miniatures):
    return {name: miniatures(name)[0] for name in ("brain_tumor", "covid_blues", "ptbxl")}


@pytest.fixture(scope="module")
def mixture(folders, tmp_path_factory):
    return climb_hf.load_mixture(
        folders, cache_dir=tmp_path_factory.mktemp("mixture"), options={"*": {"num_frames": 3}}
    )


def test_rows_of_all_sources_stand_behind_each_other(mixture, folders):
    assert set(mixture) == {"train", "validation", "test"}
    assert sorted(set(mixture["train"]["source"])) == sorted(folders)
    assert set(mixture["validation"]["source"]) == {"ptbxl"}
    assert {"image", "frames", "signal", "fps", "sampling_rate"} <= set(mixture["train"].features)


@pytest.mark.parametrize("how", ["row", "python", "numpy", "torch", "map", "filter", "shuffle", "parquet", "disk"])
def test_an_absent_signal_survives_every_way_of_reading(mixture, tmp_path, how):
    part = mixture["train"].select_columns(["id", "source", "signal"])
    if how == "map":
        part = part.map(lambda row: {"n": len(row["id"])})
    elif how == "filter":
        part = part.filter(lambda row: row["source"] != "covid_blues")
    elif how == "shuffle":
        part = part.shuffle(seed=0).flatten_indices()
    elif how == "parquet":
        part.to_parquet(tmp_path / "p.parquet")
        part = datasets.Dataset.from_parquet(str(tmp_path / "p.parquet"), cache_dir=str(tmp_path))
    elif how == "disk":
        part.save_to_disk(tmp_path / "d")
        part = datasets.load_from_disk(tmp_path / "d")
    if how in ("numpy", "torch"):
        part = part.with_format(how)
    batch = part[:] if how == "python" else None
    rows = zip(batch["source"], batch["signal"], strict=True) if batch else ((r["source"], r["signal"]) for r in part)
    lengths = {}
    for source, signal in rows:
        lengths.setdefault(source, set()).add(len(signal))
    assert lengths.pop("ptbxl") == {5000}
    assert all(sizes == {0} for sizes in lengths.values())
    assert lengths


def test_streaming_gives_the_same_rows(mixture, folders):
    streamed = climb_hf.load_mixture(folders, streaming=True, options={"*": {"num_frames": 3}}, split="test")
    rows = list(streamed)
    assert [row["id"] for row in rows] == mixture["test"]["id"][:]
    for row, other in zip(rows, mixture["test"], strict=True):
        assert np.asarray(row["signal"]).size == np.asarray(other["signal"]).size
        assert row["labels"] == other["labels"]


def test_signals_of_different_modalities_are_refused(mixture):
    part = mixture["train"].select(range(2)).select_columns(["id", "signal"])
    eeg = datasets.Dataset.from_dict(
        {"id": ["x"], "signal": [np.zeros((4, 16), np.float32)]},
        features=datasets.Features(
            {"id": datasets.Value("string"), "signal": datasets.Array2D((None, 16), "float32")}
        ),
    )
    with pytest.raises(SchemaError, match="one modality"):
        combine([part, eeg])


def test_strings_merge_classes_across_modalities(miniatures, tmp_path):
    folders = {name: miniatures(name)[0] for name in ("ptbxl", "pad_ufes_20")}
    merged = climb_hf.load_mixture(folders, split="train", vocabulary="strings", cache_dir=tmp_path)
    names = merged.features["labels"].feature.names
    assert names == sorted(names)
    assert "melanoma (mel)" in names
    assert len(names) == 12
    plain = climb_hf.load_mixture(folders, split="train", cache_dir=tmp_path)
    concepts = plain.features["labels"].feature.names
    for row, other in zip(merged, plain, strict=True):
        source = climb_hf.get_source(row["source"])
        by_concept = dict(zip(source.concepts, source.classes, strict=True))
        wanted = sorted(by_concept[concepts[i]].lower() for i in other["labels"])
        assert sorted(names[i] for i in row["labels"]) == wanted


def test_bad_requests_say_what_to_do(folders, tmp_path):
    with pytest.raises(OptionError, match="climb sources"):
        climb_hf.load_mixture([])
    with pytest.raises(OptionError, match="labels='raw'"):
        climb_hf.load_mixture(folders, options={"ptbxl": {"labels": "raw"}}, cache_dir=tmp_path)
    with pytest.raises(SplitError, match="no source of"):
        climb_hf.load_mixture({"brain_tumor": folders["brain_tumor"]}, split="validation", cache_dir=tmp_path)


def test_strings_of_another_label_scheme(miniatures, tmp_path):
    from climb_hf.protocols.data import model_classes

    names, options = {"vindr_cxr": miniatures("vindr_cxr")[0]}, {"vindr_cxr": {"labels": "findings"}}
    mixed = climb_hf.load_mixture(names, split="train", cache_dir=tmp_path, vocabulary="strings", options=options)
    units = mixed.features["labels"].feature.names
    assert "lung opacity" in units
    assert model_classes(list(names), options, "strings")["vocabulary"] == units


def test_options_that_would_go_nowhere_are_refused(folders, tmp_path):
    for options in ({"brain_tumour": {"image_size": 8}}, {"*": {"imagesize": 8}}):
        with pytest.raises(OptionError, match=r"brain_tumour|imagesize"):
            climb_hf.load_mixture(folders, cache_dir=tmp_path, options=options)


def test_one_name_is_a_mixture_of_one(folders, tmp_path, monkeypatch):
    monkeypatch.setenv("CLIMB_DATA", str(tmp_path))
    (tmp_path / "brain_tumor").symlink_to(folders["brain_tumor"])
    assert set(climb_hf.load_mixture("brain_tumor", cache_dir=tmp_path / "cache")["train"]["source"]) == {
        "brain_tumor"
    }
