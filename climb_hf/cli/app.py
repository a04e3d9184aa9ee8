"""The typer application that the modules of commands register with."""

import importlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import typer

from climb_hf.report.tables import format_table

if TYPE_CHECKING:
    from climb_hf.results import ResultRow

__all__ = ["app", "show", "show_results"]

#: Modules with commands, in the order of the help.
_MODULES = (
    "data", "download", "audit", "prepare", "models", "transfer", "fusion", "image_text", "figures", "qa", "report",
)  # fmt: skip

app = typer.Typer(
    name="climb",
    help="Clinical data sources as Hugging Face datasets, and encoders trained on any mixture of them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 119},
)


def show(rows: Sequence[Mapping[str, object]], *, as_json: bool, columns: Sequence[str] | None = None) -> None:
    """Print rows as a table, or as JSON for other programs.

    Args:
        rows (`Sequence[Mapping]`): what to print.
        as_json (`bool`): JSON instead of a table.
        columns (`Sequence[str]`, *optional*): columns of the table.
    """
    typer.echo(
        json.dumps(list(rows), indent=1, default=str, allow_nan=False) if as_json else format_table(rows, columns)
    )


def show_results(rows: "Sequence[ResultRow]", table: Sequence[Mapping[str, object]], *, as_json: bool) -> None:
    """Print results: the table that people read, or every row as strict JSON, where an undefined value is `null`.

    Args:
        rows (`Sequence[ResultRow]`): the results.
        table (`Sequence[Mapping]`): the same for people.
        as_json (`bool`): JSON instead of the table.
    """
    show([row.to_dict() for row in rows] if as_json else table, as_json=as_json)


def _register() -> None:
    """Import the modules whose commands belong to the application."""
    for module in _MODULES:
        importlib.import_module(f"climb_hf.cli.{module}").register(app)


_register()
