"""What a checkpoint has seen already: a source must not be called new to a model that was trained on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from climb_hf.errors import AccessError, OptionError
from climb_hf.protocols.encoders import checkpoint_facts
from climb_hf.registry import get_source, source_names

__all__ = ["Contamination", "look_for_contamination", "trained_sources"]

_NAMED = 5  # records that a message lists


@dataclass(frozen=True)
class Contamination:
    """What was found, and what was looked at.

    Args:
        reasons (`list[str]`): why the source is not new to the checkpoint; empty where nothing was found.
        checked (`list[str]`): what was looked at: `"names"`, `"linked patients"`, `"records of SOURCE"`.
    """

    reasons: list[str] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, list[str]]:
        """Return JSON values."""
        return {"reasons": self.reasons, "checked": self.checked}


def trained_sources(checkpoint: str | Path) -> list[str] | None:
    """Return the sources a checkpoint was trained on, with those of the encoder that it started from.

    Args:
        checkpoint (`str` or `Path`): folder of a run or of a checkpoint.

    Returns:
        `list[str]`, or `None` where the checkpoint does not say.
    """
    facts = checkpoint_facts(checkpoint)
    if "sources" not in facts:
        return None
    found, seen = list(facts["sources"]), {str(checkpoint)}
    while True:
        start = facts.get("recipe_settings", {}).get("model", {}).get("pretrained")
        if not isinstance(start, str) or start in seen:
            return list(dict.fromkeys(found))
        seen.add(start)
        try:
            facts = checkpoint_facts(start)
        except AccessError:
            return list(dict.fromkeys(found))
        found += facts.get("sources", [])


def look_for_contamination(
    target: str,
    trained_on: Sequence[str],
    *,
    target_dir: str | Path | None = None,
    raw: Mapping[str, str | Path | None] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    allow_seen: bool = False,
    cache_dir: str | Path | None = None,
) -> Contamination:
    """Look whether a source, its patients or its records were part of a training.

    Names and linked patient ids (`Source.patient_ids`) are always compared; records (byte-identical, near duplicates,
    shared patients; `climb_hf.auditing.shared_records`) with the training sources whose raw data is given.

    Args:
        target (`str`): the source to transfer to.
        trained_on (`Sequence[str]`): sources of the training.
        target_dir (`str` or `Path`, *optional*): raw data of the target.
        raw (`Mapping`, *optional*): raw data of training sources by name.
        options (`Mapping`, *optional*): options of the data by source.
        allow_seen (`bool`, *optional*, defaults to `False`): go on all the same; the reasons are returned.
        cache_dir (`str` or `Path`, *optional*): where the audit keeps what it learned from files.

    Returns:
        `Contamination`.

    Raises:
        OptionError: something was found and `allow_seen` is false, or raw data of a source outside the training.
    """
    if strangers := sorted(set(raw or {}) - set(trained_on)):
        raise OptionError(f"raw data is given of {strangers}, but the training sources are {list(trained_on)}.")
    reasons, checked = [], ["names", "linked patients"]
    if target in trained_on:
        reasons.append(f"the checkpoint was trained on `{target}`")
    family = get_source(target).patient_ids
    known = set(source_names())
    for name in trained_on:
        if name != target and name in known and family and get_source(name).patient_ids == family:
            reasons.append(f"`{target}` and the training source `{name}` have patients of one register (`{family}`)")
    for name, folder in (raw or {}).items():
        if name != target:
            checked.append(f"records of {name}")
            reasons += _shared((target, target_dir), (name, folder), options, cache_dir)
    if reasons and not allow_seen:
        raise OptionError(
            f"{'; '.join(reasons)}. A transfer to data that the model has seen measures its memory. Choose another "
            "source or checkpoint, or pass `allow_seen=True` (`--allow-seen`), which every result will say."
        )
    return Contamination(reasons, checked)


def _shared(
    target: tuple[str, str | Path | None],
    other: tuple[str, str | Path | None],
    options: Mapping[str, Mapping[str, Any]] | None,
    cache_dir: str | Path | None,
) -> list[str]:
    from climb_hf.auditing import shared_records

    found = shared_records(
        target, other, kinds=("identical", "near", "patient"), cache_dir=cache_dir,
        options={name: dict(own) for name, own in (options or {}).items() if name in (target[0], other[0])} or None,
    )  # fmt: skip
    if not found:
        return []
    some = ", ".join(f"{record.id} ({record.kind})" for record in list(found.values())[:_NAMED])
    return [f"{len(found)} records of `{target[0]}` are in the training source `{other[0]}` as well: {some}"]
