"""Answers read from free text: 1,300 hand-written cases, and what must hold for any answer."""

import json
import random
import time
from collections import Counter

import pytest
from qa_cases import FOLDER, cases

import climb_hf
from climb_hf.errors import SchemaError
from climb_hf.qa import INVALID, NONE_OF_THE_ABOVE, choice_set, parse_answer, template_of
from climb_hf.qa.parsing import MAX_CHARACTERS, Parsed, letters

FILES = sorted(path.name for path in FOLDER.glob("*.txt"))
GRADES = {
    "source": "aptos2019",
    "choices": ["No DR", "Mild DR", "Moderate DR", "Severe DR", "Proliferative DR"],
    "multi_label": False,
}
FINDINGS = {
    "source": "chexpert",
    "choices": [*choice_set(climb_hf.get_source("chexpert")).shown],
    "multi_label": True,
}
ASKED = [name for name in climb_hf.list_sources() if not template_of(climb_hf.get_source(name)).refused]


@pytest.mark.parametrize("name", FILES)
def test_hand_written_cases(name):
    wrong = []
    for question, answer, right, status in cases(name):
        parsed = parse_answer(answer, question)
        if (parsed.answers, parsed.status) != (right, status):
            wrong.append((question["source"], answer, right or status, parsed))
    assert not wrong


def test_there_are_hundreds_of_cases_and_every_status_occurs():
    listed = [case for name in FILES for case in cases(name)]
    assert len(listed) >= 1300
    assert len({(case[0]["source"], case[1]) for case in listed}) >= 1300
    by_status = Counter(case[3] for case in listed)
    assert set(by_status) == {"ok", *INVALID} - {"too_long"}
    assert min(by_status.values()) >= 3


@pytest.mark.parametrize("name", ASKED)
def test_every_choice_is_read_back_in_every_usual_form(name):
    source = climb_hf.get_source(name)
    own = choice_set(source)
    shown = list(own.shown)
    random.Random(name).shuffle(shown)
    question = {"source": name, "choices": shown, "multi_label": own.multi_label}
    for letter, text in zip(letters(len(shown)), shown, strict=True):
        forms = (
            text, text.lower(), text.upper(), f"{text}.", f" {text}\n", f"**{text}**", f'"{text}"', letter,
            f"{letter}.",
            f"({letter})", letter.lower(), f"{letter}. {text}", f"({letter}) {text}", f"{letter}) {text}",
            f"Answer: {letter}", f"The answer is {letter}.", f"The correct answer is {letter}. {text}",
            f"Final answer: {text}", f"Option {letter}", f'{{"answer": "{letter}"}}', f'["{text}"]',
            f'{{"answer": ["{text}"]}}', f"The answer is: {text}", f"I think that the answer is {text}",
            f"<think>{shown[0]} or {shown[-1]}?</think>\n{text}",
        )  # fmt: skip
        for form in forms:
            assert parse_answer(form, question) == Parsed((text,), "ok", (text,)), form


@pytest.mark.parametrize("name", [name for name in ASKED if choice_set(climb_hf.get_source(name)).multi_label])
def test_any_subset_is_read_back_whatever_its_order(name):
    own, generator = choice_set(climb_hf.get_source(name)), random.Random(7)
    question = {"source": name, "choices": list(own.shown), "multi_label": True}
    for _ in range(60):
        chosen = generator.sample(own.texts, generator.randint(1, len(own.texts) - 1))
        right = tuple(text for text in own.texts if text in chosen)
        marks = [letters(len(own.texts))[own.texts.index(text)] for text in chosen]
        pairs = [f"{mark}. {text}" for mark, text in zip(marks, chosen, strict=True)]
        for form in (", ".join(chosen), " and ".join(chosen), "\n".join(f"- {text}" for text in chosen),
                     ", ".join(marks), " and ".join(marks), "\n".join(pairs),
                     json.dumps(chosen)):  # fmt: skip
            assert parse_answer(form, question).answers == right, form


ONE_OF_TWO = (
    "The image shows {x}.", "{x} is present.", "Based on the image, the most likely diagnosis is {x}.", "{l}: {x}",
    "It shows {x}, not {y}.", "Not {y} but {x}.", "{x} rather than {y}", "{y}? No. {x}? Yes.", "{y} ✗ {x} ✓",
    "Let's see. It could be {y}. However, the answer is {x}.", "{y} is absent, {x} is present.", "{y}: -\n{x}: +",
    "The correct option is ({l}) {x}, because {y} does not fit.", "{m}. {y}: no\n{l}. {x}: yes",
    "{y} (not seen), {x} (seen)", "- {x}: present\n- {y}: absent", "{x} is seen, whereas {y} is not.",
    "I rule out {y}. {x} fits best.", "Option {l} is right, option {m} is wrong.", "**{x}** (and not {y})",
    "{m}. {y} is incorrect. {l}. {x} is correct.", "Absent:\n- {y}\n\nPresent:\n- {x}", "{l}, not {m}",
)  # fmt: skip


@pytest.mark.parametrize("name", ASKED)
def test_a_sentence_about_two_choices_names_the_right_one(name):
    own = choice_set(climb_hf.get_source(name))
    question = {"source": name, "choices": list(own.shown), "multi_label": own.multi_label}
    marked = list(zip(letters(len(own.texts)), own.texts, strict=True))
    pairs = [(one, other) for one in marked for other in marked if one != other]
    total = invalid = 0
    for (mark, text), (other_mark, other) in random.Random(5).sample(pairs, min(40, len(pairs))):
        for template in ONE_OF_TWO:
            answer = template.format(x=text, y=other, l=mark, m=other_mark)
            parsed = parse_answer(answer, question)
            assert not parsed.is_valid or parsed.answers == (text,), answer
            total, invalid = total + 1, invalid + (not parsed.is_valid)
    assert invalid <= 0.1 * total


