"""The CLIMB paper's protocols on synthetic data, each through its command, and one report of them all."""

import csv
import re

import pytest
from cli_helpers import climb

from climb_hf.results import read_results

pytestmark = pytest.mark.slow

TINY = ["model.backbone=timm/test_convnext", "training.num_train_epochs=1"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("protocols")


@pytest.fixture(scope="module")
def results(place):
    """Folders with the results of every protocol."""
    dry, cache = ["--miniature"], ["--cache-dir", place / "cache"]
    tiny = [part for one in TINY for part in ("--set", one)]
    names = ["brain_tumor", "busi"]
    for kind, extra in (("joint", []), ("single", ["--single-task"])):
        run = place / kind
        climb("train", *names, "--to", run, "--recipe", "rq1/vision_quick", *tiny, *extra, *dry, *cache)
        climb("evaluate", run, *names, "--to", run / "test", "--n-bootstrap", "50", *dry, *cache)
    climb(
        "transfer", place / "joint", "--to", "covid_blues", "--shots", "1", "2", "--seeds", "2", "--method", "linear",
        "--against", "random", "--out", place / "transfer", *dry,
    )  # fmt: skip
    climb("probe", place / "joint", "busi", "--to", place / "probe", "--epochs", "2", *dry)
    climb(
        "fuse", "mimic_iv", "--to", place / "fusion", "--task", "ihm48", "--strategy", "late,mlp",
        "--miniature-n", "48", "--set", "training.num_train_epochs=1", *dry,
    )  # fmt: skip
    return [place / name for name in ("joint/test", "single/test", "transfer", "probe", "fusion")]


def test_every_protocol_writes_synthetic_results(results):
    protocols = {row.protocol for folder in results for row in read_results(folder / "results.jsonl")}
    assert protocols == {"multitask", "transfer", "linear_probe", "fusion"}
    assert all(row.synthetic for folder in results for row in read_results(folder / "results.jsonl"))


def test_one_report_holds_them_all_beside_the_paper(results, place):
    to = place / "report"
    model = ["--paper-model", "timm/test_convnext=ConvNeXtV2"]
    climb("report", *results, "--to", to, "--against", "paper", "--compare", results[0], results[0], *model)
    page = (to / "report.html").read_text(encoding="utf-8")
    assert "synthetic" in page
    assert not re.search(r'(src|href)="https?://(?!www\\.w3\\.org)[^"]+\\.(js|css|png)', page)
    pictures = {path.suffix for path in to.rglob("*") if path.suffix in (".png", ".svg")}
    assert pictures == {".png", ".svg"}
    tables = {path.name: list(csv.reader(path.open(encoding="utf-8"))) for path in to.rglob("*.csv")}
    header, *lines = tables["table_16.csv"]
    line = next(dict(zip(header, cells, strict=True)) for cells in lines if cells[2:4] == ["busi", "auc"])
    joint = next(
        row
        for row in read_results(results[0] / "results.jsonl")
        if row.source == "busi" and row.metric == "auc" and row.level == "source" and row.subgroup is None
    )
    assert float(line["value"]) == pytest.approx(joint.value)
    assert float(line["paper"]) == 0.7653
    assert float(line["difference"]) == pytest.approx(joint.value - 0.7653)
    assert {"own_transfer.csv", "own_linear_probe.csv", "own_fusion.csv", "table_21.csv"} <= set(tables)
    assert {row[-1] for row in tables["comparison_sources.csv"][1:]}
