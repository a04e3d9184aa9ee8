"""A small HTTP client over the standard library: kept connections per thread, redirects, proxies, retries.

It reads into the caller's buffers without copies, which the larger clients do not offer. Headers with credentials go
to the host they belong to and to no other, and only over TLS (or to the loopback interface). Messages never hold
headers, query strings or response bodies.
"""

import contextlib
import email.utils
import http.client
import json
import os
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from climb_hf._version import __version__
from climb_hf.access.credentials import redact, register_secret
from climb_hf.access.files import public_url
from climb_hf.errors import AccessError, OptionError

__all__ = ["USER_AGENT", "HttpClient", "RequestError", "Response"]

T = TypeVar("T")
USER_AGENT = f"climb-hf/{__version__} (+https://github.com/climb-hf/climb-hf)"

TIMEOUT, RETRIES, BACKOFF = 60.0, 5, 1.0
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 10
_LONGEST_WAIT = 120.0
_KEPT_HEADERS = frozenset({"range", "if-range", "accept", "accept-encoding", "user-agent"})
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
#: What a broken connection raises.
BROKEN = (http.client.HTTPException, ConnectionError, TimeoutError, socket.gaierror, ssl.SSLError)
_REASONS = {
    401: "the server asks for credentials",
    403: "the server refuses access",
    404: "the server has no such file",
    410: "the server has withdrawn the file",
    429: "the server asks for fewer requests",
}


