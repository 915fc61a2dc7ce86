"""Tests that take minutes (`make soak`): kills under load, every boundary many times, every guard taken away once."""
