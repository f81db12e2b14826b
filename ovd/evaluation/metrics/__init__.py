"""Metrics that configs name."""

from .gzsl_coco_metric import GZSLCocoMetric  # noqa: F401
from .gzsl_lvis_metric import GZSLLVISMetric  # noqa: F401
from .proposal_dump import ProposalDump  # noqa: F401
from .proposal_recall import ProposalRecall  # noqa: F401
from .zero_shot_accuracy import ZeroShotAccuracy  # noqa: F401
