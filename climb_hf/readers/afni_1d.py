"""Region time series in AFNI's `.1D` text form: a comment line, then one row per time point, one column per region."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.errors import CorruptFileError

__all__ = ["has_points", "read_1d"]

_BLOCK = 1 << 16


def has_points(path: Path, count: int) -> bool:
    """Tell whether a file holds at least so many time points, reading no further than needed.

    An empty file and one that ends in the middle of a row count as having them: they are damaged, and `read_1d` says
    so.

    Args:
        path (`Path`): the file.
        count (`int`): the least number of time points.

    Returns:
        `bool`

    Raises:
        CorruptFileError: the file is missing.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "a.1D"
        >>> _ = file.write_bytes(bytes("#1 #2", "ascii") + bytes([10]) + b"0.5 1.5" + bytes([10]))
        >>> has_points(file, 1), has_points(file, 2)
        (True, False)
    """
    rows, rest, empty = 0, b"", True
    try:
        with path.open("rb") as stream:
            while rows < count and (block := stream.read(_BLOCK)):
                lines = (rest + block).split(b"\n")
                rest, empty = lines.pop(), False
                rows += sum(1 for line in lines if line.strip() and not line.lstrip().startswith(b"#"))
    except OSError as error:
        raise CorruptFileError(f"`{path}` cannot be read ({error.strerror}). Fetch it, or leave it out.") from error
    return rows >= count or empty or bool(rest.strip())


def read_1d(path: Path) -> NDArray[np.float64]:
    r"""Read the time series of one recording.

    Args:
        path (`Path`): a text file: lines that begin with `#` are comments, the others hold the same number of values,
            separated by tabs or blanks.

    Returns:
        `np.ndarray`: (time, regions) float64.

    Raises:
        CorruptFileError: the file is missing, empty or truncated, a row is shorter than the first or holds something
            that is no number, or the comment line names another number of regions.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "a.1D"
        >>> _ = file.write_bytes(b"#1\t#2" + bytes([10]) + b"0.5\t1.5" + bytes([10]) + b"2\t-1e-3" + bytes([10]))
        >>> read_1d(file).tolist()
        [[0.5, 1.5], [2.0, -0.001]]
    """
    try:
        text = path.read_text(encoding="ascii")
    except OSError as error:
        raise CorruptFileError(f"`{path}` cannot be read ({error.strerror}). Fetch it, or leave it out.") from error
    except UnicodeDecodeError as error:
        raise CorruptFileError(
            f"`{path}`: expected a text table of numbers, found the byte 0x{error.object[error.start]:02x}. "
            "Fetch it again."
        ) from error
    if not text.endswith("\n"):
        raise CorruptFileError(
            f"`{path}`: expected a line end, found the end of the file after {text[-20:]!r}: it is truncated. "
            "Fetch it again (or add a line feed, if you know the last number to be complete)."
        )
    comments = [line for line in text.split("\n", 2)[:2] if line.startswith("#")]
    try:
        if not text.strip() or text.count("\n") == len(comments):
            raise ValueError("there is no row of numbers")
        series: NDArray[np.float64] = np.loadtxt(io.StringIO(text), dtype=np.float64, comments="#", ndmin=2)
    except ValueError as error:
        raise CorruptFileError(
            f"`{path}`: expected rows of equally many numbers ({error}). Fetch it again or leave it out."
        ) from error
    named = comments[-1].count("#") if comments else 0
    if named > 1 and named != series.shape[1]:
        raise CorruptFileError(
            f"`{path}`: expected {named} regions by its header, found rows of {series.shape[1]}. Fetch it again."
        )
    return series
