"""A prepared folder in place of raw data: the same rows, and refusals where they would not be."""

import datasets
import pytest
from prepare_helpers import comparable, shards

import climb_hf
from climb_hf.errors import CorruptFileError, LayoutError, OptionError, SchemaError
from climb_hf.loading import is_synthetic
from climb_hf.origin import origins_of
from climb_hf.prepare import prepare
from climb_hf.protocols.data import data_fingerprint

SMALL = {"num_proc": 1, "shard_size": "60KB"}


@pytest.fixture(scope="module")
def both(miniatures, tmp_path_factory):
    """Raw folder and prepared folder of three families."""
    out = tmp_path_factory.mktemp("prepared")
    raw = {name: miniatures(name, 16)[0] for name in ("brain_tumor", "ptbxl", "proteins")}
    prepare(raw, out, **SMALL)
    return raw, out


@pytest.mark.parametrize("name", ["brain_tumor", "ptbxl", "proteins"])
def test_rows_features_and_origin_are_those_of_the_raw_data(name, both, tmp_path):
    raw, out = both
    expected = climb_hf.load_dataset(name, raw[name], cache_dir=tmp_path)
    found = climb_hf.load_dataset(name, out, cache_dir=tmp_path)
    assert list(found) == list(expected)
    for split, part in expected.items():
        assert found[split].features == part.features
        assert [comparable(row) for row in found[split]] == [comparable(row) for row in part]
        assert data_fingerprint(found[split]) == data_fingerprint(part)
        assert origins_of(found[split], scan=False) == origins_of(part, scan=False)
        assert found[split].info.license == part.info.license
    one = climb_hf.load_dataset(name, out, split="train[:3]", cache_dir=tmp_path)
    assert one["id"][:] == expected["train"]["id"][:3]
    stream = climb_hf.load_dataset(name, out, split="train", streaming=True)
    assert [row["id"] for row in stream] == expected["train"]["id"][:]
    assert origins_of(stream, scan=False)[0].source == name


def test_a_mixture_of_raw_and_prepared(both, tmp_path):
    raw, out = both
    mixed = climb_hf.load_mixture({"brain_tumor": out, "proteins": raw["proteins"]}, split="train", cache_dir=tmp_path)
    assert set(mixed["source"]) == {"brain_tumor", "proteins"}


def test_synthetic_data_stays_synthetic(both, miniatures, tmp_path):
    assert is_synthetic({"brain_tumor": both[1]})
    copy, _ = miniatures.copy("proteins", tmp_path / "raw", 16)
    (copy / ".climb_miniature.json").unlink()
    prepare({"proteins": copy}, tmp_path / "out", **SMALL)
    assert not is_synthetic({"proteins": tmp_path / "out"})


def test_options_must_be_those_of_the_folder(both, miniatures, tmp_path):
    raw, out = both
    with pytest.raises(OptionError, match=r"brain_tumor: .*`image_size` was None, is 32.*data\.options\.brain_tumor"):
        climb_hf.load_dataset("brain_tumor", out, image_size=32, cache_dir=tmp_path)
    with pytest.raises(OptionError, match="`labels` was 'climb', is 'raw'"):
        climb_hf.load_dataset("brain_tumor", out, labels="raw", cache_dir=tmp_path)
    with pytest.raises(OptionError, match="no option `image_sise`"):
        climb_hf.load_dataset("brain_tumor", out, image_sise=32, cache_dir=tmp_path)
    prepare({"brain_tumor": raw["brain_tumor"]}, tmp_path / "small", options={"*": {"image_size": 32}}, **SMALL)
    small = climb_hf.load_dataset("brain_tumor", tmp_path / "small", image_size=32, verify="none", cache_dir=tmp_path)
    assert {max(row["image"].size) for row in small["train"]} == {32}
    with pytest.raises(OptionError, match="`image_size` was 32, is None"):
        climb_hf.load_dataset("brain_tumor", tmp_path / "small", cache_dir=tmp_path)


@pytest.mark.parametrize("name", ["brain_tumor", "ptbxl"])
def test_validation_is_carved_as_from_raw_data(name, both, tmp_path):
    raw, out = both
    expected = climb_hf.load_dataset(name, raw[name], validation=0.4, cache_dir=tmp_path)
    found = climb_hf.load_dataset(name, out, validation=0.4, cache_dir=tmp_path)
    assert found["train"]["id"][:] == expected["train"]["id"][:]
    assert sorted(found["validation"]["id"]) == sorted(expected["validation"]["id"])  # the publisher's own come first
    assert len(found["validation"]) > len(climb_hf.load_dataset(name, out, cache_dir=tmp_path).get("validation", ()))
    half = climb_hf.load_dataset(name, out, validation=0.4, split="train[:50%]", cache_dir=tmp_path)
    assert (
        half["id"][:]
        == climb_hf.load_dataset(name, raw[name], validation=0.4, split="train[:50%]", cache_dir=tmp_path)["id"][:]
    )
    stream = climb_hf.load_dataset(name, out, validation=0.4, split="validation", streaming=True)
    assert [row["id"] for row in stream] == found["validation"]["id"][:]


def test_damaged_or_foreign_folders_are_refused(miniatures, tmp_path, monkeypatch):
    raw, _ = miniatures("brain_tumor", 16)
    out = tmp_path / "out"
    prepare({"brain_tumor": raw}, out, **SMALL)
    with pytest.raises(LayoutError, match=r"written by `climb prepare`. Load it with `climb_hf.load_dataset"):
        datasets.load_dataset("climb", "brain_tumor", data_dir=str(out), cache_dir=str(tmp_path))
    shard = out / shards(out)[0]
    content = shard.read_bytes()
    shard.write_bytes(content[:-1])
    with pytest.raises(CorruptFileError, match=rf"{shard.name}` must have {len(content):,} bytes, found"):
        climb_hf.load_dataset("brain_tumor", out, cache_dir=tmp_path)
    shard.unlink()
    with pytest.raises(CorruptFileError, match="found nothing"):
        climb_hf.load_dataset("brain_tumor", out, cache_dir=tmp_path)
    shard.write_bytes(content)
    monkeypatch.setattr(type(climb_hf.get_source("brain_tumor")), "version", "9.0.0")
    with pytest.raises(SchemaError, match=r"prepared by version 1\.0\.0 of the reader, this is 9\.0\.0"):
        climb_hf.load_dataset("brain_tumor", out, cache_dir=tmp_path)
