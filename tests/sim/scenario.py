"""What one seed means: orders and their events, how many workers, what goes wrong and when, and how patient all are."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

import orjson

from schemas.events import ORDER_CANCELLED_TYPE, OrderCancelled, OrderShipped
from tests.sim.cluster import START, Headers, Trouble
from tests.sim.walmart import Weather
from tests.unit.sync.simulated_commerce import Commerce, Totals
from worker.sandbox.walmart.specs import NewOrder
from worker.settings import LimitSettings, Settings, TimingSettings

SHIPPED: Final = "commerce.order-shipped.v1"
CANCELLED: Final = "commerce.order-cancelled.v1"
RESULTS: Final = "walmart.sync-result.v1"
DEAD_LETTERS: Final = "walmart.dead-letter.v1"
GROUP: Final = "order-sync"

SAFE_FAULTS: Final = ("refused", "slow_connect", "dropped_before", "dropped_after", "silent", "silent_after",
                      "500", "503", "423", "500_after", "garbage_after", "late_effect", "html", "429", "429_bare",
                      "401")  # fmt: skip
"""Faults that no event may fail by, however often they come, as long as they end in time."""


@dataclass(frozen=True)
class Message:
    """One record that commerce publishes."""

    at: float
    """Seconds after the start."""
    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    identity: str
    """`topic|source|id`; empty where none can be read."""
    order: str
    what: str
    """For people."""
    misplaced: bool = False
    is_guarded: bool = False
    reused: bool = False
    """Another event with an identity that was used before."""


@dataclass
class OrderStory:
    """One order and what commerce does with it."""

    id: str
    store: str
    spec: NewOrder
    commerce: Commerce
    totals: Totals
    guarded_cancel: bool = False
    misplaced: bool = False
    judged_by_end: bool = True
    """Its end at Walmart must be what commerce says, if no event failed."""
    shipped_before: Counter[str] = field(default_factory=Counter)


Deed = Literal["kill", "stall", "stop", "join", "brokers", "cut_off", "account", "compact"]


@dataclass(frozen=True)
class Happening:
    """One thing that goes wrong."""

    at: float
    deed: Deed
    seconds: float
    which: int
    how: str = ""


@dataclass
class Scenario:
    """Everything one seed decides before the run begins."""

    seed: int
    chance: random.Random
    partitions: int
    workers: int
    static: bool
    settings: Settings
    orders: dict[str, OrderStory]
    messages: list[Message]
    happenings: list[Happening]
    trouble: Trouble
    weather: Weather
    quiet_at: float
    """Seconds after the start from which nothing goes wrong any more."""
    patience: float
    """Seconds after that within which everything must be settled."""
    expected_failures: frozenset[str]
    """Error codes with which well-formed events may end here, because of what goes wrong."""
    quirks: tuple[str, ...] = ()

    @property
    def weather_kinds(self) -> tuple[str, ...]:
        """Faults that were possible, also once they are over."""
        return self.weather.kinds

    @property
    def accounts(self) -> list[str]:
        """Names of Walmart accounts."""
        return list(self.settings.accounts)


def make(seed: int) -> Scenario:
    """The scenario of a seed."""
    chance = random.Random(f"order-sync {seed}")
    partitions = chance.choice((2, 3, 4))
    quiet_at = chance.choice((20.0, 40.0, 80.0))
    accounts = chance.randint(2, 5)
    static = chance.random() < 0.5
    settings = _settings(chance, accounts, static=static)
    stores = list(settings.stores)
    orders: dict[str, OrderStory] = {}
    messages: list[Message] = []
    for number in range(chance.randint(20, 60)):
        order = _order(chance, str(1_815_367_000_000 + number), chance.choice(stores), quiet_at)
        orders[order.id] = order
        messages += _messages(chance, order, quiet_at, partitions)
    messages += _garbage(chance, quiet_at)
    messages.sort(key=lambda message: message.at)
    messages = _repeated(chance, messages, quiet_at)
    rough = chance.choice((0.0, 0.3, 1.0, 1.0))
    weather, expected, quirks = _weather(chance, rough, settings)
    return Scenario(
        seed=seed,
        chance=chance,
        partitions=partitions,
        workers=chance.choice((1, 2, 2, 3)),
        static=static,
        settings=settings,
        orders=orders,
        messages=messages,
        happenings=_happenings(chance, quiet_at, accounts, settings) if chance.random() < 0.85 else [],
        trouble=_trouble(chance),
        weather=weather,
        quiet_at=quiet_at,
        patience=settings.timing.give_up_after_hours * 3600 * 2 + 400,
        expected_failures=expected,
        quirks=quirks,
    )


def _settings(chance: random.Random, accounts: int, *, static: bool) -> Settings:
    read_lag = chance.choice((3.0, 6.0))
    timing: dict[str, float] = {
        "slo_seconds": chance.choice((10.0, 30.0)),
        "call_timeout_seconds": chance.choice((1.0, 2.0)),
        "connect_timeout_seconds": 1.0,
        "retry_base_seconds": 0.2,
        "retry_max_seconds": chance.choice((2.0, 8.0)),
        "park_after_seconds": chance.choice((1.0, 3.0, 10.0)),
        "parked_retry_max_seconds": chance.choice((5.0, 20.0)),
        "give_up_after_hours": chance.choice((160.0, 300.0)) / 3600,
        "probe_seconds": chance.choice((0.5, 3.0)),
        "read_lag_seconds": read_lag,
        "settle_seconds": chance.choice((0.0, 2.0, 6.0)),
    }
    limits: dict[str, int] = {
        "max_queued_events": chance.choice((10, 25, 500)),
        "max_queued_events_per_account": chance.choice((3, 10, 100)),
        "max_in_flight_events": chance.choice((2, 8, 64)),
        "max_parked_events": chance.choice((100, 10_000)),
        "min_tries": chance.choice((3, 5)),
    }
    names = [f"a{number}" for number in range(accounts)]
    stores = {f"store_{name}": {"account": name} for name in names}
    stores["store_extra"] = {"account": names[0]}
    return Settings.model_validate(
        {
            "kafka": {
                "group_id": GROUP,
                "session_timeout_seconds": chance.choice((3.0, 6.0)),
                "rebalance_timeout_seconds": 6.0,
                "request_timeout_seconds": chance.choice((1.0, 2.0)),
                "group_instance_id": "instance" if static else None,
            },
            "accounts": {
                name: {"client_id": name, "client_secret": f"secret-{name}", "base_url": f"http://{name}"}
                for name in names
            },
            "stores": stores,
            "timing": {name: value for name, value in timing.items() if name in TimingSettings.model_fields},
            "limits": {name: value for name, value in limits.items() if name in LimitSettings.model_fields},
        }
    )


# -- what commerce does


def _order(chance: random.Random, order_id: str, store: str, quiet_at: float) -> OrderStory:
    totals: Totals = chance.choice(("always", "always", "never", "never"))
    commerce = Commerce(chance, START, totals=totals, corrections=chance.random() < 0.4)
    spec = commerce.spec.model_copy(update={"purchase_order_id": order_id})
    return OrderStory(order_id, store, spec, commerce, totals)


def _messages(chance: random.Random, order: OrderStory, quiet_at: float, partitions: int) -> list[Message]:
    """Its history in Kafka's order; times are squeezed into the time in which things go wrong."""
    first = chance.uniform(0.0, quiet_at * 0.7)
    gap = chance.choice((0.0, 0.3, 2.0, 8.0))
    at = first
    misplaced = order.misplaced = chance.random() < 0.03
    messages: list[Message] = []
    for said in order.commerce.said:
        at += 0.02 + gap * chance.uniform(0.2, 1.5)
        moment = datetime.fromtimestamp(START + at - 0.05, UTC)
        data = said.event.data
        update: dict[str, Any] = {"purchase_order_id": order.id, "store": order.store}
        if isinstance(data, OrderShipped):
            update["shipped_at"] = moment
        messages.append(
            _event(order, data.model_copy(update=update), said.event.type, said.event.id, moment, at, misplaced)
        )
    left = {place: order.commerce.left(place) for place in sorted(order.commerce.ordered)}
    if any(left.values()) and chance.random() < 0.25:
        at += 0.02 + gap * chance.uniform(0.2, 1.5)
        moment = datetime.fromtimestamp(START + at - 0.05, UTC)
        order.guarded_cancel = True
        order.shipped_before = Counter(order.commerce.shipped)
        for place, units in left.items():
            order.commerce.cancelled[place] += units
        cancel = OrderCancelled.model_validate(
            {
                "store": order.store,
                "purchase_order_id": order.id,
                "commerce_order_id": "000000123",
                "cancelled_at": moment.isoformat(),
                "reason": {"text": "Price or other listing errors"},
            }
        )
        messages.append(_event(order, cancel, ORDER_CANCELLED_TYPE, "cancel-rest", moment, at, misplaced, guarded=True))
    return messages


