"""Group-wise splits inside strata: exact shares, nothing but names decides, and a table that grows moves little."""

import hashlib
from collections import Counter

import pytest

from climb_hf.errors import SplitError
from climb_hf.splits import group_fraction, stratified_split

SHARES = {"train": 0.75, "test": 0.25}
THREE = {"train": 0.6, "validation": 0.2, "test": 0.2}


def strata(**sizes):
    return {f"{name}{i}": name for name, size in sizes.items() for i in range(size)}


def counts(split_of, of):
    return Counter((of[group], split) for group, split in split_of.items())


@pytest.mark.parametrize("fractions", [SHARES, THREE, {"train": 1.0}])
@pytest.mark.parametrize("seed", [0, 42])
def test_every_stratum_is_within_one_group_of_its_share_and_so_is_the_total(fractions, seed):
    of = strata(a=400, b=13, c=7, d=3, e=2, **{f"single{i}": 1 for i in range(40)})
    split_of = stratified_split(of, fractions, seed)
    assert list(split_of) == list(of)
    found, total = counts(split_of, of), Counter(split_of.values())
    for split, share in fractions.items():
        assert abs(total[split] - share * len(of)) <= 1
        for name, size in Counter(of.values()).items():
            assert abs(found[name, split] - share * size) < 1


def test_the_hash_orders_the_groups_of_a_stratum():
    of = strata(a=40, b=8)
    split_of = stratified_split(of, SHARES)
    for name in "ab":
        places = {split: [group_fraction(g) for g in of if of[g] == name and split_of[g] == split] for split in SHARES}
        assert max(places["train"]) < min(places["test"])


def test_order_does_not_matter_and_seed_does():
    of = strata(a=50, b=30)
    again = stratified_split(dict(reversed(of.items())), SHARES)
    assert again == stratified_split(of, SHARES)
    assert stratified_split(of, SHARES, seed=7) != again


def test_a_new_group_moves_at_most_one_other_of_its_stratum():
    of = strata(a=100)
    before = stratified_split(of, SHARES)
    after = stratified_split(of | {"new": "a"}, SHARES)
    assert sum(before[group] != after[group] for group in of) <= 1


def test_the_split_never_changes_between_versions():
    lines = "".join(f"{g} {s}\n" for g, s in stratified_split(strata(a=60, b=25, c=3), THREE).items())
    assert hashlib.sha256(lines.encode()).hexdigest()[:16] == "84cbdb3000ca2f0e"


def test_no_groups_and_wrong_fractions():
    assert stratified_split({}, SHARES) == {}
    with pytest.raises(SplitError, match="must sum to 1"):
        stratified_split(strata(a=3), {"train": 0.7, "test": 0.2})
