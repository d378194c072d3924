"""The calls of a shipment: pieces of lines as statuses, together or apart, with what the order must show afterwards."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

from schemas.events import Address, OrderShipped
from schemas.walmart.order import Order
from schemas.walmart.shipment import SELLER_ORDER_ID_LENGTH, ShipStatus
from worker.outcome import ConfirmedUnits, Warned
from worker.sync.calls import Acknowledge, Call, Correct, Key, Memory, Ship
from worker.sync.carriage import Blocked, Carriage, ShipTime, method_of
from worker.sync.match import Box, Ledger
from worker.sync.tracking import canonical

_ADDRESS: Final = {
    "name": "name",
    "address1": "address1",
    "address2": "address2",
    "city": "city",
    "state": "state",
    "postal_code": "postalCode",
    "country": "country",
    "day_phone": "dayPhone",
    "email": "emailId",
}


class Piece(NamedTuple):
    """Units of one line that go out in one package."""

    line_number: str
    quantity: int
    box: Box
    carriage: Carriage


_Entry = tuple[ShipStatus, Key]


def ship_calls(
    data: OrderShipped,
    order: Order,
    sends: list[Piece],
    moves: list[Piece],
    ship_time: ShipTime | Blocked | None,
    ledger: Ledger,
    memory: Memory,
) -> tuple[tuple[Call, ...], list[Warned]]:
    """Acknowledge where something is Created, then ship `sends`, then correct `moves`; and what to warn of.

    Each call's `expected` and `leaves_units_open` hold for that call sent first: the plan is made anew after each.
    """
    if not isinstance(ship_time, ShipTime) or not (sends or moves):
        return (), []
    warnings = _warnings(data, sends + moves, ship_time)
    calls: list[Call] = []
    if sends and not memory.acknowledged and any(line.created for line in order.lines):
        calls.append(Acknowledge())
    seller_order_id = data.commerce_order_id[:SELLER_ORDER_ID_LENGTH]
    address = _walmart_address(data.return_center_address)
    override = data.intent_to_cancel_override
    for group in _grouped(_entries(order, sends, ship_time.ms, correction=False), memory.one_by_one):
        statuses, keys = tuple([entry[0] for entry in group]), tuple([entry[1] for entry in group])
        leaves = _leaves_open(order, statuses)
        calls.append(Ship(statuses, keys, _expected(ledger, group), leaves, seller_order_id, override, address))
    for group in _grouped(_entries(order, moves, ship_time.ms, correction=True), memory.one_by_one):
        statuses, keys = tuple([entry[0] for entry in group]), tuple([entry[1] for entry in group])
        calls.append(Correct(statuses, keys, _expected(ledger, group), seller_order_id, override, address))
    return tuple(calls), list(dict.fromkeys(warnings)) if warnings else warnings


def _warnings(data: OrderShipped, pieces: list[Piece], ship_time: ShipTime) -> list[Warned]:
    told = []
    for piece in pieces:
        number = piece.box.number
        if number.sent != number.told:
            told.append(Warned("tracking_cleaned", f"{number.told} was sent as {number.sent}"))
        if piece.carriage.warning is not None:
            told.append(piece.carriage.warning)
    if ship_time.warning is not None:
        told.append(ship_time.warning)
    if len(data.commerce_order_id) > SELLER_ORDER_ID_LENGTH:
        message = f"{data.commerce_order_id[:60]} is longer than {SELLER_ORDER_ID_LENGTH} characters"
        told.append(Warned("seller_order_id_cut", message))
    return told


def _entries(order: Order, pieces: list[Piece], ship_time_ms: int, *, correction: bool) -> list[_Entry]:
    """One status per line and number (and old number), in the order of Walmart's lines."""
    if not pieces:
        return []
    summed: dict[tuple[str, str, str | None], int] = {}
    first: dict[tuple[str, str, str | None], Piece] = {}
    for piece in pieces:
        key = (piece.line_number, piece.box.number.canonical, piece.box.replaces if correction else None)
        summed[key] = summed.get(key, 0) + piece.quantity
        first.setdefault(key, piece)
    method = method_of(order)
    keys = list(summed)
    if len(keys) > 1:
        place = {line.line_number: index for index, line in enumerate(order.lines)}
        keys.sort(key=lambda key: (place[key[0]], key[1], key[2] or ""))
    entries: list[_Entry] = []
    for key in keys:
        piece = first[key]
        carrier, other_carrier, tracking_url, _ = piece.carriage
        sent = piece.box.number.sent
        current = _spelling(order, key[0], key[2])
        status = ShipStatus(
            key[0], summed[key], sent, ship_time_ms, method, carrier, other_carrier, tracking_url, current
        )
        entries.append((status, (key[0], key[1])))
    return entries


def _grouped(entries: list[_Entry], one_by_one: int) -> Collection[list[_Entry]]:
    if one_by_one == 0 or len(entries) < 2:
        return [entries] if entries else []
    if one_by_one > 1:
        return [[entry] for entry in entries]
    by_number: dict[str | None, list[_Entry]] = {}
    for entry in entries:
        by_number.setdefault(entry[1][1], []).append(entry)
    return by_number.values()


def _expected(ledger: Ledger, group: list[_Entry]) -> tuple[ConfirmedUnits, ...]:
    totals: dict[tuple[str, str], int] = {}
    for status, (line_number, form) in group:
        key = (line_number, form or "")
        totals[key] = totals.get(key, ledger.totals.get(key, 0)) + status.quantity
    return tuple([ConfirmedUnits(line_number, units, form) for (line_number, form), units in totals.items()])


def _leaves_open(order: Order, statuses: tuple[ShipStatus, ...]) -> bool:
    left: dict[str, int] = {}
    for status in statuses:
        number = status.line_number
        left[number] = (left[number] if number in left else order.by_number[number].open) - status.quantity
    return any(units > 0 for units in left.values())


def _spelling(order: Order, line_number: str, form: str | None) -> str | None:
    """The number to be replaced as Walmart's order spells it."""
    if form is None:
        return None
    for parcel in order.by_number[line_number].parcels:
        if parcel.tracking_number and canonical(parcel.tracking_number) == form:
            return parcel.tracking_number
    return form


def _walmart_address(address: Address | None) -> dict[str, str] | None:
    if address is None:
        return None
    return {theirs: value for ours, theirs in _ADDRESS.items() if (value := getattr(address, ours))}
