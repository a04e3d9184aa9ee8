"""The search behind `climb audit`: exact in Hamming space, linear in equal prints, tolerant to what it should be."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from climb_hf.auditing import near_pairs
from climb_hf.auditing.cache import FileTable, file_key
from climb_hf.auditing.hamming import _BANDS, _best_bands, _search
from climb_hf.auditing.linking import Space, link_prints
from climb_hf.auditing.pictures import picture_codes, picture_similarity, picture_view
from climb_hf.auditing.prints import Prints
from climb_hf.auditing.signals import signal_codes, signal_print, signal_similarity
from climb_hf.errors import OptionError


def some_codes(count, seed=0, clusters=400):
    """Random codes, and others near to them: some bits of one in few flipped."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 2**64, count, dtype=np.uint64)
    near = codes[rng.integers(0, count, clusters)]
    for place in range(clusters):
        for bit in rng.choice(64, rng.integers(1, 18), replace=False):
            near[place] ^= np.uint64(1) << np.uint64(bit)
    return np.unique(np.concatenate([codes, near]))


def brute_force(codes, radius):
    distance = np.bitwise_count(codes[:, None] ^ codes[None, :])
    left, right = np.nonzero(np.triu(distance <= radius, 1))
    return {(int(i), int(j), int(distance[i, j])) for i, j in zip(left, right, strict=True)}


def found(parts):
    return [(int(i), int(j), int(d)) for part in parts for i, j, d in zip(*part, strict=True)]


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 5, 8, 12, 16])
def test_every_pair_within_the_radius_is_found_once(radius):
    codes = some_codes(900)
    pairs = found(near_pairs(codes, radius))
    assert set(pairs) == brute_force(codes, radius)
    assert len(pairs) == len(set(pairs))


@pytest.mark.parametrize("bands", _BANDS)
def test_the_number_of_bands_changes_nothing(bands):
    codes = some_codes(500, seed=bands)
    bits = np.unpackbits(codes[:, None].view(np.uint8), axis=1, bitorder="little")
    assert set(found(_search(codes, bits, 7, bands))) == brute_force(codes, 7)
    assert _best_bands(codes, 7) in _BANDS


def test_codes_that_crowd_together_are_found_in_pieces(monkeypatch):
    monkeypatch.setattr("climb_hf.auditing.hamming.CHUNK", 100)
    codes = np.arange(256, dtype=np.uint64)  # all in one corner: every table has one full bucket
    assert set(found(near_pairs(codes, 3))) == brute_force(codes, 3)


def test_codes_must_differ_and_the_radius_be_in_range():
    assert found(near_pairs(np.array([5], dtype=np.uint64), 8)) == []
    assert found(near_pairs(np.array([], dtype=np.uint64), 8)) == []
    with pytest.raises(OptionError, match="group equal ones"):
        list(near_pairs(np.array([5, 5], dtype=np.uint64), 8))
    with pytest.raises(OptionError, match="from 0 to 16"):
        list(near_pairs(np.array([5], dtype=np.uint64), 17))


def textures(count, seed=0, side=160):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        coarse = Image.fromarray(rng.integers(20, 220, (12, 12), dtype=np.uint8))
        yield coarse.resize((side, side), Image.Resampling.BICUBIC)


def as_jpeg(image, quality):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "change",
    [
        lambda image: as_jpeg(image.resize((61, 90), Image.Resampling.BICUBIC), 95),
        lambda image: as_jpeg(image.resize((400, 400), Image.Resampling.BILINEAR), 95),
        lambda image: as_jpeg(image, 20),
        lambda image: as_jpeg(image.point(lambda value: min(255, round(value * 1.1 + 15))), 90),
        lambda image: as_jpeg(image.point(lambda value: round(255 * (value / 255) ** 0.8)), 90),
        lambda image: as_jpeg(image.filter(ImageFilter.GaussianBlur(1.5)), 90),
    ],
    ids=["smaller", "larger", "re-encoded", "brighter", "gamma", "blurred"],
)
def test_changed_pictures_stay_near_and_others_do_not(change):
    originals = list(textures(40))
    views = np.stack([picture_view(as_jpeg(image, 92)) for image in originals])
    changed = np.stack([picture_view(change(image)) for image in originals])
    distance = np.bitwise_count(picture_codes(views) ^ picture_codes(changed))
    both = np.concatenate([views, changed])
    similarity = picture_similarity(both, np.arange(40), 40 + np.arange(40))
    assert distance.max() <= 8
    assert similarity.min() >= 0.98
    assert picture_similarity(both, np.arange(39), 41 + np.arange(39)).max() < 0.9
    assert (np.bitwise_count(picture_codes(views)) == 32).all()


