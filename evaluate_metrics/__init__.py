"""Metrics as `evaluate` Spaces, one folder each; the arithmetic is that of `climb_hf.metrics`."""
