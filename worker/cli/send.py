"""`order-sync send`: publishes one event to Kafka."""

from __future__ import annotations

import sys
import uuid
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from worker.cli.common import load_settings, quiet, run_bounded
from worker.cli.exit_codes import ExitCode
from worker.cli.options import AsJson, Config
from worker.cli.output import cell, console, emit, end
from worker.cli.send_result import exit_code, print_result
from worker.cli.teaching import page, teaches

if TYPE_CHECKING:
    from worker.delivery import Place
    from worker.oncall.sending import Outgoing
    from worker.settings import Settings

_SOURCE = "/order-sync/cli"
_MAX_FILE_BYTES = 16 * 1_048_576


class Mode(StrEnum):
    """CloudEvents modes of the Kafka protocol binding."""

    BINARY = "binary"
    STRUCTURED = "structured"


class _FileByDefault(TyperGroup):
    """`send FILE` is short for `send file FILE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = {*self.commands, "--help", "-h"}
        if args and args[0] not in known and not ctx.resilient_parsing:
            args = ["file", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_FileByDefault,
    no_args_is_help=True,
    help=page(
        """Publish one event to Kafka: from a file, or built from options.

        It is checked against the contract first, keyed by the purchase order id and placed by Kafka's default
        partitioner. `send FILE` is short for `send file FILE`.
        """,
        "order-sync send event.json --wait 30",
        "order-sync send shipped --order 1796277083022 --store us --line 1=2 \\",
        "    --carrier ups --tracking 1Z999AA10123456784",
        "order-sync send cancelled --order 1796277083022 --store us --line 1=2/0 \\",
        "    --reason 'The item is out of stock'",
    ),
)

Order = Annotated[str, typer.Option("--order", metavar="PO", help="Walmart's purchase order id.")]
Store = Annotated[str, typer.Option("--store", metavar="STORE", help="Sales-channel store, as in the settings.")]
CommerceOrder = Annotated[
    str | None, typer.Option("--commerce-order", metavar="ID", help="Commerce's order id; default: the order's.")
]
Source = Annotated[str, typer.Option("--source", metavar="SOURCE", help="CloudEvents source.")]
EventId = Annotated[
    str | None, typer.Option("--id", metavar="ID", help="CloudEvents id; the same one again is the same event.")
]
BuiltMode = Annotated[Mode, typer.Option("--mode", help="Attributes in headers, or all in the value.")]
Unchecked = Annotated[
    bool, typer.Option("--unchecked", help="Send it although it breaks the contract: to see what the worker says.")
]
Wait = Annotated[
    float,
    typer.Option("--wait", min=0, metavar="SECONDS", help="Wait so long for its sync result and show it; 0: do not."),
]
Skus = Annotated[list[str] | None, typer.Option("--sku", metavar="SKU=N", help="The same by SKU. Repeatable.")]


@app.command("file")
@teaches(
    "order-sync send event.json",
    "order-sync send schemas/examples/order-shipped.one-package.json --wait 30",
    "jq '.data.store = \"us\"' event.json | order-sync send -",
)
def file(
    path: Annotated[
        str, typer.Argument(metavar="FILE", help="One structured CloudEvent as JSON; - is standard input.")
    ],
    mode: BuiltMode = Mode.STRUCTURED,
    unchecked: Unchecked = False,
    topic: Annotated[
        str | None, typer.Option(metavar="TOPIC", help="Another topic than its type says; only with --unchecked.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Another key than its order; only with --unchecked.")
    ] = None,
    wait: Wait = 0.0,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Publish the event in a file. In structured mode its bytes are sent as they are."""
    from worker.cli.send_record import RefusedError, from_file

    if not unchecked and (topic is not None or key is not None):
        end(ExitCode.MISTAKE, "--topic and --key need --unchecked", as_json=as_json)
    raw = _read(path, as_json=as_json)
    settings = load_settings(config, as_json=as_json)
    try:
        record = from_file(raw, settings.topics, mode=mode.value, unchecked=unchecked, topic=topic, key=key)
    except RefusedError as error:
        end(ExitCode.MISTAKE, str(error), as_json=as_json, lines=error.problems)
    _send(settings, record, wait, as_json=as_json)


