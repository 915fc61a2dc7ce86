"""Version 1 of the person record and of the predictor service."""
