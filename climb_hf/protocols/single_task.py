"""One model per source from the same recipe: what multitask training is compared with (CLIMB paper, RQ1)."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.errors import AccessError
from climb_hf.protocols.data import Sources
from climb_hf.protocols.multitask import Run, evaluate, is_begun, train

if TYPE_CHECKING:
    from climb_hf.results import ResultRow

__all__ = ["evaluate_each", "is_single_task", "train_each"]

_FILE = "single_task.json"


def train_each(
    sources: Sources,
    output_dir: str | Path,
    **options: Any,  # noqa: ANN401 - of `train`
) -> dict[str, Run]:
    """Train one model per source, each in a folder of its own.

    Args:
        sources (`Mapping`): folder of the raw data by source name.
        output_dir (`str` or `Path`): `TO/NAME/model` per source, and a list of them, which `climb evaluate` knows.
        **options: arguments of `climb_hf.protocols.multitask.train`; `resume` goes on with those without a model.

    Returns:
        `dict[str, Run]`: by source; sources that an earlier, resumed run has finished are not in it.
    """
    output_dir = Path(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    (output_dir / _FILE).write_text(json.dumps({"sources": list(sources)}, indent=1), encoding="utf-8")
    runs, resume = {}, options.pop("resume", False)
    for name, folder in sources.items():
        target = output_dir / name
        if resume and (target / "model" / "config.json").is_file():
            continue
        runs[name] = train({name: folder}, target, resume=resume and is_begun(target), **options)
    return runs


def is_single_task(folder: str | Path) -> bool:
    """Whether a folder holds one model per source.

    Args:
        folder (`str` or `Path`): what `climb train --to` was given.

    Returns:
        `bool`.

    Example:
        >>> is_single_task("no/such/folder")
        False
    """
    return (Path(folder) / _FILE).is_file()


def evaluate_each(
    folder: str | Path,
    sources: Sources,
    *,
    output_dir: str | Path | None = None,
    **options: Any,  # noqa: ANN401 - of `evaluate`
) -> "list[ResultRow]":
    """Score each source with its own model.

    Args:
        folder (`str` or `Path`): of `train_each`.
        sources (`Mapping`): folder of the raw data by source name.
        output_dir (`str` or `Path`, *optional*): `results.jsonl` of all, and `NAME/predictions.npz` of each.
        **options: arguments of `climb_hf.protocols.multitask.evaluate`.

    Returns:
        `list[ResultRow]`: rows of level `source` only: there is no model that an average would be of.

    Raises:
        AccessError: a source has no model in the folder.
    """
    from climb_hf.results import write_results

    folder = Path(folder)
    absent = [name for name in sources if not (folder / name / "model" / "config.json").is_file()]
    if absent:
        raise AccessError(
            f"`{folder}` holds no model of {', '.join(f'`{name}`' for name in absent)}; its models are "
            f"{', '.join(sorted(path.parent.parent.name for path in folder.glob('*/model/config.json'))) or 'none'}. "
            "Train the rest with the same command and `--resume`."
        )
    rows: list[ResultRow] = []
    for name, raw in sources.items():
        target = None if output_dir is None else Path(output_dir) / name
        found = evaluate(folder / name, {name: raw}, output_dir=target, **options)
        rows += [row for row in found if row.level == "source"]
    if output_dir is not None:
        write_results(Path(output_dir) / "results.jsonl", rows)
    return rows
