"""Effects: `history.py` (Feast and Parquet) · `model_store.py` (MLflow) · `alerts.py` (Kafka)."""
