"""New settings in a running worker: what was read, queued, parked and under way when they came."""

from __future__ import annotations

import gc
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

import pytest
from reconfigured_world import TREE, World, running, settings, stores

from worker.app import Worker
from worker.gatekeeper import WORKER, account_gate, call_gate
from worker.settings import LimitSettings, Section, Settings, TimingSettings
from worker.walmart.answer import CallError, CallKind

REVOKED = CallError(CallKind.UNAUTHORIZED, "401", status=401)
DOWN = CallError(CallKind.NOT_SENT, "503")


# -- no room keeps anything of the old settings


def numbers(section: type[Section], start: int) -> dict[str, float]:
    """Odd values for every number of a section: found again wherever somebody keeps one."""
    found = {}
    for place, (name, field) in enumerate(section.model_fields.items()):
        least = next(one.ge for one in field.metadata if hasattr(one, "ge"))
        odd = start + 2 * place
        found[name] = int(least) + odd if field.annotation is int else float(least) + odd / 1_000_003
    return found


def reached_from(root: object) -> list[object]:
    """Every object that a worker holds, however deep; not what the interpreter holds."""
    seen: set[int] = set()
    found: list[object] = []
    waiting: list[object] = [root]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, type | ModuleType):
            continue
        if type(one).__module__ == "worker.telemetry.instruments":
            continue  # edges of buckets: what `settings_change` says of them
        seen.add(id(one))
        found.append(one)
        if isinstance(one, FunctionType):
            waiting += [one.__closure__, one.__defaults__, one.__kwdefaults__]
        else:
            waiting += gc.get_referents(one)
    return found


def numbers_held(worker: object, old: dict[str, float]) -> set[str]:
    held = {one for one in reached_from(worker) if type(one) in (int, float)}
    return {name for name, value in old.items() if value in held}


def test_no_room_keeps_a_part_or_a_number_of_the_old_settings() -> None:
    """What `settings_change` calls `at once` must be: a room that was forgotten goes on with what it has."""
    first = {**numbers(TimingSettings, 101), **numbers(LimitSettings, 301)}
    second = {**numbers(TimingSettings, 501), **numbers(LimitSettings, 701)}

    def tree(values: dict[str, float]) -> Settings:
        return settings(
            timing={name: values[name] for name in TimingSettings.model_fields},
            limits={name: values[name] for name in LimitSettings.model_fields},
        )

    before, after = tree(first), tree(second)
    after = after.model_copy(update={part: getattr(before, part) for part in ("kafka", "topics", "http")})
    worker: Any = Worker(before)
    worker._accounts.connect(SimpleNamespace())
    assert worker._accounts["main"]
    assert numbers_held(worker, first) == set(first), "they would be found"

    worker.configure(after)

    old = (before, before.timing, before.limits, *before.accounts.values(), *before.stores.values())
    kept = [one for one in reached_from(worker) if isinstance(one, Section) and any(one is part for part in old)]
    assert kept == []
    assert numbers_held(worker, first) == set()
    assert numbers_held(worker, second) == set(second)


# -- stores


async def test_a_new_store_is_served_at_once_and_a_client_is_made_with_its_first_event() -> None:
    async with running(settings(stores={"us": {"account": "main"}})) as world:
        world.send("PO1", "eu")
        await world.until(lambda: "PO1" in world.told())
        assert world.told() == {"PO1": "store_unknown"}
        world.worker.configure(settings())
        assert world.made == []
        world.send("PO2", "eu")
        await world.until(lambda: "PO2" in world.told())
        assert world.told()["PO2"] == "succeeded"
        assert [api.name for api in world.made] == ["two"]
        await world.replay("PO1")
        await world.until(lambda: world.told()["PO1"] == "succeeded")


