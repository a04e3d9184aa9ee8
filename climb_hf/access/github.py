"""GitHub: the archive of one commit, and behind it the large files that git keeps elsewhere (LFS)."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from climb_hf.access.backend import Backend, Session
from climb_hf.access.credentials import env_token, register_secret
from climb_hf.access.files import RemoteFile, matches, safe_name
from climb_hf.errors import AccessError, SchemaError

__all__ = ["GitHub", "GitHubFiles"]

BASE = "https://github.com"
API = "https://api.github.com"
ARCHIVES = "https://codeload.github.com"
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-[^\n]*\n)*oid sha256:([0-9a-f]{64})\nsize (\d+)\n?"
)
_BATCH = 100
_JSON = "application/vnd.git-lfs+json"


def _sign_in(session: Session) -> None:
    if token := env_token("GITHUB_TOKEN"):  # only raises the limit of requests; the repositories are public
        session.client.authorise(API, f"Bearer {token}")


@dataclass(frozen=True)
class GitHub(Backend):
    """All files of a repository at one commit.

    Args:
        repo (`str`): such as `"owner/name"`.
        commit (`str`, *optional*): all 40 digits. Without one, the head of the default branch is resolved at the first
            download and recorded in the target, so a resumed download stays at it.
        paths (`tuple[str, ...]`, *optional*): patterns, where only some files are wanted.
    """

    site: ClassVar[str] = "GitHub"

    repo: str
    commit: str = ""
    paths: tuple[str, ...] = ()

    def describe(self) -> str:
        """Return what is taken from where."""
        return f"GitHub {self.repo}{' at ' + self.commit[:7] if self.commit else ''}"

    def _resolved(self, session: Session) -> str:
        if self.commit:
            return self.commit
        pinned: dict[str, str] = dict(session.state.facts.get("commits", {})) if session.state else {}
        if self.repo not in pinned:
            _sign_in(session)
            commit = session.client.json(f"{API}/repos/{self.repo}/commits/HEAD")["sha"]
            if not re.fullmatch(r"[0-9a-f]{40}", commit):
                raise SchemaError(f"{session.source}: GitHub names no commit for `{self.repo}`, but {commit[:60]!r}.")
            pinned[self.repo] = commit
            if session.state is not None:
                session.state.write_facts(commits=pinned)
        return pinned[self.repo]

    def files(self, session: Session) -> list[RemoteFile]:
        """Return the archive; its comment must name the commit."""
        commit = self._resolved(session)
        name = f"{self.repo.replace('/', '-')}-{commit[:12]}.zip"
        url = f"{ARCHIVES}/{self.repo}/zip/{commit}"
        return [RemoteFile(name, url, unpack=True, strip=1, comment=commit)]

    def run(self, session: Session) -> None:
        """Download and extract the archive, then put large files in the place of their pointers."""
        session.fetch(self.files(session), 1)
        if session.engine is not None and session.engine.tally.failures:
            return
        state, prefix = session.state, f"{ARCHIVES}/{self.repo}/zip/"
        entries = [e for e in (state.entries() if state else ()) if "members" in e and e["url"].startswith(prefix)]
        names = [
            name for entry in entries for name, size in (state.members(entry) if state else ()) if 0 < size < 1024
        ]
        pointers = dict(_pointers(session.target, names))
        wanted = {path: pointer for path, pointer in pointers.items() if matches(path, session.only)}
        if wanted:
            session.fetch(_lfs_files(session, self.repo, wanted), self.max_connections)


def _pointers(root: Path, names: Iterable[str]) -> Iterable[tuple[str, tuple[str, int]]]:
    """Yield path, SHA-256 and size of the files that are LFS pointers."""
    for name in names:
        path = root / name
        if path.is_file() and path.stat().st_size < 1024:
            match = _POINTER.fullmatch(path.read_bytes())
            if match is not None:
                yield name, (match.group(1).decode(), int(match.group(2)))


def _lfs_files(session: Session, repo: str, pointers: dict[str, tuple[str, int]]) -> list[RemoteFile]:
    """Ask where large files lie; addresses may hold signatures and come with headers of their own."""
    found: list[RemoteFile] = []
    items = sorted(pointers.items())
    for start in range(0, len(items), _BATCH):
        batch = items[start : start + _BATCH]
        objects = list({oid: {"oid": oid, "size": size} for _, (oid, size) in batch}.values())
        body = json.dumps({"operation": "download", "transfers": ["basic"], "objects": objects}).encode()
        answer = session.client.json(
            f"{BASE}/{repo}.git/info/lfs/objects/batch",
            method="POST",
            headers={"accept": _JSON, "content-type": _JSON},
            body=body,
        )
        actions = {entry["oid"]: entry for entry in answer.get("objects", [])}
        for path, (oid, size) in batch:
            entry: dict[str, Any] = actions.get(oid, {})
            action = entry.get("actions", {}).get("download")
            if action is None:
                reason = entry.get("error", {}).get("message", "no address")
                raise AccessError(f"{session.source}: GitHub does not serve the large file `{path}`: {reason}.")
            headers = {str(key): str(value) for key, value in action.get("header", {}).items()}
            register_secret(*headers.values())
            found.append(RemoteFile(path, action["href"], size, f"sha256:{oid}", headers=headers))
    return found


@dataclass(frozen=True)
class GitHubFiles(Backend):
    """Single large files (LFS) of a repository, known by size and SHA-256, without the rest of it.

    Args:
        repo (`str`): such as `"owner/name"`.
        large (`tuple[tuple[str, str, int], ...]`): path below the target, SHA-256 and size of each.
    """

    site: ClassVar[str] = "GitHub"

    repo: str
    large: tuple[tuple[str, str, int], ...]

    def describe(self) -> str:
        """Return what is taken from where."""
        return f"{', '.join(path for path, _, _ in self.large)} of GitHub {self.repo}"

    def files(self, session: Session) -> list[RemoteFile]:
        """Ask for the addresses, in a dry run too, as they are short-lived."""
        return _lfs_files(
            session, self.repo, {safe_name(path, self.repo): (oid, size) for path, oid, size in self.large}
        )
