"""JSON text: a key that stands twice in one object is found however it is written, and no other is taken for one."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas.jsontext import NotJson, parse

TEXTS = st.text(st.sampled_from('ab:" \\é'), max_size=3)
LEAVES = st.none() | st.integers(-9, 9) | TEXTS
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(TEXTS, inner), max_size=3).map(tuple),
    max_leaves=8,
)
"""Objects are tuples of pairs: their keys may be equal."""


@given(value=VALUES, colon=st.sampled_from([":", ": ", " :", "\n:\t"]), ascii_only=st.booleans(), odd=st.booleans())
def test_a_key_that_stands_twice_is_found(value: Any, colon: str, ascii_only: bool, odd: bool) -> None:
    def written(value: Any) -> str:
        if isinstance(value, tuple):
            return "{" + ", ".join(f"{text(key)}{colon}{written(one)}" for key, one in value) + "}"
        if isinstance(value, list):
            return "[" + ",".join(map(written, value)) + "]"
        return text(value)

    def text(value: Any) -> str:
        # A colon may be written as an escape, too: then it is not a colon in the bytes.
        told = json.dumps(value, ensure_ascii=ascii_only)
        return told.replace(":", "\\u003a") if odd else told

    def twice(value: Any) -> bool:
        if isinstance(value, tuple):
            keys = [key for key, _ in value]
            return len(set(keys)) < len(keys) or any(twice(one) for _, one in value)
        return isinstance(value, list) and any(map(twice, value))

    assert isinstance(parse(written(value).encode()), NotJson) == twice(value)
