"""Estimates obesity levels by gRPC, from features read by person or computed from an inline record.

`handlers` (what happens to requests, in order) · `messages` (requests and answers) · `model` (a model that may serve) ·
`shelf` (which model serves under which alias; with `warm`, `lineup` and `canary`) · `shadow` (models that answer nobody) ·
`load_check` (what a model must show) · `evaluate` (scores of labelled rows) · `adapters/` (gRPC, MLflow, Kafka) ·
`bootstrap` (the only wiring) · `settings`. `python -m predictor` runs it.
"""
