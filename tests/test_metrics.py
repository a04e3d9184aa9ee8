"""`climb_hf.metrics` against scikit-learn, plain loops and hand-computed cases."""

import math
import subprocess
import sys
import zlib

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    f1_score,
    recall_score,
    roc_auc_score,
)

from climb_hf.errors import OptionError, SchemaError, VocabularyError
from climb_hf.metrics import (
    METRIC_NAMES,
    age_bands,
    masked_metrics,
)

SETS = {"single": [0, 2, 3, 5], "multi": [4, 1, 6]}
KINDS = {"single": False, "multi": True}


def make(n=300, seed=0, dtype=np.float64, decimals=None, rate=0.3):
    """Two sources in random order over 8 classes; class 7 belongs to nobody, cells outside V_k are garbage."""
    rng = np.random.default_rng(seed)
    sources = rng.choice(["single", "multi"], n)
    y = rng.random((n, 8)) < rate
    y[:, SETS["single"]] = rng.integers(0, 4, n)[:, None] == np.arange(4)
    scores = rng.normal(size=(n, 8)) + y
    scores = (scores if decimals is None else np.round(scores, decimals)).astype(dtype)
    garbage = np.ones((n, 8), dtype=bool)
    for name, classes in SETS.items():
        garbage[np.ix_(sources == name, classes)] = False
    scores[garbage] = np.nan
    return y, scores, sources


def run(y, scores, sources, **options):
    return masked_metrics(y, scores, sources, source_classes=SETS, multi_label=KINDS, **options)


def sklearn_table(y, scores, multi_label):
    """The numbers of one source by scikit-learn, class by class; `None` where scikit-learn has none."""
    likely = expit(scores.astype(float)) if multi_label else softmax(scores.astype(float), axis=1)
    chosen = likely >= 0.5 if multi_label else likely.argmax(1)[:, None] == np.arange(y.shape[1])
    rows = range(y.shape[1])
    both = [k for k in rows if 0 < y[:, k].sum() < len(y)]
    f1 = [f1_score(y[:, k], chosen[:, k], zero_division=np.nan) for k in rows]
    return {
        "auc": np.mean([roc_auc_score(y[:, k], likely[:, k]) for k in both]),
        "sensitivity": np.mean([recall_score(y[:, k], chosen[:, k]) for k in rows if y[:, k].any()]),
        "specificity": np.mean([recall_score(~y[:, k], ~chosen[:, k]) for k in rows if not y[:, k].all()]),
        "f1": np.nanmean(f1),
        "accuracy": np.mean([accuracy_score(y[:, k], chosen[:, k]) for k in rows]),
        "exact_match" if multi_label else "top1": accuracy_score(y, chosen),
    }


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("decimals", [None, 1, 0])
def test_equals_scikit_learn(dtype, decimals):
    y, scores, sources = make(dtype=dtype, decimals=decimals)
    result = run(y, scores, sources)
    for name, classes in SETS.items():
        rows = sources == name
        expected = sklearn_table(y[rows][:, classes], scores[rows][:, classes], KINDS[name])
        table = result["sources"][name]
        for metric in METRIC_NAMES:
            if metric in expected:
                assert table[metric] == pytest.approx(expected[metric], abs=1e-12), metric
            else:
                assert math.isnan(table[metric])
        assert table["n"] == table["n_groups"] == rows.sum()
        assert table["per_class"]["class"] == classes
        assert table["per_class"]["positives"] == y[rows][:, classes].sum(0).tolist()
        assert table["per_class"]["negatives"] == (~y[rows][:, classes]).sum(0).tolist()
    for metric in ("auc", "sensitivity", "specificity", "f1", "accuracy"):
        mean = np.mean([result["sources"][name][metric] for name in SETS])
        assert result["overall"][metric] == pytest.approx(mean, abs=1e-15)
    assert result["overall"]["n_top1_defined"] == result["overall"]["n_exact_match_defined"] == 1
    assert result["overall"]["top1"] == result["sources"]["single"]["top1"]
    assert (result["definition"], result["seed"], result["n"], result["confidence"]) == ("climb", 0, 300, 0.95)


