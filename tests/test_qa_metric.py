"""Scores of answered questions: hand-computed values, averages, intervals, rows, command line, `evaluate` Space."""

import ast
import importlib.util
import json
import math
from pathlib import Path

import evaluate
import numpy as np
import pytest
import yaml
from sklearn.metrics import f1_score, recall_score
from typer.testing import CliRunner

import climb_hf
from climb_hf.cli.app import app
from climb_hf.errors import OptionError, SchemaError, VocabularyError
from climb_hf.metrics import qa_match
from climb_hf.qa import build_questions, choice_set, score_predictions
from climb_hf.qa.reading import read_questions
from climb_hf.qa.scoring import rows_from_qa, score_answers
from climb_hf.results import read_results
from climb_hf.source import Record

FOLDER = Path(__file__).resolve().parents[1] / "evaluate_metrics" / "climb_qa_match"
CLASSES = {"s": ["a", "b", "c"]}
runner = CliRunner()


def run(*arguments):
    result = runner.invoke(app, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_hand_computed_single_label():
    references = [{"a"}, {"a"}, {"a"}, {"b"}, {"b"}, {"c"}]
    predictions = [{"a"}, {"b"}, None, {"b"}, {"a"}, {"c"}]
    statuses = ["ok", "ok", "empty", "ok", "ok", "ok"]
    table = qa_match(references, predictions, ["s"] * 6, classes=CLASSES, statuses=statuses)["sources"]["s"]
    assert (table["n"], table["n_groups"], table["n_invalid"], table["invalid_by"]) == (6, 6, 1, {"empty": 1})
    assert table["accuracy"] == 3 / 6
    assert table["invalid"] == 1 / 6
    per_class = table["per_class"]
    assert per_class["class"] == ["a", "b", "c"]
    assert (per_class["positives"], per_class["predicted"]) == ([3, 2, 1], [2, 2, 1])
    assert per_class["sensitivity"] == pytest.approx([1 / 3, 1 / 2, 1])
    assert per_class["specificity"] == pytest.approx([2 / 3, 3 / 4, 1])
    assert per_class["f1"] == pytest.approx([2 / 5, 2 / 4, 1])
    assert table["sensitivity"] == pytest.approx((1 / 3 + 1 / 2 + 1) / 3)
    assert table["specificity"] == pytest.approx((2 / 3 + 3 / 4 + 1) / 3)
    assert table["f1"] == pytest.approx((0.4 + 0.5 + 1) / 3)


def test_sets_are_compared_whatever_their_order_and_uncertain_choices_are_left_out():
    references = [["a", "b"], ["a", "b"], [], ["a"]]
    predictions = [["b", "a"], ["a"], [], ["a", "c"]]
    table = qa_match(references, predictions, ["s"] * 4, classes=CLASSES)["sources"]["s"]
    assert table["accuracy"] == 0.5
    assert table["per_class"]["sensitivity"][:2] == [1.0, 0.5]
    assert math.isnan(table["per_class"]["sensitivity"][2])
    assert (table["n_sensitivity_defined"], table["sensitivity"]) == (2, 0.75)
    lenient = qa_match(references, predictions, ["s"] * 4, classes=CLASSES, uncertain=[(), ("b",), (), ("c",)])
    table = lenient["sources"]["s"]
    assert table["accuracy"] == 1.0
    assert table["per_class"]["positives"] == [3, 1, 0]
    assert table["per_class"]["specificity"] == [1.0, 1.0, 1.0]


def test_an_empty_answer_set_is_no_invalid_answer():
    table = qa_match([[], []], [[], None], ["s"] * 2, classes=CLASSES)["sources"]["s"]
    assert (table["accuracy"], table["invalid"]) == (0.5, 0.5)


def test_averages_over_sources_and_over_modalities():
    references = [{"a"}] * 8
    predictions = [{"a"}, {"a"}, {"a"}, {"b"}, {"b"}, {"b"}, {"a"}, {"b"}]
    sources = ["one", "one", "two", "two", "three", "three", "four", "four"]
    classes = {name: ["a", "b"] for name in ("one", "two", "three", "four")}
    modalities = {"one": "CT", "two": "CT", "three": "CT", "four": "MRI"}
    result = qa_match(references, predictions, sources, classes=classes, modalities=modalities)
    assert {name: table["accuracy"] for name, table in result["sources"].items()} == {
        "one": 1.0, "two": 0.5, "three": 0.0, "four": 0.5,
    }  # fmt: skip
    assert {name: table["accuracy"] for name, table in result["modalities"].items()} == {"CT": 0.5, "MRI": 0.5}
    assert result["overall"]["accuracy"] == 0.5
    assert result["modality_average"]["accuracy"] == 0.5
    assert (result["overall"]["n_sources"], result["modality_average"]["n_sources"]) == (4, 2)
    predictions[6:] = [{"a"}, {"a"}]
    result = qa_match(references, predictions, sources, classes=classes, modalities=modalities)
    assert result["overall"]["accuracy"] == 0.625  # Table 22: over sources
    assert result["modality_average"]["accuracy"] == 0.75  # Table 4: over modalities


def test_the_paper_s_constant_answers_come_out():
    """Table 22: one class of 14 named for everything gives 1/14 and 13/14; naming all gives 1 and 0."""
    texts = list(choice_set(climb_hf.get_source("chexpert")).texts)
    rows = [{"id": str(i), "source": "chexpert", "choices": texts, "answers": [text], "multi_label": True}
            for i, text in enumerate(texts)]  # fmt: skip
    result, _ = score_answers(rows, [texts[0]] * 14)
    assert result["overall"]["sensitivity"] == pytest.approx(1 / 14)
    assert result["overall"]["specificity"] == pytest.approx(13 / 14)
    result, parsed = score_answers(rows, [", ".join(texts)] * 14, hedges="named")
    assert (result["overall"]["sensitivity"], result["overall"]["specificity"]) == (1.0, 0.0)
    assert result["overall"]["accuracy"] == 0.0
    assert {answer.status for answer in parsed} == {"all"}
    strict, _ = score_answers(rows, [", ".join(texts)] * 14)
    assert (strict["overall"]["sensitivity"], strict["overall"]["invalid"]) == (0.0, 1.0)


def random_rows(n=300, seed=0):
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 3, n)
    said = np.where(generator.random(n) < 0.6, truth, generator.integers(0, 3, n))
    groups = [str(i // 3) for i in range(n)]
    names = np.array(["a", "b", "c"])
    return truth, said, groups, [{x} for x in names[truth]], [{x} for x in names[said]]


def test_equals_scikit_learn():
    truth, said, _, references, predictions = random_rows()
    table = qa_match(references, predictions, ["s"] * 300, classes=CLASSES)["sources"]["s"]
    assert table["accuracy"] == np.mean(truth == said)
    assert table["sensitivity"] == pytest.approx(recall_score(truth, said, average="macro"), abs=1e-12)
    assert table["f1"] == pytest.approx(f1_score(truth, said, average="macro"), abs=1e-12)
    specificity = np.mean([recall_score(truth != k, said != k) for k in range(3)])
    assert table["specificity"] == pytest.approx(specificity, abs=1e-12)


def test_intervals_draw_whole_groups():
    truth, said, groups, references, predictions = random_rows()
    options = {"classes": CLASSES, "n_bootstrap": 400, "seed": 2}
    result = qa_match(references, predictions, ["s"] * 300, groups=groups, **options)
    table = result["sources"]["s"]
    low, high = table["intervals"]["accuracy"]
    assert table["n_groups"] == 100
    assert low < table["accuracy"] < high
    from climb_hf.metrics import cluster_weights

    codes = np.arange(300) // 3
    weights = np.concatenate(list(cluster_weights(codes, 300, 400, 2, "s")))
    draws = (weights * (truth == said)).sum(axis=1) / weights.sum(axis=1)
    assert (low, high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])))
    copies = qa_match(references * 2, predictions * 2, ["s"] * 600, groups=groups * 2, **options)
    assert copies["sources"]["s"]["intervals"]["accuracy"] == pytest.approx((low, high))  # copies tell nothing new
    single = qa_match(references, predictions, ["s"] * 300, groups=["x"] * 300, **options)["sources"]["s"]
    assert all(math.isnan(end) for end in single["intervals"]["accuracy"])


