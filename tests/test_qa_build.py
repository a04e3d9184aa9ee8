"""Questions from sources: templates, wording, order, answers, rows of the builder, files."""

import json
import re
from collections import Counter
from typing import ClassVar

import datasets
import PIL.Image
import pytest
import yaml

import climb_hf
from climb_hf.builder import ClimbConfig
from climb_hf.errors import DamagedDataError, OptionError, SchemaError, SplitError
from climb_hf.indexing import build_index
from climb_hf.qa import NONE_OF_THE_ABOVE, build_files, build_questions, choice_set, messages_for, template_of
from climb_hf.qa.questions import QuestionMaker
from climb_hf.qa.reading import read_questions
from climb_hf.qa.templates import TEMPLATE_FILE, Bin, parse_template, usable_classes
from climb_hf.source import Record, Source

PICTURES = [name for name in climb_hf.list_sources() if climb_hf.get_source(name).family in ("image", "frames")]
REFUSED = [name for name in climb_hf.list_sources() if template_of(climb_hf.get_source(name)).refused]
GRADES = ("No DR", "Mild DR", "Moderate DR", "Severe DR", "Proliferative DR")


def entry(name="brain_mri"):
    return dict(yaml.safe_load(TEMPLATE_FILE.read_text())[name])


@pytest.mark.parametrize("name", PICTURES)
def test_every_image_and_frames_source_has_a_template(name):
    source = climb_hf.get_source(name)
    template = template_of(source)
    assert template.refused is None
    if getattr(source, "benchmark", "climb") == "climb":
        assert not template.is_generic, f"{name} needs its own entry in {TEMPLATE_FILE.name}"
        assert len(set(template.tasks)) >= 3
    own = choice_set(source)
    if not template.bins:
        assert own.concepts == tuple(concept for _, concept in usable_classes(source.vocabulary()))
        assert own.multi_label == source.multi_label
    assert all("," not in text for text in own.texts)
    assert own.shown == ((*own.texts, NONE_OF_THE_ABOVE) if own.multi_label else own.texts)


def test_every_entry_belongs_to_a_source_and_every_refusal_has_a_reason():
    names = set(yaml.safe_load(TEMPLATE_FILE.read_text())) - {"_frames"}
    assert names <= set(climb_hf.list_sources())
    for name in REFUSED:
        assert climb_hf.get_source(name).family not in ("image", "frames")
        with pytest.raises(OptionError, match="there are no questions for this source: "):
            climb_hf.load_dataset(name, "nowhere", qa=True)  # before the data is looked for


def test_the_papers_wording_for_aptos():
    assert choice_set(climb_hf.get_source("aptos2019")).texts == GRADES


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"choices": {"No": "No tumor"}}, "lacks the classes \\['Yes'\\]"),
        ({"choices": {"No": "a", "Yes": "b", "Maybe": "c"}}, "names \\['Maybe'\\], which are no classes"),
        ({"choices": {"No": "Tumor", "Yes": "tumors"}}, "must differ"),
        ({"choices": {"No": "none of the above", "Yes": "Tumor"}}, "must differ"),
        ({"tasks": ["a?", "a?", "b?"]}, "at least 3 different"),
        ({"input": ""}, "needs `input`"),
        ({"synonyms": {"Perhaps": ["x"]}}, "'Perhaps' is no class"),
        ({"synonyms": {"No": ["mass"], "Yes": ["masses"]}}, "stands for both"),
        ({"exact": {"No": [False]}}, "put quotes around"),
        ({"wording": "x"}, "unknown keys \\['wording'\\]"),
        ({"bins": {"target": "ef", "choices": [{"text": "a"}]}}, "without classes"),
    ],
)
def test_a_template_that_does_not_fit_is_refused(change, text):
    with pytest.raises(SchemaError, match=text):
        parse_template("brain_mri", {**entry(), **change})


def test_a_wrong_template_fails_at_import(tmp_path, monkeypatch):
    import importlib
    import pathlib

    content = yaml.safe_load(TEMPLATE_FILE.read_text())
    del content["aptos2019"]["choices"]["Mild"]
    read = pathlib.Path.read_text

    def changed(path, *args, **kwargs):
        return yaml.safe_dump(content) if path.name == TEMPLATE_FILE.name else read(path, *args, **kwargs)

    monkeypatch.setattr(pathlib.Path, "read_text", changed)
    spec = importlib.util.find_spec("climb_hf.qa.templates")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, spec.name, module)
    with pytest.raises(SchemaError, match=r"aptos2019.*lacks the classes \['Mild'\]"):
        spec.loader.exec_module(module)