def test_thousands_of_equal_prints_are_one_node_and_cost_one_comparison_each():
    views = np.stack([picture_view(as_jpeg(image, 92)) for image in textures(3)])
    many = np.concatenate([np.repeat(views[:1], 20_000, axis=0), views[1:], np.full((500, 1024), 9, np.uint8)])
    space = Space(Prints("picture", "pictures", np.arange(len(many)), many))
    compared = []
    similarity = space.similarity
    space.similarity = lambda left, right: compared.append(len(left)) or similarity(left, right)
    links = link_prints(space, 8, np.full(len(many), -1), lambda items, total, title: items)
    assert sum(compared) == 20_000
    assert len(set(links.node[:20_000].tolist())) == 1
    assert len(set(links.node[20_000:20_002].tolist()) | {links.node[0]}) == 3
    assert (links.node[20_002:] == -1).all()
    assert len(links.left) == 0


def test_equal_codes_of_different_pictures_are_not_one_node(monkeypatch):
    views = np.stack([picture_view(as_jpeg(image, 92)) for image in textures(4)])
    space = Space(Prints("picture", "pictures", np.arange(4), views))
    space.codes = np.array([7, 7, 7, 9], dtype=np.uint64)
    links = link_prints(space, 8, np.full(4, -1), lambda items, total, title: items)
    assert len(set(links.node.tolist())) == 4
    assert links.n_candidates == 3  # the three leaders of one code with the one that is a bit away
    assert len(links.left) == 0


def test_pairs_of_one_patient_are_left_out():
    views = np.stack([picture_view(as_jpeg(next(textures(1)), quality)) for quality in (92, 15)])
    space = Space(Prints("picture", "pictures", np.arange(2), views))
    space.codes = np.array([1, 3], dtype=np.uint64)
    for group, expected in (([4, 4], 0), ([4, 5], 1), ([-1, -1], 1)):
        links = link_prints(space, 2, np.array(group), lambda items, total, title: items)
        assert len(links.left) == expected


def eeg(seed, seconds=14, rate=200):
    """A synthetic signal, (time, 16): rhythms of drifting frequency, mixed, with noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(seconds * rate) / rate
    waves = [
        np.sin(2 * np.pi * (rng.uniform(2, 12) * time + rng.normal() * np.cumsum(rng.normal(size=len(time))) / rate))
        for _ in range(6)
    ]
    return np.stack(waves, axis=1) @ rng.normal(size=(6, 16)) + rng.normal(0, 0.1, (len(time), 16))


def test_signals_are_near_to_their_shifted_rescaled_resampled_copies_only():
    recordings = [eeg(seed) for seed in range(150)]
    changes = {
        "shifted": lambda x: (x[340:2340], 200.0),
        "rescaled": lambda x: (40 * x[:2000], 200.0),
        "half the rate": lambda x: (x[:2000].reshape(1000, 2, 16).mean(axis=1), 100.0),
    }
    base = np.stack([signal_print(x[:2000], 200.0) for x in recordings])
    for name, change in changes.items():
        copies = np.stack([signal_print(*change(x)) for x in recordings])
        both = np.concatenate([base, copies])
        codes = signal_codes(both)
        own, other = np.arange(150), 150 + np.arange(150)
        assert (np.bitwise_count(codes[own] ^ codes[other]) <= 8).mean() >= 0.95, name
        assert (signal_similarity(both, own, other) >= 0.94).mean() >= 0.95, name
        assert signal_similarity(both, own[:-1], other[1:]).max() < 0.94, name


def test_signals_that_are_flat_or_short_have_no_trace():
    for signal in (np.zeros((2000, 16)), np.full((2000, 16), np.nan), eeg(0)[:300], eeg(0)[:1]):
        assert not signal_print(signal, 200.0)[-256:].any()


def test_the_table_remembers_by_key_and_replaces_what_is_damaged(tmp_path):
    path = tmp_path / "deep" / "table.npy"
    table = FileTable(path, "u1", 4)
    keys = np.array([file_key("/a", 1, 2), file_key("/b", 1, 2)], dtype=np.uint64)
    assert table.find(keys).tolist() == [-1, -1]
    table.add_vectors(keys, bytes(range(8)))
    table.save()
    again = FileTable(path, "u1", 4)
    assert again.rows(again.find(keys))["vector"].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    again.add_vectors(keys[1:], bytes([9, 9, 9, 9]))  # the newer row counts
    again.save()
    assert again.rows(again.find(keys))["vector"].tolist() == [[0, 1, 2, 3], [9, 9, 9, 9]]
    assert FileTable(path, "u1", 5).find(keys).tolist() == [-1, -1]  # of another width: not this table
    assert [file.name for file in path.parent.iterdir()] == ["table.npy"]
    path.write_bytes(path.read_bytes()[:40])
    assert FileTable(path, "u1", 4).find(keys).tolist() == [-1, -1]
