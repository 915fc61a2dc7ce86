"""The stream workers: person records, labels and the prediction log into histories, feature topic and online store.

`handlers` (what happens, in order) · `validation` (which messages are accepted) · `messages` · `dead_letters`
`shelf` (what the handlers need of the world) · `shards`, `recovery` (what is known of a partition, how it is caught up)
`persistence` (retries) · `app` (Faust) · `adapters` (Kafka) · `bootstrap` (the only wiring) · `settings`
`verify` (online = history)
"""
