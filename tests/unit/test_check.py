"""`order-sync check`: what is told about settings, a cluster and accounts. The cluster is judged from what was seen."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from worker.check import check, check_settings
from worker.check_kafka import ClusterSeen, TopicSeen, judge, look
from worker.configuration import Mistake
from worker.findings import Finding, Level
from worker.settings import KafkaSettings, Settings
from worker.topics import topic_specs
from worker.walmart.answer import CallError, CallKind

FULL = {"orders": "full_access", "inventory": "full_access"}


def settings(**changes: Any) -> Settings:
    parts: dict[str, Any] = {
        "kafka": {"group_instance_id": "order-sync-0"},
        "accounts": {"main": {"client_id": "id", "client_secret": "s3cr3t-value"}},
        "stores": {"default": {"account": "main", "cancel_without_items": "refuse"}},
    }
    return Settings.model_validate({**parts, **changes})


def healthy(of: Settings) -> ClusterSeen:
    topics = {
        spec.name: TopicSeen(partitions=12, replication=3, config=dict(spec.config))
        for spec in topic_specs(of.topics, of.kafka)
    }
    return ClusterSeen(brokers=3, topics=topics)


def altered(seen: ClusterSeen, name: str, **changes: Any) -> ClusterSeen:
    return replace(seen, topics={**seen.topics, name: replace(seen.topics[name], **changes)})


def configured(seen: ClusterSeen, name: str, **config: str) -> ClusterSeen:
    now = {**(seen.topics[name].config or {}), **{key.replace("_", "."): value for key, value in config.items()}}
    return altered(seen, name, config=now)


def levels(findings: list[Finding], level: Level) -> list[str]:
    return [f"{one.subject}: {one.message}" for one in findings if one.level == level]


class Account:
    def __init__(self, answer: dict[str, str] | CallError | None) -> None:
        self._answer = answer

    async def token_detail(self) -> dict[str, str] | CallError:
        if self._answer is None:
            await asyncio.sleep(60)
            raise AssertionError
        return self._answer


async def checked(answer: dict[str, str] | CallError | None, of: Settings | None = None) -> list[Finding]:
    async def seen(kafka: KafkaSettings, topics: tuple[str, ...]) -> ClusterSeen:
        return healthy(of or settings())

    found = await check(of or settings(), accounts=lambda name, account: Account(answer), look=seen)
    return [one for one in found if one.subject == "account main"]


async def test_mistaken_settings_are_told_and_nothing_is_asked() -> None:
    async def never(kafka: KafkaSettings, topics: tuple[str, ...]) -> ClusterSeen:
        raise AssertionError

    mistakes = [Mistake("a.toml", "timing.x", "1", "no such key"), Mistake("a.toml", "kafka", None, "is missing")]
    found = await check(mistakes, accounts=lambda name, account: Account(FULL), look=never)
    assert [(one.level, one.message) for one in found] == [
        ("mistake", "a.toml: timing.x = 1: no such key"),
        ("mistake", "a.toml: kafka: is missing"),
    ]


def test_a_good_cluster_has_nothing_but_ok() -> None:
    found = judge(settings(), healthy(settings()))
    assert [one for one in found if one.level != "ok"] == []
    assert {"kafka", "group order-sync"} <= {one.subject for one in found}


def test_a_cluster_that_does_not_answer_is_one_mistake() -> None:
    (only,) = judge(settings(), "KafkaConnectionError: no broker")
    assert only.level == "mistake"
    assert "localhost:9092" in only.message


def test_a_missing_topic_is_a_mistake() -> None:
    seen = healthy(settings())
    topics = {name: topic for name, topic in seen.topics.items() if name != "walmart.dead-letter.v1"}
    assert levels(judge(settings(), replace(seen, topics=topics)), "mistake") == [
        "topic walmart.dead-letter.v1: does not exist (or this user may not describe it)"
    ]


def test_inputs_and_dead_letters_need_the_same_number_of_partitions() -> None:
    """Results may have another one."""
    seen = healthy(settings())
    (only,) = levels(judge(settings(), altered(seen, "walmart.dead-letter.v1", partitions=6)), "mistake")
    assert "different numbers of partitions" in only
    assert "walmart.dead-letter.v1: 6" in only
    (action,) = [
        one.action for one in judge(settings(), altered(seen, "walmart.dead-letter.v1", partitions=6)) if one.action
    ]
    assert "give walmart.dead-letter.v1 12 partitions" in action
    assert levels(judge(settings(), altered(seen, "walmart.sync-result.v1", partitions=1)), "mistake") == []


@pytest.mark.parametrize(
    ("topic", "config", "told"),
    [
        ("walmart.dead-letter.v1", {"cleanup_policy": "delete"}, "cleanup.policy"),
        ("walmart.dead-letter.v1", {"max_message_bytes": "1048588"}, "max.message.bytes"),
        ("commerce.order-shipped.v1", {"retention_ms": "3600000"}, "retention.ms"),
        ("commerce.order-cancelled.v1", {"cleanup_policy": "compact"}, "cleanup.policy"),
        ("commerce.order-cancelled.v1", {"max_message_bytes": "9000000"}, "max.message.bytes"),
    ],
)
def test_a_topic_that_would_lose_or_block_events_is_a_mistake(topic: str, config: dict[str, str], told: str) -> None:
    (only,) = levels(judge(settings(), configured(healthy(settings()), topic, **config)), "mistake")
    assert only.startswith(f"topic {topic}: ")
    assert told in only


def test_retention_is_held_against_the_longest_wait() -> None:
    seen = configured(healthy(settings()), "commerce.order-shipped.v1", retention_ms=str(30 * 3_600_000))
    assert levels(judge(settings(), seen), "mistake") == []
    assert len(levels(judge(settings(timing={"give_up_after_hours": 30}), seen), "mistake")) == 1
    told = levels(judge(settings(), seen), "ok")
    assert any("kept 30 h, longer than an event waits (timing.give_up_after_hours = 24)" in one for one in told)
    assert any("what waits is kept until it is settled" in one and "then about 12 h" in one for one in told)


@pytest.mark.parametrize(
    ("replication", "in_sync", "level", "told"),
    [
        (3, "2", None, ""),
        (2, "3", "mistake", "nothing can be written"),
        (1, "1", "warning", "one replica"),
        (3, "1", "warning", "min.insync.replicas is 1"),
        (2, "2", "warning", "one broker down"),
    ],
)
def test_what_acks_all_is_worth(replication: int, in_sync: str, level: Level | None, told: str) -> None:
    name = "walmart.dead-letter.v1"
    seen = configured(healthy(settings()), name, min_insync_replicas=in_sync)
    found = [one for one in judge(settings(), altered(seen, name, replication=replication)) if one.level != "ok"]
    assert [one.level for one in found] == ([level] if level else [])
    assert all(told in one.message for one in found)


def test_partitions_without_a_leader_and_settings_that_may_not_be_read_are_told() -> None:
    seen = altered(healthy(settings()), "walmart.sync-result.v1", leaderless=2, config=None)
    found = [one for one in judge(settings(), seen) if one.level != "ok"]
    assert [one.level for one in found] == ["mistake", "warning"]
    assert "2 of 12" in found[0].message
    assert "DescribeConfigs" in (found[1].action or "")


def test_a_size_limit_on_an_input_is_a_warning() -> None:
    seen = configured(healthy(settings()), "commerce.order-shipped.v1", retention_bytes="1000000")
    (only,) = levels(judge(settings(), seen), "warning")
    assert "retention.bytes" in only


def test_the_group() -> None:
    seen = healthy(settings())
    (only,) = levels(judge(settings(), replace(seen, group_error="GroupAuthorizationFailedError")), "mistake")
    assert "GroupAuthorizationFailedError" in only
    assert levels(judge(settings(), replace(seen, group_members=12)), "warning") == []
    (only,) = levels(judge(settings(), replace(seen, group_members=14)), "warning")
    assert "14 members share 12 partitions: 2 are idle" in only


async def test_a_token_with_both_scopes_is_good() -> None:
    assert [one.level for one in await checked(FULL)] == ["ok"]


@pytest.mark.parametrize(
    ("answer", "level", "told"),
    [
        ({"orders": "view_only", "inventory": "full_access"}, "mistake", "scope orders: view_only"),
        ({"orders": "full_access"}, "warning", "scope inventory: no_access"),
        (CallError(CallKind.UNAUTHORIZED, "401 invalid_client"), "mistake", "turns its key away"),
        (CallError(CallKind.NOT_SENT, "cannot connect"), "mistake", "cannot be reached"),
        (CallError(CallKind.THROTTLED, "429"), "warning", "could not be tried"),
        (CallError(CallKind.UNKNOWN, "503"), "warning", "could not be tried"),
    ],
)
async def test_a_token_that_is_not_good(answer: dict[str, str] | CallError, level: Level, told: str) -> None:
    (only,) = await checked(answer)
    assert only.level == level
    assert told in only.message
    assert only.action


async def test_a_walmart_that_does_not_answer_is_waited_for_in_bounds() -> None:
    (only,) = await checked(None, settings(timing={"call_timeout_seconds": 0.05}))
    assert (only.level, "no answer in time" in only.message) == ("warning", True)


async def test_many_accounts_are_asked_a_few_at_a_time_each_with_its_own_time() -> None:
    """All at once, most would wait for a connection until their time is over."""
    asked: list[int] = []
    running = 0

    class Slow(Account):
        async def token_detail(self) -> dict[str, str] | CallError:
            nonlocal running
            running += 1
            asked.append(running)
            await asyncio.sleep(0.01)
            running -= 1
            return FULL

    many = {f"m{number}": {"client_id": "id", "client_secret": "x"} for number in range(40)}
    of = settings(
        accounts=many,
        stores={name: {"account": name} for name in many},
        limits={"max_token_requests": 4},
        timing={"call_timeout_seconds": 0.05},
    )

    async def seen(kafka: KafkaSettings, topics: tuple[str, ...]) -> ClusterSeen:
        return healthy(of)

    found = await check(of, accounts=lambda name, account: Slow(FULL), look=seen)
    assert (len(asked), max(asked)) == (40, 4)
    assert sum(one.level == "ok" and one.subject.startswith("account m") for one in found) == 40


def test_switches_and_limits_a_person_should_know_of() -> None:
    of = settings(
        accounts={
            "main": {"client_id": "id", "client_secret": "x", "observe": True},
            "old": {"client_id": "id", "client_secret": "x", "paused": True, "base_url": "http://walmart.example"},
        },
        stores={"default": {"account": "main", "paused": True, "unmapped_carrier": "other"}},
    )
    told = levels(check_settings(of), "warning")
    for words in (
        "account main: only observes",
        "account old: is paused",
        "account old: no store uses it",
        "account old: http://walmart.example is not encrypted",
        "store default: is paused",
        "store default: unmapped carriers are sent as other",
    ):
        assert any(one.startswith(words) for one in told), words
    assert "s3cr3t" not in str(told)


@pytest.mark.parametrize(("accounts", "names", "told"), [(50, "auto", False), (51, "auto", True), (51, "m1", False)])
def test_metrics_that_show_no_account_by_name_are_told(accounts: int, names: str, told: bool) -> None:
    many = {f"m{number}": {"client_id": "id", "client_secret": "x"} for number in range(accounts)}
    of = settings(accounts=many, stores={"default": {"account": "m1"}}, metrics={"account_names": names})
    assert any(one.startswith("metrics: 51 accounts") for one in levels(check_settings(of), "warning")) is told


def test_kafka_settings_that_have_no_effect_are_told() -> None:
    kafka = KafkaSettings(sasl_username="u", sasl_password=SecretStr("p"), ssl_cafile="/etc/ca.pem")
    told = levels(check_settings(settings(kafka=kafka)), "warning")
    assert any("ssl_*" in one for one in told)
    assert any("sasl_*" in one for one in told)


@pytest.mark.parametrize("policy", ["refuse", "guard"])
def test_a_plain_good_setup_has_nothing_but_ok(policy: str) -> None:
    of = settings(stores={"default": {"account": "main", "cancel_without_items": policy}})
    assert [one for one in check_settings(of) if one.level != "ok"] == []


async def test_looking_at_nobody_is_a_text_not_an_exception() -> None:
    """Port 1 on loopback: refused at once."""
    seen = await look(KafkaSettings(bootstrap_servers="127.0.0.1:1", request_timeout_seconds=1), ("a",))
    assert isinstance(seen, str)
    assert "127.0.0.1" in seen


async def test_a_client_that_cannot_be_set_up_is_a_text_too() -> None:
    kafka = KafkaSettings(
        bootstrap_servers="127.0.0.1:1",
        security_protocol="SASL_SSL",
        sasl_username="u",
        sasl_password_file="/does/not/exist",
    )
    seen = await look(kafka, ("a",))
    assert isinstance(seen, str)
    assert "FileNotFoundError" in seen