def _event(
    order: OrderStory,
    data: OrderShipped | OrderCancelled,
    kind: str,
    event_id: str,
    moment: datetime,
    at: float,
    misplaced: bool,
    *,
    guarded: bool = False,
) -> Message:
    topic = CANCELLED if isinstance(data, OrderCancelled) else SHIPPED
    event_id = f"{order.id}-{event_id}"
    headers = (
        ("ce_specversion", b"1.0"),
        ("ce_id", event_id.encode()),
        ("ce_source", b"/commerce"),
        ("ce_type", kind.encode()),
        ("ce_time", moment.isoformat().encode()),
        ("content-type", b"application/json"),
    )
    value = orjson.dumps(data.model_dump(mode="json", exclude_none=True))
    return Message(
        at, topic, order.id.encode(), value, headers, f"{topic}|/commerce|{event_id}", order.id,
        f"{event_id} {_told(data)}", misplaced, guarded,
    )  # fmt: skip


def _told(data: OrderShipped | OrderCancelled) -> str:
    if isinstance(data, OrderCancelled):
        items = "all that is open" if data.items is None else " ".join(
            f"{item.line_number or item.sku}:{item.cancelled_total}/{item.shipped_total}" for item in data.items
        )  # fmt: skip
        return f"cancels {items}"
    packages = []
    for package in data.packages:
        items = " ".join(
            f"{item.line_number or item.sku}:{item.quantity}({item.tracking_total})" for item in package.items or ()
        )
        was = f" was {package.replaces_tracking_number}" if package.replaces_tracking_number else ""
        packages.append(f"[{package.tracking_number}{was} {items}]")
    flat = " ".join(f"{item.line_number or item.sku}:{item.quantity}" for item in data.items or ())
    return f"ships {' '.join(packages)} {flat}".rstrip()