def test_probabilities_give_the_same_numbers_as_their_logits():
    y, scores, sources = make(decimals=2)
    likely = np.full(scores.shape, np.nan)
    for name, classes in SETS.items():
        rows = np.ix_(sources == name, classes)
        likely[rows] = expit(scores[rows]) if KINDS[name] else softmax(scores[rows], axis=1)
    for definition in ("climb", "paper"):
        logits = run(y, scores, sources, definition=definition)
        given = run(y, likely, sources, definition=definition, from_logits=False)
        assert given["overall"] == pytest.approx(logits["overall"], abs=1e-12, nan_ok=True)


def test_undefined_is_nan_and_counted():
    y = np.zeros((4, 8), dtype=int)
    y[:, 4] = [1, 0, 1, 0]  # both outcomes
    y[:, 1] = 1  # no negative; class 6: no positive
    scores = np.zeros((4, 8))
    scores[:, 4], scores[:, 1], scores[:, 6] = [2, -1, -1, -2], 3, -3
    table = run(y, scores, ["multi"] * 4)["sources"]["multi"]
    # ranks of class 4: 2 > -1 = -1 > -2, so 3.5 of 4 pairs
    assert table["auc"] == 0.875
    assert (table["n_classes"], table["n_classes_defined"]) == (3, 1)
    assert table["per_class"]["auc"][0] == 0.875
    assert [math.isnan(value) for value in table["per_class"]["auc"]] == [False, True, True]
    assert table["sensitivity"] == (0.5 + 1.0) / 2
    assert table["n_sensitivity_defined"] == 2
    assert table["specificity"] == 1.0
    assert table["n_specificity_defined"] == 2
    assert table["f1"] == pytest.approx((2 / 3 + 1.0) / 2)
    assert table["n_f1_defined"] == 2
    assert table["accuracy"] == pytest.approx((0.75 + 1 + 1) / 3)
    assert table["exact_match"] == 0.75


def test_one_outcome_only_leaves_the_source_out_of_the_average():
    y, scores, sources = make(60)
    y[np.ix_(sources == "multi", SETS["multi"])] = False
    result = run(y, scores, sources, modalities={"single": "ECG", "multi": "CXR"})
    assert math.isnan(result["sources"]["multi"]["auc"])
    assert result["sources"]["multi"]["n_classes_defined"] == 0
    assert result["overall"]["auc"] == result["sources"]["single"]["auc"]
    assert (result["overall"]["n_sources"], result["overall"]["n_auc_defined"]) == (2, 1)
    assert math.isnan(result["modalities"]["CXR"]["auc"])
    assert result["modalities"]["ECG"]["auc"] == result["sources"]["single"]["auc"]
    assert result["sources"]["multi"]["modality"] == "CXR"


def test_constant_scores_are_a_defined_half():
    y, scores, sources = make(60)
    scores[...] = 1.5
    result = run(y, scores, sources)
    assert result["sources"]["single"]["auc"] == result["sources"]["multi"]["auc"] == 0.5


def test_all_masked():
    y, scores, sources = make(40)
    result = run(y, scores, sources, valid=np.zeros(y.shape, dtype=bool), n_bootstrap=5, calibration=True)
    for table in (*result["sources"].values(), result["overall"]):
        assert all(math.isnan(table[metric]) for metric in METRIC_NAMES)
        assert all(math.isnan(end) for ends in table["intervals"].values() for end in ends)
    assert result["sources"]["multi"]["per_class"]["positives"] == [0, 0, 0]
    assert math.isnan(result["sources"]["multi"]["calibration"]["brier"])
    assert math.isnan(result["sources"]["single"]["calibration"]["ece"])


