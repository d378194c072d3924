"""Answers are read the same however they are framed and wherever they are cut, and nothing but an answer is one."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.walmart import http_answer
from worker.walmart.http_answer import MAX_HEAD_BYTES, AnswerReader, BadAnswerError, Reply

NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,20}", fullmatch=True).filter(
    lambda name: name.lower() not in ("content-length", "transfer-encoding", "connection", "content-encoding")
)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f\x85\xa0"), max_size=30)


def read(data: bytes, cuts: list[int] | None = None, reader: AnswerReader | None = None) -> Reply | None:
    """Feed it cut at these places; the answer must come with the last piece, if it comes."""
    reader = reader or AnswerReader()
    places = sorted({place for place in cuts or () if place < len(data)})
    pieces = [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]
    answer = None
    for piece in pieces:
        assert answer is None, "it came too early"
        answer = reader.feed(piece)
    return answer


@given(
    status=st.integers(200, 999).filter(lambda status: status not in (204, 304)),
    headers=st.dictionaries(NAMES, VALUES, max_size=8),
    body=st.binary(max_size=300),
    sizes=st.none() | st.lists(st.integers(1, 60), max_size=12),
    early=st.lists(st.sampled_from([100, 102, 103]), max_size=2),
    version=st.sampled_from(["1.0", "1.1"]),
    connection=st.sampled_from(["", "close", "keep-alive", "Keep-Alive"]),
    cuts=st.lists(st.integers(1, 900), max_size=12),
    twice=st.booleans(),
)
def test_any_framing_cut_anywhere(
    status: int,
    headers: dict[str, str],
    body: bytes,
    sizes: list[int] | None,
    early: list[int],
    version: str,
    connection: str,
    cuts: list[int],
    twice: bool,
) -> None:
    """`sizes`: of the chunks; None for a body with a length."""
    lines = [f"HTTP/{version} {status} Whatever", *(f"{name}:{value} " for name, value in headers.items())]
    lines += [f"Connection: {connection}"] * bool(connection)
    if sizes is None:
        lines.append(f"CONTENT-Length: {len(body)}")
        framed = body
    else:
        lines.append("Transfer-encoding: Chunked")
        framed, left = b"", body
        for size in sizes:
            chunk, left = left[:size], left[size:]
            framed += b"%x;a=b\r\n%b\r\n" % (len(chunk), chunk) if chunk else b""
        framed += (b"%X\r\n%b\r\n" % (len(left), left) if left else b"") + b"0\r\nX-Sum: 1\r\n\r\n"
    data = b"".join(b"HTTP/1.1 %d\r\nA: b\r\n\r\n" % each for each in early)
    data += "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + framed
    reader = AnswerReader()
    for _ in range(1 + twice):
        answer = read(data, cuts, reader)
        assert answer is not None
        assert (answer.status, answer.body, answer.cut_off) == (status, body, False)
        for name, value in headers.items():
            first = next(text for key, text in headers.items() if key.lower() == name.lower())
            assert answer.headers[name.lower()] == first.strip()
            del value
        kept = connection != "close" and (version == "1.1" or connection != "")
        assert answer.reusable == kept


@given(data=st.binary(max_size=200), cuts=st.lists(st.integers(1, 200), max_size=5), began=st.booleans())
def test_anything_else_is_refused_or_waited_for(data: bytes, cuts: list[int], began: bool) -> None:
    reader = AnswerReader()
    if began:
        reader.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    try:
        for start in range(0, len(data), 7):
            if (answer := reader.feed(data[start : start + 7])) is not None:
                assert began or data.startswith(b"HTTP/1.")
                assert not answer.cut_off
                return
    except BadAnswerError:
        return
    ended = reader.ended(clean=True)
    assert ended is None or ended.cut_off or not began


@pytest.mark.parametrize(
    "data",
    [
        b"not http at all\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n"[:11] + b"x OK\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * (MAX_HEAD_BYTES + 1),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"a" * (MAX_HEAD_BYTES + 1),
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * MAX_HEAD_BYTES,
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n",
    ],
)
def test_no_answer(data: bytes) -> None:
    with pytest.raises(BadAnswerError):
        read(data)


@pytest.mark.parametrize("status", [204, 304])
def test_no_body_where_there_is_none(status: int) -> None:
    answer = read(b"HTTP/1.1 %d X\r\nContent-Length: 5\r\n\r\n" % status)
    assert answer is not None
    assert (answer.body, answer.cut_off, answer.reusable) == (b"", False, True)


def test_what_nobody_asked_for_ends_the_connection() -> None:
    """Bytes behind the answer belong to no request of ours."""
    for framing in (b"Content-Length: 2\r\n\r\n{}", b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"):
        answer = read(b"HTTP/1.1 200 OK\r\n" + framing + b"HTTP/1.1 200 OK\r\n")
        assert answer is not None
        assert (answer.body, answer.cut_off, answer.reusable) == (b"{}", False, False)


def test_a_length_told_in_two_ways_ends_the_connection() -> None:
    """RFC 9112, 6.3: chunked counts."""
    answer = read(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
    assert answer is not None
    assert (answer.body, answer.reusable) == (b"{}", False)


def test_a_body_until_the_connection_closes() -> None:
    reader = AnswerReader()
    assert reader.feed(b"HTTP/1.1 200 OK\r\n\r\nab") is None
    assert reader.feed(b"cd") is None
    assert reader.ended(clean=True) == Reply(200, {}, b"abcd")
    assert reader.feed(b"HTTP/1.1 200 OK\r\n\r\nab") is None
    assert reader.ended(clean=False) == Reply(200, {}, b"ab", cut_off=True)


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 X\r\nContent-Length: 5\r\n\r\nab",
        b"HTTP/1.1 400 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
        b"HTTP/1.1 400 X\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nab",
        b"HTTP/1.1 400 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n",
    ],
)
def test_what_came_of_an_answer_counts(data: bytes, clean: bool) -> None:
    reader = AnswerReader()
    assert reader.feed(data) is None
    answer = reader.ended(clean=clean)
    assert answer is not None
    assert (answer.status, answer.body, answer.cut_off, answer.reusable) == (400, b"ab", True, False)


def test_without_a_head_nothing_came() -> None:
    reader = AnswerReader()
    assert reader.feed(b"HTTP/1.1 200 OK\r\nContent-Le") is None
    assert reader.ended(clean=True) is None
    assert AnswerReader().ended(clean=False) is None


@pytest.mark.parametrize("framing", ["length", "chunked", "closed"])
def test_too_long_is_cut_off(framing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_answer, "MAX_ANSWER_BYTES", 1_000)
    head = {"length": b"Content-Length: 1001\r\n", "chunked": b"Transfer-Encoding: chunked\r\n", "closed": b""}[framing]
    reader = AnswerReader()
    assert reader.feed(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n") is None
    answer = None
    for _ in range(2):
        assert answer is None
        answer = reader.feed((b"1f5\r\n" if framing == "chunked" else b"") + b"x" * 501 + b"\r\n")
    assert answer is not None
    assert (len(answer.body), answer.cut_off, answer.reusable) == (1_000, True, False)


@pytest.mark.parametrize(
    ("coding", "encode"),
    [
        ("gzip", gzip.compress),
        ("X-GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda body: zlib.compress(body)[2:-4]),
        ("br", lambda body: body),
    ],
)
def test_content_codings_that_nobody_asked_for(coding: str, encode: object) -> None:
    """Identity is what we ask for; gzip and deflate are understood all the same, others stay as they are."""
    assert callable(encode)
    body = b'{"order": {}}' * 20
    coded: bytes = encode(body)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {len(coded)}\r\n\r\n".encode()
    answer = read(head + coded)
    assert answer is not None
    assert (answer.body, answer.cut_off) == (body, False)


def test_what_cannot_be_decoded_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken, ended early, or a bomb."""
    monkeypatch.setattr(http_answer, "MAX_ANSWER_BYTES", 10_000)
    whole = gzip.compress(b"x" * 1_000_000)
    for coded, size in ((b"abc", 0), (whole[:-1], 10_000), (whole, 10_000), (gzip.compress(b"y" * 99)[:-9], 99)):
        answer = read(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(coded) + coded)
        assert answer is not None
        assert answer.cut_off
        assert len(answer.body) <= size
