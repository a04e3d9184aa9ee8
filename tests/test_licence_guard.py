"""The guard of licences: every way of publishing asks, provenance travels with the rows, conditions become a gate."""

import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
import yaml
from hub_server import stand_in_hub
from prepare_helpers import tree

import climb_hf
from climb_hf.errors import LicenseError
from climb_hf.hub.data import dataset_card, sources_of
from climb_hf.hub.guard import carrying, check_push, guarded
from climb_hf.hub.licence import Terms, gate_fields, terms_of
from climb_hf.origin import Origin, declared_origins, origins_of

TOKEN = "tok-1d77c0aa-of-the-tester"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """What the client found, all it printed and logged, its folder, and the state of the stand-in."""
    folder = tmp_path_factory.mktemp("hub")
    client = Path(__file__).with_name("prepare_client.py")
    with stand_in_hub({TOKEN: "tester"}) as (endpoint, hub):
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))},
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(folder / "home"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
            "HF_TOKEN": TOKEN,
            "PYTHONPATH": os.pathsep.join([str(client.parents[1]), os.environ.get("PYTHONPATH", "")]),
        }
        run = subprocess.run(
            [sys.executable, str(client), str(folder)], env=environment, capture_output=True, text=True, timeout=300
        )
        assert run.returncode == 0, run.stderr[-4000:]
    found = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    return found, run.stdout + run.stderr, folder, hub


def card_of(hub, repo):
    return yaml.safe_load(hub.files(repo, kind="dataset")["README.md"].decode().split("---")[1])


# ---------------------------------------------------------------------- prepared data on the Hub


def test_repository_holds_the_files_of_a_folder_after_a_kill_too(published):
    found, _, folder, hub = published
    after = found["after the kill"]
    assert 0 < sum(path.endswith(".parquet") for path in after) <= 5
    assert "README.md" in after, "the terms stand there before the data"
    assert found["reused"][0] > 0
    assert found["same manifests"] is True
    assert found["rows of brain_tumor"] is True
    assert found["rows of pad_ufes_20"] is True
    stored = {path: content for path, content in hub.files("tester/open", kind="dataset").items()}
    local = tree(folder / "prepared" / "open")
    other = {".gitattributes", "README.md"}  # the title is the repository's name
    assert set(stored) - other == set(local) - other
    # one byte was added to a local shard afterwards
    assert sum(stored[path] != local[path] for path in set(local) - other) == 1


def test_shards_are_committed_in_batches_after_the_card(published):
    messages = published[3].repositories["dataset", "tester/open"].messages
    shards = [path for path in published[3].files("tester/open", kind="dataset") if path.endswith(".parquet")]
    assert 3 < len(messages) < 2 + len(shards)
    first = published[3].repositories["dataset", "tester/open"].commits
    kinds = [[path for path in files if path.endswith(".parquet")] for files in first.values()]
    assert kinds[1] == []
    assert "README.md" in list(first.values())[1]


def test_prepared_folder_is_pushed_without_building_it_again(published):
    found, _, _, hub = published
    same = {path: content for path, content in hub.files("tester/open", kind="dataset").items() if path != "README.md"}
    pushed = {
        path: content for path, content in hub.files("tester/pushed", kind="dataset").items() if path != "README.md"
    }
    assert pushed == same
    assert found["command"] == "hf://datasets/tester/pushed"
    assert found["changed shard"][0] == "CorruptFileError"
    assert "SHA-256" in found["changed shard"][1]


def test_two_runs_on_one_repository_are_noticed(published):
    kind, text = published[0]["conflict"]
    assert kind == "AccessError"
    assert "somebody else has committed" in text
    assert published[0]["private but public"][0] == "OptionError"


def test_conditions_become_a_gate_and_open_data_has_none(published):
    found, _, _, hub = published
    assert found["gated"] == found["gated push"] == "auto"
    for repo in ("tester/conditions", "tester/conditions-push"):
        card = card_of(hub, repo)
        assert card["license"] == "cc-by-nc-4.0"
        assert card["extra_gated_fields"]["I use the data for non-commercial purposes only"] == "checkbox"
        assert "`ham10000`: CC-BY-NC-4.0" in card["extra_gated_prompt"]
    assert "extra_gated_fields" not in card_of(hub, "tester/open")
    assert hub.repositories["dataset", "tester/open"].gated is False


@pytest.mark.parametrize(
    "case",
    [
        "prepare", "prepare private", "push prepared", "climb push", "push_to_hub", "push_to_hub private",
    ],
)  # fmt: skip
def test_every_way_of_publishing_names_the_clause(published, case):
    kind, text = published[0][case]
    assert kind == "LicenseError"
    assert "`vindr_cxr` (licence `LicenseRef-PhysioNet-Credentialed-1.5.0`: The licence forbids sharing" in text
    assert "not even in a private repository" in text


