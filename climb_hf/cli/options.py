"""Arguments and options that several commands share, so that they are called and explained alike everywhere."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = [
    "AsJson",
    "CacheDir",
    "Device",
    "Miniature",
    "MiniatureSize",
    "NumProc",
    "Overrides",
    "Recipe",
    "Resamples",
    "Resume",
    "SourceOptions",
    "Sources",
    "Split",
    "Synthetic",
    "parse_options",
]

Sources = Annotated[list[str], typer.Argument(help="Sources, each NAME or NAME=DIR with its raw data.")]
SourceOptions = Annotated[
    list[str] | None,
    typer.Option("--set", help="Option of the sources, KEY=VALUE, or of one of them, NAME.KEY=VALUE."),
]
Split = Annotated[str, typer.Option(help="The split to score.")]
Recipe = Annotated[str, typer.Option(help="A recipe of the library, or a YAML file.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="Override a key of the recipe: SECTION.KEY=VALUE.")]
Resume = Annotated[bool, typer.Option(help="Go on from the last checkpoint of TO.")]
Resamples = Annotated[int, typer.Option("--n-bootstrap", help="Bootstrap resamples for the intervals; 0 for none.")]
Device = Annotated[str | None, typer.Option(help="Torch device; a GPU if there is one by default.")]
CacheDir = Annotated[Path | None, typer.Option(help="Where tables are built; the cache of datasets by default.")]
NumProc = Annotated[int | None, typer.Option("--num-proc", help="Worker processes of each build.")]
Synthetic = Annotated[bool, typer.Option("--synthetic", help="The data is synthetic: say so. Miniatures are known.")]
Miniature = Annotated[
    bool, typer.Option("--miniature", help="Dry run: write synthetic data of each source first, and use that.")
]
MiniatureSize = Annotated[int, typer.Option("--miniature-n", help="Synthetic records per source.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def parse_options(texts: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read the values of `--set`: `KEY=VALUE` (every source that has the option; one must) and `NAME.KEY=VALUE`.

    Args:
        texts (`Sequence[str]`): as given; values are YAML.
        names (`Sequence[str]`): the sources of the command.

    Returns:
        `dict`: options by source name, those for all under `"*"`.

    Raises:
        OptionError: no such source or option, or no YAML.

    Example:
        >>> parse_options(["image_size=96", "quilt1m.subsets=[quilt, openpath]"], ["quilt1m", "pcam"])
        {'*': {'image_size': 96}, 'quilt1m': {'subsets': ['quilt', 'openpath']}}
    """
    import yaml

    from climb_hf.errors import OptionError
    from climb_hf.registry import get_source, near_names

    found: dict[str, dict[str, Any]] = {}
    known = {name: get_source(name).option_names for name in names}
    for text in texts:
        key, is_given, value = text.partition("=")
        name, is_own, option = key.partition(".")
        target, option = (name, option) if is_own else ("*", key)
        if not is_given or not option:
            raise OptionError(f"`--set` takes KEY=VALUE or NAME.KEY=VALUE, got {text!r}.")
        if is_own and name not in known:
            raise OptionError(f"`--set {text}`: `{name}` is not among the sources {list(names)}.")
        having = known[name] if is_own else {option for options in known.values() for option in options}
        if option not in having:
            raise OptionError(f"`--set {text}`: no such option. {near_names(option, tuple(sorted(having)))}")
        try:
            found.setdefault(target, {})[option] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise OptionError(f"`--set {text}`: {value!r} is no YAML value ({error}).") from error
    return found
