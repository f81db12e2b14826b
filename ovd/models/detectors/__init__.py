"""Detectors."""

from .clip_on_boxes import CLIPOnBoxes

__all__ = ['CLIPOnBoxes']
