"""`climb qa export`: each export is read back the way the framework's documentation says it reads it."""

import ast
import base64
import csv
import dataclasses
import enum
import importlib.util
import io
import json
import subprocess
import sys
import types
from collections.abc import Callable
from typing import Any

import datasets
import numpy as np
import PIL.Image
import pytest
import yaml
from typer.testing import CliRunner

from climb_hf.cli.app import app
from climb_hf.errors import OptionError
from climb_hf.protocols.qa_run import load_questions
from climb_hf.qa.exporting import export_questions

#: Keys of a task that lmms-eval's task guide describes.
TASK_KEYS = {
    "task", "group", "task_alias", "tag", "dataset_path", "dataset_name", "dataset_kwargs", "test_split",
    "training_split", "validation_split", "fewshot_split", "process_docs", "doc_to_messages", "doc_to_visual",
    "doc_to_text", "doc_to_target", "doc_to_choice", "num_fewshot", "batch_size", "metric_list", "output_type",
    "generation_kwargs", "process_results", "lmms_eval_specific_kwargs", "metadata", "include",
}  # fmt: skip


@pytest.fixture(scope="module")
def parts(miniatures):
    sources = {name: miniatures(name, n=16)[0] for name in ("brain_tumor", "chexpert", "covid_us")}
    return load_questions(sources, "test", {"covid_us": {"num_frames": 2}})


