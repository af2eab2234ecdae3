"""Addresses to answers: bounded in size, tried again where that may help, secrets kept at home.

Every request of the package goes through :func:`get` or :func:`post`; what a server may do wrong
(refuse, stall, break off, send too much, send elsewhere) ends as a :class:`NetworkError` in words.
"""

from __future__ import annotations

import http.client
import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any
from urllib.parse import urlsplit

from crystalssl import __version__
from crystalssl.errors import NetworkError, printable

AGENT = f"crystalssl/{__version__}"
"""What servers see as the program that asks."""
MOST_BYTES = 256 * 2**20
"""Bytes of the largest answer that is read into memory."""
TIMEOUT = 60.0
"""Seconds without a byte after which a server is given up."""
TRIES = 6
"""How often an answer is asked for that may come the next time."""
TRIES_TO_CONNECT = 3
"""How often a server is called that does not answer at all."""
LONGEST_WAIT = 60.0
"""Seconds between two tries, at most, whatever a server asks for."""
PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Status codes that may be others the next time."""
SECRETS = ("Authorization", "X-api-key")
"""Headers that no other host than the one asked may see, as ``urllib`` spells them."""
SCHEMES = ("http", "https")

sleep = time.sleep
"""Waits between tries; tests put a clock of their own here."""


class BrokenAnswerError(Exception):
    """An answer that broke off or cannot be read, and may be whole the next time."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects; secrets stay with the host that they are for."""

    def redirect_request(
        self, req: Any, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """The next request, or an error where it would leave the web or its encryption."""
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        downgrade = old.scheme == "https" and new.scheme != "https"
        if new.scheme not in SCHEMES or downgrade:
            raise urllib.error.HTTPError(newurl, code, "redirect to an unsafe place", headers, fp)
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None and (old.scheme, old.netloc) != (new.scheme, new.netloc):
            for name in SECRETS:
                following.remove_header(name)
        return following


_opener = urllib.request.build_opener(_Redirects)


def get(url: str, headers: Mapping[str, str] | None = None, *, most: int = MOST_BYTES) -> bytes:
    """The body of an answer.

    Args:
        url: ``http`` or ``https`` address.
        headers: further headers; see ``SECRETS``.
        most: bytes that it may have.

    Raises:
        NetworkError: if the server cannot be reached, refuses, or sends no whole answer.
    """

    def read() -> bytes:
        with opened(url, headers) as answer:
            return body_of(answer, most)

    content: bytes = patiently(read, url)
    return content


def get_json(url: str, headers: Mapping[str, str] | None = None, *, most: int = MOST_BYTES) -> Any:
    """The JSON value of an answer; one that cannot be read is asked for again.

    Raises:
        NetworkError: as :func:`get`, or if the answer is no JSON.
    """

    def read() -> Any:
        with opened(url, headers) as answer:
            return json_of(body_of(answer, most))

    return patiently(read, url)


def json_of(content: bytes) -> Any:
    """A JSON value.

    Raises:
        BrokenAnswerError: if it is none.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BrokenAnswerError(
            f"the answer is no JSON ({type(error).__name__}: {error})"
        ) from error


def patiently(read: Any, url: str) -> Any:
    """What ``read()`` gives, tried again after failures that may pass.

    Raises:
        NetworkError: if it fails for good.
    """
    for attempt in range(1, TRIES + 1):
        try:
            return read()
        except urllib.error.HTTPError as error:
            wait, reason, most = _asked_wait(error), f"status {error.code}", TRIES
            with error:
                said = _said(error)
            if error.code not in PASSING:
                raise NetworkError(f"{shown(url)} answers with status {error.code}{said}") from None
        except urllib.error.URLError as error:
            wait, reason, most = None, str(error.reason), TRIES_TO_CONNECT
        except (BrokenAnswerError, http.client.HTTPException, OSError) as error:
            wait, reason, most = None, str(error) or type(error).__name__, TRIES
        if attempt >= most:
            break
        backoff = min(2.0 ** (attempt - 1), LONGEST_WAIT) * random.uniform(0.8, 1.2)
        sleep(min(backoff if wait is None else max(wait, 0.0), LONGEST_WAIT))
    raise NetworkError(
        f"No answer from {shown(url)} after {attempt} tries ({printable(reason, 300)}). Check the "
        "network, a proxy (HTTPS_PROXY) and the address, or try later."
    )


@contextmanager
def opened(
    url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> Iterator[http.client.HTTPResponse]:
    """An answer whose body is still to be read.

    Raises:
        NetworkError: if it is no address of the web.
    """
    if urlsplit(url).scheme not in SCHEMES or not urlsplit(url).hostname:
        raise NetworkError(f"Got {shown(url)!r}, expected an address like https://host/path.")
    request = urllib.request.Request(url, data=body)
    for name, value in {"User-Agent": AGENT, **(headers or {})}.items():
        request.add_header(name, value)
    try:
        answer = _opener.open(request, timeout=TIMEOUT)
    except (http.client.InvalidURL, UnicodeError) as error:
        raise NetworkError(f"Got {shown(url)!r}, no valid address ({error}).") from error
    with answer:
        yield answer


def body_of(answer: http.client.HTTPResponse, most: int) -> bytes:
    """The body of an answer.

    Raises:
        BrokenAnswerError: if it breaks off.
        NetworkError: if it is larger than ``most`` bytes.
    """
    try:
        content = answer.read(most + 1)
    except http.client.IncompleteRead as error:
        raise BrokenAnswerError(
            f"the answer broke off after {len(error.partial):,} bytes"
        ) from error
    if len(content) > most:
        raise NetworkError(
            f"{shown(answer.url)} sends more than {most:,} bytes in one answer. Ask for less."
        )
    length = answer.headers.get("Content-Length", "")
    if length.isdigit() and len(content) < int(length):  # read(n) does not raise
        raise BrokenAnswerError(
            f"the answer broke off after {len(content):,} of {int(length):,} bytes"
        )
    return content


def shown(url: str) -> str:
    """An address for messages, without names and passwords in it."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return printable(parts._replace(netloc=host).geturl(), 300)


def _asked_wait(error: urllib.error.HTTPError) -> float | None:
    """Seconds that a server asks to wait."""
    text = error.headers.get("Retry-After") if error.headers else None
    try:
        return float(text or "")
    except ValueError:
        return None


def _said(error: urllib.error.HTTPError) -> str:
    """What a server says of its refusal, the first words of it."""
    try:
        text = error.read(4000).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException):
        return "."
    return f": {printable(text, 200)}" if text and not text.startswith("<") else "."
