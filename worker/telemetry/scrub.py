"""The second net against secrets and personal data in logs: what should not be there in the first place is masked.

Keys that name personal data or secrets are dropped with their values; in every remaining text, e-mail addresses,
tokens and the secrets registered at start become `***`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Final

from worker.telemetry.needles import Needles

MASK: Final = "***"

_SHORTEST_SECRET = 4
"""Shorter ones are not searched for: masking every `a` would hide the logs, not the secret."""

_DEEPEST = 6

_PRIVATE_KEYS: Final = re.compile(
    r"(?:^|_)(?:e?mails?|address(?:es)?|address_?\d|address_line.*|street|postal_?codes?|zip(?:_?code)?|city|phones?"
    r"|day_?phone|first_?name|last_?name|full_?name|recipient|consignee|tokens?|secrets?|passw(?:or)?d|authorization"
    r"|credentials?|cookie|api_?key|channel_type|shipping_?info|headers?|body|payload)$",
    re.IGNORECASE,
)
"""By the end of the key, so that `client_secret` and `customer_email` go and `email_count` stays."""

_SUSPECT: Final = ("@", "bearer", "basic", "eyj", "secret", "token", "passw", "api_key", "api-key", "apikey")
"""A cheap look before the costly ones, in lower case."""

_NAMED: Final = r"""((?:access_?token|refresh_?token|token|client_?secret|secret|password|passwd|api_?key)["']?"""

_PATTERNS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+@[\w-]+(?:\.[\w-]+)+"), MASK),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE), rf"\1 {MASK}"),
    (re.compile(r"\beyJ[\w-]{8,}(?:\.[\w-]+){0,2}"), MASK),
    (re.compile(_NAMED + r"""\s*=\s*)(?:"[^"]*"|'[^']*'|[^\s"',;&}{)]+)""", re.IGNORECASE), rf"\1{MASK}"),
    # After a colon words may follow ("no token: refused"), so only what is quoted or looks random.
    (re.compile(_NAMED + r"""\s*:\s*)(?:"[^"]*"|'[^']*'|(?=\S*\d)[^\s"',;&}{)]{8,})""", re.IGNORECASE), rf"\1{MASK}"),
)


class Scrubber:
    """Knows the secrets of this process. Secrets that are read anew (a rotated file) are registered when read."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: Needles[str] = Needles()
        for secret in secrets:
            self.register(secret)

    def register(self, secret: str) -> None:
        """Mask this text from now on."""
        secret = secret.strip()
        if len(secret) >= _SHORTEST_SECRET:
            self._secrets.add(secret)

    def text(self, text: str) -> str:
        """`text` without secrets, tokens and e-mail addresses."""
        if self.is_clean(text):
            return text
        if self._secrets.are_in(text):
            for secret in self._secrets.longest_first:
                text = text.replace(secret, MASK)
        for pattern, mask in _PATTERNS:
            text = pattern.sub(mask, text)
        return text

    def is_clean(self, text: str) -> bool:
        """True if the text surely holds no secret, token or e-mail address."""
        low = text.lower()
        for word in _SUSPECT:
            if word in low:
                return False
        return not self._secrets.are_in(text)

    def value(self, value: Any, depth: int = 0) -> Any:
        """`value` with every text in it scrubbed and private keys dropped; what is too deep is masked whole."""
        if isinstance(value, str):
            return self.text(value)
        if value is None or isinstance(value, bool | int | float):
            return value
        if depth >= _DEEPEST:
            return MASK
        if isinstance(value, Mapping):
            return {
                self.text(str(key)): self.value(item, depth + 1) for key, item in value.items() if not private(str(key))
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(item, depth + 1) for item in value]
        if isinstance(value, bytes | bytearray | memoryview):
            return f"<{len(value)} bytes>"
        return self.text(str(value))

    def __call__(self, logger: object, method: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """As a structlog processor."""
        for key in [key for key in event_dict if private(key)]:
            del event_dict[key]
        texts: list[str] = []
        for key, value in event_dict.items():
            if value.__class__ is str:
                texts.append(value)
            elif not (value is None or value.__class__ in _PLAIN):
                event_dict[key] = self.value(value)
        # Nearly always clean: one look at all texts together.
        if not self.is_clean("\n".join(texts)):
            for key, value in event_dict.items():
                if value.__class__ is str:
                    event_dict[key] = self.text(value)
        return event_dict


_PLAIN: Final = frozenset({int, float, bool})
_private: dict[str, bool] = {}


def private(key: str) -> bool:
    """True where a key of this name holds something that must not be logged."""
    known = _private.get(key)
    if known is None:
        if len(_private) > 10_000:  # keys come from our own code; bounded all the same
            _private.clear()
        known = _private[key] = _PRIVATE_KEYS.search(re.sub(r"(?<=[a-z])(?=[A-Z])|[-.\s]", "_", key)) is not None
    return known


scrubber: Final = Scrubber()
"""The process's own, used by every log line. Register secrets here as they are read."""
