"""What it stands on: `features` and `alerts` (Kafka), `champions` (the registry and `model.events`), `history` (Parquet)."""
