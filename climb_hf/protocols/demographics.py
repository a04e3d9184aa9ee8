"""Who the patients of an evaluation are: the columns by which it is also scored in parts."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["demographics"]


def demographics(dataset: "Dataset", rows: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return sex and age band of each predicted row, for `subgroups` of the metrics.

    Args:
        dataset (`Dataset`): the records that were scored.
        rows (`Mapping`): `ids` and `sources` of the predicted rows, in their order; a record may stand several times.

    Returns:
        `dict[str, list[str]]`: `sex` and `age`, each with one value per row; `"unknown"` where it is not said.
    """
    from climb_hf.metrics import age_bands

    columns = dataset.select_columns(["source", "id", "sex", "age"]).with_format(None)[:]
    of_record = {
        (source, id_): (sex, age)
        for source, id_, sex, age in zip(*(columns[key] for key in ("source", "id", "sex", "age")), strict=True)
    }
    found = [of_record[key] for key in zip(rows["sources"], rows["ids"], strict=True)]
    return {"sex": [sex or "unknown" for sex, _ in found], "age": age_bands([age for _, age in found])}
