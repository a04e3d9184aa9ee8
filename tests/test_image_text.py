"""Image-text encoders loaded and run; retrieval with them, end to end on miniatures, against brute force."""

import json
import math

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, Image, Value
from image_text_models import clip, dual_encoder, n_words, siglip
from PIL import Image as Pillow
from safetensors.torch import load_file, save_file
from tokenizers import pre_tokenizers
from typer.testing import CliRunner

from climb_hf.cli.app import app
from climb_hf.errors import AccessError, CorruptFileError, OptionError, SchemaError
from climb_hf.protocols.dual_encoder import embed_images, embed_texts, load_dual_encoder
from climb_hf.protocols.pairs import load_pairs
from climb_hf.protocols.retrieval import retrieve
from climb_hf.results import read_results

TEXTS = ["a brain tumor", "no tumor", "a brain tumor", "mri 7 of the brain " * 20]
DIRECTIONS = ("image_to_text", "text_to_image")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return dual_encoder(tmp_path_factory.mktemp("dual"))


def pictures(n=5):
    rng = np.random.default_rng(0)
    images = [Pillow.fromarray(rng.integers(0, 255, (20, 24, 3), dtype=np.uint8)) for _ in range(n)]
    rows = {"id": [f"r{i}" for i in range(n)], "image": images}
    return Dataset.from_dict(rows, features=Features({"id": Value("string"), "image": Image(mode="RGB")}))


