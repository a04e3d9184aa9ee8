"""The numbers that the papers print, each with the table it stands in and what identifies it there."""

import csv
import functools
import io
import math
from dataclasses import dataclass, fields
from importlib.resources import files
from typing import Literal, get_args

from climb_hf.errors import OptionError

__all__ = ["FIELDS", "CellKey", "Paper", "PaperNumber", "paper_numbers", "read_table"]

Paper = Literal["climb", "openpmc"]

_FILES = {"climb": "climb_paper.csv", "openpmc": "openpmc.csv"}


@dataclass(frozen=True)
class CellKey:
    """What identifies a number in a table; fields that say nothing there are empty.

    Args:
        model (`str`, *optional*): row name of the model in the paper, or a checkpoint's own name.
        dataset (`str`, *optional*): source, modality (`"chest_xray"`), `"overall"` or `"average"`.
        metric (`str`, *optional*): such as `"auc"`.
        training (`str`, *optional*): `"multitask"`, `"single-task"`, `"zero-shot"`, `"fine-tuned"`, or a training set.
        pretrain (`str`, *optional*): what the encoder was pretrained on.
        finetune (`str`, *optional*): what it was fine-tuned on.
        shots (`str`, *optional*): examples per class, or `"full"`.
        task (`str`, *optional*): such as `"ihm48"`; the direction of retrieval; the template set of zero-shot.
    """

    model: str = ""
    dataset: str = ""
    metric: str = ""
    training: str = ""
    pretrain: str = ""
    finetune: str = ""
    shots: str = ""
    task: str = ""

    def get(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the values of some fields.

        Args:
            names (`tuple[str, ...]`): fields.

        Returns:
            `tuple[str, ...]`.

        Example:
            >>> CellKey(model="GCN", metric="auc").get(("metric", "model"))
            ('auc', 'GCN')
        """
        return tuple(getattr(self, name) for name in names)


#: Names of the fields of `CellKey`, in the order of the papers' files.
FIELDS = tuple(item.name for item in fields(CellKey))


@dataclass(frozen=True)
class PaperNumber:
    """One printed number.

    Args:
        paper (`str`): `"climb"` or `"openpmc"`.
        table (`str`): number of the table; `"S2"` is Table 2 of a supplement.
        key (`CellKey`): what it is of.
        text (`str`): as printed; empty where the paper prints a dash.
        note (`str`): what the paper prints beside it.
    """

    paper: str
    table: str
    key: CellKey
    text: str
    note: str = ""

    @property
    def value(self) -> float:
        """The number; NaN where none is printed."""
        return float(self.text) if self.text else math.nan

    @property
    def decimals(self) -> int:
        """Decimals as printed.

        Example:
            >>> PaperNumber("climb", "2", CellKey(), ".670").decimals
            3
        """
        return len(self.text.partition(".")[2])


def read_table(name: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file that is shipped beside this module.

    Args:
        name (`str`): file name.

    Returns:
        `list[dict[str, str]]`.
    """
    text = files("climb_hf.report.paper").joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text)))


@functools.cache
def paper_numbers(paper: Paper) -> tuple[PaperNumber, ...]:
    """Return every number of a paper's result tables, in printed order.

    Args:
        paper (`str`): `"climb"` or `"openpmc"` (supplement, Tables 1 to 4, here `"S1"` to `"S4c"`).

    Returns:
        `tuple[PaperNumber, ...]`.

    Raises:
        OptionError: another paper.

    Example:
        >>> numbers = paper_numbers("climb")
        >>> next(n.text for n in numbers if n.table == "16" and n.key.dataset == "overall" and n.key.metric == "auc")
        '0.7867'
    """
    if paper not in _FILES:
        raise OptionError(f"`paper` must be one of {', '.join(get_args(Paper))}, found {paper!r}.")
    return tuple(
        PaperNumber(paper, row["table"], CellKey(**{name: row[name] for name in FIELDS}), row["value"], row["note"])
        for row in read_table(_FILES[paper])
    )