async def test_an_event_queued_while_its_store_was_unknown_gets_the_gates_of_its_account() -> None:
    async with running(settings(stores={"us": {"account": "main"}})) as world:
        worker = world.worker
        worker._gates.shut(WORKER, "internal")
        queued = world.send("PO1", "eu")
        (entry,) = worker._lanes
        assert (entry.gates, entry.group, queued.group) == ((WORKER,), "", "")
        worker.configure(settings())
        assert entry.gates == worker._gatekeeper.names_of("eu", ships=True)
        assert (entry.group, queued.group, dict(worker._lanes.counts)) == ("two", "two", {"two": 1})
        worker._gates.close(account_gate("two"), "credentials_rejected", world.clock.time + 60, world.clock.time)
        worker._gates.open(WORKER)
        world.send("PO2")
        await world.until(lambda: "PO2" in world.told())
        assert "PO1" not in world.told(), "it stands behind its account's gate"
        worker._gates.open(account_gate("two"))
        await world.until(lambda: world.told().get("PO1") == "succeeded")


async def test_a_store_that_moves_to_another_account_takes_its_queued_events_along() -> None:
    async with running(settings()) as world:
        worker = world.worker
        worker._gates.close(account_gate("main"), "credentials_rejected", world.clock.time + 60, world.clock.time)
        world.send("PO1")
        worker.configure(settings(stores=stores(us={"account": "two"})))
        await world.until(lambda: world.told().get("PO1") == "succeeded")
        assert world.results()["PO1"].account == "two"
        assert [api.name for api in world.made] == ["two"]


async def test_an_event_keeps_the_gates_of_its_account_that_it_came_to_stand_behind() -> None:
    async with running(settings()) as world:
        worker = world.worker
        worker._gates.shut(WORKER, "internal")
        world.send("PO1")
        (entry,) = worker._lanes
        entry.gates += (call_gate("main", "acknowledge"),)
        worker.configure(settings(stores=stores(us={"paused": False})))
        assert call_gate("main", "acknowledge") in entry.gates
        worker.configure(settings(stores=stores(us={"account": "two"})))
        assert entry.gates == worker._gatekeeper.names_of("us", ships=True)


async def test_changed_maps_count_from_the_next_try_on() -> None:
    async with running(settings()) as world:
        world.api("main").open = True
        world.send("PO1", carrier="brown")
        await world.until(lambda: "PO1" in world.told())
        assert world.told() == {"PO1": "carrier_unmapped"}
        world.worker.configure(settings(stores=stores(us={"carriers": {"brown": "UPS"}})))
        await world.replay("PO1")
        await world.until(lambda: world.told()["PO1"] == "succeeded")
        assert '"UPS"' in repr(world.api("main").shipped).replace("'", '"')


async def test_observe_is_switched_on_and_off() -> None:
    async with running(settings()) as world:
        api = world.api("main")
        api.open = True
        world.worker.configure(settings(stores=stores(us={"observe": True})))
        world.send("PO1")
        await world.until(lambda: "PO1" in world.told())
        assert (world.results()["PO1"].observed, api.shipped) == (True, [])
        world.worker.configure(settings(accounts={**TREE["accounts"], "main": {**TREE["accounts"]["main"]}}))
        world.send("PO2")
        await world.until(lambda: "PO2" in world.told())
        assert not world.results()["PO2"].observed
        assert len(api.shipped) == 1


# -- the kill switch


@pytest.mark.parametrize("what", ["account", "store"])
async def test_a_pause_parks_what_is_queued_lets_end_what_runs_and_its_end_brings_all_back(what: str) -> None:
    paused = (
        settings(stores=stores(us={"paused": True}))
        if what == "store"
        else settings(accounts={**TREE["accounts"], "main": {**TREE["accounts"]["main"], "paused": True}})
    )
    async with running(settings()) as world:
        api = world.api("main")
        api.answers.clear()
        world.send("PO1")
        await world.until(lambda: api.asked == ["PO1"])
        world.worker._gates.slow(call_gate("main", "ship"), world.clock.time + 30, "throttled", world.clock.time)
        world.send("PO2")
        world.worker.configure(paused)
        world.send("PO3")
        world.send("PO4", "eu")
        api.answers.set()
        await world.until(lambda: world.parked() == 2 and len(world.told()) == 2)
        assert world.told() == {"PO1": "succeeded", "PO4": "succeeded"}
        assert {row.code for row in world.worker._room.table} == {"paused"}
        world.pass_time(200_000)
        await world.until(lambda: [world.told().get(order) for order in ("PO2", "PO3")] == ["paused", "paused"])
        assert {one.status for one in world.results().values()} == {"succeeded", "retrying"}
        assert world.parked() == 2, "however long it lasts"
        world.worker.configure(settings())
        world.pass_time(2)
        await world.until(lambda: list(world.told().values()) == ["succeeded"] * 4)
        assert world.parked() == 0


