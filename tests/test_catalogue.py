"""The table of encoders: complete, and every row what it says."""

import importlib
import importlib.util
from pathlib import Path

import pytest
from model_contract import ModelContract

import climb_hf.models
from climb_hf.errors import OptionError
from climb_hf.models.catalogue import MODELS, entry_of
from climb_hf.models.facts import MODEL_FACTS

EXPECTED = {
    "vision", "medvit", "sparcnet", "cnn_transformer", "ffcl", "contrawr", "st_transformer", "biot", "ecg_jepa",
    "units", "ecg_transformer", "graph", "fusion",
}  # fmt: skip


def test_the_encoders_of_the_paper_are_there():
    assert {entry.name for entry in MODELS} == EXPECTED
    assert set(MODEL_FACTS) == EXPECTED


@pytest.mark.parametrize("entry", MODELS, ids=lambda entry: entry.name)
class TestEntry:
    def test_its_classes_belong_together(self, entry):
        config = entry.load("Config")
        assert config.model_type == f"climb_{entry.name}"
        assert entry_of(config.model_type) is entry
        for kind in ("Model", "ForClassification"):
            assert entry.load(kind).config_class is config
        for name, module in entry.public.items():
            assert getattr(climb_hf.models, name) is getattr(importlib.import_module(module), name)
            assert name in climb_hf.models.__all__

    def test_it_has_a_converter(self, entry):
        name = f"climb_hf.models.{entry.name}.convert_{entry.name}"
        if not entry.is_convertible:
            assert importlib.util.find_spec(name) is None
            return
        module = importlib.import_module(name)
        assert callable(module.convert_checkpoint)

    def test_its_processor_is_found_for_its_configuration(self, entry):
        from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING
        from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING
        from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

        mappings = {"image": IMAGE_PROCESSOR_MAPPING, "multimodal": PROCESSOR_MAPPING}
        mapping = mappings.get(entry.inputs, FEATURE_EXTRACTOR_MAPPING)
        found = mapping[entry.load("Config")]
        kinds = found.values() if isinstance(found, dict) else found if isinstance(found, tuple) else (found,)
        assert entry.load("processor") in kinds


@pytest.mark.parametrize("entry", MODELS, ids=lambda entry: entry.name)
def test_the_shared_tests_cover_it(entry):
    """Every encoder stands as a row in a `TestContract` of some test file."""
    covered = set()
    for path in sorted(Path(__file__).parent.glob("test_model_*.py")):
        module = importlib.import_module(path.stem)
        if issubclass(getattr(module, "TestContract", object), ModelContract):
            covered |= {case.classifier for case in module.CASES}
    assert entry.load("ForClassification") in covered


def test_an_unknown_type_names_those_there_are():
    with pytest.raises(OptionError, match="climb_biot"):
        entry_of("climb_bert")