def test_a_source_may_bring_its_own_template_or_gets_a_generic_one():
    class Own(type(climb_hf.get_source("brain_mri"))):
        qa_template: ClassVar = {**entry(), "tasks": ["one?", "two?", "three?"]}

    assert template_of(Own()).tasks == ("one?", "two?", "three?")

    class Stranger(Source):
        name, family, modality, title = "tuab", "image", "EEG picture", "A data set"

    template = template_of_unlisted(Stranger())
    assert template.is_generic
    assert template.choices == {"Normal": "Normal", "Abnormal": "Abnormal"}
    assert "EEG picture" in template.input


def template_of_unlisted(source):
    from climb_hf.qa.templates import _generic

    return _generic(source.name, source.family, source.modality, source.title)


def questions_of(n=200, name="aptos2019", value="1", **options):
    records = [Record(id=f"r{i}", group=f"g{i}", raw_labels=(value,)) for i in range(n)]
    return list(build_questions(records, name, **options))


def test_order_of_the_choices_is_seeded_and_belongs_to_the_record():
    first, again, other = questions_of(), questions_of(), questions_of(seed=1)
    assert first == again
    assert [q.choices for q in first] != [q.choices for q in other]
    assert questions_of(5) == first[:5]
    assert {q.choices for q in questions_of(order="fixed")} == {GRADES}
    positions = Counter(q.choices.index("Mild DR") for q in questions_of(2000))
    assert set(positions) == set(range(5))
    assert all(320 <= count <= 480 for count in positions.values())  # 400 each; more than four deviations is a bias
    for question in first:
        assert sorted(question.choices) == sorted(GRADES)
        assert question.answers == ("Mild DR",)
        for letter, text in zip("ABCDE", question.choices, strict=True):
            assert f"\n{letter}. {text}\n" in question.question


def test_paraphrases_differ_and_random_ones_are_seeded():
    texts = [questions_of(1, paraphrase=i)[0].question for i in range(3)]
    assert len({text.split("Options:")[0] for text in texts}) == 3
    drawn = Counter(q.paraphrase for q in questions_of(600, paraphrase="random"))
    assert set(drawn) == {0, 1, 2}
    assert min(drawn.values()) > 150
    for wrong in (3, -1, True, "all"):
        with pytest.raises(OptionError, match="qa_paraphrase"):
            questions_of(1, paraphrase=wrong)
    with pytest.raises(OptionError, match="qa_order"):
        questions_of(1, order="sorted")


def test_multi_label_answers_none_of_the_above_and_uncertain():
    records = [
        Record(id="a", group="a", raw_labels=("Pneumonia", "Edema")),
        Record(id="b", group="b"),
        Record(id="c", group="c", raw_labels=("Fracture",), uncertain=("Pneumonia", "Fracture")),
    ]
    first, second, third = build_questions(records, "chexpert", order="fixed")
    assert (first.answers, first.answer, first.multi_label) == (("Edema", "Pneumonia"), "Edema, Pneumonia", True)
    assert second.answers == (NONE_OF_THE_ABOVE,)
    assert all(q.choices[-1] == NONE_OF_THE_ABOVE and q.concepts[-1] is None for q in (first, second, third))
    assert third.uncertain == ("Pneumonia",)
    assert first.concepts[first.choices.index("Edema")] == "chest_xray.edema"


def test_ranges_of_the_ejection_fraction():
    values = {"r": 40.0, "m": 40.5, "n": 49.99, "p": 50.0, "x": None}
    records = [Record(id=k, group=k, targets={"ef": v}) for k, v in values.items()] + [Record(id="y", group="y")]
    answers = {q.id: q.answer.split(" ejection")[0] for q in build_questions(records, "echonet_dynamic")}
    assert answers == {"r": "Reduced", "m": "Mildly reduced", "n": "Mildly reduced", "p": "Normal"}
    assert Bin("a", below=5).holds(4.9)
    assert not Bin("a", below=5).holds(5)


