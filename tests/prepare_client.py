"""What a user does with prepared data and the Hub, run by `test_licence_guard.py` in a process of its own.

As `hub_client.py`: the endpoint and the offline switch are read when `huggingface_hub` is imported. The findings are
written as JSON; output and logs are searched for secrets.
"""

import json
import logging
import os
import sys
from pathlib import Path

import datasets
from huggingface_hub import HfApi

import climb_hf
from climb_hf.errors import ClimbError
from climb_hf.hub import push_dataset
from climb_hf.prepare import engines, prepare, push_prepared, repository
from climb_hf.protocols.publish import publish

FOUND: dict[str, object] = {}
SMALL = {"num_proc": 1, "shard_size": "60KB", "synthetic": True}


class Killed(BaseException):
    """Stands for the death of the process."""


def refused(action, *args, **kwargs) -> list[str]:
    """Class and text of the error that an action raises."""
    try:
        action(*args, **kwargs)
    except ClimbError as error:
        return [type(error).__name__, str(error)]
    return ["nothing", ""]


def stop_after(number):
    """Let the process die after a number of shards."""
    real, built = engines.build_shard, []

    def build(task, store):
        if len(built) == number:
            raise Killed
        built.append(task.path)
        return real(task, store)

    return real, build


def prepare_to_the_hub() -> None:
    sources = {name: f"raw/{name}" for name in ("brain_tumor", "pad_ufes_20")}
    for name, folder in sources.items():
        climb_hf.miniature(name, folder, n=24)
    local = prepare(sources, "prepared/open", **SMALL)
    repository._BATCH_FILES = 4
    real, engines.build_shard = stop_after(5)
    try:
        prepare(sources, "hf://datasets/tester/open", **SMALL)
    except Killed:
        FOUND["after the kill"] = sorted(HfApi().list_repo_files("tester/open", repo_type="dataset"))
    engines.build_shard = real
    done = prepare(sources, "hf://datasets/tester/open", **SMALL)
    FOUND["reused"] = [part.reused for part in done]
    FOUND["same manifests"] = [part.sha256 for part in done] == [part.sha256 for part in local]
    for name, folder in sources.items():
        found = datasets.load_dataset("tester/open", name)
        truth = climb_hf.load_dataset(name, folder)
        FOUND[f"rows of {name}"] = all(
            found[split]["id"][:] == truth[split]["id"][:] and found[split].features == truth[split].features
            for split in truth
        )
    push_prepared("prepared/open", "tester/pushed")
    FOUND["command"] = publish("prepared/open", "tester/pushed")
    broken = next(Path("prepared/open/pad_ufes_20").glob("*.parquet"))
    broken.write_bytes(broken.read_bytes() + b"!")
    FOUND["changed shard"] = refused(push_prepared, "prepared/open", "tester/changed")
    FOUND["private but public"] = refused(prepare, sources, "hf://datasets/tester/open", private=True, **SMALL)


def conflict() -> None:
    """Somebody else commits while a run goes on."""
    real, api = engines.build_shard, HfApi()

    def build(task, store):
        api.upload_file(path_or_fileobj=b"x", path_in_repo="other.txt", repo_id="tester/race", repo_type="dataset")
        return real(task, store)

    engines.build_shard = build
    FOUND["conflict"] = refused(prepare, {"brain_tumor": "raw/brain_tumor"}, "hf://datasets/tester/race", **SMALL)
    engines.build_shard = real


def conditions_and_refusals() -> None:
    for name in ("ham10000", "vindr_cxr", "covid_blues"):
        climb_hf.miniature(name, f"raw/{name}", n=12)
    prepare({"ham10000": "raw/ham10000"}, "hf://datasets/tester/conditions", private=True, **SMALL)
    FOUND["gated"] = HfApi().dataset_info("tester/conditions").gated
    ours = climb_hf.load_dataset("ham10000", "raw/ham10000")
    push_dataset(ours, "tester/conditions-push", synthetic=True)
    FOUND["gated push"] = HfApi().dataset_info("tester/conditions-push").gated

    closed = {"vindr_cxr": "raw/vindr_cxr"}
    FOUND["prepare"] = refused(prepare, closed, "hf://datasets/tester/closed", **SMALL)
    FOUND["prepare private"] = refused(prepare, closed, "hf://datasets/tester/closed", private=True, **SMALL)
    prepare(closed, "prepared/closed", **SMALL)
    FOUND["push prepared"] = refused(push_prepared, "prepared/closed", "tester/closed", private=True)
    FOUND["climb push"] = refused(publish, "prepared/closed", "tester/closed", private=True)
    rows = climb_hf.load_dataset("vindr_cxr", "raw/vindr_cxr")
    FOUND["push_to_hub"] = refused(rows.push_to_hub, "tester/closed")
    FOUND["push_to_hub private"] = refused(rows["train"].push_to_hub, "tester/closed", private=True)
    brain = climb_hf.load_dataset("brain_tumor", "raw/brain_tumor")
    FOUND["push_to_hub allowed"] = refused(brain.push_to_hub, "tester/free")
    mine = datasets.Dataset.from_dict({"id": ["1"], "source": ["vindr_cxr"]})  # the word, not our rows
    FOUND["push_to_hub of others"] = refused(mine.push_to_hub, "tester/mine")


if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG)
    os.chdir(sys.argv[1])
    prepare_to_the_hub()
    conflict()
    conditions_and_refusals()
    Path("found.json").write_text(json.dumps(FOUND, default=str), encoding="utf-8")
