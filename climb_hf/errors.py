"""The errors of climb-hf: one small hierarchy under `ClimbError`.

Each class also derives from the built-in that Python users would catch for the same fault. Messages say what was
expected, what was found, and what to do; all arguments are plain strings, so errors survive the trip out of a worker
process.
"""

__all__ = [
    "AccessError",
    "ClimbError",
    "CorruptFileError",
    "DamagedDataError",
    "DependencyError",
    "LabelError",
    "LayoutError",
    "LicenseError",
    "OptionError",
    "SchemaError",
    "SplitError",
    "TrainingError",
    "UnknownSourceError",
    "VocabularyError",
]


class ClimbError(Exception):
    """Base of every error that climb-hf raises on purpose."""


class AccessError(ClimbError, FileNotFoundError):
    """The raw data of a source is not where it should be; the message says in numbered steps how to get it."""


class LayoutError(AccessError):
    """The folder exists, but a table or folder of the publisher's layout is missing or is another data set."""


class LicenseError(ClimbError, PermissionError):
    """The licence of a source forbids what was asked; the message names the clause."""


class CorruptFileError(ClimbError, ValueError):
    """A file is truncated, contradicts its header, or is not of the format its name promises."""


class DamagedDataError(ClimbError, ValueError):
    """More records of a source failed than the build tolerates (5 %)."""


class SchemaError(ClimbError, ValueError):
    """A table, record or example does not have the columns, types or shapes it must have."""


class LabelError(SchemaError):
    """A label value that the source's facts do not know."""


class OptionError(ClimbError, ValueError):
    """An option of a source or command has a value that is not allowed."""


class SplitError(ClimbError, ValueError):
    """A split that cannot be rebuilt, does not exist, or would share a group with another."""


class UnknownSourceError(ClimbError, ValueError):
    """No source of that name is registered; the message offers near names."""


class VocabularyError(ClimbError, ValueError):
    """A concept or class is absent from the vocabulary at hand, or two vocabularies do not fit together."""


class DependencyError(ClimbError, ImportError):
    """An optional package is missing; the message is the install line of the extra that brings it."""


class TrainingError(ClimbError, RuntimeError):
    """Training cannot go on (a non-finite loss, for example); the message names the records of the batch."""
