"""Typed instruments over prometheus-client: what a metric is, not which ones there are (that is `metrics.py`).

A label is a `Label[T]` (name, type, possible values); a family of metrics takes its label values positionally, typed:
a wrong label value fails mypy, as a misspelt metric does. Children are kept, so a step costs one dict look-up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Generic, Literal, TypeVar, TypeVarTuple, overload

import prometheus_client as prometheus

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
Ts = TypeVarTuple("Ts")
Child = TypeVar("Child", prometheus.Counter, prometheus.Gauge, prometheus.Histogram)

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


class _Family(Generic[Child, *Ts]):
    """All series of one metric, by label values."""

    __slots__ = ("_children", "_metric", "_names")

    def __init__(self, metric: Child, names: tuple[str, ...]) -> None:
        self._metric: Child = metric
        self._names = names
        self._children: dict[tuple[object, ...], Child] = {}

    def of(self, *values: *Ts) -> Child:
        """The series with these label values; keep it where it is stepped often."""
        child = self._children.get(values)
        return child if child is not None else self.start(values)

    def retain(self, label: str, values: Collection[object]) -> None:
        """Series with another value of this label disappear (an account that is not shown by name any more)."""
        at = self._names.index(label)
        for gone in [each for each in self._children if each[at] not in values]:
            del self._children[gone]
            self._metric.remove(*(_text(value) for value in gone))

    def start(self, values: tuple[object, ...]) -> Child:
        """Create the series (a counter at 0)."""
        if not self._names:
            child = self._metric
        elif len(self._children) < MAX_SERIES:
            child = self._metric.labels(*(_text(value) for value in values))
        else:
            return self._metric.labels(*("overflow" for _ in self._names))
        self._children[values] = child
        return child


def _text(value: object) -> str:
    return "none" if value is None else str(value)


class Counter(_Family[prometheus.Counter, *Ts]):
    """Only goes up."""

    __slots__ = ()

    def inc(self, *values: *Ts) -> None:
        """One more."""
        self.of(*values).inc()

    def start_at_zero(self, *each: Collection[object]) -> None:
        """Create the series of these label values that are not there yet, if they are not too many."""
        for values in _combined(each):
            if values not in self._children:
                self.start(values)

    def add(self, amount: float, *values: *Ts) -> None:
        """`amount` (at least 0) more."""
        self.of(*values).inc(amount)


class Gauge(_Family[prometheus.Gauge, *Ts]):
    """Goes up and down."""

    __slots__ = ()

    def set(self, value: float, *values: *Ts) -> None:
        """It is `value` now."""
        self.of(*values).set(value)

    def forget(self, *values: *Ts) -> None:
        """The thing is not ours any more (a partition given away): its series disappears."""
        if self._names and self._children.pop(values, None) is not None:
            self._metric.remove(*(_text(value) for value in values))

    def replace(self, now: Mapping[tuple[*Ts], float]) -> None:
        """These are all there are; series of other label values disappear."""
        for gone in [values for values in self._children if values not in now]:
            del self._children[gone]
            self._metric.remove(*(_text(value) for value in gone))
        for values, value in now.items():
            self.of(*values).set(value)


class Histogram(_Family[prometheus.Histogram, *Ts]):
    """A distribution."""

    __slots__ = ()

    def observe(self, value: float, *values: *Ts) -> None:
        """One more observation."""
        self.of(*values).observe(value)


class Registry:
    """An own Prometheus registry (never the global one) that remembers what was defined in it."""

    def __init__(self, prefix: str) -> None:
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series each, and nobody asks it
        self.prefix = prefix
        self.prometheus = prometheus.CollectorRegistry(auto_describe=False)
        self.definitions: list[Definition] = []

    def counter(self, name: str, text: str, given: Labels[*Ts], *, unit: str = "") -> Counter[*Ts]:
        """Define a counter; `name` ends in `_total`."""
        assert name.endswith("_total"), name
        family: Counter[*Ts] = Counter(
            self._define(prometheus.Counter, "counter", name, text, given.each, unit, {}), _names(given.each)
        )
        family.start_at_zero(*(label.values for label in given.each))
        return family

    def gauge(self, name: str, text: str, given: Labels[*Ts], *, unit: str = "") -> Gauge[*Ts]:
        """Define a gauge."""
        return Gauge(self._define(prometheus.Gauge, "gauge", name, text, given.each, unit, {}), _names(given.each))

    def histogram(
        self, name: str, text: str, given: Labels[*Ts], *, buckets: tuple[float, ...], unit: str = ""
    ) -> Histogram[*Ts]:
        """Define a histogram with these upper edges (inclusive)."""
        metric = self._define(
            prometheus.Histogram, "histogram", name, text, given.each, unit, {"buckets": buckets}, buckets
        )
        return Histogram(metric, _names(given.each))

    def _define(
        self,
        make: Callable[..., Child],
        kind: Kind,
        name: str,
        text: str,
        each: tuple[Label[Any], ...],
        unit: str,
        options: dict[str, Any],
        buckets: tuple[float, ...] = (),
    ) -> Child:
        full = f"{self.prefix}{name}"
        self.definitions.append(Definition(full, kind, unit, each, text, buckets))
        return make(full, text, _names(each), registry=self.prometheus, **options)


def _names(each: tuple[Label[Any], ...]) -> tuple[str, ...]:
    return tuple(label.name for label in each)


def _combined(each: Sequence[Collection[object]]) -> Iterator[tuple[object, ...]]:
    if each and math.prod(len(values) for values in each) <= _START_AT_ZERO:
        yield from product(*each)
