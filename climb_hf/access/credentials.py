"""Names and passwords from the environment or `~/.netrc`, and the guard that keeps them out of every text.

Nothing is asked for interactively and nothing is stored. A secret that is read once is registered with `redact`, which
all messages of the package pass through before they are raised, logged or written.
"""

import base64
import netrc
import os
import threading
from pathlib import Path

from climb_hf.errors import AccessError

__all__ = ["basic_auth", "env_token", "redact", "register_secret"]

_SHORTEST = 4
_secrets: set[str] = set()
_lock = threading.Lock()


def register_secret(*secrets: str | None) -> None:
    """Remember secrets, so that `redact` takes them out of texts.

    Args:
        secrets (`str`, *optional*): passwords, tokens or header values; short and empty ones are ignored.
    """
    with _lock:
        _secrets.update(secret for secret in secrets if secret and len(secret) >= _SHORTEST)


def redact(text: str) -> str:
    """Return a text without the secrets read so far.

    Args:
        text (`str`): a message.

    Returns:
        `str`: with `***` in their place.

    Example:
        >>> register_secret("s3cr3t-word")
        >>> redact("login failed for s3cr3t-word")
        'login failed for ***'
    """
    with _lock:
        for secret in sorted(_secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
    return text


def basic_auth(host: str, prefix: str) -> str | None:
    """Return the `Authorization` header of HTTP basic authentication for a host.

    Args:
        host (`str`): such as `"physionet.org"`.
        prefix (`str`): of the environment variables, such as `"PHYSIONET"` for `PHYSIONET_USERNAME` and
            `PHYSIONET_PASSWORD`; they win over the host's entry in `~/.netrc` (or in the file `$NETRC` names).

    Returns:
        `str`, *optional*: the header's value; `None` without credentials.

    Raises:
        AccessError: only one of the two variables is set, or the netrc file cannot be read.
    """
    user, password = os.environ.get(f"{prefix}_USERNAME"), os.environ.get(f"{prefix}_PASSWORD")
    if bool(user) != bool(password):
        raise AccessError(f"set both `{prefix}_USERNAME` and `{prefix}_PASSWORD`, found only one of them.")
    if not user or not password:
        user, password = _from_netrc(host)
    if not user or not password:
        return None
    value = base64.b64encode(f"{user}:{password}".encode()).decode()
    register_secret(password, value)
    return f"Basic {value}"


def _from_netrc(host: str) -> tuple[str | None, str | None]:
    path = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    if not path.is_file():
        return None, None
    try:
        entry = netrc.netrc(str(path)).authenticators(host)
    except (netrc.NetrcParseError, OSError, UnicodeDecodeError) as error:  # its text may quote a password: not shown
        line = getattr(error, "lineno", None)
        at = f", line {line}" if line else ""
        raise AccessError(
            f"`{path}`{at} cannot be read as a netrc file. One entry is a line `machine {host} login NAME password "
            "WORD`; the file must be yours alone (`chmod 600`)."
        ) from None
    return (entry[0], entry[2]) if entry else (None, None)


def env_token(name: str) -> str | None:
    """Return a token from the environment and register it as a secret.

    Args:
        name (`str`): the variable, such as `"ZENODO_TOKEN"`.

    Returns:
        `str`, *optional*.
    """
    token = os.environ.get(name)
    register_secret(token)
    return token or None
