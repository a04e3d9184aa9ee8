"""Few-shot transfer to a source that a model has not seen (CLIMB paper, RQ2): k per class, several seeds, a curve.

Every run draws its sample and its new weights with its own seed and scores the same held-out split; a second model
(or random weights) gets the same samples, so the difference is paired. What would make the numbers wrong is refused:
a source, a register of patients or records that the checkpoint was trained on, and patients of the scored split among
the samples. Nothing is chosen on the scored split: the last step is what is scored.
"""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.errors import OptionError, SplitError
from climb_hf.mixture import combine, label_schemes
from climb_hf.protocols.adapting import METHODS, AdaptSettings, Method, adapt
from climb_hf.protocols.aggregating import aggregate_seeds
from climb_hf.protocols.checkpoints import architecture_name, check_classes, check_inputs
from climb_hf.protocols.contamination import look_for_contamination
from climb_hf.protocols.data import is_synthetic, load_parts, model_classes
from climb_hf.protocols.few_shot import FewShot, few_shot, without_groups
from climb_hf.protocols.linear_probe import data_options
from climb_hf.protocols.scoring import ScoredSource, common_facts, duplicates_of, score_source
from climb_hf.protocols.starts import RANDOM, Start, TargetClasses, checkpoint_start, random_start
from climb_hf.provenance import recipe_hash

if TYPE_CHECKING:
    from datasets import Dataset

    from climb_hf.results import ResultRow

__all__ = ["FULL", "SHOTS", "transfer"]

logger = logging.getLogger(__name__)

FULL = "full"
SHOTS: tuple[int | str, ...] = (1, 8, 32, FULL)


def transfer(
    model: str | Path,
    to: str,
    data_dir: str | Path | None = None,
    *,
    shots: Sequence[int | str] = SHOTS,
    seeds: int | Sequence[int] = 5,
    method: Method = "full",
    against: str | Path | None = None,
    recipe: str | Path | None = None,
    overrides: Sequence[str] = (),
    settings: AdaptSettings | None = None,
    split: str = "test",
    options: Mapping[str, Mapping[str, Any]] | None = None,
    trained_data: Mapping[str, str | Path | None] | None = None,
    allow_seen: bool = False,
    output_dir: str | Path | None = None,
    n_bootstrap: int = 1000,
    feature_cache: str | Path | None = None,
    cache_dir: str | Path | None = None,
    num_proc: int | None = None,
    synthetic: bool = False,
) -> "list[ResultRow]":
    """Adapt a model to a new source with k examples per class, for several k and seeds.

    Args:
        model (`str` or `Path`): a checkpoint of ours, a bare encoder of `climb pretrain`, or `"random"` with a recipe.
        to (`str`): the source.
        data_dir (`str` or `Path`, *optional*): its raw data; defaults to `$CLIMB_DATA/NAME`.
        shots (`Sequence[int | str]`, *optional*, defaults to `(1, 8, 32, "full")`): examples per class.
        seeds (`int` or `Sequence[int]`, *optional*, defaults to `5`): how many seeds (0, 1, …), or which.
        method (`str`, *optional*, defaults to `"full"`): `"full"` fine-tuning, `"linear"` layer on frozen features, or
            `"lora"`.
        against (`str` or `Path`, *optional*): a second checkpoint, or `"random"`: the same architecture untrained.
        recipe (`str` or `Path`, *optional*): architecture of `model="random"`.
        overrides (`Sequence[str]`, *optional*): `section.key=value` for the recipe.
        settings (`AdaptSettings`, *optional*): hyperparameters.
        split (`str`, *optional*, defaults to `"test"`): the split that is scored.
        options (`Mapping`, *optional*): options of the data by source; by default those the checkpoint was trained
            with, without its validation part.
        trained_data (`Mapping`, *optional*): raw data of training sources by name, to look for shared records; of a
            checkpoint that does not say what it was trained on, all that it is compared with.
        allow_seen (`bool`, *optional*, defaults to `False`): go on although the source is not new to the checkpoint.
        output_dir (`str` or `Path`, *optional*): where `results.jsonl`, the figures and `report.html` go.
        n_bootstrap (`int`, *optional*, defaults to `1000`): resamples of the interval of each run; 0 for none.
        feature_cache (`str` or `Path`, *optional*): where features of `linear` are kept.
        cache_dir (`str` or `Path`, *optional*): where tables are built.
        num_proc (`int`, *optional*): worker processes of the build.
        synthetic (`bool`, *optional*, defaults to `False`): the data is synthetic; the results say so.

    Returns:
        `list[ResultRow]`: a row per metric, model, k and seed (interval: patients of the scored split), then means
        over seeds (`settings["aggregate"]`; interval: Student's t over seeds), and with `against` the paired
        differences (`<metric>_difference`). `settings` holds k, method, the sample, and the concepts that were known
        before (V_ood ∩ V).

    Raises:
        OptionError: the source is not new to a checkpoint, or an option out of range.
        SplitError: the source lacks a split, or no patient is left to learn from.
    """
    from climb_hf.results import write_results

    settings = settings or AdaptSettings()
    ks, numbers = _check(shots, seeds, method)
    check_classes([to])
    starts = _starts(model, against, recipe, overrides)
    options = data_options(starts[0].facts) if options is None else options
    for start in starts:
        check_inputs(start.entry, start.processor, [to])
    _check_trained(starts, trained_data or {})
    audit = None if cache_dir is None else Path(cache_dir) / "climb_audit"
    look: dict[str, Any] = {"target_dir": data_dir, "options": options, "allow_seen": allow_seen, "cache_dir": audit}
    seen = {start.name: _seen(start, to, trained_data or {}, look) for start in starts}
    given: dict[str, Any] = {"cache_dir": cache_dir, "num_proc": num_proc}
    train, test = (load_parts({to: data_dir}, part, options, **given)[to] for part in ("train", split))
    run = _Transfer(to, train, test, method, settings, options, n_bootstrap, feature_cache)
    made_up = synthetic or is_synthetic({to: data_dir}) or any(start.facts.get("synthetic") for start in starts)
    common = {"synthetic": bool(made_up)}
    results: list[ResultRow] = []
    for found in run.rows(starts, ks, numbers, seen, {"split": split, **common}):
        results += found
        if output_dir is not None:  # a run that is stopped keeps what it has measured
            write_results(Path(output_dir) / "results.jsonl", results)
    results += aggregate_seeds(results, (starts[0].name, starts[1].name) if len(starts) > 1 else None)
    if output_dir is not None:
        from climb_hf.report.transfer import write_transfer_report

        write_results(Path(output_dir) / "results.jsonl", results)
        write_transfer_report(output_dir, results)
    return results


