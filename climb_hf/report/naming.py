"""What a result row is in the papers' words: row name of its model, its place, what it may be mixed with."""

import dataclasses
import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from climb_hf.errors import OptionError
from climb_hf.report.paper.numbers import CellKey, paper_numbers
from climb_hf.report.paper.tables import MODALITIES

if TYPE_CHECKING:
    from climb_hf.results import ResultRow

__all__ = ["Names", "Place", "place_of"]

#: Our names of models whose row name differs by more than letter case and punctuation.
_ALIASES = {"ecgtransformer": "Transformer", "climbgraph": ""}
_MODALITY_SLUG = re.compile(r"[^a-z0-9]+")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", name.lower())


@dataclasses.dataclass(frozen=True)
class Names:
    """How checkpoints are called in the papers.

    Args:
        given (`tuple[tuple[str, str], ...]`, *optional*): pairs of a name or pattern (`run-*`) and `ROW`,
            `ROW:PRETRAIN` or `:PRETRAIN`; the first that fits a checkpoint's name counts.
    """

    given: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, texts: Sequence[str]) -> "Names":
        """Read `NAME=ROW` as given on the command line.

        Args:
            texts (`Sequence[str]`): such as `"my-vit=EVA-2"` or `"biot-prest=BIOT:BIOT-pretrain-PREST"`.

        Returns:
            `Names`.

        Raises:
            OptionError: without `=`, or a row that no table has.

        Example:
            >>> Names.parse(["seed-*=convnextv2"]).given
            (('seed-*', 'ConvNeXtV2'),)
        """
        known = _known_models()
        pairs = []
        for text in texts:
            name, found, row = text.partition("=")
            model, colon, pretrain = row.partition(":")
            if not found or not name or not row:
                raise OptionError(f"`--paper-model` takes NAME=ROW or NAME=ROW:PRETRAIN, found {text!r}.")
            if model and _plain(model) not in known:
                raise OptionError(
                    f"`--paper-model`: no table has a row `{model}`; rows are {', '.join(sorted(known.values()))}."
                )
            pairs.append((name, f"{known[_plain(model)] if model else ''}{colon}{pretrain}"))
        return cls(tuple(pairs))

    def given_for(self, *called: str) -> tuple[str, str, str] | None:
        """Return pattern, row and pretraining that were given for a checkpoint.

        Args:
            *called (`str`): its name, and its architecture where that is known.

        Returns:
            `tuple[str, str, str]` or `None`.
        """
        for pattern, row in self.given:
            if any(fnmatch.fnmatchcase(name, pattern) for name in called):
                name, _, pretrain = row.partition(":")
                return pattern, name, pretrain
        return None


def _known_models() -> dict[str, str]:
    names = {n.key.model for paper in ("climb", "openpmc") for n in paper_numbers(paper) if n.key.model}
    return {_plain(name): name for name in names}


def _paper_row(row: "ResultRow") -> str:
    """Row name of a model by its architecture, or its own name where the papers have none."""
    known = _known_models()
    for name in (row.settings.get("architecture"), row.model):
        if not name:
            continue
        for text in (str(name), _preset_row(str(name)), str(name).removeprefix("graph_")):
            plain = _plain(text)
            if found := known.get(plain) or _ALIASES.get(plain):
                if row.protocol in ("retrieval", "zero_shot", "linear_probe") and name != row.model:
                    continue  # the rows of those tables are released checkpoints, not architectures
                return found
        if _plain(str(name)).startswith("llavamed"):
            return "LLaVA-Med"
    if row.settings.get("training") == "single-task" and "architecture" in row.settings:
        return str(row.settings["architecture"])  # each source has a checkpoint, called like the source
    return str(row.model or row.settings.get("architecture") or "unnamed model")