def test_the_order_of_the_choices_moves_letters_only():
    turned = {**GRADES, "choices": GRADES["choices"][::-1]}
    assert parse_answer("A", turned).answers == ("Proliferative DR",)
    assert parse_answer("No DR", turned).answers == ("No DR",)


def test_a_source_that_is_not_ours_has_the_texts_of_its_choices():
    question = {"source": "mine", "choices": ["Red fox", "Grey wolf (WLF)"], "multi_label": False}
    assert parse_answer("a grey wolf", question).answers == ("Grey wolf (WLF)",)
    assert parse_answer("wlf", question).answers == ("Grey wolf (WLF)",)
    assert parse_answer("not the red fox", question).answers == ("Grey wolf (WLF)",)
    assert parse_answer("B", {"choices": question["choices"]}).answers == ("Grey wolf (WLF)",)


def test_lists_numbers_and_nothing():
    assert parse_answer(["Pneumonia", "Edema"], FINDINGS).answers == ("Edema", "Pneumonia")
    assert parse_answer(("D",), FINDINGS).answers == ("Edema",)
    assert parse_answer({"Edema"}, FINDINGS).answers == ("Edema",)
    assert parse_answer(None, GRADES).status == "empty"
    assert parse_answer(float("nan"), GRADES).status == "empty"
    assert parse_answer(7, GRADES).status == "unrecognised"
    assert parse_answer([], GRADES).status == "unrecognised"
    mammogram = {"source": "cbis_ddsm", "choices": [f"BI-RADS {i}" for i in range(1, 6)], "multi_label": False}
    assert parse_answer(4, mammogram).answers == ("BI-RADS 4",)


def test_bad_questions_and_answers_are_named():
    with pytest.raises(SchemaError, match="build_questions"):
        parse_answer("A", {"choices": []})
    with pytest.raises(SchemaError, match="must differ"):
        parse_answer("A", {"choices": ["a", "a"], "multi_label": False})
    with pytest.raises(SchemaError, match="found dict"):
        parse_answer({"answer": "A"}, GRADES)


def test_an_invalid_answer_keeps_what_it_named():
    parsed = parse_answer("B or C", GRADES)
    assert (parsed.answers, parsed.named, parsed.is_valid) == ((), ("Mild DR", "Moderate DR"), False)
    assert parse_answer("None of the above and edema", FINDINGS).named == ("Edema", NONE_OF_THE_ABOVE)


def test_ten_megabytes_are_refused_at_once():
    for text in ("Mild DR. " * 1_200_000, "(" * 10_000_000, "{" * 10_000_000, " " * 10_000_000 + "A"):
        start = time.perf_counter()
        assert parse_answer(text, GRADES).status == "too_long"
        assert time.perf_counter() - start < 0.5


PIECES = [
    "Mild DR. ", "no ", "A, ", "A", "(A) ", "not ", "answer ", "answer: ", "the answer is ", "[", "{", '{"answer": ',
    " ",
    "\n", "*", "\\boxed{", "final answer: ", "no mild ", "Mild ", "A and ", "A. ", ", ", "is ", "- ", "</think>",
    "```json", "option ", "\ue000",
    "✗  ", "A. no\n", "\n\n\n✓", ": -\n", "A: +, ", "[ ] A\n", "grade 2 or ", "absent: ",
    "é", "mild DR, no ", "answer is is is ", '"', "[[A]",
]  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("question", [GRADES, FINDINGS], ids=["single", "multiple"])
def test_the_longest_answers_that_are_read_take_linear_time(piece, question):
    parse_answer("warm up " * 10, question)

    def seconds(length):
        text = piece * (length // len(piece))
        start = time.perf_counter()
        parse_answer(text, question)
        return time.perf_counter() - start

    assert seconds(MAX_CHARACTERS) < 3  # quadratic work would take minutes


def test_random_text_never_breaks_the_reader():
    generator = random.Random(3)
    parts = [*PIECES, *GRADES["choices"], *FINDINGS["choices"], "\x00", "\u202e", "“", "1", "0", ":", ";", "without "]
    for _ in range(3000):
        text = "".join(generator.choices(parts, k=generator.randint(1, 12)))
        for question in (GRADES, FINDINGS):
            parsed = parse_answer(text, question)
            assert parsed.status == "ok" or parsed.status in INVALID
            assert bool(parsed.answers) == parsed.is_valid
            assert set(parsed.answers) <= set(question["choices"])
            assert parsed.is_valid is False or question["multi_label"] or len(parsed.answers) == 1


def test_denial_turns_every_finding_around():
    for finding in FINDINGS["choices"][:-2]:
        for text in (f"No {finding}.", f"There is no evidence of {finding}", f"{finding} is absent", f"{finding}: no",
                     f"without {finding}", f"{finding} is not seen.", f"There isn't any {finding}."):  # fmt: skip
            assert parse_answer(text, FINDINGS).status == "denied", text
        other = "Edema" if finding != "Edema" else "Pneumonia"
        for text in (f"{other} but no {finding}", f"No {finding}. {other}.", f"{other}, {finding} is ruled out",
                     f"{other} rather than {finding}", f"{finding} is not present; {other} is present"):  # fmt: skip
            assert parse_answer(text, FINDINGS).answers == (other,), text
