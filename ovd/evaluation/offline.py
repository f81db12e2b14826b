"""Evaluate predictions that were kept, without a model."""
from mmdet.registry import DATASETS, METRICS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from ovd.artifacts.files import PathLike

from .metrics.detection_metric import DetectionMetric
from .predictions import load_predictions


def evaluate_file(cfg: Config, predictions: PathLike) -> dict[str, float]:
    """Return the metrics of a predictions file.

    Args:
        cfg (Config): Its ``test_evaluator`` measures; the classes are those
            of ``test_dataloader.dataset``, of which nothing else is read.
        predictions (PathLike): COCO json, as ``tools/test.py --out`` keeps.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the evaluator is none that compares predictions with
            annotations, or predictions and annotations don't fit.
    """
    for key in ('test_evaluator', 'test_dataloader'):
        if not cfg.get(key):
            raise ValueError(f'{cfg.filename} has no {key}: give the config '
                             'that the predictions were made with')
    init_default_scope('mmdet')
    found = load_predictions(predictions)
    metrics = {}
    evaluators = cfg.test_evaluator
    for evaluator in ([evaluators]
                      if isinstance(evaluators, dict) else evaluators):
        metric = METRICS.build(evaluator)
        if not isinstance(metric, DetectionMetric):
            raise ValueError(
                f'a predictions file can be evaluated by GZSLCocoMetric, '
                f'GZSLLVISMetric or ProposalRecall, not by '
                f'{type(metric).__name__}')
        metric.dataset_meta = DATASETS.build(
            dict(cfg.test_dataloader.dataset, lazy_init=True)).metainfo
        metrics.update(
            metric.evaluate_predictions(metric.load_truth(),
                                        found.in_blocks))
    return metrics
