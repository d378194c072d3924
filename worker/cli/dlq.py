"""`order-sync dlq`: unfinished events."""

from __future__ import annotations

import typer

from worker.cli import dlq_ls, dlq_replay, dlq_show
from worker.cli.teaching import page

app = typer.Typer(
    no_args_is_help=True,
    help=page(
        """Unfinished events: find them, read them, replay them.

        The dead-letter topic holds every event that is not settled, as it came: `dead` ones need a person, `waiting`
        ones the worker takes up again by itself. Settled ones disappear.
        """,
        "order-sync dlq ls --since 1d         what went wrong lately",
        "order-sync dlq show KEY              one event: what, why, what to do",
        "order-sync dlq replay --code carrier_unmapped --why 'mapped, OPS-512'",
    ),
)
app.command("ls")(dlq_ls.ls)
app.command("show")(dlq_show.show)
app.command("replay")(dlq_replay.replay)