# -- accounts


async def test_a_dead_account_is_probed_at_once_when_its_secret_was_rotated() -> None:
    async with running(settings()) as world:
        worker, now = world.worker, world.clock.time
        for gate in (account_gate("main"), call_gate("main", "ship"), account_gate("two")):
            worker._gates.close(gate, "credentials_rejected", now + 600, now)
        world.send("PO1")
        world.send("PO2", "eu")
        worker.configure(settings(timing={"slo_seconds": 60}))
        assert worker._gates.admits((account_gate("main"),), now) is not None, "nothing was rotated"
        worker.configure(settings(), rotated={"main"})
        await world.until(lambda: world.told().get("PO1") == "succeeded")
        assert "PO2" not in world.told()
        assert worker._gates.state(account_gate("two")).next_at == now + 600


async def test_a_rotated_secret_leaves_the_client_and_its_token() -> None:
    world = World(settings())
    api = world.api("main")
    world.worker.configure(settings(), rotated={"main"})
    world.worker.configure(settings())
    assert world.api("main") is api
    assert api.renewed == [True, False]


@pytest.mark.parametrize("field", ["base_url", "client_id", "market"])
async def test_another_address_or_key_is_a_new_client_and_what_runs_ends_with_the_old_one(field: str) -> None:
    value = {"base_url": "https://elsewhere.example", "client_id": "other", "market": "ca"}[field]
    async with running(settings()) as world:
        old = world.api("main")
        old.answers.clear()
        world.send("PO1")
        await world.until(lambda: old.asked == ["PO1"])
        changed = {**TREE["accounts"], "main": {**TREE["accounts"]["main"], field: value}}
        world.worker.configure(settings(accounts=changed))
        world.send("PO2")
        await world.until(lambda: world.told().get("PO2") == "succeeded")
        new = world.api("main")
        assert (new is old, new.asked, getattr(new.account, field)) == (False, ["PO2"], value)
        assert not old.closed
        old.answers.set()
        await world.until(lambda: world.told().get("PO1") == "succeeded")
        await world.worker._accounts.close()
        assert (old.closed, new.closed) == (True, True), "whoever is still known is closed at the end"


async def test_an_account_removed_with_its_store_loses_none_of_its_events() -> None:
    """In flight, queued, parked and replayed: each has its final result, and its dead letter."""
    async with running(settings()) as world:
        worker, api = world.worker, world.api("two")
        api.error = DOWN
        world.send("PO-parked", "eu")
        await world.until(lambda: api.asked == ["PO-parked"])
        (entry,) = worker._lanes
        await world.until(lambda: entry.ready_at > 0)
        worker._lanes.evict(entry)
        await world.until(lambda: world.parked() == 1)
        api.error, api.open = None, True
        world.send("PO-dead", "eu", carrier="brown")
        await world.until(lambda: "PO-dead" in world.told())
        api.answers.clear()
        world.send("PO-flight", "eu")
        await world.until(lambda: "PO-flight" in api.asked)
        worker._gates.slow(call_gate("two", "ship"), world.clock.time + 30, "throttled", world.clock.time)
        world.send("PO-queued", "eu")

        worker.configure(settings(accounts={"main": TREE["accounts"]["main"]}, stores={"us": {"account": "main"}}))
        assert "two" not in worker._accounts
        assert api in worker._accounts._leaving
        assert [view.name for view in worker._gates.views()] == []
        await world.until(lambda: "PO-queued" in world.told())
        assert not api.closed
        api.answers.set()
        await world.until(lambda: "PO-flight" in world.told())
        assert world.results()["PO-flight"].account == "two"
        world.pass_time(120)
        await world.until(lambda: "PO-parked" in world.told())
        await world.replay("PO-dead")
        await world.until(lambda: world.told()["PO-dead"] == "store_unknown")
        assert world.told() == {
            "PO-dead": "store_unknown",
            "PO-flight": "succeeded",
            "PO-queued": "store_unknown",
            "PO-parked": "store_unknown",
        }
        assert {row.order for row in worker._room.table} == {"PO-dead", "PO-queued", "PO-parked"}
        assert {row.state for row in worker._room.table} == {"dead"}
        assert (worker._lanes.count, worker._arrivals._taken_up.total()) == (0, 0)
        worker.configure(settings())
        for order in ("PO-dead", "PO-queued", "PO-parked"):
            await world.replay(order)
        await world.until(lambda: list(world.told().values()) == ["succeeded"] * 4)


