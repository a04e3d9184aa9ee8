"""The `evaluate` Space `climb_masked_auc`: loads by path, offline, and gives the numbers of `climb_hf.metrics`."""

import ast
import importlib.util
import math
import shutil
import subprocess
import sys
from pathlib import Path

import evaluate
import numpy as np
import pytest
import yaml

from climb_hf import metrics, vocabulary
from climb_hf.errors import OptionError, SchemaError, VocabularyError

FOLDER = Path(__file__).resolve().parents[1] / "evaluate_metrics" / "climb_masked_auc"
SETS = {"one": [0, 2], "many": [1, 3, 4]}
KINDS = {"one": False, "many": True}
OPTIONS = {"source_classes": SETS, "multi_label": KINDS}


@pytest.fixture(scope="module")
def metric():
    return evaluate.load(str(FOLDER))


def rows(n=60, seed=0):
    rng = np.random.default_rng(seed)
    y = (rng.random((n, 5)) < 0.4).astype(float)
    y[:, 2] = 1 - y[:, 0]
    return y, rng.normal(size=(n, 5)) + y, rng.choice(list(SETS), n)


def same(left, right):
    return repr(left) == repr(right)  # NaN equals NaN, and every digit counts


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"definition": "paper"},
        {"n_bootstrap": 20, "seed": 3, "confidence": 0.9, "groups": [str(i // 2) for i in range(60)]},
        {"calibration": True, "modalities": {"one": "ECG"}, "subgroups": {"sex": ["female", "male"] * 30}},
    ],
)
def test_equals_climb_hf_metrics(metric, options):
    y, scores, sources = rows()
    result = metric.compute(references=y, predictions=scores, sources=sources, **OPTIONS, **options)
    expected = metrics.masked_metrics(y, scores, sources, **OPTIONS, **options)
    assert result.pop("climb_masked_auc") == expected["overall"]["auc"]
    assert same(result, expected)


def test_batches_and_lists(metric):
    y, scores, sources = rows()
    for start in range(0, 60, 17):
        part = slice(start, start + 17)
        metric.add_batch(references=y[part].tolist(), predictions=scores[part].tolist(), sources=list(sources[part]))
    result = metric.compute(**OPTIONS)
    assert result["climb_masked_auc"] == metrics.masked_metrics(y, scores, sources, **OPTIONS)["overall"]["auc"]
    assert result["n"] == 60


def test_unknown_references_are_left_out(metric):
    y, scores, sources = rows()
    gaps = np.random.default_rng(1).random(y.shape) < 0.2
    gaps[:, SETS["one"]] = False
    gaps[np.flatnonzero(sources == "one")[0], SETS["one"]] = True
    listed = [[None if gap else value for value, gap in zip(*pair, strict=True)] for pair in zip(y, gaps, strict=True)]
    result = metric.compute(references=listed, predictions=scores, sources=sources, **OPTIONS)
    expected = metrics.masked_metrics(np.where(gaps, 0, y), scores, sources, valid=~gaps, **OPTIONS)
    assert result.pop("climb_masked_auc") == expected["overall"]["auc"]
    assert same(result, expected)
    holes = np.where(gaps, np.nan, y)
    again = metric.compute(references=holes, predictions=scores, sources=sources, **OPTIONS)
    assert again["climb_masked_auc"] == expected["overall"]["auc"]
    with pytest.raises(OptionError, match="definition='paper'"):
        metric.compute(references=holes, predictions=scores, sources=sources, definition="paper", **OPTIONS)


def test_unknown_cells_outside_the_classes_do_not_matter(metric):
    y, scores, sources = rows()
    holes, logits = y.copy(), scores.copy()
    for name, classes in SETS.items():
        others = [column for column in range(5) if column not in classes]
        for array in (holes, logits):
            array[np.ix_(sources == name, others)] = np.nan
    for definition in ("climb", "paper"):
        result = metric.compute(
            references=holes, predictions=logits, sources=sources, definition=definition, **OPTIONS
        )
        expected = metrics.masked_metrics(y, scores, sources, definition=definition, **OPTIONS)
        assert result["climb_masked_auc"] == expected["overall"]["auc"]


def test_classes_come_from_the_vocabulary_by_default(metric):
    own = vocabulary.source_vocabulary("ham10000")
    other = vocabulary.source_vocabulary("ptbxl")
    n, width = 40, len(vocabulary.concepts())
    rng = np.random.default_rng(2)
    y, scores = np.zeros((n, width)), rng.normal(size=(n, width))
    sources = ["ham10000"] * 20 + ["ptbxl"] * 20
    y[np.arange(20), rng.choice(own.indices, 20)] = 1
    y[20:, list(other.indices)] = rng.random((20, len(other.indices))) < 0.5
    result = metric.compute(references=y, predictions=scores, sources=sources)
    expected = metrics.masked_metrics(
        y,
        scores,
        sources,
        source_classes={"ham10000": own.indices, "ptbxl": other.indices},
        multi_label={"ham10000": own.multi_label, "ptbxl": other.multi_label},
        modalities={"ham10000": own.modality, "ptbxl": other.modality},
    )
    assert result.pop("climb_masked_auc") == expected["overall"]["auc"]
    assert same(result, expected)
    assert set(result["modalities"]) == {own.modality, other.modality}
    with pytest.raises(VocabularyError, match="unheard_of"):
        metric.compute(references=y[:1], predictions=scores[:1], sources=["unheard_of"])


def test_errors(metric):
    y, scores, sources = rows()
    with pytest.raises(OptionError, match="belong together"):
        metric.compute(references=y, predictions=scores, sources=sources, source_classes=SETS)
    bad = scores.copy()
    bad[7] = np.nan
    with pytest.raises(SchemaError, match="in row 7"):
        metric.compute(references=y, predictions=bad, sources=sources, **OPTIONS)
    with pytest.raises(SchemaError, match="one value per concept"):
        metric.compute(references=[[1, 0], [1]], predictions=scores[:2], sources=sources[:2], **OPTIONS)
    with pytest.raises(ValueError, match="sources"):
        metric.compute(references=y, predictions=scores, **OPTIONS)


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
        references=[[1, 0, 0], [0, 1, 0], [1, 0, 1]],
        predictions=[[2.0, 1.0, 9.0], [0.0, 3.0, 9.0], [0.5, 1.0, 9.0]],
        sources=["a", "a", "a"],
        source_classes={"a": [0, 1]},
        multi_label={"a": False},
    )
    assert result["climb_masked_auc"] == 1.0
    assert result["sources"]["a"]["top1"] == pytest.approx(2 / 3)
    assert math.isnan(result["sources"]["a"]["exact_match"])