def _preset_row(name: str) -> str:
    from climb_hf.models.vision.presets import VISION_PRESETS

    return VISION_PRESETS[name].row if name in VISION_PRESETS else name


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a number belongs.

    Args:
        protocol (`str`): its protocol.
        level (`str`): `"source"`, `"modality"` or `"overall"`.
        key (`CellKey`): in the papers' words.
        condition (`tuple[tuple[str, str], ...]`): what else tells numbers apart that must not be mixed; by name.
        average (`str`): what an overall number is the mean of, where the row says so.
    """

    protocol: str
    level: str
    key: CellKey
    condition: tuple[tuple[str, str], ...]
    average: str = ""


#: The ECG sources of the CLIMB paper: pretrained on all of them, or on all but one, is what its Tables 26 and 27 show.
_ECG = frozenset({"ptbxl", "chapman_shaoxing", "cpsc", "georgia"})
_MANY = 4


def _pretrain_of(row: "ResultRow") -> str:
    """What a transferred checkpoint was trained on, in the words of Tables 26 and 27 where they fit."""
    trained = set(row.settings.get("trained_on") or ())
    if row.settings.get("start") == "random":
        return "none"
    same = {"ptbxl", "ptbxl_finegrained"} if row.source.startswith("ptbxl") else {row.source}
    if same & _ECG and trained >= _ECG:
        return "climb"
    if same & _ECG and trained >= _ECG - same and not trained & same:
        return f"climb-without-{row.source}"
    return " + ".join(sorted(trained)) if len(trained) <= _MANY else f"{len(trained)} sources"


def _multitask(row: "ResultRow") -> dict[str, str]:
    return {"training": str(row.settings.get("training", ""))}


def _transfer(row: "ResultRow") -> dict[str, str]:
    return {"finetune": row.source, "shots": str(row.settings.get("k", "")), "pretrain": _pretrain_of(row)}


def _fusion(row: "ResultRow") -> dict[str, str]:
    own = row.settings
    strategy = str(own.get("strategy", ""))
    if strategy == "alone":
        strategy += f" {' + '.join(own.get('modalities', ()))}"
    return {
        "model": f"fusion/{strategy}", "task": str(own.get("task", "")), "shots": str(own.get("shots", "")),
        "pretrain": str(own.get("pretrain", "")),
    }  # fmt: skip


def _retrieval(row: "ResultRow") -> dict[str, str]:
    return {"task": str(row.settings.get("direction", ""))}


def _zero_shot(row: "ResultRow") -> dict[str, str]:
    return {"task": str(row.settings.get("templates", ""))}


def _nothing(row: "ResultRow") -> dict[str, str]:
    return {}


#: Fields of the key by protocol, and the settings that are conditions.
_PROTOCOLS: dict[str, tuple[Callable[["ResultRow"], dict[str, str]], tuple[str, ...]]] = {
    "multitask": (_multitask, ()),
    "transfer": (_transfer, ("method",)),
    "fusion": (_fusion, ("frozen", "modalities", "encoders")),
    "retrieval": (_retrieval, ("positives", "ties")),
    "zero_shot": (_zero_shot, ()),
    "linear_probe": (_nothing, ("features", "probe", "selection")),
    "qa": (_multitask, ("hedges", "uncertain")),
}


def place_of(row: "ResultRow", names: Names) -> Place | None:
    """Return where a row belongs in the tables.

    Args:
        row (`ResultRow`): a result.
        names (`Names`): given row names.

    Returns:
        `Place` or `None`: `None` for numbers of subgroups, of reduced test sets, of single classes, and for means over
        seeds that a protocol wrote itself.
    """
    settings: Mapping[str, Any] = row.settings
    if row.subgroup or row.is_without_duplicates or "aggregate" in settings or "class" in settings:
        return None
    protocol = row.protocol or "multitask"
    fields_of, conditions = _PROTOCOLS.get(protocol, (_nothing, ()))
    fields = {"model": _paper_row(row), **fields_of(row)}
    given = names.given_for(row.model or "", str(settings.get("architecture", "")))
    if given is not None:
        fields |= {name: value for name, value in (("model", given[1]), ("pretrain", given[2])) if value}
    dataset = row.source
    if row.level == "modality":
        dataset = MODALITIES.get(row.source) or _MODALITY_SLUG.sub("_", row.source.lower()).strip("_")
    elif row.level == "overall":
        dataset = "overall"
    condition = {name: _text(settings[name]) for name in conditions if name in settings}
    split = "test" if settings.get("split") == "evaluation" else row.split  # of Quilt-1M it is called `validation`
    condition |= {"definition": row.definition, "split": split, "synthetic": str(row.synthetic)}
    condition |= _identity(row, given, protocol)
    return Place(
        protocol, row.level, CellKey(dataset=dataset, metric=row.metric, **fields), tuple(sorted(condition.items())),
        str(settings.get("average", "")),
    )  # fmt: skip


def _identity(row: "ResultRow", given: tuple[str, str, str] | None, protocol: str) -> dict[str, str]:
    """What says that two rows are of the same model but for the seed."""
    architecture = {"architecture": str(row.settings["architecture"])} if "architecture" in row.settings else {}
    if given is not None:
        return {**architecture, "model": given[0]}
    if protocol == "fusion":  # a run's name holds its seed
        return {"recipe": row.recipe_hash or ""}
    if row.settings.get("training") == "single-task":  # one checkpoint per source
        return architecture
    return {**architecture, "model": row.model or "", "recipe": row.recipe_hash or ""}


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(item)}" for key, item in sorted(value.items()) if key != "seed")
    if isinstance(value, list | tuple):
        return " + ".join(map(_text, value))
    return str(value)
