"""Repositories of research data with a record API: Zenodo, figshare, Dataverse."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from climb_hf.access.archives import ARCHIVE_SUFFIXES
from climb_hf.access.backend import Backend, Session
from climb_hf.access.credentials import env_token
from climb_hf.access.files import RemoteFile, matches, safe_name
from climb_hf.errors import AccessError, SchemaError

__all__ = ["Dataverse", "Figshare", "Zenodo"]

ZENODO = "https://zenodo.org"
FIGSHARE = "https://api.figshare.com"
DATAVERSE = "https://dataverse.harvard.edu"


@dataclass(frozen=True)
class _Record(Backend):
    """A record with files.

    Args:
        record (`str`): its number or DOI.
        only (`tuple[str, ...]`, *optional*): patterns, where only some files are wanted.
        unpack (`bool`, *optional*, defaults to `True`): extract archives.
        into (`str`, *optional*): folder below the target.
    """

    record: str
    only: tuple[str, ...] = ()
    unpack: bool = True
    into: str = ""

    def describe(self) -> str:
        """Return what is taken from where."""
        return f"{self.site} {self.record}{': ' + ', '.join(self.only) if self.only else ''}"

    def _listed(self, session: Session) -> Iterator[RemoteFile]:
        raise NotImplementedError(f"{type(self).__name__} must define `_listed(session)`")

    def _file(self, name: str, url: str, size: int | None, checksum: str) -> RemoteFile:
        path = safe_name(name, self.describe())
        unpack = self.unpack and path.lower().endswith(ARCHIVE_SUFFIXES)
        if unpack:
            return RemoteFile(path, url, size, checksum, unpack=True, into=self.into)
        return RemoteFile(f"{self.into}/{path}" if self.into else path, url, size, checksum)

    def files(self, session: Session) -> list[RemoteFile]:
        """Ask the site for the files with sizes and MD5."""
        try:
            found = [file for file in self._listed(session) if matches(file.path, self.only)]
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, SchemaError):
                raise
            raise SchemaError(
                f"{session.source}: the answer of {self.site} has another form than known: {error!r}."
            ) from None
        if not found:
            raise AccessError(f"{session.source}: {self.describe()} holds no file that is wanted. See its page.")
        return found


@dataclass(frozen=True)
class Zenodo(_Record):
    """A record of Zenodo; a token in `ZENODO_TOKEN` opens restricted ones."""

    site: ClassVar[str] = "Zenodo"

    def _listed(self, session: Session) -> Iterator[RemoteFile]:
        if token := env_token("ZENODO_TOKEN"):
            session.client.authorise(ZENODO, f"Bearer {token}")
        answer = session.client.json(f"{ZENODO}/api/records/{self.record}")
        for file in answer["files"]:
            yield self._file(file["key"], file["links"]["self"], file["size"], file["checksum"])


@dataclass(frozen=True)
class Figshare(_Record):
    """An article of figshare."""

    site: ClassVar[str] = "figshare"

    def _listed(self, session: Session) -> Iterator[RemoteFile]:
        answer = session.client.json(f"{FIGSHARE}/v2/articles/{self.record}")
        for file in answer["files"]:
            md5 = file.get("computed_md5") or file.get("supplied_md5")
            yield self._file(file["name"], file["download_url"], file["size"], f"md5:{md5}" if md5 else "")


@dataclass(frozen=True)
class Dataverse(_Record):
    """A data set of a Dataverse, by DOI; tables that it re-formatted are taken in their original form."""

    site: ClassVar[str] = "Harvard Dataverse"

    def _listed(self, session: Session) -> Iterator[RemoteFile]:
        answer = session.client.json(f"{DATAVERSE}/api/datasets/:persistentId/?persistentId=doi:{self.record}")
        for entry in answer["data"]["latestVersion"]["files"]:
            file: dict[str, Any] = entry["dataFile"]
            name = "/".join(part for part in (entry.get("directoryLabel"), file["filename"]) if part)
            url = f"{DATAVERSE}/api/access/datafile/{file['id']}"
            if file.get("originalFileFormat"):  # its MD5 is that of the re-formatted table
                name = file.get("originalFileName") or name
                yield self._file(name, f"{url}?format=original", file.get("originalFileSize"), "")
            else:
                yield self._file(name, url, file["filesize"], f"md5:{file['md5']}" if file.get("md5") else "")
