"""From raw signals as examples hold them to model input: the base of the ECG, EEG and IMU feature extractors.

Everything that changes a number (rate, length, channels, filter, scaling) is a field in `preprocessor_config.json`
beside the checkpoint, so a checkpoint and one raw example are enough to predict.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Literal, Self

import numpy as np
from transformers.feature_extraction_sequence_utils import SequenceFeatureExtractor
from transformers.feature_extraction_utils import BatchFeature

from climb_hf.errors import OptionError, SchemaError
from climb_hf.processing.channels import ChannelPlan, Terms, plan_channels
from climb_hf.processing.signal import resample
from climb_hf.processing.signal_inputs import RawSignal, read_signals, recorded_part
from climb_hf.processing.signal_options import SignalOptions, checked_options
from climb_hf.processing.signal_steps import bandpass, cut, joined, normalize

__all__ = ["SignalFeatureExtractor"]

_BOOKKEEPING = {"auto_map", "feature_extractor_type", "feature_size", "image_processor_type", "processor_class"}
_BLOCK = 1 << 17  # samples that go through the steps together
_FIELDS = ", ".join(SignalOptions.__annotations__)


class SignalFeatureExtractor(SequenceFeatureExtractor):
    """Prepares multichannel signals; use `EcgFeatureExtractor`, `EegFeatureExtractor` or `ImuFeatureExtractor`.

    The steps, in their order: channels by name · NaN samples to 0 · `resample` · `bandpass` · crop · scale · pad.
    Subclasses differ in the names they know and in the defaults; those given here are common to all.

    Args:
        channels (`list[str]`):
            the channels of the output, in order.
        input_channels (`list[str]`):
            the channels of a signal that comes without names: the order of our datasets.
        sampling_rate (`float`, *optional*):
            rate of the output in Hz; `None` keeps the rate of every signal.
        resample_method (`str`, *optional*, defaults to `"polyphase"`):
            or `"fft"`, see `climb_hf.processing.signal.resample`.
        bandpass (`(float, float)`, *optional*):
            edges in Hz of a zero-phase Butterworth filter, applied after resampling to the whole record.
        filter_order (`int`, *optional*, defaults to `4`):
            its order, before it is run forwards and backwards.
        length (`int`, *optional*):
            samples of the output; `None` keeps the length, padded to the longest signal of a batch.
        crop (`str`, *optional*, defaults to `"start"`):
            what is kept of longer signals: `"start"`, `"center"`, `"random"` (anywhere where a call has `seeds`, as
            training has; the centre elsewhere), or `"error"`.
        padding (`str`, *optional*, defaults to `"constant"`):
            `"constant"` fills up shorter signals with `padding_value`; `"error"` refuses them.
        min_length (`int`, *optional*, defaults to `1`):
            shorter signals are refused; in samples of the output's rate.
        normalization (`str`, *optional*, defaults to `"none"`):
            or `"zscore"`, `"quantile95"`, `"range"`, see `climb_hf.processing.signal_steps.normalize`. Its numbers are
            those of the kept samples, before padding.
        missing_channels (`str`, *optional*):
            `"mask"`: a channel that the signal has not got is 0 and masked; `"error"` refuses such signals.
        extra_channels (`str`, *optional*):
            `"error"` refuses channel names that are not known; `"ignore"` drops them.
        drop_zero_start (`int`, *optional*):
            `is_usable` refuses records whose first so many samples are zero in all channels; 0 turns the rule off.
        padding_side (`str`, *optional*, defaults to `"right"`): or `"left"`.
        padding_value (`float`, *optional*, defaults to `0.0`): the value of the padding, after scaling.
        return_channel_mask (`bool`, *optional*, defaults to `True`):
            whether `channel_mask` is part of the output.
        return_attention_mask (`bool`, *optional*, defaults to `False`):
            whether `attention_mask`, the samples that are not padding, is part of the output.
        **kwargs:
            bookkeeping keys of the file, such as `feature_extractor_type`.

    Raises:
        OptionError: an unknown field, or a value that is not allowed.
    """

    model_input_names: ClassVar[list[str]] = ["signal", "channel_mask"]
    valid_kwargs = SignalOptions
    channels: list[str]
    input_channels: list[str]
    resample_method: Literal["polyphase", "fft"]
    bandpass: list[float] | None
    filter_order: int
    length: int | None
    crop: str
    padding: str
    min_length: int
    normalization: str
    missing_channels: str
    extra_channels: str
    drop_zero_start: int
    return_channel_mask: bool
    #: Unit of the input where `unit=` does not say another one, and of the output where nothing is scaled.
    unit: ClassVar[str] = ""
    #: Units that `unit=` may name, with their factor to `unit`.
    units: ClassVar[Mapping[str, float]] = {}
    #: Fields of named settings, for `preset`.
    presets: ClassVar[Mapping[str, SignalOptions]] = {}
    defaults: ClassVar[SignalOptions] = {
        "channels": (),
        "input_channels": (),
        "sampling_rate": None,
        "resample_method": "polyphase",
        "bandpass": None,
        "filter_order": 4,
        "length": None,
        "crop": "start",
        "padding": "constant",
        "min_length": 1,
        "normalization": "none",
        "missing_channels": "mask",
        "extra_channels": "error",
        "drop_zero_start": 0,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_channel_mask": True,
        "return_attention_mask": False,
    }

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - the fields of `SignalOptions`
        known = set(SignalOptions.__annotations__)
        if unknown := sorted(set(kwargs) - known - _BOOKKEEPING):
            raise OptionError(f"unknown fields {unknown}. A signal feature extractor has {_FIELDS}.")
        given = {name: value for name, value in kwargs.items() if name in known}
        options = checked_options({**SignalFeatureExtractor.defaults, **type(self).defaults, **given})
        rest = {name: kwargs[name] for name in kwargs if name in _BOOKKEEPING - {"feature_size"}}
        super().__init__(
            feature_size=len(options["channels"]),
            sampling_rate=options.pop("sampling_rate"),
            padding_value=options.pop("padding_value"),
            padding_side=options.pop("padding_side"),
            return_attention_mask=options.pop("return_attention_mask"),
            **rest,
        )
        for name, value in options.items():
            setattr(self, name, value)
        kind: Any = type(self)
        if strangers := _known_plan(kind, (), tuple(self.channels))[1]:
            raise OptionError(
                f"`channels` holds unknown names {strangers}; known are {_some(self.defaults['input_channels'])}."
            )
        self._plan(tuple(self.input_channels))

    @classmethod
    def preset(cls, name: str, **fields: Any) -> Self:  # noqa: ANN401 - fields of the extractor
        """Make an extractor with the settings of a published pipeline.

        Args:
            name (`str`): one of `presets`; the class says what each is.
            **fields: fields that take precedence.

        Returns:
            The extractor.

        Raises:
            OptionError: there is no such preset.
        """
        if name not in cls.presets:
            raise OptionError(f"`{cls.__name__}` has no preset {name!r}; it has {', '.join(cls.presets)}.")
        return cls(**{**cls.presets[name], **fields})

    @property
    def is_random(self) -> bool:
        """Whether a call with `seeds` differs from one without: there is something random for training."""
        return self.crop == "random"

    def __call__(
        self,
        raw: Any,  # noqa: ANN401 - many kinds, see below
        sampling_rate: float | Sequence[float] | None = None,
        *,
        channel_names: Sequence[str] | None = None,
        unit: str | None = None,
        seeds: Sequence[int] | None = None,
        return_tensors: str | None = "pt",
    ) -> BatchFeature:
        """Prepare a batch.

        Args:
            raw:
                an example of a dataset (`signal` (time, channels), `sampling_rate`), a list of examples, a slice of a
                dataset, an array or tensor (time, channels) or (batch, time, channels), or a list of arrays of any
                lengths. Time is the first axis, as in the datasets.
            sampling_rate (`float` or `Sequence[float]`, *optional*):
                in Hz, of all signals or one each; required for bare arrays, never assumed.
            channel_names (`Sequence[str]`, *optional*): names of the columns of all signals, in any order. Defaults to
                `input_channels`.
            unit (`str`, *optional*): unit of the values, one of `units`; defaults to that of our datasets. Required
                for whole numbers, which may be counts of a converter.
            seeds (`Sequence[int]`, *optional*): one per signal, for `crop="random"`.
            return_tensors (`str`, *optional*, defaults to `"pt"`): `"pt"` for torch, `"np"` or `None` for NumPy.

        Returns:
            `BatchFeature`: `signal` (batch, channels, time) float32 without NaN; `channel_mask` (batch, channels)
            bool, false for a channel that is absent or NaN throughout, whose values are 0; with
            `return_attention_mask` `attention_mask` (batch, time) bool. A signal gives the same numbers alone and in
            any batch.

        Raises:
            SchemaError: a signal that does not fit: channels, names, rate, unit, length, NaN throughout, infinite.
            OptionError: an argument that is not allowed.
        """
        if return_tensors not in ("pt", "np", None):
            raise OptionError(f"`return_tensors` must be `pt`, `np` or absent, but is {return_tensors!r}.")
        signals = read_signals(raw, sampling_rate)
        if seeds is not None and len(seeds) != len(signals):
            raise OptionError(f"`seeds` holds {len(seeds)} seeds for {len(signals)} signals; pass one each.")
        plan = self._plan(tuple(self.input_channels if channel_names is None else channel_names))
        factor = self._factor(unit)
        groups: dict[tuple[int, float], list[int]] = {}  # signals of one length and rate go through the steps together
        for position, signal in enumerate(signals):
            self._check(signal, plan, is_named=channel_names is not None, has_unit=unit is not None)
            groups.setdefault((len(signal.values), signal.rate), []).append(position)
        blocks = [block for rows in groups.values() for block in self._blocks(rows, signals[rows[0]])]
        parts = [
            self._prepare(
                [signals[i] for i in rows], plan, factor, None if seeds is None else [seeds[i] for i in rows]
            )
            for rows in blocks
        ]
        data: dict[str, Any] = self._joined(parts, blocks, len(signals))
        if return_tensors == "pt":
            import torch

            data = {name: torch.from_numpy(value) for name, value in data.items()}
        return BatchFeature(data=data)

    def is_usable(self, raw: Any) -> bool:  # noqa: ANN401 - one example or one array
        """Tell whether a record has anything to learn from, as in `dataset.filter(extractor.is_usable)`.

        Args:
            raw: one example, or one array (time, channels).

        Returns:
            `bool`: false for a record without samples, NaN throughout, or zero (or NaN) in all channels in its first
            `drop_zero_start` samples: for ECG the CLIMB paper's rule of 15 steps.
        """
        values = np.asarray(raw["signal"] if isinstance(raw, Mapping) else raw)
        if values.size == 0 or np.isnan(values).all():
            return False
        start = values[: self.drop_zero_start]
        return not self.drop_zero_start or bool(np.any(np.nan_to_num(start) != 0))

    # ---- what subclasses know ----

    @staticmethod
    def canonical(name: str) -> str:
        """Bring a channel name to the form in which names are compared."""
        return name.strip().upper()

    @classmethod
    def derive(cls, name: str, columns: Mapping[str, int]) -> Terms:
        """Say how to make an absent channel from present ones (canonical names); empty where it cannot be made."""
        return ()

    @classmethod
    def is_known(cls, name: str) -> bool:
        """Tell whether a canonical name is a channel of this modality; any is where the class lists none."""
        known = cls.defaults["input_channels"]
        return not known or name in map(cls.canonical, known)

    # ---- the steps ----

    def _plan(self, given: tuple[str, ...]) -> ChannelPlan:
        kind: Any = type(self)
        plan, strangers = _known_plan(kind, tuple(self.channels), given)
        if strangers and self.extra_channels == "error":
            raise SchemaError(
                f"unknown channel names {strangers}; known are {_some(self.defaults['input_channels'])}. Correct "
                "them, or set `extra_channels='ignore'` to drop such channels."
            )
        missing = [name for name, present in zip(self.channels, plan.present, strict=True) if not present]
        if missing and (self.missing_channels == "error" or len(missing) == len(self.channels)):
            raise SchemaError(
                f"the channels {_some(missing)} cannot be had from {_some(given)}. Pass the names of the signal's "
                "columns as `channel_names=`, or set `missing_channels='mask'` for a model with a `channel_mask`."
            )
        return plan

    def _factor(self, unit: str | None) -> float:
        if unit is None:
            return 1.0
        if unit not in self.units:
            raise OptionError(f"`unit` must be one of {list(self.units)}, but is {unit!r}.")
        return self.units[unit]

    def _check(self, signal: RawSignal, plan: ChannelPlan, *, is_named: bool, has_unit: bool) -> None:
        """Refuse what does not fit, and take off the end where no channel was recorded (NaN), in place."""
        values, name = signal.values, signal.name
        if values.shape[1] != plan.width:
            names = "`channel_names`" if is_named else f"`input_channels`: {_some(self.input_channels)}"
            turned = " Its axes look exchanged: give (time, channels)." if len(values) == plan.width else ""
            raise SchemaError(
                f"{name} has {values.shape[1]} channels (shape {values.shape}), expected {plan.width} ({names}). Pass "
                f"`channel_names=` with the name of every column.{turned}"
            )
        if values.dtype.kind != "f":
            if not has_unit:
                raise SchemaError(
                    f"{name} holds whole numbers ({values.dtype}), which may be counts of a converter. Pass values in "
                    f"{self.unit or 'physical units'} as floats" + (", or `unit=`." if self.units else ".")
                )
            values = values.astype(np.float64)
        signal.values = recorded_part(values, name)

    def _blocks(self, rows: list[int], first: RawSignal) -> list[list[int]]:
        """Split signals of one length and rate into blocks whose intermediate arrays fit into the cache."""
        size = max(1, _BLOCK // first.values.size)
        is_copied = self.bandpass is None and self.normalization == "none" and not self._is_resampled(first.rate)
        return [rows] if is_copied else [rows[i : i + size] for i in range(0, len(rows), size)]

    def _is_resampled(self, rate: float) -> bool:
        return self.sampling_rate is not None and not math.isclose(rate, self.sampling_rate, rel_tol=1e-6)

    def _prepare(
        self, signals: list[RawSignal], plan: ChannelPlan, factor: float, seeds: Sequence[int] | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return signals of one length and rate as (n, channels, kept time) float32 and their (n, channels) mask."""
        first, rate = signals[0], signals[0].rate
        signal = np.empty((len(signals), plan.width, len(first.values)), dtype=np.float32)
        is_clean = bool(plan.present.all())
        with np.errstate(over="ignore"):  # values that do not fit into float32 are refused below
            for row, one in zip(signal, signals, strict=True):
                row[:] = one.values.T if factor == 1.0 else (one.values * factor).T  # (T, C) -> (C, T)
                flat = row.reshape(-1)  # in the cache now, so this look at every sample is cheap
                is_clean = math.isfinite(np.dot(flat, flat)) and is_clean
        signal = plan(signal)  # (n, C in, T) -> (n, C, T)
        mask = np.ones(signal.shape[:2], dtype=bool) if is_clean else self._fill(signal, signals)
        if is_resampled := self._is_resampled(rate):
            target = float(self.sampling_rate)
            signal, rate = resample(signal, rate, target, method=self.resample_method, axis=-1), target
        if self.bandpass is not None:
            signal = bandpass(signal, rate, self.bandpass, self.filter_order)
        found = signal.shape[-1]
        self._check_length(found, first.name, rate, spare=int(is_resampled))
        if self.length is not None and found > self.length:
            signal = cut(signal, self.length, self.crop, seeds)
        return normalize(signal, self.normalization, mask), mask

    def _fill(self, signal: np.ndarray, signals: list[RawSignal]) -> np.ndarray:
        """Set NaN samples to 0, in place; return which channels hold anything."""
        if infinite := [one.name for one, row in zip(signals, signal, strict=True) if np.isinf(row).any()]:
            raise SchemaError(f"{_some(infinite)}: infinite values, or too large for float32; leave such records out.")
        holes = np.isnan(signal)
        signal[holes] = 0
        mask = ~holes.all(axis=-1)
        if empty := [one.name for one, kept in zip(signals, mask.any(axis=1), strict=True) if not kept]:
            raise SchemaError(
                f"{_some(empty)}: every channel that is wanted is NaN throughout; leave such records out."
            )
        return mask

    def _check_length(self, found: int, name: str, rate: float, spare: int) -> None:
        """Refuse a length; resampling may round by `spare` samples."""
        told, wanted = f"{name} has {found} samples at {rate:g} Hz", self.length
        if found < self.min_length:
            raise SchemaError(f"{told}, expected at least {self.min_length} (`min_length`). Leave such records out.")
        if wanted is not None and found > wanted + spare and self.crop == "error":
            raise SchemaError(f"{told}, expected {wanted}. Cut it into windows of that length, or set `crop`.")
        if wanted is not None and found < wanted - spare and self.padding == "error":
            raise SchemaError(f"{told}, expected {wanted}. Leave it out, or set `padding='constant'`.")

    def _joined(
        self, parts: list[tuple[np.ndarray, np.ndarray]], places: list[list[int]], count: int
    ) -> dict[str, np.ndarray]:
        """Put the groups back into the order of the batch, padded to one length."""
        lengths = [signal.shape[-1] for signal, _ in parts]
        longest = max(lengths) if self.length is None else self.length
        if self.length is None and len(set(lengths)) > 1 and not self.return_attention_mask:
            raise SchemaError(
                f"the signals of the batch have between {min(lengths)} and {longest} samples. Set `length=`, or "
                "`return_attention_mask=True` for a model that takes an `attention_mask`."
            )
        is_left = self.padding_side == "left"
        signal, mask, real = joined(parts, places, (count, longest), self.padding_value, is_left=is_left)
        data = {"signal": signal}
        if self.return_channel_mask:
            data["channel_mask"] = mask
        if self.return_attention_mask:
            data["attention_mask"] = real
        return data


@lru_cache(maxsize=256)
def _known_plan(
    kind: Any,  # noqa: ANN401 - a class of extractors
    wanted: tuple[str, ...],
    given: tuple[str, ...],
) -> tuple[ChannelPlan, list[str]]:
    """Return how to make the wanted channels, and the given names that mean nothing."""
    plan = plan_channels(wanted, given, kind.canonical, kind.derive, kind.is_known)
    return plan, [name for name in given if not kind.is_known(kind.canonical(name))]


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:24]) + (f" and {len(listed) - 24} more" if len(listed) > 24 else "")
