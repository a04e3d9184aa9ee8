"""Image-text retrieval on text-image sources, after the Open-PMC-18M protocol (recall@10, @50 and @200 both ways)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.errors import OptionError
from climb_hf.metrics.bootstrap import interval_of
from climb_hf.metrics.ranking import Backend, Ranks, Ties, rank_pairs
from climb_hf.metrics.retrieval import DEPTHS, DIRECTIONS, check_depths, score_ranks
from climb_hf.protocols.data import Sources, is_synthetic
from climb_hf.protocols.dual_encoder import embed_images, embed_texts, load_dual_encoder
from climb_hf.protocols.image_text import common_facts
from climb_hf.protocols.scoring import with_options
from climb_hf.registry import get_source

if TYPE_CHECKING:
    from datasets import Dataset

    from climb_hf.results import ResultRow

__all__ = ["POSITIVES", "retrieve"]


#: What counts as the match of a query: the item of its own row, every item with the same text, or of the same group.
POSITIVES = ("row", "text", "group")


def retrieve(
    checkpoint: str | Path,
    sources: Sources,
    *,
    split: str | None = None,
    output_dir: str | Path | None = None,
    ks: Sequence[int] = DEPTHS,
    positives: Sequence[str] = ("row", "text"),
    ties: Ties = "expected",
    max_length: int | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
    batch_size: int = 64,
    backend: Backend = "blocks",
    device: str | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    synthetic: bool = False,
    cache_dir: str | Path | None = None,
    num_proc: int | None = None,
) -> "list[ResultRow]":
    """Score how well images find their texts and texts their images, source by source; the gallery is the split.

    A pair without a picture or with a blank text is left out and counted (`n_left_out`); a text longer than the
    encoder reads is cut and counted (`settings["n_truncated"]`). The rule for equal scores is that of
    `climb_hf.metrics.retrieval_metrics`.

    Args:
        checkpoint (`str` or `Path`): an image-text encoder, see `load_dual_encoder`.
        sources (`Mapping`): folder of the raw data by source name.
        split (`str`, *optional*): the split to score; by default that of the published numbers, which is `test`, of
            `quilt1m` its `validation`.
        output_dir (`str` or `Path`, *optional*): where `results.jsonl` and the ranks of every query go
            (`ranks_<source>_<positives>.npz`).
        ks (`Sequence[int]`, *optional*, defaults to `(10, 50, 200)`): depths of recall.
        positives (`Sequence[str]`, *optional*, defaults to `("row", "text")`): what counts as a match: `"row"` (the
            protocol), `"text"` (every item with the same text; left out where no text stands twice), `"group"`.
        ties (`str`, *optional*, defaults to `"expected"`): the rule for equal scores.
        max_length (`int`, *optional*): tokens kept of a text; by default all that the encoder reads.
        n_bootstrap (`int`, *optional*, defaults to `1000`): bootstrap resamples; 0 for no intervals.
        seed (`int`, *optional*, defaults to `0`): seed of the bootstrap.
        batch_size (`int`, *optional*, defaults to `64`): records per batch.
        backend (`str`, *optional*, defaults to `"blocks"`): or `"faiss"`; the numbers are the same.
        device (`str`, *optional*): torch device; by default a GPU if there is one.
        options (`Mapping`, *optional*): options by source name, those under `"*"` for all.
        synthetic (`bool`, *optional*, defaults to `False`): the data is synthetic; the results say so.
        cache_dir (`str` or `Path`, *optional*): where tables are built.
        num_proc (`int`, *optional*): worker processes of each build.

    Returns:
        `list[ResultRow]`: per source, kind of match and direction (`settings["direction"]`, `"average"` for the mean
        of both) `recall@k` and `median_rank`, `average_recall`; then averages over the sources (`level="overall"`),
        which are the columns "AR" of the paper's tables.

    Raises:
        AccessError: the checkpoint or the raw data is not there.
        OptionError: an option that is not allowed.
        SchemaError: embeddings that are not finite; the records are named.
    """
    from climb_hf.protocols.pairs import load_pairs
    from climb_hf.training.contrastive_data import pairs_fingerprint

    check_depths(ks, ties)
    if not positives or (unknown := sorted(set(positives) - set(POSITIVES))):
        raise OptionError(
            f"`positives` must be some of {POSITIVES}, found {list(positives) if positives else unknown}."
        )
    splits, overall, of_split = _splits_of(sources, split)
    common = common_facts(checkpoint, "retrieval", overall, synthetic=synthetic or is_synthetic(sources))
    parts = load_pairs(sources, split, options=options or {}, cache_dir=cache_dir, num_proc=num_proc)
    model, processor = load_dual_encoder(checkpoint, device=device)
    scoring: dict[str, Any] = {"ks": ks, "ties": ties, "n_bootstrap": n_bootstrap, "seed": seed}
    on_device = None if model.device.type == "cpu" or backend == "faiss" else str(model.device)
    results: list[ResultRow] = []
    draws: dict[str, dict[str, Any]] = {}
    for name, part in parts.items():
        facts = {**common, "split": splits[name], "source": name, "n_left_out": sum(parts.dropped[name].values())}
        facts["data_fingerprint"] = pairs_fingerprint(part)
        if len(part) < 2:
            results.append(_nothing(facts, len(part), ks[0]))
            continue
        images = embed_images(model, processor, part, batch_size=batch_size)
        texts, n_cut = embed_texts(model, processor, part["text"], batch_size=batch_size, max_length=max_length)
        settings = {**of_split, "n_truncated": n_cut, "gallery": len(part), "ties": ties}
        settings |= with_options(name, options)
        for kind in positives:
            keys = _keys(part, kind)
            if kind == "text" and len(set(part["text"])) == len(part):
                continue
            ranks = rank_pairs(images, texts, keys=keys, device=on_device, backend=backend, progress=len(part) > 5000)
            table, drawn = score_ranks(ranks, groups=part["group"], name=name, **scoring)
            draws.setdefault(kind, {})[name] = (table, drawn)
            results += _rows(table, {**facts, "settings": {**settings, "positives": kind}})
            if output_dir is not None:
                _save_ranks(Path(output_dir) / f"ranks_{name}_{kind}.npz", part, ranks)
    for kind, tables in draws.items():
        results += _overall(tables, {**common, "settings": {**of_split, "positives": kind, "ties": ties}}, ks)
    if output_dir is not None:
        from climb_hf.results import write_results

        write_results(Path(output_dir) / "results.jsonl", results)
    return results


def _splits_of(sources: Sources, split: str | None) -> tuple[dict[str, str], str, dict[str, str]]:
    """Split scored of each source, split of the averages, and the setting that says they are the published ones."""
    published = {name: get_source(name).evaluation_split for name in sources}
    splits = dict.fromkeys(sources, split) if split else published
    overall = "all" if len(set(splits.values())) > 1 else next(iter(splits.values()))
    return splits, overall, {"split": "evaluation"} if splits == published else {}


def _keys(pairs: "Dataset", kind: str) -> list[str] | None:
    return None if kind == "row" else list(pairs[kind])


def _nothing(facts: Mapping[str, Any], n: int, k: int) -> "ResultRow":
    from climb_hf.results import ResultRow

    reason = f"{n} pair(s) with a picture and a text: there is nothing to choose between"
    return ResultRow(**facts, metric=f"recall@{k}", value=float("nan"), n=n, reason=reason)


def _rows(table: Mapping[str, Any], facts: Mapping[str, Any]) -> "list[ResultRow]":
    """All numbers of one source and kind of match."""
    from climb_hf.results import ResultRow

    bootstrap = {"n_bootstrap": table["n_bootstrap"], "bootstrap_seed": table["seed"]} if table["n_bootstrap"] else {}
    common = {**facts, "n": table["n"], "n_groups": table["n_groups"], "confidence": table["confidence"]}
    intervals = table.get("intervals", {})
    rows = []
    for direction in (*DIRECTIONS, "average"):
        own = table[direction]
        values = {metric: value for metric, value in own.items() if metric.startswith("recall@")}
        values |= {"median_rank": own["median_rank"]} if direction != "average" else {}
        values |= {"average_recall": table["average_recall"]} if direction == "average" else {}
        ends = {**intervals.get(direction, {}), "average_recall": intervals.get("average_recall")}
        for metric, value in values.items():
            settings = {**facts["settings"], **bootstrap, "direction": direction}
            if value == value and metric in table["chance"]:
                settings["chance"] = table["chance"][metric]
            if value == value and metric in own.get("bounds", {}):
                settings |= {"bounds": own["bounds"][metric], "n_tied": own["n_tied"]}
            undefined = {"reason": f"the gallery holds {table['n']} items: every query is a hit"}
            rows.append(
                ResultRow(
                    **{**common, "settings": settings, **({} if value == value else undefined)},
                    metric=metric,
                    value=value,
                    interval=_ends(ends.get(metric)),
                )
            )
    return rows


def _ends(interval: Sequence[float] | None) -> tuple[float, float] | None:
    """An interval as `ResultRow` takes it: `None` where it is undefined."""
    if interval is None or any(end != end for end in interval):
        return None
    return float(interval[0]), float(interval[1])


def _overall(
    tables: Mapping[str, tuple[Mapping[str, Any], Mapping[tuple[str, str], Any]]],
    facts: Mapping[str, Any],
    ks: Sequence[int],
) -> "list[ResultRow]":
    """Unweighted means over the sources that define a number; the intervals resample by resample."""
    import numpy as np

    from climb_hf.results import ResultRow

    first = next(iter(tables.values()))[0]
    n = sum(table["n"] for table, _ in tables.values())
    keys = [(direction, f"recall@{k}") for direction in (*DIRECTIONS, "average") for k in ks]
    rows = []
    for direction, metric in [*keys, ("average", "average_recall")]:
        values = {
            name: table["average_recall"] if metric == "average_recall" else table[direction][metric]
            for name, (table, _) in tables.items()
        }
        defined = [name for name, value in values.items() if value == value]
        drawn = [tables[name][1].get((direction, metric)) for name in defined]
        found = [values_ for values_ in drawn if values_ is not None]
        ends = interval_of(np.mean(found, axis=0), first["confidence"])[0] if found else None
        value = float(np.mean([values[name] for name in defined])) if defined else float("nan")
        rows.append(
            ResultRow(
                **{**facts, "settings": {**facts["settings"], "direction": direction}},
                source="all",
                level="overall",
                metric=metric,
                value=value,
                n=n,
                n_defined=len(defined),
                confidence=first["confidence"],
                interval=_ends(ends) if defined else None,
                reason=None if defined else "undefined for every source",
            )
        )
    return rows


def _save_ranks(path: Path, pairs: "Dataset", ranks: tuple[Ranks, Ranks]) -> None:
    """Write where the match of every query stands, for comparisons of two models query by query."""
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {
        f"{direction}_{field}": getattr(own, field)
        for direction, own in zip(DIRECTIONS, ranks, strict=True)
        for field in ("greater", "tied", "matches")
    }
    np.savez(path, ids=np.array(pairs["id"], dtype=np.str_), **arrays)
