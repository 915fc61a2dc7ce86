"""The record, its features and where they are kept: everything that the stream, the trainer, the predictor and the monitor share.

The record      `person` (validation) · `labels` · `wire` (bytes to fields) · `predictions` (the prediction log's entry)
Features        `features` (the table and every formula) · `temporal` (the fold over a person's records) · `materialise` (records to rows)
Where they are  `schemas` · `history` (Parquet, the write-ahead log) · `layout` and `online` (Redis) · `online_store` (Feast's view of it)
Feast           `feature_store.yaml` · `definitions` · `views` · `store` · `registry_url`
For models      `model_input` · `gate` · `slices` · `scores` · `reference`

This folder is also the Feast repository: `feast -c feature_repo feature-views list`. Feast executes `definitions.py` alone; the other
modules are named in `.feastignore`.
"""
