"""Classifiers, heads, losses and the CLIP models that configs name."""