def _garbage(chance: random.Random, quiet_at: float) -> list[Message]:
    """What is no event."""
    messages = []
    for number in range(chance.randint(0, 4)):
        topic = chance.choice((SHIPPED, CANCELLED))
        key: bytes | None = chance.choice((b"garbage", None, b"\xff\xfe", b"1815367000000"))
        value = chance.choice((b"{", None, b"", b"\x00\x01", b'{"a": 1}', b"[]" * 50))
        headers: Headers = chance.choice(((), (("order-sync-state", b"dead"), ("x", None))))
        named = chance.random() < 0.3
        identity = ""
        if named:
            headers = (*headers, ("ce_specversion", b"1.0"), ("ce_id", b"g%d" % number), ("ce_source", b"/g"),
                       ("ce_type", b"nobody.knows.v1"))  # fmt: skip
            identity = f"{topic}|/g|g{number}"
        at = chance.uniform(0, quiet_at * 0.8)
        messages.append(Message(at, topic, key, value, headers, identity, "", f"garbage {number}"))
    return messages


def _repeated(chance: random.Random, messages: list[Message], quiet_at: float) -> list[Message]:
    """Repeats, and the odd identity used twice for different content."""
    more: list[Message] = []
    for message in messages:
        if chance.random() < 0.12:
            later = message.at + chance.choice((0.0, 0.5, 10.0, quiet_at * 0.5))
            if message.is_guarded:
                # A repeat of "cancel what is open" is the same again: nothing was shipped after it.
                later += 0.01
            more.append(Message(**{**_fields(message), "at": later, "what": message.what + " (repeat)"}))
        elif message.order and message.topic == SHIPPED and chance.random() < 0.01:
            later = message.at + chance.uniform(0.0, 5.0)
            value = b'{"reused": true}'
            more.append(
                Message(**{**_fields(message), "at": later, "value": value, "what": "identity reused", "reused": True})
            )
    return sorted([*messages, *more], key=lambda message: message.at)