@pytest.mark.parametrize("make", [dual_encoder, clip, siglip])
def test_embeddings_are_those_of_the_model(tmp_path, make):
    model, processor = load_dual_encoder(make(tmp_path / "model"), device="cpu")
    assert not model.training
    data = pictures()
    images = embed_images(model, processor, data, batch_size=2, progress=False)
    texts, n_cut = embed_texts(model, processor, TEXTS, batch_size=2, max_length=12, progress=False)
    assert images.dtype == texts.dtype == np.float32
    assert n_cut == 1
    assert np.array_equal(texts[0], texts[2])
    padding = "max_length" if make is siglip else "longest"
    words = processor.tokenizer(TEXTS, padding=padding, truncation=True, max_length=12, return_tensors="pt")
    pixels = processor.image_processor(images=data["image"][:], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        output = model(**words, pixel_values=pixels)
    for ours, theirs in ((images, output.image_embeds), (texts, output.text_embeds)):
        unit = ours / np.linalg.norm(ours, axis=1, keepdims=True)
        assert np.abs(unit - theirs.numpy()).max() < 1e-5
    assert images.shape[1] == texts.shape[1]


def test_texts_are_cut_where_the_encoder_ends(encoder):
    model, processor = load_dual_encoder(encoder, device="cpu")
    texts = ["brain " * n for n in (37, 38, 39, 80)]
    found, n_cut = embed_texts(model, processor, texts, progress=False)
    assert (n_cut, [n_words(text) > 40 for text in texts]) == (2, [False, False, True, True])
    assert np.allclose(found[1], found[3], atol=1e-5)
    with pytest.raises(OptionError, match="at most 40"):
        embed_texts(model, processor, texts, max_length=41, progress=False)
    with pytest.raises(SchemaError, match=r"row 1 \(2 in all\)"):
        embed_texts(model, processor, ["a", " ", None], progress=False)


def test_what_the_encoder_cannot_tell_apart_ties_to_the_last_bit(encoder):
    model, processor = load_dual_encoder(encoder, device="cpu")
    texts = [f"brain tumor {'mri ' * 8}{end}" for end in ("1", "2", "of the chest", "3")]
    found, n_cut = embed_texts(model, processor, texts, batch_size=3, max_length=8, progress=False)
    assert n_cut == 4
    assert len({row.tobytes() for row in found}) == 1
    data = pictures(3)
    again = data.select([0, 1, 2, 1, 0, 1])
    images = embed_images(model, processor, again, batch_size=2, progress=False)
    assert np.array_equal(images[[0, 1, 2]][[0, 1, 2, 1, 0, 1]], images)
    assert len({row.tobytes() for row in images}) == 3


def test_white_space_is_cleaned_as_in_training(encoder):
    model, processor = load_dual_encoder(encoder, device="cpu")
    # as tokenizers of bytes do: a line feed is no blank, and what it joins is not two words
    processor.tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
    texts = ["brain tumor", "brain\ntumor", "  brain \n tumor\t"]
    assert len({tuple(ids) for ids in processor.tokenizer(texts)["input_ids"]}) == 3
    found, n_cut = embed_texts(model, processor, texts, progress=False)
    alone, _ = embed_texts(model, processor, texts[:1], progress=False)
    assert n_cut == 0
    np.testing.assert_array_equal(found, np.repeat(alone, 3, axis=0))


def test_our_image_processor_beside_a_tokenizer(tmp_path):
    from transformers import VisionTextDualEncoderProcessor

    from climb_hf.processing.image_processor import ClimbImageProcessor

    folder = dual_encoder(tmp_path / "model")
    _, old = load_dual_encoder(folder, device="cpu")
    VisionTextDualEncoderProcessor(ClimbImageProcessor(size=32), old.tokenizer).save_pretrained(folder)
    model, processor = load_dual_encoder(folder, device="cpu")
    assert isinstance(processor.image_processor, ClimbImageProcessor)
    data = pictures(3)
    pixels = processor.image_processor(data["image"][:])["pixel_values"]
    with torch.no_grad():
        expected = model.get_image_features(pixel_values=pixels).pooler_output.numpy()
    assert np.abs(embed_images(model, processor, data, progress=False) - expected).max() < 1e-5


def test_bad_pictures_and_embeddings_are_named(encoder, tmp_path):
    model, processor = load_dual_encoder(encoder, device="cpu")
    features = Features({"id": Value("string"), "image": Image(mode="RGB")})
    hole = Dataset.from_dict({"id": ["a", "b"], "image": [pictures(1)[0]["image"], None]}, features=features)
    with pytest.raises(SchemaError, match="none for `b`"):
        embed_images(model, processor, hole, progress=False)
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    torn = Dataset.from_dict({"id": ["c"], "image": [str(tmp_path / "x.png")]}, features=features)
    with pytest.raises(CorruptFileError, match="`c`"):
        embed_images(model, processor, torn, progress=False)
    with torch.no_grad():
        model.visual_projection.weight[0, 0] = torch.nan
        model.text_projection.weight[0, 0] = torch.nan
    with pytest.raises(SchemaError, match=r"NaN or infinity for `r0`, `r1`"):
        embed_images(model, processor, pictures(2), progress=False)
    with pytest.raises(SchemaError, match=r"'a brain tumor' \(row 0\)|'no tumor' \(row 1\)"):
        embed_texts(model, processor, TEXTS[:2], progress=False)


def test_checkpoints_that_are_refused(encoder, tmp_path):
    with pytest.raises(AccessError, match="holds no checkpoint"):
        load_dual_encoder(tmp_path)
    partial = dual_encoder(tmp_path / "partial")
    weights = load_file(partial / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, partial / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(AccessError, match="visual_projection"):
        load_dual_encoder(partial)
    bare = dual_encoder(tmp_path / "bare")
    for file in bare.iterdir():
        if file.name not in ("config.json", "model.safetensors"):
            file.unlink()
    with pytest.raises(AccessError, match=r"cannot be loaded|has no"):
        load_dual_encoder(bare)
    run = tmp_path / "run"
    dual_encoder(run / "model")
    assert load_dual_encoder(run, device="cpu")[0].config.projection_dim == 16


@pytest.fixture(scope="module")
def scored(encoder, miniatures, tmp_path_factory):
    folder, _ = miniatures("vital", 64)
    out = tmp_path_factory.mktemp("retrieval")
    rows = retrieve(
        encoder, {"vital": folder}, split="train", ks=(1, 5, 200), output_dir=out, n_bootstrap=50,
        max_length=12, cache_dir=out, device="cpu",
    )  # fmt: skip
    return rows, out, folder


def brute(encoder, folder, cache):
    """Scores of all usable pairs from one forward pass of the model, and their texts."""
    model, processor = load_dual_encoder(encoder, device="cpu")
    pairs = load_pairs({"vital": folder}, "train", options={}, cache_dir=cache)["vital"]
    kept = [row for row in pairs if row["image"] is not None]
    words = processor.tokenizer(
        [row["text"] for row in kept], padding=True, truncation=True, max_length=12, return_tensors="pt"
    )
    pixels = processor.image_processor(images=[row["image"] for row in kept], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        return model(**words, pixel_values=pixels).logits_per_image.double().numpy(), kept


def test_retrieval_equals_brute_force(encoder, scored):
    rows, out, folder = scored
    scores, kept = brute(encoder, folder, out)
    texts = [row["text"] for row in kept]
    n = len(kept)
    assert n > 20
    by_key = {
        (row.settings["direction"], row.settings["positives"], row.metric): row
        for row in rows
        if row.level == "source"
    }
    same = np.array([[a == b for b in texts] for a in texts])
    for direction, table in zip(DIRECTIONS, (scores, scores.T), strict=True):
        for kind, match in (("row", np.eye(n, dtype=bool)), ("text", same)):
            if ("average", kind, "recall@1") not in by_key:
                assert kind == "text"
                assert same.sum() == n
                continue
            for k in (1, 5):
                hits = []
                for row, own in zip(table, match, strict=True):
                    best = row[own].max()
                    near = np.abs(row - best) < 1e-6
                    above, others, good = (
                        ((row > best) & ~near).sum(),
                        (near & ~own).sum(),
                        max((near & own).sum(), 1),
                    )
                    places = min(max(k - above, 0), others + good)
                    hits.append(1 - math.comb(others, places) / math.comb(others + good, places))
                row = by_key[direction, kind, f"recall@{k}"]
                assert row.value == pytest.approx(np.mean(hits), abs=1e-12)
                assert row.interval[0] <= row.value <= row.interval[1]
            assert by_key[direction, "row", "recall@5"].settings["chance"] == pytest.approx(5 / n)


def test_rows_say_where_they_come_from(scored):
    rows, out, _ = scored
    written = read_results(out / "results.jsonl")
    assert [row.to_json() for row in written] == [row.to_json() for row in rows]
    own = [row for row in rows if row.level == "source"]
    assert {row.protocol for row in rows} == {"retrieval"}
    assert all(row.synthetic and row.data_fingerprint and row.versions for row in own)
    assert {row.n_left_out for row in own} == {own[0].n_left_out}
    assert own[0].n_left_out > 0
    assert own[0].settings["gallery"] == own[0].n
    assert 0 < own[0].settings["n_truncated"] <= own[0].n
    deep = [row for row in rows if row.metric == "recall@200"]
    assert deep
    assert not any(row.is_defined for row in deep)
    assert "every query is a hit" in deep[0].reason
    overall = {
        (row.settings["direction"], row.metric): row.value
        for row in rows
        if row.level == "overall" and row.settings["positives"] == "row"
    }
    by_row = [row for row in own if row.settings["positives"] == "row"]
    average = {row.metric: row.value for row in by_row if row.settings["direction"] == "average"}
    assert overall["average", "recall@5"] == average["recall@5"]
    assert overall["average", "average_recall"] == pytest.approx(np.mean([average["recall@1"], average["recall@5"]]))
    ranks = np.load(out / "ranks_vital_row.npz", allow_pickle=False)
    assert len(ranks["ids"]) == len(ranks["image_to_text_greater"]) == own[0].n


def test_captions_that_are_blank_are_left_out(encoder, monkeypatch, tmp_path):
    data = pictures(4)
    columns = {**data[:], "text": ["a brain", "  ", None, "a tumor"], "group": ["a", "a", "b", "b"]}
    more = {"source": ["own"] * 4, "duplicate_of": [None] * 4, "messages": [None] * 4, "labels": [[]] * 4}
    part = Dataset.from_dict({**columns, **more})
    monkeypatch.setattr(
        "climb_hf.protocols.pairs.load_parts", lambda *_, **__: {"vital": part, "quilt1m": part.select([0, 1])}
    )
    rows = retrieve(encoder, {"vital": None, "quilt1m": None}, ks=[1], n_bootstrap=0, device="cpu")
    own = [row for row in rows if row.source == "vital"]
    assert {(row.n, row.n_left_out) for row in own} == {(2, 2)}
    alone = next(row for row in rows if row.source == "quilt1m")
    assert (alone.n, alone.n_left_out, alone.is_defined) == (1, 1, False)
    assert "nothing to choose" in alone.reason


def test_bad_options(encoder):
    with pytest.raises(OptionError, match="`positives`"):
        retrieve(encoder, {"vital": None}, positives=["image"])
    with pytest.raises(OptionError, match="`ks`"):
        retrieve(encoder, {"vital": None}, ks=[0])


def test_command_line(encoder, tmp_path):
    command = ["retrieve", str(encoder), "--source", "vital", "--miniature", "--k", "1", "--k", "5"]
    command += ["--n-bootstrap", "20", "--cache-dir", str(tmp_path / "cache"), "--to", str(tmp_path / "out")]
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 0, shown.output
    assert "image_to_text" in shown.output
    assert "chance" in shown.output
    again = CliRunner().invoke(app, [*command, "--json"])
    rows = json.loads(again.stdout)
    assert all(row["synthetic"] for row in rows)
    assert rows == [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert CliRunner().invoke(app, ["retrieve", str(encoder)]).exit_code == 2


def test_commands_pass_options_of_the_sources(encoder, miniatures, tmp_path):
    folder, expected = miniatures("quilt1m", 64)
    held_out = [truth for truth in expected if truth.split == "validation"]
    sizes = {}
    for subsets in ("all", "no_pubmed_no_laion"):
        command = ["retrieve", str(encoder), "--source", f"quilt1m={folder}", "--k", "1", "--n-bootstrap", "0"]
        command += ["--set", f"quilt1m.subsets={subsets}", "--cache-dir", str(tmp_path / "cache"), "--json"]
        shown = CliRunner().invoke(app, command)
        assert shown.exit_code == 0, shown.output
        first, *_, last = json.loads(shown.stdout)
        sizes[subsets] = first["n"]
        assert first["settings"]["options"] == {"subsets": subsets}
        assert {(row["split"], row["settings"]["split"]) for row in (first, last)} == {("validation", "evaluation")}
    few = [truth for truth in held_out if truth.values["subset"] in ("quilt", "openpath")]
    assert sizes == {"all": len(held_out), "no_pubmed_no_laion": len(few)}
    assert len(few) < len(held_out)
    pictures, _ = miniatures("brain_tumor", 64)
    command = ["zeroshot", str(encoder), "--source", f"brain_tumor={pictures}", "--n-bootstrap", "0", "--json"]
    command += ["--cache-dir", str(tmp_path / "cache"), "--set"]
    found = {
        kept: json.loads(CliRunner().invoke(app, [*command, f"drop_duplicates={kept}"]).stdout)[0]
        for kept in ("false", "true")
    }
    assert found["true"]["n"] < found["false"]["n"]
    assert found["true"]["settings"]["options"] == {"drop_duplicates": True}
    unknown = CliRunner().invoke(app, [*command, "subsets=all"])
    assert "no such option" in unknown.output + str(unknown.exception)


def test_commands_have_help():
    for name in ("retrieve", "zeroshot"):
        text = CliRunner().invoke(app, [name, "--help"])
        assert (text.exit_code, "Example: climb" in text.output) == (0, True)
