"""The stream workers: person records, labels and the prediction log into histories, feature topic and online store.

`handlers` (what happens, in order) · `validation`, `poison`, `materialisation` (the pure part) · `messages` · `backfill`
`shelf` (what the handlers need of the world) · `shards`, `recovery` (what is known of a partition, how it is caught up)
`letters/` (dead letters, and sending them again) · `verify`, `verification/` (online = history = recomputed)
`app` (Faust) · `persistence` (retries) · `supervision/` (stalls and crash loops) · `metrics` · `adapters/` (Kafka, Redis)
`bootstrap` (the only wiring) · `settings`
"""