def _check(shots: Sequence[int | str], seeds: int | Sequence[int], method: str) -> tuple[list[int | None], list[int]]:
    if method not in METHODS:
        raise OptionError(f"`method` must be one of {', '.join(METHODS)}, found {method!r}.")
    numbers = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not numbers or min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise OptionError(f"`seeds` must be a count from 1 on or different numbers from 0 on, found {seeds!r}.")
    ks: list[int | None] = []
    for shot in shots:
        if shot != FULL and not str(shot).isdecimal():
            raise OptionError(f"`shots` must be numbers of examples per class or `full`, found {shot!r}.")
        ks.append(None if shot == FULL else int(shot))
    if not ks or 0 in ks or len(set(ks)) < len(ks):
        raise OptionError(f"`shots` must be different numbers from 1 on, or `full`, found {list(shots)!r}.")
    return ks, numbers


def _starts(
    model: str | Path, against: str | Path | None, recipe: str | Path | None, overrides: Sequence[str]
) -> list[Start]:
    first = random_start(recipe=recipe, overrides=overrides) if model == RANDOM else checkpoint_start(model)
    if against is None:
        return [first]
    if against == RANDOM and first.is_random:
        raise OptionError("both models are `random`; name a checkpoint for one of them.")
    second = random_start(first) if against == RANDOM else checkpoint_start(against)
    if second.name == first.name:
        raise OptionError(f"both models are called `{first.name}`; rename the folder of one of them.")
    return [first, second]


def _check_trained(starts: Sequence[Start], raw: Mapping[str, str | Path | None]) -> None:
    """Refuse raw data that no checkpoint would be compared with."""
    if any(start.trained_on is None for start in starts):
        return
    known = sorted({name for start in starts for name in start.trained_on or ()})
    if strangers := sorted(set(raw) - set(known)):
        raise OptionError(
            f"raw data of training sources is given of {', '.join(strangers)}, but the checkpoint was trained on "
            f"{', '.join(known) or 'none'}."
        )


def _seen(
    start: Start, to: str, raw: Mapping[str, str | Path | None], options: Mapping[str, Any]
) -> dict[str, list[str]]:
    """What a checkpoint has seen of a source; where its training is unknown, by what the caller names."""
    if start.trained_on is None:
        logger.warning(
            "`%s` does not say what it was trained on, so only the sources that `--trained NAME=DIR` names are "
            "compared with `%s`", start.name, to,
        )  # fmt: skip
        if not raw:
            return {"reasons": [], "checked": []}
    trained_on = tuple(raw) if start.trained_on is None else start.trained_on
    own = {name: folder for name, folder in raw.items() if name in trained_on}
    return look_for_contamination(to, trained_on, raw=own, **options).as_dict()


