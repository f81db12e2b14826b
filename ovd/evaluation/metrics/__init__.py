"""Metrics that configs name."""
from .gzsl_coco_metric import GZSLCocoMetric  # noqa: F401
