"""One run of one seed: the product's own workers on a simulated Kafka, Walmart and clock."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final
from unittest.mock import patch

import structlog

import worker.app
import worker.telemetry.logs
from tests.sim.budgets import Figures
from tests.sim.clients import Cables, FakeAdmin, FakeConsumer, FakeProducer
from tests.sim.cluster import Cluster, Trouble
from tests.sim.history import History, HistoryLogger
from tests.sim.judge import Judge
from tests.sim.people import People
from tests.sim.reconfiguring import LATEST_S, Silence, changed
from tests.sim.replica import Replica
from tests.sim.scenario import CANCELLED, DEAD_LETTERS, RESULTS, SHIPPED, Happening, Message, Scenario, make
from tests.sim.virtual_loop import PROCESS, IdleError, VirtualLoop
from tests.sim.walmart import EVENT, FakeWalmart, LoopTime, Weather, on_loop_time
from worker.sandbox.walmart.specs import FaultSpec
from worker.settings import LimitSettings, Settings
from worker.sync.apply import Sync

LOOK_S: Final = 1.0
BATCH: Final = 20
"""Records per poll, so that small windows mean something."""
MOST_REPLICAS: Final = 4
TWINS_END_S: Final = 60.0
"""So long after the last fault only one process of each name is left."""
ENOUGH: Final = 20
"""Violations after which a run need not go on."""
MOST_STEPS: Final = 6_000_000
"""Callbacks in one run; more is a loop that spins."""
_FAKES: Final = {
    "AIOKafkaConsumer": FakeConsumer,
    "AIOKafkaProducer": FakeProducer,
    "AIOKafkaAdminClient": FakeAdmin,
}
_NOT_OURS: Final = ("worker.cli", "worker.sandbox", "worker.check")


@dataclass
class Ran:
    """What came of a run."""

    seed: int
    events: int = 0
    calls: int = 0
    virtual_seconds: float = 0.0
    violations: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)
    budget: Figures = field(default_factory=Figures)
    measured: bool = False
    """Nothing but the budget was in the way."""
    seconds: float = 0.0
    """Of processor time."""


class _NoServer:
    """The HTTP endpoints are not part of this."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    async def start(self) -> int:
        return 1

    async def stop(self) -> None:
        pass


class _NoSession:
    async def close(self) -> None:
        pass


def run(seed: int, *, keep_history: bool = False, change: Callable[[Scenario], None] | None = None) -> Ran:
    """Run one seed. `change` may alter its scenario (shrinking, tests of the judge)."""
    scenario = make(seed)
    if change is not None:
        change(scenario)
    started = time.process_time()
    simulation = Simulation(scenario, keep_history=keep_history)
    ran = simulation.run()
    ran.seconds = time.process_time() - started
    return ran


def run_many(seeds: range) -> list[Ran]:
    """Run some seeds, one after another."""
    gc.freeze()  # what is imported need not be looked through after each run
    return [run(seed) for seed in seeds]