@app.command("shipped")
@teaches(
    "order-sync send shipped --order 1796277083022 --store us --line 1=2 \\",
    "    --carrier ups --tracking 1Z999AA10123456784",
    "order-sync send shipped --order 1796277083022 --store us \\",
    "    --package carrier=ups,tracking=1Z999AA10123456784,line=1:1 \\",
    "    --package carrier=fedex,tracking=449044304137821,line=1:1,sku=ABC:2",
    "order-sync send shipped … --tracking NEW --replaces OLD   corrects a number",
)
def shipped(
    order: Order,
    store: Store,
    line: Annotated[
        list[str] | None, typer.Option(metavar="LINE=N", help="N units of this line number. Repeatable.")
    ] = None,
    sku: Skus = None,
    carrier: Annotated[str | None, typer.Option(metavar="CODE", help="Commerce's carrier code, such as ups.")] = None,
    carrier_title: Annotated[str | None, typer.Option(metavar="TITLE", help="Commerce's carrier title.")] = None,
    tracking: Annotated[str | None, typer.Option(metavar="NUMBER", help="Tracking number.")] = None,
    tracking_url: Annotated[str | None, typer.Option(metavar="URL", help="Where the package can be followed.")] = None,
    replaces: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="The number Walmart shows that --tracking replaces.")
    ] = None,
    package: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPEC",
            help="A package as KEY=VALUE,…: carrier, title, service, tracking, url, replaces, line=LINE:N, sku=SKU:N. "
            "Repeatable. Without line and sku in any, --line and --sku are the whole shipment's.",
        ),
    ] = None,
    shipment_id: Annotated[str | None, typer.Option(metavar="ID", help="Shipment id; default: a new one.")] = None,
    shipped_at: Annotated[str | None, typer.Option(metavar="TIME", help="RFC 3339 with zone; default: now.")] = None,
    override_cancel: Annotated[
        bool, typer.Option("--override-cancel", help="Ship although the buyer asked to cancel.")
    ] = False,
    commerce_order: CommerceOrder = None,
    source: Source = _SOURCE,
    event_id: EventId = None,
    mode: BuiltMode = Mode.BINARY,
    unchecked: Unchecked = False,
    wait: Wait = 0.0,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Build and publish an order-shipped event: one package from --carrier and --tracking, or several --package."""
    from schemas.events import ORDER_SHIPPED_TYPE
    from worker.cli import send_building as building

    described: dict[str, Any] = {
        "carrier": {name: value for name, value in (("code", carrier), ("title", carrier_title)) if value},
        "tracking_number": tracking,
        "tracking_url": tracking_url,
        "replaces_tracking_number": replaces,
    }
    try:
        packages, items = building.packages(
            package or (),
            {name: value for name, value in described.items() if value},
            building.shipped_items(line or (), sku or ()),
        )
    except building.SpecError as error:
        end(ExitCode.MISTAKE, str(error), as_json=as_json)
    shipment = shipment_id or f"cli-{uuid.uuid4().hex[:12]}"
    data: dict[str, Any] = {
        "store": store,
        "purchase_order_id": order,
        "commerce_order_id": commerce_order or order,
        "shipment_id": shipment,
        "shipped_at": shipped_at or _now(),
        "packages": packages,
        **({"items": items} if items else {}),
        **({"intent_to_cancel_override": True} if override_cancel else {}),
    }
    _build_and_send(
        ORDER_SHIPPED_TYPE, event_id or f"{shipment}-{uuid.uuid4().hex[:8]}", source, data,
        mode=mode, unchecked=unchecked, wait=wait, config=config, as_json=as_json,
    )  # fmt: skip


@app.command("cancelled")
@teaches(
    "order-sync send cancelled --order 1796277083022 --store us --line 1=2/0 \\",
    "    --reason 'The item is out of stock'",
    "order-sync send cancelled --order 1796277083022 --store us --sku ABC=3/1 \\",
    "    --inventory ABC=12 --wait 30",
)
def cancelled(
    order: Order,
    store: Store,
    line: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LINE=CANCELLED/SHIPPED", help="Totals so far in commerce, not differences: 1=2/0. Repeatable."
        ),
    ] = None,
    sku: Annotated[
        list[str] | None, typer.Option(metavar="SKU=CANCELLED/SHIPPED", help="The same by SKU. Repeatable.")
    ] = None,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Reason as commerce words it, or one of Walmart's codes.")
    ] = None,
    reason_code: Annotated[str | None, typer.Option(metavar="CODE", help="Commerce's reason code.")] = None,
    inventory: Annotated[
        list[str] | None,
        typer.Option(metavar="SKU=N[@NODE]", help="Stock after the cancellation. Repeatable."),
    ] = None,
    cancelled_at: Annotated[str | None, typer.Option(metavar="TIME", help="RFC 3339 with zone; default: now.")] = None,
    commerce_order: CommerceOrder = None,
    source: Source = _SOURCE,
    event_id: EventId = None,
    mode: BuiltMode = Mode.BINARY,
    unchecked: Unchecked = False,
    wait: Wait = 0.0,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Build and publish an order-cancelled event. Without --line and --sku it means everything not yet shipped."""
    from schemas.events import ORDER_CANCELLED_TYPE
    from worker.cli import send_building as building

    at = cancelled_at or _now()
    try:
        items = building.cancelled_items(line or (), sku or ())
        levels = building.inventory(inventory or (), at)
    except building.SpecError as error:
        end(ExitCode.MISTAKE, str(error), as_json=as_json)
    data: dict[str, Any] = {
        "store": store,
        "purchase_order_id": order,
        "commerce_order_id": commerce_order or order,
        "cancelled_at": at,
        **({"reason": {"code": reason_code, "text": reason}} if reason or reason_code else {}),
        **({"items": items} if items else {}),
        **({"inventory": levels} if levels else {}),
    }
    _build_and_send(
        ORDER_CANCELLED_TYPE, event_id or f"cancel-{order}-{uuid.uuid4().hex[:8]}", source, data,
        mode=mode, unchecked=unchecked, wait=wait, config=config, as_json=as_json,
    )  # fmt: skip


