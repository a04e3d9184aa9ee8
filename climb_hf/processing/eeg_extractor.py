"""EEG as model input: bipolar derivations by name, taken as they are or made from electrodes."""

import re
from collections.abc import Mapping
from typing import ClassVar

from climb_hf.processing.channels import Terms
from climb_hf.processing.signal_extractor import SignalFeatureExtractor
from climb_hf.processing.signal_options import SignalOptions

__all__ = ["EEG_DERIVATIONS", "EegFeatureExtractor"]

#: The 16 bipolar derivations of the signal column, in its order (longitudinal montage, outer and inner chains).
EEG_DERIVATIONS = (
    "FP1-F7", "F7-T7", "T7-P7", "P7-O1", "FP2-F8", "F8-T8", "T8-P8", "P8-O2",
    "FP1-F3", "F3-C3", "C3-P3", "P3-O1", "FP2-F4", "F4-C4", "C4-P4", "P4-O2",
)  # fmt: skip
#: Names of the 10-20 system before 1991.
_OLD = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
#: What stands after the dash for a recording against one common reference.
_REFERENCES = {"", "REF", "LE", "AR", "AVG", "CAR"}
_ELECTRODE = re.compile(r"(FP|AF|F|FT|FC|T|C|TP|CP|P|PO|O|I)(Z|10|[1-9])|[AM][12]|NZ")
_VOLTS = {"V": 1e6, "mV": 1e3, "uV": 1.0, "µV": 1.0, "μV": 1.0}  # the micro sign and the Greek letter
_WINDOW: SignalOptions = {"resample_method": "fft"}


class EegFeatureExtractor(SignalFeatureExtractor):
    """Prepares EEG windows: bipolar derivations, in µV before scaling.

    By default the 16 derivations of our datasets as 2,000 samples at 200 Hz, each channel divided by the 0.95 quantile
    of its absolute values; a window of another duration is refused (`crop` and `padding` change that), and so is a
    recording without one of the derivations. Names may be derivations (`FP1-F7`) or electrodes against a common
    reference (`EEG FP1-REF`, `FP1-LE`, `Fp1`), in any order and letter case; T3, T4, T5, T6 are T7, T8, P7, P8. A
    derivation of electrodes is their difference; channels that are not needed are dropped.

    Presets (`EegFeatureExtractor.preset`), all after the loaders of `ycq091044/BIOT`, which resample by SciPy's FFT:
        * `"biot"`: 16 derivations, 10 s. For 5 s windows (TUEV) give `length=1000`.
        * `"biot_18"`: for the encoders with 18 channels: C3-A2 and C4-A1 follow, masked where they are absent.
        * `"spectrogram"`: SPaRCNet, ContraWR, CNN-Transformer, FFCL and ST-Transformer, which take the same input as
          BIOT; what needs a spectrogram makes it inside the model.

    Args:
        channels (`list[str]`, *optional*): derivations or electrodes of the output; defaults to the 16.
        input_channels (`list[str]`, *optional*): channels of a signal without names; defaults to the 16.
        sampling_rate (`float`, *optional*, defaults to `200.0`): rate of the output in Hz.
        length (`int`, *optional*, defaults to `2000`): samples of the output.
        crop (`str`, *optional*, defaults to `"error"`): what to do with longer windows.
        padding (`str`, *optional*, defaults to `"error"`): what to do with shorter ones.
        normalization (`str`, *optional*, defaults to `"quantile95"`): scaling.
        missing_channels (`str`, *optional*, defaults to `"error"`): what to do where a derivation cannot be had.
        extra_channels (`str`, *optional*, defaults to `"ignore"`): clinical recordings hold many other channels.
        **kwargs: further fields, see `SignalFeatureExtractor`.

    Example:
        >>> import numpy as np
        >>> extractor = EegFeatureExtractor(channels=["C3-P3"], length=250)
        >>> window = np.tile(np.array([3.0, 0.0, 1.0], np.float32), (250, 1))
        >>> batch = extractor(window, 200, channel_names=["EEG C3-REF", "ECG EKG-REF", "EEG P3-REF"])
        >>> batch["signal"].shape, batch["signal"][0, 0, 0].item()
        (torch.Size([1, 1, 250]), 1.0)
    """

    unit = "µV"
    units = _VOLTS
    defaults: ClassVar[SignalOptions] = {
        "channels": EEG_DERIVATIONS,
        "input_channels": EEG_DERIVATIONS,
        "sampling_rate": 200.0,
        "length": 2000,
        "crop": "error",
        "padding": "error",
        "normalization": "quantile95",
        "missing_channels": "error",
        "extra_channels": "ignore",
    }
    presets: ClassVar[Mapping[str, SignalOptions]] = {
        "biot": _WINDOW,
        "biot_18": {**_WINDOW, "channels": (*EEG_DERIVATIONS, "C3-A2", "C4-A1"), "missing_channels": "mask"},
        "spectrogram": _WINDOW,
    }

    @staticmethod
    def canonical(name: str) -> str:
        """Bring a name to upper case and today's electrode names, without the word EEG and blanks.

        Args:
            name (`str`): a derivation or an electrode.

        Returns:
            `str`.

        Example:
            >>> EegFeatureExtractor.canonical("EEG T3-REF"), EegFeatureExtractor.canonical("Fp1 - F7")
            ('T7-REF', 'FP1-F7')
        """
        parts = re.sub(r"\s", "", name.upper()).removeprefix("EEG").split("-")
        return "-".join(_OLD.get(part, part) for part in parts)

    @classmethod
    def derive(cls, name: str, columns: Mapping[str, int]) -> Terms:
        """Make a derivation from its reverse, or as the difference of two channels against the same reference.

        Args:
            name (`str`): canonical name of the derivation, or of an electrode.
            columns (`Mapping[str, int]`): columns of the channels that are there.

        Returns:
            The terms, or nothing.

        Example:
            >>> EegFeatureExtractor.derive("F7-T7", {"T7-LE": 0, "F7-LE": 1})
            ((1, 1.0), (0, -1.0))
        """
        given = {_ends(channel): column for channel, column in columns.items()}
        plus, minus = _ends(name)
        if minus in _REFERENCES:
            found = [
                column for (electrode, other), column in given.items() if electrode == plus and other in _REFERENCES
            ]
            return ((found[0], 1.0),) if len(found) == 1 and not minus else ()
        if (minus, plus) in given:
            return ((given[minus, plus], -1.0),)
        for (electrode, reference), column in given.items():
            if electrode == plus and (minus, reference) in given:
                return ((column, 1.0), (given[minus, reference], -1.0))
        return ()

    @classmethod
    def is_known(cls, name: str) -> bool:
        """Tell whether a canonical name is an electrode or a derivation of two.

        Args:
            name (`str`): canonical name.

        Returns:
            `bool`.

        Example:
            >>> EegFeatureExtractor.is_known("FP1-F7"), EegFeatureExtractor.is_known("PHOTIC-REF")
            (True, False)
        """
        plus, minus = _ends(name)
        return bool(_ELECTRODE.fullmatch(plus)) and (minus in _REFERENCES or bool(_ELECTRODE.fullmatch(minus)))


def _ends(name: str) -> tuple[str, str]:
    """Split a canonical name into the electrode and what it is measured against; empty where the name does not say."""
    plus, _, minus = name.partition("-")
    return plus, minus
