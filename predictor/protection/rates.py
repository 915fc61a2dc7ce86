"""How often one client may ask: a token bucket for each client.

A bucket fills by `per_s` up to `burst`, and a request takes one. A request that counts more than the bucket holds (a batch) goes
through a full bucket and leaves a debt, so that it is as dear as its single requests were, but never impossible.

Place in the flow: the edge takes from the client's bucket before the core is asked.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network
from urllib.parse import unquote

from runtime.errors import RateExceeded

# Buckets kept; a bucket is some 300 bytes. The one unused for longest is forgotten first: it is the most likely to be full.
CLIENTS_LIMIT = 10_000
_IPV6_SITE_BITS = 64  # one customer is given a whole /64: its addresses are one client


@dataclass(slots=True)
class _Bucket:
    content: float
    at_s: float


class Rates:
    """The buckets of all clients. `monotonic` tells seconds that never go back."""

    def __init__(
        self, per_s: float, burst: float, *, clients: int = CLIENTS_LIMIT, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clients = clients
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, client: str, count: int = 1) -> None:
        """Let `client` send `count` requests. Raises `RateExceeded` if it has to wait; then nothing was taken."""
        wait_s = self.wait_s(client, count)
        if wait_s > 0:
            raise RateExceeded(client, retry_after=timedelta(seconds=wait_s))

    def wait_s(self, client: str, count: int = 1) -> float:
        """0.0 if `count` requests were taken from the client's bucket, else the seconds until they can be."""
        bucket = self._filled(client)
        lacking = min(count, self._burst) - bucket.content
        if lacking > 0:
            return lacking / self._per_s
        bucket.content -= count
        return 0.0

    def _filled(self, client: str) -> _Bucket:
        now_s = self._monotonic()
        bucket = self._buckets.get(client)
        if bucket is None:
            bucket = self._buckets[client] = _Bucket(self._burst, now_s)
            if len(self._buckets) > self._clients:
                self._buckets.popitem(last=False)
            return bucket
        self._buckets.move_to_end(client)
        bucket.content = min(self._burst, bucket.content + (now_s - bucket.at_s) * self._per_s)
        bucket.at_s = now_s
        return bucket


@lru_cache(maxsize=CLIENTS_LIMIT)
def client_at(peer: str) -> str:
    """Whom a transport's peer (`ipv4:192.0.2.1:4711`, `ipv6:[2001:db8::1]:4711`, `unix:...`) counts as: its address, no port."""
    kind, _, address = unquote(peer).partition(":")
    if kind == "ipv4":
        return address.rpartition(":")[0]
    if kind == "ipv6":
        return _site(address.rpartition("]")[0].lstrip("["))
    return kind


def _site(address: str) -> str:
    bare = IPv6Address(address.partition("%")[0])  # without the zone
    if bare.ipv4_mapped is not None:
        return str(bare.ipv4_mapped)
    return str(IPv6Network((bare, _IPV6_SITE_BITS), strict=False))
