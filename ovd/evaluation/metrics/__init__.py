"""Metrics that configs name."""
from .dump_proposals import ProposalDump  # noqa: F401
from .gzsl_coco_metric import GZSLCocoMetric  # noqa: F401
from .zero_shot_accuracy import ZeroShotAccuracy  # noqa: F401
