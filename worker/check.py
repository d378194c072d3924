"""`order-sync check`: settings, Kafka and Walmart accounts looked at together. Changes nothing, prints nothing.

findings = await check(load(path, os.environ), accounts=lambda name, account: WalmartClient(...))
exit_code = 1 if any(finding.level == "mistake" for finding in findings) else 0
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

from worker import check_kafka
from worker.check_delivery import check_delivery
from worker.check_kafka import ClusterSeen
from worker.configuration import Mistake
from worker.errors import ERRORS
from worker.findings import Finding, mistake, ok, warning
from worker.settings import AccountSettings, KafkaSettings, Settings
from worker.telemetry.account_names import MOST_IN_AUTO
from worker.walmart.answer import CallError, CallKind

__all__ = ["Finding", "TokenDetail", "check"]

_CALLS_OF_ONE_CHECK = 3
"""A token, a refreshed one, and the question itself."""


class TokenDetail(Protocol):
    """What is needed of one account: what its token may do."""

    async def token_detail(self) -> dict[str, str] | CallError:
        """Scope -> `full_access`, `view_only` or `no_access`."""
        ...


Look = Callable[[KafkaSettings, tuple[str, ...]], Coroutine[Any, Any, ClusterSeen | str]]


async def check(
    settings: Settings | Sequence[Mistake],
    *,
    accounts: Callable[[str, AccountSettings], TokenDetail],
    look: Look = check_kafka.look,
) -> list[Finding]:
    """Everything that can be found out without changing anything, in the order a person would mend it.

    Args:
        settings: What `worker.configuration.load` returned.
        accounts: Makes the client of one account.
        look: Asks the Kafka cluster.
    """
    if not isinstance(settings, Settings):
        return [mistake("settings", str(one), "Correct it and check again.") for one in settings]
    topics = settings.topics
    names = (topics.order_shipped, topics.order_cancelled, topics.sync_result, topics.dead_letter)
    at_once = asyncio.Semaphore(settings.limits.max_token_requests)
    async with asyncio.TaskGroup() as group:
        looking = group.create_task(look(settings.kafka, names))
        asking = [
            group.create_task(_account(settings, name, accounts(name, account), at_once))
            for name, account in settings.accounts.items()
        ]
    findings = [*check_settings(settings), *check_kafka.judge(settings, looking.result())]
    for asked in asking:
        findings += asked.result()
    return findings


async def _account(settings: Settings, name: str, client: TokenDetail, at_once: asyncio.Semaphore) -> list[Finding]:
    subject = f"account {name}"
    try:
        async with at_once, asyncio.timeout(settings.timing.call_timeout_seconds * _CALLS_OF_ONE_CHECK):
            answer = await client.token_detail()
    except TimeoutError:
        answer = CallError(CallKind.UNKNOWN, "no answer in time")
    if isinstance(answer, CallError):
        return [_failed(subject, settings.accounts[name], answer)]
    findings: list[Finding] = []
    action = ERRORS["scope_missing"].action
    if (orders := answer.get("orders", "no_access")) != "full_access":
        findings.append(mistake(subject, f"its key may not change orders (scope orders: {orders})", action))
    if (inventory := answer.get("inventory", "no_access")) != "full_access":
        text = f"its key may not update inventory (scope inventory: {inventory}): updates after cancels will fail"
        findings.append(warning(subject, text, action))
    return findings or [ok(subject, "the token is good and may change orders and inventory")]


def _failed(subject: str, account: AccountSettings, error: CallError) -> Finding:
    match error.kind:
        case CallKind.UNAUTHORIZED:
            code = "scope_missing" if error.scope_missing else "credentials_rejected"
            return mistake(subject, f"Walmart turns its key away: {error.message}", ERRORS[code].action)
        case CallKind.NOT_SENT:
            text = f"{account.base_url} cannot be reached: {error.message}"
            return mistake(subject, text, "Check base_url, the network and any proxy.")
        case CallKind.THROTTLED:
            return warning(subject, f"its key could not be tried: {error.message}", ERRORS["throttled"].action)
        case CallKind.REFUSED | CallKind.REFUSED_WITHOUT_CAUSE | CallKind.UNKNOWN:
            text = f"its key could not be tried: {error.message}"
            return warning(subject, text, "Check again in a minute; look at Walmart's status page if it stays.")


def check_settings(settings: Settings) -> list[Finding]:
    """What the settings allow but a person should know. Pure."""
    findings = [ok("settings", "valid"), *_kafka(settings), *check_delivery(settings)]
    used = {store.account for store in settings.stores.values()}
    for name, account in settings.accounts.items():
        findings += _account_settings(name, account, used)
    if settings.metrics.by_name is None and len(settings.accounts) > MOST_IN_AUTO:
        text = f"{len(settings.accounts)} accounts: metrics show all of them together, as other"
        findings.append(warning("metrics", text, "Name those you want to see by name in metrics.account_names."))
    for name, store in settings.stores.items():
        subject = f"store {name}"
        findings += _switches(subject, f"stores.{name}", store.paused, store.observe)
        if store.unmapped_carrier == "other" and store.tracking_url_template is None:
            text = "unmapped carriers are sent as other carriers, but only where the event brings a tracking_url"
            findings.append(warning(subject, text, f"Set stores.{name}.tracking_url_template."))
    return findings


def _kafka(settings: Settings) -> list[Finding]:
    kafka = settings.kafka
    findings: list[Finding] = []
    protocol = kafka.security_protocol
    ssl_given = kafka.ssl_cafile or kafka.ssl_certfile or kafka.ssl_keyfile
    if ssl_given and not protocol.endswith("SSL"):
        text = f"ssl_* settings are not used with security_protocol {protocol}"
        findings.append(warning("kafka", text, "Set security_protocol to SSL or SASL_SSL."))
    if (kafka.sasl_username or kafka.sasl_password or kafka.sasl_password_file) and not protocol.startswith("SASL"):
        text = f"sasl_* settings are not used with security_protocol {protocol}"
        findings.append(warning("kafka", text, "Set security_protocol to SASL_SSL."))
    if protocol == "SASL_PLAINTEXT":
        text = "the password and buyers' addresses cross the network unencrypted"
        findings.append(warning("kafka", text, "Use SASL_SSL."))
    return findings


def _account_settings(name: str, account: AccountSettings, used: Collection[str]) -> list[Finding]:
    subject = f"account {name}"
    findings = _switches(subject, f"accounts.{name}", account.paused, account.observe)
    if name not in used:
        findings.append(warning(subject, "no store uses it", f'Set account = "{name}" in a store, or remove it.'))
    url = urlsplit(account.base_url)
    if url.scheme == "http" and url.hostname not in ("localhost", "127.0.0.1", "::1"):
        text = f"{account.base_url} is not encrypted: the secret and buyers' addresses cross the network in clear"
        findings.append(warning(subject, text, "Use https."))
    if account.market != "us":
        text = f"market {account.market}: carrier names and cancel reasons are checked against the US lists"
        findings.append(warning(subject, text, "Try it with observe = true first."))
    return findings


def _switches(subject: str, section: str, paused: bool, observe: bool) -> list[Finding]:
    findings: list[Finding] = []
    if paused:
        text = "is paused: nothing is sent, its events wait"
        findings.append(warning(subject, text, f"Set {section}.paused = false to go on."))
    if observe:
        text = "only observes: results say what would be sent, Walmart is not changed"
        findings.append(warning(subject, text, f"Set {section}.observe = false to go live."))
    return findings
