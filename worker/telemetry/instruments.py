"""Typed instruments for prometheus-client: what a metric is, not which ones there are (that is `metrics.py`).

A label is a `Label[T]` (name, type, possible values); a family of metrics takes its label values positionally, typed:
a wrong label value fails mypy, as a misspelt metric does.

The numbers are kept here, and prometheus-client asks for them when a page is wanted: its own instruments take a lock
for every step, and a look at every edge for every observation. Steps and pages come from one thread, the event loop's.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Generic, Literal, TypeVar, TypeVarTuple, overload

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
Ts = TypeVarTuple("Ts")
State = TypeVar("State")

MAX_SERIES = 5_000
"""Label combinations of one family. What comes after is counted under `overflow`: bounded whatever happens."""

_START_AT_ZERO = 500
"""Counters whose label values are all known start at 0 up to this many series, so that a first step is seen as one."""

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Label(Generic[T]):
    """One label: its values are bounded, `values` (where known beforehand) or what `meaning` says."""

    name: str
    meaning: str
    values: tuple[T, ...] = ()


@dataclass(frozen=True, slots=True)
class Labels(Generic[*Ts]):
    """The labels of one family, in order."""

    each: tuple[Label[Any], ...]


@overload
def labels() -> Labels[()]: ...
@overload
def labels(a: Label[A], /) -> Labels[A]: ...
@overload
def labels(a: Label[A], b: Label[B], /) -> Labels[A, B]: ...
@overload
def labels(a: Label[A], b: Label[B], c: Label[C], /) -> Labels[A, B, C]: ...
@overload
def labels(a: Label[A], b: Label[B], c: Label[C], d: Label[D], /) -> Labels[A, B, C, D]: ...
def labels(*each: Label[Any]) -> Labels[*tuple[Any, ...]]:
    """Labels of a family, in order; the types of their values become the family's."""
    return Labels(each)


NONE: Labels[()] = labels()


@dataclass(frozen=True, slots=True)
class Definition:
    """One row of the reference page."""

    name: str
    """Full name, as Prometheus shows it."""
    kind: Kind
    unit: str
    labels: tuple[Label[Any], ...]
    help: str
    buckets: tuple[float, ...] = ()


class _Family(Collector, Generic[State, *Ts]):
    """All series of one metric, by label values."""

    __slots__ = ("_definition", "_names", "_series")

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._names = tuple(label.name for label in definition.labels)
        self._series: dict[tuple[object, ...], State] = {}
        if not self._names:
            self._start(())

    def retain(self, label: str, values: Collection[object]) -> None:
        """Series with another value of this label disappear (an account that is not shown by name any more)."""
        at = self._names.index(label)
        for gone in [each for each in self._series if each[at] not in values]:
            del self._series[gone]

    def collect(self) -> Iterable[Metric]:
        """What prometheus-client asks for."""
        definition = self._definition
        metric = Metric(definition.name.removesuffix("_total"), definition.help, definition.kind)
        for values, state in self._series.items():
            self._tell(metric, dict(zip(self._names, map(_text, values), strict=True)), state)
        yield metric

    def _start(self, values: tuple[object, ...]) -> tuple[object, ...]:
        """Create a series, unless there are too many: then all the rest are one. Returns its label values."""
        if len(self._series) >= MAX_SERIES:
            values = ("overflow",) * len(self._names)
        self._series.setdefault(values, self._new())
        return values

    @abstractmethod
    def _new(self) -> State:
        """The state of a series that nothing happened to yet."""

    @abstractmethod
    def _tell(self, metric: Metric, given: dict[str, str], state: State) -> None:
        """Add the samples of one series."""


def _text(value: object) -> str:
    return "none" if value is None else str(value)


class Counter(_Family[float, *Ts]):
    """Only goes up."""

    __slots__ = ()

    def inc(self, *values: *Ts) -> None:
        """One more."""
        try:
            self._series[values] += 1.0
        except KeyError:
            self._series[self._start(values)] += 1.0

    def start_at_zero(self, *each: Collection[object]) -> None:
        """Create the series of these label values that are not there yet, if they are not too many."""
        for values in _combined(each):
            if values not in self._series:
                self._start(values)

    def add(self, amount: float, *values: *Ts) -> None:
        """`amount` (at least 0) more."""
        if amount < 0:
            raise ValueError("a counter only goes up")
        try:
            self._series[values] += amount
        except KeyError:
            self._series[self._start(values)] += amount

    def _new(self) -> float:
        return 0.0

    def _tell(self, metric: Metric, given: dict[str, str], state: float) -> None:
        metric.add_sample(self._definition.name, given, state)