class RequestError(AccessError):
    """A request that got no usable answer.

    Args:
        message (`str`): what was asked and what came.
        status (`int`, *optional*, defaults to `0`): HTTP status; 0 where the connection failed.
        retry_after (`float`, *optional*): seconds the server asks to wait.
    """

    def __init__(self, message: str, status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(redact(message))
        self.status, self.retry_after = status, retry_after

    @property
    def is_temporary(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status == 0 or self.status in _RETRIED


class Response:
    """The answer to a request; use it in a `with` block.

    Args:
        url (`str`): the address that answered, after redirects.
        raw (`http.client.HTTPResponse`): the answer.
        connection (`http.client.HTTPConnection`): its connection.
    """

    def __init__(self, url: str, raw: http.client.HTTPResponse, connection: http.client.HTTPConnection) -> None:
        self.url, self.status, self._raw, self._connection = url, raw.status, raw, connection

    def header(self, name: str) -> str:
        """Return a header, `""` where it is absent."""
        return self._raw.headers.get(name, "")

    @property
    def length(self) -> int | None:
        """Bytes of the body, `None` where the server does not say."""
        text = self.header("Content-Length")
        return int(text) if text.isdigit() and not self.header("Transfer-Encoding") else None

    def readinto(self, buffer: memoryview) -> int:
        """Read into a buffer and return the number of bytes, 0 at the end."""
        return self._raw.readinto(buffer)

    def read(self, limit: int) -> bytes:
        """Return the body; one longer than `limit` bytes is refused."""
        data = self._raw.read(limit + 1)
        if len(data) > limit:
            raise RequestError(f"`{public_url(self.url)}` answered with more than {limit:,} bytes.", self.status)
        if self.length is not None and len(data) < self.length:
            raise RequestError(f"`{public_url(self.url)}`: the connection ended early.")
        return data

    def __enter__(self) -> "Response":
        return self

    def __exit__(self, *exc_info: object) -> None:
        if not self._raw.isclosed():  # the rest was not read: the connection cannot be used again
            self._connection.close()
        self._raw.close()


class HttpClient:
    """Requests with kept connections; safe to share between threads.

    Args:
        timeout (`float`, *optional*, defaults to `60.0`): seconds without a byte before a connection is given up.
        retries (`int`, *optional*, defaults to `5`): further tries without progress after a temporary failure.
        backoff (`float`, *optional*, defaults to `1.0`): seconds before the first of them; each later one waits twice
            as long, with jitter. A server's `Retry-After` goes first.
    """

    def __init__(self, timeout: float | None = None, retries: int | None = None, backoff: float | None = None) -> None:
        self.timeout = TIMEOUT if timeout is None else timeout
        self.retries = RETRIES if retries is None else retries
        self.backoff = BACKOFF if backoff is None else backoff
        self.stop = threading.Event()
        self._local, self._lock = threading.local(), threading.Lock()
        self._connections: set[http.client.HTTPConnection] = set()
        self._credentials: dict[str, str] = {}
        self._proxies, self._mirrors = getproxies(), _mirrors()
        self._agent = os.environ.get("CLIMB_USER_AGENT") or USER_AGENT
        self._tls: ssl.SSLContext | None = None

    def authorise(self, base: str, header: str | None) -> None:
        """Send an `Authorization` header to the host of a URL, and to no other."""
        if header:
            register_secret(header, header.partition(" ")[2])
            self._credentials[urlsplit(self._mirrored(base)).netloc] = header

    def open(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        follow: bool = True,
    ) -> Response:
        """Send one request and follow redirects; nothing is retried.

        Args:
            url (`str`): `http` or `https`.
            method (`str`, *optional*, defaults to `"GET"`): the method.
            headers (`Mapping[str, str]`, *optional*): further headers.
            body (`bytes`, *optional*): the request's body.
            follow (`bool`, *optional*, defaults to `True`): `False` refuses redirects, for a body that must reach no
                other address.

        Returns:
            `Response`: with a status below 400.

        Raises:
            RequestError: the server cannot be reached or answers with an error.
        """
        url, sent = self._mirrored(url), {key.lower(): value for key, value in (headers or {}).items()}
        for _ in range(_MAX_REDIRECTS + 1):
            response = self._send(url, method, sent, body)
            if response.status not in _REDIRECTS:
                break
            target = urljoin(url, response.header("Location"))
            if not follow:
                with response:
                    raise RequestError(f"`{public_url(url)}` leads elsewhere; give the address it leads to.", 400)
            with response:
                old, new = urlsplit(url), urlsplit(target)
            if new.scheme not in ("http", "https") or (old.scheme == "https" and new.scheme == "http"):
                raise RequestError(f"`{public_url(url)}` leads to an unsafe address (`{new.scheme}:`).", 400)
            if new.netloc != old.netloc:
                sent = {key: value for key, value in sent.items() if key in _KEPT_HEADERS}
            if response.status == 303 or (response.status in (301, 302) and method == "POST"):
                method, body = "GET", None
            url = target
        else:
            raise RequestError(f"`{public_url(url)}`: more than {_MAX_REDIRECTS} redirects.", 400)
        if response.status >= 400 and response.status != 416:
            with response:
                wait = _retry_after(response.header("Retry-After"))
                raise RequestError(_explain(url, response.status), response.status, wait)
        return response

    def retry(self, action: Callable[[], T]) -> T:
        """Call a function until it succeeds, waiting between tries that fail for a temporary reason.

        Args:
            action: raises `RequestError` or what a broken connection raises.

        Returns:
            What the function returns.

        Raises:
            RequestError: the last failure.
        """
        for attempt in range(self.retries + 1):
            try:
                return action()
            except RequestError as error:
                if not error.is_temporary or attempt == self.retries:
                    raise
                self.wait(attempt, error.retry_after)
        raise RequestError("the download was stopped.", 499)

    def wait(self, attempt: int, retry_after: float | None = None) -> None:
        """Wait before try number `attempt` + 1, or less if the client is stopped."""
        if retry_after is not None and retry_after > _LONGEST_WAIT:
            raise RequestError(f"the server asks to wait {retry_after:.0f} s. Run the same command again then.", 430)
        jitter = 1 + 0.25 * random.random()  # noqa: S311 - spreads retries, decides nothing
        seconds = self.backoff * 2.0**attempt * jitter
        if self.stop.wait(min(_LONGEST_WAIT, seconds if retry_after is None else max(seconds, retry_after))):
            raise RequestError("the download was stopped.", 499)

    def read(self, url: str, limit: int = 1 << 28, **request: Any) -> bytes:  # noqa: ANN401 - as in `open`
        """Return the body of an answer, with retries; `limit` bytes at most."""

        def action() -> bytes:
            with self.open(url, **request) as response:
                try:
                    return response.read(limit)
                except BROKEN as error:
                    raise RequestError(f"`{public_url(url)}`: the connection broke ({_why(error)}).") from None

        return self.retry(action)

    def json(self, url: str, **request: Any) -> Any:  # noqa: ANN401 - any JSON value
        """Return an answer as JSON."""
        data = self.read(url, **request)
        try:
            return json.loads(data)
        except ValueError:
            kind = "a web page (a login form?)" if data.lstrip()[:1] == b"<" else "something else"
            raise RequestError(f"`{public_url(url)}`: expected JSON, found {kind}.", 400) from None

    def close(self) -> None:
        """Stop waiting threads and close all connections; reads in other threads fail."""
        self.stop.set()
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError, AttributeError):
                    if connection.sock is not None:
                        connection.sock.shutdown(socket.SHUT_RDWR)
                connection.close()
            self._connections.clear()

    # ------------------------------------------------------------------ one request

    def _send(self, url: str, method: str, headers: Mapping[str, str], body: bytes | None) -> Response:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RequestError(f"`{public_url(url)}` is not an address that can be downloaded from.", 400)
        target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._") + (f"?{parts.query}" if parts.query else "")
        all_headers = {"user-agent": self._agent, "accept-encoding": "identity", "accept": "*/*", **headers}
        if parts.netloc in self._credentials and (parts.scheme == "https" or parts.hostname in _LOOPBACK):
            all_headers.setdefault("authorization", self._credentials[parts.netloc])
        for is_last in (False, True):
            connection, proxied, is_new = self._connection(parts.scheme, parts.hostname, parts.port)
            try:
                connection.request(method, f"{parts.scheme}://{parts.netloc}{target}" if proxied else target, body,
                                   {**all_headers, **proxied})  # fmt: skip
                return Response(url, connection.getresponse(), connection)
            except (*BROKEN, OSError) as error:
                connection.close()
                if self.stop.is_set():
                    raise RequestError("the download was stopped.", 499) from None
                if is_last or is_new:  # a kept connection may have been closed meanwhile: one more try
                    raise RequestError(f"`{public_url(url)}` cannot be reached ({_why(error)}).") from None
        raise RequestError(f"`{public_url(url)}` cannot be reached.")

    def _connection(
        self, scheme: str, host: str, port: int | None
    ) -> tuple[http.client.HTTPConnection, dict[str, str], bool]:
        """Return this thread's connection to a host, the headers of a plain proxy, and whether it is new."""
        pool: dict[tuple[str, str, int | None], tuple[http.client.HTTPConnection, dict[str, str]]]
        pool = self._local.__dict__.setdefault("pool", {})
        if (scheme, host, port) in pool:
            connection, headers = pool[scheme, host, port]
            return connection, headers, connection.sock is None
        proxy = self._proxies.get(scheme) if host not in _LOOPBACK and not proxy_bypass(host) else None
        headers = {}
        if proxy:
            connection, headers = self._proxied(scheme, host, port, proxy)
        elif scheme == "https":
            connection = http.client.HTTPSConnection(host, port, timeout=self.timeout, context=self._context())
        else:
            connection = http.client.HTTPConnection(host, port, timeout=self.timeout)
        pool[scheme, host, port] = connection, headers
        with self._lock:
            self._connections.add(connection)
        return connection, headers, True

    def _proxied(
        self, scheme: str, host: str, port: int | None, proxy: str
    ) -> tuple[http.client.HTTPConnection, dict[str, str]]:
        import base64

        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        headers = {"proxy-connection": "keep-alive"}
        if parts.username:
            text = base64.b64encode(f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()).decode()
            headers["proxy-authorization"] = f"Basic {text}"
            register_secret(parts.password, text)
        if scheme == "http":
            return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=self.timeout), headers
        context = self._context()
        connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port or 80, timeout=self.timeout, context=context
        )
        connection.set_tunnel(host, port or 443, headers)
        return connection, {}

    def _context(self) -> ssl.SSLContext:
        """Return the TLS settings: certificates are always verified, against the system's authorities."""
        if self._tls is None:
            paths = ssl.get_default_verify_paths()
            cafile = None
            if paths.cafile is None and paths.capath is None:  # a Python without the system's authorities
                with contextlib.suppress(ImportError):
                    import certifi

                    cafile = certifi.where()
            self._tls = ssl.create_default_context(cafile=cafile)
        return self._tls

    def _mirrored(self, url: str) -> str:
        for original, mirror in self._mirrors:
            if url.startswith(original):
                return mirror + url[len(original) :]
        return url


def _mirrors() -> list[tuple[str, str]]:
    """Return the pairs of `CLIMB_MIRRORS`: `https://physionet.org=https://mirror.example.org/physionet,…`."""
    text = os.environ.get("CLIMB_MIRRORS", "")
    pairs = [
        tuple(part.strip().rstrip("/") for part in item.split("=", 1)) for item in text.split(",") if item.strip()
    ]
    if any(len(pair) != 2 or not pair[1].startswith(("http://", "https://")) for pair in pairs):
        raise OptionError("`CLIMB_MIRRORS` must hold pairs `https://original=https://mirror`, parted by commas.")
    return sorted(((pair[0], pair[1]) for pair in pairs), key=lambda pair: -len(pair[0]))


def _retry_after(text: str) -> float | None:
    if text.strip().isdigit():
        return float(text)
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    return None


def _explain(url: str, status: int) -> str:
    reason = _REASONS.get(status, "the server failed" if status >= 500 else "the server refuses the request")
    return f"`{public_url(url)}`: {reason} (HTTP status {status})."


def _why(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message}"
    return redact(str(error) or type(error).__name__)