def test_files_of_a_space():
    assert {path.name for path in FOLDER.iterdir() if path.is_file()} == {
        "README.md",
        "__init__.py",
        "app.py",
        "climb_masked_auc.py",
        "requirements.txt",
        "tests.py",
    }
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    header = yaml.safe_load(card.split("---")[1])
    assert (header["sdk"], header["app_file"], header["tags"]) == ("gradio", "app.py", ["evaluate", "metric"])
    assert {"title", "emoji", "sdk_version", "description"} <= set(header)
    assert "climb-hf" in (FOLDER / "requirements.txt").read_text(encoding="utf-8").splitlines()
    ast.parse((FOLDER / "app.py").read_text(encoding="utf-8"))


def test_imports_pass_the_scanner_of_evaluate():
    tree = ast.parse((FOLDER / "climb_masked_auc.py").read_text(encoding="utf-8"))
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert all(isinstance(node, ast.Import) and len(node.names) == 1 for node in top)
    assert {node.names[0].name for node in top} == {"datasets", "evaluate", "numpy"}


def test_loads_without_climb_hf_and_says_what_is_missing(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "climb_masked_auc", ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "import sys; sys.modules['climb_hf'] = None\n"
        "import evaluate\n"
        "metric = evaluate.load('climb_masked_auc')\n"
        "try: metric.compute(references=[[1]], predictions=[[0.0]], sources=['a'])\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert "pip install climb-hf" in done.stdout
