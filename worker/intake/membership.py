"""Static membership: a second process with the same `group_instance_id` must not be fought with.

Seen with aiokafka 0.14 and Apache Kafka 4.4: the newcomer takes the instance over; the older member learns it at its
next heartbeat or commit (UNKNOWN_MEMBER_ID, for neither request carries the instance id), forgets who it was, and
joins as a newcomer itself. The two take the partitions from each other for ever, each time with its heartbeat.
So a member that was lost joins under its old name first: then the broker answers FENCED_INSTANCE_ID if somebody else
has the instance, and UNKNOWN_MEMBER_ID (join anew) if nobody has.
"""

from __future__ import annotations

from typing import Any

from aiokafka.errors import BrokerResponseError, KafkaError, kafka_errors

FENCED_INSTANCE_ID = 82


class FencedInstanceIdError(BrokerResponseError):  # type: ignore[misc]
    """The broker's answer, which aiokafka has no class for."""

    errno = FENCED_INSTANCE_ID
    message = "FENCED_INSTANCE_ID"
    description = "another member has this group instance id"


# Without it the answer is an untyped error that does not tell its code.
kafka_errors.setdefault(FENCED_INSTANCE_ID, FencedInstanceIdError)


class FencedError(KafkaError):  # type: ignore[misc]
    """Another process has taken over our `group_instance_id`: this one must end, and not join again."""


def is_fenced(error: BaseException) -> bool:
    """True for the broker's answer, however aiokafka has wrapped it."""
    return getattr(error, "errno", None) == FENCED_INSTANCE_ID or "FencedInstanceId" in f"{error!r} {error}"


class StaticMember:
    """Remembers the name the group gave us, across rejoins and new consumers. Does nothing for dynamic members."""

    def __init__(self, instance_id: str | None) -> None:
        self._instance_id = instance_id
        self._member_id = ""

    def joined(self, consumer: Any) -> None:
        """To be called when the group has given an assignment."""
        if self._instance_id is not None:
            self._member_id = consumer._coordinator.member_id

    def joining(self, consumer: Any) -> None:
        """To be called right before each join, at the end of `on_partitions_revoked`."""
        if self._instance_id is not None and not consumer._coordinator.member_id:
            consumer._coordinator.member_id = self._member_id
