"""The `evaluate` Space `climb_retrieval`: loads by path, offline, and gives the numbers of `climb_hf.metrics`."""

import ast
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import evaluate
import numpy as np
import pytest
import yaml

from climb_hf import metrics
from climb_hf.errors import SchemaError

FOLDER = Path(__file__).resolve().parents[1] / "evaluate_metrics" / "climb_retrieval"


@pytest.fixture(scope="module")
def metric():
    return evaluate.load(str(FOLDER))


@pytest.fixture
def pairs():
    images = np.random.default_rng(0).normal(size=(60, 5))
    return images, images + np.random.default_rng(1).normal(size=(60, 5))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ks": [1, 5], "ties": "pessimistic"},
        {"ks": [3], "keys": [i // 3 for i in range(60)]},
        {"n_bootstrap": 20, "seed": 3, "confidence": 0.9, "groups": [str(i // 2) for i in range(60)]},
    ],
)
def test_equals_climb_hf_metrics(metric, pairs, options):
    result = metric.compute(predictions=pairs[0], references=pairs[1], **options)
    expected = metrics.retrieval_metrics(*pairs, **options)
    assert result.pop("climb_retrieval") == expected["average_recall"]
    assert repr(result) == repr(expected)  # NaN equals NaN, and every digit counts


def test_batches(metric, pairs):
    for start in range(0, 60, 17):
        part = slice(start, start + 17)
        metric.add_batch(predictions=pairs[0][part].tolist(), references=pairs[1][part].tolist())
    result = metric.compute(ks=[1, 5])
    assert result["climb_retrieval"] == metrics.retrieval_metrics(*pairs, ks=[1, 5])["average_recall"]
    assert result["n"] == 60


def test_errors(metric, pairs):
    images = pairs[0].copy()
    images[7, 2] = np.nan
    with pytest.raises(SchemaError, match=r"`images`.*in row 7"):
        metric.compute(predictions=images, references=pairs[1])
    listed = pairs[0].tolist()
    listed[9][0] = None
    with pytest.raises(SchemaError, match=r"`images`.*in row 9"):
        metric.compute(predictions=listed, references=pairs[1])
    with pytest.raises(SchemaError, match="one width"):
        metric.compute(predictions=[[1.0, 2.0], [1.0]], references=[[1.0, 2.0], [1.0, 3.0]])


def test_cases_of_the_space(metric):
    spec = importlib.util.spec_from_file_location("space_cases", FOLDER / "tests.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert len(module.test_cases) == 3
    for case in module.test_cases:
        inputs = {key: value for key, value in case.items() if key != "result"}
        result = metric.compute(**inputs)
        assert {key: result[key] for key in case["result"]} == case["result"]


def test_example_of_the_card(metric):
    result = metric.compute(
        predictions=[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]],
        references=[[1.0, 0.1], [1.0, 0.9], [1.0, 0.8]],
        ks=[1],
    )
    assert result["climb_retrieval"] == pytest.approx(2 / 3)
    assert result["image_to_text"]["recall@1"] == pytest.approx(2 / 3)


def test_files_of_a_space():
    assert {path.name for path in FOLDER.iterdir() if path.is_file()} == {
        "README.md",
        "__init__.py",
        "app.py",
        "climb_retrieval.py",
        "requirements.txt",
        "tests.py",
    }
    header = yaml.safe_load((FOLDER / "README.md").read_text(encoding="utf-8").split("---")[1])
    assert (header["sdk"], header["app_file"], header["tags"]) == ("gradio", "app.py", ["evaluate", "metric"])
    assert {"title", "emoji", "sdk_version", "description"} <= set(header)
    assert "climb-hf" in (FOLDER / "requirements.txt").read_text(encoding="utf-8").splitlines()
    ast.parse((FOLDER / "app.py").read_text(encoding="utf-8"))


def test_imports_pass_the_scanner_of_evaluate():
    tree = ast.parse((FOLDER / "climb_retrieval.py").read_text(encoding="utf-8"))
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert all(isinstance(node, ast.Import) and len(node.names) == 1 for node in top)
    assert {node.names[0].name for node in top} == {"datasets", "evaluate", "numpy"}


def test_loads_without_climb_hf_and_says_what_is_missing(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "climb_retrieval", ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "import sys; sys.modules['climb_hf'] = None\n"
        "import evaluate\n"
        "metric = evaluate.load('climb_retrieval')\n"
        "try: metric.compute(predictions=[[1.0]], references=[[1.0]])\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert "pip install climb-hf" in done.stdout
