"""Where person records come from, and how they get into Kafka.

`sources.py` (own files, cache, publishers, simulated population: in this order) · `download.py` (the publishers) · `files.py`
(CSV, JSON lines, Parquet) · `simulator.py` with `copula.py`, `statistics.py` and `calibrate.py` (a population from aggregate
statistics) · `shift.py` (drift scenarios) · `identity.py` (who and when, for rows that do not say) · `replay.py` with
`messages.py` (rows become Kafka messages) · `describe.py` (what is in a file) · `settings.py`.
"""
