"""Events built from command line options. Pure; SpecError tells people how it is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

_PACKAGE_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "carrier": ("carrier", "code"),
    "title": ("carrier", "title"),
    "service": ("service",),
    "tracking": ("tracking_number",),
    "url": ("tracking_url",),
    "replaces": ("replaces_tracking_number",),
}


class SpecError(ValueError):
    """An option that cannot be read."""


def shipped_items(lines: Sequence[str], skus: Sequence[str], *, parted_by: str = "=") -> list[dict[str, Any]]:
    """`1=2` of lines and `ABC=1` of SKUs as items of a shipment."""
    items: list[dict[str, Any]] = []
    for option, field, specs in (("--line", "line_number", lines), ("--sku", "sku", skus)):
        for spec in specs:
            name, quantity = _parted(spec, parted_by, f"{option} {spec}: write NAME{parted_by}QUANTITY")
            items.append({field: name, "quantity": _whole(quantity, f"{option} {spec}")})
    return items


def cancelled_items(lines: Sequence[str], skus: Sequence[str]) -> list[dict[str, Any]]:
    """`1=2/1` (cancelled and shipped, totals so far) of lines and SKUs as items of a cancellation."""
    items: list[dict[str, Any]] = []
    for option, field, specs in (("--line", "line_number", lines), ("--sku", "sku", skus)):
        for spec in specs:
            how = f"{option} {spec}: write NAME=CANCELLED/SHIPPED, totals so far in commerce (1=2/0: two, none shipped)"
            name, totals = _parted(spec, "=", how)
            cancelled, shipped = _parted(totals, "/", how)
            items.append(
                {field: name, "cancelled_total": _whole(cancelled, how), "shipped_total": _whole(shipped, how)}
            )
    return items


def inventory(specs: Sequence[str], as_of: str) -> list[dict[str, Any]]:
    """`ABC=12` or `ABC=12@NODE` as stock after the cancellation."""
    levels: list[dict[str, Any]] = []
    for spec in specs:
        how = f"--inventory {spec}: write SKU=QUANTITY or SKU=QUANTITY@NODE"
        sku, rest = _parted(spec, "=", how)
        quantity, _, node = rest.partition("@")
        levels.append({"sku": sku, "quantity": _whole(quantity, how), "ship_node": node or None, "as_of": as_of})
    return levels


def package(spec: str) -> dict[str, Any]:
    """`carrier=ups,tracking=1Z999,line=1:2,sku=ABC:1` as a package."""
    made: dict[str, Any] = {}
    lines: list[str] = []
    skus: list[str] = []
    for part in spec.split(","):
        known = ", ".join((*_PACKAGE_KEYS, "line", "sku"))
        name, separator, value = part.strip().partition("=")
        if not separator or not value:
            raise SpecError(f"--package {spec}: write KEY=VALUE,…; keys are {known}")
        if name == "line":
            lines.append(value)
        elif name == "sku":
            skus.append(value)
        elif name in _PACKAGE_KEYS:
            *above, last = _PACKAGE_KEYS[name]
            place = made.setdefault(above[0], {}) if above else made
            place[last] = value
        else:
            raise SpecError(f"--package {spec}: no key {name}; keys are {known}")
    made.setdefault("carrier", {})
    items = shipped_items(lines, skus, parted_by=":")
    return {**made, "items": items} if items else made


def packages(
    specs: Sequence[str], single: dict[str, Any], items: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]] | None]:
    """The packages and, where no package says what is in it, the shipment's own items.

    `single` is the one package that --carrier, --tracking and so on describe; empty where --package is used.
    """
    if specs and single:
        raise SpecError("--package says everything about a package: leave --carrier, --tracking and the like out")
    if not specs:
        return [{"carrier": {}, **single, **({"items": items} if items else {})}], None
    made = [package(spec) for spec in specs]
    return made, items or None


def _parted(spec: str, separator: str, how: str) -> tuple[str, str]:
    # From the right: a SKU may hold the separator, a number cannot.
    name, found, rest = spec.rpartition(separator)
    if not found or not name or not rest:
        raise SpecError(how)
    return name, rest


def _whole(text: str, where: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise SpecError(f"{where}: {text} is no whole number")
    return int(text)