def _build_and_send(
    kind: str,
    event_id: str,
    source: str,
    data: dict[str, Any],
    *,
    mode: Mode,
    unchecked: bool,
    wait: float,
    config: Path | None,
    as_json: bool,
) -> None:
    from schemas.cloudevents import CloudEvent
    from worker.cli.send_record import RefusedError, from_event

    settings = load_settings(config, as_json=as_json)
    event = CloudEvent(event_id, source, kind, datetime.now(UTC), data, mode.value)
    try:
        record = from_event(event, settings.topics, mode=mode.value, unchecked=unchecked)
    except RefusedError as error:
        end(ExitCode.MISTAKE, str(error), as_json=as_json, lines=error.problems)
    _send(settings, record, wait, as_json=as_json)


def _send(settings: Settings, record: Outgoing, wait: float, *, as_json: bool) -> None:
    from worker.oncall.sending import TooLargeError, send

    quiet()

    def tell(place: Place) -> None:
        key = "no key" if record.key is None else f"key {record.key.decode('utf-8', 'replace')}"
        console(stderr=as_json).print(
            cell(f"sent: {record.topic}/{place.partition}/{place.offset} ({key})"), soft_wrap=True
        )

    try:
        done = run_bounded(send(settings, record, wait_s=wait, sent=tell), as_json=as_json)
    except TooLargeError as error:
        end(ExitCode.MISTAKE, str(error), as_json=as_json)
    if as_json:
        emit({
            "topic": record.topic,
            "partition": done.place.partition,
            "offset": done.place.offset,
            "key": None if record.key is None else record.key.decode("utf-8", "replace"),
            "result": None if done.result is None else done.result.model_dump(mode="json"),
        })  # fmt: skip
    elif wait > 0:
        print_result(done.result, wait)
    if wait > 0:
        end(exit_code(done.result))


def _read(path: str, *, as_json: bool) -> bytes:
    try:
        if path == "-":
            raw = sys.stdin.buffer.read(_MAX_FILE_BYTES + 1)
        else:
            with Path(path).open("rb") as stream:
                raw = stream.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        end(ExitCode.MISTAKE, f"{path}: {error.strerror or error}", as_json=as_json)
    if len(raw) > _MAX_FILE_BYTES:
        end(ExitCode.MISTAKE, f"{path}: larger than {_MAX_FILE_BYTES // 1_048_576} MiB", as_json=as_json)
    return raw


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
