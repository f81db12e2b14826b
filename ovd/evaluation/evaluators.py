"""The evaluators behind `engines`: one fast, two that are the references."""

import contextlib
import io
from itertools import count
from typing import Any, Iterator, Sequence

import hotcoco
import numpy as np

from .coco_form import (
    to_categories,
    to_dataset,
    to_images,
    to_objects,
    to_results,
)
from .ground_truth import GroundTruth
from .predictions import BLOCK, Predictions

Arrays = tuple[np.ndarray, np.ndarray]  # precision, recall of `Curves`


def run_hotcoco(
    truth: GroundTruth,
    blocks: Iterator[Predictions],
    iou_type: str,
    max_dets: Sequence[int],
    lvis_style: bool,
) -> Arrays:
    """Evaluate block by block, so that memory does not grow with images."""
    params = hotcoco.Params(iou_type)
    params.max_dets = list(max_dets)
    stream = hotcoco.StreamingEval(
        to_categories(truth), iou_type, lvis_style=lvis_style, params=params
    )
    images, ids = to_images(truth), count(1)

    def update(numbers: list[int], predictions: Any) -> None:
        stream.update(
            [images[number - 1] for number in numbers],
            to_objects(truth, numbers, ids, iou_type),
            predictions,
        )

    left = set(range(1, len(images) + 1))
    for block in blocks:
        if lvis_style:
            block = best_of_images(block, max_dets[0])
        numbers = np.unique(block.image_ids).tolist()
        left.difference_update(numbers)
        update(
            numbers,
            to_results(block, 'segm')
            if iou_type == 'segm'
            else np.column_stack(
                [block.image_ids, block.bboxes, block.scores, block.cat_ids]
            ),
        )
    rest = sorted(left)
    for start in range(0, len(rest), BLOCK):
        update(rest[start : start + BLOCK], np.empty((0, 7)))
    evaluator = stream.finalize()
    evaluator.accumulate()
    assert evaluator.eval is not None  # accumulate fills it
    return evaluator.eval['precision'], evaluator.eval['recall']


def best_of_images(block: Predictions, most: int) -> Predictions:
    """Keep the best of each image, equal scores in their order."""
    order = np.lexsort((-block.scores, block.image_ids))
    ids = block.image_ids[order]
    starts = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]][: len(ids)])
    rank = np.arange(len(ids)) - np.repeat(
        starts, np.diff(np.r_[starts, len(ids)])
    )
    return block.take(np.sort(order[rank < most]))


def run_pycocotools(
    truth: GroundTruth,
    blocks: Iterator[Predictions],
    iou_type: str,
    max_dets: Sequence[int],
) -> Arrays:
    """Evaluate as the COCO benchmark does."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = to_dataset(truth, iou_type)
        known.createIndex()
        results = to_results(Predictions.join(blocks), iou_type)
        # loadRes refuses an empty list
        found = known.loadRes(results) if results else COCO()
        evaluator = COCOeval(known, found, iou_type)
        evaluator.params.maxDets = list(max_dets)
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator.eval['precision'], evaluator.eval['recall']


def run_lvis(
    truth: GroundTruth,
    blocks: Iterator[Predictions],
    iou_type: str,
    max_dets: Sequence[int],
) -> Arrays:
    """Evaluate as the LVIS benchmark does."""
    from lvis import LVIS, LVISEval, LVISResults

    class InMemory(LVIS):
        def _load_json(self, path: dict) -> dict:
            return path

    class NoResults(LVISResults):
        """The host's reads the first result."""

        def __init__(self, known: LVIS) -> None:
            LVIS.__init__(self, dict(known.dataset, annotations=[]))

        _load_json = InMemory._load_json

    known = InMemory(to_dataset(truth, iou_type))
    results = to_results(Predictions.join(blocks), iou_type)
    evaluator = LVISEval(
        known,
        LVISResults(known, results, max_dets[0])
        if results
        else NoResults(known),
        iou_type,
    )
    evaluator.params.max_dets = max_dets[0]
    evaluator.evaluate()
    evaluator.accumulate()
    return (
        evaluator.eval['precision'][..., None],
        evaluator.eval['recall'][..., None],
    )