def test_masked_cells_do_not_count_and_the_others_do():
    y, scores, sources = make(200, decimals=1)
    valid = np.random.default_rng(1).random(y.shape) < 0.7
    valid[np.ix_(sources == "single", SETS["single"])] = True
    table = run(np.where(valid, y, -1), scores, sources, valid=valid)["sources"]["multi"]
    rows = sources == "multi"
    for k, column in enumerate(SETS["multi"]):
        chosen = rows & valid[:, column]
        truth, logits = y[chosen, column], scores[chosen, column]
        per_class = {metric: values[k] for metric, values in table["per_class"].items()}
        assert per_class["auc"] == pytest.approx(roc_auc_score(truth, logits), abs=1e-12)
        assert per_class["sensitivity"] == pytest.approx(recall_score(truth, logits >= 0), abs=1e-12)
        assert per_class["specificity"] == pytest.approx(recall_score(~truth, logits < 0), abs=1e-12)
        assert per_class["f1"] == pytest.approx(f1_score(truth, logits >= 0), abs=1e-12)
        assert per_class["accuracy"] == pytest.approx(accuracy_score(truth, logits >= 0), abs=1e-12)
    cells = valid[rows][:, SETS["multi"]]
    wrong = (y != (scores >= 0))[rows][:, SETS["multi"]] & cells
    assert table["exact_match"] == (~wrong.any(1))[cells.any(1)].mean()


def test_a_single_label_row_may_hide_its_positive_but_not_have_two():
    scores = np.eye(8)[[0, 2, 3]]
    y = scores.astype(int)
    y[2] = 0
    valid = np.ones(y.shape, dtype=bool)
    valid[2, 3] = False
    table = run(y, scores, ["single"] * 3, valid=valid)["sources"]["single"]
    assert table["top1"] == 1.0  # over the two rows whose class is known
    assert table["per_class"]["negatives"] == [2, 2, 2, 3]
    for wrong in (0, 2):
        bad = scores.astype(int)
        bad[1, [0, 2]] = wrong // 2
        with pytest.raises(SchemaError, match=f"exactly one positive .*found {wrong} in row 1"):
            run(bad, scores, ["single"] * 3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_scores_name_their_rows(value):
    y, scores, sources = make(50)
    rows = np.flatnonzero(sources == "multi")[[2, 5]]
    scores[rows, 6] = value
    with pytest.raises(SchemaError, match=rf"scores of multi.*in row {rows[0]}, {rows[1]}\b"):
        run(y, scores, sources)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"definition": "ours"}, OptionError, "'climb' or 'paper'"),
        ({"n_bootstrap": -1}, OptionError, "`n_bootstrap`"),
        ({"confidence": 95}, OptionError, "between 0 and 1"),
        ({"seed": -1}, OptionError, "`seed`"),
        ({"num_threads": 0}, OptionError, "`num_threads`"),
        ({"groups": ["a"]}, SchemaError, "one value per row, 50, found 1"),
        ({"groups": [None] * 50}, SchemaError, "found None in row"),
        ({"from_logits": False}, SchemaError, r"probabilities in \[0, 1\]"),
        ({"definition": "paper", "valid": np.ones((50, 8))}, OptionError, "`valid`"),
        ({"valid": np.ones((50, 7))}, SchemaError, "`valid` must have the shape"),
        ({"subgroups": {"sex": ["male"]}}, SchemaError, "subgroups"),
    ],
)
def test_bad_options(options, error, text):
    with pytest.raises(error, match=text):
        run(*make(50), **options)


def test_bad_arrays_and_sources():
    y, scores, sources = make(50)
    with pytest.raises(SchemaError, match="0 and 1 only, found 2"):
        run(y + 1, scores, sources)
    with pytest.raises(SchemaError, match="one value per row, 50, found 49"):
        run(y, scores, sources[:-1])
    with pytest.raises(VocabularyError, match="rows of single were given, but `source_classes` lacks"):
        masked_metrics(y, scores, sources, source_classes={"multi": [1]}, multi_label={"multi": True})
    for classes in ([], [1, 1], [8], [-1]):
        with pytest.raises(VocabularyError, match="distinct columns from 0 to 7"):
            masked_metrics(y, scores, ["m"] * 50, source_classes={"m": classes}, multi_label={"m": True})


