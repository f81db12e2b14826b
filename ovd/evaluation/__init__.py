"""Metrics: base, novel and all; proposal dumps."""
