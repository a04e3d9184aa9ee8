"""Plain addresses: named files, the tree below an index page, or the addresses that a table spells out."""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from html.parser import HTMLParser
from typing import ClassVar
from urllib.parse import unquote, urljoin, urlsplit

from climb_hf.access.backend import Backend, Session
from climb_hf.access.engine import parallel
from climb_hf.access.files import RemoteFile, safe_name
from climb_hf.errors import AccessError, SchemaError

__all__ = ["HttpTable", "HttpTree", "Https"]


@dataclass(frozen=True)
class Https(Backend):
    """Files at known addresses.

    Args:
        remote (`tuple[RemoteFile, ...]`): the files.
    """

    site: ClassVar[str] = "the publisher's web site"

    remote: tuple[RemoteFile, ...]

    def describe(self) -> str:
        """Return what is taken from where."""
        hosts = sorted({urlsplit(file.url).hostname or "" for file in self.remote})
        return f"{', '.join(file.path for file in self.remote)} of {', '.join(hosts)}"

    def files(self, session: Session) -> list[RemoteFile]:
        """Return the files."""
        return list(self.remote)


@dataclass(frozen=True)
class HttpTree(Backend):
    """Every file below an index page (Apache and the like) whose name fits.

    Args:
        url (`str`): the page of the top folder, with `/` at its end.
        accept (`tuple[str, ...]`): patterns of file names.
        reject (`tuple[str, ...]`, *optional*): patterns of file names that are left out.
        into (`str`, *optional*): folder below the target.
        depth (`int`, *optional*, defaults to `4`): folders to go down.
    """

    site: ClassVar[str] = "the publisher's web site"

    url: str
    accept: tuple[str, ...]
    reject: tuple[str, ...] = ()
    into: str = ""
    depth: int = 4

    def describe(self) -> str:
        """Return what is taken from where."""
        return f"{', '.join(self.accept)} below {self.url}"

    def files(self, session: Session) -> list[RemoteFile]:
        """Read the index pages, folder by folder."""
        found: list[RemoteFile] = []
        level = [self.url]
        for _ in range(self.depth + 1):
            pages = parallel(lambda url: session.client.read(url), level, self.max_connections)
            below: list[str] = []
            for url, page in zip(level, pages, strict=True):
                for name in _links(page.decode("utf-8", "replace")):
                    if name.endswith("/"):
                        below.append(urljoin(url, name))
                    elif self._fits(unquote(name)):
                        address = urljoin(url, name)
                        path = safe_name(unquote(address[len(self.url) :]), self.url)
                        found.append(RemoteFile(f"{self.into}/{path}" if self.into else path, address))
            level = below
        if not found:
            raise AccessError(f"{session.source}: no file below `{self.url}` fits {list(self.accept)}. Has it moved?")
        return found

    def _fits(self, name: str) -> bool:
        return any(fnmatchcase(name, p) for p in self.accept) and not any(fnmatchcase(name, p) for p in self.reject)


class _Index(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        name = dict(attrs).get("href") if tag == "a" else None
        if name and re.fullmatch(r"(?!\.\.?/?$)[^/?#:]+/?", name):  # a name of this folder: no parent, query or site
            self.names.append(name)


def _links(page: str) -> Iterator[str]:
    parser = _Index()
    parser.feed(page)
    yield from dict.fromkeys(parser.names)


@dataclass(frozen=True)
class HttpTable(Backend):
    """A table, and one file per row at an address made from a column.

    Args:
        table (`RemoteFile`): a CSV file.
        column (`str`): its column with the names.
        url (`str`): address with `{}` for the name.
        path (`str`): path below the target with `{}` for the name.
        absent (`tuple[str, ...]`, *optional*): names of rows without a file.
    """

    site: ClassVar[str] = "the publisher's web site"

    table: RemoteFile
    column: str
    url: str
    path: str
    absent: tuple[str, ...] = ()

    def describe(self) -> str:
        """Return what is taken from where."""
        return f"{self.table.path} and its files of {urlsplit(self.url).hostname}"

    def files(self, session: Session) -> list[RemoteFile]:
        """Read the table and list its files."""
        text = session.text(
            RemoteFile(self.table.path.rpartition("/")[2], self.table.url, checksum=self.table.checksum)
        )
        rows = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
        if self.column not in (rows.fieldnames or ()):
            raise SchemaError(f"`{self.table.path}`: expected the column `{self.column}`, found {rows.fieldnames}.")
        names = [name for row in rows if (name := (row[self.column] or "").strip()) and name not in self.absent]
        found = [
            RemoteFile(self.path.format(safe_name(name, self.table.path)), self.url.format(name))
            for name in dict.fromkeys(names)
        ]
        return [self.table, *found]
