"""What has to fit together in the settings, checked on the raw tree so that every mistake is named, not only the first.

The models' own validators say the same for settings that are built in code.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schemas.walmart.carriers import CARRIERS
from worker.settings import MOST_ACCOUNT_NAMES, MetricsSettings, TopicSettings
from worker.settings_schema import PARTS, Key, at, dotted, env_name, field_of, leaves
from worker.settings_sources import Raw, did_you_mean

_LARGEST_SECRET_BYTES = 65_536


def check_together(raw: Raw) -> None:
    """Note every mistake that takes more than one value to see. Keys that are mistaken already are left alone."""
    _numbers_are_no_booleans(raw)
    _topics_differ(raw)
    _kafka_credentials(raw)
    accounts = _sections(raw, "accounts")
    for name, account in accounts.items():
        _account(raw, ("accounts", name), account)
    for name, store in _sections(raw, "stores").items():
        _store(raw, ("stores", name), store, accounts)
    _account_names(raw, accounts)


def _sections(raw: Raw, part: str) -> dict[str, Mapping[str, Any]]:
    given = at(raw.tree, (part,))
    return {name: one for name, one in given.items() if isinstance(one, dict)} if isinstance(given, dict) else {}


def _numbers_are_no_booleans(raw: Raw) -> None:
    for key, value in leaves(raw.tree):
        found = field_of(key)
        if isinstance(value, bool) and found is not None and found.annotation in (int, float):
            raw.mistake(key, "must be a number")


def _topics_differ(raw: Raw) -> None:
    first: dict[object, str] = {}
    for name, field in TopicSettings.model_fields.items():
        given = at(raw.tree, ("topics", name))
        topic = field.default if given is None else given
        if isinstance(topic, str) and first.setdefault(topic, name) != name:
            key = ("topics", name if given is not None else first[topic])
            raw.mistake(key, f"topics.{first[topic]} and topics.{name} must have different names")


def _kafka_credentials(raw: Raw) -> None:
    kafka = at(raw.tree, ("kafka",))
    if not isinstance(kafka, dict):
        return
    for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
        _file(raw, ("kafka", name), secret=False)
    if kafka.get("ssl_keyfile") and not kafka.get("ssl_certfile"):
        raw.mistake(("kafka", "ssl_certfile"), "is missing: kafka.ssl_keyfile is the key of a certificate")
    _file(raw, ("kafka", "sasl_password_file"), secret=True)
    if not str(kafka.get("security_protocol", "")).startswith("SASL"):
        return
    if not kafka.get("sasl_username"):
        raw.mistake(("kafka", "sasl_username"), "is missing: it is needed with SASL")
    _one_secret(raw, ("kafka",), "sasl_password", needed=True)


def _account(raw: Raw, key: Key, account: Mapping[str, Any]) -> None:
    if "/" in key[1]:
        # Gates are named account:NAME and account:NAME/ship: an account "a/ship" would shut those of "a".
        raw.mistake(key, "an account's name must not hold a slash")
    _one_secret(raw, key, "client_secret", needed=True)
    _file(raw, (*key, "client_secret_file"), secret=True)
    base_url = account.get("base_url")
    if isinstance(base_url, str) and "@" in base_url.partition("//")[2].partition("/")[0]:
        raw.mistake((*key, "base_url"), "must not hold a user or password")


def _one_secret(raw: Raw, section: Key, name: str, *, needed: bool) -> None:
    here, file = (*section, name), (*section, f"{name}_file")
    if raw.mistaken & {here, file}:
        return
    given = [at(raw.tree, key) is not None for key in (here, file)]
    if all(given):
        raw.mistake(here, f"is given twice: here and as {dotted(file)}; give one of them", show=False)
    elif needed and not any(given):
        raw.mistake(here, f"is missing: set {dotted(file)}, or {env_name(here)} in the environment", show=False)


def _store(raw: Raw, key: Key, store: Mapping[str, Any], accounts: Mapping[str, object]) -> None:
    account = store.get("account")
    if isinstance(account, str) and account and account not in accounts:
        known = ", ".join(sorted(accounts)) or "none"
        hint = did_you_mean(account, accounts)
        raw.mistake((*key, "account"), f"there is no account of this name (known: {known}){hint}")
    for table in ("carriers", "reasons"):
        mapping = store.get(table)
        if isinstance(mapping, dict):
            _no_two_alike(raw, (*key, table), mapping)
    carriers = store.get("carriers")
    for name, carrier in carriers.items() if isinstance(carriers, dict) else ():
        if isinstance(carrier, str) and carrier not in CARRIERS:
            message = f"is none of Walmart's carrier names (exact spelling){did_you_mean(carrier, CARRIERS)}"
            raw.mistake((*key, "carriers", name), message)


def _account_names(raw: Raw, accounts: Mapping[str, object]) -> None:
    key = ("metrics", "account_names")
    given = at(raw.tree, key)
    if not isinstance(given, str) or not given or key in raw.mistaken:
        return
    try:
        names = MetricsSettings(account_names=given).by_name or ()
    except ValueError:
        raw.mistake(key, f"at most {MOST_ACCOUNT_NAMES} names; each is about 100 series")
        return
    for name in names:
        if name not in accounts:
            raw.mistake(key, f'there is no account "{name}"{did_you_mean(name, accounts)}')
            return


def _no_two_alike(raw: Raw, key: Key, mapping: Mapping[str, Any]) -> None:
    first: dict[str, str] = {}
    for name, value in mapping.items():
        before = first.setdefault(" ".join(name.casefold().split()), name)
        if before != name and mapping[before] != value:
            raw.mistake((*key, name), f'says something else than "{before}"; case and spaces do not count here')


def _file(raw: Raw, key: Key, *, secret: bool) -> None:
    given = at(raw.tree, key)
    if not isinstance(given, str) or key in raw.mistaken:
        return
    problem = secret_file_problem(Path(given)) if secret else _unreadable(Path(given))
    if problem is not None:
        raw.mistake(key, problem)


def secret_file_problem(path: Path) -> str | None:
    """Why a file cannot serve as a secret; None where it can. Never says anything of its content."""
    problem = _unreadable(path)
    if problem is not None:
        return problem
    if path.stat().st_size > _LARGEST_SECRET_BYTES:
        return "is too large to hold a secret and nothing else"
    try:
        text = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return "cannot be read as text"
    if not text:
        return "is empty"
    return "must hold the secret and nothing else: it has several lines" if len(text.splitlines()) > 1 else None


def _unreadable(path: Path) -> str | None:
    if not path.exists():
        return (
            f"there is no such file (working directory {os.getcwd()})"
            if not path.is_absolute()
            else "there is no such file"
        )
    if not path.is_file():
        return "is not a file"
    return None if os.access(path, os.R_OK) else "cannot be read: no permission"


assert set(PARTS) >= {"kafka", "topics", "accounts", "stores", "metrics"}, "a part was renamed; its checks are here"