def test_text_only_questions_hold_the_facts_and_no_picture():
    report = {"ecg_report": "Sinus rhythm; Abnormal ECG", "admission_type": "EW EMER.", "admission_location": None}
    record = Record(id="1", group="1", raw_labels=("0",), age=63.0, sex="female", metadata=report)
    maker = QuestionMaker(climb_hf.get_source("mimic_iv"))
    row = maker.row(record, "test", {})
    assert "Age: 63 years\nSex: female\nAdmission type: EW EMER.\n" in row["question"]
    assert "Machine statement of the last ECG: Sinus rhythm; Abnormal ECG" in row["question"]
    assert "Admitted from" not in row["question"]
    assert (row["images"], [part["type"] for part in row["messages"][0]["content"]]) == ([], ["text"])
    assert row["answers"] == ["Survives"]


def test_messages_are_those_of_chat_templates():
    asked, answered = messages_for("Q?", 2, "A")
    assert asked == {"role": "user", "content": [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "Q?"}]}
    assert answered == {"role": "assistant", "content": [{"type": "text", "text": "A"}]}
    assert len(messages_for("Q?", 1)) == 1


@pytest.mark.parametrize("name", ["brain_tumor", "chexpert", "lndb", "mimic_iv"])
def test_rows_of_load_dataset(name, miniatures, tmp_path):
    folder, _ = miniatures(name, n=16)
    plain = climb_hf.load_dataset(name, folder, cache_dir=tmp_path)
    asked = datasets.load_dataset("climb", name, data_dir=str(folder), cache_dir=str(tmp_path), qa=True, qa_seed=4)
    source = climb_hf.get_source(name)
    text_of = dict(zip(choice_set(source).concepts, choice_set(source).texts, strict=True))
    for split, rows in asked.items():
        assert rows["id"] == plain[split]["id"]
        assert set(rows["split"]) == {split}
        names = plain[split].features["labels"].feature.names
        for row, own in zip(rows, plain[split], strict=True):
            right = {text_of[names[i]] for i in own["labels"] if names[i] in text_of}
            assert set(row["answers"]) == (right or {NONE_OF_THE_ABOVE})
            assert row["group"] == own["group"]
            pictures = own.get("frames") or ([own["image"]] if source.family == "image" else [])
            assert len(row["images"]) == len(pictures)
            assert [part["type"] for part in row["messages"][0]["content"]] == ["image"] * len(pictures) + ["text"]
            if pictures:
                assert row["images"][0].tobytes() == pictures[0].tobytes()
                assert row["images"][0].mode == "RGB"
    stream = climb_hf.load_dataset(name, folder, streaming=True, qa=True, qa_seed=4)
    first = next(iter(stream["train"]))
    assert {k: v for k, v in first.items() if k != "images"} == {
        k: v for k, v in asked["train"][0].items() if k != "images"
    }
    from_rows = list(build_questions(plain["train"], seed=4))
    assert [q.question for q in from_rows] == asked["train"]["question"]


def test_label_schemes(miniatures, tmp_path):
    folder, _ = miniatures("cholec80", n=16)
    phases = climb_hf.load_dataset("cholec80", folder, cache_dir=tmp_path, qa=True, labels="phase")["train"]
    assert len(phases[0]["choices"]) == 8
    assert "phase" in phases[0]["question"]
    with pytest.raises(OptionError, match="codes for classes"):
        climb_hf.load_dataset("cholec80", folder, cache_dir=tmp_path, qa=True, labels="raw")
    with pytest.raises(OptionError, match="8-bit"):
        climb_hf.load_dataset("rspect", folder, qa=True, window="raw")
    with pytest.raises(OptionError, match="qa_order"):
        climb_hf.load_dataset("cholec80", folder, qa=True, qa_order="any")