def test_bad_input_is_named():
    with pytest.raises(SchemaError, match="row 1 has 'z', which is no class of 's'"):
        qa_match([{"a"}, {"z"}], [{"a"}, {"a"}], ["s"] * 2, classes=CLASSES)
    with pytest.raises(SchemaError, match="pass `None`"):
        qa_match([{"a"}], [{"z"}], ["s"], classes=CLASSES)
    with pytest.raises(SchemaError, match="`predictions` has 1 rows and `references` 2"):
        qa_match([{"a"}, {"b"}], [{"a"}], ["s"] * 2, classes=CLASSES)
    with pytest.raises(VocabularyError, match="no choices for the source 't'"):
        qa_match([{"a"}], [{"a"}], ["t"], classes=CLASSES)
    with pytest.raises(OptionError, match="n_bootstrap"):
        qa_match([{"a"}], [{"a"}], ["s"], classes=CLASSES, n_bootstrap=-1)
    with pytest.raises(OptionError, match="hedges"):
        score_answers([], [], hedges="all")


def questions(n=12, source="aptos2019", copies=0):
    records = [
        Record(id=f"{i}", group=f"g{i // 2}", raw_labels=(str(i % 5),), duplicate_of="0" if 0 < i <= copies else None)
        for i in range(n)
    ]
    return [question.as_dict() for question in build_questions(records, source)]


