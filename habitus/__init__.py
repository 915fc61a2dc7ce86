"""The command `habitus` and what it stands on; imports the services, is imported by none of them.

`cli.py` (errors become exit codes here) · `commands/` (one module a command, each with `register(app)`) ·
`stack/` (Kafka, Redis, MLflow and our services on this machine) · `data/` (sources of records, the simulator, replay) ·
`demo/` (the whole story, verified).
"""
