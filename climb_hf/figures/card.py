"""The card of a data set of panels: how it loads, what became of the figures, licences row by row."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from climb_hf.errors import LicenseError, OptionError
from climb_hf.figures.licences import is_redistributable

if TYPE_CHECKING:
    from climb_hf.prepare.manifest import Manifest
    from climb_hf.prepare.stores import Store

__all__ = ["check_panels", "refuse_other_target", "write_figure_card", "write_unfinished_card"]

_CARD_FILE, _MARK = "README.md", "climb_figures"
#: A file that is not there: `load_dataset` names it in its error.
_UNFINISHED = "not-finished--run-climb-figures-again.parquet"
_CITATION = "Open-PMC-18M (arXiv 2506.02738), BIOMEDICA (arXiv 2501.07171), PMC Open Access Subset"


def refuse_other_target(store: "Store") -> None:
    """Refuse a target that holds something else than panels.

    Raises:
        OptionError: names what is there.
    """
    from climb_hf.figures.making import NAME
    from climb_hf.prepare.card import existing_fields
    from climb_hf.prepare.manifest import finished

    others = sorted(set(finished(store)) - {NAME})
    has_card = store.read(_CARD_FILE) is not None
    if others or (has_card and _MARK not in existing_fields(store)):
        what = f"prepared sources ({', '.join(others)})" if others else f"a `{_CARD_FILE}` that this did not write"
        raise OptionError(f"{store.url}: there is {what}. Choose an empty folder for the figures.")


def write_figure_card(store: "Store", manifest: "Manifest") -> None:
    """Write the card of a complete set of panels.

    Args:
        store (`Store`): the target.
        manifest (`Manifest`): of the set.
    """
    from climb_hf.hub.licence import Terms, gate_fields
    from climb_hf.prepare.card import gate

    licences = _licences(manifest)
    closes = all(map(is_redistributable, licences))  # asking for consent makes nothing publishable
    gates = gate_fields([Terms(name, "data", name) for name in licences]) if closes else {}
    gate(store, gates)
    store.write(_CARD_FILE, _card_text(store.url, manifest, gates).encode())


def write_unfinished_card(store: "Store") -> None:
    """Write a card that names no shard, so that `load_dataset` does not take a half-built set for the whole.

    Args:
        store (`Store`): the target.
    """
    import yaml

    from climb_hf.figures.making import NAME

    files = [{"split": "train", "path": f"{NAME}/{_UNFINISHED}"}]
    fields = {_MARK: True, "configs": [{"config_name": NAME, "default": True, "data_files": files}]}
    text = "Not finished: run the same `climb figures` command again, and it goes on.\n"
    store.write(_CARD_FILE, f"---\n{yaml.safe_dump(fields, sort_keys=False)}---\n\n{text}".encode())


def check_panels(manifest: "Manifest") -> None:
    """Refuse to publish panels of which one must not be passed on.

    Args:
        manifest (`Manifest`): of a set of panels.

    Raises:
        LicenseError: names the licences, and their rows.
    """
    closed = {name: n for name, n in _licences(manifest).items() if not is_redistributable(name)}
    if closed:
        named = ", ".join(f"{n:,} of `{name}`" for name, n in closed.items())
        raise LicenseError(
            f"the panels must not be published, not even in a private repository: {named} give no right to pass "
            "adapted copies on. Make the set again with `climb figures … --licenses open`, which leaves them out."
        )


def _licences(manifest: "Manifest") -> dict[str, int]:
    """Rows by licence."""
    from climb_hf.figures.making import total_counts

    counts = total_counts(manifest.shards)
    return {name.removeprefix("licence "): n for name, n in counts.items() if name.startswith("licence ")}


def _card_text(url: str, manifest: "Manifest", gates: Mapping[str, Any]) -> str:
    import yaml

    from climb_hf.figures.making import NAME, total_counts

    counts = total_counts(manifest.shards)
    synthetic = bool(manifest.header["synthetic"])
    splits = manifest.splits()
    fields: dict[str, Any] = {
        "pretty_name": url.rstrip("/").rsplit("/", 1)[-1],
        "license": "other",
        "license_name": "per-row",
        "tags": ["climb", "medical", "figures", *(["synthetic"] if synthetic else [])],
        "task_categories": ["image-to-text"],
        _MARK: True,
        **gates,
        "configs": [
            {
                "config_name": NAME,
                "default": True,
                "data_files": [{"split": split, "path": f"{NAME}/{split}-*.parquet"} for split in splits or ["train"]],
            }
        ],
        "dataset_info": [
            {
                "config_name": NAME,
                "splits": [
                    {"name": split, "num_bytes": size["memory"], "num_examples": size["rows"]}
                    for split, size in splits.items()
                ],
                "download_size": sum(size["bytes"] for size in splits.values()),
                "dataset_size": sum(size["memory"] for size in splits.values()),
            }
        ],
    }
    header = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)
    return f"---\n{header}---\n\n{_body(url, manifest.header, counts, _licences(manifest), synthetic=synthetic)}"


def _body(
    url: str, header: Mapping[str, Any], counts: Mapping[str, int], licences: Mapping[str, int], *, synthetic: bool
) -> str:
    title = url.rstrip("/").rsplit("/", 1)[-1]
    options = header["options"]
    text = "its own part of the caption" if options.get("caption") == "split" else "the whole caption of its figure"
    shown = {
        name: n for name, n in counts.items() if not name.startswith("licence ") and name not in ("closed", "panels")
    }
    closed = counts.get("closed", 0)
    lines = [
        f"# {title}",
        "",
        *(["**All of it is synthetic**: drawn figures with invented captions.", ""] if synthetic else []),
        f"Panels of published figures, each with {text}. Detector: `{header['boxes'] or options.get('detector')}`.",
        "",
        "```python",
        "from datasets import load_dataset",
        "",
        f'load_dataset("{title}", split="train")',
        "```",
        "",
        "`group` is the article: rows of one article belong on one side of a split. `box` is left, top, right, bottom",
        "in pixels of the figure; `caption` is the whole caption where `text` is a part of it.",
        "",
        "## What became of the figures",
        "",
        "| | number |",
        "|---|---|",
        f"| rows | {counts.get('panels', 0):,} |",
        *(f"| {name} | {n:,} |" for name, n in shown.items()),
        "",
        "## Licences",
        "",
        "| licence | rows | may be passed on |",
        "|---|---|---|",
        *(f"| {name} | {n:,} | {'yes' if is_redistributable(name) else 'no'} |" for name, n in licences.items()),
        "",
        f"{closed:,} rows must not be passed on (`redistributable` is false): no licence is stated, it forbids",
        "adaptations such as a cut-out panel, or the figure is a reprint. The others keep the conditions of their",
        "licence; attribution names the article in `group`.",
        "",
        f"Methods and data: {_CITATION}.",
        "",
    ]
    return "\n".join(lines)