class Gauge(_Family[float, *Ts]):
    """Goes up and down."""

    __slots__ = ()

    def set(self, value: float, *values: *Ts) -> None:
        """It is `value` now."""
        if values not in self._series:
            self._series[self._start(values)] = float(value)
        else:
            self._series[values] = float(value)

    def forget(self, *values: *Ts) -> None:
        """The thing is not ours any more (a partition given away): its series disappears."""
        if self._names:
            self._series.pop(values, None)

    def replace(self, now: Mapping[tuple[*Ts], float]) -> None:
        """These are all there are; series of other label values disappear."""
        for gone in [values for values in self._series if values not in now]:
            del self._series[gone]
        for values, value in now.items():
            self.set(value, *values)

    def _new(self) -> float:
        return 0.0

    def _tell(self, metric: Metric, given: dict[str, str], state: float) -> None:
        metric.add_sample(self._definition.name, given, state)


@dataclass(slots=True)
class _Observed:
    counts: list[int]
    """Per bucket those above the edge before it; the last one has no edge."""
    total: float = 0.0


class Histogram(_Family[_Observed, *Ts]):
    """A distribution."""

    __slots__ = ("_edge_texts", "_edges")

    def __init__(self, definition: Definition) -> None:
        self._edges = definition.buckets
        assert list(self._edges) == sorted(self._edges), definition.name
        self._edge_texts = [floatToGoString(edge) for edge in (*self._edges, math.inf)]  # type: ignore[no-untyped-call]
        super().__init__(definition)

    def observe(self, value: float, *values: *Ts) -> None:
        """One more observation."""
        try:
            observed = self._series[values]
        except KeyError:
            observed = self._series[self._start(values)]
        observed.counts[bisect_left(self._edges, value)] += 1
        observed.total += value

    def _new(self) -> _Observed:
        return _Observed([0] * (len(self._edges) + 1))

    def _tell(self, metric: Metric, given: dict[str, str], state: _Observed) -> None:
        name, count = self._definition.name, 0
        for edge_text, more in zip(self._edge_texts, state.counts, strict=True):
            count += more
            metric.add_sample(f"{name}_bucket", {**given, "le": edge_text}, count)
        metric.add_sample(f"{name}_count", given, count)
        metric.add_sample(f"{name}_sum", given, state.total)


class Registry:
    """An own Prometheus registry (never the global one) that remembers what was defined in it."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.prometheus = CollectorRegistry(auto_describe=False)
        self.definitions: list[Definition] = []

    def counter(self, name: str, text: str, given: Labels[*Ts], *, unit: str = "") -> Counter[*Ts]:
        """Define a counter; `name` ends in `_total`."""
        assert name.endswith("_total"), name
        family: Counter[*Ts] = Counter(self._define("counter", name, text, given.each, unit))
        family.start_at_zero(*(label.values for label in given.each))
        self.prometheus.register(family)
        return family

    def gauge(self, name: str, text: str, given: Labels[*Ts], *, unit: str = "") -> Gauge[*Ts]:
        """Define a gauge."""
        family: Gauge[*Ts] = Gauge(self._define("gauge", name, text, given.each, unit))
        self.prometheus.register(family)
        return family

    def histogram(
        self, name: str, text: str, given: Labels[*Ts], *, buckets: tuple[float, ...], unit: str = ""
    ) -> Histogram[*Ts]:
        """Define a histogram with these upper edges (inclusive)."""
        family: Histogram[*Ts] = Histogram(self._define("histogram", name, text, given.each, unit, buckets))
        self.prometheus.register(family)
        return family

    def _define(
        self,
        kind: Kind,
        name: str,
        text: str,
        each: tuple[Label[Any], ...],
        unit: str,
        buckets: tuple[float, ...] = (),
    ) -> Definition:
        definition = Definition(f"{self.prefix}{name}", kind, unit, each, text, buckets)
        self.definitions.append(definition)
        return definition


def _combined(each: Sequence[Collection[object]]) -> Iterator[tuple[object, ...]]:
    if each and math.prod(len(values) for values in each) <= _START_AT_ZERO:
        yield from product(*each)
