"""What a user does with the Hub, run by `test_hub.py` in a process of its own against the stand-in.

`HF_ENDPOINT` and the offline switch are read when `huggingface_hub` is imported, so the process of the tests cannot
change them. The findings are written as JSON into the working folder; output and logs are searched for secrets.
"""

import json
import logging
import os
import shutil
import sys
from pathlib import Path

import datasets
import numpy as np
import torch
from huggingface_hub import HfApi
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

import climb_hf
from climb_hf.errors import ClimbError
from climb_hf.hub import push_dataset, push_to_hub, save_checkpoint
from climb_hf.models import ClimbVisionConfig, ClimbVisionForClassification
from climb_hf.processing.image_processor import ClimbImageProcessor
from climb_hf.results import ResultRow

NAMES = ("brain_tumor", "pad_ufes_20")
FOUND: dict[str, object] = {}


def parts():
    """A tiny model that scores two sources, its processor, and what goes into its card."""
    sources = [climb_hf.get_source(name) for name in NAMES]
    torch.manual_seed(0)
    config = ClimbVisionConfig(
        backbone="timm/test_vit",
        image_size=32,
        vocabulary=[concept for source in sources for concept in source.concepts],
        source_classes={source.name: list(source.concepts) for source in sources},
        source_multi_label={source.name: source.multi_label for source in sources},
    )
    row = ResultRow(source="brain_tumor", split="test", metric="auc", value=0.75, n=40, interval=(0.5, 0.9), seed=1)
    facts = {"seed": 1, "base_model": "timm/test_vit.r160_in1k"}
    recipe = {"lr": 1e-3, "hub_token": os.environ["HF_TOKEN"], "output_dir": str(Path.cwd() / "runs")}
    extra = {"results": [row], "recipe": recipe, "training": facts}
    return ClimbVisionForClassification(config).eval(), ClimbImageProcessor(size=32), extra


def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 40, 3), dtype=np.uint8))


def logits(model, processor) -> torch.Tensor:
    with torch.inference_mode():
        return model(**processor(picture())).logits


def refused(action, *args, **kwargs) -> list[str]:
    """Class and text of the error that an action raises."""
    try:
        action(*args, **kwargs)
    except ClimbError as error:
        return [type(error).__name__, str(error)]
    return ["nothing", ""]


def reload(repo: str, **kwargs) -> torch.Tensor:
    model = AutoModelForImageClassification.from_pretrained(repo, **kwargs)
    return logits(model, AutoImageProcessor.from_pretrained(repo, **kwargs))


def publish_models() -> None:
    model, processor, extra = parts()
    before = logits(model, processor)
    api = HfApi()
    save_checkpoint("saved", model, processor, name="tester/model", **extra)
    FOUND["commit"] = push_to_hub("tester/model", model, processor, private=True, **extra).oid
    loaded = AutoModelForImageClassification.from_pretrained("tester/model")
    FOUND["class"] = type(loaded).__name__
    FOUND["same weights"] = all(map(torch.equal, model.state_dict().values(), loaded.state_dict().values()))
    FOUND["same logits"] = torch.equal(before, logits(loaded, AutoImageProcessor.from_pretrained("tester/model")))
    FOUND["card"] = api.model_info("tester/model").card_data.to_dict()

    # a second version without results: the old ones must not stay
    torch.nn.init.ones_(model.classifier.bias)
    push_to_hub("tester/model", model, processor, revision="second")
    FOUND["second"] = torch.equal(logits(model, processor), reload("tester/model", revision="second"))

    # transformers' own way
    model.push_to_hub("tester/plain")
    processor.push_to_hub("tester/plain")
    FOUND["plain"] = torch.equal(logits(model, processor), reload("tester/plain"))

    FOUND["wrong token"] = refused(push_to_hub, "tester/other", model, processor, token=os.environ["WRONG_TOKEN"])
    FOUND["foreign"] = refused(push_to_hub, "somebody/model", model, processor)
    FOUND["bad name"] = refused(push_to_hub, "a/b/c", model, processor)
    FOUND["private"] = refused(push_to_hub, "tester/plain", model, processor, private=True)
    leaky = {"recipe": {"note": f"my key is {os.environ['KAGGLE_KEY']}"}}
    FOUND["leak"] = refused(push_to_hub, "tester/leaky", model, processor, **leaky)


def pixels(dataset) -> list[list[int]]:
    return [[*row["image"].size, int(np.asarray(row["image"], dtype=np.int64).sum())] for row in dataset]


def publish_data() -> None:
    climb_hf.miniature("brain_tumor", "raw", n=12)
    built = climb_hf.load_dataset("brain_tumor", data_dir="raw")
    before = {split: pixels(part) for split, part in built.items()}
    push_dataset(built, "tester/data", synthetic=True)
    shutil.rmtree("raw")
    loaded = datasets.load_dataset("tester/data")
    FOUND["pixels"] = {split: pixels(part) for split, part in loaded.items()} == before
    FOUND["features"] = all(loaded[split].features == built[split].features for split in built)
    FOUND["labels"] = all(loaded[split]["labels"][:] == built[split]["labels"][:] for split in built)
    FOUND["moved"] = refused(push_dataset, built, "tester/moved")

    rows = datasets.Dataset.from_dict({"id": ["1", "2"], "source": ["brain_tumor", "pad_ufes_20"]})
    push_dataset(rows, "tester/data", config_name="ids")
    FOUND["configs"] = sorted(datasets.get_dataset_config_names("tester/data"))
    gated = datasets.Dataset.from_dict({"id": ["1", "2"], "source": ["brain_tumor", "vindr_cxr"]})
    FOUND["gated"] = refused(push_dataset, gated, "tester/gated", private=True, synthetic=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG)
    os.chdir(sys.argv[1])
    publish_models()
    publish_data()
    Path("found.json").write_text(json.dumps(FOUND, default=str), encoding="utf-8")
