"""The papers' result tables: what stands in the lines and columns of each, and which numbers belong to it."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from climb_hf.report.paper.numbers import CellKey, PaperNumber, paper_numbers

__all__ = ["MODALITIES", "TABLES", "PaperTable", "paper_rows", "table_of"]

#: Names of the registry's modalities in the papers' tables.
MODALITIES = {
    "Chest X-ray": "chest_xray",
    "Mammography": "mammography",
    "Dermoscopy": "dermoscopy",
    "CT": "ct",
    "Fundus": "fundus",
    "Ultrasound": "ultrasound",
    "MRI": "mri",
    "Tissues": "tissues",
    "Video": "endoscopic",
    "BrainNet": "brain_network",
    "Molecule": "molecule",
    "ECG": "ecg",
    "EEG": "eeg",
}

_FIVE = ("auc", "sensitivity", "specificity", "f1", "accuracy")
_THREE = _FIVE[:3]


def _same(key: CellKey) -> CellKey | None:
    return key


def _top1_as_accuracy(key: CellKey) -> CellKey | None:
    """Table 21: its accuracy is the share of records that are right, which is `top1` or `exact_match` here."""
    if key.metric == "accuracy":
        return None
    return dataclasses.replace(key, metric={"top1": "accuracy", "exact_match": "accuracy"}.get(key.metric, key.metric))


def _encoder_as_multitask(key: CellKey) -> CellKey | None:
    return dataclasses.replace(key, training="multitask") if key.training == "encoder" else key


def _finegrained(key: CellKey) -> CellKey | None:
    """Table 26: its `ptbxl` is the finer task, as a sensitivity of 0.043 = 1/23 tells."""
    if key.dataset != "ptbxl_finegrained":
        return None
    pretrain = {"ptbxl_finegrained": "ptbxl", "climb-without-ptbxl_finegrained": "climb-without-ptbxl"}
    return dataclasses.replace(
        key, dataset="ptbxl", finetune="ptbxl", pretrain=pretrain.get(key.pretrain, key.pretrain)
    )


def _all_of_it(key: CellKey) -> CellKey | None:
    """Table 27: fine-tuned on everything, without a column for the shots."""
    return dataclasses.replace(key, shots="") if key.shots == "full" else None


def _not_both_ways(key: CellKey) -> CellKey | None:
    """Tables S2 and S3: no column is the mean of both directions of one set."""
    return None if key.task == "average" and key.dataset != "average" else key


def _training_set(key: CellKey) -> CellKey | None:
    """Table 28: `training` is what was trained on."""
    of = {"multitask": "climb", "single-task": key.dataset}.get(key.training)
    return None if of is None else dataclasses.replace(key, training=of, pretrain="original")


@dataclass(frozen=True)
class PaperTable:
    """One printed table.

    Args:
        number (`str`): in the paper; empty for a layout that no paper prints.
        title (`str`): what it shows, in our words.
        protocol (`str`): protocol of our results that fill it.
        lines (`tuple[str, ...]`): fields of `CellKey` that name a line.
        columns (`tuple[str, ...]`): fields that name a column.
        metrics (`tuple[str, ...]`): metrics in order.
        paper (`str`, *optional*, defaults to `"climb"`): or `"openpmc"`.
        where (`Mapping`, *optional*): allowed values by field.
        levels (`tuple[str, ...]`, *optional*): levels of our rows that belong here.
        average (`str`, *optional*, defaults to `"sources"`): what the overall number is the mean of: `"sources"`,
            `"modalities"`, or `"columns"` for the mean of the line.
        overall (`str`, *optional*): dataset that the average is printed as.
        scale (`float`, *optional*, defaults to `1`): factor from our numbers to the printed ones.
        needs (`Mapping`, *optional*): conditions of our numbers, such as one positive per query.
        own (`Callable`, *optional*): our key as the paper's key, `None` where it does not belong here.
    """

    number: str
    title: str
    protocol: str
    lines: tuple[str, ...]
    columns: tuple[str, ...]
    metrics: tuple[str, ...]
    paper: str = "climb"
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    levels: tuple[str, ...] = ("source", "overall")
    average: str = "sources"
    overall: str = "overall"
    scale: float = 1.0
    needs: Mapping[str, str] = field(default_factory=dict)
    own: Callable[[CellKey], CellKey | None] = _same

    @property
    def name(self) -> str:
        """Short name, such as `"table_16"` or `"openpmc_table_S2"`."""
        return ("" if self.paper == "climb" else f"{self.paper}_") + f"table_{self.number}"

    @property
    def heading(self) -> str:
        """Number and title."""
        of = "" if self.paper == "climb" else "Open-PMC-18M, supplement, "
        return f"{of}Table {self.number.removeprefix('S')}: {self.title}" if self.number else self.title

    def holds(self, key: CellKey) -> bool:
        """Whether a number with this key belongs in the table.

        Args:
            key (`CellKey`): in the paper's words.

        Returns:
            `bool`.
        """
        return key.metric in self.metrics and all(
            getattr(key, name) in allowed for name, allowed in self.where.items()
        )


def _by_source(number: str, model: str) -> PaperTable:
    return PaperTable(
        number, f"{model}, multitask training, by source", "multitask", ("dataset",), ("metric",), _FIVE,
        where={"model": (model,), "training": ("multitask",)},
    )  # fmt: skip


def _graphs(number: str, model: str) -> PaperTable:
    return PaperTable(
        number, f"{model}, graphs, by source", "multitask", ("dataset",), ("metric",), _THREE,
        where={"model": (model,), "training": ("multitask",)}, levels=("source", "modality", "overall"),
        average="modalities",
    )  # fmt: skip


_PAIRS = ("mimic_cxr", "quilt1m", "deepeyenet")


def _recall(number: str, k: int) -> PaperTable:
    return PaperTable(
        number, f"Recall@{k} of image-text retrieval", "retrieval", ("model",), ("task", "dataset"), (f"recall@{k}",),
        paper="openpmc", levels=("source",), average="columns", overall="average", needs={"positives": "row"},
        own=_not_both_ways, where={"task": ("image_to_text", "text_to_image", "average"),
               "dataset": (*_PAIRS, "average")},
    )  # fmt: skip


_PROBE_SETS = {
    "S4a": ("radiology", ("pneumoniamnist", "breastmnist", "organamnist", "organcmnist", "organsmnist")),
    "S4b": ("visible light photography",
            ("pad_ufes_20_6class", "skincancer", "pathmnist", "dermamnist", "octmnist", "retinamnist")),
    "S4c": ("microscopy", ("sicapv2", "pcam", "nct_crc_he", "lc25000_lung", "lc25000_colon", "bach", "bloodmnist",
                           "tissuemnist")),
}  # fmt: skip


def _probe(number: str) -> PaperTable:
    kind, sets = _PROBE_SETS[number]
    return PaperTable(
        number, f"Linear probing, macro F1 in %, {kind}", "linear_probe", ("model",), ("dataset",), ("f1",),
        paper="openpmc", levels=("source",), average="columns", overall="average", scale=100.0,
        needs={"selection": "last epoch"},
        where={"dataset": (*sets, "average")},
    )  # fmt: skip


_VISION = ("MedViT", "PMC-CLIP", "RAD-DINO", "SBB2", "Swin Transformer", "EVA-2", "ConvNeXtV2", "InternViT")
_GRAPH = ("GCN", "GAT", "Graph Transformer")
_QA_LINES = ("model", "training", "dataset")

#: The tables in printed order.
TABLES: tuple[PaperTable, ...] = (
    PaperTable(
        "2", "Vision encoders, multitask training, by modality", "multitask", ("model",), ("dataset", "metric"),
        _THREE,
        where={"model": _VISION, "training": ("multitask",), "dataset": (
            "chest_xray", "mammography", "dermoscopy", "ct", "fundus", "ultrasound", "overall")},
        levels=("modality", "overall"),
    ),
    PaperTable(
        "3", "Graph encoders by modality", "multitask", ("model",), ("dataset", "metric"), _THREE,
        where={"model": _GRAPH, "training": ("multitask",), "dataset": ("brain_network", "molecule", "overall")},
        levels=("modality", "overall"), average="modalities",
    ),
    PaperTable(
        "4", "CLIMB-QA by modality", "qa", _QA_LINES, ("metric",), ("accuracy", "sensitivity", "specificity"),
        where={"model": ("LLaVA-Med", "ConvNeXtV2"), "training": ("zero-shot", "fine-tuned", "multitask")},
        levels=("modality", "overall"), average="modalities", overall="average", own=_encoder_as_multitask,
    ),
    PaperTable(
        "5", "Fusion on MIMIC-IV: length of stay (MAE, days) and 48 h mortality", "fusion", ("model", "pretrain"),
        ("shots", "task", "metric"), ("mae", *_THREE), levels=("source",),
        where={"model": ("fusion/late", "fusion/mlp", "fusion/cross_attention"), "pretrain": ("public", "climb")},
    ),
    *(_by_source(str(number), model) for number, model in zip(range(10, 18), _VISION, strict=True)),
    *(_graphs(str(number), model) for number, model in zip(range(18, 21), _GRAPH, strict=True)),
    PaperTable(
        "21", "ConvNeXtV2, one model per source", "multitask", ("dataset",), ("metric",), _FIVE,
        where={"model": ("ConvNeXtV2",), "training": ("single-task",)}, levels=("source",), own=_top1_as_accuracy,
    ),
    PaperTable(
        "22", "CLIMB-QA by source", "qa", _QA_LINES, ("metric",), ("accuracy", "sensitivity", "specificity", "f1"),
        where={"model": ("LLaVA-Med",), "training": ("zero-shot", "fine-tuned")},
    ),
    PaperTable(
        "23", "EEG encoders by source", "multitask", ("model",), ("dataset", "metric"), _FIVE[:4],
        where={"dataset": ("iiic", "tuev", "tuab", "overall"), "training": ("multitask",), "model": (
            "SPARCNet", "CNNTransformer", "FFCL", "ContraWR", "STTransformer", "BIOT", "BIOT-pretrain-PREST",
            "BIOT-pretrain-SHHS+PREST", "BIOT-pretrain-six-datasets")},
    ),
    PaperTable(
        "24", "Few-shot EEG on TUEV by pretraining", "transfer", ("pretrain",), ("shots", "metric"), _THREE,
        where={"model": ("BIOT",), "dataset": ("tuev",)}, levels=("source",),
    ),
    PaperTable(
        "25", "ECG encoders by source", "multitask", ("model",), ("dataset", "metric"), _THREE,
        where={"model": ("Transformer", "ECG-JEPA", "UniTS"), "training": ("multitask",),
               "dataset": ("ptbxl", "chapman_shaoxing", "cpsc", "georgia", "overall")},
    ),
    PaperTable(
        "26", "Few-shot ECG on the finer classes of PTB-XL", "transfer", ("model", "pretrain"), ("shots", "metric"),
        _THREE, where={"model": ("ECG-JEPA", "UniTS"), "dataset": ("ptbxl",)}, levels=("source",), own=_finegrained,
    ),
    PaperTable(
        "27", "ECG-JEPA pretrained on one source or on all, then fine-tuned", "transfer", ("pretrain", "dataset"),
        ("metric",), _THREE, where={"model": ("ECG-JEPA",)}, levels=("source",), own=_all_of_it,
    ),
    PaperTable(
        "28", "UniTS trained on one source or on all", "multitask", ("training", "dataset"), ("metric",), _THREE,
        where={"model": ("UniTS",)}, levels=("source",), own=_training_set,
    ),
    PaperTable(
        "S1", "Evaluation sets", "sets", ("task", "dataset"), ("metric",), ("samples", "classes"), paper="openpmc",
        levels=("source",),
        where={"dataset": (*_PAIRS, *(name for _, sets in _PROBE_SETS.values() for name in sets))},
    ),
    _recall("S2", 10),
    _recall("S3", 50),
    *(_probe(number) for number in _PROBE_SETS),
)  # fmt: skip


def table_of(number: str, paper: str = "climb") -> PaperTable:
    """Return a table by its number.

    Args:
        number (`str`): such as `"16"` or `"S2"`.
        paper (`str`, *optional*, defaults to `"climb"`): or `"openpmc"`.

    Returns:
        `PaperTable`.

    Example:
        >>> table_of("16").title
        'ConvNeXtV2, multitask training, by source'
    """
    return next(table for table in TABLES if table.number == number and table.paper == paper)


@functools.cache
def _by_table(paper: str) -> Mapping[str, tuple[PaperNumber, ...]]:
    found: dict[str, list[PaperNumber]] = {}
    for number in paper_numbers(paper):
        found.setdefault(number.table, []).append(number)
    return {table: tuple(own) for table, own in found.items()}


def paper_rows(table: PaperTable) -> tuple[PaperNumber, ...]:
    """Return the printed numbers of a table, dashes included, headings of groups left out.

    Args:
        table (`PaperTable`): the table.

    Returns:
        `tuple[PaperNumber, ...]`: in printed order; none for a layout that no paper prints.

    Example:
        >>> len(paper_rows(table_of("16")))
        135
    """
    return tuple(number for number in _by_table(table.paper).get(table.number, ()) if table.holds(number.key))
