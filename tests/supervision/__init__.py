"""Stream workers with a fault built in: `python -m tests.supervision.launch FAULT`."""
