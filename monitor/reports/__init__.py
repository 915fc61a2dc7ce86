"""Four Evidently reports, from the offline history: `sources` (which rows), `kinds` (which metrics), `render` (HTML and JSON).

They run in the process that asks for them, never in the one that watches the stream. `weighted_f1` is a metric of our own.
"""
