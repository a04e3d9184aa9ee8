"""From records to questions, without opening a single picture.

A question holds what was asked and what is right; the picture stays where it is. The order of the choices and the
wording depend on the seed and the record's id only, so a question is the same however often, wherever and in whatever
order it is built.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from climb_hf.errors import LabelError, OptionError, SchemaError
from climb_hf.labels import LabelMapper
from climb_hf.qa.parsing import letters
from climb_hf.qa.rows import Question, pictures_of, question_features
from climb_hf.qa.templates import NONE_OF_THE_ABOVE, TEMPLATE_FILE, ChoiceSet, choice_set, frames_of, template_of
from climb_hf.registry import get_source
from climb_hf.source import Record, Source

if TYPE_CHECKING:
    from datasets import Dataset, Features

    from climb_hf.indexing import Index

__all__ = ["QuestionMaker", "build_questions"]

Order = Literal["shuffled", "fixed"]
#: The rule under which a record gives no question.
NO_VALUE = "no value to ask about"


class QuestionMaker:
    """Makes the questions of one source.

    Args:
        source (`Source`): the source.
        scheme (`str`, *optional*, defaults to `"climb"`): label scheme.
        seed (`int`, *optional*, defaults to `0`): seed of the order of the choices and of random wordings.
        paraphrase (`int` or `"random"`, *optional*, defaults to `0`): which wording; `"random"` draws one per record.
        order (`str`, *optional*, defaults to `"shuffled"`): `"shuffled"` draws the order of the choices per record,
            `"fixed"` keeps that of V_k. `"None of the above"` always comes last.

    Raises:
        OptionError: the source has no questions, with the reason; or a value that is not allowed.

    Example:
        >>> import climb_hf
        >>> from climb_hf.source import Record
        >>> maker = QuestionMaker(climb_hf.get_source("aptos2019"), order="fixed")
        >>> question = maker.make(Record(id="a", group="a", raw_labels=("1",)), "test")
        >>> question.answer, question.choices[:2]
        ('Mild DR', ('No DR', 'Mild DR'))
    """

    def __init__(
        self,
        source: Source,
        scheme: str = "climb",
        *,
        seed: int = 0,
        paraphrase: int | Literal["random"] = 0,
        order: Order = "shuffled",
    ) -> None:
        self.source, self.scheme, self.seed, self.order = source, scheme, seed, order
        self.choices: ChoiceSet = choice_set(source, scheme if scheme == "raw" else source.vocabulary(scheme).scheme)
        self.template = template_of(source)
        self._tasks = self.template.tasks_of(scheme)
        is_index = (
            isinstance(paraphrase, int) and not isinstance(paraphrase, bool) and 0 <= paraphrase < len(self._tasks)
        )
        if paraphrase != "random" and not is_index:
            raise OptionError(
                f"{source.name}: `qa_paraphrase` must be 'random' or one of the {len(self._tasks)} wordings, 0 to "
                f"{len(self._tasks) - 1}; got {paraphrase!r}."
            )
        if order not in get_args(Order):
            raise OptionError(f"{source.name}: `qa_order` must be one of {list(get_args(Order))}, got {order!r}.")
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise OptionError(f"{source.name}: `qa_seed` must be a whole number, got {seed!r}.")
        self.paraphrase = paraphrase
        self._mapper = LabelMapper(source, scheme)
        self._modality = source.modality
        pairs = zip(self.choices.concepts, self.choices.texts, strict=True)
        self._text_of = {concept: text for concept, text in pairs if concept is not None}
        self._concept_of = dict(zip(self.choices.texts, self.choices.concepts, strict=True))
        self._letters = letters(len(self.choices.shown))

    @property
    def has_media(self) -> bool:
        """Whether pictures belong to the questions."""
        return self.template.has_media

    @property
    def features(self) -> "Features":
        """The columns of the rows."""
        return question_features()

    @property
    def template_file(self) -> Path:
        """The file whose state is part of the cache fingerprint of questions."""
        return TEMPLATE_FILE

    def has_value(self, record: Record) -> bool:
        """Whether there is something to ask: the target of ranges may be absent."""
        return not self.template.bins or self._binned({"targets": record.targets}) is not None

    def leave_out(self, index: "Index") -> None:
        """Take the records without a value out of an index, counted by rule."""
        if not self.template.bins:
            return
        for split, records in index.splits.items():
            index.splits[split] = [record for record in records if self.has_value(record)]
            index.left_out[NO_VALUE] += len(records) - len(index.splits[split])
        index.splits = {split: records for split, records in index.splits.items() if records}

    def row(self, record: Record, split: str, columns: Mapping[str, Any]) -> dict[str, Any]:
        """Return the row of `load_dataset("climb", NAME, qa=True)`: a question and its pictures.

        Args:
            record (`Record`): a record that `has_value`.
            split (`str`): its split.
            columns (`Mapping`): its input columns, read by the source.

        Returns:
            `dict`: the columns of `question_features`.
        """
        question = self.make(record, split)
        if question is None:
            raise LabelError(f"{self.source.name}: record `{record.id}` has no value of `{self.template.target}`.")
        images = pictures_of(columns) if self.has_media else []
        return {**question.as_dict(len(images)), "images": images}

    def make(self, record: Record, split: str) -> Question | None:
        """Return the question about a record of the index; `None` for one that has no value to ask about.

        Args:
            record (`Record`): a record of `Source.index`.
            split (`str`): its split.

        Returns:
            `Question`, or `None` where the target of ranges is absent.

        Raises:
            LabelError: a label value the source's facts do not know.
        """
        labels, uncertain = self._mapper.labels(record)
        names = self._mapper.names
        facts = {
            "id": record.id, "group": record.group, "age": record.age, "sex": record.sex, "targets": record.targets,
            "metadata": record.metadata, "duplicate_of": record.duplicate_of,
        }  # fmt: skip
        return self.make_from(facts, [names[i] for i in labels], [names[i] for i in uncertain], split)

    def make_from(
        self, facts: Mapping[str, Any], concepts: Sequence[str], uncertain: Sequence[str], split: str
    ) -> Question | None:
        """Return the question about a row with our columns whose labels are given as concepts; see `make`."""
        record_id = str(facts["id"])
        if self.template.bins:
            found = self._binned(facts)
            if found is None:
                return None
            right = {found}
        else:
            right = {self._text_of[concept] for concept in concepts if concept in self._text_of}
        if not right and not self.choices.multi_label:
            raise LabelError(f"{self.source.name}: record `{record_id}` has none of the classes {self.choices.texts}.")
        draw = self._draw(record_id)
        shown, draw = self._ordered(draw)
        wording = draw % len(self._tasks) if self.paraphrase == "random" else int(self.paraphrase)
        answers = tuple(text for text in shown if text in right) or (NONE_OF_THE_ABOVE,)
        doubtful = {self._text_of[concept] for concept in uncertain if concept in self._text_of} - right
        return Question(
            id=record_id,
            source=self.source.name,
            group=str(facts["group"]),
            split=split,
            modality=self._modality,
            question=self._worded(wording, shown, facts),
            choices=shown,
            concepts=tuple(self._concept_of.get(text) for text in shown),
            answers=answers,
            answer=", ".join(answers),
            multi_label=self.choices.multi_label,
            uncertain=tuple(text for text in shown if text in doubtful),
            paraphrase=wording,
            duplicate_of=facts.get("duplicate_of"),
        )

    def _binned(self, facts: Mapping[str, Any]) -> str | None:
        value = (facts.get("targets") or {}).get(self.template.target)
        if not isinstance(value, int | float) or value != value:
            return None
        return next(choice.text for choice in self.template.bins if choice.holds(value))

    def _draw(self, record_id: str) -> int:
        key = f"{self.seed}\0{self.source.name}\0{record_id}".encode()
        return int.from_bytes(hashlib.blake2b(key, digest_size=32).digest(), "big")

    def _ordered(self, draw: int) -> tuple[tuple[str, ...], int]:
        """Return the choices as shown, and what is left of the random number."""
        texts = list(self.choices.texts)
        if self.order == "shuffled":
            for last in range(len(texts) - 1, 0, -1):
                draw, other = divmod(draw, last + 1)
                texts[last], texts[other] = texts[other], texts[last]
        return (*texts, *self.choices.shown[len(texts) :]), draw

    def _worded(self, wording: int, shown: Sequence[str], facts: Mapping[str, Any]) -> str:
        contexts = frames_of("contexts" if self.template.has_media else "text_contexts")
        manners = frames_of("multiple" if self.choices.multi_label else "single")
        lines = [contexts[wording % len(contexts)].format(input=self.template.input)]
        for item in self.template.fields:
            value = _fact(facts, item["name"])
            if value is not None:
                lines.append(f"{item['label']}: {value}{' ' + item['unit'] if 'unit' in item else ''}")
        lines += [self._tasks[wording], "Options:"]
        lines += [f"{letter}. {text}" for letter, text in zip(self._letters, shown, strict=True)]
        lines.append(manners[wording % len(manners)])
        return "\n".join(lines)


def _fact(facts: Mapping[str, Any], path: str) -> str | None:
    value: Any = facts
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    if value is None or value == "":
        return None
    return f"{value:g}" if isinstance(value, float) else str(value)


def build_questions(
    data: "Dataset | Mapping[str, Iterable[Record]] | Iterable[Record]",
    source: str | None = None,
    *,
    split: str = "test",
    labels: str = "climb",
    seed: int = 0,
    paraphrase: int | Literal["random"] = 0,
    order: Order = "shuffled",
) -> Iterator[Question]:
    """Make a question of every record, without opening a picture.

    Args:
        data (`Dataset`, `Mapping` or `Iterable[Record]`): a split of `load_dataset("climb", NAME)` (of one source or a
            mixture), the records of an index by split (`build_index(...).splits`), or records of one split.
        source (`str`, *optional*): the source of the records; a dataset names its own.
        split (`str`, *optional*, defaults to `"test"`): the split, where `data` does not tell.
        labels (`str`, *optional*, defaults to `"climb"`): label scheme.
        seed (`int`, *optional*, defaults to `0`): seed of the order of the choices and of random wordings.
        paraphrase (`int` or `"random"`, *optional*, defaults to `0`): which wording.
        order (`str`, *optional*, defaults to `"shuffled"`): `"shuffled"` or `"fixed"` order of the choices.

    Yields:
        `Question`: in the order of the data; records without a value to ask about give none.

    Raises:
        OptionError: the source has no questions, with the reason.
        SchemaError: `source` is missing.

    Example:
        >>> from climb_hf.source import Record
        >>> records = [Record(id="1", group="1", raw_labels=("yes",))]
        >>> [question.answer for question in build_questions(records, "brain_mri")]
        ['Tumor']
    """
    how: dict[str, Any] = {"seed": seed, "paraphrase": paraphrase, "order": order}
    if hasattr(data, "features"):
        yield from _of_dataset(data, labels, how, split)
        return
    if source is None:
        raise SchemaError("records do not name their source: pass `source`, such as `source='aptos2019'`.")
    facts = get_source(source)
    maker = QuestionMaker(facts, facts.label_scheme(labels, {}), **how)
    parts = data.items() if isinstance(data, Mapping) else [(split, data)]
    for name, records in parts:
        for record in records:
            question = maker.make(record, name)
            if question is not None:
                yield question


def _of_dataset(data: Any, labels: str, how: Mapping[str, Any], split: str) -> Iterator[Question]:  # noqa: ANN401
    wanted = ("id", "source", "group", "labels", "uncertain", "age", "sex", "targets", "metadata", "duplicate_of")
    if missing := [name for name in wanted if name not in data.features]:
        raise SchemaError(f"expected a dataset of `climb_hf.load_dataset`, but the columns {missing} are absent.")
    names = data.features["labels"].feature.names
    split = str(data.split) if getattr(data, "split", None) is not None else split
    makers: dict[str, QuestionMaker] = {}
    for row in data.select_columns(list(wanted)).with_format(None):
        if row["source"] not in makers:
            facts = get_source(row["source"])
            makers[facts.name] = QuestionMaker(facts, facts.label_scheme(labels, {}), **how)
        concepts, doubtful = ([names[i] for i in row[key] or ()] for key in ("labels", "uncertain"))
        question = makers[row["source"]].make_from(row, concepts, doubtful, split)
        if question is not None:
            yield question
