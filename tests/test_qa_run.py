"""`climb qa run`: prompts and padding, greedy text, likelihood of choices, resuming, context, the guard."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from vlm_tiny import TEMPLATE, tiny_processor, tiny_vlm

import climb_hf
from climb_hf.errors import AccessError, LicenseError, OptionError, SchemaError
from climb_hf.hub.licence import check_hosted
from climb_hf.protocols import qa_run
from climb_hf.protocols.qa_run import AnswerSettings, load_questions, run_questions
from climb_hf.qa.answering import Generator, Likelihood, answer_log_likelihoods
from climb_hf.qa.chat import append_answers, encode_answer, encode_prompts, pictures_of_row, prompt_text
from climb_hf.qa.journal import read_run
from climb_hf.qa.vlm import load_vlm
from climb_hf.results import read_results

SHORT = AnswerSettings(max_new_tokens=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_vlm(tmp_path_factory.mktemp("vlm"))


@pytest.fixture(scope="module")
def vlm(folder):
    return load_vlm(folder, device="cpu")


@pytest.fixture(scope="module")
def sources(miniatures):
    return {"brain_tumor": miniatures("brain_tumor", n=16)[0]}


@pytest.fixture(scope="module")
def rows(sources):
    return [dict(row) for row in load_questions(sources, "test")["brain_tumor"]]


def test_the_prompt_is_the_chat_template_with_a_place_for_every_picture(vlm, rows):
    text = prompt_text(vlm.processor, "What is it?", 2)
    assert text == "<s>[INST] <image>\n<image>\nWhat is it? [/INST]"
    inputs = encode_prompts(vlm.processor, [text], [pictures_of_row(rows[0]) * 2])
    ids = inputs["input_ids"][0].tolist()
    assert ids.count(4) == 2 * 4  # four patches of each picture
    assert ids.count(1) == 1  # the template writes the start itself
    answer = encode_answer(vlm.processor, "What is it?", 2, "No DR")
    assert vlm.processor.tokenizer.decode(answer) == " No DR</s>"


def test_a_batch_answers_as_each_question_alone(vlm, rows):
    together = Generator(vlm, max_new_tokens=6).answer(rows[:3])
    alone = [Generator(vlm, max_new_tokens=6).answer([row])[0] for row in rows[:3]]
    assert together == alone
    assert {len(row["question"]) for row in rows[:3]}  # left padding: lengths differ
    assert all(answer["n_new_tokens"] <= 6 for answer in together)


def test_likelihoods_equal_a_forward_pass_by_hand(vlm, rows):
    row = rows[0]
    pictures = pictures_of_row(row)
    found = answer_log_likelihoods(vlm, [row] * 2, [row["question"]] * 2, list(row["choices"][:2]), [pictures] * 2)
    for choice, (total, n) in zip(row["choices"][:2], found, strict=True):
        prompt = prompt_text(vlm.processor, row["question"], 1)
        inputs = encode_prompts(vlm.processor, [prompt], [pictures])
        tokens = encode_answer(vlm.processor, row["question"], 1, choice)
        ids = torch.cat([inputs["input_ids"], torch.tensor([tokens])], dim=1)
        with torch.inference_mode():
            logits = (
                vlm.model(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=inputs["pixel_values"])
                .logits[0]
                .log_softmax(-1)
            )
        start = inputs["input_ids"].shape[1]
        by_hand = sum(logits[start + step - 1, token].item() for step, token in enumerate(tokens))
        assert total == pytest.approx(by_hand, abs=1e-4)
        assert n == len(tokens) == len(f" {choice}") + 1


def test_the_likeliest_choice_is_taken_and_normalising_counts(vlm, rows):
    row = rows[0]
    answers = {how: Likelihood(vlm, how, batch_size=3).answer([row])[0] for how in ("tokens", "none")}
    assert set(answers["tokens"]["scores"]) == set(row["choices"])
    for answer in answers.values():
        assert answer["chosen"] == [max(answer["scores"], key=answer["scores"].get)]
        assert json.loads(answer["prediction"]) == answer["chosen"]
    ratio = {
        choice: answers["none"]["scores"][choice] / answers["tokens"]["scores"][choice] for choice in row["choices"]
    }
    assert ratio == {choice: pytest.approx(len(choice) + 2) for choice in row["choices"]}


def test_several_choices_hold_from_yes_as_likely_as_no(vlm, rows, monkeypatch):
    row = {**rows[0], "multi_label": True, "choices": ["Mass", "Cyst", "None of the above"]}
    likely = {("Mass", "Yes"): -1.0, ("Mass", "No"): -1.0, ("Cyst", "Yes"): -3.0, ("Cyst", "No"): -1.0}
    monkeypatch.setattr(
        Likelihood,
        "_scores",
        lambda self, asked: [
            likely[next(name for name in ("Mass", "Cyst") if f'Is "{name}"' in question), word]
            for _, question, word, _ in asked
        ],
    )
    answer = Likelihood(vlm).answer([row])[0]
    assert answer["chosen"] == ["Mass"]
    assert answer["scores"] == {"Mass": 0.5, "Cyst": pytest.approx(1 / (1 + math.exp(2)))}
    likely["Mass", "Yes"] = -2.0
    assert Likelihood(vlm).answer([row])[0]["chosen"] == ["None of the above"]


def test_a_run_is_kept_scored_and_goes_on(folder, sources, tmp_path, monkeypatch):
    calls = []
    original = Generator.answer

    def counted(self, batch):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append([row["id"] for row in batch])
        return original(self, batch)

    monkeypatch.setattr(Generator, "answer", counted)
    with pytest.raises(KeyboardInterrupt):
        run_questions(folder, sources, tmp_path, settings=SHORT, batch_size=3, n_bootstrap=10, device="cpu")
    file = tmp_path / "predictions.jsonl"
    assert len(file.read_text().splitlines()) == 6
    with file.open("a") as stream:
        stream.write('{"source": "brain_tumor", "id"')  # a kill in the middle of a line
    monkeypatch.setattr(Generator, "answer", original)
    results = run_questions(folder, sources, tmp_path, settings=SHORT, batch_size=3, n_bootstrap=10, device="cpu")
    rows, facts = read_run(tmp_path)
    assert len(rows) == len({row["id"] for row in rows}) == 8
    assert [row["id"] for row in rows][:6] == [id_ for batch in calls for id_ in batch]
    assert facts["training"] == "zero-shot"
    assert facts["synthetic"] is True
    assert {"prediction", "answers", "choices", "n_new_tokens", "run"} <= set(rows[0])
    assert read_results(tmp_path / "results.jsonl") == results
    row = next(row for row in results if row.level == "source" and row.metric == "accuracy")
    assert (row.protocol, row.n, row.synthetic, row.model) == ("qa", 8, True, folder.name)
    assert row.settings["training"] == "zero-shot"
    assert row.settings["max_new_tokens"] == 4
    with pytest.raises(OptionError, match="answers of another model, or to other options"):
        run_questions(folder, sources, tmp_path, settings=AnswerSettings(max_new_tokens=5), device="cpu")


def test_choosing_all_of_several_counts_as_an_answer(tmp_path):
    both = ["A b", "C d"]
    asked = {"id": "1", "source": "vindr_cxr", "group": "1", "modality": "X-ray", "answers": both, "multi_label": True}
    asked |= {"choices": [*both, "None of the above"], "chosen": both, "prediction": json.dumps(both), "run": "x"}
    (tmp_path / "predictions.jsonl").write_text(json.dumps(asked) + "\n")
    results = qa_run.score_run(tmp_path, n_bootstrap=0)
    assert {row.metric: row.value for row in results if row.level == "source"}["accuracy"] == 1.0


def test_a_question_too_long_for_the_model_says_how_long(sources, tmp_path):
    small = tiny_vlm(tmp_path / "vlm", positions=64)
    with pytest.raises(
        OptionError, match=r"of 8 questions.*context of 64 tokens: the longest has \d+ tokens with 1 pict"
    ):
        run_questions(small, sources, tmp_path / "run", settings=SHORT, batch_size=8, device="cpu")


def test_without_a_template_it_is_not_guessed_how_to_ask(sources, tmp_path):
    bare = tiny_vlm(tmp_path / "vlm", template=None)
    with pytest.raises(OptionError, match=r"no chat template.*--chat-template"):
        run_questions(bare, sources, tmp_path / "run", device="cpu")
    (tmp_path / "own.jinja").write_text(TEMPLATE)
    vlm = load_vlm(bare, device="cpu", chat_template=tmp_path / "own.jinja")
    assert prompt_text(vlm.processor, "a", 1) == "<s>[INST] <image>\na [/INST]"


def test_an_answer_that_is_not_behind_the_prompt_is_refused():
    processor = tiny_processor(
        "{% for m in messages %}<{{ m['role'] }}>{% endfor %}{% if add_generation_prompt %}!{% endif %}"
    )
    with pytest.raises(OptionError, match="directly behind the prompt"):
        encode_answer(processor, "a", 0, "b")


def test_a_missing_picture_is_named(folder, miniatures, tmp_path):
    raw, _ = miniatures.copy("brain_tumor", tmp_path / "raw", n=16)
    part = load_questions({"brain_tumor": raw}, "test", cache_dir=tmp_path / "cache")["brain_tumor"]
    row = dict(part[0])
    Path(row["images"][0]["path"]).unlink()
    with pytest.raises(AccessError, match=re.escape(f"brain_tumor: the picture of record `{row['id']}` is missing")):
        pictures_of_row(row)


def test_no_such_model_is_an_access_error(sources, tmp_path):
    with pytest.raises(AccessError, match="image-text-to-text model"):
        run_questions(tmp_path / "nothing", sources, tmp_path / "run")


def test_answers_stand_behind_prompts_of_either_padding():
    ids, mask = torch.tensor([[0, 0, 5], [6, 7, 8]]), torch.tensor([[0, 0, 1], [1, 1, 1]])
    inputs = {
        "input_ids": ids,
        "attention_mask": mask,
        "token_type_ids": mask * 2,
        "pixel_values": torch.ones(2, 3, 4, 4),
    }
    grown, labels = append_answers(inputs, [[9, 2], [9]], 3)
    assert grown["input_ids"].tolist() == [[5, 9, 2, 3], [6, 7, 8, 9]]
    assert grown["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert grown["token_type_ids"].tolist() == [[2, 0, 0, 0], [2, 2, 2, 0]]
    assert labels.tolist() == [[-100, 9, 2, -100], [-100, -100, -100, 9]]
    assert grown["pixel_values"] is inputs["pixel_values"]


class TestGuard:
    @pytest.mark.parametrize("name", ["mimic_cxr", "vindr_cxr", "mimic_iv", "tuab"])
    def test_signed_data_stays(self, name):
        with pytest.raises(LicenseError, match=f"`{name}`.*--allowed-by"):
            check_hosted(["ptbxl", name])

    def test_an_agreement_is_taken_at_its_word_and_recorded(self):
        check_hosted(["mimic_cxr"], "agreement 7")
        with pytest.raises(LicenseError):
            check_hosted(["mimic_cxr"], "  ")

    def test_every_source_is_decided(self):
        for name in climb_hf.list_sources():
            bound = climb_hf.get_source(name).access in ("credentialed", "application", "competition")
            if bound:
                with pytest.raises(LicenseError):
                    check_hosted([name])
            else:
                check_hosted([name])

    def test_it_comes_before_data_and_network(self, tmp_path):
        with pytest.raises(LicenseError):
            run_questions("m", {"vindr_cxr": tmp_path}, tmp_path / "run", hosted="https://127.0.0.1:1/v1")
        assert not (tmp_path / "run").exists()

    def test_likelihood_needs_the_model(self, tmp_path):
        with pytest.raises(OptionError, match="hosted endpoint hides"):
            run_questions(
                "m",
                {"busi": tmp_path},
                tmp_path,
                hosted="https://a.b/v1",
                settings=AnswerSettings(choice="likelihood"),
            )


def test_a_damaged_journal_is_named(folder, sources, tmp_path):
    (tmp_path / "predictions.jsonl").write_text("nonsense\n")
    with pytest.raises(SchemaError, match="line 1, is no answer of a run"):
        run_questions(folder, sources, tmp_path, device="cpu")


@pytest.mark.parametrize("choice", ["generate", "likelihood"])
def test_frames_several_answers_and_words_alone(folder, miniatures, tmp_path, choice):
    names = ("covid_us", "chexpert", "mimic_iv")
    sources = {name: miniatures(name, n=16)[0] for name in names}
    options = {"covid_us": {"num_frames": 2}}
    results = run_questions(
        folder, sources, tmp_path, settings=AnswerSettings(choice, max_new_tokens=3), batch_size=4, limit=3,
        n_bootstrap=0, options=options, device="cpu",
    )  # fmt: skip
    rows, facts = read_run(tmp_path)
    assert {name: sum(row["source"] == name for row in rows) for name in names} == dict.fromkeys(names, 3)
    assert facts["limit"] == 3
    found = {row.source: row.value for row in results if row.level == "source" and row.metric == "invalid"}
    assert set(found) == set(names)
    if choice == "likelihood":
        assert set(found.values()) == {0.0}
        for row in rows:
            shown = [text for text in row["choices"] if text != "None of the above" or not row["multi_label"]]
            assert list(row["scores"]) == shown
            assert row["multi_label"] or row["chosen"] == [max(row["scores"], key=row["scores"].get)]


@pytest.mark.slow
def test_a_killed_process_goes_on(folder, tmp_path):
    to = tmp_path / "run"
    command = [
        sys.executable, "-m", "climb_hf", "qa", "run", str(folder), "brain_tumor", "--to", str(to), "--miniature",
        "--miniature-n", "64", "--batch-size", "1", "--max-new-tokens", "24", "--n-bootstrap", "0", "--device", "cpu",
    ]  # fmt: skip
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "HF_DATASETS_CACHE": str(tmp_path / "cache")}
    file = to / "predictions.jsonl"
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < limit:
        if file.is_file() and len(file.read_bytes().splitlines()) >= 3:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.005)
    assert process.wait(timeout=60) == -signal.SIGKILL
    kept = file.read_bytes().splitlines()
    before = [line for line in kept if line.endswith(b"}")]
    assert 3 <= len(before) < 16
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr[-3000:]
    lines = file.read_bytes().splitlines()
    assert lines[: len(before)] == before
    assert len({json.loads(line)["id"] for line in lines}) == len(lines) == 16


def test_an_answer_has_the_tokens_it_has_behind_its_prompt():
    """Mistral's tokenizer begins every text with a space of its own, which an answer behind a prompt has not."""
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "<s>", "</s>", *"▁[]/INSTYesWhati?.", "▁Y", "es", "▁Yes"]
    core = Tokenizer(models.BPE({word: i for i, word in enumerate(dict.fromkeys(words))},
                                [("▁", "Y"), ("e", "s"), ("▁Y", "es")], unk_token="<unk>"))  # fmt: skip
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>", chat_template=TEMPLATE
    )
    assert tokenizer.convert_ids_to_tokens(encode_answer(tokenizer, "What?", 0, "Yes")) == ["▁Yes", "</s>"]
