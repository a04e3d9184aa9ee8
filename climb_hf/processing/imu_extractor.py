"""Inertial sensors and muscle activity as model input: the channels of HuGaDB, by name."""

from typing import ClassVar

from climb_hf.processing.signal_extractor import SignalFeatureExtractor
from climb_hf.processing.signal_options import SignalOptions

__all__ = ["IMU_CHANNELS", "ImuFeatureExtractor"]

#: The 38 channels of HuGaDB in the order of its files: accelerometer (g) and gyroscope (°/s) of the right foot, shin
#: and thigh and of the left ones, then the right and left thigh muscle (mV).
IMU_CHANNELS = (
    *(
        f"{kind}_{place}_{axis}"
        for place in ("rf", "rs", "rt", "lf", "ls", "lt")
        for kind in ("acc", "gyro")
        for axis in "xyz"
    ),
    "EMG_r",
    "EMG_l",
)


class ImuFeatureExtractor(SignalFeatureExtractor):
    """Prepares recordings of inertial sensors: any choice of HuGaDB's 38 channels.

    By default all channels at the rate of the recording (HuGaDB: 58.82 Hz), each with mean 0 and standard deviation 1,
    as units differ between channels; recordings of unequal length are padded, and `attention_mask` tells which samples
    are real. Give `length=` for a model that takes windows.

    Args:
        channels (`list[str]`, *optional*): channels of the output; defaults to the 38.
        input_channels (`list[str]`, *optional*): channels of a signal without names; defaults to the 38.
        normalization (`str`, *optional*, defaults to `"zscore"`): scaling.
        return_attention_mask (`bool`, *optional*, defaults to `True`): whether the output tells padding.
        **kwargs: further fields, see `SignalFeatureExtractor`.

    Example:
        >>> import numpy as np
        >>> recordings = [np.zeros((300, 38), np.float32), np.zeros((200, 38), np.float32)]
        >>> batch = ImuFeatureExtractor()(recordings, 58.82)
        >>> batch["signal"].shape, batch["attention_mask"].sum(dim=1).tolist()
        (torch.Size([2, 38, 300]), [300, 200])
    """

    defaults: ClassVar[SignalOptions] = {
        "channels": IMU_CHANNELS,
        "input_channels": IMU_CHANNELS,
        "normalization": "zscore",
        "return_attention_mask": True,
    }
