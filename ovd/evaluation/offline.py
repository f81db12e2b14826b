"""Evaluate predictions that were kept, without a model."""

from mmdet.registry import DATASETS, METRICS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from ovd.artifacts.files import PathLike
from ovd.engine.testing import list_test_evaluators

from .metrics.detection_metric import DetectionMetric
from .predictions import load_predictions


def build_metrics(cfg: Config) -> list[DetectionMetric]:
    """Return the test evaluators of a config, which know its classes.

    Args:
        cfg (Config): The classes are those of ``test_dataloader.dataset``,
            of which nothing else is read.

    Raises:
        ValueError: If an evaluator is none that compares predictions with
            annotations.
    """
    for key in ('test_evaluator', 'test_dataloader'):
        if not cfg.get(key):
            raise ValueError(
                f'{cfg.filename} has no {key}: give the config '
                'that the predictions were made with'
            )
    init_default_scope('mmdet')
    dataset = cfg.test_dataloader.dataset
    while 'dataset' in dataset:  # one that passes over broken images
        dataset = dataset.dataset
    metrics = []
    for evaluator in list_test_evaluators(cfg):
        metric = METRICS.build(evaluator)
        if not isinstance(metric, DetectionMetric):
            raise ValueError(
                f'a predictions file can be evaluated by GZSLCocoMetric, '
                f'GZSLLVISMetric or ProposalRecall, not by '
                f'{type(metric).__name__}'
            )
        metric.dataset_meta = DATASETS.build(
            dict(dataset, lazy_init=True)
        ).metainfo
        metrics.append(metric)
    return metrics


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
    found = load_predictions(predictions)
    metrics = {}
    for metric in build_metrics(cfg):
        metrics.update(
            metric.evaluate_predictions(metric.load_truth(), found.in_blocks)
        )
    return metrics
