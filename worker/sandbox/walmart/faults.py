"""Faults that are switched on over HTTP: which one acts on which call, and how often still."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

from worker.sandbox.walmart.specs import FaultKind, FaultSpec, Operation


@dataclass(slots=True)
class Fault:
    """One fault that is switched on."""

    id: int
    spec: FaultSpec
    remaining: int | None
    hits: int = 0

    def matches(self, seller: str | None, purchase_order_id: str | None, operation: Operation) -> bool:
        """True if it is meant for this call."""
        spec = self.spec
        return (
            (spec.seller is None or spec.seller == seller)
            and (spec.purchase_order_id is None or spec.purchase_order_id == purchase_order_id)
            and (spec.operation is None or spec.operation == operation)
        )


class Faults:
    """All faults, oldest first."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._ids = count(1)

    def add(self, spec: FaultSpec) -> Fault:
        """Switch one on."""
        fault = Fault(id=next(self._ids), spec=spec, remaining=spec.times)
        self._faults.append(fault)
        return fault

    def remove(self, fault_id: int | None = None) -> int:
        """Switch one off, or all; how many it were."""
        before = len(self._faults)
        self._faults = [] if fault_id is None else [fault for fault in self._faults if fault.id != fault_id]
        return before - len(self._faults)

    def all(self) -> list[Fault]:
        """Those that are switched on."""
        return list(self._faults)

    @property
    def refusing_connections(self) -> bool:
        """True while the API's port is to be closed."""
        return any(fault.spec.kind == "refuse_connections" for fault in self._faults)

    def take(
        self,
        kind: FaultKind,
        seller: str | None,
        purchase_order_id: str | None,
        operation: Operation,
        when: str | None = None,
    ) -> FaultSpec | None:
        """The first fault of this kind that acts on this call. It has acted then: its count goes down."""
        for fault in self._faults:
            if (
                fault.spec.kind == kind
                and (when is None or fault.spec.when == when)
                and fault.matches(seller, purchase_order_id, operation)
            ):
                fault.hits += 1
                if fault.remaining is not None:
                    fault.remaining -= 1
                    if fault.remaining == 0:
                        self._faults.remove(fault)
                return fault.spec
        return None


@dataclass(frozen=True, slots=True)
class Quirks:
    """The faults as one call sees them."""

    faults: Faults
    seller: str | None
    purchase_order_id: str | None
    operation: Operation

    def take(self, kind: FaultKind, when: str | None = None) -> FaultSpec | None:
        """The fault of this kind that acts on this call, if there is one."""
        return self.faults.take(kind, self.seller, self.purchase_order_id, self.operation, when)
