"""What a detector would score that finds objects but cannot name them."""

from dataclasses import replace
from typing import Sequence, Union

import numpy as np

from ovd.artifacts.files import PathLike

from .engines import Protocol, evaluate
from .ground_truth import load_ground_truth
from .predictions import Predictions, load_predictions
from .summary import class_table, summarise


def chance_level(
    ann_file: PathLike,
    predictions: Union[PathLike, Predictions],
    seed: int = 0,
    iou_types: Sequence[str] = ('bbox',),
    max_dets: int = 100,
) -> dict[str, float]:
    """Return the metrics of predictions whose labels are drawn by lot.

    Every prediction keeps its image, box, mask and score; its category is
    replaced by one drawn uniformly and independently from all base and novel
    classes. So this is the AP of a detector with the same localisation and
    confidence and no knowledge of names. (One that knew the boxes and nothing
    else, C classes of equal frequency, has a precision of about 1 / C.)

    Args:
        ann_file (PathLike): Split val file.
        predictions (PathLike | Predictions): COCO results, or their file.
        seed (int): Of the draw. Defaults to 0.
        iou_types (Sequence[str]): Of ``'bbox'`` and ``'segm'``.
        max_dets (int): As for the metric. Defaults to 100.

    Returns:
        dict: The keys of :class:`ovd.evaluation.metrics.GZSLCocoMetric`.
    """
    if not isinstance(predictions, Predictions):
        predictions = load_predictions(predictions)
    truth = load_ground_truth(ann_file)
    drawn = np.random.default_rng(seed).choice(
        list(truth.cat_ids.values()), size=len(predictions)
    )
    relabelled = replace(predictions, cat_ids=drawn)
    result = {}
    for iou_type in iou_types:
        curves = evaluate(
            truth,
            relabelled.in_blocks(),
            Protocol(iou_type, max_dets=(max_dets,)),
        )
        result.update(summarise(truth, class_table(curves), iou_type))
    return result
