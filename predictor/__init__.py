"""Estimates obesity levels by gRPC, from features read by person or computed from an inline record.

`handlers` (what happens to requests, in order) · `checking` (what a request must be) · `batching` (single requests gathered) ·
`messages` (requests and answers) · `model` (a model that may serve) · `compiled`, `trees/` (its booster in machine code) ·
`load_check` (what a model must show) · `shelf` (which model serves under which alias; with `warm`, `lineup` and `canary`) ·
`shadow` (models that answer nobody) · `protection/` (who may ask, and how much) · `in_order` (streams) · `metrics` ·
`evaluate` (scores of labelled rows) · `processes`, `settled` (workers, and their memory once warm) · `adapters/` (gRPC, MLflow,
Kafka) · `bootstrap` (the only wiring) · `settings`. `python -m predictor` runs it.
"""
