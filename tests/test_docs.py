"""Documentation against code: generated pages, docstrings, examples that run, files that are packaged."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import climb_hf
from climb_hf.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages(climb_hf.__path__, "climb_hf.")
    if "evaluate_metrics" not in info.name and not info.name.endswith("__main__")
)
SCRIPTS = [f"climb_hf.dataset_scripts.{name}" for name in climb_hf.list_sources()]


def test_generated_pages_are_up_to_date():
    result = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", "--check"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_every_source_has_its_row_in_the_docs():
    page = (ROOT / "docs" / "sources.md").read_text()
    assert set(re.findall(r"^\| \[(\w+)\]", page, re.MULTILINE)) == set(climb_hf.list_sources())
    readme = (ROOT / "README.md").read_text()
    assert all(f"`{name}`" in readme for name in climb_hf.list_sources())


def test_every_package_is_packaged():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {
        ".".join(["climb_hf", *path.parent.relative_to(ROOT / "climb_hf").parts])
        for path in (ROOT / "climb_hf").rglob("__init__.py")
    }
    for outer in ("dataset_scripts", "evaluate_metrics", "model_cards"):
        found |= {
            ".".join(["climb_hf", *path.parent.relative_to(ROOT).parts])
            for path in (ROOT / outer).rglob("__init__.py")
        }
    assert listed == found


def test_links_between_pages_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_commands_named_in_readme_exist():
    import typer

    known = set(typer.main.get_command(app).commands)
    used = set(re.findall(r"^climb (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert used <= known
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make ([\w-]+)", (ROOT / "README.md").read_text()):
        assert f"\n{target}:" in makefile


@pytest.mark.parametrize("name", [m for m in MODULES if not m.rsplit(".", 1)[-1].startswith("_")])
def test_public_symbols_have_docstrings(name):
    module = importlib.import_module(name)
    assert module.__doc__ or name.endswith("__init__") or not getattr(module, "__all__", ()), name
    for symbol in getattr(module, "__all__", ()):
        value = getattr(module, symbol)
        if inspect.isclass(value) or inspect.isroutine(value):
            assert value.__doc__, f"{name}.{symbol}"


@pytest.mark.parametrize("name", [m for m in [*MODULES, *SCRIPTS] if not m.startswith("climb_hf.cli")])
def test_examples_in_docstrings_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert results.failed == 0


def test_nothing_names_a_machine_or_asserts_outside_tests():
    forbidden = re.compile(r"/(?:work|root)/|/tmp/|TODO|FIXME|allow_pickle=True|weights_only=False|verify=False")
    for path in [*ROOT.glob("climb_hf/**/*.py"), *ROOT.glob("dataset_scripts/*.py"), *ROOT.glob("docs/**/*.md")]:
        found = forbidden.search(path.read_text())
        assert not found, f"{path.relative_to(ROOT)}: {found and found.group()}"
        if path.suffix == ".py":
            asserts = [node.lineno for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Assert)]
            assert not asserts, f"{path.relative_to(ROOT)}: {asserts}"
