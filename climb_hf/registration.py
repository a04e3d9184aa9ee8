"""The hooks into other libraries: the only place that touches their internals.

`datasets` 4 and later have no loading scripts, so `load_dataset("climb", NAME)` works by wrapping
`dataset_module_factory` in the two modules that look it up at call time. `transformers` gets our models through its
public `register` functions. Both wait until the library is imported by somebody, so `import climb_hf` stays light and
imports neither of them.
"""

import functools
import hashlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from climb_hf._version import __version__
from climb_hf.errors import DependencyError

__all__ = ["install_hooks", "module_hash"]

_PATH = "climb"
_FACTORY = "dataset_module_factory"

#: Feature extractors that are found by the name in a `preprocessor_config.json`, with or without a model of theirs.
_FEATURE_EXTRACTORS = (
    "climb_hf.processing.ecg_extractor:EcgFeatureExtractor",
    "climb_hf.processing.eeg_extractor:EegFeatureExtractor",
    "climb_hf.processing.graph_processor:ClimbGraphProcessor",
    "climb_hf.processing.imu_extractor:ImuFeatureExtractor",
)


def module_hash() -> str:
    """Digest what the built tables depend on beside the source: our version, schema and vocabulary."""
    from climb_hf import builder, schema, vocabulary

    digest = hashlib.sha256(f"{__version__}\0{vocabulary.digest()}".encode())
    for module in (builder, schema):
        digest.update(inspect.getsource(module).encode())
    return digest.hexdigest()[:32]


def _climb_module(load: ModuleType) -> Any:  # noqa: ANN401 - a private class of datasets
    return load.DatasetModule(
        module_path="climb_hf.builder",
        hash=module_hash(),
        builder_kwargs={"base_path": None, "dataset_name": _PATH},
    )


