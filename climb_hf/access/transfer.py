"""One file from its address into its place: resumed where it stopped, checked, and moved there only when it is whole.

A partial file waits in `.climb/parts`, with the server's validator (`ETag` or `Last-Modified`) beside it. It is
continued only if the publisher states a checksum or the server confirms by `If-Range` that the file is still the same;
otherwise it starts over, so two versions are never joined.
"""

import contextlib
import json
import os
import re
import threading
from pathlib import Path

from climb_hf.access.files import BUFFER, RemoteFile, RunningDigest, digest, format_bytes, public_url
from climb_hf.access.http import BROKEN, HttpClient, RequestError, Response
from climb_hf.access.progress import Progress
from climb_hf.access.state import TargetState
from climb_hf.errors import AccessError, CorruptFileError

__all__ = ["Transfer"]

_WEB_PAGES = (".html", ".htm", ".xhtml")
_SMALL = 1 << 20  # a smaller file is not worth a second file with its validator
_buffers = threading.local()


class _StartOver(Exception):
    """The partial file is of no use."""


class Transfer:
    """Moves one file; `run` returns when it lies in its place.

    Args:
        client (`HttpClient`): the connection.
        state (`TargetState`): the target.
        progress (`Progress`): the bar.
        file (`RemoteFile`): what to get.
    """

    def __init__(self, client: HttpClient, state: TargetState, progress: Progress, file: RemoteFile) -> None:
        self.client, self.state, self.progress, self.file = client, state, progress, file
        self.part = state.part(file)
        self.tag_path = self.part.with_name(self.part.name + ".tag")
        self.name = f"`{file.path}` of `{public_url(file.url)}`"
        self.is_sized = file.size is not None
        self.counted = 0

    def run(self) -> Path:
        """Get the file, with retries.

        Returns:
            `Path`: the complete, verified part; the caller moves or extracts it.

        Raises:
            RequestError: the server does not give it.
            CorruptFileError: what it gives is not what is published, twice.
        """
        attempt = mismatches = 0
        while True:
            before = self._present()
            try:
                found = self._attempt()
            except RequestError as error:
                if not error.is_temporary:
                    raise
                if self._present() > before:
                    attempt = 0  # there is progress: a slow line may break many times
                if attempt >= self.client.retries:
                    raise
                self.client.wait(attempt, error.retry_after)
                attempt += 1
            except CorruptFileError:
                self._discard()
                mismatches += 1
                if mismatches > 1:
                    raise
            else:
                self.checksum = found
                return self.part

    def _attempt(self) -> str:
        try:
            return self._transfer()
        except _StartOver:
            self._discard()
            return self._transfer()

    def _present(self) -> int:
        try:
            return self.part.stat().st_size
        except OSError:
            return 0

    def _discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self.tag_path.unlink(missing_ok=True)
        self._count(0)

    def _count(self, total: int) -> None:
        """Bring the bar to `total` bytes of this file."""
        self.progress.add(total - self.counted)
        self.counted = total

    # ------------------------------------------------------------------ one try

    def _transfer(self) -> str:
        offset, tag = self._present(), self._tag()
        if offset and not (self.file.checksum or tag):
            self._discard()
            offset = 0
        if offset and self.file.size is not None and offset >= self.file.size and self.file.checksum:
            return self._verify(self._digest_of(offset))
        headers = dict(self.file.headers)
        if offset:
            headers["range"] = f"bytes={offset}-"
            if tag:
                headers["if-range"] = tag
        with self.client.open(self.file.url, headers=headers) as response:
            if response.status == 416:
                return self._after_416(response, offset)
            offset, total = self._check(response, offset)
            if offset and not self.counted:  # from an earlier run: not part of the speed
                self.progress.skip(offset)
                self.counted = offset
            self._count(offset)
            running = self._digest_of(offset)
            try:
                self._receive(response, offset, total, running)
            except BaseException:
                if running is not None:
                    running.finish()  # ends its thread
                raise
        return self._verify(running)

    def _after_416(self, response: Response, offset: int) -> str:
        """The server has nothing behind what we hold: it is complete, or of another version."""
        total = re.fullmatch(r"bytes \*/(\d+)", response.header("Content-Range"))
        if total is None or int(total.group(1)) != offset:
            raise _StartOver
        self._count(offset)
        return self._verify(self._digest_of(offset))

    def _check(self, response: Response, offset: int) -> tuple[int, int | None]:
        """Return where the answer begins and the size of the whole file, or refuse the answer."""
        kind = response.header("Content-Type").partition(";")[0].strip().lower()
        if kind in ("text/html", "application/xhtml+xml") and not self.file.path.lower().endswith(_WEB_PAGES):
            raise self._web_page()
        total = response.length
        if response.status == 206:
            match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.header("Content-Range").strip())
            if match is None or int(match.group(1)) != offset:
                raise _StartOver
            total = int(match.group(3)) if match.group(3) != "*" else None
        else:
            if offset:
                self._discard()
            offset = 0
        if self.file.size is not None and total is not None and total != self.file.size:
            raise RequestError(
                f"{self.name}: expected {self.file.size:,} bytes, the server offers {total:,}: the file has changed. "
                "Check the publisher's page for a new version.", 409
            )  # fmt: skip
        if not self.is_sized and total is not None:
            self.is_sized = True
            self.progress.learn(total)
        tag = response.header("ETag")
        tag = tag if tag and not tag.startswith("W/") else response.header("Last-Modified")
        if tag and (total is None or total >= _SMALL):
            self.tag_path.write_text(json.dumps(tag), encoding="utf-8")
        return offset, total

    def _receive(self, response: Response, offset: int, total: int | None, running: RunningDigest | None) -> None:
        ring = _ring()
        position, number = offset, 0
        with self.part.open("ab" if offset else "wb", buffering=0) as stream:
            while True:
                buffer = ring[number % 4]
                try:
                    n = response.readinto(buffer)
                except (*BROKEN, ValueError, AttributeError) as error:  # the last two: closed by another thread
                    raise RequestError(f"{self.name}: the connection broke after {format_bytes(position)}.") from error
                if not n:
                    break
                data = buffer[:n]
                if position == 0 and _is_web_page(data) and not self.file.path.lower().endswith(_WEB_PAGES):
                    raise self._web_page()
                _write(stream.fileno(), data)
                if running is not None:
                    running.update(data)
                position += n
                number += 1
                self._count(position)
                if self.client.stop.is_set():
                    raise RequestError("the download was stopped.", 499)
        if total is not None and position < total:
            raise RequestError(f"{self.name}: the connection ended after {format_bytes(position)}.")

    def _digest_of(self, offset: int) -> RunningDigest | None:
        """Return a digest that has seen the first `offset` bytes; `None` where no checksum is published."""
        if not self.file.checksum:
            return None
        running = RunningDigest(self.file.checksum, self.file.size)
        return digest(self.part, self.file.checksum, running) if offset else running

    def _verify(self, running: RunningDigest | None) -> str:
        size = self.part.stat().st_size
        if self.file.size is not None and size != self.file.size:
            raise CorruptFileError(
                f"{self.name}: expected {self.file.size:,} bytes, received {size:,}. Try again later."
            )
        if running is None:
            return ""
        found = running.finish()
        if found.lower() != self.file.checksum.lower():
            raise CorruptFileError(
                f"{self.name}: the checksum does not fit, twice: expected {self.file.checksum}, found {found}. The "
                "file is not put in place. Try again later; if it stays, tell the publisher."
            )
        return found

    def _tag(self) -> str:
        try:
            return str(json.loads(self.tag_path.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return ""

    def _web_page(self) -> AccessError:
        self._discard()
        return RequestError(
            f"{self.name}: the server sent a web page instead of the file, as it does to ask for a login or for an "
            "agreement to be signed. Sign in and accept the terms on the publisher's site, and see that your "
            "credentials are set.", 401
        )  # fmt: skip

    def finish(self, final: Path) -> None:
        """Move the part into its place."""
        final.parent.mkdir(parents=True, exist_ok=True)
        self.part.replace(final)
        with contextlib.suppress(OSError):
            self.tag_path.unlink(missing_ok=True)


def _ring() -> list[memoryview]:
    """Return the four buffers of this thread."""
    if not hasattr(_buffers, "ring"):
        _buffers.ring = [memoryview(bytearray(BUFFER)) for _ in range(4)]
    ring: list[memoryview] = _buffers.ring
    return ring


def _write(handle: int, data: memoryview) -> None:
    written = 0
    while written < len(data):
        written += os.write(handle, data[written:])


def _is_web_page(data: memoryview) -> bool:
    head = bytes(data[:256]).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return head.startswith((b"<!doctype html", b"<html"))
