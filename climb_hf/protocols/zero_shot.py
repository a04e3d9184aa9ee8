"""Zero-shot classification with an image-text encoder, after the Open-PMC-18M protocol."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.errors import OptionError
from climb_hf.mixture import label_schemes
from climb_hf.protocols.data import Sources, data_fingerprint, is_synthetic, load_parts
from climb_hf.protocols.dual_encoder import embed_images, embed_texts, load_dual_encoder
from climb_hf.protocols.image_text import common_facts
from climb_hf.protocols.prompts import TEMPLATE_SETS, class_names, prompts_of, templates_of
from climb_hf.protocols.scoring import with_options
from climb_hf.registry import get_source

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset
    from numpy.typing import NDArray

    from climb_hf.results import ResultRow

__all__ = ["Task", "class_embeddings", "zero_shot"]

#: What the cosines are multiplied with before the softmax, as in the protocol.
LOGIT_SCALE = 100.0


@dataclass(frozen=True)
class Task:
    """What there is to tell apart in one source.

    Args:
        source (`str`): its name.
        concepts (`tuple[str, ...]`): the classes that a record can have, as names in the unified vocabulary.
        names (`tuple[str, ...]`): what they are called in prompts, same order.
        multi_label (`bool`): whether a record may have several classes, or none.
    """

    source: str
    concepts: tuple[str, ...]
    names: tuple[str, ...]
    multi_label: bool

    @classmethod
    def of(cls, name: str, scheme: str, given: Mapping[str, Sequence[str]] | None) -> "Task":
        """The classes of a source; an `OptionError` where it has no pictures or no classes."""
        source = get_source(name)
        vocabulary = source.vocabulary(scheme)
        if source.family != "image" or not vocabulary.classes:
            raise OptionError(
                f"{name}: zero-shot classification needs a source of the family `image` with classes, found "
                f"`{source.family}` with {len(vocabulary.classes)} classes. `climb sources --family image` lists them."
            )
        called = class_names(source, scheme, given)
        triples = zip(vocabulary.classes, vocabulary.concepts, called, strict=True)
        kept = [(concept, text) for value, concept, text in triples if value not in vocabulary.classes_without_values]
        return cls(name, tuple(c for c, _ in kept), tuple(t for _, t in kept), vocabulary.multi_label)


def zero_shot(
    checkpoint: str | Path,
    sources: Sources,
    *,
    split: str = "test",
    output_dir: str | Path | None = None,
    templates: Sequence[str] = TEMPLATE_SETS,
    own_templates: Sequence[str] = (),
    names: Mapping[str, Sequence[str]] | None = None,
    max_length: int | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
    batch_size: int = 64,
    device: str | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    synthetic: bool = False,
    cache_dir: str | Path | None = None,
    num_proc: int | None = None,
) -> "list[ResultRow]":
    """Classify images by the class whose prompts they are nearest to, and score it source by source.

    The embedding of a class is the mean of its normalised prompt embeddings, normalised again; the logit of an image
    is 100 times its cosine with it. Single-label sources: prediction by argmax; macro F1, AUC of the softmax, `top1`,
    and for two classes `f1_positive`, the F1 of the second, too. Multi-label sources: AUC of every class by its
    cosine; all else needs a threshold, which a cosine does not have, and is NaN with that reason. A class without a
    record in the split has no AUC (NaN, counted in `n_defined`, named in the rows `class_auc`); it has an F1, of 0,
    only if a record was called so.

    Args:
        checkpoint (`str` or `Path`): an image-text encoder, see `load_dual_encoder`.
        sources (`Mapping`): folder of the raw data by source name; sources of the family `image` with classes.
        split (`str`, *optional*, defaults to `"test"`): the split to score.
        output_dir (`str` or `Path`, *optional*): where `results.jsonl`, `prompts.json` and the cosines
            (`cosines_<source>.npz`) go.
        templates (`Sequence[str]`, *optional*, defaults to `("openpmc", "domain")`): template sets, each scored.
        own_templates (`Sequence[str]`, *optional*): sentences with `{}`, scored as the set `"own"`.
        names (`Mapping`, *optional*): names of the classes in prompts by source, in place of the library's.
        max_length (`int`, *optional*): tokens kept of a prompt.
        n_bootstrap (`int`, *optional*, defaults to `1000`): bootstrap resamples; 0 for no intervals.
        seed (`int`, *optional*, defaults to `0`): seed of the bootstrap.
        batch_size (`int`, *optional*, defaults to `64`): records per batch.
        device (`str`, *optional*): torch device; by default a GPU if there is one.
        options (`Mapping`, *optional*): options by source name, those under `"*"` for all.
        synthetic (`bool`, *optional*, defaults to `False`): the data is synthetic; the results say so.
        cache_dir (`str` or `Path`, *optional*): where tables are built.
        num_proc (`int`, *optional*): worker processes of each build.

    Returns:
        `list[ResultRow]`: per template set (`settings["templates"]`): per source, modality and over all sources; where
        a source names copies of its records, once more without them.

    Raises:
        AccessError: the checkpoint or the raw data is not there.
        OptionError: a source without pictures or classes, or a template without `{}`.
        VocabularyError: not as many names as classes.
        SchemaError: embeddings that are not finite; the records are named.
    """
    from climb_hf.metrics.ranking import unit_rows
    from climb_hf.protocols.zero_shot_scores import Scored, score_tasks

    schemes = label_schemes(list(sources), options or {})
    tasks = {name: Task.of(name, schemes[name], names) for name in sources}
    sets: dict[str, str | Sequence[str]] = {name: name for name in templates}
    sets |= {"own": own_templates} if own_templates else {}
    prompts = {
        key: {name: prompts_of(templates_of(get_source(name), chosen), task.names) for name, task in tasks.items()}
        for key, chosen in sets.items()
    }
    common = common_facts(checkpoint, "zero_shot", split, synthetic=synthetic or is_synthetic(sources))
    parts = load_parts(sources, split, options or {}, cache_dir=cache_dir, num_proc=num_proc)
    prints = {name: {"data_fingerprint": data_fingerprint(part)} for name, part in parts.items()}
    model, processor = load_dual_encoder(checkpoint, device=device)
    images = {
        name: unit_rows(embed_images(model, processor, part, batch_size=batch_size), f"images of {name}")
        for name, part in parts.items()
        if len(part)
    }
    results: list[ResultRow] = []
    cosines: dict[str, dict[str, NDArray[np.float64]]] = {name: {} for name in images}
    for key, by_source in prompts.items():
        n_cut = 0
        for name in images:
            classes, cut = class_embeddings(model, processor, by_source[name], max_length=max_length)
            cosines[name][key] = images[name].astype("float64") @ classes.T.astype("float64")
            n_cut += cut
        scored = [Scored.of(tasks[name], parts[name], LOGIT_SCALE * cosines[name][key]) for name in images]
        settings = {"templates": key, "n_truncated": n_cut}
        facts = {**common, "settings": settings, "facts_by_source": prints}
        results += score_tasks(scored, facts, n_bootstrap=n_bootstrap, seed=seed)
        results += [_nothing(name, {**common, "settings": settings}) for name in sources if name not in images]
    results = [
        replace(row, settings={**row.settings, **with_options(row.source, options)}) if row.level == "source" else row
        for row in results
    ]
    if output_dir is not None:
        _write(Path(output_dir), results, prompts, cosines, parts)
    return results


def class_embeddings(
    model: Any,  # noqa: ANN401 - any encoder
    processor: Any,  # noqa: ANN401 - any processor
    prompts: Sequence[Sequence[str]],
    *,
    max_length: int | None = None,
) -> "tuple[NDArray[np.float32], int]":
    """Embed classes by their prompts: each prompt normalised, averaged over the prompts, normalised again.

    Args:
        model: an image-text encoder.
        processor: its processor.
        prompts (`Sequence`): the prompts of each class, as many for each.
        max_length (`int`, *optional*): tokens kept of a prompt.

    Returns:
        `tuple`: unit rows, shape `(classes, d)`, float32; and how many prompts were cut.
    """
    from climb_hf.metrics.ranking import unit_rows

    flat = [prompt for own in prompts for prompt in own]
    found, n_cut = embed_texts(model, processor, flat, max_length=max_length, progress=False)
    units = unit_rows(found, "prompts").astype("float64").reshape(len(prompts), len(prompts[0]), -1)
    return unit_rows(units.mean(axis=1), "classes"), n_cut


def _nothing(name: str, facts: Mapping[str, Any]) -> "ResultRow":
    from climb_hf.results import ResultRow

    return ResultRow(**facts, source=name, metric="f1", value=float("nan"), n=0, reason="the split holds no record")


def _write(
    folder: Path,
    results: "Sequence[ResultRow]",
    prompts: Mapping[str, Any],
    cosines: "Mapping[str, Mapping[str, NDArray[np.float64]]]",
    parts: "Mapping[str, Dataset]",
) -> None:
    """Write the numbers, what was said to the text encoder, and the cosines of every record."""
    import numpy as np

    from climb_hf.results import write_results

    write_results(folder / "results.jsonl", results)
    (folder / "prompts.json").write_text(json.dumps(prompts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for name, by_set in cosines.items():
        arrays: dict[str, Any] = {key: values.astype(np.float32) for key, values in by_set.items()}
        np.savez(folder / f"cosines_{name}.npz", ids=np.array(parts[name]["id"], dtype=np.str_), **arrays)
