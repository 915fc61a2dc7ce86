"""Servers that ours is compared with, each a process of its own: `python -m benchmarks.rivals.<name>`.

`echo` (the limit: no work at all) · `naive` (grpc.aio, redis.asyncio, `Booster.predict`) · `feast_front` (Feast's feature server
asked over HTTP, then `Booster.predict`) with `feast_server` behind it · `mlserver` (how MLServer is installed and started).
"""
