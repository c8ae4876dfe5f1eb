from __future__ import annotations

import pytest

from nubila.curate.review.guard import Guard, is_loopback

HERE = {"host": "127.0.0.1:8765"}
OURS = {"x-nubila-review": "1"}


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", HERE, 0),
        ("GET", {"host": "localhost:8765"}, 0),
        ("GET", {"host": "[::1]:8765"}, 0),
        ("GET", {"host": "evil.example"}, 403),  # a name of theirs that points here
        ("GET", {"host": "127.0.0.1.evil.example:8765"}, 403),
        ("GET", {"host": "localhost.evil.example"}, 403),
        ("GET", {}, 403),
        ("GET", {"host": "[::1"}, 403),
        ("GET", HERE | {"origin": "http://127.0.0.1:8765"}, 0),
        ("GET", HERE | {"origin": "http://127.0.0.1:9999"}, 403),
        ("GET", HERE | {"origin": "null"}, 403),
        ("GET", HERE | {"origin": "http://[::1"}, 403),
        ("GET", HERE | {"sec-fetch-site": "cross-site"}, 403),
        ("GET", HERE | {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 0),
        ("POST", HERE, 403),  # as a form of another page sends it
        ("POST", HERE | OURS, 0),
        ("PUT", HERE | OURS | {"origin": "https://evil.example"}, 403),
        ("POST", HERE | OURS | {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 403),
        ("DELETE", HERE, 403),
    ],
)
def test_loopback_answers_its_own_page_only(
    method: str, headers: dict[str, str], status: int
) -> None:
    assert Guard(None).refusal(method, headers, "")[0] == status


@pytest.mark.parametrize(
    ("headers", "cookie", "status"),
    [
        ({}, "", 401),
        ({}, "secret", 0),
        ({}, "secre", 401),
        ({}, "sécret", 401),
        ({"authorization": "Bearer secret"}, "", 0),
        ({"authorization": "Bearer wrong"}, "", 401),
        ({"authorization": "Basic secret"}, "", 401),
        ({"origin": "http://evil.example"}, "secret", 403),
    ],
)
def test_others_need_the_token(headers: dict[str, str], cookie: str, status: int) -> None:
    found = Guard("secret").refusal("GET", {"host": "10.0.0.5:8765"} | headers, cookie)
    assert found[0] == status


def test_without_a_token_nothing_fits() -> None:
    assert not Guard(None).fits("")
    assert Guard("a").fits("a") and not Guard("a").fits("")


@pytest.mark.parametrize(
    ("host", "is_so"),
    [
        *[(host, True) for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost", "LOCALHOST")],
        *[(host, False) for host in ("0.0.0.0", "::", "10.0.0.1", "example.org", "")],
    ],
)
def test_loopback_is_told_from_other_addresses(host: str, is_so: bool) -> None:
    assert is_loopback(host) is is_so
