"""The monitor: compares what arrives with what the serving model was trained on, raises alerts, draws reports.

`handlers`     what happens to a row and to a window, in order
`window`       one tumbling window: integer counts that merge exactly
`progress`     what survives a restart: source offsets seen, the champion, the windows to stay quiet for
`comparison`   a window against the reference: effect size, test, verdict a feature; uses one algorithm a file:
               `chi_square` · `rank_sum` · `absence` · `holm` · `psi`; `words` says it in a sentence
`performance`  predictions joined with labels that came later
`adapters/`    Kafka, the registry, the history
`reports/`     the four Evidently reports
`bootstrap`    the only wiring; `settings`; `python -m monitor` runs the service
"""