def test_rows_of_results():
    asked = questions(copies=3)
    rows = [{**q, "prediction": q["answer"] if i % 2 else "no idea"} for i, q in enumerate(asked)]
    results = score_predictions(rows, n_bootstrap=50, model="m", synthetic=True)
    kinds = [
        (r.level, r.source, r.settings.get("average"), r.settings.get("without_duplicates")) for r in results[::5]
    ]
    assert kinds == [
        ("source", "aptos2019", None, None), ("modality", "Fundus", None, None), ("overall", "all", "sources", None),
        ("overall", "all", "modalities", None), ("source", "aptos2019", None, True),
    ]  # fmt: skip
    first = results[0]
    assert (first.metric, first.value, first.n, first.n_groups, first.n_classes) == ("accuracy", 0.5, 12, 6, 5)
    assert (first.protocol, first.model, first.split, first.synthetic) == ("qa", "m", "test", True)
    assert first.interval[0] <= 0.5 <= first.interval[1]
    assert first.data_fingerprint
    assert first.versions["climb_hf"]
    assert results[4].metric == "invalid"
    assert results[4].settings["invalid_by"] == {"unrecognised": 6}
    assert results[-5].n == 9
    assert (first.settings["hedges"], first.settings["n_bootstrap"]) == ("invalid", 50)
    undefined = rows_from_qa(qa_match([set()], [set()], ["s"], classes=CLASSES), split="test")[1]
    assert (math.isnan(undefined.value), undefined.reason) == (True, "no class has a positive")


def test_answers_join_their_questions(tmp_path):
    asked = questions()
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(q) + "\n" for q in asked))
    answers = [{"source": q["source"], "id": q["id"], "reply": q["answer"]} for q in reversed(asked)]
    results = score_predictions(answers, questions=path, field="reply", n_bootstrap=0)
    assert results[0].value == 1.0
    with pytest.raises(SchemaError, match=r"3 of 12 questions have no answer.*--partial"):
        score_predictions(answers[:9], questions=path, field="reply")
    assert score_predictions(answers[:9], questions=path, field="reply", partial=True, n_bootstrap=0)[0].n == 9
    with pytest.raises(SchemaError, match="answered twice"):
        score_predictions([*answers, answers[0]], questions=path, field="reply")
    with pytest.raises(SchemaError, match="belong to no question"):
        score_predictions([*answers, {"source": "aptos2019", "id": "x"}], questions=path, field="reply")
    with pytest.raises(SchemaError, match="has no `prediction`"):
        score_predictions(answers, questions=path)
    with pytest.raises(SchemaError, match="lacks \\['choices', 'answers'\\]"):
        score_predictions(answers, field="reply")
    with pytest.raises(SchemaError, match="no answer to score"):
        score_predictions([])
    other = {**asked[1], "choices": asked[1]["choices"][:4], "answers": asked[1]["choices"][:1]}
    with pytest.raises(SchemaError, match="one label scheme at a time"):
        score_answers([asked[0], other], ["A", "A"])
    path.write_text('{"id": 1}\nno json\n')
    with pytest.raises(SchemaError, match=r"`questions\.jsonl`, line 2"):
        list(read_questions(path))
    with pytest.raises(SchemaError, match="found none at"):
        list(read_questions(tmp_path / "absent.jsonl"))


