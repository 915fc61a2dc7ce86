"""What every process needs, whatever it does.

`settings` (environment, read once) · `logs` · `errors` (the exception tree) · `clock` · `retry` (waiting with backoff) ·
`topics` (which topics there are) · `kafka` (how to reach them) · `record_batches` (reading what Kafka's clients cannot) ·
`liveness` (whether a service consumes) · `events` (alerts and model events) · `announcer` (the latter to Kafka) ·
`registry` (MLflow).
"""
