"""The record, its features and where they are kept: what every service shares.

The record    `person` (validation) · `labels` · `wire` (bytes to fields) · `predictions` (the prediction log)
Features      `features` (the table, every formula) · `temporal` (the fold over time) · `materialise` (records to rows)
              `fingerprint` (which code made a row)
History       `schemas` · `offline/` (files in a folder or bucket, the write-ahead log, its epochs) · `latest` (which row counts)
Online        `online/` (Redis: layout, guard, rows, Feast's way in) · `online_store` (the store that Feast opens)
Feast         `feature_store.yaml` · `definitions` · `views` · `store` · `registry_url`
For models    `model_input` · `gate` · `slices` · `scores` · `reference`

This folder is also the Feast repository: `feast -c feature_repo feature-views list`. Feast executes `definitions.py`
alone; the other modules are named in `.feastignore`.
"""
