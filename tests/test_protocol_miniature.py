"""Synthetic raw copies as the data of a protocol."""

import pytest

from climb_hf.errors import OptionError, UnknownSourceError
from climb_hf.loading import load_dataset
from climb_hf.miniatures import is_miniature
from climb_hf.protocols.miniature import miniature_sources, named_sources


def test_every_source_gets_a_folder_that_loads(tmp_path):
    folders = miniature_sources(["proteins", "pad_ufes_20"], tmp_path / "raw", n=12)
    assert list(folders) == ["proteins", "pad_ufes_20"]
    rows = load_dataset("proteins", data_dir=str(folders["proteins"]), cache_dir=str(tmp_path / "cache"))
    assert sum(part.num_rows for part in rows.values()) == 12


def test_the_same_arguments_write_the_same_bytes(tmp_path):
    first = miniature_sources(["proteins"], tmp_path / "a", n=8, seed=3)["proteins"]
    again = miniature_sources(["proteins"], tmp_path / "b", n=8, seed=3)["proteins"]
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert files
    assert all((first / name).read_bytes() == (again / name).read_bytes() for name in files)


def test_real_folders_are_refused(tmp_path):
    with pytest.raises(OptionError, match="`proteins` came with a folder of raw data"):
        miniature_sources(["proteins=raw/PROTEINS"], tmp_path)
    assert not any(tmp_path.iterdir())


def test_an_unknown_source_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UnknownSourceError):
        miniature_sources(["proteins", "protiens"], tmp_path)
    assert not any(tmp_path.iterdir())


class TestNamedSources:
    def test_of_a_run_stay_in_its_folder(self, tmp_path):
        with named_sources(["proteins"], tmp_path, miniature=True, n=8) as (sources, cache):
            assert sources == {"proteins": tmp_path / "miniature" / "proteins"}
            assert cache == tmp_path / "cache"
        assert is_miniature(sources["proteins"])
        with named_sources(["proteins"], tmp_path, tmp_path / "own", miniature=True, n=8) as (_, cache):
            assert cache == tmp_path / "own"

    def test_without_a_folder_nothing_is_left(self):
        with named_sources(["proteins"], None, miniature=True, n=8) as (sources, cache):
            folder = sources["proteins"]
            assert is_miniature(folder)
        assert not folder.parent.exists()
        assert not cache.exists()

    def test_real_data_is_passed_on(self, tmp_path):
        with named_sources([f"proteins={tmp_path}", "busi"], tmp_path, None, miniature=False) as (sources, cache):
            assert ({name: str(folder) for name, folder in sources.items() if folder}, cache) == (
                {"proteins": str(tmp_path)},
                None,
            )
        assert not list(tmp_path.iterdir())

    def test_only_the_first_process_writes(self, tmp_path, monkeypatch):
        monkeypatch.setenv("LOCAL_RANK", "1")
        with named_sources(["proteins"], tmp_path, miniature=True, n=8) as (sources, _):
            assert sources == {"proteins": tmp_path / "miniature" / "proteins"}
        assert not (tmp_path / "miniature").exists()
