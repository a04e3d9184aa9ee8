"""What `climb doctor` finds: a folder of raw data against what its source expects, without building anything."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from climb_hf.errors import ClimbError
from climb_hf.indexing import build_index
from climb_hf.labels import LabelMapper
from climb_hf.readers.integrity import check
from climb_hf.registry import get_source

__all__ = ["Diagnosis", "diagnose"]

#: Damaged files named in full; the rest is counted.
SHOWN = 5


@dataclass
class Diagnosis:
    """The state of a folder of raw data.

    Args:
        name (`str`): the source.
        root (`str`): the root folder that was recognised.
        found (`dict[str, int]`): records by split.
        published (`dict[str, int]`): the publisher's or paper's counts by split.
        classes (`dict[str, int]`): records by class, over all splits.
        findings (`list[str]`): what is missing, damaged, left out or unusual.
        next_command (`str`): what to type next.
    """

    name: str
    root: str
    found: dict[str, int]
    published: dict[str, int]
    classes: dict[str, int]
    findings: list[str] = field(default_factory=list)
    next_command: str = ""

    def split_rows(self) -> list[dict[str, Any]]:
        """Return one row per split: records found and published."""
        names = [*self.found, *(split for split in self.published if split not in self.found)]
        return [{"split": n, "found": self.found.get(n, 0), "published": self.published.get(n)} for n in names]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {**self.__dict__}


def diagnose(name: str, data_dir: str | Path | None = None) -> Diagnosis:
    """Compare a folder with the layout, tables and sizes a source expects.

    Files are checked as a default build checks them (exists, size, magic bytes, end marker), none is decoded. A count
    that differs from the published one is a finding, never an error: partial downloads are legal.

    Args:
        name (`str`): a source.
        data_dir (`str` or `Path`, *optional*): the folder; defaults to `$CLIMB_DATA/NAME`.

    Returns:
        `Diagnosis`.

    Raises:
        UnknownSourceError: no such source.
        AccessError: the folder does not hold this source at all.
    """
    from climb_hf.builder import ClimbConfig, raw_root

    source = get_source(name)
    options = ClimbConfig(name=name).options()
    root = raw_root(source, str(Path(data_dir).expanduser()) if data_dir else None)
    index = build_index(source, root, options)
    mapper, classes, damaged = LabelMapper(source), Counter[str](), []
    for record in (record for records in index.splits.values() for record in records):
        try:
            labels, _ = mapper.labels(record)
            for file in record.files:
                check(root / file, options.verify)
        except (ClimbError, OSError, ValueError) as error:
            damaged.append(f"`{record.id}`: {error}")
            continue
        classes.update(mapper.names[label] for label in labels)
    found = {split: len(records) for split, records in index.splits.items()}
    by_class = dict(zip(source.concepts, source.classes, strict=True))
    result = Diagnosis(
        name,
        str(root),
        found,
        dict(source.published_splits),
        {by_class[concept]: classes.get(concept, 0) for concept in source.concepts},
    )
    bad = [f"`{failure.id}`: {failure.reason}" for failure in index.failures] + damaged
    result.findings += [f"damaged or missing: {text}" for text in bad[:SHOWN]]
    if len(bad) > SHOWN:
        result.findings.append(f"damaged or missing: {len(bad) - SHOWN} more")
    result.findings += [f"left out: {count} × {rule}" for rule, count in index.left_out.items()]
    result.findings += [f"class without a record: {label}" for label, count in result.classes.items() if not count]
    for split, size in source.published_splits.items():
        if found.get(split, 0) != size:
            result.findings.append(f"{split}: {found.get(split, 0):,} records found, {size:,} published")
    is_complete = not bad
    load = f"python -c \"import climb_hf; print(climb_hf.load_dataset('{name}', '{root}'))\""
    result.next_command = load if is_complete else f"get the damaged files again (climb info {name} says how)"
    return result
