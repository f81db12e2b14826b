"""What a detector would score that finds objects but cannot name them."""
from pathlib import Path
from typing import Sequence, Union

import msgspec
import numpy as np

from ovd.artifacts.files import PathLike, require_file
from ovd.evaluation.gzsl_coco_ap import (
    evaluate_predictions,
    load_ground_truth,
    summarise,
)


def load_predictions(path: PathLike) -> list[dict]:
    """Read a COCO results file.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If it is not a json list of predictions.
    """
    path = require_file(path, 'predictions file')
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[dict])
    except msgspec.DecodeError as error:
        raise ValueError(
            f'{path} is not a list of COCO predictions: {error}') from error


def chance_level(ann_file: PathLike,
                 predictions: Union[PathLike, Sequence[dict]],
                 seed: int = 0,
                 iou_types: Sequence[str] = ('bbox', ),
                 max_dets: int = 300) -> dict[str, float]:
    """Return the metrics of predictions whose labels are drawn by lot.

    Every prediction keeps its image, box, mask and score; its category is
    replaced by one drawn uniformly and independently from all base and novel
    classes. So this is the AP of a detector with the same localisation and
    confidence and no knowledge of names. (One that knew the boxes and nothing
    else, C classes of equal frequency, has a precision of about 1 / C.)

    Args:
        ann_file (PathLike): Split val file.
        predictions (PathLike | Sequence[dict]): COCO results, or their file.
        seed (int): Of the draw. Defaults to 0.
        iou_types (Sequence[str]): Of ``'bbox'`` and ``'segm'``.
        max_dets (int): As for the metric. Defaults to 300.

    Returns:
        dict: The keys of :class:`ovd.evaluation.metrics.GZSLCocoMetric`.
    """
    if isinstance(predictions, (str, Path)):
        predictions = load_predictions(predictions)
    truth = load_ground_truth(ann_file)
    drawn = np.random.default_rng(seed).choice(
        list(truth.cat_ids.values()), size=len(predictions)).tolist()
    relabelled = [{**prediction, 'category_id': cat_id}
                  for prediction, cat_id in zip(predictions, drawn)]
    result = {}
    for iou_type in iou_types:
        class_ap = evaluate_predictions(truth, relabelled, iou_type, max_dets)
        result.update(summarise(truth, class_ap, iou_type))
    return result
