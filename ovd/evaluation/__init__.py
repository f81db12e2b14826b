"""Metrics: base, novel and all; proposal dumps."""

from importlib.util import find_spec

if find_spec('mmdet') is not None:
    from .broken_image_evaluator import BrokenImageEvaluator  # noqa: F401
    from .metrics import GZSLCocoMetric, ProposalDump  # noqa: F401