class Simulation:
    """Builds the world of a scenario, lets it run, judges it."""

    def __init__(self, scenario: Scenario, *, keep_history: bool = False) -> None:
        self.scenario = scenario
        self.loop = VirtualLoop()
        self.clock = LoopTime(self.loop)
        self.history = History(self.loop, keep=keep_history)
        seed = scenario.seed
        self.cluster = Cluster(self.loop, random.Random(f"kafka {seed}"), self.history, scenario.partitions)
        for topic in (SHIPPED, CANCELLED, RESULTS, DEAD_LETTERS):
            self.cluster.create(topic, scenario.partitions)
        self.walmart = FakeWalmart(
            self.loop,
            random.Random(f"walmart {seed}"),
            self.history,
            scenario.settings.timing.call_timeout_seconds,
            plan=scenario.budget,
        )
        self.silence = Silence(scenario.settings, self.loop.time)
        self.judge = Judge(scenario, self.cluster, self.walmart, self.history, self.silence)
        self.people = People(
            self.loop,
            scenario.settings,
            random.Random(f"people {seed}"),
            self.history,
            self.judge.violation,
            may_resolve=lambda order: order not in scenario.orders or not scenario.orders[order].guarded_cancel,
        )
        self.replicas: list[Replica] = []
        self.settings = scenario.settings
        """As they are at the moment."""
        self._settings_chance = random.Random(f"settings taken {seed}")
        self._correlation_ids = 0

    # -- the run

    def run(self) -> Ran:
        random.seed(self.scenario.seed)
        loop = self.loop
        gc.disable()
        try:
            with self._world():
                asyncio.set_event_loop(None)
                loop.set_exception_handler(self._unhandled)
                try:
                    loop.run_until_complete(self._main())
                except IdleError as error:
                    self.judge.violation(str(error))
                self.judge.close()
                self._put_away()
        finally:
            gc.enable()
            gc.collect()
        history = self.history
        return Ran(
            seed=self.scenario.seed,
            events=len(self.judge.records),
            calls=self.walmart.calls,
            virtual_seconds=loop.time() - 1_000,
            violations=self.judge.violations,
            counts=history.counts,
            failures=self.judge.failures,
            lines=history.lines,
            budget=self.walmart.budgets.figures(),
            measured=self.scenario.budget.measured,
        )

    def _put_away(self) -> None:
        self.cluster.over = True
        Cables.cluster = History.current = None
        self.loop.set_exception_handler(lambda *_: None)
        for replica in self.replicas:
            if replica.process is not None:
                self.loop.kill(replica.process)
                replica.graveyard.append(replica.process)
            for process in replica.graveyard:
                self.loop.bury(process)
        for process in self.people.processes:
            self.loop.kill(process)
            self.loop.bury(process)
        rest = [task for task in asyncio.all_tasks(self.loop) if not task.done()]
        for task in rest:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        self.loop.set_exception_handler(lambda *_: None)
        self.loop.close()

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        task = context.get("task") or context.get("future")
        process = self.loop.owner(task) if task is not None else None
        if process is not None and process.state == "dead":
            return
        self.judge.violation(f"{process}: {context.get('message')}: {context.get('exception')!r} {task!r}")

    @contextmanager
    def _world(self) -> Iterator[None]:
        """Only clock, sockets and broker are replaced."""
        Cables.cluster = self.cluster
        History.current = self.history
        before = structlog.get_config()
        canonical = patch.object(worker.telemetry.logs._Canonical, "write", HistoryLogger.canonical)
        structlog.configure(wrapper_class=HistoryLogger, processors=[], cache_logger_on_first_use=False)
        with ExitStack() as stack:
            stack.enter_context(canonical)
            stack.enter_context(on_loop_time(self.clock))
            for module in _product():
                for name, fake in _FAKES.items():
                    if hasattr(module, name):
                        stack.enter_context(patch.object(module, name, fake))
                if isinstance(getattr(module, "time", None), ModuleType):
                    stack.enter_context(patch.object(module, "time", self.clock))
                if getattr(module, "POLL_S", None) is not None:
                    stack.enter_context(patch.object(module, "POLL_S", 1.0))
                if getattr(module, "BATCH_RECORDS", None) is not None:
                    stack.enter_context(patch.object(module, "BATCH_RECORDS", BATCH))
                if hasattr(module, "new_correlation_id"):
                    stack.enter_context(patch.object(module, "new_correlation_id", self._correlation_id))
                if module.__name__ in ("worker.walmart.client", "worker.walmart.token"):
                    stack.enter_context(patch.object(module, "exchange", self.walmart.exchange))
            stack.enter_context(patch.object(worker.app, "TelemetryServer", _NoServer))
            stack.enter_context(patch.object(worker.app, "make_session", lambda *_: _NoSession()))
            stack.enter_context(patch.object(worker.app, "expect_little", lambda: None))
            stack.enter_context(patch.object(Sync, "attempt", self._watched(Sync.attempt)))
            try:
                yield
            finally:
                structlog.configure(**before)
                History.current = None

    def _correlation_id(self) -> str:
        self._correlation_ids += 1
        return f"00000000-0000-4000-8000-{self._correlation_ids:012d}"

    def _watched(self, attempt: Callable[..., Any]) -> Callable[..., Any]:
        """`Sync.attempt`, told to the judge."""
        judge = self.judge

        async def watched(sync: Sync, event: Any, progress: Any, delivery: Any = None) -> Any:
            process, order = PROCESS.get(), event.data.purchase_order_id
            EVENT.set(delivery.key)
            judge.began(process, order, delivery.key)
            self.history.add(f"attempt {progress.attempts} of {delivery.key}")
            try:
                outcome = await attempt(sync, event, progress, delivery)
            finally:
                judge.ended(process, order)
            self.history.add(f"came to {outcome}" if self.history.keep else "")
            return outcome

        return watched

    async def _main(self) -> None:
        scenario, loop = self.scenario, self.loop
        world = self.walmart.world
        for name in scenario.accounts:
            world.add_seller(scenario.budget.seller(name))
        for order in scenario.orders.values():
            account = scenario.settings.stores[order.store].account
            world.add_orders([order.spec.model_copy(update={"seller": account})])
        for quirk in scenario.quirks:
            world.faults.add(FaultSpec.model_validate({"kind": quirk}))
        self.cluster.trouble, self.walmart.weather = scenario.trouble, scenario.weather
        if scenario.clocks_ahead_s:
            self.history.count("clocks that differ")
        for _ in range(scenario.workers):
            self._add_replica()
        for happening in scenario.happenings:
            loop.in_world(happening.at, self._happens, happening)
        loop.in_world(scenario.quiet_at, self._quiet)
        publishing = asyncio.ensure_future(self._publish())
        over_at = max([scenario.quiet_at, *(happening.at for happening in scenario.happenings)])
        bound = loop.time() + over_at + scenario.patience
        while True:
            await asyncio.sleep(LOOK_S)
            self._look()
            if len(self.judge.violations) >= ENOUGH:
                break
            if loop.steps > MOST_STEPS:
                self.judge.violation("the workers spin")
                break
            quiet = loop.time() > 1_000 + over_at and publishing.done() and not self.people.busy
            if (quiet and not self.judge.unsettled() and not self._twins()) or loop.time() > bound:
                break
        publishing.cancel()
        for replica in self.replicas:
            replica.stop(for_good=True)
        ends_at = loop.time() + 60
        while any(replica.alive for replica in self.replicas):
            await asyncio.sleep(0.1)
            if loop.time() > ends_at:
                self.judge.violation(f"does not stop: {[str(each.process) for each in self.replicas if each.alive]}")
                break

    def _look(self) -> None:
        self.judge.look()
        if self.scenario.budget.limited:
            self.walmart.budgets.look(self.judge.waiting())
        if self.loop.time() > 1_000 + self.scenario.quiet_at + TWINS_END_S:
            for replica in self._twins():
                self.judge.violation(f"{replica.process} and {replica.twin} of one name have both gone on")
        may = _most_in_memory(self.scenario.settings.limits)
        for replica in self.replicas:
            if replica.worker is not None:
                count = replica.worker._lanes.count
                self.history.counts["most events in memory"] = max(self.history.counts["most events in memory"], count)
                if count > may:
                    self.judge.violation(f"{replica.process}: {count} events in memory, {may} may")

    # -- commerce

    async def _publish(self) -> None:
        """Events of one order are published one after another, each acknowledged before the next."""
        loop = self.loop
        blocked: dict[str, list[Message]] = {}
        for message in self.scenario.messages:
            while (wait := 1_000 + message.at - loop.time()) > 0:
                await asyncio.sleep(min(wait, 0.2) if blocked else wait)
                self._catch_up(blocked)
            if message.order in blocked or not self._publish_one(message):
                blocked.setdefault(message.order, []).append(message)
        while blocked:
            await asyncio.sleep(0.2)
            self._catch_up(blocked)

    def _catch_up(self, blocked: dict[str, list[Message]]) -> None:
        for order, messages in list(blocked.items()):
            while messages and self._publish_one(messages[0]):
                del messages[0]
            if not messages:
                del blocked[order]

    def _publish_one(self, message: Message) -> bool:
        cluster = self.cluster
        partition = cluster.partition_for(message.topic, message.key)
        if message.misplaced and message.topic == SHIPPED:
            partition = (partition + 1) % self.scenario.partitions
        if not cluster.reaches(cluster.leader(message.topic, partition), None):
            return False
        stored = cluster.append(message.topic, partition, message.key, message.value, message.headers)
        self.judge.published(message, partition, stored)
        return True

    # -- what goes wrong

    def _add_replica(self, twin_of: Replica | None = None) -> Replica:
        number = len(self.replicas)
        name = f"w{number}" if twin_of is None else f"{twin_of.name}'"
        settings = self.settings
        if self.scenario.static:
            instance = f"order-sync-{name.removeprefix('w').rstrip(chr(39))}"
            kafka = settings.kafka.model_copy(update={"group_instance_id": instance})
            settings = settings.model_copy(update={"kafka": kafka})
        clocks = self.scenario.clocks_ahead_s
        replica = Replica(
            name,
            self.loop,
            self.clock,
            settings,
            str(self.scenario.seed),
            self.history,
            self.judge.violation,
            self.judge.died,
            clock_ahead_s=clocks[number % len(clocks)] if clocks else 0.0,
            taken=self.silence.taken,
        )
        if twin_of is not None:
            replica.twin, twin_of.twin = twin_of, replica
        self.replicas.append(replica)
        replica.start()
        return replica

    def _twins(self) -> list[Replica]:
        """Of each two that have one name and both run, one."""
        return [
            replica
            for number, replica in enumerate(self.replicas)
            if replica.twin is not None
            and replica.alive
            and replica.twin.alive
            and replica.twin not in self.replicas[:number]
        ]

    def _happens(self, happening: Happening) -> None:
        loop, seconds = self.loop, happening.seconds
        replica = self.replicas[happening.which % len(self.replicas)]
        match happening.deed:
            case "kill":
                replica.kill()
                loop.in_world(min(seconds, 10.0), replica.start)
            case "stall":
                replica.stall(seconds)
            case "stop":
                replica.stop()
                loop.in_world(max(2.0, seconds), replica.start)
                loop.in_world(max(20.0, seconds), replica.start)
            case "join":
                if len(self.replicas) < MOST_REPLICAS:
                    self.history.count("workers joined")
                    self._add_replica()
            case "brokers":
                brokers = self.cluster.brokers
                which = (brokers, brokers[:1], brokers[1:])[happening.which % 3]
                self.cluster.outage(which, min(seconds, 8.0))
            case "cut_off":
                if replica.process is not None:
                    self.history.count("cut off from Kafka")
                    self.history.add(f"cut off from Kafka for {seconds:.1f} s", replica.process)
                    replica.process.cut_off_until = loop.time() + seconds
            case "account":
                accounts = self.scenario.accounts
                name = accounts[happening.which % len(accounts)]
                self.history.count(f"account outages: {happening.how}")
                self.history.add(f"account {name} is out ({happening.how}) for {seconds:.0f} s", "walmart")
                self.walmart.outages[name] = (loop.time() + seconds, happening.how)
            case "twin":
                if self.scenario.static and replica.wanted and replica.twin is None:
                    self.history.count("two processes of one name")
                    self._add_replica(twin_of=replica)
            case "clock":
                replica.set_clock(seconds)
            case "settings":
                self.history.count(f"settings changed: {happening.how}")
                self.history.add(f"settings are changed ({happening.how}, {happening.which})")
                rotated = self.scenario.accounts if happening.how == "secret" else ()
                self._configure(lambda settings: changed(settings, happening.how, happening.which), rotated)
            case "replay" | "resolve":
                self.people.act(happening)
            case "compact":
                self.cluster.compact(DEAD_LETTERS, tombstones_older_than_s=60.0)

    def _configure(self, change: Callable[[Settings], Settings], rotated: Collection[str] = ()) -> None:
        """Each worker looks at its file by itself. What a new one joins with is what the others have now."""
        self.settings = change(self.settings)
        for replica in self.replicas:
            replica.configure(change, self._settings_chance.uniform(0.0, LATEST_S), rotated)

    def _quiet(self) -> None:
        """Nothing goes wrong any more; reads may go on to lag."""
        self.history.add("QUIET from here on")
        if any(happening.deed == "settings" for happening in self.scenario.happenings):
            first = self.scenario.settings
            parts = {part: getattr(first, part) for part in ("accounts", "stores", "limits", "timing")}
            self._configure(lambda settings: settings.model_copy(update=parts))
        self.cluster.trouble = Trouble()
        self.walmart.weather = Weather(lag_s=self.scenario.weather.lag_s)
        self.walmart.outages.clear()
        for broker in self.cluster.brokers:
            broker.down_until = 0.0
        for replica in self.replicas:
            replica.wake()
            if replica.process is not None:
                replica.process.cut_off_until = 0.0
        if not any(replica.alive for replica in self.replicas):
            for replica in self.replicas:
                replica.start()


def _most_in_memory(limits: LimitSettings) -> int:
    """What a full window comes to with all that is let in beyond it.

    Shipments are read on up to a quarter more, and a whole poll comes at once. From the waiting room there come a
    quarter for their turns (the window may wait for them), an eighth to be told late and one whose time is over.
    """
    window = limits.max_queued_events
    return int(window * 1.25) + BATCH + window // 4 + 2 * max(1, window // 8)


def _product() -> list[ModuleType]:
    return [
        module
        for name, module in list(sys.modules.items())
        if name.startswith("worker.") and module is not None and not name.startswith(_NOT_OURS)
    ]
