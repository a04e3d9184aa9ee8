"""`climb qa compare`: encoders answer the same questions, by hand-computed numbers and end to end."""

import csv
import json
import types

import numpy as np
import pytest
from cli_helpers import climb
from vlm_tiny import tiny_vlm

from climb_hf.errors import OptionError, SchemaError
from climb_hf.loading import load_dataset
from climb_hf.protocols.data import model_classes
from climb_hf.protocols.multitask import Predicted
from climb_hf.protocols.qa_compare import compare_answers, encoder_answers
from climb_hf.report.qa import comparison_table, paper_values
from climb_hf.results import read_results

NAMES = ("brain_tumor", "chexpert")


def predicted(miniatures, scores_of):
    """What an encoder would predict whose logits a function of a row's own columns gives."""
    folders = {name: miniatures(name, n=16)[0] for name in NAMES}
    parts = {name: load_dataset(name, folder, image_size=32)["test"] for name, folder in folders.items()}
    classes = model_classes(list(NAMES))
    config = types.SimpleNamespace(**classes)
    column = {concept: index for index, concept in enumerate(config.vocabulary)}
    sources, ids, scores = [], [], []
    for name, part in parts.items():
        names = part.features["labels"].feature.names
        for row in part.select_columns(["id", "labels"]):
            line = np.full(len(column), 50.0, dtype=np.float32)  # classes of other sources must not matter
            own = config.source_classes[name]
            line[[column[concept] for concept in own]] = scores_of(name, own, [names[i] for i in row["labels"]])
            sources.append(name)
            ids.append(row["id"])
            scores.append(line)
    rows = {"sources": sources, "ids": ids, "scores": np.stack(scores)}
    model = types.SimpleNamespace(config=config)
    return folders, Predicted(types.SimpleNamespace(model=model), {}, parts, None, rows)


def right(name, own, labels):
    return [3.0 if concept in labels else -1.0 for concept in own]


def test_right_logits_are_right_answers(miniatures):
    _, found = predicted(miniatures, right)
    answers = encoder_answers(found, "test")
    assert len(answers) == sum(map(len, found.parts.values()))
    for (name, _), row in answers.items():
        assert set(row["prediction"].answers) == set(row["answers"])
        if name == "chexpert":
            assert all(0 < value < 1 for value in row["scores"].values())
            assert row["choices"][-1] == "None of the above"
            assert "None of the above" not in row["scores"]


def test_a_class_of_several_holds_from_one_half(miniatures):
    def at_the_border(name, own, labels):
        return [0.0, *([-0.01] * (len(own) - 1))]

    _, found = predicted(miniatures, at_the_border)
    first = found.trainer.model.config.source_classes["chexpert"][0]
    for (name, _), row in encoder_answers(found, "test").items():
        own = row["choices"][row["concepts"].index(first)] if name == "chexpert" else None
        if name == "chexpert":
            assert row["prediction"].answers == (own,)
    _, found = predicted(miniatures, lambda name, own, labels: [-1.0] * len(own))
    answers = [
        row["prediction"].answers for (name, _), row in encoder_answers(found, "test").items() if name == "chexpert"
    ]
    assert set(answers) == {("None of the above",)}


def test_numbers_are_those_of_the_questions(miniatures, monkeypatch, tmp_path):
    folders, found = predicted(miniatures, lambda name, own, labels: [1.0, *([0.0] * (len(own) - 1))])
    monkeypatch.setattr("climb_hf.protocols.multitask.predict", lambda *args, **kwargs: found)
    monkeypatch.setattr("climb_hf.protocols.checkpoints.architecture_of", lambda *args: {"architecture": "x"})
    one = {"brain_tumor": folders["brain_tumor"]}
    found.parts.pop("chexpert")
    rows = compare_answers(one, encoders=["enc"], n_bootstrap=0, output_dir=tmp_path)
    first = found.trainer.model.config.source_classes["brain_tumor"][0]
    names = found.parts["brain_tumor"].features["labels"].feature.names
    truth = [[names[i] for i in labels] == [first] for labels in found.parts["brain_tumor"]["labels"]]
    own = next(row for row in rows if row.metric == "accuracy" and row.level == "source")
    assert own.value == sum(truth) / len(truth)
    assert (own.settings["training"], own.model, own.synthetic) == ("encoder", "enc", True)
    table = comparison_table(rows, "modality")
    assert [line["modality"] for line in table] == ["MRI", "average"]
    assert table[1]["paper"] == "0.877 / 0.806 / 0.787"  # the paper's encoder
    lines = [json.loads(line) for line in (tmp_path / "answers_enc.jsonl").read_text().splitlines()]
    assert len(lines) == len(truth)


