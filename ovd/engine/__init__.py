"""Hooks, loops, launch, strict overrides."""
