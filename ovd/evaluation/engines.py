"""Precision and recall of predictions, by one of three evaluators.

`hotcoco` is exact and fast; `pycocotools` and `lvis` are the references, as
the benchmarks themselves are scored with. All give the same numbers.

Shapes: T IoU thresholds 0.5, 0.55, ... 0.95, R recalls 0, 0.01, ... 1,
C classes, A areas, M limits.
"""

from dataclasses import dataclass
from functools import partial
from typing import Callable, Iterable, Iterator, Sequence

import numpy as np

from ovd.suggest import check_choice

from .evaluators import Arrays, run_hotcoco, run_lvis, run_pycocotools
from .ground_truth import GroundTruth
from .predictions import Predictions, check_predictions

IOU_TYPES = ('bbox', 'segm')
NO_MASK = (b'', b'null', b'[]', b'{}')  # as files spell it
AREAS = ('all', 'small', 'medium', 'large')


@dataclass(frozen=True)
class Curves:
    """What every evaluator returns; -1 where a class has no object.

    Args:
        precision (ndarray): (T, R, C, A, M), classes in the order of
            ``GroundTruth.cat_ids``.
        recall (ndarray): (T, C, A, M).
    """

    precision: np.ndarray
    recall: np.ndarray


@dataclass(frozen=True)
class Protocol:
    """The rules of an evaluation.

    Args:
        iou_type (str): ``'bbox'`` or ``'segm'``.
        style (str): ``'coco'``, where ``max_dets`` are per class and image,
            or ``'lvis'``: at most ``max_dets`` per image, judged for the
            classes alone that the image was searched for (federated).
        max_dets (Sequence[int]): The best that count, ascending.
        engine (str): One of :func:`engines`.

    Raises:
        ValueError: If one of them is not like that.
    """

    iou_type: str = 'bbox'
    style: str = 'coco'
    max_dets: Sequence[int] = (100,)
    engine: str = 'hotcoco'

    def __post_init__(self) -> None:
        check_choice(self.iou_type, IOU_TYPES, 'metric')
        check_choice(self.style, ENGINES, 'style')
        check_choice(self.engine, ENGINES[self.style], 'engine')
        if (
            not self.max_dets
            or min(self.max_dets) < 1
            or list(self.max_dets) != sorted(self.max_dets)
        ):
            raise ValueError(
                f'max_dets must be positive and ascending, got {self.max_dets}'
            )
        if self.style == 'lvis' and len(self.max_dets) != 1:
            raise ValueError(
                f'LVIS has one limit per image, got max_dets {self.max_dets}'
            )


def evaluate(
    truth: GroundTruth, blocks: Iterable[Predictions], protocol: Protocol
) -> Curves:
    """Evaluate predictions.

    Args:
        truth (GroundTruth): What is there.
        blocks (Iterable[Predictions]): Every image in one of them at most.
        protocol (Protocol): The rules.

    Raises:
        ValueError: If a prediction does not belong to the ground truth, or
            the ground truth lacks what the rules need.
    """
    _check_truth(truth, protocol)
    run = ENGINES[protocol.style][protocol.engine]
    precision, recall = run(
        truth,
        numbered_blocks(truth, blocks, protocol),
        protocol.iou_type,
        protocol.max_dets,
    )
    # Evaluators have the classes by id, which need not be the file's order.
    cat_ids = list(truth.cat_ids.values())
    order = np.searchsorted(sorted(cat_ids), cat_ids)
    return Curves(precision[:, :, order], recall[:, order])


def _check_truth(truth: GroundTruth, protocol: Protocol) -> None:
    if protocol.style == 'lvis':
        if len(truth.frequencies) != len(truth.cat_ids) or any(
            image.neg_category_ids is None
            or image.not_exhaustive_category_ids is None
            for image in truth.images
        ):
            raise ValueError(
                f'{truth.ann_file} is no LVIS file: its categories need a '
                '`frequency`, its images `neg_category_ids` and '
                '`not_exhaustive_category_ids`'
            )
    if protocol.iou_type == 'segm':
        for annotations in truth.annotations.values():
            if any(bytes(a.segmentation) in NO_MASK for a in annotations):
                raise ValueError(
                    f'{truth.ann_file} has objects without a `segmentation`: '
                    'masks cannot be evaluated on it'
                )


def numbered_blocks(
    truth: GroundTruth, blocks: Iterable[Predictions], protocol: Protocol
) -> Iterator[Predictions]:
    """Yield the blocks, checked, with images numbered 1, 2, ... as in truth.

    Evaluators take integers alone, and pycocotools loses a match with id 0.

    Raises:
        ValueError: See :func:`check_predictions`.
    """
    image_ids = truth.image_ids
    for block in blocks:
        check_predictions(block, truth, protocol.iou_type)
        numbers = 1 + np.searchsorted(image_ids, block.image_ids)
        yield Predictions(
            numbers,
            block.cat_ids,
            block.scores,
            block.bboxes,
            block.masks if protocol.iou_type == 'segm' else None,
        )


Engine = Callable[
    [GroundTruth, Iterator[Predictions], str, Sequence[int]], Arrays
]
# style -> name -> engine, the default first
ENGINES: dict[str, dict[str, Engine]] = {
    'coco': dict(
        hotcoco=partial(run_hotcoco, lvis_style=False),
        pycocotools=run_pycocotools,
    ),
    'lvis': dict(hotcoco=partial(run_hotcoco, lvis_style=True), lvis=run_lvis),
}