def test_nothing_is_created_by_what_was_refused(published):
    found, _, _, hub = published
    assert found["push_to_hub allowed"] == ["nothing", ""]
    assert found["push_to_hub of others"] == ["nothing", ""]
    assert ("dataset", "tester/closed") not in hub.repositories
    assert {("dataset", "tester/free"), ("dataset", "tester/mine")} <= set(hub.repositories)
    assert hub.unknown == []


def test_no_secret_is_stored_printed_or_logged(published):
    found, output, folder, hub = published
    assert "HTTP Request" in output
    assert TOKEN not in output
    assert TOKEN not in json.dumps(found)
    assert [name for name, content in hub.stored.items() if TOKEN.encode() in content] == []
    assert [name for name, content in hub.stored.items() if str(folder).encode() in content] == []
    for file in (folder / "prepared").rglob("*"):
        assert not file.is_file() or TOKEN.encode() not in file.read_bytes()


# ---------------------------------------------------------------------- provenance


@pytest.fixture(scope="module")
def rows(miniatures, tmp_path_factory):
    """Built rows of an open and of a credentialed source of one family."""
    cache = tmp_path_factory.mktemp("cache")
    load = climb_hf.load_dataset
    return {
        "brain_tumor": load("brain_tumor", miniatures("brain_tumor", 12)[0], cache_dir=cache, image_size=16)["train"],
        "vindr_cxr": load("vindr_cxr", miniatures("vindr_cxr", 12)[0], cache_dir=cache)["train"],
    }


def test_origin_is_in_the_info(rows):
    assert declared_origins(rows["brain_tumor"].info) == [Origin("brain_tumor", "1.0.0", "MIT", {"image_size": 16})]
    assert declared_origins(rows["vindr_cxr"].info)[0].license == "LicenseRef-PhysioNet-Credentialed-1.5.0"


def test_origin_names_no_local_path(miniatures, tmp_path):
    folder, _ = miniatures("ptbxl", 12)
    info = climb_hf.load_dataset("ptbxl", folder, cache_dir=tmp_path, length=100)["train"].info
    assert str(folder) not in info.description
    assert declared_origins(info)[0].options == {"length": 100}


@pytest.mark.parametrize("change", ["map", "filter", "select", "rename", "shuffle", "split", "disk", "cast"])
def test_origin_survives_what_users_do(rows, change, tmp_path):
    part = rows["vindr_cxr"].remove_columns(["source"])
    if change == "disk":
        part.save_to_disk(str(tmp_path / "saved"))
    changed = {
        "map": lambda: part.map(lambda row: {"n": 1}),
        "filter": lambda: part.filter(lambda row: True),
        "select": lambda: part.select([0, 1]),
        "rename": lambda: part.rename_column("group", "patient"),
        "shuffle": lambda: part.shuffle(seed=1),
        "split": lambda: part.train_test_split(0.5)["test"],
        "disk": lambda: datasets.load_from_disk(str(tmp_path / "saved")),
        "cast": lambda: part.cast_column("age", datasets.Value("float64")),
    }[change]()
    assert [origin.source for origin in origins_of(changed)] == ["vindr_cxr"]
    with pytest.raises(LicenseError, match="climb info vindr_cxr"):
        check_push(changed)


def test_origin_survives_concatenation_interleaving_and_mixtures(rows, miniatures, tmp_path):
    both = [rows["brain_tumor"], rows["vindr_cxr"]]
    for mixed in (datasets.concatenate_datasets(both), datasets.interleave_datasets(both)):
        found = {origin.source: origin for origin in declared_origins(mixed.info)}
        assert set(found) == {"brain_tumor", "vindr_cxr"}
        assert found["brain_tumor"].options == {"image_size": 16}
        with pytest.raises(LicenseError, match="`vindr_cxr`"):
            check_push(mixed.remove_columns(["source", "id"]))
    raw = {name: miniatures(name, 12)[0] for name in ("brain_tumor", "proteins")}
    mixture = climb_hf.load_mixture(raw, split="train", cache_dir=tmp_path)
    assert {origin.source for origin in declared_origins(mixture.info)} == set(raw)