def test_command_line_from_miniature_to_numbers(miniatures, tmp_path):
    raw = [f"{name}={miniatures(name, n=32)[0]}" for name in ("chexpert", "brain_tumor", "covid_blues")]
    result = run("qa", "build", *raw, "--to", tmp_path / "qa", "--split", "test", "--json")
    built = json.loads(result.stdout)
    assert [file["source"] for file in built] == ["chexpert", "brain_tumor", "covid_blues"]
    assert "without pictures: covid_blues" in result.stderr
    asked = list(read_questions(tmp_path / "qa"))
    answers = tmp_path / "answers.jsonl"
    lines = [{"source": q["source"], "id": q["id"], "prediction": f"I think: {q['answer']}."} for q in asked]
    answers.write_text("".join(json.dumps(line) + "\n" for line in lines))
    options = ("--questions", tmp_path / "qa", "--n-bootstrap", 20, "--model", "oracle")
    shown = run("qa", "score", answers, *options, "--to", tmp_path / "results.jsonl", "--parsed", tmp_path / "p.jsonl")
    assert "mean over modalities" in shown.output
    results = read_results(tmp_path / "results.jsonl")
    assert {row.value for row in results if row.metric == "accuracy"} == {1.0}
    assert {row.source for row in results if row.level == "modality"} == {"Chest X-ray", "MRI", "Ultrasound"}
    assert {(row.model, row.synthetic, row.split) for row in results} == {("oracle", True, "test")}
    understood = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert all(row["parsed"] == row["answers"] and row["status"] == "ok" for row in understood)
    assert run("qa", "build", *raw, "--to", tmp_path / "x", "--paraphrase", "many").exit_code == 2
    assert run("qa", "score").exit_code == 2
    with pytest.raises(OptionError, match="no questions"):
        run("qa", "build", f"tuab={tmp_path}", "--to", tmp_path / "x")


def test_raw_copies_of_a_dry_run_are_no_questions(tmp_path):
    """Some publishers use the file formats of ours; `--miniature` writes raw copies into the folder of the run."""
    built = run("qa", "build", "busi", "--to", tmp_path, "--miniature", "--miniature-n", 16, "--json")
    assert built.exit_code == 0, built.output
    (tmp_path / "miniature" / "busi" / "urls.jsonl").write_text('{"url": "a"}\n')
    asked = list(read_questions(tmp_path))
    assert {row["source"] for row in asked} == {"busi"}
    assert len(asked) == sum(file["questions"] for file in json.loads(built.stdout))


@pytest.fixture(scope="module")
def metric():
    return evaluate.load(str(FOLDER))


def test_space_equals_the_library(metric):
    asked = questions(40)
    replies = [q["answer"] if i % 3 else ("A or B" if i % 2 else "unknown") for i, q in enumerate(asked)]
    groups = [q["group"] for q in asked]
    inputs = {key: [q[key] for q in asked] for key in ("choices", "source", "answers")}
    result = metric.compute(
        predictions=replies, references=inputs["answers"], choices=inputs["choices"], sources=inputs["source"],
        groups=groups, n_bootstrap=20, seed=3,
    )  # fmt: skip
    expected, parsed = score_answers(asked, replies, n_bootstrap=20, seed=3)
    assert result.pop("climb_qa_match") == expected["overall"]["accuracy"]
    assert result.pop("parsed") == [{"answers": list(p.answers), "status": p.status} for p in parsed]
    assert repr(result) == repr(expected)
    with pytest.raises(SchemaError, match="`groups` has 1 rows"):
        metric.compute(predictions=["A"] * 2, references=[["a"]] * 2, choices=[["a", "b"]] * 2, sources=["s"] * 2,
                       groups=["x"])  # fmt: skip


def test_cases_of_the_space(metric):
    spec = importlib.util.spec_from_file_location("qa_space_cases", FOLDER / "tests.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert len(module.test_cases) == 3
    for case in module.test_cases:
        result = metric.compute(**{key: value for key, value in case.items() if key != "result"})
        assert {key: result[key] for key in case["result"]} == pytest.approx(case["result"])


def test_files_of_the_space():
    names = {"README.md", "__init__.py", "app.py", "climb_qa_match.py", "requirements.txt", "tests.py"}
    assert {path.name for path in FOLDER.iterdir() if path.is_file()} == names
    header = yaml.safe_load((FOLDER / "README.md").read_text(encoding="utf-8").split("---")[1])
    assert (header["sdk"], header["app_file"], header["tags"]) == ("gradio", "app.py", ["evaluate", "metric"])
    assert "climb-hf" in (FOLDER / "requirements.txt").read_text(encoding="utf-8").splitlines()
    tree = ast.parse((FOLDER / "climb_qa_match.py").read_text(encoding="utf-8"))
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert {name.name for node in top for name in node.names} == {"datasets", "evaluate"}
