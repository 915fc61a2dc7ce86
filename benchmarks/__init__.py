"""Benchmarks: each measures us and a named alternative alternately in one run on the same work.

`python -m benchmarks.ingest`; `make bench` runs all. Each prints a table and, as its last line, one JSON object with the ratios.
"""
