"""Kaggle, through its own client and token: the optional package `kaggle` moves the bytes, we check and unpack."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from climb_hf.access.backend import Backend, Session
from climb_hf.access.credentials import redact, register_secret
from climb_hf.access.files import RemoteFile, digest, matches, safe_name
from climb_hf.errors import AccessError, ClimbError, CorruptFileError

__all__ = ["Kaggle"]

_TOKENS = ("KAGGLE_KEY", "KAGGLE_API_TOKEN")


@dataclass(frozen=True)
class Kaggle(Backend):
    """A data set or competition of Kaggle.

    Args:
        dataset (`str`, *optional*): such as `"owner/name"`.
        competition (`str`, *optional*): its name; the rules must be accepted on its page.
        checksum (`str`, *optional*): of the whole archive, where somebody published it.
        into (`str`, *optional*): folder below the target.
    """

    site: ClassVar[str] = "Kaggle"
    needs: ClassVar[str] = "a Kaggle account and its token"

    dataset: str = ""
    competition: str = ""
    checksum: str = ""
    into: str = ""

    @property
    def page(self) -> str:
        """Address of the page for people."""
        kind, name = ("competitions", self.competition) if self.competition else ("datasets", self.dataset)
        return f"https://www.kaggle.com/{kind}/{name}"

    def describe(self) -> str:
        """Return what is taken from where."""
        return f"Kaggle {'competition ' + self.competition if self.competition else 'data set ' + self.dataset}"

    def files(self, session: Session) -> list[RemoteFile]:
        """List the files with sizes, as Kaggle shows them."""
        api, found, token = self._api(session), [], None
        while True:
            with self._errors(session):
                if self.competition:
                    answer = api.competition_list_files(self.competition, page_token=token, page_size=200)
                else:
                    answer = api.dataset_list_files(self.dataset, page_token=token, page_size=200)
            entries = answer.files if hasattr(answer, "files") else answer
            for entry in entries:
                size = _first(entry, "total_bytes", "totalBytes")
                name = safe_name(str(entry.name), self.page)
                found.append(RemoteFile(f"{self.into}/{name}" if self.into else name, self.page, size))
            token = _first(answer, "next_page_token", "nextPageToken") or None
            if not token or not entries:
                return found

    def run(self, session: Session) -> None:
        """Download the archive, or the wanted files one by one, and unpack what is packed."""
        if session.engine is None or session.state is None:
            raise RuntimeError("a dry run downloads nothing")
        if session.only:
            for file in (file for file in self.files(session) if matches(file.path, session.only)):
                if not session.state.has(file):
                    self._one(session, file)
                else:
                    session.engine.tally.n_kept += 1
            return
        name = f"{(self.competition or self.dataset).rpartition('/')[2]}.zip"
        archive = RemoteFile(name, self.page, checksum=self.checksum, unpack=True, into=self.into)
        if session.state.has(archive):
            session.engine.tally.n_kept += 1
            return
        session.engine.has_gaps = True
        session.check_space()
        api = self._api(session)
        with session.folder() as folder:
            with self._errors(session):
                if self.competition:
                    api.competition_download_files(self.competition, path=str(folder), quiet=session.quiet)
                else:
                    api.dataset_download_files(self.dataset, path=str(folder), quiet=session.quiet, unzip=False)
            path = folder / name
            if not path.is_file():
                found = sorted(entry.name for entry in folder.iterdir())
                raise AccessError(f"{session.source}: expected `{name}` from Kaggle's client, found {found}.")
            self._check(path)
            try:
                session.engine.unpack(path, archive)
            except CorruptFileError:
                path.unlink()
                raise
            path.unlink()
        session.engine.tally.n_received += 1

    def _one(self, session: Session, file: RemoteFile) -> None:
        api, name = self._api(session), file.path.removeprefix(f"{self.into}/" if self.into else "")
        base = name.rpartition("/")[2]
        if session.engine is None or session.state is None:
            raise RuntimeError("a dry run downloads nothing")
        session.engine.has_gaps = True
        with session.folder() as folder:
            with self._errors(session):
                if self.competition:
                    api.competition_download_file(self.competition, name, path=str(folder), quiet=session.quiet)
                else:
                    api.dataset_download_file(self.dataset, name, path=str(folder), quiet=session.quiet)
            plain, packed = folder / base, folder / f"{base}.zip"
            final = session.target / file.path
            final.parent.mkdir(parents=True, exist_ok=True)
            if plain.is_file():
                plain.replace(final)
            elif packed.is_file():  # Kaggle wraps larger files
                from climb_hf.access.archives import extract

                extract(packed, final.parent, only=(base,), stage=session.state.folder)
                packed.unlink()
            if not final.is_file():
                raise AccessError(f"{session.source}: Kaggle's client did not bring `{name}`.")
        session.state.record(RemoteFile(file.path, self.page, file.size), final)
        session.engine.tally.n_received += 1

    def _check(self, path: Path) -> None:
        if not self.checksum:
            return
        found = digest(path, self.checksum).finish()
        if found != self.checksum:
            path.unlink()
            raise CorruptFileError(
                f"`{path.name}` of {self.page}: expected {self.checksum}, found {found}. It is not unpacked: the data "
                "set has changed or the download is damaged. Run the same command again."
            )

    def _api(self, session: Session) -> Any:  # noqa: ANN401 - Kaggle's client
        """Return Kaggle's client, signed in."""
        from climb_hf.optional import require

        register_secret(*(os.environ.get(name) for name in _TOKENS))
        with _own_output():
            try:
                module = require("kaggle", extra="kaggle")
                module.api.authenticate()
            except ClimbError:
                raise
            except (Exception, SystemExit) as error:  # its releases raise many things, or leave the process
                raise self._no_token(session, error) from None
        settings = getattr(module.api, "config_values", None) or {}
        register_secret(*(str(settings[key]) for key in ("key", "token") if settings.get(key)))
        return module.api

    def _no_token(self, session: Session, error: BaseException) -> AccessError:
        return AccessError(
            f"{session.source}: Kaggle's client has no valid token ({type(error).__name__}). Make one at "
            "https://www.kaggle.com/settings and save it as `~/.kaggle/kaggle.json`, or set `KAGGLE_USERNAME` and "
            f"`KAGGLE_KEY`. Then, where it is a competition, accept its rules at {self.page}."
        )

    @contextlib.contextmanager
    def _errors(self, session: Session) -> Iterator[None]:
        """Turn what Kaggle's client raises into errors of ours."""
        with _own_output():
            try:
                yield
            except (ClimbError, KeyboardInterrupt):
                raise
            except (Exception, SystemExit) as error:  # ApiException, HTTPError and others, by release
                if isinstance(error, OSError) and error.errno:
                    raise  # the disk
                status = _first(getattr(error, "response", None), "status_code") or _first(error, "status")
                if status == 401:
                    raise self._no_token(session, error) from None
                reason = {
                    403: f"access is refused: accept the rules or terms at {self.page}",
                    404: f"there is nothing at {self.page}",
                    429: "too many requests: wait a while",
                }.get(int(status or 0), redact(str(error)) or type(error).__name__)
                text = f"{session.source}: Kaggle's client failed: {reason}. Run the same command again after that."
                raise AccessError(text) from None


def _first(value: object, *names: str) -> Any:  # noqa: ANN401 - an attribute by one of its names
    return next((found for name in names if (found := getattr(value, name, None)) is not None), None)


def _own_output() -> "contextlib.AbstractContextManager[Callable[..., Any] | Any]":
    """Keep what Kaggle's client prints out of the standard output, which may be JSON."""
    return contextlib.redirect_stdout(sys.stderr)
