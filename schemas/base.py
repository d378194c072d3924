"""Building blocks of every contract model: strict scalar types and one frozen base.

Types are strict on purpose (a quantity of `"2"`, `2.0` or `true` is a mistake of the producer, not a two),
while unknown *fields* are tolerated: a newer producer must not break an older worker.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StrictStr

MAX_QUANTITY = 1_000_000
"""Upper bound of one quantity or total, in units. No marketplace line comes near it; a larger number is a mistake."""


class Model(BaseModel):
    """Base of the models that are read: frozen, unknown fields ignored, fields documented from docstrings."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


def _time_is_text(value: object) -> object:
    # pydantic would read numbers (and numeric text) as seconds since 1970; in this contract a time is RFC 3339 text.
    if not isinstance(value, str):
        raise ValueError("must be a text, an RFC 3339 time with zone such as 2026-11-20T15:03:58Z")
    if value.strip("+-0123456789.") == "":
        raise ValueError("must be an RFC 3339 time with zone such as 2026-11-20T15:03:58Z, not a number")
    return value


def _visible(value: str) -> str:
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in value):
        raise ValueError("must not contain control characters")
    return value


Time = Annotated[AwareDatetime, BeforeValidator(_time_is_text, json_schema_input_type=str)]
"""RFC 3339 text with a zone."""

Text = Annotated[StrictStr, Field(max_length=1_000), AfterValidator(_visible)]
"""Free text, possibly empty, at most 1,000 characters, no control characters."""

Name = Annotated[StrictStr, Field(min_length=1, max_length=200), AfterValidator(_visible)]
"""An identifier or name: 1 to 200 characters, no control characters."""

Quantity = Annotated[StrictInt, Field(ge=1, le=MAX_QUANTITY)]
"""Units, a whole number from 1."""

Total = Annotated[StrictInt, Field(ge=0, le=MAX_QUANTITY)]
"""Units so far, a whole number from 0."""

PurchaseOrderId = Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
"""Walmart's purchase order id. Text: 13 to 15 digits today, and it becomes part of a URL."""
