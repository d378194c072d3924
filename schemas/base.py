"""Building blocks of every contract model: strict scalar types and one frozen base.

Types are strict on purpose (a quantity of `"2"`, `2.0` or `true` is a mistake of the producer, not a two),
while unknown *fields* are tolerated: a newer producer must not break an older worker.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    StrictInt,
    StrictStr,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import InitErrorDetails, PydanticKnownError

MAX_QUANTITY = 1_000_000
"""Upper bound of one quantity or total, in units. No marketplace line comes near it; a larger number is a mistake."""


class Model(BaseModel):
    """Base of the models that are read: frozen, unknown fields ignored, fields documented from docstrings."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


AnyModel = TypeVar("AnyModel", bound=BaseModel)

Misplaced = tuple[tuple[str | int, ...], str]
"""A broken rule over several fields: the field it is told at, and what is wrong."""


def with_rule(
    data: Any, handler: ModelWrapValidatorHandler[AnyModel], rule: Callable[[Any], Iterable[Misplaced]]
) -> AnyModel:
    """Validate with a rule over several fields: what the rule finds is told beside what is wrong with the fields."""
    found = list(rule(data)) if isinstance(data, dict) else ()
    if not found:
        return handler(data)
    try:
        handler(data)
    except ValidationError as error:
        of_fields = [
            InitErrorDetails(type=told["type"], loc=told["loc"], input=told["input"], ctx=told.get("ctx", {}))
            for told in error.errors(include_url=False)
        ]
        raise misplaced(data, found, of_fields) from None
    raise misplaced(data, found)


def misplaced(data: Any, found: Iterable[Misplaced], beside: Iterable[InitErrorDetails] = ()) -> ValidationError:
    """The error that tells each broken rule at its own field."""
    of_rules = [
        InitErrorDetails(type="value_error", loc=place, input=_at(data, place), ctx={"error": ValueError(message)})
        for place, message in found
    ]
    return ValidationError.from_exception_data("event", [*beside, *of_rules])


def at_most(limit: int) -> BeforeValidator:
    """A list's length, looked at before its entries are: a megabyte of wrong entries must not take seconds to tell."""

    def check(value: object) -> object:
        if isinstance(value, list | tuple) and len(value) > limit:
            raise PydanticKnownError(
                "too_long", {"field_type": "List", "max_length": limit, "actual_length": len(value)}
            )
        return value

    return BeforeValidator(check)


def given(data: Any, name: str) -> Any:
    """A field of data that is not validated yet (or is a model already); None where there is none."""
    return data.get(name) if isinstance(data, dict) else getattr(data, name, None)


def listed(value: Any, limit: int) -> Sequence[Any]:
    """The entries of data that is not validated yet; none where it is no list, or longer than it may be."""
    return value if isinstance(value, list | tuple) and len(value) <= limit else ()


def _at(data: Any, place: tuple[str | int, ...]) -> Any:
    for step in place:
        data = given(data, step) if isinstance(step, str) else data[step]
    return data


_RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?P<zone>[Zz]|[+-]\d\d:\d\d)?", re.ASCII)
_TIME_EXAMPLE: Final = "2026-11-20T15:03:58Z"
_YEARS: Final = range(2000, 2200)


def parse_time(text: str) -> datetime:
    """RFC 3339 text with zone as a time.

    Raises ValueError with a reason for people; also for years outside 2000 to 2199, which only defaults and
    overflows produce (0001-01-01 is the empty date of several languages).
    """
    match = _RFC_3339.fullmatch(text)
    if match is None:
        raise ValueError(f"must be an RFC 3339 time with zone such as {_TIME_EXAMPLE}")
    if match["zone"] is None:
        raise ValueError(f"has no zone; add Z (UTC) or an offset, as in {_TIME_EXAMPLE}")
    try:
        time = datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise ValueError(f"is no time that exists ({error})") from None
    if time.year not in _YEARS:
        raise ValueError(f"must lie between the years {_YEARS.start} and {_YEARS.stop - 1}")
    return time


def _read_time(value: object) -> datetime:
    # pydantic would read numbers (and numeric text) as seconds since 1970; in this contract a time is RFC 3339 text.
    if isinstance(value, str):
        return parse_time(value)
    if isinstance(value, datetime):
        return value
    raise ValueError(f"must be a text, an RFC 3339 time with zone such as {_TIME_EXAMPLE}")


VISIBLE: Final = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"
"""Pattern of texts without control characters."""

Time = Annotated[
    AwareDatetime,
    BeforeValidator(_read_time),
    WithJsonSchema(
        {
            "type": "string",
            "format": "date-time",
            "pattern": r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$",
        }
    ),
]
"""RFC 3339 text with a zone, years 2000 to 2199."""

Text = Annotated[StrictStr, Field(max_length=1_000, pattern=VISIBLE)]
"""Free text, possibly empty, at most 1,000 characters, no control characters."""

Name = Annotated[StrictStr, Field(min_length=1, max_length=200, pattern=VISIBLE)]
"""An identifier or name: 1 to 200 characters, no control characters."""

Quantity = Annotated[StrictInt, Field(ge=1, le=MAX_QUANTITY)]
"""Units, a whole number from 1."""

Total = Annotated[StrictInt, Field(ge=0, le=MAX_QUANTITY)]
"""Units so far, a whole number from 0."""

PurchaseOrderId = Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
"""Walmart's purchase order id. Text: 13 to 15 digits today, and it becomes part of a URL."""
