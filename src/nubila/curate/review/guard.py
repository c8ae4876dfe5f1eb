"""Who may talk to the page: nobody but this machine's browser, or whoever has the token.

A page of the web that is open in the same browser can send requests to loopback, and can even
point a name of its own at it (DNS rebinding). So on loopback the name in ``Host`` must be one of
loopback's own, whatever is sent by a page must come from this one (``Origin``,
``Sec-Fetch-Site``), and what changes something must carry a header of ours, which a foreign page
cannot send without asking first.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

__all__ = ["COOKIE", "MARK", "SAFE_HEADERS", "Guard", "is_loopback"]

COOKIE: Final = "nubila_review"
MARK: Final = "x-nubila-review"
_SAFE: Final = ("GET", "HEAD")

SAFE_HEADERS: Final = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


@dataclass(frozen=True)
class Guard:
    """What a request must show.

    Attributes:
        token: needed if not None; None only where the page listens on loopback.
    """

    token: str | None

    def refusal(self, method: str, headers: Mapping[str, str], cookie: str) -> tuple[int, str]:
        """Return status and reason of a refusal, or ``(0, "")``.

        Args:
            method: of the request.
            headers: their names in lower case.
            cookie: of the name `COOKIE`, or ``""``.
        """
        host = headers.get("host", "")
        if self.token is None and not is_loopback(_name(host)):
            return 403, f"this page is not {host!r}; open it at 127.0.0.1 or localhost"
        origin = headers.get("origin")
        if origin is not None and _netloc(origin) != host.lower():
            return 403, "requests of another page are not answered"
        if headers.get("sec-fetch-site", "none") == "cross-site" and not _is_visit(method, headers):
            return 403, "requests of another page are not answered"
        if method not in _SAFE and headers.get(MARK) != "1":
            return 403, f"the header {MARK}: 1 is missing"
        if self.token is not None and not self._knows(headers, cookie):
            return 401, "the token is missing or wrong; open the address that nubila review printed"
        return 0, ""

    def fits(self, token: str) -> bool:
        """Tell, in constant time, whether a token is the right one."""
        return self.token is not None and hmac.compare_digest(token.encode(), self.token.encode())

    def _knows(self, headers: Mapping[str, str], cookie: str) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        return self.fits(cookie) or (scheme.lower() == "bearer" and self.fits(given.strip()))


def is_loopback(host: str) -> bool:
    """Tell whether a name or an address is this machine's loopback."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    """Return the name in a ``Host`` header, without its port and brackets."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _is_visit(method: str, headers: Mapping[str, str]) -> bool:
    """Tell whether a person follows a link to the page, from a mail or a chat."""
    return method == "GET" and headers.get("sec-fetch-mode") == "navigate"
