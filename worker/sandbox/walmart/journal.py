"""The journal of effects: JSON lines, appended before the answer goes out, so that `kill -9` loses nothing.

The server's state is what the journal says; on start it is rebuilt from it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

import orjson

from worker.sandbox.walmart.orders import LineEffect

EntryKind = Literal[
    "created",
    "acknowledged",
    "shipped",
    "corrected",
    "cancelled",
    "delivered",
    "refunded",
    "intent_to_cancel",
    "inventory",
    "seller",
    "clock",
    "reset",
]


class InventoryEffect(TypedDict):
    """One stock level that was set."""

    sku: str
    ship_node: str | None
    quantity: int


class Entry(TypedDict):
    """One line of the journal."""

    n: int
    """From 1, without gaps."""
    time: float
    """Epoch seconds, real time."""
    clock_ms: int
    """Epoch ms on the clock of the rules (with its offset)."""
    kind: EntryKind
    by: str
    """`api`, or who else did it."""
    seller: NotRequired[str]
    purchase_order_id: NotRequired[str]
    operation: NotRequired[str]
    correlation_id: NotRequired[str]
    lines: NotRequired[Sequence[LineEffect]]
    charged: NotRequired[int]
    """Units the buyer was charged for by this effect."""
    inventory: NotRequired[list[InventoryEffect]]
    spec: NotRequired[dict[str, Any]]
    """`created`, `seller`, `clock`: what was asked for."""


class JournalUnreadableError(ValueError):
    """A line before the last one is not a journal entry: this is not our file, or it was edited."""


class Journal:
    """Append-only file plus an index in memory. `path` None: memory only; `keep` False: nothing at all."""

    def __init__(self, path: Path | None, *, keep: bool = True) -> None:
        self.keep = keep
        self._file: int | None = None
        self._entries: list[tuple[EntryKind, str | None, bytes]] = []
        self._by_order: dict[str, list[int]] = {}
        self._path = path if keep else None

    def open(self) -> list[Entry]:
        """Read what is there (a torn last line is cut off) and stay open for appending.

        Raises JournalUnreadableError and OSError.
        """
        if self._path is None:
            return []
        entries: list[Entry] = []
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        content = self._path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.ftruncate(self._file, whole)
        for number, raw in enumerate(content[:whole].splitlines(), start=1):
            try:
                entry: Entry = orjson.loads(raw)
                self._remember(entry, raw)
            except (orjson.JSONDecodeError, KeyError, TypeError) as error:
                raise JournalUnreadableError(f"line {number} of the journal is not an entry") from error
            entries.append(entry)
        return entries

    def append(self, entries: Iterable[Entry]) -> None:
        """Hand the entries to the operating system in one write. Raises OSError (a full disk, for one)."""
        if not self.keep:
            return
        pairs = [(entry, orjson.dumps(entry)) for entry in entries]
        if self._file is not None:
            rest = memoryview(b"".join(raw + b"\n" for _, raw in pairs))
            while rest:
                rest = rest[os.write(self._file, rest) :]
        for entry, raw in pairs:
            self._remember(entry, raw)

    def select(
        self, *, purchase_order_id: str | None = None, kind: str | None = None, seller: str | None = None
    ) -> bytes:
        """The matching entries since the last reset, oldest first, as a JSON array."""
        chosen = (
            self._entries
            if purchase_order_id is None
            else [self._entries[place] for place in self._by_order.get(purchase_order_id, [])]
        )
        matching = (
            raw
            for its_kind, its_seller, raw in chosen
            if (kind is None or kind == its_kind) and (seller is None or seller == its_seller)
        )
        return b"[" + b",".join(matching) + b"]"

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _remember(self, entry: Entry, raw: bytes) -> None:
        if entry["kind"] == "reset":
            self._entries.clear()
            self._by_order.clear()
        order = entry.get("purchase_order_id")
        if order is not None:
            self._by_order.setdefault(order, []).append(len(self._entries))
        self._entries.append((entry["kind"], entry.get("seller"), raw))
