"""Offsets, epochs, intents, and what is read when."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant

_TESTS: Final = ("tests/unit/intake",)
_CLIENTS: Final = ("tests/unit/intake", "tests/unit/test_traps_intake.py", "tests/unit/test_traps_source.py")

INTAKE: Final = (
    Mutant(
        "the_highest_finished_offset_is_committed",
        "worker/intake/offsets.py",
        "while state.started and state.started[0][0] in state.done:",
        "while state.started and state.started[0][0] <= offset:",
        _TESTS,
    ),
    Mutant(
        "an_older_assignment_finishes_offsets",
        "worker/intake/offsets.py",
        "if state is None or state.epoch != epoch or not state.started or",
        "if state is None or not state.started or",
        _TESTS,
    ),
    Mutant(
        "a_record_is_started_twice",
        "worker/intake/offsets.py",
        "if state.started and offset <= state.started[-1][0]:",
        "if state.started and offset < state.started[0][0]:",
        _TESTS,
    ),
    Mutant(
        "the_fence_forgets_the_epoch",
        "worker/intake/fence.py",
        "return self._assignment.may_send and delivery.epoch == self._assignment.epoch",
        "return self._assignment.may_send",
        _TESTS,
    ),
    Mutant(
        "the_fence_lets_pass_what_is_being_given_back",
        "worker/intake/assignment.py",
        "return self.joined and self.intents_known",
        "return self.intents_known",
        _TESTS,
    ),
    Mutant(
        "the_owner_is_not_looked_at_after_the_commit",
        "worker/intake/fence.py",
        "        if not self._owns(delivery):\n            self._committer.ended(delivery)",
        "        if False:\n            self._committer.ended(delivery)",
        _TESTS,
    ),
    Mutant(
        "an_event_older_than_its_found_intent_is_sent",
        "worker/intake/fence.py",
        "return found is not None and found.found_at > delivery.received_at",
        "return False",
        _TESTS,
    ),
    Mutant(
        "a_refused_commit_is_a_fence",
        "worker/intake/committer.py",
        "taken = self.intents.is_written(place, owner) and now < deadline",
        "taken = now < deadline",
        _TESTS,
    ),
    Mutant(
        "later_commits_carry_no_intents",
        "worker/intake/committer.py",
        "place: (offset, self.intents.text(place, now, offset))",
        'place: (offset, "" if place in self._offsets.to_commit() else self.intents.text(place, now, offset))',
        _TESTS,
    ),
    Mutant(
        "intents_are_written_over_before_they_are_read",
        "worker/intake/committer.py",
        "            if self.intents.is_known(place)\n",
        "            if True\n",
        _TESTS,
    ),
    Mutant(
        "metadata_longer_than_kafka_takes",
        "worker/intake/intents.py",
        "MAX_BYTES: Final = 4_096",
        "MAX_BYTES: Final = 8_192",
        _TESTS,
    ),
    Mutant(
        "a_call_in_doubt_is_nobodys_once_its_event_is_gone",
        "worker/intake/fence.py",
        "in_doubt = unsettled is not None and self._clock.now() < unsettled.believe_at",
        "in_doubt = False",
        _TESTS,
    ),
    Mutant(
        "an_ended_intent_is_told_no_more",
        "worker/intake/intents.py",
        "state.ended[one.mark] = ",
        "",
        _TESTS,
    ),
    Mutant(
        "a_finished_event_is_crowded_out_before_its_commit",
        "worker/intake/intents.py",
        "return ended.offset is not None and (self.resume_at is None or ended.offset >= self.resume_at)",
        "return False",
        _TESTS,
    ),
    Mutant(
        "found_intents_are_not_carried_on",
        "worker/intake/intents.py",
        "for mark, found in self.found.items():",
        "for mark, found in dict[str, FoundIntent]().items():",
        _TESTS,
    ),
    Mutant(
        "found_intents_are_forgotten_at_their_deadline",
        "worker/intake/intents.py",
        "return max(one.deadline, one.found_at) +",
        "return one.deadline + 0 *",
        _TESTS,
    ),
    Mutant(
        "an_answer_about_an_older_assignment_counts",
        "worker/intake/assignment.py",
        "        if epoch == self.epoch:\n            self._note(committed)",
        "        self._note(committed)",
        _TESTS,
    ),
    Mutant(
        "events_are_given_out_before_intents_are_read",
        "worker/intake/consumer.py",
        "return self.intents_known and self._doors.may_read(partition)",
        "return self._doors.may_read(partition)",
        _TESTS,
    ),
    Mutant(
        "turns_before_the_table_has_caught_up",
        "worker/intake/consumer.py",
        "return self.intents_known and self._doors.may_read(partition)",
        "return self.intents_known",
        _TESTS,
    ),
    Mutant(
        "a_held_up_poll_is_taken_by_the_new_assignment",
        "worker/intake/reader.py",
        "return tuple(partition) in self.readable and self._may_read(partition.partition)",
        "return tuple(partition) in self.readable",
        _CLIENTS,
    ),
    Mutant(
        "the_high_water_mark_for_the_end",
        "worker/intake/barrier.py",
        "ends = await consumer.end_offsets([asked])",
        "ends = {asked: consumer.highwater(asked) or 0}",
        _CLIENTS,
    ),
    Mutant(
        "what_must_be_read_again_counts_as_read",
        "worker/intake/reader.py",
        "return (topic, partition) in self.readable and not self._must_rewind",
        "return (topic, partition) in self.readable",
        _CLIENTS,
    ),
)
