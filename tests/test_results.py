"""Result files: strict JSON lines, undefined numbers with a reason, rows from the metrics, digests of recipes."""

import json
import math
from pathlib import Path

import pytest

from climb_hf.errors import SchemaError
from climb_hf.metrics import masked_metrics
from climb_hf.results import (
    ResultRow,
    clean_recipe,
    provenance,
    read_results,
    recipe_hash,
    rows_from_metrics,
    write_results,
)

ROW = ResultRow(
    source="ptbxl", split="test", metric="auc", value=0.1 + 0.2, n=7, interval=(0.25, 0.5), settings={"k": 8},
    versions={"torch": "2.6.0"}, seed=0,
)  # fmt: skip


def test_round_trip_is_exact(tmp_path):
    undefined = ResultRow(
        source="a", split="test", metric="f1", value=math.nan, n=0, reason="no rows", level="modality"
    )
    path = write_results(tmp_path / "deep" / "results.jsonl", [ROW, undefined])
    first, second = read_results(path)
    assert first == ROW
    assert first.value == 0.30000000000000004
    assert math.isnan(second.value)
    assert not second.is_defined
    assert second.reason == "no rows"
    assert [json.loads(line)["value"] for line in path.read_text().splitlines()] == [0.30000000000000004, None]
    assert "NaN" not in path.read_text()
    assert sorted(file.name for file in path.parent.iterdir()) == ["results.jsonl"]


def test_append_and_replace(tmp_path):
    path = tmp_path / "results.jsonl"
    for _ in range(2):
        write_results(path, [ROW], append=True)
    assert len(read_results(path)) == 2
    write_results(path, [ROW])
    assert len(read_results(path)) == 1


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"value": math.nan}, "say why in `reason`"),
        ({"value": math.inf}, "finite number or NaN"),
        ({"value": True}, "finite number or NaN"),
        ({"n": -1}, "count of rows"),
        ({"level": "planet"}, "`level` must be one of"),
        ({"interval": (0.9, 0.1)}, "`interval` must be"),
        ({"interval": (0.1, math.nan)}, "`interval` must be"),
        ({"source": ""}, "`source` must be a non-empty string"),
    ],
)
def test_wrong_rows_are_refused(changes, text):
    with pytest.raises(SchemaError, match=text):
        ResultRow(**{"source": "a", "split": "test", "metric": "auc", "value": 0.5, "n": 1, **changes})


def test_settings_that_json_cannot_hold_leave_no_file(tmp_path):
    row = ResultRow(source="a", split="test", metric="auc", value=0.5, n=1, settings={"x": {1, 2}})
    with pytest.raises(SchemaError, match="JSON values"):
        write_results(tmp_path / "results.jsonl", [ROW, row])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("{", "line 2: expected one JSON object per line"),
        ("[1]", "line 2: expected a JSON object, found list"),
        ('{"source": "a"}', r"line 2: the result lacks \['split', 'metric', 'value', 'n'\]"),
        (ROW.to_json().replace('"k"', '"K"').replace('"seed"', '"sead"'), r"unknown keys \['sead'\]"),
        (ROW.to_json().replace('"schema_version": 1', '"schema_version": 2'), "format 2, this climb-hf"),
        (ROW.to_json().replace('"n": 7', '"n": "7"'), "line 2: .*`n` must be a count"),
    ],
)
def test_damaged_files_name_the_line(tmp_path, line, text):
    path = tmp_path / "results.jsonl"
    path.write_text(f"{ROW.to_json()}\n{line}\n", encoding="utf-8")
    with pytest.raises(SchemaError, match=text):
        read_results(path)


def table(**options):
    """Two sources: a single-label one, and a multi-label one of one outcome only."""
    return masked_metrics(
        [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]],
        [[2.0, 1, 9], [0, 3, 9], [0.5, 1, 9], [0, 1, 9], [0, 0, 1], [0, 0, 2]],
        ["a", "a", "a", "a", "b", "b"],
        source_classes={"a": [0, 1], "b": [2]},
        multi_label={"a": False, "b": True},
        modalities={"a": "ECG", "b": "MRI"},
        **options,
    )


