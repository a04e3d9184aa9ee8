"""Storage formats of WFDB signal files: signal(5) of the WFDB Applications Guide, decoded with numpy.

Format 8 stores differences and the formats 508, 516 and 524 are FLAC streams; those are left to the `wfdb` package.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["COMPRESSED", "DECODED", "GROUPS", "INVALID", "decode"]

#: Format: samples and bytes of its smallest whole group.
GROUPS = {
    8: (1, 1), 16: (1, 2), 24: (1, 3), 32: (1, 4), 61: (1, 2), 80: (1, 1), 160: (1, 2), 212: (2, 3), 310: (3, 4),
    311: (3, 4),
}  # fmt: skip
#: FLAC: the size says nothing about the number of samples.
COMPRESSED = frozenset({508, 516, 524})
#: Formats that `decode` knows.
DECODED = frozenset(GROUPS) - {8}
#: Format: the value that means "no sample here".
INVALID = {
    16: -(2**15), 24: -(2**23), 32: -(2**31), 61: -(2**15), 80: -(2**7), 160: -(2**15), 212: -(2**11), 310: -(2**9),
    311: -(2**9), 508: -(2**7), 516: -(2**15), 524: -(2**23),
}  # fmt: skip


def decode(data: bytes | bytearray, form: int) -> NDArray[np.signedinteger]:
    """Decode the bytes of a signal file.

    Args:
        data (`bytes` or `bytearray`): from the start of a group; a last group cut short is filled up with zeros.
        form (`int`): one of `DECODED`.

    Returns:
        `np.ndarray`: (samples,) int16, or int32 for the formats 24 and 32; for the packed formats as many as fill the
        last group.

    Example:
        >>> decode(bytes([1, 0xF0, 0xFE]), 212).tolist()
        [1, -2]
    """
    if form == 16:
        return np.frombuffer(data, "<i2")
    if form == 32:
        return np.frombuffer(data, "<i4")
    if form == 61:
        return np.frombuffer(data, ">i2").astype("<i2")
    if form == 160:
        return (np.frombuffer(data, "<u2") ^ 0x8000).view("<i2")
    if form == 80:
        return np.frombuffer(data, "u1").astype("<i2") - 128
    size = GROUPS[form][1]
    groups = np.frombuffer(bytes(data) + bytes(-len(data) % size), "u1").reshape(-1, size)
    if form == 24:
        wide = np.zeros((len(groups), 4), "u1")
        wide[:, 1:] = groups
        return wide.view("<i4")[:, 0] >> 8
    if form == 212:
        return _decode_212(groups)
    return _decode_310(groups) if form == 310 else _decode_311(groups)


def _decode_212(groups: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Two 12-bit samples in three bytes: the middle byte holds the high bits of both, the first one's below."""
    out = np.empty((len(groups), 2), "<i2")
    middle = groups[:, 1].astype("<i2")
    out[:, 0] = middle << 12  # the sign bit of the sample is that of the word; shifted back with the low byte below
    out[:, 1] = (middle & 0xF0) << 8
    out >>= 4
    out[:, 0] |= groups[:, 0]
    out[:, 1] |= groups[:, 2]
    return out.reshape(-1)


def _decode_310(groups: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Three 10-bit samples in two words: bits 1-10 of each, and the third's halves in bits 11-15 of both."""
    words = groups.view("<u2")
    out = np.empty((len(groups), 3), "<i2")
    out[:, 0] = (words[:, 0] << 5).view("<i2") & ~0x3F
    out[:, 1] = (words[:, 1] << 5).view("<i2") & ~0x3F
    out[:, 2] = (((words[:, 0] >> 11) << 6) | ((words[:, 1] >> 11) << 11)).view("<i2")
    return (out >> 6).reshape(-1)


def _decode_311(groups: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Three 10-bit samples in one 32-bit word, the first in its lowest bits."""
    words = groups.view("<i4")[:, 0]
    out = np.stack([words << shift for shift in (22, 12, 2)], axis=1)
    return (out >> 22).astype("<i2").reshape(-1)
