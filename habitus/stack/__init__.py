"""The local stack: Kafka, Redis, MLflow and our services as processes of this machine, state below one home folder.

What there is: `home` (its folders, what it remembers) · `ports` `reservations` · `endpoints` (addresses, `stack.env`) · `parts`
(what a part is) · `java` `kafka` `redis` `mlflow` `services` (how each part is started).
How it runs: `lifecycle` (up and down) · `supervision` and `configuration` (supervisord) · `launch` (the first instant of every
process) · `readiness` · `survivors` (what outlived a crash).
How one sees it: `status` · `logfiles` · `doctor`.
"""