def _refuse_climb(module: ModuleType) -> None:
    """Make the public loaders say what to do, where the private function they call is gone."""

    def guard(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def guarded(path: str, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - mirrors the original
            if path == _PATH:
                raise DependencyError(
                    f"this release of datasets has no `{module.__name__}.{_FACTORY}`, which `load_dataset('climb', "
                    "...)` needs. Use `climb_hf.load_dataset(NAME, ...)` instead, or install datasets 5.2."
                )
            return original(path, *args, **kwargs)

        return guarded

    for name in ("load_dataset", "load_dataset_builder"):
        if hasattr(module, name):
            setattr(module, name, guard(getattr(module, name)))


def hook_datasets(module: ModuleType) -> None:
    """Wrap `dataset_module_factory` in `datasets.load` or `datasets.inspect` so that the path "climb" is ours.

    Any other path goes to the original untouched. Calling it twice changes nothing. Where a release of `datasets` has
    moved the private function, the path "climb" gets a `DependencyError` that names the way round.

    Args:
        module (`ModuleType`): `datasets.load` or `datasets.inspect`.
    """
    original: Callable[..., Any] | None = getattr(module, _FACTORY, None)
    if getattr(original, "_climb", False):
        return
    load = sys.modules.get("datasets.load", module)
    if original is None or not hasattr(load, "DatasetModule"):
        _refuse_climb(module)
        return

    @functools.wraps(original)
    def factory(path: str, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - mirrors the original
        if path == _PATH:
            return _climb_module(load)
        return original(path, *args, **kwargs)

    factory._climb = True  # type: ignore[attr-defined]
    setattr(module, _FACTORY, factory)


def hook_push(module: ModuleType) -> None:
    """Put the guard of licences before `push_to_hub` of the dataset classes that a module of `datasets` defines.

    `to_iterable_dataset` is made to keep the description, in which the origin of the rows stands.

    Args:
        module (`ModuleType`): `datasets.arrow_dataset`, `datasets.iterable_dataset` or `datasets.dataset_dict`.
    """
    from climb_hf.hub.guard import carrying, guarded

    for kind in list(vars(module).values()):
        is_own = isinstance(kind, type) and kind.__module__ == module.__name__
        if is_own and "push_to_hub" in vars(kind):
            kind.push_to_hub = guarded(vars(kind)["push_to_hub"])
        if is_own and "to_iterable_dataset" in vars(kind):
            kind.to_iterable_dataset = carrying(vars(kind)["to_iterable_dataset"])


def register_configs(module: ModuleType) -> None:
    """Register our configurations with `transformers.AutoConfig` (needs no torch)."""
    from climb_hf.models.catalogue import MODELS

    for entry in MODELS:
        config = entry.load("Config")
        module.AutoConfig.register(config.model_type, config, exist_ok=True)


def register_models(module: ModuleType) -> None:
    """Register our models with the Auto classes of `transformers`; none is imported before it is asked for."""
    from climb_hf._deferred import register_later
    from climb_hf.models.catalogue import MODELS

    pictures = (module.AutoModelForImageClassification, module.AutoModelForVideoClassification)
    for entry in MODELS:
        config = entry.load("Config")
        register_later(module.AutoModel, config, entry.model_module, f"{entry.stem}Model")
        for auto in pictures if entry.inputs == "image" else ():
            register_later(auto, config, entry.model_module, f"{entry.stem}ForClassification")


def register_image_processors(module: ModuleType) -> None:
    """Register our image processor with `transformers.AutoImageProcessor`."""
    from climb_hf.models.catalogue import MODELS

    register = module.AutoImageProcessor.register
    for entry in MODELS:
        if entry.inputs != "image":
            continue
        config, processor = entry.load("Config"), entry.load("processor")
        if "image_processor_classes" in inspect.signature(register).parameters:
            # one class serves both backends, so that neither falls back to the other with a warning
            register(config, image_processor_classes=dict.fromkeys(("torchvision", "pil"), processor), exist_ok=True)
        else:  # releases before the choice of backends
            register(config, processor, exist_ok=True)


def register_feature_extractors(module: ModuleType) -> None:
    """Register our feature extractors of signals and graphs with `transformers.AutoFeatureExtractor`.

    Each is registered for its models' configurations, so that `AutoFeatureExtractor` finds it for a checkpoint without
    a file of its own, and under its own class, so that its name in a `preprocessor_config.json` is found at any time.
    """
    from climb_hf.models.catalogue import MODELS

    register = module.AutoFeatureExtractor.register
    for path in _FEATURE_EXTRACTORS:
        package, _, name = path.partition(":")
        kind = getattr(importlib.import_module(package), name)
        register(kind, kind, exist_ok=True)
    for entry in MODELS:
        if entry.inputs not in ("image", "multimodal"):
            register(entry.load("Config"), entry.load("processor"), exist_ok=True)


def register_processors(module: ModuleType) -> None:
    """Register our processors of several modalities with `transformers.AutoProcessor`."""
    from climb_hf._deferred import register_promise
    from climb_hf.models.catalogue import MODELS

    for entry in MODELS:
        if entry.inputs == "multimodal":
            register_promise(module.PROCESSOR_MAPPING, entry.load("Config"), *entry.processor.split(":"))


def register_pipeline(module: ModuleType) -> None:
    """Register `pipeline("climb-classification", model=…)` with `transformers`."""
    if "climb-classification" in module.PIPELINE_REGISTRY.supported_tasks:
        return
    ours = importlib.import_module("climb_hf.models.pipeline")
    if not hasattr(ours, "ClimbClassificationPipeline"):
        return  # our module is being imported, which is why transformers' is: it registers itself at its end
    from climb_hf.models.auto import AutoModelForClimbClassification

    module.PIPELINE_REGISTRY.register_pipeline(
        "climb-classification", ours.ClimbClassificationPipeline, pt_model=AutoModelForClimbClassification
    )


def hook_pillow(module: ModuleType) -> None:
    """Let Pillow open DICOM files, which is how `datasets` decodes them; importing the reader registers it."""
    importlib.import_module("climb_hf.readers.dicom")


#: What to do once a module of another library has been imported.
_AFTER_IMPORT: dict[str, Callable[[ModuleType], None]] = {
    "datasets.load": hook_datasets,
    "datasets.inspect": hook_datasets,
    "datasets.arrow_dataset": hook_push,
    "datasets.iterable_dataset": hook_push,
    "datasets.dataset_dict": hook_push,
    "PIL.Image": hook_pillow,
    "transformers.pipelines": register_pipeline,
    "transformers.models.auto.configuration_auto": register_configs,
    "transformers.models.auto.modeling_auto": register_models,
    "transformers.models.auto.image_processing_auto": register_image_processors,
    "transformers.models.auto.feature_extraction_auto": register_feature_extractors,
    "transformers.models.auto.processing_auto": register_processors,
}


class _AfterImportLoader(importlib.abc.Loader):
    """Runs a module's own loader, then our registration for it."""

    def __init__(self, loader: Any, action: Callable[[ModuleType], None]) -> None:  # noqa: ANN401
        self._loader, self._action = loader, action

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._action(module)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - get_source, get_filename and so on
        return getattr(self._loader, name)


class _AfterImportFinder(importlib.abc.MetaPathFinder):
    """Finds nothing itself; wraps the loader of the modules we wait for."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        action = _AFTER_IMPORT.get(name)
        if action is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _AfterImportLoader(spec.loader, action)
        return spec


def install_hooks() -> None:
    """Register with the libraries that are imported already, and with the others once they are. Idempotent."""
    for name, action in _AFTER_IMPORT.items():
        if name in sys.modules:
            action(sys.modules[name])
    if not any(isinstance(finder, _AfterImportFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterImportFinder())
