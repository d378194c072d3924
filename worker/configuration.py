"""Loading the settings: TOML file, environment over it, everything validated together, every mistake named at once.

    loaded = load(Path("order-sync.toml"), os.environ)
    if not isinstance(loaded, Settings):
        for mistake in loaded: print(mistake)

A mistake is a value and never quotes a secret. `show` prints the tree with secrets masked; `known_secrets` is what the
logs have to mask.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails

from worker.settings import Section, Settings
from worker.settings_checks import check_together
from worker.settings_schema import PARTS, Key, dotted, field_of, is_file, is_mapping, leaves
from worker.settings_sources import Mistake, Raw, did_you_mean, read, shown

__all__ = ["Mistake", "known_secrets", "load", "load_with_files", "secret_text", "show"]


def load(path: Path | None, env: Mapping[str, str]) -> Settings | list[Mistake]:
    """The settings, or everything that is wrong with them.

    Args:
        path: The TOML file; absent: the one named by `ORDER_SYNC_CONFIG`; neither: environment only.
        env: Environment variables; those that begin `ORDER_SYNC_` are read.
    """
    return _understood(read(path, env))


def load_with_files(path: Path | None, env: Mapping[str, str]) -> tuple[Settings | list[Mistake], Mapping[Key, Path]]:
    """As `load`, and the files that hold a part of the settings: the TOML file under `()`, the others by their key.

    Also those that mistaken settings name.
    """
    raw = read(path, env)
    files = {key: Path(value) for key, value in leaves(raw.tree) if _names_file(key) and isinstance(value, str)}
    if raw.file is not None:
        files[()] = Path(raw.file)
    return _understood(raw), files


def _names_file(key: Key) -> bool:
    found = field_of(key)
    return found is not None and is_file(found)


def _understood(raw: Raw) -> Settings | list[Mistake]:
    settings: Settings | None = None
    try:
        settings = Settings.model_validate(raw.tree)
    except ValidationError as error:
        problems = error.errors(include_url=False)
    else:
        problems = []
    if any(mistake.key == "" for mistake in raw.mistakes):
        return raw.mistakes  # the file could not be read: what is missing from it says nothing
    for problem in problems:
        if problem["type"] != "value_error":
            _understand(raw, problem)
    check_together(raw)
    if problems and not raw.mistakes:  # a validator of the models that has no counterpart in settings_checks
        for problem in problems:
            _understand(raw, problem)
    if raw.mistakes or settings is None:
        return sorted(set(raw.mistakes), key=lambda mistake: (mistake.source, mistake.key, mistake.message))
    return settings


def _understand(raw: Raw, problem: ErrorDetails) -> None:
    key = _key(problem["loc"])
    if key in raw.mistaken:
        return
    if problem["type"] == "extra_forbidden":
        raw.mistake(key, f"there is no such {'section' if len(key) == 1 else 'key'}{_suggestion(key)}")
        return
    if problem["type"] == "missing" and field_of(key) is None:
        raw.mistake(key, _NEEDED.get(key[0], "is missing") if len(key) == 1 else "is missing")
        return
    raw.mistake(key, _say(problem))


_NEEDED: Final = {
    "accounts": "at least one [accounts.<name>] section is needed",
    "stores": "at least one [stores.<name>] section is needed",
}


def _key(loc: tuple[int | str, ...]) -> Key:
    """Where it is; pydantic appends the branch of a union, which is no part of the key."""
    key: Key = ()
    for part in loc:
        found = field_of(key)
        if found is not None and not (is_mapping(found) and _is_table(key)):
            break
        if part != "[key]":
            key = (*key, str(part))
    return key


def _is_table(key: Key) -> bool:
    """True where the key is the table itself, not an entry of it."""
    return field_of(key[:-1]) is None


def _suggestion(key: Key) -> str:
    if len(key) == 1:
        return did_you_mean(key[0], PARTS)
    part = PARTS[key[0]]
    here = did_you_mean(key[-1], part.section.model_fields)
    if here:
        return here
    elsewhere = [one for one in PARTS.values() if key[-1] in one.section.model_fields]
    return f"; it belongs into [{elsewhere[0].name}{'.<name>' if elsewhere[0].named else ''}]" if elsewhere else ""


def _say(problem: ErrorDetails) -> str:
    context: Mapping[str, Any] = problem.get("ctx", {})
    given = problem["input"]
    match problem["type"]:
        case _ if isinstance(given, float) and math.isnan(given):
            return "must be a number"
        case "missing":
            return "is missing"
        case "literal_error":
            return f"must be one of {context['expected']}"
        case "greater_than_equal":
            return f"must be at least {_number(context['ge'])}"
        case "less_than_equal":
            return f"must be at most {_number(context['le'])}"
        case "string_too_short" | "too_short" if problem["loc"] in (("accounts",), ("stores",)):
            return _NEEDED[str(problem["loc"][0])]
        case "string_too_short":
            return "must not be empty"
        case "string_too_long":
            return f"must have at most {context['max_length']} characters"
        case "string_pattern_mismatch":
            return f"must look like {context['pattern']}"
        case "float_parsing" | "float_type" | "finite_number":
            return "must be a number"
        case "int_parsing" | "int_type" | "int_from_float":
            return "must be a whole number"
        case "bool_parsing" | "bool_type":
            return "must be true or false"
        case "string_type":
            return "must be a text (in quotes)"
        case "model_type" | "dict_type":
            return "must be a section or table"
        case _:
            return re.sub(r"^(Input should be|Value error,) ?", "", problem["msg"]) or problem["msg"]


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:,}"


def secret_text(value: SecretStr | None, file: Path | None) -> str:
    """A secret given as a value or as a file; files are read each time, so that a rotated one is seen.

    Raises OSError (and UnicodeDecodeError) where the file cannot be read.
    """
    if value is not None:
        return value.get_secret_value()
    assert file is not None
    return file.read_text("utf-8").strip()


def known_secrets(settings: Settings) -> Iterator[str]:
    """Every secret in the settings and in the files they name, for the log scrubber."""
    given = [(settings.kafka.sasl_password, settings.kafka.sasl_password_file)]
    for account in settings.accounts.values():
        given += [(account.client_secret, account.client_secret_file), (account.channel_type, None)]
    for value, file in given:
        if value is None and file is None:
            continue
        try:
            yield secret_text(value, file)
        except (OSError, UnicodeDecodeError):
            continue


def show(settings: Settings) -> str:
    """The whole tree, defaults included, as TOML; secrets are `***`, what is absent is a comment."""
    lines: list[str] = []
    for part in PARTS.values():
        given = getattr(settings, part.name)
        sections: dict[Key, Section] = (
            {(part.name, name): one for name, one in given.items()} if part.named else {(part.name,): given}
        )
        for key, section in sections.items():
            lines += _section(key, section)
    return "\n".join(lines).rstrip() + "\n"


def _section(key: Key, section: Section) -> Iterator[str]:
    yield f"[{dotted(key)}]"
    tables: list[tuple[str, Mapping[str, str]]] = []
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, dict):
            tables.append((name, value))
        elif value is None:
            yield f"# {name} is not set"
        elif isinstance(value, SecretStr):
            yield f'{name} = "***"'
        else:
            plain = value if isinstance(value, bool | int | float) else str(value)
            yield f"{name} = {shown((*key, name), plain)}"
    for name, table in tables:
        if table:
            yield f"[{dotted((*key, name))}]"
            for entry, value in table.items():
                yield f"{json.dumps(entry, ensure_ascii=False)} = {json.dumps(value, ensure_ascii=False)}"
    yield ""
