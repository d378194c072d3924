"""One seller: keys, tokens and budgets."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections import Counter
from typing import Final

import orjson

from worker.sandbox.walmart.budget import PUBLISHED_PER_MINUTE, Bucket
from worker.sandbox.walmart.specs import Operation, Rate, SellerSpec

_KEY: Final = b"the simulated Walmart signs its tokens with this"
_SIGNATURE_CHARACTERS: Final = 32


class Seller:
    """A seller and what is counted about it."""

    def __init__(self, spec: SellerSpec) -> None:
        self.spec = spec
        self.generation = 0
        """Tokens of an earlier generation are dead (`expire_tokens`)."""
        self.tokens_issued = 0
        self.throttled: Counter[Operation] = Counter()
        self._buckets: dict[Operation, Bucket] = {}

    @property
    def client_id(self) -> str:
        """Its name here."""
        return self.spec.client_id

    def bucket(self, operation: Operation) -> Bucket | None:
        """The budget of an endpoint; None: unlimited."""
        if self.spec.unlimited:
            return None
        bucket = self._buckets.get(operation)
        if bucket is None:
            rate = self.spec.rates.get(operation)
            if rate is None and operation in PUBLISHED_PER_MINUTE:
                rate = Rate(per_minute=PUBLISHED_PER_MINUTE[operation])
            if rate is None:
                return None
            bucket = self._buckets[operation] = Bucket(rate, self.spec.speed_up, time.monotonic())
        return bucket

    def budgets(self, now: float) -> dict[Operation, dict[str, float]]:
        """How the buckets are that were used so far. `now`: monotonic seconds."""
        return {
            operation: {"taken": bucket.taken, "left": bucket.left(now)} for operation, bucket in self._buckets.items()
        }

    def issue_token(self) -> str:
        """A fresh token. Earlier ones stay valid. It outlives a restart of the process: everything is in it."""
        self.tokens_issued += 1
        now = time.time()
        claims = [self.client_id, now, now + self.spec.token_seconds, self.generation, secrets.token_hex(8)]
        payload = base64.urlsafe_b64encode(orjson.dumps(claims))
        return "eyJ" + payload.decode() + "." + _signature(payload)


class Token:
    """A token that was presented, read but not yet believed."""

    __slots__ = ("client_id", "expires_at", "generation", "issued_at")

    def __init__(self, client_id: str, issued_at: float, expires_at: float, generation: int) -> None:
        self.client_id = client_id
        self.issued_at = issued_at
        self.expires_at = expires_at
        self.generation = generation

    def is_valid_for(self, seller: Seller) -> bool:
        """Not expired, by time or by hand."""
        return time.time() < self.expires_at and self.generation >= seller.generation


def read_token(text: str) -> Token | None:
    """The token's content, or None if it is not one of ours."""
    payload, _, signature = text.removeprefix("eyJ").partition(".")
    genuine = hmac.compare_digest(_signature(payload.encode()).encode(), signature.encode())
    if not text.startswith("eyJ") or not genuine:
        return None
    client_id, issued_at, expires_at, generation, _ = orjson.loads(base64.urlsafe_b64decode(payload))
    return Token(client_id, issued_at, expires_at, generation)


def _signature(payload: bytes) -> str:
    return hmac.new(_KEY, payload, hashlib.sha256).hexdigest()[:_SIGNATURE_CHARACTERS]