def paper_table(y, logits, multi_label):
    """The published steps, one after the other, for one source."""
    kept = [k for k in range(y.shape[1]) if set(y[:, k].tolist()) == {False, True}]
    y, logits = y[:, kept], logits[:, kept]
    decisions = np.zeros(y.shape, dtype=int)
    if multi_label:
        likely = 1 / (1 + np.exp(-logits))
        for i in range(len(y)):
            for k in range(len(kept)):
                decisions[i, k] = likely[i, k] > 0.5
            if decisions[i].sum() == 0:
                decisions[i, np.argmax(decisions[i])] = 1
    else:
        likely = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        decisions[np.arange(len(y)), likely.argmax(1)] = 1
    rates = []
    for k in range(len(kept)):
        tp = sum(1 for t, d in zip(y[:, k], decisions[:, k], strict=True) if t and d)
        tn = sum(1 for t, d in zip(y[:, k], decisions[:, k], strict=True) if not t and not d)
        fp, fn = decisions[:, k].sum() - tp, y[:, k].sum() - tp
        rates.append((tp / (tp + fn) if tp + fn else 0, tn / (tn + fp) if tn + fp else 0))
    cells = (decisions == y).mean()
    return {
        "auc": roc_auc_score(y, likely, average="macro"),
        "sensitivity": np.mean([rate[0] for rate in rates]),
        "specificity": np.mean([rate[1] for rate in rates]),
        "f1": f1_score(y, decisions, average="macro", zero_division=0),
        "accuracy": cells,
        "exact_match": (decisions == y).all(1).mean() if multi_label else cells,
    }, kept


@pytest.mark.parametrize("seed", range(6))
def test_paper_definition_follows_the_published_steps(seed):
    y, scores, sources = make(80, seed=seed, decimals=1, rate=0.1)
    y[:, 1] = seed % 2  # a class without both outcomes
    y[:, 3] &= seed % 3 > 0
    orphans = (sources == "single") & ~y[:, SETS["single"]].any(1)
    y[orphans, 0] = True
    scores[sources == "multi", 4] -= 1.5  # rows without any decision
    result = run(y, scores, sources, definition="paper")
    for name, classes in SETS.items():
        rows = sources == name
        expected, kept = paper_table(y[rows][:, classes], scores[rows][:, classes], KINDS[name])
        table = result["sources"][name]
        for metric, value in expected.items():
            assert table[metric] == pytest.approx(value, abs=1e-12), metric
        assert math.isnan(table["top1"])
        assert table["per_class"]["class"] == [classes[k] for k in kept]
        assert (table["n_classes"], table["n_classes_defined"]) == (len(classes), len(kept))


def test_paper_quirk_and_strict_threshold_by_hand():
    y = np.array([[0, 1], [1, 0]])
    scores = np.array([[-1.0, 0.0], [-2.0, -1.0]])  # p = 0.5 is no decision; both rows then get class 0
    options = {"source_classes": {"s": [0, 1]}, "multi_label": {"s": True}}
    table = masked_metrics(y, scores, ["s", "s"], definition="paper", **options)["sources"]["s"]
    assert (table["sensitivity"], table["specificity"], table["accuracy"], table["exact_match"]) == (
        0.5,
        0.5,
        0.5,
        0.5,
    )
    ours = masked_metrics(y, scores, ["s", "s"], **options)["sources"]["s"]
    assert ours["per_class"]["sensitivity"] == [0.0, 1.0]
    assert ours["exact_match"] == 0.5


