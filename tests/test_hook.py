"""The hook into `datasets`: what it takes, what it leaves alone, and what it says when `datasets` has moved on."""

import subprocess
import sys
import types

import datasets
import pytest

import climb_hf
from climb_hf import registration
from climb_hf.errors import DependencyError, OptionError, UnknownSourceError


def test_import_is_light():
    code = (
        "import sys, climb_hf; heavy = {'torch', 'pandas', 'datasets', 'transformers', 'numpy'} & set(sys.modules); "
        "print(sorted(heavy))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_listing_sources_needs_neither_torch_nor_datasets():
    code = (
        "import sys, climb_hf; assert 'ptbxl' in climb_hf.list_sources(); climb_hf.get_source('vindr_cxr').classes; "
        "print(sorted({'torch', 'pandas', 'datasets', 'transformers', 'pydicom', 'av'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("order", ["import climb_hf, datasets", "import datasets, climb_hf"])
def test_the_hook_works_in_either_import_order(miniatures, tmp_path, order):
    folder, _ = miniatures("brain_tumor")
    code = (
        f"{order}; d = datasets.load_dataset('climb', 'brain_tumor', data_dir={str(folder)!r}, split='train', "
        f"cache_dir={str(tmp_path)!r}); print(d.num_rows, d[0]['image'].mode)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["24", "RGB"]


def test_the_hook_is_idempotent():
    before = datasets.load.dataset_module_factory
    registration.install_hooks()
    assert datasets.load.dataset_module_factory is before
    assert sum(type(finder).__name__ == "_AfterImportFinder" for finder in sys.meta_path) == 1


def test_a_folder_called_climb_in_the_working_directory_changes_nothing(miniatures, tmp_path, monkeypatch):
    folder, _ = miniatures("brain_tumor")
    (tmp_path / "climb").mkdir()
    (tmp_path / "climb" / "trap.csv").write_text("a,b\n1,2\n")
    monkeypatch.chdir(tmp_path)
    dataset = datasets.load_dataset("climb", "brain_tumor", data_dir=str(folder), cache_dir=str(tmp_path / "cache"))
    assert dataset["train"].num_rows == 24


def test_other_paths_are_untouched(tmp_path):
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    table = datasets.load_dataset("csv", data_files=str(tmp_path / "table.csv"), cache_dir=str(tmp_path / "cache"))
    assert table["train"].to_list() == [{"a": 1, "b": 2}]
    with pytest.raises(FileNotFoundError):
        datasets.load_dataset(str(tmp_path / "climb"))


def test_config_names_are_the_sources():
    assert datasets.get_dataset_config_names("climb") == climb_hf.list_sources()


@pytest.mark.parametrize("keywords", [{}, {"data_dir": "raw"}, {"streaming": True}])
def test_a_missing_source_name_is_an_error_with_the_list(keywords):
    with pytest.raises(UnknownSourceError, match=r"(?s)brain_tumor.*climb sources"):
        datasets.load_dataset("climb", **keywords)


def test_an_unknown_source_name_offers_near_names():
    with pytest.raises(UnknownSourceError, match="Did you mean `ptbxl`"):
        datasets.load_dataset("climb", "ptb-xl")
    with pytest.raises(UnknownSourceError, match=r"Known: .*brain_tumor"):
        climb_hf.get_source("zzzzzzzz")


def test_trust_remote_code_and_data_files_are_refused_with_the_remedy(miniatures):
    folder, _ = miniatures("brain_tumor")
    with pytest.raises(OptionError, match="data_dir"):
        datasets.load_dataset("climb", "brain_tumor", data_files=[str(folder / "Training/no_tumor/1.jpg")])


def test_a_release_that_moved_the_private_function_gets_a_clear_message():
    module = types.ModuleType("datasets.load")
    module.load_dataset = lambda path: f"loaded {path}"
    registration.hook_datasets(module)
    assert module.load_dataset("csv") == "loaded csv"
    with pytest.raises(DependencyError, match=r"climb_hf\.load_dataset\(NAME"):
        module.load_dataset("climb")


def test_the_climb_data_variable_names_the_parent_of_all_sources(miniatures, tmp_path, monkeypatch):
    _folder, _ = miniatures.copy("brain_tumor", tmp_path / "brain_tumor")
    monkeypatch.setenv("CLIMB_DATA", str(tmp_path))
    assert datasets.load_dataset("climb", "brain_tumor", cache_dir=str(tmp_path / "c"))["train"].num_rows == 24
