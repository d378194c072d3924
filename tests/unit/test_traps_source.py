"""What the source itself must not do, whoever changes it: calls of client libraries that are traps by themselves."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRODUCT = [
    path
    for folder in ("worker", "schemas")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "sandbox" not in path.parts
]


def calls() -> Iterator[tuple[str, str, str, ast.Call]]:
    """(file, receiver, method, call) of every method call of the product."""
    for path in PRODUCT:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                name = path.relative_to(ROOT).as_posix()
                yield name, ast.unparse(node.func.value), node.func.attr, node


def test_the_search_sees_the_source() -> None:
    found = {(name, method) for name, _, method, _ in calls()}
    assert ("worker/intake/reader.py", "getmany") in found
    assert len({name for name, _ in found}) > 50


def test_no_input_partition_is_paused() -> None:
    """`pause()` throws the prefetched records away; only partitions with room are asked for instead.

    Whoever fetches parked events wants just that: what lies between them is not needed.
    """
    pausing = {name for name, receiver, method, _ in calls() if method == "pause" and "consumer" in receiver}
    assert pausing <= {"worker/parked/fetching.py"}


def test_records_come_by_getmany_alone() -> None:
    """A `getone` under a timeout may lose the record it was about to return."""
    assert [name for name, _, method, _ in calls() if method == "getone"] == []


def test_offsets_are_committed_in_one_place_and_always_by_number() -> None:
    """`commit()` without offsets commits what was fetched, past everything that is still running."""
    commits = [
        (name, call) for name, receiver, method, call in calls() if method == "commit" and "consumer" in receiver
    ]
    assert {name for name, _ in commits} == {"worker/intake/committer.py"}
    assert all(call.args for _, call in commits)


def test_no_transactions() -> None:
    """The effect is at Walmart, outside any transaction; aiokafka's offsets in one are not fenced either."""
    names = ("begin_transaction", "send_offsets_to_transaction", "transaction")
    assert [name for name, _, method, _ in calls() if method in names] == []


def test_the_high_water_mark_is_only_a_figure() -> None:
    """It is as old as the last fetch: what decides asks the broker (`end_offsets`)."""
    users = {name for name, _, method, _ in calls() if method == "highwater"}
    assert users == {"worker/intake/lag.py"}


def test_no_exception_of_ours_passes_by_those_who_supervise() -> None:
    """One that is no `Exception` would end the loop past every handler; only commands leave by SystemExit."""
    bases = {"BaseException", "SystemExit", "KeyboardInterrupt", "GeneratorExit", "CancelledError"}
    for path in PRODUCT:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                parents = {ast.unparse(base).rpartition(".")[2] for base in node.bases}
                assert not parents & bases, f"{path}: class {node.name}"
            raised = ast.unparse(node.exc) if isinstance(node, ast.Raise) and node.exc is not None else ""
            if raised.partition("(")[0].rpartition(".")[2] in bases:
                assert "cli" in path.parts, f"{path}: raise {raised}"


def test_the_event_loop_is_the_standard_one() -> None:
    """Another one (uvloop) leaves broken TLS connections open, for a gain that is small beside the calls themselves."""
    runtime = (ROOT / "deploy/requirements/runtime.txt").read_text(encoding="utf-8")
    assert "uvloop" not in runtime
    assert all("uvloop" not in path.read_text(encoding="utf-8") for path in PRODUCT)
