"""Metrics as `evaluate` Spaces, one folder each."""