async def test_what_a_removed_account_answers_late_makes_no_gate() -> None:
    world = World(settings(accounts={"main": TREE["accounts"]["main"]}, stores={"us": {"account": "main"}}))
    from worker.walmart.call_report import CallReport

    for _ in range(5):
        world.worker._observe_call(CallReport("gone", "ship", 401, CallKind.UNAUTHORIZED, 0.1, "c"))
    assert world.worker._gates.views() == []


# -- limits and times


async def test_more_may_be_in_flight_at_once() -> None:
    async with running(settings(limits={"max_in_flight_events": 1})) as world:
        api = world.api("main")
        api.answers.clear()
        for number in range(6):
            world.send(f"PO{number}")
        await world.until(lambda: len(api.asked) == 1)
        world.worker.configure(settings(limits={"max_in_flight_events": 4}))
        await world.until(lambda: len(api.asked) == 4)
        api.answers.set()
        await world.until(lambda: len(world.told()) == 6)


@pytest.mark.parametrize("accounts", [2, 1])
async def test_a_larger_share_of_an_account_or_none_lets_go_on_what_it_held(accounts: int) -> None:
    """With one account there is no bound: whoever waited at it must hear that it is gone."""
    async with running(settings(limits={"max_in_flight_events_per_account": 1})) as world:
        api = world.api("main")
        api.answers.clear()
        for number in range(6):
            world.send(f"PO{number}")
        await world.until(lambda: len(api.asked) == 1)
        alone: dict[str, Any] = {"accounts": {"main": TREE["accounts"]["main"]}, "stores": {"us": {"account": "main"}}}
        more = alone if accounts == 1 else {"limits": {"max_in_flight_events_per_account": 6}}
        world.worker.configure(settings(**more))
        await world.until(lambda: len(api.asked) == 6)
        api.answers.set()
        await world.until(lambda: len(world.told()) == 6)


async def test_what_is_parked_is_given_up_and_told_late_as_the_new_times_say() -> None:
    """Walmart is down for days, and somebody allows for it: what is parked already must not be given up first."""
    async with running(settings()) as world:
        worker, now = world.worker, world.clock.time
        worker._gates.close(account_gate("main"), "credentials_rejected", now + 1e6, now)
        world.send("PO1")
        (entry,) = worker._lanes
        worker._lanes.evict(entry)
        await world.until(lambda: world.parked() == 1)
        (row,) = worker._room.table
        before = (row.late_at, row.expires_at)
        assert before == (now + 300, now + 86_400)
        worker.configure(settings(timing={"slo_seconds": 600, "give_up_after_hours": 72}))
        assert (row.late_at, row.expires_at) == (now + 600, now + 3 * 86_400)
        worker.configure(settings(timing={"slo_seconds": 60, "give_up_after_hours": 1}))
        world.pass_time(61)
        await world.until(lambda: "PO1" in world.told())
        assert world.results()["PO1"].status == "retrying"


async def test_found_intents_are_never_forgotten_earlier_than_the_longest_times_said() -> None:
    world = World(settings(timing={"call_timeout_seconds": 20, "read_lag_seconds": 30}))
    intents = world.worker._intake.intents
    world.worker.configure(settings(timing={"call_timeout_seconds": 5, "read_lag_seconds": 30}))
    assert intents.keep_s == 50, "a call begun before may be on its way"
    world.worker.configure(settings(timing={"call_timeout_seconds": 5, "read_lag_seconds": 60}))
    assert intents.keep_s == 65


async def test_good_or_late_is_judged_by_the_new_objective() -> None:
    world = World(settings(timing={"slo_seconds": 300}))
    world.worker.configure(settings(timing={"slo_seconds": 1}))
    assert world.worker.metrics.slo_seconds == 1
