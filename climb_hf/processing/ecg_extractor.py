"""ECG as model input: leads by name, the four linear leads, rate and length of the published pipelines."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from climb_hf.errors import SchemaError
from climb_hf.processing.channels import Terms, plan_channels
from climb_hf.processing.signal_extractor import SignalFeatureExtractor
from climb_hf.processing.signal_options import SignalOptions
from climb_hf.readers.ecg import ECG_LEADS

__all__ = ["ECG_JEPA_LEADS", "EcgFeatureExtractor", "derive_leads"]

#: The eight independent leads that ECG-JEPA takes, in its order.
ECG_JEPA_LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
#: The six limb leads as a·I + b·II (Einthoven, Goldberger).
_LIMB = {
    "I": (1.0, 0.0),
    "II": (0.0, 1.0),
    "III": (-1.0, 1.0),
    "AVR": (-0.5, -0.5),
    "AVL": (1.0, -0.5),
    "AVF": (-0.5, 1.0),
}
_VOLTS = {"V": 1e3, "mV": 1.0, "uV": 1e-3, "µV": 1e-3, "μV": 1e-3}  # the micro sign and the Greek letter


class EcgFeatureExtractor(SignalFeatureExtractor):
    """Prepares ECGs: any choice of the twelve leads, in mV.

    By default all twelve leads as 2,500 samples at 250 Hz: whole records of 10 s. Names are compared without regard
    to case; an absent limb lead is made from two others, which is exact (III = II − I, aVR = −(I + II)/2,
    aVL = I − II/2, aVF = II − I/2); an absent chest lead is masked.

    Presets (`EcgFeatureExtractor.preset`):
        * `"ecg_jepa"`: I, II, V1–V6; 10 s at 250 Hz by SciPy's FFT resampling, in mV, not scaled
          (`sehunfromdaegu/ECG_JEPA`). Absent leads are masked.
        * `"units"`: twelve leads, otherwise the same: the CLIMB paper's 2,500 steps; UniTS normalises inside.
        * `"ecg_transformer"`: twelve leads, 5,000 samples at 500 Hz, each record divided by its range (BenchMD).
        * `"paper"`: the CLIMB paper's words, 500 Hz and 2,500 steps, which are the first 5 s of a record. Its code
          has 2,500 steps for 10 s, as `"units"`.

    Args:
        channels (`list[str]`, *optional*): leads of the output; defaults to the twelve.
        input_channels (`list[str]`, *optional*): leads of a signal without names; defaults to the twelve.
        sampling_rate (`float`, *optional*, defaults to `250.0`): rate of the output in Hz.
        length (`int`, *optional*, defaults to `2500`): samples of the output.
        drop_zero_start (`int`, *optional*, defaults to `15`): rule of `is_usable`.
        **kwargs: further fields, see `SignalFeatureExtractor`.

    Example:
        >>> extractor = EcgFeatureExtractor.preset("ecg_jepa")
        >>> ecg = {"signal": np.zeros((5000, 12), np.float32), "sampling_rate": 500.0}
        >>> batch = extractor(ecg)
        >>> batch["signal"].shape, batch["channel_mask"].all().item()
        (torch.Size([1, 8, 2500]), True)
        >>> two, extractor = np.ones((2500, 2), np.float32), EcgFeatureExtractor(channels=["aVF", "V1"])
        >>> batch = extractor(two, 250, channel_names=["II", "I"])
        >>> batch["signal"][0, :, 0].tolist(), batch["channel_mask"].tolist()
        ([0.5, 0.0], [[True, False]])
    """

    unit = "mV"
    units = _VOLTS
    defaults: ClassVar[SignalOptions] = {
        "channels": ECG_LEADS,
        "input_channels": ECG_LEADS,
        "sampling_rate": 250.0,
        "length": 2500,
        "drop_zero_start": 15,
    }
    presets: ClassVar[Mapping[str, SignalOptions]] = {
        "ecg_jepa": {"channels": ECG_JEPA_LEADS, "resample_method": "fft"},
        "units": {"resample_method": "fft"},
        "ecg_transformer": {"sampling_rate": 500.0, "length": 5000, "normalization": "range"},
        "paper": {"sampling_rate": 500.0, "length": 2500},
    }

    @classmethod
    def derive(cls, name: str, columns: Mapping[str, int]) -> Terms:
        """Make an absent limb lead from two others, I and II where they are there.

        Args:
            name (`str`): canonical name of the lead.
            columns (`Mapping[str, int]`): columns of the leads that are there.

        Returns:
            The terms, or nothing for a chest lead or with fewer than two limb leads.

        Example:
            >>> EcgFeatureExtractor.derive("III", {"I": 0, "II": 1})
            ((0, -1.0), (1, 1.0))
        """
        present = [lead for lead in _LIMB if lead in columns]
        if name not in _LIMB or len(present) < 2:
            return ()
        first, second = present[:2]
        # name = x·first + y·second, both known as a·I + b·II; any two of the six are independent.
        (a, c), (b, d) = _LIMB[first], _LIMB[second]
        determinant = a * d - b * c
        p, q = _LIMB[name]
        weights = ((p * d - q * b) / determinant, (q * a - p * c) / determinant)
        pairs = zip((first, second), weights, strict=True)
        return tuple((columns[lead], weight) for lead, weight in pairs if weight)


def derive_leads(signal: np.ndarray, leads: Sequence[str], wanted: Sequence[str] = ECG_LEADS) -> np.ndarray:
    """Return leads of an ECG by name, making absent limb leads from two others.

    Args:
        signal (`np.ndarray`): (time, given) float32, any unit.
        leads (`Sequence[str]`): names of the columns, in any order and letter case.
        wanted (`Sequence[str]`, *optional*): leads of the result; defaults to the twelve in standard order.

    Returns:
        `np.ndarray`: (time, wanted) float32. The sums are taken in float64 and rounded once, so III = II − I and the
        others hold to the last bit of float32.

    Raises:
        SchemaError: a lead that can neither be taken nor made, or shapes and names that do not fit.

    Example:
        >>> derive_leads(np.array([[1.0, 3.0]], np.float32), ["I", "II"], ["III", "aVR", "aVL", "aVF"]).tolist()
        [[2.0, -2.0, -0.5, 2.5]]
    """
    signal = np.asarray(signal)
    if signal.ndim != 2 or signal.shape[1] != len(leads):
        raise SchemaError(f"`signal` must be (time, {len(leads)}) for {len(leads)} leads, but is {signal.shape}.")
    plan = plan_channels(wanted, leads, EcgFeatureExtractor.canonical, EcgFeatureExtractor.derive)
    if not plan.present.all():
        missing = [lead for lead, present in zip(wanted, plan.present, strict=True) if not present]
        raise SchemaError(
            f"the leads {missing} cannot be made from {list(leads)}; two limb leads make the other four."
        )
    return np.ascontiguousarray(plan(signal.astype(np.float32).T[None])[0].T)
