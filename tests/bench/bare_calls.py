"""What anyone would write: so many tasks, each with GET and POST for one order after another. No Kafka at all."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

from tests.bench.contract import Task, task_of_arguments
from tests.bench.handlers import Handle, handler_of


async def work(handle: Handle, numbers: Iterator[int]) -> None:
    for number in numbers:
        await handle(number)


async def main(task: Task) -> None:
    handle, numbers = handler_of(task), itertools.count()
    await asyncio.gather(*(work(handle, numbers) for _ in range(task.in_flight)))


if __name__ == "__main__":
    asyncio.run(main(task_of_arguments()))