def load_file(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_task(path):
    """A task as lmms-eval reads it: `!function utils.f` is a function of the file beside, `include` comes first."""

    class Loader(yaml.SafeLoader):
        pass

    def function(loader, node):
        file, name = loader.construct_scalar(node).rsplit(".", 1)
        return getattr(load_file(path.parent / f"{file}.py", f"export_{file}"), name)

    Loader.add_constructor("!function", function)
    content = yaml.load(path.read_text(), Loader=Loader)
    if "include" in content:
        return {**read_task(path.parent / content.pop("include")), **content}
    return content


def test_lmms_eval_reads_its_tasks(parts, tmp_path, monkeypatch):
    export_questions(parts, tmp_path, "lmms-eval", max_new_tokens=32)
    folder = tmp_path / "tasks/climb_qa"
    group = read_task(folder / "climb_qa.yaml")
    assert group == {"group": "climb_qa", "task": ["climb_qa_brain_tumor", "climb_qa_chexpert", "climb_qa_covid_us"]}
    monkeypatch.chdir(tmp_path)
    for name, part in parts.items():
        task = read_task(folder / f"climb_qa_{name}.yaml")
        assert set(task) <= TASK_KEYS
        assert task["output_type"] == "generate_until"
        assert task["generation_kwargs"]["max_new_tokens"] == 32
        table = datasets.load_dataset(task["dataset_path"], **task["dataset_kwargs"])[task["test_split"]]
        assert table["id"] == part["id"]
        assert {"id", "images", "question", "options", "answers", "source", "modality"} <= set(table.column_names)
        items = {}
        for doc in table:
            assert all(isinstance(picture, PIL.Image.Image) for picture in task["doc_to_visual"](doc))
            assert len(task["doc_to_visual"](doc)) == (2 if name == "covid_us" else 1)
            message = task["doc_to_messages"](doc)[0]
            assert message["content"][-1] == {"type": "text", "text": task["doc_to_text"](doc)}
            found = task["process_results"](doc, [task["doc_to_target"](doc)])
            assert set(found) == {metric["metric"] for metric in task["metric_list"]}
            for key, item in found.items():
                items.setdefault(key, []).append(item)
        scores = {metric["metric"]: metric["aggregation"](items[metric["metric"]]) for metric in task["metric_list"]}
        assert scores["climb_accuracy"] == 1.0
        assert scores["climb_invalid"] == 0.0
        items["climb_accuracy"][0] = {**items["climb_accuracy"][0], "prediction": "no idea"}
        assert task["metric_list"][0]["aggregation"](items["climb_accuracy"]) == pytest.approx(1 - 1 / len(part))


def test_vlmevalkit_reads_its_tables(parts, tmp_path):
    export_questions(parts, tmp_path, "vlmevalkit")
    csv.field_size_limit(1 << 30)
    for name, part in parts.items():
        with (tmp_path / f"CLIMB_QA_{name}.tsv").open(newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t"))
        assert [int(row["index"]) for row in rows] == list(range(len(part)))
        for row, asked in zip(rows, part, strict=True):
            texts = ast.literal_eval(row["image"]) if row["image"].startswith("[") else [row["image"]]
            paths = ast.literal_eval(row["image_path"]) if row["image_path"].startswith("[") else [row["image_path"]]
            assert len(texts) == len(paths) == len(asked["images"])
            assert all(len(text) > 64 for text in texts)  # shorter ones are taken for the index of another row
            assert PIL.Image.open(io.BytesIO(base64.b64decode(texts[0]))).mode == "RGB"
            assert row["category"] == name
            if asked["multi_label"]:
                assert "A" not in row
                assert (row["question"], row["answer"]) == (asked["question"], asked["answer"])
            else:
                assert row[row["answer"]] == asked["answers"][0]
                assert [row[letter] for letter in "ABCDEFGHIJ" if letter in row] == asked["choices"]
                assert "Options:" not in row["question"]
                assert asked["question"].startswith(row["question"])


def test_answers_of_vlmevalkit_are_scored_by_index(parts, tmp_path):
    export_questions({"brain_tumor": parts["brain_tumor"]}, tmp_path, "vlmevalkit")
    asked = [json.loads(line) for line in (tmp_path / "brain_tumor.questions.jsonl").read_text().splitlines()]
    with (tmp_path / "answers.tsv").open("w", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t")
        writer.writerow(["index", "prediction"])
        writer.writerows([row["index"], row["answer"]] for row in reversed(asked))
    shown = subprocess.run(
        [sys.executable, str(tmp_path / "score.py"), str(tmp_path / "answers.tsv"), "brain_tumor"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr[-2000:]
    assert "1.000" in shown.stdout


@dataclasses.dataclass(slots=True)
class Doc:
    """The fields of a document that lighteval's documentation names."""

    query: str
    choices: list
    gold_index: int | list
    id: str = ""
    specific: dict | None = None
    task_name: str = ""
    instruction: str | None = ""
    images: list | None = None


@dataclasses.dataclass
class TaskConfig:
    """The fields of a task that lighteval's documentation and tasks use."""

    name: str
    prompt_function: Callable
    hf_repo: str
    hf_subset: str
    metrics: list
    hf_avail_splits: list
    evaluation_splits: list
    few_shots_split: str | None
    few_shots_select: str | None
    generation_size: int | None
    stop_sequence: list | None
    version: int


@dataclasses.dataclass
class SampleMetric:
    """The fields of a metric of samples."""

    metric_name: str
    higher_is_better: bool
    category: Any
    sample_level_fn: Any
    corpus_level_fn: Callable


@pytest.fixture
def lighteval(monkeypatch):
    method = enum.Enum("SamplingMethod", {"GENERATIVE": "GENERATIVE", "LOGPROBS": "LOGPROBS"})
    contents = {
        "lighteval": {}, "lighteval.metrics": {}, "lighteval.metrics.utils": {}, "lighteval.tasks": {},
        "lighteval.metrics.metrics_sample": {"SampleLevelComputation": type("SampleLevelComputation", (), {})},
        "lighteval.metrics.utils.metric_utils": {"SampleLevelMetric": SampleMetric},
        "lighteval.tasks.lighteval_task": {"LightevalTaskConfig": TaskConfig},
        "lighteval.tasks.requests": {"Doc": Doc, "SamplingMethod": method},
    }  # fmt: skip
    for name, values in contents.items():
        module = types.ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)
    return method


def test_lighteval_reads_its_tasks(parts, tmp_path, lighteval):
    export_questions(parts, tmp_path, "lighteval")
    module = load_file(tmp_path / "climb_qa_lighteval.py", "climb_qa_lighteval")
    assert [task.name for task in module.TASKS_TABLE] == [f"climb_qa:{name}" for name in parts]
    for task, part in zip(module.TASKS_TABLE, parts.values(), strict=True):
        table = datasets.load_dataset(task.hf_repo, task.hf_subset)
        assert set(table) == set(task.hf_avail_splits) == set(task.evaluation_splits) == {"test"}
        metric = task.metrics[0]
        assert metric.category is lighteval.GENERATIVE
        scores = []
        for line, asked in zip(table["test"], part, strict=True):
            doc = task.prompt_function(line, task.name)
            assert [doc.choices[index] for index in doc.gold_index] == asked["answers"]
            assert doc.query == asked["question"]
            assert len(doc.images) == len(asked["images"])
            answer = types.SimpleNamespace(text=[asked["answer"]])
            scores.append(metric.sample_level_fn.compute(doc=doc, model_response=answer))
            wrong = types.SimpleNamespace(text=["I cannot tell."])
            assert metric.sample_level_fn.compute(doc=doc, model_response=wrong) == 0.0
        assert metric.corpus_level_fn(scores) == 1.0
        assert isinstance(np.mean(scores), float)


def test_the_command_and_unknown_frameworks(parts, tmp_path):
    shown = CliRunner().invoke(
        app,
        ["qa", "export", "brain_tumor", "--format", "lmms-eval", "--to", str(tmp_path), "--miniature",
         "--miniature-n", "16", "--limit", "3"],
    )  # fmt: skip
    assert shown.exit_code == 0, shown.output
    table = datasets.load_dataset("parquet", data_files=str(tmp_path / "data/brain_tumor/test.parquet"))["train"]
    assert len(table) == 3
    assert "synthetic miniatures" in (tmp_path / "README.md").read_text()
    with pytest.raises(OptionError, match="must be one of"):
        export_questions(parts, tmp_path, "other")