class _Transfer:
    """The runs of one source: what they share is loaded once."""

    def __init__(
        self,
        to: str,
        train: "Dataset",
        test: "Dataset",
        method: Method,
        settings: AdaptSettings,
        options: Mapping[str, Mapping[str, Any]],
        n_bootstrap: int,
        feature_cache: str | Path | None,
    ) -> None:
        self.to, self.method, self.settings, self.options = to, method, settings, options
        self.n_bootstrap, self.feature_cache = n_bootstrap, feature_cache
        kept = without_groups(train["group"], test["group"])
        if not kept or not len(test):
            raise SplitError(f"{to}: no patient is left to learn from, or no record to score; choose another split.")
        self.n_shared = len(train) - len(kept)
        self.train, self.test = (train if not self.n_shared else train.select(kept)), test
        names = train.features["labels"].feature.names
        self.labels, self.uncertain = (
            [[names[label] for label in own or []] for own in self.train[column]] for column in ("labels", "uncertain")
        )
        self.ids, self.groups = list(self.train["id"]), list(self.train["group"])
        self.duplicates = duplicates_of(test)

    def rows(
        self,
        starts: Sequence[Start],
        ks: Sequence[int | None],
        seeds: Sequence[int],
        seen: Mapping[str, Any],
        facts: Mapping[str, Any],
    ) -> "Iterator[list[ResultRow]]":
        """Yield the result rows of every run."""
        from tqdm.auto import tqdm

        common = common_facts("transfer", self.test, **facts)
        runs = [(k, seed, start) for k in ks for seed in seeds for start in starts]
        samples: dict[tuple[int | None, int], FewShot] = {}
        for k, seed, start in tqdm(runs, desc=f"transfer to {self.to}", unit="run", dynamic_ncols=True):
            if (k, seed) not in samples:
                samples[k, seed] = self._sample(k, seed)
            yield self._one(start, k, seed, samples[k, seed], seen[start.name], common)

    def _sample(self, k: int | None, seed: int) -> FewShot:
        classes = model_classes([self.to], self.options)
        return few_shot(
            self.labels, self.groups, self.ids, k, classes=classes["source_classes"][self.to],
            multi_label=classes["source_multi_label"][self.to], uncertain=self.uncertain, seed=seed,
        )  # fmt: skip

    def _one(
        self,
        start: Start,
        k: int | None,
        seed: int,
        sample: FewShot,
        seen: Mapping[str, Any],
        common: Mapping[str, Any],
    ) -> "list[ResultRow]":
        from climb_hf.results import ResultRow

        target, data = self._target(start)
        known = sorted(set(target.concepts) & start.known_concepts)
        hyperparameters = self.settings.as_dict(self.method)
        details = {
            "k": FULL if k is None else k,
            "method": self.method,
            "architecture": architecture_name(start.config),
            "start": RANDOM if start.is_random else "checkpoint",
            "n_train": len(sample.positions),
            "shots": sample.counts,
            "short_classes": sample.short,
            "n_train_left_out_shared_patients": self.n_shared,
            "known_concepts": known,
            "n_concepts": len(target.concepts),
            "trained_on": None if start.trained_on is None else list(start.trained_on),
            "contamination": seen,
            **hyperparameters,
        }
        facts = {**common, "model": start.name, "seed": seed, "settings": details,
                 "recipe_hash": recipe_hash({"method": self.method, **hyperparameters})}  # fmt: skip
        if not sample.positions:
            return [ResultRow(**facts, source=self.to, metric="auc", value=math.nan, n=len(self.test),
                              reason="no example to learn from")]  # fmt: skip
        rows, vocabulary = adapt(
            start, target, data, sample.positions, self.method, seed, self.settings, feature_cache=self.feature_cache
        )
        source = ScoredSource(self.to, target.concepts, target.multi_label, self.duplicates)
        return score_source(
            rows, source, vocabulary, scoring={"n_bootstrap": self.n_bootstrap, "seed": 0}, facts=facts
        )

    def _target(self, start: Start) -> "tuple[TargetClasses, tuple[Dataset, Dataset]]":
        """Return the classes and the data in the names of a checkpoint's outputs."""
        vocabulary = start.facts.get("recipe_settings", {}).get("data", {}).get("vocabulary", "concepts")
        if start.is_random or self.method == "linear":
            vocabulary = "concepts"
        classes = model_classes([self.to], self.options, vocabulary)
        target = TargetClasses(self.to, classes["source_classes"][self.to], classes["source_multi_label"][self.to])
        if vocabulary == "concepts":
            return target, (self.train, self.test)
        of = label_schemes([self.to], self.options)
        return target, (
            combine([self.train], vocabulary=vocabulary, of=of),
            combine([self.test], vocabulary=vocabulary, of=of),
        )
