"""What lies between a head's outputs and its detections."""

from .shared_box_nms import shared_box_nms

__all__ = ['shared_box_nms']
