"""What the registry knows of its sources, as rows, as a dictionary and as text; docs and commands share it."""

from typing import Any

from climb_hf.registry import get_source, list_sources
from climb_hf.vocabulary import source_vocabulary

__all__ = ["source_facts", "source_rows", "source_text"]


def source_rows(
    modality: str | None = None, family: str | None = None, access: str | None = None, benchmark: str | None = None
) -> list[dict[str, Any]]:
    """Return one row per source that fits, for tables.

    Args:
        modality (`str`, *optional*): as in `climb_hf.list_sources`.
        family (`str`, *optional*): likewise.
        access (`str`, *optional*): likewise.
        benchmark (`str`, *optional*): likewise.

    Returns:
        `list[dict]`: name, benchmark, modality, family, classes, train, test, access, licence, redistributable.
    """
    rows = []
    for name in list_sources(modality, family, access, benchmark):
        source = get_source(name)
        sizes = source.published_splits
        rows.append(
            {
                "source": name,
                "benchmark": source.benchmark,
                "modality": source.modality,
                "family": source.family,
                "classes": len(source.classes),
                "train": sizes.get("train"),
                "validation": sizes.get("validation"),
                "test": sizes.get("test"),
                "access": source.access,
                "licence": source.license,
                "redistributable": source.redistributable,
            }
        )
    return rows


def source_facts(name: str) -> dict[str, Any]:
    """Return all facts of a source as plain JSON values.

    Args:
        name (`str`): a source.

    Returns:
        `dict`.

    Raises:
        UnknownSourceError: no such source.
    """
    source = get_source(name)
    vocabulary = source_vocabulary(name)
    raw: dict[str, list[str]] = {class_name: [] for class_name in source.classes}
    for value in vocabulary.raw_values:
        class_name = vocabulary.class_of(value)
        if class_name is not None:
            raw[class_name].append(value)
    return {
        "name": name,
        "title": source.title,
        "homepage": source.homepage,
        "benchmark": source.benchmark,
        "modality": source.modality,
        "family": source.family,
        "domains": list(source.domains),
        "tasks": list(source.tasks),
        "access": source.access,
        "licence": source.license,
        "licence_note": source.license_note,
        "redistributable": source.redistributable,
        "multi_label": source.multi_label,
        "classes": [
            {"class": class_name, "concept": concept, "raw_values": raw[class_name]}
            for class_name, concept in zip(source.classes, source.concepts, strict=True)
        ],
        "zero_shot_names": list(source.zero_shot_names),
        "published_splits": dict(source.published_splits),
        "split_by": list(source.splits),
        "unavailable_splits": dict(source.unavailable_splits),
        "labels": list(source.label_schemes),
        "options": list(source.option_names),
        "cautions": list(source.cautions),
        "how_to_get": list(source.how_to_get),
        "citation": source.citation,
    }


def source_text(name: str) -> str:
    """Return the facts of a source as text for a terminal.

    Args:
        name (`str`): a source.

    Returns:
        `str`.

    Raises:
        UnknownSourceError: no such source.
    """
    facts = source_facts(name)
    sizes = ", ".join(f"{split} {size:,}" for split, size in facts["published_splits"].items()) or "not published"
    rows = [
        ("benchmark", facts["benchmark"]),
        ("modality", f"{facts['modality']} ({facts['family']})"),
        ("domains", ", ".join(facts["domains"])),
        ("tasks", ", ".join(facts["tasks"])),
        ("licence", f"{facts['licence']}. {facts['licence_note']}".strip(". ")),
        ("access", facts["access"]),
        ("redistributable", "yes" if facts["redistributable"] else "no"),
        ("published sizes", sizes),
        ("split_by", ", ".join(facts["split_by"])),
        ("labels", ", ".join(facts["labels"])),
        ("options", ", ".join(facts["options"])),
        ("homepage", facts["homepage"]),
    ]
    width = max(len(key) for key, _ in rows)
    lines = [f"{name}: {facts['title']}", "", *(f"{key.ljust(width)}  {value}" for key, value in rows)]
    kind = "any number per record" if facts["multi_label"] else "one per record"
    lines += ["", f"classes ({len(facts['classes'])}, {kind}):"]
    lines += [f"  {row['class']}  <-  {', '.join(row['raw_values'])}" for row in facts["classes"]]
    for split, reason in facts["unavailable_splits"].items():
        lines += ["", f"no `split_by={split!r}`: {reason.rstrip(';.')}."]
    if facts["cautions"]:
        lines += ["", "before you trust a number:", *(f"  - {caution}" for caution in facts["cautions"])]
    lines += ["", "how to get it:", *(f"  {n}. {step}" for n, step in enumerate(facts["how_to_get"], 1))]
    lines += ["", f"load it: datasets.load_dataset('climb', {name!r}, data_dir=...)", "", facts["citation"]]
    return "\n".join(lines)
