"""`python -m worker.sandbox.walmart`: run the simulated Walmart until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import get_args

import orjson

from worker.sandbox.walmart.bodies import BodyChecks
from worker.sandbox.walmart.journal import Journal, JournalUnreadableError
from worker.sandbox.walmart.server import WalmartServer
from worker.sandbox.walmart.specs import Operation, Rate, SellerSpec
from worker.sandbox.walmart.world import World


def main(arguments: list[str] | None = None) -> int:
    """Parse, run, return the exit code: 0 after a clean stop, 2 when it cannot start."""
    options = _parser().parse_args(arguments)
    if (options.journal is None) != options.no_journal:
        _parser().error("give --journal FILE, or --no-journal")
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    try:
        asyncio.run(_run(options))
    except (OSError, JournalUnreadableError) as error:
        sys.stderr.write(f"cannot start: {error}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m worker.sandbox.walmart", description="A simulated Walmart.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="of the API; 0: any free one")
    parser.add_argument("--control-port", type=int, default=0, help="of /_sim, open also while the API refuses")
    parser.add_argument("--journal", type=Path, metavar="FILE", help="effects; the state is rebuilt from it")
    parser.add_argument("--no-journal", action="store_true", help="keep no journal (benchmarks)")
    parser.add_argument("--no-validate", action="store_true", help="skip the JSON Schemas (benchmarks)")
    parser.add_argument("--delay-seconds", type=float, default=0.0, help="every answer takes this much longer")
    parser.add_argument(
        "--seller",
        action="append",
        default=[],
        metavar="ID:SECRET[:MARKET]",
        help="a seller (default: sandbox-client:sandbox-secret)",
    )
    parser.add_argument("--token-seconds", type=float, default=900.0, help="life of a token")
    parser.add_argument("--rate", action="append", default=[], metavar="OPERATION=PER_MINUTE[:BURST]", type=_rate)
    parser.add_argument("--speed-up", type=float, default=1.0, help="budgets refill this much faster")
    parser.add_argument("--unlimited", action="store_true", help="no budgets")
    parser.add_argument("--watch-stdin", action="store_true", help="stop when standard input ends (parent died)")
    return parser


def _rate(text: str) -> tuple[str, Rate]:
    operation, _, numbers = text.partition("=")
    per_minute, _, burst = numbers.partition(":")
    if operation not in get_args(Operation):
        raise argparse.ArgumentTypeError(f"operation must be one of {', '.join(get_args(Operation))}")
    try:
        return operation, Rate(per_minute=float(per_minute), burst=int(burst) if burst else None)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not a rate: {text}") from error


def _sellers(options: argparse.Namespace) -> list[SellerSpec]:
    specs: list[SellerSpec] = []
    for text in options.seller or ["sandbox-client:sandbox-secret"]:
        client_id, client_secret, *market = text.split(":")
        specs.append(
            SellerSpec(
                client_id=client_id,
                client_secret=client_secret,
                market=market[0] if market else "us",
                token_seconds=options.token_seconds,
                rates=dict(options.rate),
                speed_up=options.speed_up,
                unlimited=options.unlimited,
            )
        )
    return specs


async def _run(options: argparse.Namespace) -> None:
    journal = Journal(options.journal, keep=not options.no_journal)
    world = World(journal, delay_seconds=options.delay_seconds)
    world.rebuild()
    for spec in _sellers(options):
        if spec.client_id not in world.sellers:
            world.add_seller(spec)
    server = WalmartServer(world, BodyChecks(enabled=not options.no_validate))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    if options.watch_stdin:
        loop.add_reader(sys.stdin.fileno(), lambda: None if os.read(sys.stdin.fileno(), 1024) else stop.set())
    await server.start(options.host, options.port, options.control_port)
    address = {
        "url": f"http://{options.host}:{server.port}",
        "control_url": f"http://{options.host}:{server.control_port}",
        "port": server.port,
        "control_port": server.control_port,
        "pid": os.getpid(),
    }
    sys.stdout.write(orjson.dumps(address).decode() + "\n")
    sys.stdout.flush()
    await stop.wait()
    await server.stop()
    journal.close()


if __name__ == "__main__":
    sys.exit(main())
