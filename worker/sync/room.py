"""What all attempts share: settings, clock, doors, and the short memories of this process."""

from __future__ import annotations

from dataclasses import dataclass

from worker.clock import Clock
from worker.settings import Settings
from worker.sync.doors import Budgets, Corrections, Fence, Guard
from worker.sync.inventory import Inventory
from worker.sync.saved import SavedAnswers
from worker.sync.snapshot import OrderMemory


@dataclass(slots=True)
class Room:
    """One per worker. `settings` may be exchanged between attempts."""

    settings: Settings
    clock: Clock
    corrections: Corrections
    fence: Fence
    guard: Guard
    inventory: Inventory
    orders: OrderMemory
    budgets: Budgets
    saved: SavedAnswers
