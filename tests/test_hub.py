"""Publishing: the real client against a stand-in Hub, the guard of licences, secrets, checkpoints in folders."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hub_server import stand_in_hub

from climb_hf.errors import AccessError, LicenseError, OptionError, SchemaError
from climb_hf.hub import check_redistribution, push_folder, save_checkpoint

TOKEN, WRONG, KAGGLE = "tok-5f0e2c71-of-the-tester", "tok-99aa31c4-of-nobody", "kaggle-7be1-planted-secret"
CHECKPOINT = {
    ".eval_results/climb_hf.yaml", "README.md", "config.json", "model.safetensors", "preprocessor_config.json",
    "recipe.yaml", "results.jsonl", "vocabulary.json",
}  # fmt: skip


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """What the client found, all it printed and logged, its folder, and the state of the stand-in."""
    folder = tmp_path_factory.mktemp("hub")
    client = Path(__file__).with_name("hub_client.py")
    with stand_in_hub({TOKEN: "tester"}) as (endpoint, hub):
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))},
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(folder / "home"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_TOKEN": TOKEN,
            "WRONG_TOKEN": WRONG,
            "KAGGLE_KEY": KAGGLE,
            "MKL_CBWR": "COMPATIBLE",  # else the last bit depends on where in memory the weights lie
            "PYTHONPATH": os.pathsep.join([str(client.parents[1]), os.environ.get("PYTHONPATH", "")]),
        }
        run = subprocess.run(
            [sys.executable, str(client), str(folder)], env=environment, capture_output=True, text=True, timeout=300
        )
        assert run.returncode == 0, run.stderr[-4000:]
    found = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    return found, run.stdout + run.stderr, folder, hub


def test_stored_files_are_those_of_save_checkpoint_byte_for_byte(published):
    found, _, folder, hub = published
    saved = {
        path.relative_to(folder / "saved").as_posix(): path.read_bytes()
        for path in (folder / "saved").rglob("*")
        if path.is_file()
    }
    stored = hub.files("tester/model")
    assert set(saved) == CHECKPOINT
    assert {name: stored[name] for name in stored if name != ".gitattributes"} == saved
    repository = hub.repositories["model", "tester/model"]
    assert repository.branches["main"] == found["commit"]
    assert repository.messages[1] == "Upload ClimbVisionForClassification with climb-hf"  # one commit after the first
    assert repository.private
    assert repository.large == {"model.safetensors"}


def test_checkpoint_loads_from_the_hub_bit_for_bit(published):
    found = published[0]
    assert found["class"] == "ClimbVisionForClassification"
    assert found["same weights"] is True
    assert found["same logits"] is True


def test_new_version_on_a_branch_leaves_no_stale_results(published):
    found, _, _, hub = published
    assert found["second"] is True
    assert set(hub.files("tester/model", "second")) == CHECKPOINT - {
        ".eval_results/climb_hf.yaml", "results.jsonl", "recipe.yaml",
    } | {".gitattributes"}  # fmt: skip
    assert b"0.750 [0.500, 0.900]" in hub.files("tester/model")["README.md"]
    assert b"No results were recorded" in hub.files("tester/model", "second")["README.md"]


def test_push_to_hub_of_transformers_works(published):
    found, _, _, hub = published
    assert found["plain"] is True
    assert {"config.json", "model.safetensors", "preprocessor_config.json"} <= set(hub.files("tester/plain"))


def test_card_is_valid_for_the_hub(published):
    card = published[0]["card"]
    assert card["license"] == "cc-by-4.0"
    assert card["base_model"] == "timm/test_vit.r160_in1k"
    assert card["tags"][:2] == ["climb", "medical"]
    result = card["model-index"][0]["results"][0]
    assert result["dataset"] == {
        "name": "Brain Tumor Classification (MRI)", "type": "climb", "config": "brain_tumor", "split": "test",
    }  # fmt: skip
    assert result["metrics"][0]["value"] == 0.75


def test_the_client_asked_nothing_that_the_stand_in_lacks(published):
    assert published[3].unknown == []


@pytest.mark.parametrize(
    ("case", "error", "remedy"),
    [
        ("wrong token", "AccessError", "hf auth login"),
        ("foreign", "AccessError", "write access to that namespace"),
        ("bad name", "OptionError", "must be `user/name`"),
        ("private", "OptionError", "exists and is public"),
        ("leak", "OptionError", "`recipe.yaml`|`README.md`"),
        ("moved", "AccessError", "data_dir="),
        ("gated", "LicenseError", "climb info vindr_cxr"),
    ],
)
def test_refusals_say_what_to_do(published, case, error, remedy):
    found = published[0][case]
    assert found[0] == error
    assert any(part in found[1] for part in remedy.split("|")), found[1]


def test_nothing_is_created_by_what_was_refused(published):
    assert set(published[3].repositories) == {
        ("model", "tester/model"), ("model", "tester/plain"), ("dataset", "tester/data"),
    }  # fmt: skip


def test_no_secret_is_stored_printed_or_logged(published):
    found, output, folder, hub = published
    assert "HTTP Request" in output  # the clients did log
    for secret in (TOKEN, WRONG, KAGGLE):
        assert secret not in output
        assert secret not in json.dumps(found)
        assert [name for name, content in hub.stored.items() if secret.encode() in content] == []
    assert [name for name, content in hub.stored.items() if str(folder).encode() in content] == []
    assert b"output_dir: runs" in hub.files("tester/model")["recipe.yaml"]


def test_data_set_is_complete_without_the_raw_files(published):
    found, _, _, hub = published
    assert found["pixels"] is True
    assert found["features"] is True
    assert found["labels"] is True
    assert found["configs"] == ["default", "ids"]
    card = hub.files("tester/data", kind="dataset")["README.md"].decode()
    assert "license: cc-by-4.0" in card  # of the MIT and the CC-BY source
    assert "Synthetic data" in card
    assert "byte-identical" in card  # the caution of a source
    assert hub.repositories["dataset", "tester/data"].messages[1] == "State the terms of the data"  # card before data


# ---------------------------------------------------------------------- guard


def test_guard_names_source_licence_and_clause():
    check_redistribution(["ptbxl", "brain_tumor"])
    with pytest.raises(
        LicenseError, match=r"`covid_blues` \(licence `CC-BY-NC-ND-4.0`: .*frames.*climb info"
    ) as caught:
        check_redistribution(["ptbxl", "covid_blues"], "rows")
    assert "`ptbxl`" not in str(caught.value)


def test_guard_refuses_sources_without_facts():
    with pytest.raises(LicenseError, match=r"`my_hospital` .*not a registered source"):
        check_redistribution(["my_hospital"])


def test_sources_are_read_from_rows_and_build():
    from datasets import Dataset, DatasetDict

    from climb_hf.hub.data import sources_of

    rows = Dataset.from_dict({"source": ["ptbxl"]})
    rows.info.builder_name, rows.info.config_name = "climb", "vindr_cxr-image_size=64"
    assert sources_of(DatasetDict(train=rows)) == ["ptbxl", "vindr_cxr"]
    with pytest.raises(SchemaError, match=r"no column `source`.*Keep the columns"):
        sources_of(rows.remove_columns("source"))
    with pytest.raises(SchemaError, match="rows without a `source`"):
        sources_of(Dataset.from_dict({"source": ["ptbxl", None]}))


def test_streams_are_refused():
    from datasets import Dataset

    from climb_hf.hub import push_dataset

    stream = Dataset.from_dict({"source": ["ptbxl"]}).to_iterable_dataset()
    with pytest.raises(OptionError, match="without `streaming=True`"):
        push_dataset(stream, "tester/data")


def test_dicom_becomes_png_without_loss(tmp_path):
    pytest.importorskip("pydicom")
    from datasets import Dataset, Image, List
    from PIL import Image as Pictures
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    from climb_hf.hub.data import embeddable

    pixels = np.random.default_rng(0).integers(0, 256, (12, 10), dtype=np.uint8)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    file = FileDataset("x", {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID, file.PatientName = SecondaryCaptureImageStorage, "1.2.3", "Doe^Synthetic"
    file.Rows, file.Columns, file.SamplesPerPixel, file.PhotometricInterpretation = 12, 10, 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 8, 8, 7, 0
    file.PixelData = pixels.tobytes()
    file.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    Pictures.fromarray(pixels).save(tmp_path / "b.png")
    paths = [str(tmp_path / "a.dcm"), str(tmp_path / "b.png"), None]
    rows = Dataset.from_dict({"image": paths, "frames": [paths[:2], [], None]})
    rows = rows.cast_column("image", Image(mode="RGB")).cast_column("frames", List(Image()))
    before = np.asarray(rows[0]["image"])
    ready = embeddable(rows)
    assert ready.features == rows.features
    stored = ready.with_format("arrow")[:]["image"].to_pylist()
    assert stored[0]["path"] == "a.png"
    assert stored[0]["bytes"].startswith(b"\x89PNG")
    assert b"Synthetic" not in stored[0]["bytes"]  # the header with the patient's name is gone
    assert stored[1] == {"bytes": None, "path": paths[1]}
    assert stored[2] is None
    np.testing.assert_array_equal(np.asarray(ready[0]["image"]), before)
    np.testing.assert_array_equal(np.asarray(ready[0]["frames"][0]), before[..., 0])
    Path(paths[1]).unlink()
    with pytest.raises(AccessError, match="does not exist any more"):
        embeddable(rows)


# ---------------------------------------------------------------------- folders and secrets


@pytest.fixture(scope="module")
def tiny():
    """A tiny model for two classes, and its processor."""
    from climb_hf.models import ClimbVisionConfig, ClimbVisionForClassification
    from climb_hf.processing.image_processor import ClimbImageProcessor

    config = ClimbVisionConfig(backbone="timm/test_vit", image_size=32, vocabulary=["eeg.normal", "my.class"])
    return ClimbVisionForClassification(config), ClimbImageProcessor(size=32)


def test_save_checkpoint_replaces_what_is_no_longer_true(tiny, tmp_path):
    from climb_hf.results import ResultRow

    row = ResultRow(source="ptbxl", split="test", metric="auc", value=0.5, n=2)
    (tmp_path / "LICENSE.md").write_text("my own words", encoding="utf-8")
    save_checkpoint(tmp_path, *tiny, results=[row], recipe={"lr": 1}, training={"sources": ["ptbxl"]})
    assert (tmp_path / "results.jsonl").exists()
    save_checkpoint(tmp_path, *tiny, training={"sources": ["ptbxl"]})
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {
        "LICENSE.md", "README.md", "config.json", "model.safetensors", "preprocessor_config.json", "vocabulary.json",
    }  # fmt: skip
    assert not (tmp_path / ".eval_results" / "climb_hf.yaml").exists()
    assert (tmp_path / "LICENSE.md").read_text(encoding="utf-8") == "my own words"


def test_vocabulary_file_knows_foreign_concepts(tiny, tmp_path):
    save_checkpoint(tmp_path, *tiny)
    found = json.loads((tmp_path / "vocabulary.json").read_text(encoding="utf-8"))
    assert found["concepts"] == ["eeg.normal", "my.class"]
    assert found["display_names"] == {"eeg.normal": "Normal (EEG)", "my.class": "my.class"}
    assert found["sources"] == {}


def test_example_of_the_documentation_runs(tmp_path, monkeypatch):
    text = (Path(__file__).parents[1] / "docs" / "publishing.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "publishing.md", "exec"), {})
    written = {path.relative_to(tmp_path / "checkpoint").as_posix() for path in (tmp_path / "checkpoint").rglob("*")}
    assert written - {".eval_results"} == CHECKPOINT - {"recipe.yaml"}
    assert "| brain_tumor | test | 0.910 [0.880, 0.930] |" in (tmp_path / "checkpoint" / "README.md").read_text()


@pytest.mark.parametrize(
    ("variable", "text"),
    [("SOME_API_KEY", "plain-old-secret"), (None, "hf_" + "A1b2" * 9), (None, "-----BEGIN RSA PRIVATE KEY-----")],
)
def test_secrets_are_refused_before_anything_is_written(tiny, tmp_path, monkeypatch, variable, text):
    if variable:
        monkeypatch.setenv(variable, text)
    with pytest.raises(OptionError, match="would hold") as caught:
        save_checkpoint(tmp_path / "new", *tiny, recipe={"remark": f"see {text}"})
    assert text not in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_secrets_in_the_configuration_are_refused(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKER_TOKEN", "tracker-secret-1")
    monkeypatch.setattr(tiny[0].config, "remark", "tracker-secret-1", raising=False)
    with pytest.raises(OptionError, match=r"`config.json` would hold the environment variable `TRACKER_TOKEN`"):
        save_checkpoint(tmp_path, *tiny)


def test_push_folder_wants_a_checkpoint(tmp_path):
    with pytest.raises(OptionError, match=r"no checkpoint.*save_checkpoint"):
        push_folder(tmp_path, "tester/model", "message")


def test_offline_is_said(tiny):
    from climb_hf.hub import push_to_hub

    with pytest.raises(AccessError, match="Unset `HF_HUB_OFFLINE`"):
        push_to_hub("tester/model", *tiny, token="some-token")