@pytest.fixture
def no_decoding(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise RuntimeError("a picture was opened")

    monkeypatch.setattr(PIL.Image, "open", refuse)


def test_files_without_opening_a_picture(miniatures, tmp_path, no_decoding):
    names = ("brain_tumor", "covid_us", "vindr_mammo", "mimic_iv")
    folders = {name: miniatures(name, n=16)[0] for name in names}
    built = build_files(folders, tmp_path / "qa", paraphrase="random")
    assert {file.source for file in built} == set(names)
    rows = [json.loads(line) for line in (tmp_path / "qa/brain_tumor/test.jsonl").read_text().splitlines()]
    maker = QuestionMaker(climb_hf.get_source("brain_tumor"), paraphrase="random")
    index = build_index(maker.source, folders["brain_tumor"], ClimbConfig(name="brain_tumor").options())
    assert len(rows) == len(index.splits["test"])
    for row, record in zip(rows, index.splits["test"], strict=True):
        assert row == {
            **maker.make(record, "test").as_dict(1),
            "images": [str(folders["brain_tumor"] / record.files[0])],
        }
    by_source = Counter()
    for file in built:
        by_source[file.source] += file.with_images
    assert by_source == {"brain_tumor": 16, "covid_us": 0, "vindr_mammo": 0, "mimic_iv": 0}
    video = json.loads((tmp_path / "qa/covid_us/test.jsonl").read_text().splitlines()[0])
    assert (video["images"], video["messages"][0]["content"][0]["type"]) == ([], "text")
    manifest = json.loads((tmp_path / "qa/climb_qa.json").read_text())
    assert manifest["synthetic"] is True
    assert manifest["options"]["paraphrase"] == "random"
    assert sum(file["questions"] for file in manifest["files"]) == len(list(read_questions(tmp_path / "qa")))
    assert not list((tmp_path / "qa").rglob(".*"))


def test_parquet_with_pictures(miniatures, tmp_path):
    folders = {name: miniatures(name, n=16)[0] for name in ("brain_tumor", "lndb")}
    built = build_files(folders, tmp_path / "qa", split="test", file_format="parquet", embed=True,
                        options={"*": {"num_frames": 3}})  # fmt: skip
    for file in built:
        rows = datasets.load_dataset(
            "parquet", data_files=str(tmp_path / "qa" / file.file), cache_dir=str(tmp_path / "cache"), split="train"
        )
        expected = climb_hf.load_dataset(
            file.source, folders[file.source], cache_dir=tmp_path / "own", split="test", qa=True,
            **({"num_frames": 3} if file.source == "lndb" else {}),
        )  # fmt: skip
        assert rows.features == expected.features
        assert len(rows) == len(expected) == file.questions == file.with_images
        for row, own in zip(rows, expected, strict=True):
            assert [picture.tobytes() for picture in row.pop("images")] == [p.tobytes() for p in own.pop("images")]
            assert row == own
    with pytest.raises(OptionError, match="Parquet only"):
        build_files(folders, tmp_path / "no", embed=True)


def test_damaged_pictures_are_named_and_too_many_refused(miniatures, tmp_path):
    folder, _ = miniatures.copy("brain_tumor", tmp_path / "raw", n=64)
    files = sorted(path for path in folder.rglob("*.jpg"))
    for path in files[:2]:
        path.write_bytes(path.read_bytes()[:100])
    built = build_files({"brain_tumor": folder}, tmp_path / "qa")
    skipped = [json.loads(line) for line in (tmp_path / "qa/brain_tumor/skipped.jsonl").read_text().splitlines()]
    assert {row["file"] for row in skipped} == {path.relative_to(folder).as_posix() for path in files[:2]}
    assert sum(file.questions for file in built) == 62
    assert sum(file.skipped for file in built) == 2
    with pytest.raises(Exception, match=re.escape(files[0].name)):
        build_files({"brain_tumor": folder}, tmp_path / "qb", options={"*": {"strict": True}})
    for path in files[2:12]:
        path.write_bytes(b"")
    with pytest.raises(DamagedDataError, match=r"12 of 64 records.*climb doctor brain_tumor"):
        build_files({"brain_tumor": folder}, tmp_path / "qc")
    assert not list((tmp_path / "qc").rglob("*.part"))
    assert not list((tmp_path / "qc").rglob("test.jsonl"))


def test_wrong_requests_write_nothing(miniatures, tmp_path):
    folder, _ = miniatures("brain_tumor", n=16)
    with pytest.raises(SplitError, match="no split `validation`"):
        build_files({"brain_tumor": folder}, tmp_path / "qa", split="validation")
    with pytest.raises(OptionError, match="tuab: there are no questions"):
        build_files({"brain_tumor": folder, "tuab": folder}, tmp_path / "qb")
    assert not (tmp_path / "qb").exists()
    with pytest.raises(SchemaError, match="pass `source`"):
        list(build_questions([Record(id="a", group="a")]))
    with pytest.raises(SchemaError, match="columns"):
        list(build_questions(datasets.Dataset.from_dict({"id": ["a"]})))
