"""Folders of series as the Cancer Imaging Archive's tools write them, found by Series Instance UID.

The NBIA Data Retriever names a series folder after the description and the last five characters of its UID and lists
UID and folder in `metadata.csv`; older versions and copies use the UID itself as the folder's name.
"""

import os
from collections import defaultdict
from pathlib import Path, PurePosixPath

from climb_hf.readers.tables import is_junk, read_csv_rows

__all__ = ["SeriesFolders"]

_TAIL = 5  # characters of the UID at the end of a folder's name
_TABLES = ("metadata.csv", "*/metadata.csv", "*/*/metadata.csv")


class SeriesFolders:
    """The files of a download, by the series they belong to.

    Nothing is opened but `metadata.csv`, where there is one.

    Args:
        root (`Path`): folder above the files.
        suffix (`str`, *optional*, defaults to `".dcm"`): lower-case suffix of the files that count.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> (root / "P1" / "study-1" / "1.000000-crop-67890").mkdir(parents=True)
        >>> _ = (root / "P1" / "study-1" / "1.000000-crop-67890" / "1-1.dcm").write_text("")
        >>> SeriesFolders(root).find("1.2.3.1234567890", "P1")
        ('P1/study-1/1.000000-crop-67890/1-1.dcm',)
    """

    def __init__(self, root: Path, suffix: str = ".dcm") -> None:
        self._files = _files_by_folder(root, suffix)
        self._listed = _listed(root)
        self._named: dict[str, str] = {}
        self._tailed: dict[tuple[str, str], str] = {}
        for folder in self._files:
            parts = PurePosixPath(folder).parts
            self._named.setdefault(parts[-1], folder)
            if len(parts) > 2:
                self._tailed.setdefault((parts[-3], parts[-1].rsplit("-", 1)[-1]), folder)
        self._found: set[str] = set()

    def __len__(self) -> int:
        """Return the number of series on disk."""
        return len(self._files)

    def find(self, uid: str, patient: str = "") -> tuple[str, ...]:
        """Return the files of a series, sorted, as paths relative to the root; none where it is not on disk.

        Args:
            uid (`str`): Series Instance UID.
            patient (`str`, *optional*, defaults to `""`): PatientID, the folder two levels above the series; needed
                only where neither `metadata.csv` nor the folder's name gives the whole UID.

        Returns:
            `tuple[str, ...]`
        """
        candidates = (self._listed.get(uid), self._named.get(uid), self._tailed.get((patient, uid[-_TAIL:])))
        folder = next((folder for folder in candidates if folder in self._files), None)
        if folder is None:
            return ()
        self._found.add(folder)
        return tuple(self._files[folder])

    def unused(self) -> list[str]:
        """Return the series folders that no call of `find` has returned so far, sorted."""
        return sorted(set(self._files) - self._found)


def _files_by_folder(root: Path, suffix: str) -> dict[str, list[str]]:
    """Map each folder that holds files of a suffix to these files, all as POSIX paths relative to the root."""
    folders = {}
    for folder, below, names in os.walk(root):
        below[:] = sorted(name for name in below if not is_junk(name))
        files = sorted(name for name in names if name.lower().endswith(suffix) and not is_junk(name))
        if files:
            relative = Path(folder).relative_to(root).as_posix()
            folders[relative] = [f"{relative}/{name}" for name in files]
    return folders


def _listed(root: Path) -> dict[str, str]:
    """Map the Series UIDs of all `metadata.csv` files to folders relative to the root."""
    folders: defaultdict[str, str] = defaultdict(str)
    for table in sorted(path for pattern in _TABLES for path in root.glob(pattern)):
        for row in read_csv_rows(table):
            if not {"Series UID", "File Location"} <= row.keys():
                break  # another publisher's table of that name
            place = PurePosixPath(row["File Location"].replace("\\", "/"))
            folders[row["Series UID"]] = (table.parent.relative_to(root) / place).as_posix()
    return dict(folders)
