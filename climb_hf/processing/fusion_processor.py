"""From rows with a picture, a signal and a text, any of them absent, to the input of the fusion model."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from transformers import BatchFeature, ProcessorMixin
from transformers.utils import PROCESSOR_NAME, cached_file

from climb_hf.errors import AccessError, CorruptFileError, OptionError, SchemaError
from climb_hf.processing.batching import RowBatcher

__all__ = ["ClimbFusionProcessor"]

#: Modality -> name of the part that prepares it.
_PARTS = {"image": "image_processor", "signal": "feature_extractor", "text": "tokenizer"}


class ClimbFusionProcessor(ProcessorMixin):
    """Prepares examples of several modalities for `ClimbFusionModel`.

    A modality is absent where its column is missing or null, the signal has no samples (the `(0, C)` array of our
    datasets) or nothing but NaN, the frames are an empty list, or the text is blank. Nothing of an absent modality
    reaches the model; `modality_mask` says what is there.

    Args:
        image_processor (`BaseImageProcessor`, *optional*): of the picture encoder, such as `ClimbImageProcessor`.
        feature_extractor (`FeatureExtractionMixin`, *optional*): of the signal encoder, such as `EcgFeatureExtractor`.
        tokenizer (`PreTrainedTokenizerBase`, *optional*): of the text encoder.
        max_length (`int`, *optional*, defaults to `512`): tokens of a text; longer ones are cut.

    Raises:
        OptionError: no part is given, or `max_length` below 1.

    Example:
        >>> import numpy as np
        >>> from climb_hf.processing import ClimbImageProcessor, EcgFeatureExtractor
        >>> processor = ClimbFusionProcessor(ClimbImageProcessor(size=32), EcgFeatureExtractor.preset("ecg_jepa"))
        >>> picture, ecg = np.zeros((48, 64, 3), np.uint8), np.ones((5000, 12), np.float32)
        >>> nothing = np.zeros((0, 12), np.float32)
        >>> rows = [{"image": picture, "signal": nothing}, {"image": None, "signal": ecg, "sampling_rate": 500.0}]
        >>> batch = processor(rows)
        >>> batch["modality_mask"].tolist(), tuple(batch["pixel_values"].shape), tuple(batch["signal"].shape)
        ([[True, False], [False, True]], (2, 3, 32, 32), (2, 8, 2500))
    """

    def __init__(
        self,
        image_processor: Any = None,  # noqa: ANN401 - any image processor
        feature_extractor: Any = None,  # noqa: ANN401 - any feature extractor
        tokenizer: Any = None,  # noqa: ANN401 - any tokenizer
        max_length: int = 512,
    ) -> None:
        if max_length < 1:
            raise OptionError(f"`max_length` must be at least 1, but is {max_length!r}.")
        self.image_processor, self.feature_extractor, self.tokenizer = image_processor, feature_extractor, tokenizer
        self.max_length = max_length
        self.chat_template = None
        self.modalities = [name for name, part in _PARTS.items() if getattr(self, part) is not None]
        if not self.modalities:
            raise OptionError(f"a fusion processor needs at least one of {', '.join(_PARTS.values())}, but got none.")

    @property
    def model_input_names(self) -> list[str]:
        """Names of the inputs that a batch may hold."""
        own = {
            "image": ["pixel_values", "frame_mask"],
            "signal": ["signal", "channel_mask"],
            "text": ["input_ids", "attention_mask"],
        }
        return ["modality_mask", *(key for name in self.modalities for key in own[name])]

    def present(self, row: Mapping[str, Any]) -> list[bool]:
        """Tell which modalities a row has.

        Args:
            row (`Mapping`): a row of a dataset; only the columns of `modalities` are looked at.

        Returns:
            `list[bool]`: one for each of `modalities`.
        """
        return [_PRESENT[name](row) for name in self.modalities]

    def __call__(self, rows: Any, *, return_tensors: str = "pt") -> BatchFeature:  # noqa: ANN401
        """Prepare a batch.

        Args:
            rows: a row of a dataset (a dictionary with some of `image` or `frames`, `signal` and `sampling_rate`,
                `text`), or a list of rows.
            return_tensors (`str`, *optional*, defaults to `"pt"`): `"pt"` is the only one.

        Returns:
            `BatchFeature`: `modality_mask` (batch, modalities) bool, in the order of `modalities`; for every modality
            that a row of the batch has, its content and mask: `pixel_values` with `frame_mask` where there are frames,
            `signal` with `channel_mask`, `input_ids` with `attention_mask` (int64, padded to the longest text). Rows
            of absent content are 0.

        Raises:
            SchemaError: a row without any of the modalities; the records are named. Or content that does not fit.
            CorruptFileError: a picture that cannot be decoded.
            OptionError: other `return_tensors`.
        """
        if return_tensors != "pt":
            raise OptionError(f"`return_tensors` must be `pt`, but is {return_tensors!r}.")
        return BatchFeature(data=self.model_inputs([rows] if isinstance(rows, Mapping) else list(rows)))

    def model_inputs(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Prepare a batch of rows; what `RowBatcher` and with it training, evaluation and pipeline call."""
        if not rows:
            raise SchemaError("no row was given; pass at least one.")
        found = [self.present(row) for row in rows]
        if empty := [position for position, own in enumerate(found) if not any(own)]:
            raise SchemaError(
                f"{self.name_records(rows, empty)}: none of {', '.join(self.modalities)} is present, so there is "
                "nothing to predict from. Leave such records out (`climb fuse --skip-empty` does, and counts them)."
            )
        batch = {"modality_mask": torch.tensor(found, dtype=torch.bool)}
        for column, name in enumerate(self.modalities):
            own = [position for position, flags in enumerate(found) if flags[column]]
            if own:
                prepared = self._prepare(name, [rows[position] for position in own])
                batch.update({key: _spread(value, own, len(rows)) for key, value in prepared.items()})
        return batch

    @staticmethod
    def name_records(rows: Sequence[Mapping[str, Any]], positions: Sequence[int]) -> str:
        """Name some rows by source and id, at most ten of them.

        Args:
            rows (`Sequence[Mapping]`): the rows.
            positions (`Sequence[int]`): which of them.

        Returns:
            `str`: such as "records `mimic_iv:20000019`, `mimic_iv:20000027` (2 in all)".
        """
        names = [f"`{rows[i].get('source') or '?'}:{rows[i].get('id') or f'row {i}'}`" for i in positions[:10]]
        return f"records {', '.join(names)} ({len(positions)} in all)"

    def _prepare(self, name: str, rows: list[Mapping[str, Any]]) -> dict[str, Tensor]:
        if name != "text":
            return RowBatcher(getattr(self, _PARTS[name]))(rows)
        encoded = self.tokenizer(
            [row["text"] for row in rows],
            padding=True,
            truncation=True,
            max_length=self.max_length,
            return_tensors="pt",
        )
        return {key: encoded[key] for key in ("input_ids", "attention_mask")}

    # ---- files ----

    def to_dict(self) -> dict[str, Any]:
        """Return what `processor_config.json` holds: the parts but the tokenizer, which has files of its own."""
        parts = {
            name: json.loads(getattr(self, name).to_json_string())
            for name in ("image_processor", "feature_extractor")
            if getattr(self, name) is not None
        }
        return {
            "processor_class": type(self).__name__,
            "max_length": self.max_length,
            "has_tokenizer": self.tokenizer is not None,
            **parts,
        }

    def save_pretrained(self, save_directory: Any, push_to_hub: bool = False, **kwargs: Any) -> list[str]:  # noqa: ANN401
        """Save all parts; `from_pretrained` and `AutoProcessor` load them.

        Args:
            save_directory (`str` or `Path`): the folder, made if absent.
            push_to_hub (`bool`, *optional*, defaults to `False`): must stay false; use `push_to_hub(repo_id)`.
            **kwargs: ignored.

        Returns:
            `list[str]`: the files.

        Raises:
            OptionError: `push_to_hub=True`.
        """
        if push_to_hub:
            raise OptionError("`save_pretrained(push_to_hub=True)` is not offered; call `push_to_hub(REPOSITORY)`.")
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / PROCESSOR_NAME
        path.write_text(json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n", encoding="utf-8")
        further = () if self.tokenizer is None else self.tokenizer.save_pretrained(folder)
        return [str(path), *map(str, further)]

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> Self:  # type: ignore[override]  # noqa: ANN401
        """Load what `save_pretrained` or `push_to_hub` wrote.

        Args:
            pretrained_model_name_or_path (`str` or `Path`): folder or Hub repository.
            **kwargs: of the Hub (`revision`, `token`, `cache_dir` …); `max_length` takes precedence over the file's.

        Returns:
            `ClimbFusionProcessor`.

        Raises:
            AccessError: there is no such file.
            CorruptFileError: the file is none of ours.
        """
        from transformers import AutoTokenizer

        place = str(pretrained_model_name_or_path)
        asked = {key: kwargs[key] for key in ("revision", "token", "cache_dir", "local_files_only") if key in kwargs}
        try:
            file = cached_file(place, PROCESSOR_NAME, **asked)
        except OSError as error:
            raise AccessError(f"`{place}` has no `{PROCESSOR_NAME}` of a fusion processor: {error}") from error
        content = json.loads(Path(str(file)).read_text(encoding="utf-8"))
        if content.get("processor_class") != cls.__name__:
            raise CorruptFileError(
                f"`{file}` is of a {content.get('processor_class')!r}, expected a `{cls.__name__}`; load it with "
                "`AutoProcessor`."
            )
        parts = {
            name: _load_part(content[name]) for name in ("image_processor", "feature_extractor") if name in content
        }
        if content.get("has_tokenizer"):
            parts["tokenizer"] = AutoTokenizer.from_pretrained(place, **asked)
        return cls(**parts, max_length=kwargs.get("max_length", content["max_length"]))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({json.dumps(self.to_dict(), indent=1, sort_keys=True)})"


def _load_part(fields: dict[str, Any]) -> Any:  # noqa: ANN401 - an image processor or a feature extractor
    import transformers

    import climb_hf.processing as ours

    name = str(fields.get("image_processor_type") or fields.get("feature_extractor_type"))
    kind = getattr(ours, name, None) if name in ours.__all__ else getattr(transformers, name, None)
    if kind is None or not hasattr(kind, "from_dict"):
        raise CorruptFileError(f"`{PROCESSOR_NAME}` names the processor {name!r}, which neither library has.")
    return kind.from_dict(fields)


def _spread(values: Tensor, rows: list[int], count: int) -> Tensor:
    """Put the rows of a part of the batch at their places, 0 elsewhere."""
    if len(rows) == count:
        return values
    whole = values.new_zeros(count, *values.shape[1:])
    whole[rows] = values
    return whole


def _has_picture(row: Mapping[str, Any]) -> bool:
    frames = row.get("frames")
    return row.get("image") is not None or (frames is not None and len(frames) > 0)


def _has_signal(row: Mapping[str, Any]) -> bool:
    import numpy as np

    values = row.get("signal")
    if values is None or not len(values):
        return False
    array = np.asarray(values)
    return array.size > 0 and not (array.dtype.kind == "f" and bool(np.isnan(array).all()))


def _has_text(row: Mapping[str, Any]) -> bool:
    text = row.get("text")
    return isinstance(text, str) and bool(text.strip())


_PRESENT = {"image": _has_picture, "signal": _has_signal, "text": _has_text}
