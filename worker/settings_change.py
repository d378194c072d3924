"""What becomes of changed settings while the worker runs: what counts at once, what waits for a restart. Pure.

    change = compare(in_force, loaded)
    change.in_force            # what may be in force from now on: what waits for a restart is as it was
    change.changed, change.restart

`TAKES_EFFECT` says of every key when a new value counts, and who sees to it; a test fails for a key that it does not
know, `worker/SETTINGS.md` shows it. Rooms take new settings by their `configure`; one that kept a part of the old tree,
or a number out of it, is found by `tests/unit/test_reconfigured.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from worker.settings import AccountSettings, Section, Settings
from worker.settings_schema import PARTS, Key

LIVE: Final = "at once"
RESTART: Final = "restart"
NEW_CLIENT: Final = "at once: a new client and token; calls under way end with the old ones"
NEXT_TOKEN: Final = "at once: with the next token; the present one is used until it ends"  # noqa: S105  # a text
EVENTS_TRIED: Final = "at once: from each event's next try on"
CALLS_BEGUN: Final = "at once: for calls begun from then on"

TAKES_EFFECT: Final[Mapping[str, Mapping[str, str]]] = {
    # Baked into connections, the group membership and the offsets.
    "kafka": {
        "bootstrap_servers": RESTART,
        "group_id": RESTART,
        "group_instance_id": RESTART,
        "client_id": RESTART,
        "security_protocol": RESTART,
        "sasl_mechanism": RESTART,
        "sasl_username": RESTART,
        "sasl_password": RESTART,
        "sasl_password_file": RESTART,
        "ssl_cafile": RESTART,
        "ssl_certfile": RESTART,
        "ssl_keyfile": RESTART,
        "session_timeout_seconds": RESTART,
        "rebalance_timeout_seconds": RESTART,
        "request_timeout_seconds": RESTART,
        "max_record_bytes": RESTART,
    },
    # Events are named by their topic, and offsets are committed by it.
    "topics": {"order_shipped": RESTART, "order_cancelled": RESTART, "sync_result": RESTART, "dead_letter": RESTART},
    "accounts": {
        "client_id": NEW_CLIENT,
        "client_secret": NEXT_TOKEN,
        "client_secret_file": NEXT_TOKEN,
        "base_url": NEW_CLIENT,
        "market": NEW_CLIENT,
        "channel_type": NEW_CLIENT,
        "read_calls_per_minute": LIVE,
        "ship_calls_per_minute": LIVE,
        "cancel_calls_per_minute": LIVE,
        "acknowledge_calls_per_minute": LIVE,
        "inventory_calls_per_minute": LIVE,
        "paused": LIVE,
        "observe": EVENTS_TRIED,
    },
    "stores": {
        "account": EVENTS_TRIED,
        "unmapped_carrier": EVENTS_TRIED,
        "unknown_reason": EVENTS_TRIED,
        "cancel_without_items": EVENTS_TRIED,
        "tracking_url_template": EVENTS_TRIED,
        "inventory_after_out_of_stock": EVENTS_TRIED,
        "carriers": EVENTS_TRIED,
        "reasons": EVENTS_TRIED,
        "paused": LIVE,
        "observe": EVENTS_TRIED,
    },
    "timing": {
        "slo_seconds": "at once; the bucket of `event_latency_seconds` that begins there after a restart",
        "call_timeout_seconds": CALLS_BEGUN,
        "connect_timeout_seconds": CALLS_BEGUN,
        "retry_base_seconds": EVENTS_TRIED,
        "retry_max_seconds": EVENTS_TRIED,
        "park_after_seconds": LIVE,
        "parked_retry_max_seconds": EVENTS_TRIED,
        "give_up_after_hours": LIVE,
        "probe_seconds": "at once: from each gate's next probe on",
        "read_lag_seconds": "at once: for what is written from then on",
        "settle_seconds": EVENTS_TRIED,
        "inventory_max_age_seconds": EVENTS_TRIED,
        "order_fresh_seconds": "at once: for answers that come from then on",
        "reload_check_seconds": LIVE,
    },
    "limits": {
        "min_tries": EVENTS_TRIED,
        "max_in_flight_events": LIVE,
        "max_in_flight_events_per_account": LIVE,
        "max_queued_events": LIVE,
        "max_queued_bytes": LIVE,
        "max_parked_events": LIVE,
        "max_queued_events_per_account": LIVE,
        "max_token_requests": LIVE,
        "max_internal_errors": LIVE,
    },
    "http": {"host": RESTART, "port": RESTART},
    "metrics": {"account_names": LIVE},
    "log": {"level": LIVE},
}
"""Section -> key -> when a new value counts."""

_CLIENT_IS: Final = tuple(key for key, when in TAKES_EFFECT["accounts"].items() if when == NEW_CLIENT)
_SECRET_IS: Final = tuple(key for key, when in TAKES_EFFECT["accounts"].items() if when == NEXT_TOKEN)


@dataclass(frozen=True, slots=True)
class Change:
    """What differs. A key is a path of names; that of a whole account or store is `("stores", name)`."""

    in_force: Settings
    """The new settings, but for what waits for a restart."""
    changed: tuple[Key, ...] = ()
    """Different values that count from now on."""
    added: tuple[Key, ...] = ()
    """Accounts and stores."""
    removed: tuple[Key, ...] = ()
    """Accounts and stores."""
    restart: tuple[Key, ...] = ()
    """Different values that wait for a restart."""

    @property
    def is_nothing(self) -> bool:
        """True if what is in force stays as it is."""
        return not (self.changed or self.added or self.removed)


def needs_restart(key: Key) -> bool:
    """True for a key whose new value waits for a restart."""
    return TAKES_EFFECT[key[0]][key[2 if PARTS[key[0]].named else 1]] == RESTART


def compare(before: Settings, after: Settings) -> Change:
    """What changed from `before`, which is in force, to `after`."""
    changed: list[Key] = []
    added: list[Key] = []
    removed: list[Key] = []
    restart: list[Key] = []
    kept: dict[str, Section] = {}
    for part in PARTS.values():
        old, new = getattr(before, part.name), getattr(after, part.name)
        if part.named:
            added += [(part.name, name) for name in new if name not in old]
            removed += [(part.name, name) for name in old if name not in new]
            for name in new:
                if name in old:
                    changed += _different((part.name, name), old[name], new[name])
            continue
        different = list(_different((part.name,), old, new))
        waiting = [key for key in different if needs_restart(key)]
        changed += [key for key in different if key not in waiting]
        restart += waiting
        if waiting:
            kept[part.name] = new.model_copy(update={key[1]: getattr(old, key[1]) for key in waiting})
    in_force = after.model_copy(update=kept) if kept else after
    return Change(in_force, tuple(changed), tuple(added), tuple(removed), tuple(restart))


def is_same_client(before: AccountSettings, after: AccountSettings) -> bool:
    """True if an account's client may go on: the same key at the same address, whatever its secret is."""
    return all(getattr(before, key) == getattr(after, key) for key in _CLIENT_IS)


def is_same_secret(before: AccountSettings, after: AccountSettings) -> bool:
    """True if an account's secret comes from where it came from."""
    return all(getattr(before, key) == getattr(after, key) for key in _SECRET_IS)


def _different(above: Key, old: Section, new: Section) -> Iterator[Key]:
    """Keys below a section whose values differ; of a table, its entries."""
    if old == new:
        return
    for name in type(new).model_fields:
        here, there = getattr(old, name), getattr(new, name)
        if isinstance(here, dict) and isinstance(there, dict):
            yield from ((*above, name, entry) for entry in _entries(here, there))
        elif here != there:
            yield (*above, name)


def _entries(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    yield from (name for name in {**old, **new} if old.get(name) != new.get(name))
