"""Linear probing: how well one linear layer reads the classes of a source off frozen features.

The protocol of the Open-PMC-18M evaluation (supplement of arXiv 2506.02738; `climb_hf.protocols.linear_head` has the
hyperparameters), on any source and any encoder. The last epoch is reported. The published configuration validates on
the test split, so its best epoch is chosen on the rows that are scored; `best_on_test=True` reports that number too,
marked as optimistic.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.protocols.checkpoints import check_classes
from climb_hf.protocols.data import Sources, is_synthetic, load_parts, model_classes
from climb_hf.protocols.encoders import Encoder, load_encoder
from climb_hf.protocols.features import Features, extract_features
from climb_hf.protocols.linear_head import LinearHead, ProbeSettings, fit_linear_head
from climb_hf.protocols.scoring import (
    ScoredSource,
    common_facts,
    duplicates_of,
    predicted_rows,
    score_source,
    with_options,
)
from climb_hf.provenance import recipe_hash

if TYPE_CHECKING:
    from datasets import Dataset

    from climb_hf.results import ResultRow

__all__ = ["data_options", "linear_probe", "probe_source", "random_encoder"]


def linear_probe(
    checkpoint: str | Path | Encoder,
    sources: Sources,
    *,
    settings: ProbeSettings | None = None,
    train_split: str = "train",
    split: str = "test",
    options: Mapping[str, Mapping[str, Any]] | None = None,
    output_dir: str | Path | None = None,
    n_bootstrap: int = 1000,
    best_on_test: bool = False,
    feature_cache: str | Path | None = None,
    cache_dir: str | Path | None = None,
    num_proc: int | None = None,
    synthetic: bool = False,
) -> "list[ResultRow]":
    """Probe a frozen encoder on several sources, each on its own.

    Args:
        checkpoint (`str`, `Path` or `Encoder`): a checkpoint of ours, a dual encoder (its projected image embedding),
            or an encoder in memory.
        sources (`Mapping`): folder of the raw data by source name.
        settings (`ProbeSettings`, *optional*): hyperparameters; the protocol's by default.
        train_split (`str`, *optional*, defaults to `"train"`): the split the layer learns from.
        split (`str`, *optional*, defaults to `"test"`): the split that is scored.
        options (`Mapping`, *optional*): options of the data by source; by default those the checkpoint was trained
            with, without its validation part.
        output_dir (`str` or `Path`, *optional*): where `results.jsonl`, `predictions-<source>.npz` and
            `<source>.safetensors` (each layer) go; nowhere where absent.
        n_bootstrap (`int`, *optional*, defaults to `1000`): resamples of the intervals; 0 for none.
        best_on_test (`bool`, *optional*, defaults to `False`): also report the epoch with the best macro F1 on the
            scored split.
        feature_cache (`str` or `Path`, *optional*): where features are kept, see `extract_features`.
        cache_dir (`str` or `Path`, *optional*): where tables are built.
        num_proc (`int`, *optional*): worker processes of each build.
        synthetic (`bool`, *optional*, defaults to `False`): the data is synthetic; the results say so.

    Returns:
        `list[ResultRow]`: macro `f1`, `auc`, `accuracy`, `top1` and so on per source, with intervals over patients;
        `f1_positive` for two classes. `settings["source_seen"]` says whether the encoder was trained on the source.

    Raises:
        CorruptFileError: weights of the checkpoint are missing or left over.
        SplitError: a source lacks a split.
    """
    from climb_hf.results import write_results
    from climb_hf.training.evaluation import save_rows

    check_classes(list(sources))
    encoder = checkpoint if isinstance(checkpoint, Encoder) else load_encoder(checkpoint)
    settings = settings or ProbeSettings()
    options = data_options(encoder.facts) if options is None else options
    given: dict[str, Any] = {"cache_dir": cache_dir, "num_proc": num_proc}
    train = load_parts(sources, train_split, options, **given)
    test = load_parts(sources, split, options, **given)
    classes = model_classes(list(sources), options)
    synthetic = synthetic or is_synthetic(sources)
    results: list[ResultRow] = []
    for name in sources:
        scored = ScoredSource(
            name, classes["source_classes"][name], classes["source_multi_label"][name], duplicates_of(test[name])
        )
        parts = [extract_features(encoder, part[name], cache_dir=feature_cache) for part in (train, test)]
        facts = _facts(encoder, settings, test[name], split, name, synthetic)
        facts["settings"] |= with_options(name, options)
        rows, head, found = probe_source(
            parts[0], parts[1], scored, settings, facts, n_bootstrap=n_bootstrap, best_on_test=best_on_test
        )
        results += found
        if output_dir is not None:
            _save_head(Path(output_dir) / f"{name}.safetensors", head, scored)
            save_rows(rows, Path(output_dir) / f"predictions-{name}.npz")
    if output_dir is not None:
        write_results(Path(output_dir) / "results.jsonl", results)
    return results


def probe_source(
    train: Features,
    test: Features,
    source: ScoredSource,
    settings: ProbeSettings,
    facts: Mapping[str, Any],
    *,
    n_bootstrap: int = 1000,
    best_on_test: bool = False,
) -> "tuple[dict[str, Any], LinearHead, list[ResultRow]]":
    """Train the layer on some features and score it on others.

    Args:
        train (`Features`): to learn from.
        test (`Features`): to score.
        source (`ScoredSource`): the classes.
        settings (`ProbeSettings`): hyperparameters.
        facts (`Mapping`): fields of every result row.
        n_bootstrap (`int`, *optional*, defaults to `1000`): resamples.
        best_on_test (`bool`, *optional*, defaults to `False`): see `linear_probe`.

    Returns:
        `tuple`: predicted rows, the layer of the last epoch, result rows.
    """
    targets, scoring = test.targets(source.concepts), {"n_bootstrap": n_bootstrap, "seed": 0}

    def predicted(head: LinearHead) -> dict[str, Any]:
        return predicted_rows(source, head.scores(test.values), targets, test.ids, test.groups)

    best: tuple[float, int, LinearHead | None] = (-math.inf, -1, None)

    def remember(epoch: int, head: LinearHead) -> None:
        nonlocal best
        found = score_source(
            predicted(head), replace(source, duplicates=frozenset()), source.concepts,
            scoring={"n_bootstrap": 0}, facts={"split": "test"},
        )  # fmt: skip
        value = next((row.value for row in found if row.metric == "f1" and row.is_defined), -math.inf)
        if value > best[0]:
            best = (value, epoch, head)

    labels, known = train.targets(source.concepts)
    head = fit_linear_head(
        train.values, labels, known, multi_label=source.multi_label, settings=settings,
        after_epoch=remember if best_on_test else None,
    )  # fmt: skip
    trained = {**facts.get("settings", {}), "n_train": head.n_rows, "n_train_left_out": head.n_left_out}
    rows = predicted(head)
    facts = {**facts, "settings": {**trained, "selection": "last epoch"}}
    found = score_source(rows, source, source.concepts, scoring=scoring, facts=facts)
    if best[2] is not None:
        chosen = {**trained, "selection": "best epoch on the scored split (optimistic)", "epoch": best[1] + 1}
        found += score_source(
            predicted(best[2]), source, source.concepts, scoring=scoring, facts={**facts, "settings": chosen}
        )
    return rows, head, found


def data_options(facts: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the options of the data that a checkpoint was trained with, without the part held out for its curve.

    Args:
        facts (`Mapping`): of the training, see `checkpoint_facts`.

    Returns:
        `dict`: options by source, those under `"*"` for all.

    Example:
        >>> data_options({"recipe_settings": {"data": {"options": {"*": {"image_size": 96, "validation": 0.1}}}}})
        {'*': {'image_size': 96}}
    """
    found = facts.get("recipe_settings", {}).get("data", {}).get("options") or {}
    return {name: {key: value for key, value in own.items() if key != "validation"} for name, own in found.items()}


