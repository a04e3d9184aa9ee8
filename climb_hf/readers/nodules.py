"""Nodules that several radiologists marked in one CT: merged over readers, and the slices that each one spans.

The merging rule is that of LNDb's publisher (lndb.grand-challenge.org), which the CLIMB paper used; run on the
published `trainNodules.csv` it gives the published 1,219 findings, 768 nodules and 451 non-nodules.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from climb_hf.errors import CorruptFileError
from climb_hf.readers.volume import Volume, read_slices

__all__ = ["Mark", "MergedFinding", "equivalent_diameter", "finding_slices", "merge_marks"]

Point = tuple[float, float, float]
#: Marks nearer than this, or than a radius of one of them, are of one finding; and nodules up to it are small.
NEAR_MM = 3.0
#: The stored volume of a 3 mm sphere is rounded: its diameter must not pass for more.
_TOLERANCE_MM = 1e-6
#: Slices to each side of the centre of a small nodule, of which only the centre was marked.
_SMALL_REACH = 2
#: Slices without the finding that end the search for its border.
_GAP = 3
_SLOWEST = 2  # axis whose planes lie in one piece in the file
_BATCH = 32  # slices looked at together where all must be


def equivalent_diameter(volume_mm3: float) -> float:
    """Return the diameter in mm of the sphere of a volume.

    Args:
        volume_mm3 (`float`): not negative.

    Returns:
        `float`

    Example:
        >>> round(equivalent_diameter(14.13716694), 6)
        3.0
    """
    return 2 * (3 * volume_mm3 / (4 * math.pi)) ** (1 / 3)


@dataclass(frozen=True)
class Mark:
    """What one reader marked.

    Args:
        reader (`int`): number of the reader.
        number (`int`): number of the finding of this reader, the code in the reader's mask.
        point (`tuple[float, float, float]`): centre in world mm, to the left, posterior and superior.
        is_nodule (`bool`): `False` for a lesion that only looks like a nodule.
        volume_mm3 (`float`): volume.
        texture (`float`): 1 to 5, 0 for non-nodules.
    """

    reader: int
    number: int
    point: Point
    is_nodule: bool
    volume_mm3: float
    texture: float


@dataclass
class MergedFinding:
    """One finding with the marks of one reader or several; volume, texture and centre are their means."""

    marks: list[Mark] = field(default_factory=list)
    _largest: float = 0.0  # of the mean diameters so far: what decides whether a further mark is near

    @property
    def is_nodule(self) -> bool:
        """Whether its readers call it a nodule."""
        return self.marks[0].is_nodule

    @property
    def point(self) -> Point:
        """Mean centre in world mm."""
        x, y, z = (float(value) for value in np.mean([mark.point for mark in self.marks], axis=0))
        return x, y, z

    @property
    def diameter_mm(self) -> float:
        """Diameter of the sphere of the mean volume; 3 for non-nodules, whose size is not measured."""
        volume = float(np.mean([mark.volume_mm3 for mark in self.marks]))
        return equivalent_diameter(volume) if self.is_nodule else NEAR_MM

    @property
    def texture(self) -> float:
        """Mean texture."""
        return float(np.mean([mark.texture for mark in self.marks]))

    @property
    def is_large(self) -> bool:
        """Whether it is a nodule of at least 3 mm."""
        return self.is_nodule and self.diameter_mm > NEAR_MM + _TOLERANCE_MM

    @property
    def is_small(self) -> bool:
        """Whether it is a nodule of less than 3 mm."""
        return self.is_nodule and not self.is_large

    def add(self, mark: Mark) -> None:
        """Take another reader's mark in."""
        self.marks.append(mark)
        mean = float(np.mean([equivalent_diameter(other.volume_mm3) for other in self.marks]))
        self._largest = max(self._largest, mean)

    def takes(self, mark: Mark) -> bool:
        """Tell whether a mark is of this finding: another reader's, of the same kind, and near."""
        if mark.is_nodule != self.is_nodule or any(other.reader == mark.reader for other in self.marks):
            return False
        reach = max(equivalent_diameter(mark.volume_mm3) / 2, self._largest / 2, NEAR_MM)
        return math.dist(mark.point, self.point) < reach