def test_paper_source_without_a_valid_class_is_left_out():
    y, scores, sources = make(30)
    y[np.ix_(sources == "multi", SETS["multi"])] = True
    result = run(y, scores, sources, definition="paper", n_bootstrap=3, calibration=True)
    assert all(math.isnan(result["sources"]["multi"][metric]) for metric in METRIC_NAMES)
    assert result["overall"]["auc"] == result["sources"]["single"]["auc"]
    assert result["overall"]["n_accuracy_defined"] == 1


def naive_bootstrap(y, scores, sources, groups, name, n_bootstrap, seed, **options):
    """Resample by repeating rows, and score each resample anew."""
    rows = np.flatnonzero(sources == name)
    codes = list(dict.fromkeys(groups[rows]))
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    tables = []
    for _ in range(n_bootstrap):
        drawn = rng.integers(0, len(codes), size=len(codes))
        again = np.concatenate([rows[groups[rows] == codes[g]] for g in drawn])
        extra = {key: value[again] for key, value in options.items()}
        tables.append(run(y[again], scores[again], sources[again], **extra)["sources"][name])
    return tables


@pytest.mark.parametrize("masked", [False, True])
def test_bootstrap_equals_a_naive_loop(masked):
    y, scores, sources = make(160, decimals=1, rate=0.08)
    groups = np.random.default_rng(5).integers(0, 50, 160).astype(str)
    options = {}
    if masked:
        valid = np.random.default_rng(6).random(y.shape) < 0.8
        valid[np.ix_(sources == "single", SETS["single"])] = True
        options = {"valid": valid}
    result = run(y, scores, sources, groups=groups, n_bootstrap=30, seed=7, confidence=0.8, **options)
    drawn = {}
    for name in SETS:
        table = result["sources"][name]
        tables = naive_bootstrap(y, scores, sources, groups, name, 30, 7, **options)
        assert table["n_groups"] == len(set(groups[sources == name]))
        for metric in METRIC_NAMES:
            drawn[name, metric] = values = np.array([one[metric] for one in tables])
            defined = values[~np.isnan(values)]
            assert table["n_resamples"][metric] == len(defined)
            if len(defined):
                expected = np.percentile(defined, [10, 90])
                np.testing.assert_allclose(table["intervals"][metric], expected, atol=1e-12)
        areas = np.array([one["per_class"]["auc"] for one in tables])
        np.testing.assert_array_equal(table["per_class"]["n_resamples"], (~np.isnan(areas)).sum(0))
        for k, interval in enumerate(table["per_class"]["auc_interval"]):
            np.testing.assert_allclose(interval, np.nanpercentile(areas[:, k], [10, 90]), atol=1e-12)
    means = (drawn["single", "auc"] + drawn["multi", "auc"]) / 2
    means = means[~np.isnan(means)]
    assert result["overall"]["n_resamples"]["auc"] == len(means)
    np.testing.assert_allclose(result["overall"]["intervals"]["auc"], np.percentile(means, [10, 90]), atol=1e-12)


def test_bootstrap_does_not_depend_on_how_the_work_is_cut(monkeypatch):
    y, scores, sources = make(150, decimals=1)
    options = {"n_bootstrap": 25, "seed": 3}
    whole = run(y, scores, sources, **options)
    alone = run(*(array[sources == "multi"] for array in (y, scores, sources)), **options)
    assert repr(alone["sources"]["multi"]) == repr(whole["sources"]["multi"])
    for name, value in (("_CHUNK_CELLS", 600), ("_BLOCK_CELLS", 1), ("_PRODUCT_ROWS", 7), ("_FLOAT32_EXACT", 0)):
        monkeypatch.setattr(f"climb_hf.metrics.bootstrap.{name}", value)
    cut = run(y, scores, sources, num_threads=2, **options)
    assert repr(cut) == repr(whole)


