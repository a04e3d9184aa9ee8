"""CLIMB-QA: the benchmark as questions for vision-language models, and the reading of their answers.

Example:
    >>> import climb_hf.qa
    >>> question = {"choices": ["No DR", "Mild DR"], "multi_label": False}
    >>> climb_hf.qa.parse_answer("b) mild dr", question).answers
    ('Mild DR',)
"""

from typing import TYPE_CHECKING

from climb_hf._lazy import lazy_attributes

if TYPE_CHECKING:
    from climb_hf.qa.build import build_files
    from climb_hf.qa.parsing import INVALID, Parsed, parse_answer
    from climb_hf.qa.questions import build_questions
    from climb_hf.qa.rows import Question, messages_for
    from climb_hf.qa.scoring import score_predictions
    from climb_hf.qa.templates import NONE_OF_THE_ABOVE, ChoiceSet, Template, choice_set, template_of

__all__ = [
    "INVALID",
    "NONE_OF_THE_ABOVE",
    "ChoiceSet",
    "Parsed",
    "Question",
    "Template",
    "build_files",
    "build_questions",
    "choice_set",
    "messages_for",
    "parse_answer",
    "score_predictions",
    "template_of",
]

_LAZY = {
    "INVALID": "climb_hf.qa.parsing",
    "NONE_OF_THE_ABOVE": "climb_hf.qa.templates",
    "ChoiceSet": "climb_hf.qa.templates",
    "Parsed": "climb_hf.qa.parsing",
    "Question": "climb_hf.qa.rows",
    "Template": "climb_hf.qa.templates",
    "build_files": "climb_hf.qa.build",
    "build_questions": "climb_hf.qa.questions",
    "choice_set": "climb_hf.qa.templates",
    "messages_for": "climb_hf.qa.rows",
    "parse_answer": "climb_hf.qa.parsing",
    "score_predictions": "climb_hf.qa.scoring",
    "template_of": "climb_hf.qa.templates",
}

__getattr__, __dir__ = lazy_attributes(__name__, _LAZY)