def _fields(message: Message) -> dict[str, Any]:
    return {name: getattr(message, name) for name in Message.__dataclass_fields__}


# -- what goes wrong


def _weather(
    chance: random.Random, rough: float, settings: Settings
) -> tuple[Weather, frozenset[str], tuple[str, ...]]:
    timing = settings.timing
    kinds = [kind for kind in SAFE_FAULTS if chance.random() < 0.7]
    expected: set[str] = set()
    quirks: list[str] = []
    if chance.random() < 0.1:
        kinds.append("bare_400")
    if chance.random() < 0.1:
        kinds.append("403")
    if chance.random() < 0.15:
        quirks.append("partial_cancel_refused")
        expected.add("partial_cancel_refused")
    if chance.random() < 0.3:
        quirks.append("two_packages_refused")
    weather = Weather(
        faults=rough * chance.choice((0.05, 0.15, 0.35)),
        kinds=tuple(kinds),
        lag_s=chance.choice((0.0, 0.5, 0.95)) * timing.read_lag_seconds,
        slow=rough * chance.choice((0.0, 0.05)),
    )
    return weather, frozenset(expected), tuple(quirks)


def _trouble(chance: random.Random) -> Trouble:
    if chance.random() < 0.3:
        return Trouble()
    return Trouble(
        lost_ack=chance.choice((0.0, 0.02)),
        not_written=chance.choice((0.0, 0.02)),
        delayed=chance.choice((0.0, 0.05)),
        late_commit=chance.choice((0.0, 0.1)),
        lost_commit_answer=chance.choice((0.0, 0.05)),
        lagging=chance.choice((0.0, 0.3)),
    )


def _happenings(chance: random.Random, quiet_at: float, accounts: int, settings: Settings) -> list[Happening]:
    session = settings.kafka.session_timeout_seconds
    deeds: list[Deed] = ["kill", "kill", "stall", "stall", "stop", "join", "brokers", "cut_off", "account", "account"]
    happenings = []
    for _ in range(chance.randint(1, 10)):
        deed = chance.choice(deeds)
        seconds = chance.choice((0.5, 2.0, session * 0.8, session * 1.5, session * 3))
        how = ""
        if deed == "account":
            seconds = chance.choice((2.0, 10.0, 30.0))
            how = chance.choice(("refused", "503", "401", "429", "silent"))
        happenings.append(
            Happening(chance.uniform(0.0, quiet_at * 0.9), deed, seconds, chance.randrange(max(3, accounts)), how)
        )
    happenings += [Happening(chance.uniform(0, quiet_at), "compact", 0, 0) for _ in range(chance.randint(0, 5))]
    return sorted(happenings, key=lambda happening: happening.at)
