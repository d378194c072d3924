"""The settings: one frozen tree, validated together, units in the names, secrets masked.

Sources, later ones win: defaults, one TOML file (`--config` or `ORDER_SYNC_CONFIG`), environment variables
`ORDER_SYNC_<SECTION>__<KEY>`. Secrets come from the environment or from files only. Loading lives in
`worker.configuration`, which also names every mistake at once (the validators here stop at a section's first one).
`worker/SETTINGS.md` is generated from the field docs here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

CancelReasonCode = Literal[
    "CUSTOMER_REQUESTED_SELLER_TO_CANCEL",
    "SELLER_CANCEL_PRICING_ERROR",
    "SELLER_CANCEL_OUT_OF_STOCK",
    "SELLER_CANCEL_FRAUD_STOP_SHIPMENT",
    "SELLER_CANCEL_ADDRESS_NOT_SERVICEABLE",
]
"""Walmart US: exactly these five (https://developer.walmart.com/us-marketplace/docs/cancel-one-or-more-order-lines)."""


class Section(BaseModel):
    """Base of every section: frozen, a misspelt key is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True)


MOST_ACCOUNT_NAMES = 100
"""Accounts that metrics may show by name."""


class KafkaSettings(Section):
    """How Kafka is reached; the names are those Kafka users know."""

    bootstrap_servers: str = "localhost:9092"
    """Comma-separated `host:port` list."""
    group_id: str = Field(default="order-sync", min_length=1)
    """Consumer group of all replicas."""
    group_instance_id: str | None = None
    """Static membership: one per replica (a StatefulSet's pod name). Absent: dynamic membership."""
    client_id: str = "order-sync"
    """Shown in the broker's logs and metrics."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """As in every Kafka client."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    """Used with SASL_PLAINTEXT and SASL_SSL."""
    sasl_username: str | None = None
    """Used with SASL."""
    sasl_password: SecretStr | None = None
    """Environment only (`ORDER_SYNC_KAFKA__SASL_PASSWORD`)."""
    sasl_password_file: Path | None = None
    """File that holds the password and nothing else."""
    ssl_cafile: Path | None = None
    """CA bundle; absent: the system's."""
    ssl_certfile: Path | None = None
    """Client certificate."""
    ssl_keyfile: Path | None = None
    """Key of the client certificate."""
    session_timeout_seconds: float = Field(default=30, ge=1, le=1800)
    """A silent member loses its partitions after this. 30 s survives a rolling restart of a static member."""
    rebalance_timeout_seconds: float = Field(default=60, ge=5, le=1800)
    """How long the group waits for a member to let go; running calls get 60 % of it."""
    request_timeout_seconds: float = Field(default=20, ge=0.5, le=300)
    """One request to a broker. Every wait of ours on Kafka is bounded by a multiple of it."""
    max_record_bytes: int = Field(default=1_048_576, ge=1_024, le=100_000_000)
    """Largest input record the topics take; dead letters get 256 KiB more for their headers."""

    @model_validator(mode="after")
    def _sasl_is_complete(self) -> KafkaSettings:
        if self.security_protocol.startswith("SASL") and (
            not self.sasl_username or (self.sasl_password is None and self.sasl_password_file is None)
        ):
            raise ValueError("sasl_username and sasl_password (environment) or sasl_password_file are needed with SASL")
        return self


class TopicSettings(Section):
    """Topic names. The first, second and fourth have the same number of partitions."""

    order_shipped: str = Field(default="commerce.order-shipped.v1", pattern=r"^[A-Za-z0-9._-]{1,249}$")
    """Input: shipments."""
    order_cancelled: str = Field(default="commerce.order-cancelled.v1", pattern=r"^[A-Za-z0-9._-]{1,249}$")
    """Input: cancellations."""
    sync_result: str = Field(default="walmart.sync-result.v1", pattern=r"^[A-Za-z0-9._-]{1,249}$")
    """Output: one result per event."""
    dead_letter: str = Field(default="walmart.dead-letter.v1", pattern=r"^[A-Za-z0-9._-]{1,249}$")
    """Output, compacted: unfinished events."""

    @model_validator(mode="after")
    def _all_different(self) -> TopicSettings:
        names = [self.order_shipped, self.order_cancelled, self.sync_result, self.dead_letter]
        if len(set(names)) != len(names):
            raise ValueError("the four topics must have different names")
        return self


class AccountSettings(Section):
    """One Walmart account: keys, market and address."""

    client_id: str = Field(min_length=1, max_length=200)
    """Client id of the key in Walmart's developer portal."""
    client_secret: SecretStr | None = None
    """Environment only (`ORDER_SYNC_ACCOUNTS__<NAME>__CLIENT_SECRET`)."""
    client_secret_file: Path | None = None
    """File that holds the secret and nothing else; read again at every token request."""
    base_url: str = Field(default="https://marketplace.walmartapis.com", pattern=r"^https?://[^/?#\s]+(/[^?#\s]*)?$")
    """Walmart's API. `http` is meant for the simulated one."""
    market: Literal["us", "ca", "mx", "cl"] = "us"
    """Selects headers and codes (`worker/walmart/markets.py`)."""
    channel_type: SecretStr | None = None
    """`WM_CONSUMER.CHANNEL.TYPE` from onboarding, if you have one."""
    read_calls_per_minute: float = Field(default=5_000, gt=0, le=1_000_000)
    """Walmart's budget for reading one order, shared with every program that uses this seller's account. The defaults
    are those of Walmart's throttling page, and its answers correct them; tell here what Walmart has raised for you."""
    ship_calls_per_minute: float = Field(default=60, gt=0, le=1_000_000)
    """The same for ship calls, corrections included."""
    cancel_calls_per_minute: float = Field(default=60, gt=0, le=1_000_000)
    """The same for cancel calls."""
    acknowledge_calls_per_minute: float = Field(default=60, gt=0, le=1_000_000)
    """The same for acknowledgements."""
    inventory_calls_per_minute: float = Field(default=200, gt=0, le=1_000_000)
    """The same for inventory updates."""
    paused: bool = False
    """Kill switch: nothing is sent for this account; its events wait."""
    observe: bool = False
    """Plan and publish what would be sent, send nothing, write no dead letters."""

    def calls_per_minute(self, group: str) -> float:
        """Documented calls a minute of an endpoint group (`read`, `ship`, `cancel`, `acknowledge`, `inventory`)."""
        return float(getattr(self, f"{group}_calls_per_minute"))

    @model_validator(mode="after")
    def _one_secret(self) -> AccountSettings:
        if (self.client_secret is None) == (self.client_secret_file is None):
            raise ValueError("give client_secret_file, or client_secret in the environment (exactly one of the two)")
        return self


class StoreSettings(Section):
    """One sales-channel store: which account it sells through, and its own mappings and policies."""

    account: str = Field(min_length=1)
    """Name of an `[accounts.<name>]` section; several stores may share one."""
    unmapped_carrier: Literal["refuse", "other"] = "refuse"
    """A carrier without a Walmart name: refuse the package, or send it as other carrier with a tracking URL."""
    unknown_reason: Literal["refuse", CancelReasonCode] = "refuse"
    """An unknown or absent cancel reason: refuse, or the code to send."""
    cancel_without_items: Literal["guard", "refuse"] = "guard"
    """A cancel without totals: wait until every shipment on its way is settled, then cancel what is open; or refuse."""
    tracking_url_template: str | None = Field(default=None, pattern=r"^https?://\S*\{tracking_number\}\S*$")
    """For other carriers: a URL with `{tracking_number}` in it."""
    inventory_after_out_of_stock: bool = False
    """Send inventory updates also after an out-of-stock cancel (Walmart sets the item out of stock by itself)."""
    carriers: dict[str, str] = {}
    """Commerce's carrier code or title -> one of Walmart's exact carrier names."""
    reasons: dict[str, CancelReasonCode] = {}
    """Commerce's reason code or text -> one of Walmart's five codes."""
    paused: bool = False
    """Kill switch for this store alone."""
    observe: bool = False
    """Observe mode for this store alone."""

    @model_validator(mode="after")
    def _carriers_exist(self) -> StoreSettings:
        from schemas.walmart.carriers import CARRIERS

        for name, carrier in self.carriers.items():
            if carrier not in CARRIERS:
                raise ValueError(f'carriers."{name}": "{carrier}" is none of Walmart\'s carrier names (exact spelling)')
        return self


class TimingSettings(Section):
    """Times in the unit of the name; fractions are fine."""

    slo_seconds: float = Field(default=300, ge=1, le=86_400)
    """Then a `retrying` result. Walmart updates are expected within 5 minutes."""
    call_timeout_seconds: float = Field(default=10, ge=0.05, le=300)
    """One call to Walmart, all of it."""
    connect_timeout_seconds: float = Field(default=4, ge=0.05, le=60)
    """Connecting and TLS, part of the call's time."""
    retry_base_seconds: float = Field(default=0.5, ge=0.01, le=60)
    """First wait of the backoff; doubles, with full jitter."""
    retry_max_seconds: float = Field(default=30, ge=0.1, le=900)
    """Longest wait of the backoff in memory."""
    park_after_seconds: float = Field(default=60, ge=1, le=3_600)
    """What would wait longer is parked in the dead-letter topic, its offset committed. A minute of memory serves a
    short hiccup; longer would hold back the partition's offset."""
    parked_retry_max_seconds: float = Field(default=900, ge=0.1, le=86_400)
    """Longest wait of the backoff while parked. A quarter of an hour is little beside `give_up_after_hours`."""
    give_up_after_hours: float = Field(default=24, ge=0.001, le=720)
    """An event that cannot be settled becomes a dead letter this long after it was first seen."""
    probe_seconds: float = Field(default=15, ge=0.05, le=900)
    """How often a turned-away account is tried."""
    read_lag_seconds: float = Field(default=30, ge=0, le=600)
    """How long one of Walmart's reads may still show the old state (not documented; be generous)."""
    order_fresh_seconds: float = Field(default=30, ge=0, le=300)
    """The answer to a write stands for a read of its order so long; 0: every event reads its order first. Enough for a
    burst of events of one order, and no older than a read may be anyhow (`read_lag_seconds`)."""
    settle_seconds: float = Field(default=60, ge=0, le=3_600)
    """Cancels without items wait at least this long after their own time, for shipments still on their way to Kafka."""
    inventory_max_age_seconds: float = Field(default=300, ge=1, le=86_400)
    """An inventory update with an older `as_of` is skipped as stale."""
    reload_check_seconds: float = Field(default=5, ge=0, le=3_600)
    """How often the settings file, and the files it names, are looked at for changes; 0: only on SIGHUP. A look costs
    next to nothing, and nobody waits longer for a kill switch."""

    @property
    def longest_in_memory_seconds(self) -> float:
        """What waits longer is parked: `park_after_seconds`, but never before an unknown outcome can be settled.

        An event that were parked each time before its old reads are ruled out would never be.
        """
        return max(self.park_after_seconds, 1.5 * (self.call_timeout_seconds + self.read_lag_seconds))


class LimitSettings(Section):
    """Bounds on memory and work."""

    min_tries: int = Field(default=5, ge=1, le=1_000)
    """An event is tried at least this often before it is given up."""
    max_in_flight_events: int = Field(default=256, ge=1, le=10_000)
    """Events being worked on at one moment, over all orders."""
    max_in_flight_events_per_account: int = Field(default=64, ge=1, le=10_000)
    """Of these, so many of one account where there are several: one that hangs leaves the others room."""
    max_queued_events: int = Field(default=2_000, ge=10, le=1_000_000)
    """Events held in memory; intake pauses above it."""
    max_queued_bytes: int = Field(default=33_554_432, ge=1_048_576, le=4_294_967_296)
    """Bytes of events held in memory; intake pauses above it."""
    max_parked_events: int = Field(default=100_000, ge=100, le=10_000_000)
    """Unfinished events this worker keeps track of, about 1 kB each; above it nothing more is parked: intake pauses and
    the backlog stays in Kafka."""
    max_queued_events_per_account: int = Field(default=500, ge=1, le=1_000_000)
    """Share of one account in memory while it does not flow; more is parked. A quarter of the window, so that one
    account never fills it."""
    max_token_requests: int = Field(default=32, ge=1, le=1_000)
    """Access tokens asked for at one moment, over all accounts; more wait. At 0.3 s each, 32 at once give 5,000
    accounts their first token within a minute, and a few are enough to renew them."""
    max_internal_errors: int = Field(default=10, ge=1, le=10_000)
    """This many unexpected exceptions in a row stop intake and turn readiness red."""


class HttpSettings(Section):
    """Metrics and health."""

    host: str = "0.0.0.0"  # noqa: S104  # a scraper comes from another machine
    """Address to listen on."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 9464
    """0: any free port (told in the log)."""


class MetricsSettings(Section):
    """What the metrics show."""

    account_names: str = Field(default="auto", min_length=1)
    """Accounts that metrics show by name, separated by commas, at most 100 (each is about 100 series); all others
    together are `other`. `auto`: all of them while there are at most 50, else none."""

    @property
    def by_name(self) -> tuple[str, ...] | None:
        """The names given; None for `auto`."""
        if self.account_names == "auto":
            return None
        return tuple(dict.fromkeys(name for part in self.account_names.split(",") if (name := part.strip())))

    @model_validator(mode="after")
    def _not_too_many(self) -> MetricsSettings:
        if len(self.by_name or ()) > MOST_ACCOUNT_NAMES:
            raise ValueError(f"account_names: at most {MOST_ACCOUNT_NAMES} names; each is about 100 series")
        return self


class LogSettings(Section):
    """Logs: JSON lines on standard output."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level that is written."""


class Settings(Section):
    """The whole tree."""

    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    accounts: dict[str, AccountSettings] = Field(min_length=1)
    stores: dict[str, StoreSettings] = Field(min_length=1)
    timing: TimingSettings = TimingSettings()
    limits: LimitSettings = LimitSettings()
    http: HttpSettings = HttpSettings()
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _accounts_exist(self) -> Settings:
        for name, store in self.stores.items():
            if store.account not in self.accounts:
                known = ", ".join(sorted(self.accounts))
                raise ValueError(f'stores.{name}.account: there is no account "{store.account}" (known: {known})')
        for name in self.metrics.by_name or ():
            if name not in self.accounts:
                raise ValueError(f'metrics.account_names: there is no account "{name}"')
        return self
