"""Whether online store, history and raw log say the same of a person.

`report` (what a verification found)      `findings` (differences as they come up)
`chosen` (which persons are compared)     `cells` (rows compared bit for bit)
`sides` (what is compared, as promises)   `adapters` (the same on a real Redis)
`partition` (one partition: everything about it is compared here)
`periodic`, `metrics` (again and again, told to Prometheus)

Place in the flow: `streams.verify` puts it together.
"""
