"""Every mutant, room by room."""

from __future__ import annotations

from typing import Final

from tests.mutants.catalogue.accounts import ACCOUNTS
from tests.mutants.catalogue.deciding import DECIDING
from tests.mutants.catalogue.guard import GUARD
from tests.mutants.catalogue.intake import INTAKE
from tests.mutants.catalogue.lanes import LANES
from tests.mutants.catalogue.parking import PARKING
from tests.mutants.catalogue.settings import SETTINGS
from tests.mutants.catalogue.sync import SYNC
from tests.mutants.mutant import Mutant

MUTANTS: Final[tuple[Mutant, ...]] = (*ACCOUNTS, *INTAKE, *DECIDING, *GUARD, *LANES, *PARKING, *SETTINGS, *SYNC)