def answered(folder, found, training, *, change=lambda row: row, left_out=0):
    """Write a run of a model that answers everything right."""
    folder.mkdir()
    rows = [
        change({**row, "prediction": row["answer"]})
        for row in list(encoder_answers(found, "test").values())[left_out:]
    ]
    (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "run.json").write_text(json.dumps({"model": folder.name, "training": training, "synthetic": True}))
    return folder


def test_only_the_same_questions_are_compared(miniatures, tmp_path):
    folders, found = predicted(miniatures, right)
    a = answered(tmp_path / "a", found, "zero-shot")
    b = answered(tmp_path / "b", found, "fine-tuned", left_out=2)
    with pytest.raises(SchemaError, match=r"`b` \(fine-tuned\) lacks answers to 2 questions.*--partial"):
        compare_answers(folders, predictions=[a, b], n_bootstrap=0)
    rows = compare_answers(folders, predictions=[a, b], n_bootstrap=0, partial=True)
    counts = {(row.model, row.source): row.n for row in rows if row.level == "source" and row.metric == "accuracy"
              and not row.settings.get("without_duplicates")}  # fmt: skip
    assert counts["a", "brain_tumor"] == counts["b", "brain_tumor"] == len(found.parts["brain_tumor"]) - 2
    c = answered(tmp_path / "c", found, "x", change=lambda row: {**row, "answers": row["choices"][:1]})
    with pytest.raises(SchemaError, match=r"answers of question .* differ"):
        compare_answers(folders, predictions=[a, c], n_bootstrap=0)
    d = answered(tmp_path / "d", found, "x", change=lambda row: {**row, "split": "train"})
    with pytest.raises(SchemaError, match=r"answers the split \['train'\]"):
        compare_answers(folders, predictions=[d])
    with pytest.raises(OptionError, match="two models are called"):
        compare_answers(folders, predictions=[a, a])
    with pytest.raises(OptionError, match="--encoder"):
        compare_answers(folders)


def test_questions_about_ranges_are_not_for_encoders(miniatures, monkeypatch, tmp_path):
    folders, found = predicted(miniatures, right)
    monkeypatch.setattr("climb_hf.protocols.multitask.predict", lambda *args, **kwargs: found)
    monkeypatch.setattr("climb_hf.protocols.checkpoints.architecture_of", lambda *args: {})
    rows = compare_answers({**folders, "echonet_dynamic": tmp_path}, encoders=["enc"], n_bootstrap=0)
    undefined = [row for row in rows if row.source == "echonet_dynamic"]
    assert [(row.is_defined, row.n) for row in undefined] == [(False, 0)]
    assert "ranges of a target" in undefined[0].reason


def test_a_source_that_one_model_lacks_is_in_nobodys_average(miniatures, monkeypatch, tmp_path):
    folders, found = predicted(miniatures, right)
    both = answered(tmp_path / "both", found, "zero-shot")
    found.parts.pop("chexpert")
    monkeypatch.setattr("climb_hf.protocols.multitask.predict", lambda *args, **kwargs: found)
    monkeypatch.setattr("climb_hf.protocols.checkpoints.architecture_of", lambda *args: {})
    rows = compare_answers(folders, encoders=["enc"], predictions=[both], n_bootstrap=0)
    accuracy = [row for row in rows if row.metric == "accuracy" and not row.settings.get("without_duplicates")]
    assert {(row.model, row.source) for row in accuracy if row.level == "source"} == {
        ("enc", "brain_tumor"), ("both", "brain_tumor"), ("both", "chexpert"),
    }  # fmt: skip
    assert {row.n for row in accuracy if row.level == "overall"} == {len(found.parts["brain_tumor"])}


