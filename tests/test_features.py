"""The feature cache: a hit does not run the model, a change of anything misses, damage and stops are survived."""

import json
import os

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import climb_hf
from climb_hf.errors import CorruptFileError, OptionError, TrainingError
from climb_hf.models import (
    ClimbGraphConfig,
    ClimbGraphForClassification,
    ClimbVisionConfig,
    ClimbVisionForClassification,
    ClimbVisionModel,
    EcgTransformerConfig,
    EcgTransformerForClassification,
)
from climb_hf.processing import ClimbGraphProcessor, ClimbImageProcessor, EcgFeatureExtractor
from climb_hf.processing.batching import RowBatcher
from climb_hf.protocols import features as module
from climb_hf.protocols.encoders import as_encoder, load_encoder
from climb_hf.protocols.features import extract_features
from climb_hf.training.collator import prepare_for_training


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


@pytest.fixture(scope="module")
def rows(miniatures, cache):
    return climb_hf.load_dataset("brain_tumor", miniatures("brain_tumor")[0], split="test", cache_dir=cache)


def classifier(seed=0):
    torch.manual_seed(seed)
    config = ClimbVisionConfig(
        backbone="timm/test_vit",
        image_size=32,
        vocabulary=["a", "b"],
        source_classes={"brain_tumor": ["a", "b"]},
        source_multi_label={"brain_tumor": False},
    )
    return ClimbVisionForClassification(config)


def encoder(seed=0, size=32):
    return as_encoder(classifier(seed), ClimbImageProcessor(size=size))


def pixels_of(rows):
    return RowBatcher(ClimbImageProcessor(size=32))(list(prepare_for_training(rows)))["pixel_values"]


class Counted:
    """Counts how many records a model encodes."""

    def __init__(self, wanted):
        self.records = 0
        wanted.model.register_forward_hook(self._count)

    def _count(self, model, inputs, output):
        self.records += len(output.pooler_output)


def test_features_are_those_of_the_model_and_a_hit_does_not_run_it(rows, tmp_path):
    one = encoder()
    counted = Counted(one)
    found = extract_features(one, rows, cache_dir=tmp_path, batch_size=3)
    assert counted.records == len(rows)
    assert found.values.dtype == np.float16
    assert isinstance(found.values, np.memmap)
    with torch.inference_mode():
        expected = encoder().model(pixels_of(rows)).pooler_output
    np.testing.assert_allclose(found.values, expected.numpy().astype(np.float16), rtol=2e-3, atol=1e-3)
    again = extract_features(one, rows, cache_dir=tmp_path)
    assert counted.records == len(rows)
    assert np.array_equal(again.values, found.values)
    assert again.ids == rows["id"]
    assert again.groups == rows["group"]
    names = rows.features["labels"].feature.names
    assert again.labels == [[names[label] for label in own] for own in rows["labels"]]
    (folder,) = again.folders
    assert sorted(path.name for path in folder.iterdir()) == ["features.json", "features.npy", "rows.arrow"]


def test_weights_processor_data_and_files_each_miss_the_cache(rows, tmp_path, miniatures):
    def key(one, data=rows, **options):
        return extract_features(one, data, cache_dir=tmp_path, **options).keys

    first = key(encoder())
    assert key(encoder()) == first
    changed = encoder()
    with torch.no_grad():
        next(changed.model.parameters()).view(-1)[0] += 1e-3
    keys = {first, key(changed), key(encoder(size=64)), key(encoder(), rows.select(range(4))),
            key(encoder(), dtype="float32")}  # fmt: skip
    assert len(keys) == 5
    head = classifier()
    with torch.no_grad():
        head.classifier.weight += 1  # the head is no part of the features
    assert key(as_encoder(head, ClimbImageProcessor(size=32))) == first
    folder, _ = miniatures.copy("brain_tumor", tmp_path / "raw")
    copy = climb_hf.load_dataset("brain_tumor", folder, split="test", cache_dir=tmp_path / "tables")
    before = key(encoder(), copy)
    picture = next((folder / "Testing").rglob("*.jpg"))
    os.utime(picture, ns=(1, 1))  # the picture was exchanged in place
    assert key(encoder(), copy) != before


def test_damage_is_made_good(rows, tmp_path):
    found = extract_features(encoder(), rows, cache_dir=tmp_path)
    values, (folder,) = np.array(found.values), found.folders
    del found
    (folder / "features.npy").write_bytes((folder / "features.npy").read_bytes()[:-10])
    counted = Counted(one := encoder())
    assert np.array_equal(extract_features(one, rows, cache_dir=tmp_path).values, values)
    assert counted.records == len(rows)
    sidecar = json.loads((folder / "features.json").read_text())
    (folder / "features.json").write_text(json.dumps({**sidecar, "key": {}}))
    extract_features(one, rows, cache_dir=tmp_path)
    assert counted.records == 2 * len(rows)


