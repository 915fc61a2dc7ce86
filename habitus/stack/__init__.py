"""The local stack: Kafka, Redis, MLflow and our services as processes of this machine, state below one home folder.

`home` (its folders, what it remembers) · `ports` · `java` `kafka` `redis` `mlflow` `services` (how each part is started) ·
`parts` (what a part is) · `launch` (the first instant of every process) · `supervision` (supervisord) · `survivors` (what
outlived a crash) · `lifecycle` (up and down) · `endpoints` (addresses, `stack.env`) · `status` · `logfiles` · `doctor`.
"""
