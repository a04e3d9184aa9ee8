"""What the rows of an evaluation carry beside their numbers: who the patients are, and what was scored."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from climb_hf.models.catalogue import entry_of

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["architecture_of", "demographics"]


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


def architecture_of(model: Any, facts: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - any classifier
    """Name what was scored, for `settings` of the results and the tables of the reports.

    Args:
        model: the classifier.
        facts (`Mapping`): facts of its training, with `sources` where they are known.

    Returns:
        `dict`: `architecture` (a preset of the vision models or their backbone, else the model of `docs/models.md`, a
        graph model with its convolution), and `training`: `"multitask"` or `"single-task"`, where it is known.
    """
    config, name = model.config, entry_of(model.config.model_type).name
    if name == "vision":
        from climb_hf.models.vision.presets import VISION_PRESETS

        name = next(
            (
                preset.name
                for preset in VISION_PRESETS.values()
                if preset.config.get("backbone", preset.weights) == config.backbone
            ),
            config.backbone,
        )
    elif name == "graph":
        name = f"graph_{config.convolution}"
    n_sources = len(facts.get("sources") or ())
    training = {"training": "multitask" if n_sources > 1 else "single-task"} if n_sources else {}
    return {"architecture": name, **training}