def merge_marks(marks: Iterable[Mark]) -> list[MergedFinding]:
    """Merge the marks of one CT over its readers.

    Args:
        marks (`Iterable[Mark]`): in the order of the table; each joins the first finding that takes it.

    Returns:
        `list[MergedFinding]`: in the order of their first marks.

    Example:
        >>> one = Mark(1, 1, (0.0, 0.0, 0.0), True, 100.0, 5)
        >>> other = Mark(2, 4, (0.0, 0.0, 2.9), True, 50.0, 4)
        >>> [len(finding.marks) for finding in merge_marks([one, other])]
        [2]
    """
    findings: list[MergedFinding] = []
    for mark in marks:
        finding = next((finding for finding in findings if finding.takes(mark)), None)
        if finding is None:
            finding = MergedFinding()
            findings.append(finding)
        finding.add(mark)
    return findings


def finding_slices(finding: MergedFinding, volume: Volume, masks: Mapping[int, Volume]) -> tuple[int, int, str]:
    """Find the first and last slice of a finding, in the numbers of the file.

    A large nodule spans the union of the slices in which its readers' masks show it; readers whose mask does not are
    passed over. Without any such mask it is taken for a sphere. Of a small nodule and of a non-nodule only the centre
    was marked: two slices to each side.

    Args:
        finding (`MergedFinding`): the finding.
        volume (`Volume`): the CT.
        masks (`Mapping[int, Volume]`): reader -> mask, whose codes are the numbers of that reader's findings.

    Returns:
        The first and last slice, inside the volume where the finding is, and `"mask"`, `"sphere"` or `"centre"`.

    Raises:
        CorruptFileError: a mask is damaged.
    """
    x, y, z = finding.point
    axis = volume.display[0][0]
    last = volume.shape[axis] - 1
    centre = volume.voxel_of((-x, -y, z))[axis]
    if not finding.is_large:
        return max(0, centre - _SMALL_REACH), min(last, centre + _SMALL_REACH), "centre"
    spans = [
        span
        for mark in finding.marks
        if mark.reader in masks and (span := _mask_slices(masks[mark.reader], mark.number, axis, centre, volume))
    ]
    if spans:
        return min(span[0] for span in spans), max(span[1] for span in spans), "mask"
    reach = round(finding.diameter_mm / 2 / volume.spacing[0])
    return max(0, centre - reach), min(last, centre + reach), "sphere"


def _mask_slices(mask: Volume, code: int, axis: int, centre: int, volume: Volume) -> tuple[int, int] | None:
    """Return the first and last slice with a code: looking outwards from the centre, else at all slices."""
    if mask.shape != volume.shape:
        raise CorruptFileError(
            f"`{mask.path}`: expected a mask of {volume.shape} voxels as its CT, found {mask.shape}. Take both from "
            "the same release."
        )
    upright = replace(mask, affine=volume.affine)
    n_slices = mask.shape[axis]

    def with_code(indices: range) -> list[int]:
        planes = read_slices(upright, upright.flip_slices(indices), lambda stored: stored == code)
        return [index for index, plane in zip(indices, planes, strict=True) if plane.any()]

    found: list[int] = []
    if axis == _SLOWEST and not mask.is_compressed and 0 <= centre < n_slices:  # a slice costs one short read
        for path in (range(centre, -1, -1), range(centre + 1, n_slices)):
            misses = 0
            for index in path:
                has_code = bool(with_code(range(index, index + 1)))
                misses = 0 if has_code else misses + 1
                found += [index] * has_code
                if misses >= _GAP:
                    break
    for start in range(0, 0 if found else n_slices, _BATCH):
        found += with_code(range(start, min(start + _BATCH, n_slices)))
    return (min(found), max(found)) if found else None
