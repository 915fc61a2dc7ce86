"""The trainer: makes models from the history, judges them on gate rows, and moves the registry's aliases.

`handlers.py` (what happens, in order) · `training_set.py` (labels joined with what was known) · `pipeline.py` (the model) ·
`validation.py` (out-of-fold predictions) · `recency.py` (how much recent rows weigh) · `candidate.py` (a trained model and its
evidence) · `evaluation.py` (scores with errors) · `decide.py` (the gate) · `promote.py` (the only one that moves aliases) ·
`waiting.py` (until labels have come) · `adapters/` (Feast, MLflow, Kafka) · `settings.py` · `bootstrap.py` · `__main__.py`.
"""
