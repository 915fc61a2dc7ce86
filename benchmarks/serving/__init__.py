"""What `benchmarks.serve` measures with.

`stage` (local Kafka, Redis and MLflow) · `population` (persons online) · `champion` (the model that all serve) · `scene` (all of
that together) · `contenders` (the servers that are compared) · `processes` (starting and ending servers) · `cores` (who runs
where, and its cost) · `asking` (one request, and whether answers are right) · `h2load` (the load client) · `rounds` (measuring in
turn) · `figures` (ratios, slopes) · `memory` (whether it grows) · `counted` (what a server counted itself) · `profiling`
(where its time goes) · `tables` (what is printed). The servers, ours aside, are in `benchmarks.rivals`.
"""
