"""PhysioNet: the list `SHA256SUMS.txt` of a project first, then its files, eight at a time."""

import re
from dataclasses import dataclass
from typing import ClassVar

from climb_hf.access.backend import Backend, Session
from climb_hf.access.credentials import basic_auth
from climb_hf.access.files import RemoteFile, matches
from climb_hf.access.http import RequestError
from climb_hf.errors import AccessError

__all__ = ["PhysioNet"]

BASE = "https://physionet.org"
_LINE = re.compile(r"([0-9a-fA-F]{64})\s+\*?(.+?)\s*")
_SUMS = "SHA256SUMS.txt"


@dataclass(frozen=True)
class PhysioNet(Backend):
    """A project of PhysioNet.

    Args:
        slug (`str`): name of the project, such as `"ptb-xl"`.
        version (`str`): such as `"1.0.3"`.
        path (`str`, *optional*): a folder of the project, where not all of it is wanted.
        only (`tuple[str, ...]`, *optional*): patterns, where only some files are wanted.
        into (`str`, *optional*): folder below the target.
        credentialed (`bool`, *optional*, defaults to `False`): asks for an account that signed the agreement; name and
            password come from `PHYSIONET_USERNAME` and `PHYSIONET_PASSWORD`, or `~/.netrc`.
    """

    site: ClassVar[str] = "PhysioNet"
    max_connections: ClassVar[int] = 8  # more are throttled

    slug: str
    version: str
    path: str = ""
    only: tuple[str, ...] = ()
    into: str = ""
    credentialed: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it can be downloaded without an account."""
        return not self.credentialed

    def describe(self) -> str:
        """Return what is taken from where."""
        part = f", {self.path}" if self.path else f", {', '.join(self.only)}" if self.only else ""
        return f"PhysioNet {self.slug} {self.version}{part}"

    @property
    def _root(self) -> str:
        return f"{BASE}/files/{self.slug}/{self.version}"

    def files(self, session: Session) -> list[RemoteFile]:
        """List the files with their SHA-256; PhysioNet states no sizes."""
        if self.credentialed:
            self._sign_in(session)
        try:
            text = session.text(RemoteFile(f"{self.slug}-{self.version}-{_SUMS}", f"{self._root}/{_SUMS}"))
        except RequestError as error:
            if error.status in (401, 403):
                raise self._refused(session, error) from None
            raise
        found: list[RemoteFile] = []
        for line in text.splitlines():
            match = _LINE.fullmatch(line.strip())
            if match is None:
                continue
            name = match.group(2).removeprefix("./")
            wanted = not self.path or name.startswith(f"{self.path.rstrip('/')}/")
            if wanted and matches(name, self.only) and name != _SUMS:
                path = f"{self.into}/{name}" if self.into else name
                found.append(RemoteFile(path, f"{self._root}/{name}", checksum=f"sha256:{match.group(1).lower()}"))
        if not found:
            raise AccessError(
                f"{session.source}: `{self._root}/{_SUMS}` lists no file of {self.describe()}. The project may have a "
                "new version: see its page."
            )
        return found

    def run(self, session: Session) -> None:
        """Download the files; a refusal is explained by what PhysioNet asks for."""
        try:
            super().run(session)
        except RequestError as error:
            if error.status in (401, 403):
                raise self._refused(session, error) from None
            raise

    def _sign_in(self, session: Session) -> None:
        header = basic_auth("physionet.org", "PHYSIONET")
        if header is None:
            raise AccessError(
                f"{session.source}: {self.describe()} asks for a PhysioNet account, but no credentials were found. "
                "Set `PHYSIONET_USERNAME` and `PHYSIONET_PASSWORD`, or add to `~/.netrc` the line `machine "
                f"physionet.org login NAME password WORD`. How to get access:\n{session.steps}"
            )
        session.client.authorise(BASE, header)

    def _refused(self, session: Session, error: RequestError) -> AccessError:
        if not self.credentialed:
            return AccessError(f"{session.source}: {error} The project was open before; see its page.")
        return AccessError(
            f"{session.source}: {error} Either name or password are wrong, or the agreement of {self.describe()} is "
            f"not signed with this account, or PhysioNet does not accept this program. How to get access:\n"
            f"{session.steps}\nFiles that another program (the publisher's `wget` line above) puts into the same "
            "folder are checked and kept by the same command."
        )