def test_the_tables_of_the_paper_are_as_printed():
    values = paper_values()
    assert values["modality", "average", "zero-shot"] == {
        "accuracy": 0.287,
        "sensitivity": 0.402,
        "specificity": 0.621,
    }
    assert values["source", "average", "fine-tuned"]["accuracy"] == 0.57
    assert values["modality", "Video", "fine-tuned"]["accuracy"] == 0.296
    assert len([key for key in values if key[:1] == ("modality",)]) == 2 * 9 + 1


def test_zero_shot_fine_tuned_and_encoder_on_the_command_line(tmp_path):
    base = tiny_vlm(tmp_path / "vlm")
    small = ["--miniature", "--miniature-n", "16"]
    climb("train", "brain_tumor", "--to", tmp_path / "encoder", *small, "--set", "training.num_train_epochs=1",
          "--set", "training.use_cpu=true", "--set", "data.options.*.image_size=32", "--set", "model.image_size=32",
          "--set", "processor.size=32")  # fmt: skip
    data = f"brain_tumor={tmp_path / 'encoder/miniature/brain_tumor'}"
    asked = ["--max-new-tokens", "12", "--n-bootstrap", "20", "--image-size", "32", "--device", "cpu"]
    climb("qa", "run", base, data, "--to", tmp_path / "zero", *asked)
    rate = ["--set", "training.learning_rate=0.02", "--set", "training.use_cpu=true"]
    climb("qa", "finetune", base, data, "--to", tmp_path / "lora", "--recipe", "qa/quick", *rate)
    climb("qa", "run", tmp_path / "lora", data, "--to", tmp_path / "tuned", *asked, "--choice", "likelihood")
    shown = climb(
        "qa", "compare", data, "--encoder", tmp_path / "encoder", "--vlm", tmp_path / "zero", "--vlm",
        tmp_path / "tuned", "--to", tmp_path / "table", "--n-bootstrap", "20",
    )  # fmt: skip
    assert "Per modality (Table 4 of the paper)" in shown
    rows = read_results(tmp_path / "table/results.jsonl")
    models = {(row.model, row.settings["training"]) for row in rows}
    assert models == {("encoder", "encoder"), ("vlm", "zero-shot"), ("lora", "fine-tuned")}
    assert all(row.synthetic and row.protocol == "qa" for row in rows)
    invalid = {
        row.settings["training"]: row.value for row in rows if row.metric == "invalid" and row.level == "overall"
    }
    assert invalid["encoder"] == invalid["fine-tuned"] == 0.0  # both choose among the options
    for level, name in (("modality", "MRI"), ("source", "brain_tumor")):
        table = comparison_table(rows, level)
        assert [line[level] for line in table] == [name] * 3 + ["average"] * 3
        assert [line["training"] for line in table[:3]] == ["encoder", "fine-tuned", "zero-shot"]
        assert all(line["accuracy"] for line in table)
    assert next(line["paper"] for line in comparison_table(rows, "modality") if line["training"] == "zero-shot") == (
        "0.363 / 0.473 / 0.650"
    )
    rows_of_paper = [
        part for name in ("vlm=LLaVA-Med", "lora=LLaVA-Med", "encoder=ConvNeXtV2") for part in ("--paper-model", name)
    ]
    climb("report", tmp_path / "table", "--to", tmp_path / "report", "--against", "paper", *rows_of_paper)
    for number, of in (("4", "mri"), ("22", "brain_tumor")):
        with (tmp_path / f"report/tables/table_{number}.csv").open(encoding="utf-8") as stream:
            cells = [row for row in csv.DictReader(stream) if row["dataset"] == of and row["metric"] == "accuracy"]
        own = {row["training"]: float(row["value"]) for row in cells if row["value"]}
        level = "modality" if number == "4" else "source"
        whole = [row for row in rows if row.metric == "accuracy" and "without_duplicates" not in row.settings]
        scored = {row.settings["training"]: row.value for row in whole if row.level == level}
        assert own["zero-shot"] == pytest.approx(scored["zero-shot"])
        assert own["fine-tuned"] == pytest.approx(scored["fine-tuned"])
        assert all(row["paper"] for row in cells if row["training"] != "multitask")
