"""The record, its features and where they are kept: what every service shares.

The record    `person` (validation) · `labels` · `wire` (bytes to fields) · `predictions` (the prediction log)
Features      `features` (the table, every formula) · `temporal` (the fold over time) · `materialise` (records to rows)
History       `schemas` · `history` (Parquet, the write-ahead log) · `epochs` (its ledger) · `files`, `object_files` (its place)
              `latest` (which of several rows counts) · `fingerprint` (which code made a row)
Online        `connections`, `layout`, `guard`, `online` (Redis)
Feast         `feature_store.yaml` · `definitions` · `views` · `store` · `registry_url`
Feast's Redis `url_store` (its address) · `guarded_store` (its writes and reads) · `online_store` (our view)
For models    `model_input` · `gate` · `slices` · `scores` · `reference`

This folder is also the Feast repository: `feast -c feature_repo feature-views list`. Feast executes `definitions.py`
alone; the other modules are named in `.feastignore`.
"""
