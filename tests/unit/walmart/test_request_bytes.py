"""Requests as bytes."""

from __future__ import annotations

import uuid

import pytest

from worker.settings import AccountSettings
from worker.walmart.headers import Requests, new_correlation_id, requests_of
from worker.walmart.http_session import Origin


def requests(base: str, **more: object) -> Requests:
    return requests_of(
        AccountSettings.model_validate({"client_id": "i", "client_secret": "s", "base_url": base, **more})
    )


@pytest.mark.parametrize(
    ("base", "origin", "host", "path"),
    [
        ("https://shop.example", (True, "shop.example", 443), "shop.example", "/v3/x"),
        ("https://Host.Example:8443/", (True, "host.example", 8443), "host.example:8443", "/v3/x"),
        ("http://127.0.0.1:80/a/b/", (False, "127.0.0.1", 80), "127.0.0.1", "/a/b/v3/x"),
        ("http://[::1]:8080/ä", (False, "::1", 8080), "[::1]:8080", "/%C3%A4/v3/x"),
        ("http://münchen.example", (False, "xn--mnchen-3ya.example", 80), "xn--mnchen-3ya.example", "/v3/x"),
    ],
)  # fmt: skip
def test_address(base: str, origin: tuple[bool, str, int], host: str, path: str) -> None:
    made = requests(base)
    assert made.origin == Origin(*origin)
    lines = made.make("GET", "/v3/x", "A: b\r\n", None).decode("ascii").split("\r\n")
    assert lines[0] == f"GET {path} HTTP/1.1"
    assert f"Host: {host}" in lines
    assert lines[-3:] == ["A: b", "", ""]
    assert not [line for line in lines if line.startswith("Content-Length")]


def test_body_with_its_length() -> None:
    made = requests("http://h")
    assert made.make("POST", "/p", "", b"").endswith(b"\r\nContent-Length: 0\r\n\r\n")
    assert made.make("PUT", "/p", "", "ä".encode()).endswith(b"\r\nContent-Length: 2\r\n\r\n\xc3\xa4")


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\n", "\x00", "a\x7f"])
def test_no_header_out_of_a_value(value: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        requests("http://h", channel_type=value)


def test_correlation_ids_are_uuids_and_all_different() -> None:
    ids = {new_correlation_id() for _ in range(10_000)}
    assert len(ids) == 10_000
    assert all(str(uuid.UUID(text)) == text and uuid.UUID(text).version == 4 for text in list(ids)[:100])
