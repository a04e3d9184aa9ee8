"""Which value of a hyperparameter to train with: one run per value, the lowest held-out loss wins (CLIMB paper)."""

import itertools
import json
import logging
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from climb_hf.errors import OptionError
from climb_hf.protocols.data import Sources
from climb_hf.protocols.multitask import Run, is_begun, train
from climb_hf.training.recipes import load_recipe

__all__ = ["SEARCH_FILE", "Search", "search"]

logger = logging.getLogger(__name__)

#: What was tried, beside the chosen checkpoint.
SEARCH_FILE = "search.json"


@dataclass(frozen=True)
class Search:
    """A finished search.

    Args:
        run (`Run`): the chosen run, with its checkpoint in `TO/model`.
        chosen (`str`): its folder under `TO/search`.
        table (`list[dict]`): per setting tried its values, `loss` (the lowest held-out loss; NaN where training failed
            or was never scored) and `folder`.
    """

    run: Run
    chosen: str
    table: list[dict[str, Any]]


def search(
    sources: Sources,
    output_dir: str | Path,
    *,
    recipe: str | Path,
    overrides: Sequence[str] = (),
    **options: Any,  # noqa: ANN401 - of `train`
) -> Search:
    """Train once per combination of the values in the recipe's `search`, and keep that of the lowest held-out loss.

    The choice is made on the held-out part of the train groups; the test split is not touched. A run that ends with a
    loss that is not finite loses, it does not end the search.

    Args:
        sources (`Mapping`): folder of the raw data by source name.
        output_dir (`str` or `Path`): `TO/search/<values>` per run, `TO/model` the chosen one, `TO/search.json`.
        recipe (`str` or `Path`): a recipe with a section `search`.
        overrides (`Sequence[str]`, *optional*): `section.key=value`; a key given here is not searched.
        **options: further arguments of `climb_hf.protocols.multitask.train`; `resume` goes on with the runs that have
            begun, and starts the others.

    Returns:
        `Search`.

    Raises:
        OptionError: a recipe without values to try, without a held-out part, or no run with a finite loss.
    """
    from climb_hf.errors import TrainingError

    fixed = {override.partition("=")[0].strip() for override in overrides}
    grid = {key: values for key, values in (load_recipe(recipe).get("search") or {}).items() if key not in fixed}
    if not grid:
        raise OptionError(f"the recipe `{recipe}` has no values to try; give it a section `search`.")
    output_dir, table, runs = Path(output_dir), [], {}
    resume = options.pop("resume", False)
    for values in itertools.product(*grid.values()):
        setting = dict(zip(grid, values, strict=True))
        folder = ",".join(f"{key.rpartition('.')[2]}={value:g}" if isinstance(value, float) else f"{key}={value}"
                          for key, value in setting.items())  # fmt: skip
        place = output_dir / "search" / folder
        chosen = [*overrides, *(f"{key}={json.dumps(value)}" for key, value in setting.items())]
        try:
            options["resume"] = resume and is_begun(place)
            runs[folder] = train(sources, place, recipe=recipe, overrides=chosen, **options)
            loss = _held_out_loss(runs[folder].history)
        except TrainingError as error:
            logger.warning("%s: %s", folder, error)
            loss = math.nan
        table.append({**setting, "loss": loss, "folder": folder})
    finite = [row for row in table if math.isfinite(row["loss"])]
    if not finite:
        raise OptionError(
            f"none of the {len(table)} runs has a finite held-out loss: {table}. Give every source a held-out part, "
            "leave `training.eval_strategy` on, or try smaller rates."
        )
    best = min(finite, key=lambda row: row["loss"])["folder"]
    return Search(_keep(runs[best], output_dir, best, table), best, table)


def _held_out_loss(history: Sequence[Mapping[str, Any]]) -> float:
    return min((float(row["eval_loss"]) for row in history if "eval_loss" in row), default=math.nan)


def _keep(run: Run, output_dir: Path, best: str, table: Sequence[Mapping[str, Any]]) -> Run:
    """Copy the chosen checkpoint to its place, and write down what was tried; of several processes the first does."""
    from accelerate import PartialState

    folder, state = output_dir / "model", PartialState()
    if state.is_main_process:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(run.checkpoint, folder)
        content = {"chosen": best, "criterion": "lowest held-out loss", "tried": [_strict(row) for row in table]}
        (output_dir / SEARCH_FILE).write_text(json.dumps(content, indent=1), encoding="utf-8")
    state.wait_for_everyone()
    return Run(folder, run.history, run.facts)


def _strict(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}
