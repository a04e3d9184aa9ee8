"""Two models on the same records: alignment, tests, refusals; and the figures drawn from predictions."""

import numpy as np
import pytest
from report_rows import predictions, row, write

from climb_hf.errors import AccessError, SchemaError
from climb_hf.metrics import delong_test, expected_calibration_error, masked_metrics
from climb_hf.report.benchmark import write_benchmark_report
from climb_hf.report.comparison import compare_predictions, holm
from climb_hf.report.prediction_figures import forest_figure, forest_rows, reliability_bins, reliability_figure
from climb_hf.report.predictions import load_predictions
from climb_hf.training.evaluation import load_rows

TRUTH = [0, 1] * 20


def scores(strength, seed):
    generator = np.random.default_rng(seed)
    truth = np.eye(2)[TRUTH]
    return (strength * truth + generator.normal(size=truth.shape)).astype(np.float32)


@pytest.fixture
def pair(tmp_path):
    groups = [f"p{i // 2}" for i in range(40)]
    good, bad = scores(3.0, 0), scores(0.2, 1)
    predictions(tmp_path / "good", good, TRUTH, groups=groups)
    order = np.random.default_rng(2).permutation(40)  # another order, another vocabulary
    ids = [f"r{i}" for i in order]
    predictions(
        tmp_path / "bad", bad[order][:, ::-1], [1 - TRUTH[i] for i in order], ids=ids,
        groups=[groups[i] for i in order], names=("y", "b", "a"),
    )  # fmt: skip
    return tmp_path / "good", tmp_path / "bad", good, bad, groups


def test_rows_and_classes_are_matched_by_name(pair):
    one, two, good, bad, groups = pair
    found = compare_predictions(one, two, n_bootstrap=200)
    assert found.names == ("good", "bad")
    assert found.remarks == []
    source = found.sources[0]
    for own, name in ((good, "good"), (bad, "bad")):
        table = masked_metrics(
            np.eye(2)[TRUTH], own, ["s"] * 40, source_classes={"s": [0, 1]}, multi_label={"s": False}
        )
        assert source[f"AUC {name}"] == pytest.approx(table["sources"]["s"]["auc"])
    assert source["difference"] == pytest.approx(source["AUC good"] - source["AUC bad"])
    assert source["low"] > 0
    assert source["p"] < 0.05
    assert len(found.sources) == 1  # the mean of one source is that source
    softmax = [np.exp(own) / np.exp(own).sum(axis=1, keepdims=True) for own in (good.astype(float), bad.astype(float))]
    expected = delong_test(np.eye(2)[TRUTH][:, 0] > 0, softmax[0][:, 0], softmax[1][:, 0], groups)
    first = found.classes[0]
    assert (first["class"], first["rows"], first["positives"]) == ("a", 40, 20)
    assert first["p"] == pytest.approx(expected["p"])
    assert first["p (Holm)"] >= first["p"]


def test_a_model_does_not_differ_from_itself(pair):
    found = compare_predictions(pair[0], pair[0], n_bootstrap=50)
    assert found.sources[0]["difference"] == 0
    assert found.sources[0]["p"] == 1
    assert [own["p"] for own in found.classes] == [1, 1]


def test_other_records_labels_and_classes_are_refused(pair, tmp_path):
    good = pair[2]
    predictions(tmp_path / "fewer", good[:30], TRUTH[:30])
    with pytest.raises(
        SchemaError, match=r"scored 40 records, the second 30, and only 30 are the same; not in both: r30"
    ):
        compare_predictions(pair[0], tmp_path / "fewer")
    predictions(tmp_path / "labels", good, [1 - TRUTH[0], *TRUTH[1:]])
    with pytest.raises(SchemaError, match="1 of 40 records have other labels"):
        compare_predictions(pair[0], tmp_path / "labels")
    predictions(tmp_path / "classes", good, TRUTH, names=("x", "a", "c"))
    with pytest.raises(SchemaError, match="the models have other classes: b, c"):
        compare_predictions(pair[0], tmp_path / "classes")
    predictions(tmp_path / "source", good, TRUTH, source="chexpert")
    with pytest.raises(SchemaError, match="have no source in common: busi and chexpert"):
        compare_predictions(pair[0], tmp_path / "source")
    with pytest.raises(AccessError, match=r"holds no `predictions\.npz`"):
        compare_predictions(pair[0], tmp_path / "nothing")


def test_one_file_per_source_and_sources_of_one_side(pair, tmp_path):
    for name in ("busi", "chexpert"):
        predictions(tmp_path / "each" / name, pair[2], TRUTH, source=name)
    found = compare_predictions(tmp_path / "each", pair[0], n_bootstrap=20)
    assert [own["source"] for own in found.sources] == ["busi"]
    assert found.remarks == ["Only scored by each, so not compared: chexpert."]
    both = compare_predictions(tmp_path / "each", tmp_path / "each", n_bootstrap=20)
    assert [own["source"] for own in both.sources] == ["busi", "chexpert", "mean of all sources"]


def test_the_comparison_is_part_of_the_report(pair, tmp_path):
    write(pair[0], row("busi", 0.9, synthetic=True))
    page = write_benchmark_report([], tmp_path / "out", compare=(pair[0], pair[1]), n_bootstrap=50)
    text = page.read_text()
    assert "All data behind these numbers is synthetic" in text
    assert "good/results.jsonl" in text
    assert "good against bad: macro AUC by source" in text
    assert "DeLong" in text
    assert (
        (tmp_path / "out" / "tables" / "comparison_classes.csv").read_text().startswith("source,class,rows,positives")
    )


def test_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]


def test_names_of_columns_are_saved(pair):
    assert load_rows(pair[0] / "predictions.npz")["vocabulary"] == ["x", "a", "b"]


def test_reliability_agrees_with_the_calibration_error(pair):
    own = load_predictions(pair[0])["busi"]
    bins = reliability_bins(own)
    total = sum(item.count for item in bins)
    error = sum(item.count * abs(item.confidence - item.share) for item in bins) / total
    assert total == 40
    assert error == pytest.approx(expected_calibration_error(own.references, own.probabilities(), multi_label=False))
    axes = reliability_figure({"busi": own}).axes[0]
    assert len(axes.collections[0].get_offsets()) == len(bins)


def test_a_forest_has_a_line_per_subgroup():
    rows = [row("busi", 0.8, interval=(0.7, 0.9)), row("busi", float("nan"), subgroup="sex=male"),
            row("busi", 0.7, subgroup="sex=female"), row("chexpert", 0.6)]  # fmt: skip
    found = forest_rows(rows)
    assert [[own.subgroup for own in chosen] for chosen in found.values()] == [[None, "sex=female", "sex=male"]]
    axes = forest_figure(next(iter(found.values()))).axes[0]
    assert next(text.get_text() for text in axes.get_yticklabels()) == "busi (n = 100)"
    assert sum(own.get_label() != "_interval" for own in axes.lines) == 2  # the undefined one is left empty
