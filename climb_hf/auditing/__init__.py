"""Audits: leakage and duplicates within and across sources and splits. Imports nothing until it is used.

Example:
    >>> from climb_hf.auditing import near_pairs
    >>> import numpy as np
    >>> [part[2].tolist() for part in near_pairs(np.array([1, 3, 255], dtype=np.uint64), 2)]
    [[1]]
"""

from typing import TYPE_CHECKING

from climb_hf._lazy import lazy_attributes

if TYPE_CHECKING:
    from climb_hf.auditing.hamming import near_pairs
    from climb_hf.auditing.result import AuditReport, Finding, Pair, RecordName
    from climb_hf.auditing.run import SharedRecord, audit, shared_records

__all__ = [
    "AuditReport",
    "Finding",
    "Pair",
    "RecordName",
    "SharedRecord",
    "audit",
    "near_pairs",
    "shared_records",
]

_LAZY = {
    "AuditReport": "climb_hf.auditing.result",
    "Finding": "climb_hf.auditing.result",
    "Pair": "climb_hf.auditing.result",
    "RecordName": "climb_hf.auditing.result",
    "SharedRecord": "climb_hf.auditing.run",
    "audit": "climb_hf.auditing.run",
    "near_pairs": "climb_hf.auditing.hamming",
    "shared_records": "climb_hf.auditing.run",
}

__getattr__, __dir__ = lazy_attributes(__name__, _LAZY)
