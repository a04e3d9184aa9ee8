"""Few-shot samples: k per class, nested in k, spread over patients, the same for every order of the rows."""

import itertools
import random

import pytest

from climb_hf.errors import OptionError, SchemaError
from climb_hf.protocols.few_shot import NONE_OF_THEM, few_shot, without_groups

CLASSES = ["a", "b", "c"]


def table(n=300, seed=0):
    drawn = random.Random(seed)
    labels = [[drawn.choice(CLASSES)] for _ in range(n)]
    return labels, [f"p{drawn.randrange(40)}" for _ in range(n)], [f"r{row}" for row in range(n)]


def ids_of(rows, sample):
    return {rows[2][position] for position in sample.positions}


@pytest.mark.parametrize("k", [1, 8, 32])
def test_k_per_class_and_no_class_more(k):
    rows = table()
    sample = few_shot(*rows, k, classes=CLASSES)
    assert sample.counts == dict.fromkeys(CLASSES, k)
    assert len(sample.positions) == 3 * k
    assert sample.short == {}


def test_samples_are_nested_and_depend_on_the_seed_alone():
    rows = table()
    by_k = [ids_of(rows, few_shot(*rows, k, classes=CLASSES, seed=3)) for k in (1, 2, 8, 32)]
    assert all(small < large for small, large in itertools.pairwise(by_k))
    assert ids_of(rows, few_shot(*rows, 8, classes=CLASSES, seed=3)) == by_k[2]
    assert ids_of(rows, few_shot(*rows, 8, classes=CLASSES, seed=4)) != by_k[2]
    order = random.Random(1).sample(range(300), 300)
    shuffled = tuple([column[row] for row in order] for column in rows)
    assert ids_of(shuffled, few_shot(*shuffled, 8, classes=CLASSES, seed=3)) == by_k[2]
    more = tuple([*column, value] for column, value in zip(rows, (["a"], "p-new", "r-new"), strict=True))
    assert len(by_k[2] - ids_of(more, few_shot(*more, 8, classes=CLASSES, seed=3))) <= 1


def test_as_many_patients_as_there_are():
    labels, groups = [["a"]] * 12, ["p"] * 9 + ["q", "r", "s"]
    ids = [str(row) for row in range(12)]
    four = few_shot(labels, groups, ids, 4, classes=["a"])
    assert {groups[row] for row in four.positions} == {"p", "q", "r", "s"}
    six = few_shot(labels, groups, ids, 6, classes=["a"])
    assert sum(groups[row] == "p" for row in six.positions) == 3
    alone = few_shot(labels, [None] * 12, ids, 5, classes=["a"])
    assert len(alone.positions) == 5


def test_fewer_than_k_gives_all_and_says_so(caplog):
    labels = [["a"], ["a"], ["b"], ["a", "b"], []]
    sample = few_shot(labels, ["p"] * 5, list("12345"), 2, classes=CLASSES)
    assert sample.counts == {"a": 2, "b": 1, "c": 0}
    assert sample.short == {"b": 1, "c": 0}
    assert sample.positions == [0, 1, 2]
    assert "fewer than 2" in caplog.text
    assert "b: 1" in caplog.text
    whole = few_shot(labels, ["p"] * 5, list("12345"), None, classes=CLASSES)
    assert whole.positions == [0, 1, 2]
    assert whole.short == {}


def test_multi_label_rows_count_for_each_class_and_for_none():
    labels = [["a", "b"], ["a"], ["b"], [], [], ["x"]]
    ids = list("123456")
    sample = few_shot(labels, ids, ids, 1, classes=["a", "b"], multi_label=True)
    assert sample.counts[NONE_OF_THEM] == 1
    assert sample.counts["a"] >= 1
    assert sample.counts["b"] >= 1
    assert 2 <= len(sample.positions) <= 3
    larger = few_shot(labels, ids, ids, 2, classes=["a", "b"], multi_label=True)
    assert set(sample.positions) <= set(larger.positions)
    sure = few_shot(labels, ids, ids, 9, classes=["a", "b"], multi_label=True, uncertain=[["a"], ["c"]] * 3)
    free = few_shot(labels, ids, ids, 9, classes=["a", "b"], multi_label=True)
    open_rows = {row for row in free.positions if not labels[row] and row % 2 == 0}
    assert open_rows
    assert set(sure.positions) == set(free.positions) - open_rows
    full = few_shot([["a"], ["b"]], ids[:2], ids[:2], 1, classes=["a", "b"], multi_label=True)
    assert full.short == {}


def test_bad_requests():
    with pytest.raises(OptionError, match="from 1 on"):
        few_shot([["a"]], ["p"], ["1"], 0, classes=["a"])
    with pytest.raises(SchemaError, match="one entry per row"):
        few_shot([["a"]], ["p", "q"], ["1"], 1, classes=["a"])


def test_patients_of_the_scored_rows_are_left_out():
    assert without_groups(["p", "q", None, "p"], ["p", None]) == [1, 2]
