"""CLIMB-QA: answers parsed per second, and questions of 100,000 records written without opening a picture.

The reference of the parser is the required rate: 20,000 answers in one second of one core. That of the build is
opening one picture per record, as a writer does that looks at what it asks about (timed on fewer pictures and
scaled). All data is synthetic.
"""

import dataclasses
import itertools
import statistics
import tempfile
import time
from pathlib import Path

import climb_hf
from climb_hf.builder import ClimbConfig
from climb_hf.indexing import build_index
from climb_hf.qa import parse_answer
from climb_hf.qa.build import _write_jsonl, question_rows
from climb_hf.qa.examples import maker_of
from climb_hf.qa.questions import QuestionMaker

ANSWERS, RATE, RECORDS, OPENED, REPEATS = 20_000, 20_000, 100_000, 300, 3
SHORT = ("B", "B. {}", "{}", "The answer is C.", "(A)", "Answer: {}")
LONG = (
    "The image shows {0}. There is no sign of {1}.",
    "Based on the picture, I think that the most likely answer is {0}, because of the typical appearance.",
    "Not {1}, but {0}; the border is sharp and there is no other abnormality to be seen in this patient.",
    "D. {0}\nReasoning: several lesions can be seen, and nothing speaks for {1}.",
    '{{"answer": "{0}"}}',
)


def answers(templates, questions):
    """Synthetic answers to the questions, with the questions' own choices in them."""
    return [
        (template.format(*question["choices"][:2]), question)
        for question, template in zip(questions, itertools.cycle(templates), strict=False)
    ]


def parsing(name, templates, questions):
    """One row: seconds for the answers, against the second they may take."""
    pairs, times = answers(templates, questions), []
    for text, question in pairs[:100]:
        parse_answer(text, question)  # compiles the choices
    for _ in range(REPEATS):
        start = time.process_time()
        for text, question in pairs:
            parse_answer(text, question)
        times.append(time.process_time() - start)
    return _row(f"qa: {len(pairs):,} {name} parsed", statistics.median(times), len(pairs) / RATE, 1.0)


def building(folder: Path):
    """One row: seconds for the questions of 100,000 records, written as JSON lines."""
    from PIL import Image

    climb_hf.miniature("brain_tumor", folder / "raw", n=OPENED)
    source, options = climb_hf.get_source("brain_tumor"), ClimbConfig(name="brain_tumor").options()
    options = dataclasses.replace(options, qa=True)
    root = source.find_root(folder / "raw")
    records = [record for part in build_index(source, root, options).splits.values() for record in part]
    many = [
        dataclasses.replace(record, id=f"{record.id}-{number}")
        for number, record in zip(range(RECORDS), itertools.cycle(records), strict=False)
    ]
    start = time.perf_counter()
    _write_jsonl(folder / "questions.jsonl", question_rows(maker_of(source, options), many, "test", root, options))
    ours = time.perf_counter() - start
    start = time.perf_counter()
    for record in records:
        with Image.open(root / record.files[0]) as picture:
            picture.convert("RGB")
    reference = (time.perf_counter() - start) / len(records) * RECORDS
    return _row(f"qa: questions of {RECORDS:,} records / opening their pictures", ours, reference, None)


def _row(name, seconds, reference, required):
    return {
        "name": name,
        "ours": seconds,
        "reference": reference,
        "ratio": reference / seconds,
        "required": required,
        "unit": "s",
    }


def run():
    """Measure; rows of name, ours, reference, ratio, required ratio (or `None`), unit."""
    rows = []
    for name in ("ham10000", "chexpert"):
        maker = QuestionMaker(climb_hf.get_source(name))
        facts = ({"id": str(i), "group": "g"} for i in range(ANSWERS))
        concept = maker.choices.concepts[0]
        questions = [maker.make_from(fact, [concept], [], "test").as_dict() for fact in facts]
        rows.append(parsing(f"short answers ({name})", SHORT, questions))
        rows.append(parsing(f"sentences ({name})", LONG, questions))
    with tempfile.TemporaryDirectory() as folder:
        rows.append(building(Path(folder)))
    return rows


if __name__ == "__main__":
    for row in run():
        print("{name:64s} {ours:8.3f} {unit} {reference:9.3f} {unit}  ratio {ratio:7.1f}".format(**row))
