"""Where the sources come from, and the marks of the figure of AUC differences."""

import functools
from dataclasses import dataclass

from climb_hf.report.paper.numbers import read_table

__all__ = ["UNDERSTUDIED", "Origin", "origin_of"]

#: Modalities outside of the pictures that medical image collections are made of (X-ray, CT, MRI, mammography, fundus,
#: dermoscopy, microscopy): the rule for "understudied modality" here. The CLIMB paper names ultrasound and ECG.
UNDERSTUDIED = frozenset({"Ultrasound", "ECG", "EEG", "Video", "IMU", "BrainNet", "Molecule", "Gene Expression"})


@dataclass(frozen=True)
class Origin:
    """Where a source comes from.

    Args:
        source (`str`): its name.
        location (`str`): as in Table 8 of the CLIMB paper, or the publisher's where `basis` says so.
        basis (`str`): `"Table 8"`, `"publisher"` or `"not in Table 8"`.
        countries (`tuple[str, ...]`): of the location.
        is_underrepresented (`bool`): one of the countries is none of high income (World Bank): the rule here.
        is_novel_task (`bool`): one of the ten tasks of Table 9.
        note (`str`): what speaks against the location.
    """

    source: str
    location: str
    basis: str
    countries: tuple[str, ...]
    is_underrepresented: bool
    is_novel_task: bool
    note: str

    @property
    def is_understudied(self) -> bool:
        """Whether its modality is one of `UNDERSTUDIED`."""
        from climb_hf.vocabulary import source_vocabulary

        return source_vocabulary(self.source).modality in UNDERSTUDIED

    @property
    def marks(self) -> tuple[str, ...]:
        """Marks of the source in the figure of differences."""
        named = {
            "novel task": self.is_novel_task,
            "understudied modality": self.is_understudied,
            "underrepresented region": self.is_underrepresented,
        }
        return tuple(name for name, is_so in named.items() if is_so)


@functools.cache
def _origins() -> dict[str, Origin]:
    return {
        row["source"]: Origin(
            row["source"], row["location"], row["basis"], tuple(filter(None, row["countries"].split("; "))),
            row["underrepresented"] == "yes", row["novel_task"] == "yes", row["note"],
        )
        for row in read_table("origins.csv")
    }  # fmt: skip


def origin_of(source: str) -> Origin | None:
    """Return where a source comes from.

    Args:
        source (`str`): its name.

    Returns:
        `Origin` or `None`: `None` for sources outside of the CLIMB benchmark.

    Example:
        >>> origin_of("busi").marks
        ('novel task', 'understudied modality', 'underrepresented region')
    """
    return _origins().get(source)