def test_streams_carry_their_origin_or_their_column(rows, miniatures):
    stream = climb_hf.load_dataset("vindr_cxr", miniatures("vindr_cxr", 12)[0], streaming=True, split="train")
    assert [origin.source for origin in declared_origins(stream.info)] == ["vindr_cxr"]
    assert [origin.source for origin in origins_of(stream.map(lambda row: row), scan=False)] == ["vindr_cxr"]
    converted = rows["vindr_cxr"].to_iterable_dataset()
    assert declared_origins(converted.info) == declared_origins(rows["vindr_cxr"].info)
    with pytest.raises(LicenseError, match="`vindr_cxr`"):
        check_push(converted.select_columns(["image"]))  # the column that names the source is gone


def test_column_source_speaks_where_the_origin_is_lost(rows, tmp_path):
    rows["vindr_cxr"].remove_columns(["image"]).to_parquet(str(tmp_path / "rows.parquet"))
    lost = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "rows.parquet"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert declared_origins(lost.info) == []
    assert [origin.source for origin in origins_of(lost)] == ["vindr_cxr"]
    for form in (lost, lost.to_iterable_dataset(), datasets.DatasetDict(train=lost)):
        with pytest.raises(LicenseError, match="`vindr_cxr`"):
            check_push(form)


def test_column_source_speaks_as_classes_in_batches_and_in_streams_that_do_not_know_their_columns():
    plain = {"id": ["1", "2"], "source": ["ptbxl", "vindr_cxr"], "group": ["a", "b"]}
    lost = datasets.Dataset.from_dict(plain)
    forms = (
        lost.class_encode_column("source"),
        lost.class_encode_column("source").to_iterable_dataset(),
        lost.batch(2),
        lost.batch(2).to_iterable_dataset(),
        lost.with_format("numpy"),
        datasets.IterableDataset.from_generator(
            lambda: ({"id": "1", "source": s, "group": "p"} for s in plain["source"])
        ),
    )
    for form in forms:
        assert [origin.source for origin in origins_of(form)] == ["ptbxl", "vindr_cxr"]
    for value in (7, 0.5, {"a": "vindr_cxr"}, None):  # the column of somebody else
        check_push(datasets.Dataset.from_dict({"id": ["1"], "source": [value], "group": ["p"]}))


def test_a_changed_column_does_not_hide_the_origin(rows):
    relabelled = rows["vindr_cxr"].map(lambda row: {"source": "ptbxl"})
    assert sources_of(relabelled) == ["ptbxl", "vindr_cxr"]
    with pytest.raises(LicenseError, match="`vindr_cxr`"):
        check_push(relabelled)


def test_rows_of_others_are_no_business_of_ours():
    others = datasets.Dataset.from_dict({"source": ["vindr_cxr", "web"], "text": ["a", "b"]})
    check_push(others)
    check_push(others.to_iterable_dataset())
    check_push(datasets.Dataset.from_dict({"id": ["1"], "source": ["my_site"], "group": ["p"]}))
    broken = datasets.Dataset.from_dict({"a": [1]})
    broken.info.description = "climb-hf origin: not JSON\nclimb-hf origin: [1]"
    check_push(broken)


def test_hook_guards_all_classes_once():
    kinds = (datasets.Dataset, datasets.DatasetDict, datasets.IterableDataset, datasets.IterableDatasetDict)
    for kind in kinds:
        method = kind.push_to_hub
        assert method._climb is True
        assert guarded(method) is method
        assert "repo_id" in method.__wrapped__.__code__.co_varnames
    assert carrying(datasets.Dataset.to_iterable_dataset) is datasets.Dataset.to_iterable_dataset


# ---------------------------------------------------------------------- conditions


def test_gate_asks_what_the_licences_ask():
    assert gate_fields([terms_of("ptbxl"), terms_of("brain_tumor")]) == {}
    share = gate_fields([terms_of("ptbxl"), terms_of("kits23")])
    assert list(share["extra_gated_fields"])[:2] == [
        "I use the data for non-commercial purposes only",
        "I pass copies and adaptations on under the same licence only",
    ]
    assert "`ptbxl`" not in share["extra_gated_prompt"]
    own = gate_fields([Terms("mine", "data", "LicenseRef-Mine", "Ask first.", redistributable=True)])
    assert own["extra_gated_prompt"].endswith("`mine`: LicenseRef-Mine (Ask first).")
    assert next(iter(own["extra_gated_fields"])) == "I keep to the terms of every source named above"


def test_local_card_of_closed_data_has_no_gate_but_says_so():
    card, licence = dataset_card({}, "folder", ["mimic_cxr", "ham10000"], "default", synthetic=False)
    assert "extra_gated_fields" not in card.data.to_dict()
    assert "**Not to be passed on.** The terms of `mimic_cxr` forbid it" in card.text
    assert "LicenseRef-PhysioNet-Credentialed-1.5.0" in licence
