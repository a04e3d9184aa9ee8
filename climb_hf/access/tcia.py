"""The Cancer Imaging Archive: series by series over its NBIA interface, for a whole collection or a manifest."""

import re
from dataclasses import dataclass
from typing import ClassVar

from climb_hf.access.backend import Backend, Session
from climb_hf.access.files import RemoteFile, safe_name
from climb_hf.errors import AccessError, SchemaError

__all__ = ["Tcia", "read_manifest"]

BASE = "https://services.cancerimagingarchive.net/nbia-api/services/v1"
_UID = re.compile(r"[0-9]+(?:\.[0-9]+)+")


@dataclass(frozen=True)
class Tcia(Backend):
    """A collection of The Cancer Imaging Archive.

    Every series arrives as one archive with a list of MD5, which is checked. The tree is
    `<collection>/<PatientID>/<StudyInstanceUID>/<SeriesInstanceUID>/*.dcm`, as the NBIA Data Retriever wrote it in its
    older form.

    Args:
        collection (`str`): such as `"CMMD"`.
        manifest (`str`, *optional*): address of a `.tcia` file that lists the series; all of the collection otherwise.
    """

    site: ClassVar[str] = "The Cancer Imaging Archive"

    collection: str
    manifest: str = ""

    def describe(self) -> str:
        """Return what is taken from where."""
        return f"TCIA {self.collection}"

    def files(self, session: Session) -> list[RemoteFile]:
        """List the series with patient and study."""
        series = session.client.json(f"{BASE}/getSeries?Collection={self.collection}&format=json")
        if not isinstance(series, list) or not series:
            raise AccessError(f"{session.source}: TCIA lists no series for the collection `{self.collection}`.")
        wanted: set[str] | None = None
        if self.manifest:
            name = self.manifest.rpartition("/")[2]
            wanted = set(read_manifest(session.text(RemoteFile(name, self.manifest)), name))
        found = []
        for row in series:
            try:
                uid, study, patient = (row[key] for key in ("SeriesInstanceUID", "StudyInstanceUID", "PatientID"))
            except (KeyError, TypeError):
                raise SchemaError(f"{session.source}: TCIA lists a series without its identifiers: {row!r}.") from None
            if wanted is not None and uid not in wanted:
                continue
            if not _UID.fullmatch(uid) or not _UID.fullmatch(study):
                raise SchemaError(f"{session.source}: TCIA lists {uid!r} of {study!r}, which are no UIDs.")
            into = safe_name(f"{self.collection}/{patient}/{study}/{uid}", "TCIA")
            url = f"{BASE}/getImageWithMD5Hash?SeriesInstanceUID={uid}"
            found.append(RemoteFile(f"{uid}.zip", url, unpack=True, into=into, members_md5="md5hashes.csv"))
        missing = len(wanted) - len(found) if wanted is not None else 0
        if missing:
            session.notes.append(f"{missing} series of the manifest are not in the collection any more")
        return sorted(found, key=lambda file: file.into)

    def run(self, session: Session) -> None:
        """Download the wanted series; patterns choose by the folders of the tree."""
        from climb_hf.access.files import matches

        files = self.files(session)
        chosen = [file for file in files if matches(f"{file.into}/{file.path}", session.only)]
        session.fetch(chosen or files, self.max_connections)


def read_manifest(text: str, name: str) -> list[str]:
    r"""Return the series that a `.tcia` manifest lists.

    Args:
        text (`str`): the manifest.
        name (`str`): its name, for the message.

    Returns:
        `list[str]`: Series Instance UIDs.

    Raises:
        SchemaError: it lists none.

    Example:
        >>> read_manifest("databasename=null\nListOfSeriesToDownload=\n1.3.6.1\n", "a.tcia")
        ['1.3.6.1']
    """
    _, _, rest = text.partition("ListOfSeriesToDownload=")
    uids = [line.strip() for line in rest.splitlines() if _UID.fullmatch(line.strip())]
    if not uids:
        raise SchemaError(f"`{name}`: expected a TCIA manifest with `ListOfSeriesToDownload=`, found no series in it.")
    return uids