def test_rows_from_metrics_are_those_of_the_table():
    metrics = table(n_bootstrap=200, subgroups={"sex": ["f", "f", "m", "m", "f", "m"]}, calibration=True)
    rows = rows_from_metrics(metrics, split="test", seed=4, facts_by_source={"a": {"data_fingerprint": "f00"}})
    by_key = {(row.level, row.source, row.subgroup, row.metric): row for row in rows}
    assert len(by_key) == len(rows)
    auc = by_key["source", "a", None, "auc"]
    assert (auc.value, auc.n, auc.n_groups, auc.n_classes, auc.n_defined) == (1.0, 4, 4, 2, 2)
    assert auc.interval == tuple(metrics["sources"]["a"]["intervals"]["auc"])
    assert auc.data_fingerprint == "f00"
    assert auc.settings == {"n_bootstrap": 200, "bootstrap_seed": 0}
    top1 = by_key["source", "a", None, "top1"]
    assert top1.value == metrics["sources"]["a"]["top1"] == 0.75
    undefined = by_key["source", "b", None, "auc"]
    assert math.isnan(undefined.value)
    assert (undefined.reason, undefined.interval) == ("no class has both outcomes", None)
    assert by_key["source", "b", None, "specificity"].reason == "no class has a negative"
    assert ("source", "b", None, "top1") not in by_key
    assert ("source", "a", None, "exact_match") not in by_key
    assert by_key["source", "a", None, "brier"].value == metrics["sources"]["a"]["calibration"]["brier"]
    assert by_key["source", "a", "sex=f", "sensitivity"].n == 2
    assert by_key["modality", "ECG", None, "auc"].value == 1.0
    assert by_key["modality", "MRI", None, "auc"].reason == "undefined for every source"
    overall = by_key["overall", "all", None, "auc"]
    assert (overall.value, overall.n, overall.n_defined) == (1.0, 6, 1)
    assert {row.seed for row in rows} == {4}


def test_source_of_which_nothing_could_be_scored():
    metrics = table()
    metrics["sources"]["c"] = {"n": 0, "loss": math.nan, "n_left_out": 9}
    rows = [row for row in rows_from_metrics(metrics, split="test") if row.source == "c"]
    assert [(row.metric, row.n, row.n_left_out, row.reason) for row in rows] == [
        ("auc", 0, 9, "no row could be scored")
    ]


def test_recipes_are_cleaned_of_secrets_and_places():
    recipe = {
        "lr": 1e-3,
        "token": "t", "hub_token": "t", "WANDB_API_KEY": "k", "password": "p",
        "nested": [{"access_token": "t", "x": 1}], "max_tokens": 77, "cls_token": True, "tokenizer": "word",
        "data_dir": Path("/home/someone/raw/ptb-xl/"), "windows": r"C:\Users\someone\x", "home": "~/y",
        "backbone": "timm/test_vit", "hub": "user/name",
    }  # fmt: skip
    assert clean_recipe(recipe) == {
        "lr": 1e-3, "nested": [{"x": 1}], "max_tokens": 77, "cls_token": True, "tokenizer": "word",
        "data_dir": "ptb-xl", "windows": "x", "home": "y", "backbone": "timm/test_vit", "hub": "user/name",
    }  # fmt: skip
    assert recipe_hash(recipe) == recipe_hash(dict(reversed(recipe.items())))
    assert recipe_hash(recipe) == recipe_hash({**recipe, "token": "other", "data_dir": "/mnt/ptb-xl"})
    assert recipe_hash(recipe) != recipe_hash({**recipe, "lr": 2e-3})


def test_provenance_names_the_installed_versions():
    import torch

    assert provenance()["torch"] == torch.__version__.split("+")[0] or provenance()["torch"] == torch.__version__
