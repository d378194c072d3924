"""Writes the events of one store in a process of its own, so that whoever measures is not kept busy by it.

Run as `python -m tests.bench.flood FLOOD`; its first line of output is said when the first events are written.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import asdict, dataclass
from typing import Final

import orjson
from aiokafka import AIOKafkaProducer

from tests.bench.orders import order_id
from tests.bench.traffic import STRUCTURED, event

_LUMP_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Flood:
    """What to write: JSON, the last argument."""

    bootstrap: str
    topic: str
    store: str
    first: int
    """Number of the first event; orders and events count on from there."""
    count: int
    per_second: float
    """0: as fast as it goes."""
    one_order: bool = False
    """All events are about the first one's order."""

    @property
    def command(self) -> tuple[str, ...]:
        """The child that writes it."""
        return (sys.executable, "-m", "tests.bench.flood", orjson.dumps(asdict(self)).decode())

    def lumps(self) -> list[range]:
        """Numbers of the events that are written together, one lump every `_LUMP_S` seconds."""
        size = self.count if not self.per_second else max(1, round(self.per_second * _LUMP_S))
        end = self.first + self.count
        return [range(start, min(start + size, end)) for start in range(self.first, end, size)]

    def at(self, lump: range) -> float:
        """Seconds after the beginning when a lump is written."""
        return (lump.start - self.first) / self.per_second if self.per_second else 0.0


async def write(flood: Flood) -> None:
    """All of it."""
    producer = AIOKafkaProducer(bootstrap_servers=flood.bootstrap, acks="all", linger_ms=5, max_batch_size=262_144)
    await producer.start()
    try:
        begun = time.monotonic()
        for lump in flood.lumps():
            await asyncio.sleep(begun + flood.at(lump) - time.monotonic())
            sent = []
            for number in lump:
                order = order_id(flood.first if flood.one_order else number)
                value = event(number, store=flood.store, order=order)
                sent.append(await producer.send(flood.topic, value, key=order.encode(), headers=STRUCTURED))
            await asyncio.gather(*sent)
            if lump.start == flood.first:
                sys.stdout.write("begun\n")
                sys.stdout.flush()
    finally:
        await producer.stop()


if __name__ == "__main__":
    asyncio.run(write(Flood(**orjson.loads(sys.argv[-1]))))
