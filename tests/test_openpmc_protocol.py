"""Open-PMC-18M end to end on synthetic data: pretrain, retrieve, classify by prompts, probe."""

import csv
import json

import pytest
from cli_helpers import climb

from climb_hf.results import read_results

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("openpmc")


@pytest.fixture(scope="module")
def encoder(place):
    to = place / "pairs"
    cache = ["--cache-dir", place / "cache"]
    output = climb(
        "train", "deepeyenet", "--to", to, "--recipe", "openpmc/quick", "--miniature", "--miniature-n", "240",
        "--set", "training.num_train_epochs=60", *cache,
    )  # fmt: skip
    assert "climb retrieve" in output
    return to


def test_the_checkpoint_is_a_plain_dual_encoder_that_says_synthetic(encoder):
    facts = json.loads((encoder / "model" / "training.json").read_text())
    assert facts["synthetic"] is True
    assert facts["sources"] == ["deepeyenet"]
    assert json.loads((encoder / "model" / "config.json").read_text())["model_type"] == "vision-text-dual-encoder"


def test_retrieval_is_better_than_chance(encoder, place):
    raw = encoder / "miniature" / "deepeyenet"
    to = place / "retrieval"
    climb(
        "retrieve", encoder, "--source", f"deepeyenet={raw}", "--to", to, "--k", "1", "--k", "5",
        "--positives", "text", "--cache-dir", place / "cache",
    )  # fmt: skip
    rows = [row for row in read_results(to / "results.jsonl") if row.metric == "recall@5" and row.level == "source"]
    assert {row.settings["direction"] for row in rows} >= {"image_to_text", "text_to_image"}
    assert all(row.synthetic for row in rows)
    for row in rows:
        assert row.value > 1.5 * row.settings["chance"]
        assert row.interval[0] > row.settings["chance"]


def test_prompts_and_probe_run_on_the_sources_of_the_protocol(encoder, place):
    names = ["retinamnist", "bach", "skincancer"]
    sources = [part for name in names for part in ("--source", name)]
    climb("zeroshot", encoder, *sources, "--to", place / "zero", "--miniature")
    rows = read_results(place / "zero" / "results.jsonl")
    assert {row.source for row in rows if row.level == "source"} == set(names)
    assert all(row.synthetic and row.protocol == "zero_shot" for row in rows)
    climb("probe", encoder, *names, "--to", place / "probe", "--miniature", "--epochs", "3")
    probed = read_results(place / "probe" / "results.jsonl")
    assert {row.source for row in probed if row.level == "source" and row.metric == "f1"} == set(names)
    assert all(row.synthetic for row in probed)


def test_one_report_holds_them_all_beside_the_paper(place):
    folders = [place / name for name in ("retrieval", "zero", "probe")]
    climb("report", *folders, "--to", place / "report", "--against", "openpmc")
    page = (place / "report" / "report.html").read_text(encoding="utf-8")
    assert "synthetic" in page
    tables = {}
    for path in (place / "report" / "tables").glob("*.csv"):
        with path.open(encoding="utf-8") as stream:
            tables[path.stem] = list(csv.DictReader(stream))
    cells = [row for rows in tables.values() for row in rows]
    found = {(row["dataset"], row["metric"]) for row in cells if row["value"]}
    assert {("retinamnist", "f1"), ("bach", "f1"), ("skincancer", "f1"), ("deepeyenet", "recall@5")} <= found
    printed = [row for row in cells if row["dataset"] == "bach" and row["paper"]]
    assert printed  # the paper's linear probe
