"""The command `figures`: compound figures of articles to panels with texts."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from climb_hf.cli.options import AsJson, Device

__all__ = ["register"]


def figures(
    to: Annotated[str, typer.Option(help="A folder, or s3://BUCKET/PREFIX.")],
    inputs: Annotated[
        list[Path] | None, typer.Argument(help="Parquet tables, PMC packages (.tar.gz), or folders of them.")
    ] = None,
    detector: Annotated[
        str, typer.Option(help="gutters, none (figures stay whole), or an object-detection checkpoint.")
    ] = "gutters",
    caption: Annotated[str, typer.Option(help="Text of a panel: the full caption, or split by labels.")] = "full",
    unaligned: Annotated[
        str, typer.Option(help="With split captions, panels without a label: full caption, or drop.")
    ] = "full",
    threshold: Annotated[float, typer.Option(help="Score that a box of a checkpoint needs.")] = 0.2,
    overlap: Annotated[float, typer.Option(help="Overlap above which the box of lower score goes.")] = 0.2,
    expand: Annotated[float, typer.Option(help="Part of its size that a box grows by on each side.")] = 0.0,
    min_side: Annotated[int, typer.Option(help="Shorter side of a panel in pixels at least.")] = 32,
    min_caption: Annotated[int, typer.Option(help="Characters of a text at least.")] = 1,
    order: Annotated[str, typer.Option(help="Reading order of panels: rows or columns.")] = "rows",
    classifier: Annotated[
        str | None, typer.Option(help="Image-classification checkpoint that filters panels.")
    ] = None,
    classes: Annotated[
        list[str] | None, typer.Option("--class", help="Class of the classifier to keep; may be repeated.")
    ] = None,
    top_k: Annotated[int, typer.Option(help="A wanted class must be among the best so many.")] = 1,
    licenses: Annotated[str, typer.Option(help="all, or open: only what may be passed on.")] = "all",
    image_format: Annotated[str, typer.Option(help="Format of cut panels: JPEG or PNG.")] = "JPEG",
    max_pixels: Annotated[int, typer.Option(help="A larger figure is not decoded.")] = 80_000_000,
    batch_size: Annotated[int, typer.Option(help="Figures that a checkpoint sees at once.")] = 8,
    column: Annotated[
        list[str] | None,
        typer.Option(help="Column of a table, KEY=NAME with image, caption, id, article, license; may be repeated."),
    ] = None,
    device: Device = None,
    num_proc: Annotated[
        int | None, typer.Option("--num-proc", help="Worker processes; all cores, one with a checkpoint.")
    ] = None,
    shard_size: Annotated[str, typer.Option(help="Bytes of the input that make a shard.")] = "500MB",
    max_failed: Annotated[float, typer.Option(help="Share of the input that may be unreadable.")] = 0.05,
    miniature: Annotated[bool, typer.Option("--miniature", help="Draw synthetic figures and use them.")] = False,
    synthetic: Annotated[bool, typer.Option("--synthetic", help="The figures are synthetic: say so.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace what was made there otherwise.")] = False,
    as_json: AsJson = False,
) -> None:
    """Cut compound figures into panels and write them with their texts as Parquet. Resumes where it stopped.

    Example: climb figures raw/pmc --to panels --detector runs/dab-detr --caption split --licenses open
    """
    from climb_hf.cli.app import show
    from climb_hf.figures import FigureOptions, make_figures

    options = FigureOptions(
        detector=detector, caption=caption, unaligned=unaligned, threshold=threshold, overlap=overlap, expand=expand,
        min_side=min_side, min_caption=min_caption, order=order, classifier=classifier, classes=tuple(classes or ()),
        top_k=top_k, licenses=licenses, image_format=image_format.upper(), max_pixels=max_pixels,
        batch_size=batch_size, columns=_columns(column or []),
    )  # fmt: skip
    with _inputs(inputs or [], miniature=miniature) as given:
        done = make_figures(
            given, to, options=options, device=device, num_proc=num_proc, shard_size=shard_size,
            max_failed=max_failed, synthetic=synthetic or miniature, overwrite=overwrite,
        )  # fmt: skip
    if as_json:
        show([vars(done)], as_json=True)
        return
    rows = [{"what": name, "number": n} for name, n in done.counts.items()]
    rows += [{"what": "unreadable", "number": len(done.failures)}] if done.failures else []
    show(rows, as_json=False, columns=["what", "number"])
    typer.echo(f"{done.rows} rows in {done.shards} shards ({done.reused} from an earlier run)")
    if "://" not in to:
        typer.echo(f"load it: datasets.load_dataset({to!r}, split='train')")


@contextlib.contextmanager
def _inputs(given: Sequence[Path], *, miniature: bool):  # noqa: ANN202 - an iterator of a context manager
    """The inputs of the command line, or drawn packages that vanish at the end."""
    from tempfile import TemporaryDirectory

    from climb_hf.errors import OptionError

    if bool(given) == miniature:
        raise OptionError("pass files or folders with figures, or `--miniature` for synthetic ones, not both.")
    if not miniature:
        yield list(given)
        return
    from climb_hf.miniatures._compound_figures import write_packages

    with TemporaryDirectory(prefix="climb-figures-") as folder:
        write_packages(Path(folder), 64)
        yield [Path(folder)]


def _columns(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    from climb_hf.errors import OptionError

    pairs = [tuple(text.split("=", 1)) for text in texts]
    if wrong := [text for text, pair in zip(texts, pairs, strict=True) if len(pair) != 2 or not all(pair)]:
        raise OptionError(f"`--column` takes KEY=NAME, got {wrong[0]!r}.")
    return tuple((pair[0], pair[1]) for pair in pairs)


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the application."""
    app.command()(figures)