def random_encoder(recipe: str | Path, overrides: "list[str] | tuple[str, ...]" = ()) -> Encoder:
    """Build the encoder of a recipe with random weights: what a probe is to be compared with.

    Args:
        recipe (`str` or `Path`): a recipe of the library or a YAML file; its `model.pretrained` is not used.
        overrides (`list[str]`, *optional*): `section.key=value`.

    Returns:
        `Encoder`: named `random`, drawn with the seed of the recipe.
    """
    from transformers import set_seed

    from climb_hf.protocols.checkpoints import build_model, build_processor
    from climb_hf.protocols.encoders import as_encoder
    from climb_hf.training.recipes import load_recipe

    settings = load_recipe(recipe, overrides)
    settings = {**settings, "model": {**settings["model"], "pretrained": False}}
    set_seed(settings["training"].get("seed", 42))
    model = build_model(settings, {"vocabulary": ["none"], "source_classes": {}, "source_multi_label": {}})
    facts = {"recipe_settings": settings, "sources": []}
    return as_encoder(model, build_processor(settings, model), name="random", facts=facts)


def _facts(
    encoder: Encoder, settings: ProbeSettings, part: "Dataset", split: str, name: str, synthetic: bool
) -> dict[str, Any]:
    sources = encoder.facts.get("sources")
    seen = None if sources is None else name in sources
    values = settings.as_dict()
    return common_facts(
        "linear_probe",
        part,
        split,
        model=encoder.name,
        seed=settings.seed,
        recipe_hash=recipe_hash(values),
        synthetic=bool(synthetic or encoder.facts.get("synthetic", False)),
        settings={"probe": values, "features": encoder.output, "source_seen": seen},
    )


def _save_head(path: Path, head: LinearHead, source: ScoredSource) -> None:
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {"weight": head.weight.contiguous(), "bias": head.bias.contiguous()}
    save_file(tensors, path, metadata={"source": source.name, "concepts": "\n".join(source.concepts)})
