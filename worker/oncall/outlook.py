"""Where an event lies now and what happens to it next, in words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from worker.oncall.explaining import Case
from worker.oncall.letters import Letter
from worker.oncall.telling import age_text, time_text
from worker.settings import Settings

_GATES: Final = {
    "throttled": "account {account} has budget again",
    "credentials_rejected": "account {account} is let in again (asked every {probe:g} s)",
    "scope_missing": "the key of account {account} has its scopes again (asked every {probe:g} s)",
    "walmart_unavailable": "Walmart answers for account {account} again",
    "order_locked": "Walmart has the order unlocked",
    "waiting_for_shipments": "the order's shipments are settled (they may pass it)",
    "paused": "account {account} and store {store} are no longer paused",
    "outcome_unknown": "a read shows whether its call has worked",
}
"""Code of a parked event -> what it waits for besides its own time."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """`state`: one word, `memory`, `waiting`, `dead`, `replay`, `broken`, `finished` or `retrying`."""

    state: str
    where: str
    next: str
    next_try: float | None = None
    """Epoch seconds before which it is not tried, where that is known."""
    gives_up_at: float | None = None
    """Epoch seconds when it becomes a dead letter at the earliest."""


def outlook(case: Case, settings: Settings, now: float) -> Outlook:
    """Of one event; `now`: epoch seconds."""
    letter, result = case.letter, case.result
    if case.memory is not None:
        return Outlook("memory", "in the memory of the worker that was asked", case.memory)
    if letter is not None:
        return _of_letter(letter, settings, now)
    if result is not None and result.final:
        return Outlook("finished", f"finished: {result.status}, {result.effect}", "nothing")
    if result is None and case.finished:
        return Outlook("finished", "finished, as the log says", "nothing")
    return Outlook(
        "retrying",
        "neither final nor in the dead-letter topic: in the memory of the worker that has its partition",
        "that worker tries again, and parks it if it waits long (ask it with --worker URL)",
    )


def _of_letter(letter: Letter, settings: Settings, now: float) -> Outlook:
    about = letter.about
    topic = settings.topics.dead_letter
    where = f"{topic}, partition {letter.place.partition}, offset {letter.place.offset}"
    if letter.state == "waiting":
        return _waiting(letter, settings, now, where)
    if letter.state == "replay":
        return Outlook("replay", where, "the worker that has this partition runs it as soon as its order's turn comes")
    if letter.state == "dead":
        todo = f"{letter.owner}: {letter.action}" if letter.action else f"code {about.code} is unknown to this version"
        how = letter.obstacle and f"cannot be replayed: {letter.obstacle}"
        return Outlook(
            "dead", where, f"nothing by itself. {todo} ({how or f'order-sync dlq replay --key {letter.key!r}'})"
        )
    problems = "; ".join(str(problem) for problem in letter.content.problems[:3])
    return Outlook("broken", where, f"nothing by itself: {problems or 'its headers cannot be read'}")


def _waiting(letter: Letter, settings: Settings, now: float, where: str) -> Outlook:
    about = letter.about
    timing = settings.timing
    store = settings.stores.get(about.store or "")
    gate = _GATES.get(about.code or "", "").format(
        account=store.account if store else "?", store=about.store or "?", probe=timing.probe_seconds
    )
    tried = about.next_try
    if tried is not None and tried > now:
        told = f"next try at {time_text(tried)} (in {age_text(tried - now)})"
    else:
        told = "next try when its order's turn comes"
    if gate:
        told += f", once {gate}"
    # A replay's time counts from when it was taken up.
    since = (about.progress.counts_from if about.progress is not None else 0.0) or letter.first_seen
    gives_up_at = since + timing.give_up_after_hours * 3600 + about.paused_seconds
    told += f"; given up at {time_text(gives_up_at)} at the earliest"
    return Outlook("waiting", where, told, tried, gives_up_at)