def test_a_stopped_extraction_goes_on(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHARD_ROWS", 2)
    whole = np.array(extract_features(encoder(), rows, cache_dir=tmp_path / "a").values)
    one = encoder()
    counted, calls = Counted(one), []

    def stop(model, inputs, output):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    hook = one.model.register_forward_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        extract_features(one, rows, cache_dir=tmp_path / "b", batch_size=2)
    hook.remove()
    counted.records = 0
    found = extract_features(one, rows, cache_dir=tmp_path / "b", batch_size=2)
    assert counted.records == len(rows) - 4
    np.testing.assert_allclose(np.array(found.values), whole, atol=1e-3)


def test_several_parts_stand_behind_each_other(rows, tmp_path, miniatures, cache):
    skin = climb_hf.load_dataset("pad_ufes_20", miniatures("pad_ufes_20")[0], split="test", cache_dir=cache)
    both = extract_features(encoder(), {"a": rows, "b": skin}, cache_dir=tmp_path)
    assert both.ids == [*rows["id"], *skin["id"]]
    assert set(both.sources) == {"brain_tumor", "pad_ufes_20"}
    apart = extract_features(encoder(), skin, cache_dir=tmp_path)
    assert np.array_equal(both.values[len(rows) :], apart.values)


def test_values_beyond_float16_are_named_and_have_a_way_out(rows, tmp_path):
    one = encoder()
    last = [parameter for parameter in one.model.parameters() if parameter.ndim == 1][-1]
    with torch.no_grad():
        last.fill_(1e6)
    with pytest.raises(TrainingError, match=r"brain_tumor:.*dtype='float32'"):
        extract_features(one, rows, cache_dir=tmp_path)
    assert np.isfinite(extract_features(one, rows, cache_dir=tmp_path, dtype="float32").values).all()
    with pytest.raises(OptionError, match="float16"):
        extract_features(one, rows, cache_dir=tmp_path, dtype="int8")


def test_checkpoints_load_exactly_or_not_at_all(tmp_path):
    model, processor = classifier(), ClimbImageProcessor(size=32)
    for part in (model, processor):
        part.save_pretrained(tmp_path / "run" / "model")
    loaded = load_encoder(tmp_path / "run")
    assert type(loaded.model) is ClimbVisionModel
    for name, value in model.base_model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], value)
    model.base_model.save_pretrained(tmp_path / "base")
    processor.save_pretrained(tmp_path / "base")
    assert torch.equal(next(load_encoder(tmp_path / "base").model.parameters()), next(model.parameters()))
    file = tmp_path / "run" / "model" / "model.safetensors"
    state = load_file(file)
    name = next(name for name in state if "norm" in name)
    save_file({("x" + key if key == name else key): value for key, value in state.items()}, file)
    with pytest.raises(CorruptFileError, match=r"missing.*left over"):
        load_encoder(tmp_path / "run")


def test_dual_encoders_give_the_projected_embedding(rows, tmp_path):
    from transformers import BertConfig, VisionTextDualEncoderConfig, VisionTextDualEncoderModel, ViTConfig

    torch.manual_seed(0)
    tiny = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = VisionTextDualEncoderConfig.from_vision_text_configs(
        ViTConfig(image_size=32, patch_size=16, **tiny), BertConfig(vocab_size=20, **tiny), projection_dim=12
    )
    model = VisionTextDualEncoderModel(config)
    for part in (model, ClimbImageProcessor(size=32)):
        part.save_pretrained(tmp_path / "dual")
    one = load_encoder(tmp_path / "dual")
    found = extract_features(one, rows, cache_dir=tmp_path)
    pixels = pixels_of(rows)
    model.eval()
    with torch.inference_mode():
        expected = model.visual_projection(model.vision_model(pixels).pooler_output)
    assert found.values.shape == (len(rows), 12)
    np.testing.assert_allclose(found.values, expected.numpy(), atol=2e-3)
    frames = torch.stack([pixels[:2], pixels[2:4]])
    mask = torch.tensor([[True, True], [True, False]])
    video = one({"pixel_values": frames, "frame_mask": mask})
    torch.testing.assert_close(video[0], expected[:2].mean(0), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(video[1], expected[2], atol=1e-5, rtol=1e-4)


def test_signals_graphs_and_nodes(miniatures, cache, tmp_path):
    torch.manual_seed(0)
    ecg = climb_hf.load_dataset("ptbxl", miniatures("ptbxl")[0], split="test", cache_dir=cache)
    extractor = EcgFeatureExtractor()
    sizes = {"signal_length": 2500, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = EcgTransformerConfig(vocabulary=["a"], **sizes)
    found = extract_features(as_encoder(EcgTransformerForClassification(config), extractor), ecg, cache_dir=tmp_path)
    assert len(found) == len(ecg)
    proteins = climb_hf.load_dataset("proteins", miniatures("proteins")[0], split="test", cache_dir=cache)
    processor = ClimbGraphProcessor.for_source("proteins")
    width = processor.model_inputs([proteins[0]])["x"].shape[1]
    fields = {"num_features": width, "backend": "torch", "vocabulary": ["a", "b"]}
    model = ClimbGraphForClassification(ClimbGraphConfig(**fields))
    found = extract_features(as_encoder(model, processor), proteins, cache_dir=tmp_path)
    assert found.values.shape == (len(proteins), 64)
    assert len(np.unique(np.array(found.values), axis=0)) > 1


def test_a_model_of_nodes_gives_a_row_per_node(miniatures, cache, tmp_path):
    ppi = climb_hf.load_dataset("ppi", miniatures("ppi")[0], split="test", cache_dir=cache)
    processor = ClimbGraphProcessor.for_source("ppi")
    width = processor.model_inputs([ppi[0]])["x"].shape[1]
    config = ClimbGraphConfig(num_features=width, backend="torch", vocabulary=["a", "b"], level="node")
    found = extract_features(as_encoder(ClimbGraphForClassification(config), processor), ppi, cache_dir=tmp_path)
    assert len(found) == sum(ppi["num_nodes"])
    assert found.ids[1] == f"{ppi[0]['id']}:1"
    assert found.groups[0] == ppi[0]["id"]
    concepts = climb_hf.get_source("ppi").concepts
    positive, _ = found.targets(concepts)
    assert np.array_equal(positive[: ppi[0]["num_nodes"]], np.array(ppi[0]["node_labels"]) == 1)
