"""Hand-written parser cases: reads the files of `golden/qa`."""

import re
from pathlib import Path

FOLDER = Path(__file__).parent / "golden" / "qa"
_BLOCK = re.compile(r"\[(\w+)\] (.+ \| .+)")


def unescaped(text: str) -> str:
    """Return a case with its escapes, \\n and \\u202e among them, turned into the characters."""
    text = text.replace("\\n", "\n").replace("\\x00", "\x00")
    return re.sub(r"\\u([0-9a-f]{4})", lambda match: chr(int(match.group(1), 16)), text)


def cases(name: str):
    """Yield (question, answer, expected choices, expected status) of a file."""
    question = None
    for line in (FOLDER / name).read_text(encoding="utf-8").split("\n"):
        if block := _BLOCK.fullmatch(line):
            choices = block.group(2).split(" | ")
            several = choices[-1] == "None of the above"
            question = {"source": block.group(1), "choices": choices, "multi_label": several}
        elif "=>" in line and not line.startswith("#"):
            answer, _, expected = line.rpartition("=>")
            expected = expected.strip()
            status = expected[1:] if expected.startswith("!") else "ok"
            letters = [] if status != "ok" else expected.split()
            right = tuple(question["choices"][ord(letter) - 65] for letter in letters)
            yield question, unescaped(answer.rstrip(" ") if answer.strip() else answer), right, status
