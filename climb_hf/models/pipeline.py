"""`transformers.pipeline("climb-classification", model=…)`: one raw example in, named probabilities out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers.pipelines
from torch.utils.data import DataLoader
from transformers import Pipeline
from transformers.pipelines.pt_utils import PipelineDataset, PipelineIterator

from climb_hf.errors import OptionError, SchemaError
from climb_hf.processing.batching import RowBatcher
from climb_hf.registration import register_pipeline

__all__ = ["ClimbClassificationPipeline"]


class ClimbClassificationPipeline(Pipeline):
    """Predicts with any classifier of ours from pictures, videos, volumes, ECG, EEG or graphs.

    An input is a row of one of our datasets (a dictionary), or alone: a picture (PIL, array, path), a sequence of
    pictures given as `{"frames": […]}`, or a signal (time, channels) with `sampling_rate=`. A list of inputs gives a
    list of answers; `batch_size=` batches them, `num_workers=` prepares them in parallel.

    Args:
        *args: as `transformers.Pipeline`.
        **kwargs: as `transformers.Pipeline`; `source`, `top_k` and `sampling_rate` become defaults of the calls.

    Raises:
        OptionError: the checkpoint has no processor, or no single source to name the classes.

    Example:
        >>> import numpy as np
        >>> from climb_hf.models import EcgJepaConfig, EcgJepaForClassification
        >>> from climb_hf.processing import EcgFeatureExtractor
        >>> sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        >>> model = EcgJepaForClassification(EcgJepaConfig(**sizes, vocabulary=["normal", "infarction"]))
        >>> predict = ClimbClassificationPipeline(model, feature_extractor=EcgFeatureExtractor.preset("ecg_jepa"))
        >>> answer = predict(np.zeros((5000, 12), np.float32), sampling_rate=500)
        >>> sorted(entry["label"] for entry in answer)
        ['infarction', 'normal']
    """

    _load_processor = False  # type: ignore[assignment]
    _load_image_processor = None
    _load_video_processor = False  # type: ignore[assignment]
    _load_feature_extractor = None
    _load_tokenizer = False  # type: ignore[assignment]

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as in the base class
        super().__init__(*args, **kwargs)
        wants_pictures = self.model.main_input_name == "pixel_values"
        processor = self.image_processor if wants_pictures else self.feature_extractor
        if processor is None:
            raise OptionError(
                "the checkpoint has no processor beside it, so raw examples cannot be prepared. Pass "
                f"`{'image_processor' if wants_pictures else 'feature_extractor'}=`, or save one beside the model."
            )
        self._batcher = RowBatcher(processor)

    def _sanitize_parameters(
        self,
        source: str | None = None,
        top_k: int | None = None,
        sampling_rate: float | None = None,
        **kwargs: Any,  # noqa: ANN401 - as in the base class
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if kwargs:
            raise OptionError(f"unknown options {sorted(kwargs)}; a call takes `source`, `top_k` and `sampling_rate`.")
        before = {} if sampling_rate is None else {"sampling_rate": sampling_rate}
        after = {"source": source, "top_k": top_k}
        return before, {}, {name: value for name, value in after.items() if value is not None}

    def preprocess(  # type: ignore[override]
        self,
        input_: Any,  # noqa: ANN401 - see the class
        sampling_rate: float | None = None,
    ) -> dict[str, Any]:
        """Make an input a row; see the class for what an input is."""
        if not isinstance(input_, Mapping):
            input_ = {"signal": input_} if self._batcher.kind == "signal" else {"image": input_}
        row = dict(input_)
        if sampling_rate is not None:
            row["sampling_rate"] = sampling_rate
        if self._batcher.kind == "signal" and row.get("signal") is None:
            raise SchemaError(f"expected a `signal`, found the keys {sorted(row)}.")
        if self._batcher.kind == "signal" and row.get("sampling_rate") is None:
            raise SchemaError(
                "the sampling rate of the signal is not known, and none is assumed. Pass `sampling_rate=` in Hz, or a "
                "row with that key."
            )
        if self._batcher.kind == "picture" and not _is_set(row.get("frames")):
            row["image"] = _opened(row.get("image"))
        return row

    def _forward(self, model_inputs: dict[str, Any]) -> dict[str, torch.Tensor]:  # type: ignore[override]
        return {"logits": self.model(**model_inputs).logits}

    def postprocess(  # type: ignore[override]
        self, model_outputs: dict[str, torch.Tensor], source: str | None = None, top_k: int | None = None
    ) -> list[dict[str, Any]]:
        """Return the classes with their probabilities, the likeliest first.

        Args:
            model_outputs (`dict`): `logits` of one input.
            source (`str`, *optional*): the source whose classes are scored; needed where the checkpoint has several.
            top_k (`int`, *optional*): only so many classes.

        Returns:
            `list[dict]`: `label` (concept) and `score` (probability in [0, 1]).

        Raises:
            OptionError: the checkpoint has several sources and `source` was not given.
        """
        logits = model_outputs["logits"].reshape(-1, model_outputs["logits"].shape[-1])
        config: Any = self.model.config
        if len(logits) != 1:
            raise OptionError("this model scores nodes, not graphs; call the model itself.")
        if source is None and len(config.source_classes) > 1:
            known = ", ".join(sorted(config.source_classes))
            raise OptionError(f"the checkpoint knows several sources; pass `source=`, one of {known}.")
        source = source or next(iter(config.source_classes), None)
        model: Any = self.model
        if source is None:  # a checkpoint with concepts but no sources: each concept for itself
            names, scores = config.vocabulary, logits[0].float().sigmoid()
        else:
            scores = model.masked_probabilities(logits[0], source)
            names = config.source_classes[source]
        answer = [{"label": name, "score": score} for name, score in zip(names, scores.tolist(), strict=True)]
        return sorted(answer, key=lambda entry: -entry["score"])[:top_k]

    def run_single(
        self,
        inputs: Any,  # noqa: ANN401 - see the class
        preprocess_params: dict,
        forward_params: dict,
        postprocess_params: dict,
    ) -> list[dict[str, Any]]:
        """Predict one input."""
        row = self.preprocess(inputs, **preprocess_params)
        return self.postprocess(self.forward(self._batcher([row]), **forward_params), **postprocess_params)

    def get_iterator(
        self,
        inputs: Any,  # noqa: ANN401 - as in the base class
        num_workers: int,
        batch_size: int,
        preprocess_params: dict,
        forward_params: dict,
        postprocess_params: dict,
    ) -> PipelineIterator:
        """Predict many inputs; rows are batched as in training, not padded key by key."""
        is_sized = isinstance(inputs, Sequence) or hasattr(inputs, "__len__")
        rows: Any = (PipelineDataset if is_sized else PipelineIterator)(inputs, self.preprocess, preprocess_params)
        batches: Any = DataLoader(rows, num_workers=num_workers, batch_size=batch_size, collate_fn=self._batcher)
        outputs = PipelineIterator(batches, self.forward, forward_params, loader_batch_size=batch_size)
        return PipelineIterator(outputs, self.postprocess, postprocess_params)


def _is_set(value: Any) -> bool:  # noqa: ANN401 - a list or array
    return value is not None and len(value) > 0


def _opened(picture: Any) -> Any:  # noqa: ANN401 - whatever a user has
    """Return a picture that the processor reads: paths are opened, arrays pass."""
    from PIL import Image

    if picture is None:
        raise SchemaError("expected a picture, or a row with `image` or `frames`.")
    if isinstance(picture, str | Path):
        import climb_hf.readers.dicom  # noqa: F401 - lets Pillow open DICOM

        with Image.open(picture) as image:
            return image.convert("RGB")
    if isinstance(picture, np.ndarray | torch.Tensor | Image.Image | Mapping):
        return picture
    raise SchemaError(f"expected a picture (PIL, array or path), found {type(picture).__name__}.")


register_pipeline(transformers.pipelines)
