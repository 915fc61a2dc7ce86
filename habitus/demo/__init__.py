"""`habitus demo`: the whole story on a real stack, told in numbered steps, each claim verified.

`story` (the steps, in order) · `population` (who is replayed when) · `steps/` (what each step does) · `waiting` (polling with a
deadline) · `narrator` (what people see, and the verdict).
"""
