"""Questions to a model behind an OpenAI-compatible endpoint, over the HTTP client of the downloads.

Pictures leave the machine that way: `climb_hf.hub.licence.check_hosted` is asked before the first of them is read.
Redirects are not followed, plain HTTP is for the loopback interface only, and the key appears in no text.
"""

import base64
import io
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from climb_hf.access.credentials import register_secret
from climb_hf.access.http import HttpClient, RequestError
from climb_hf.errors import OptionError, SchemaError
from climb_hf.qa.chat import pictures_of_row

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["KEY_VARIABLES", "Hosted", "check_endpoint"]

#: Environment variables that may hold the key, the first one set counts.
KEY_VARIABLES = ("CLIMB_HOSTED_API_KEY", "OPENAI_API_KEY")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_LONGEST_ANSWER = 1 << 24


def check_endpoint(url: str) -> str:
    """Return the address of an endpoint without a slash at its end.

    Args:
        url (`str`): such as `"https://api.example.org/v1"`.

    Returns:
        `str`.

    Raises:
        OptionError: no address, one with a password in it, or plain HTTP to another machine.

    Example:
        >>> check_endpoint("https://api.example.org/v1/")
        'https://api.example.org/v1'
    """
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise OptionError(
            f"the address of an endpoint must not hold a name or password; set `{KEY_VARIABLES[0]}` to the key."
        )
    local = parts.hostname in _LOOPBACK
    if not parts.hostname or parts.query or parts.scheme not in (("http", "https") if local else ("https",)):
        raise OptionError(
            "expected the address of an OpenAI-compatible endpoint such as `https://api.example.org/v1` (plain `http` "
            f"for this machine only, no query), found scheme {parts.scheme!r} and host {parts.hostname!r}."
        )
    return url.rstrip("/")


class Hosted:
    """Answers from an endpoint with `/chat/completions`.

    Args:
        url (`str`): address of the endpoint, as of `check_endpoint`.
        model (`str`): name of the model there.
        max_new_tokens (`int`, *optional*, defaults to `64`): tokens of an answer at most.
        temperature (`float`, *optional*, defaults to `0.0`): of the sampling.
        seed (`int`, *optional*, defaults to `0`): sent along; whether it is honoured is the endpoint's business.
        workers (`int`, *optional*, defaults to `4`): requests at a time.
        timeout (`float`, *optional*, defaults to `120.0`): seconds without a byte.
        backoff (`float`, *optional*): seconds before the first repetition of a failed request.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        seed: int = 0,
        workers: int = 4,
        timeout: float = 120.0,
        backoff: float | None = None,
    ) -> None:
        self.url, self.model, self.workers = check_endpoint(url), model, workers
        self.settings = {"max_tokens": max_new_tokens, "temperature": temperature, "seed": seed}
        self._client = HttpClient(timeout=timeout, backoff=backoff)
        key = next((os.environ[name] for name in KEY_VARIABLES if os.environ.get(name)), None)
        if key:
            register_secret(key)
            self._client.authorise(self.url, f"Bearer {key}")

    def answer(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Send the questions of a batch, several at a time.

        Args:
            rows (`Sequence[Mapping]`): questions with undecoded `images`.

        Returns:
            `list[dict]`: `prediction`, `finished` and `finish_reason`; `served_model`, what the endpoint says it is.

        Raises:
            AccessError: the endpoint cannot be reached or refuses.
            SchemaError: its answer is none of the chat-completions format.
        """
        with ThreadPoolExecutor(max_workers=self.workers) as pool:
            return list(pool.map(self._ask, rows))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _ask(self, row: Mapping[str, Any]) -> dict[str, Any]:
        content: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": _data_url(picture)}} for picture in pictures_of_row(row)
        ]
        content.append({"type": "text", "text": row["question"]})
        body = {"model": self.model, "messages": [{"role": "user", "content": content}], **self.settings}
        where = f"{row['source']}: record `{row['id']}`"
        try:
            found = self._client.json(
                f"{self.url}/chat/completions",
                limit=_LONGEST_ANSWER,
                method="POST",
                headers={"content-type": "application/json"},
                body=json.dumps(body).encode(),
                follow=False,
            )
        except RequestError as error:
            hint = f" Set `{KEY_VARIABLES[0]}` to the key." if error.status in (401, 403) else ""
            raise RequestError(f"{where}: {error}{hint}", error.status) from None
        return _read(found, where)


def _data_url(picture: "Image") -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _read(found: Any, where: str) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    try:
        choice = found["choices"][0]
        text = choice["message"]["content"]
    except (KeyError, IndexError, TypeError):
        keys = sorted(found) if isinstance(found, dict) else type(found).__name__
        raise SchemaError(
            f"{where}: expected `choices[0].message.content` from the endpoint, found {keys}. Is it a "
            "chat-completions endpoint that takes pictures?"
        ) from None
    if isinstance(text, list):  # parts
        text = "".join(part.get("text", "") for part in text if isinstance(part, dict))
    reason = choice.get("finish_reason")
    return {
        "prediction": (text or "").strip(),
        "finished": reason == "stop",
        "finish_reason": reason,
        "served_model": found.get("model"),
    }
