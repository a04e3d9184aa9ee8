"""The ten tasks of Table 9 of the CLIMB paper: sources that are left out of training and learned from few examples."""

from typing import Any

__all__ = ["OOD_TASKS", "ood_table"]

#: Source -> what is new about it beside the sources that a model is trained on (the paper's Table 9, in our words).
OOD_TASKS = {
    "bcss": "components of breast tissue, where the other pathology set has types of cancer",
    "busi": "breast ultrasound, where the other ultrasound sources show lungs and hearts",
    "cbis_ddsm": "BI-RADS on scanned film, with a category 0 (`include_birads0`) that the other set lacks",
    "coronahack": "a new class of disease beside bacterial and viral pneumonia",
    "covid19_cxr": "a new class of disease: COVID-19",
    "isic2020": "melanoma or not, where the other skin sources name the lesion",
    "jichi": "another grading of retinopathy than the five international stages",
    "lndb": "the size of lung nodules",
    "ptbxl_finegrained": "23 diagnostic subclasses, where the other ECG sources have seven classes",
    "tuev": "six kinds of events: pathological patterns, artefacts and background activity",
}


def ood_table() -> list[dict[str, Any]]:
    """Return one row per task, with how many of its concepts other sources teach.

    Returns:
        `list[dict]`: `source`, `modality`, `family`, `classes` (their number), `shared` (how many of its concepts are
        concepts of a source outside these ten as well: the most that V_ood ∩ V can hold) and `new` (what is new).

    Example:
        >>> [row["source"] for row in ood_table()][:3]
        ['bcss', 'busi', 'cbis_ddsm']
    """
    from climb_hf.registry import get_source, source_names

    elsewhere = {concept for name in source_names() if name not in OOD_TASKS for concept in get_source(name).concepts}
    rows = []
    for name, new in OOD_TASKS.items():
        source = get_source(name)
        concepts = set(source.concepts)
        rows.append(
            {
                "source": name,
                "modality": source.modality,
                "family": source.family,
                "classes": len(source.classes),
                "shared": len(concepts & elsewhere),
                "new": new,
            }
        )
    return rows