def test_groups_widen_the_interval_and_one_group_has_none():
    rng = np.random.default_rng(8)
    patients = np.repeat(np.arange(40), 25)
    y = (rng.random(40) < 0.5)[patients][:, None]
    scores = (y[:, 0] + rng.normal(size=40)[patients] * 2)[:, None]  # rows of a patient say the same
    options = {"source_classes": {"s": [0]}, "multi_label": {"s": True}, "n_bootstrap": 200}
    rows = masked_metrics(y, scores, ["s"] * 1000, **options)["sources"]["s"]
    clustered = masked_metrics(y, scores, ["s"] * 1000, groups=patients, **options)["sources"]["s"]
    width = {name: np.ptp(table["intervals"]["auc"]) for name, table in (("rows", rows), ("clusters", clustered))}
    assert rows["auc"] == clustered["auc"]
    assert width["clusters"] > 3 * width["rows"]
    alone = masked_metrics(y, scores, ["s"] * 1000, groups=["p"] * 1000, **options)
    assert alone["sources"]["s"]["n_groups"] == 1
    assert all(math.isnan(end) for end in alone["sources"]["s"]["intervals"]["auc"])
    assert alone["overall"]["n_resamples"]["auc"] == 0


def test_subgroup_tables():
    y, scores, sources = make(200)
    sex = np.random.default_rng(9).choice(["female", "male"], 200).astype(object)
    sex[:20] = None
    result = run(y, scores, sources, subgroups={"sex": sex, "age": age_bands([30] * 200)}, n_bootstrap=10)
    for name in SETS:
        tables = result["sources"][name]["subgroups"]
        assert list(tables["sex"]) == ["female", "male", "unknown"]
        assert sum(table["n"] for table in tables["sex"].values()) == result["sources"][name]["n"]
        chosen = sex == "male"
        alone = run(y[chosen], scores[chosen], sources[chosen])["sources"][name]
        assert tables["sex"]["male"]["auc"] == alone["auc"]
        assert tables["sex"]["male"]["f1"] == alone["f1"]
        low, high = tables["sex"]["male"]["intervals"]["auc"]
        assert low < high
        assert tables["age"]["18-<40"]["auc"] == result["sources"][name]["auc"]


def test_calibration():
    y, scores, sources = make(400)
    tables = run(y, scores, sources, calibration=True)["sources"]
    for name, classes in SETS.items():
        truth, logits = y[sources == name][:, classes], scores[sources == name][:, classes]
        likely = expit(logits) if KINDS[name] else softmax(logits, axis=1)
        brier = np.mean([brier_score_loss(truth[:, k], likely[:, k]) for k in range(len(classes))])
        assert tables[name]["calibration"]["brier"] == pytest.approx(brier, abs=1e-12)
        pairs = [(likely[:, k], truth[:, k]) for k in range(len(classes))]
        if not KINDS[name]:
            pairs = [(likely.max(1), truth[np.arange(len(truth)), likely.argmax(1)])]
        gaps = []
        for confidence, correct in pairs:
            gap = 0.0
            for b in range(15):
                inside = (confidence > b / 15) & (confidence <= (b + 1) / 15)
                if inside.any():
                    gap += inside.mean() * abs(confidence[inside].mean() - correct[inside].mean())
            gaps.append(gap)
        assert tables[name]["calibration"]["ece"] == pytest.approx(np.mean(gaps), abs=1e-12)
        assert tables[name]["calibration"]["n_bins"] == 15


def test_no_rows():
    result = run(np.zeros((0, 8)), np.zeros((0, 8)), [])
    assert result["sources"] == {}
    assert math.isnan(result["overall"]["auc"])
    assert result["overall"]["n_sources"] == 0


def test_import_is_light():
    code = (
        "import sys, climb_hf.metrics; print(*{'torch', 'pandas', 'sklearn', 'scipy', 'datasets'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "\n"


def test_ragged_rows_are_a_schema_error():
    with pytest.raises(SchemaError, match="same number of columns"):
        masked_metrics(
            [[1, 0], [1]], [[1.0, 0.0], [1.0]], ["a", "a"], source_classes={"a": [0]}, multi_label={"a": True}
        )
