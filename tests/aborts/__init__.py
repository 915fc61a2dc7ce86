"""Ending a worker at any boundary of its work, and what must be left when another has gone on.

`boundaries` (where, and how a worker is ended there) · `worker` (a real worker that is ended there)
`lives` (one worker after the other) · `records` (random records from a seed)
`end_state` (what is left, and what an undisturbed run leaves)
"""
