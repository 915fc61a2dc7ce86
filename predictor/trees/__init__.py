"""LightGBM's trees, compiled: the booster's own answers, a tenth of the time.

`model_text` (reads a booster's text) · `flatten` (trees to one array of four-byte nodes over ranked features) · `kernel` (the
machine code) · `booster` (the compiled booster).

The booster itself is asked for nothing at run time, so whoever compiles one compares it first (`predictor.compiled`).
"""
