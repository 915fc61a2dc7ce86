"""Effects: `history.py` (Feast and Parquet) · `model_store.py` (MLflow) · `announcer.py` and `alerts.py` (Kafka)."""
