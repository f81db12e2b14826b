"""What kinds of errors detections have, by hotcoco's analysis.

Shapes: C base and novel classes, in the order of their category ids.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Callable, Iterable

import hotcoco
import numpy as np

from .coco_form import to_dataset, to_results
from .engines import Protocol, numbered_blocks
from .evaluators import best_of_images
from .ground_truth import GroundTruth
from .predictions import Predictions

MOST_IMAGES = 5000  # COCO val has as many; of more, evenly spread ones
# TIDE's names (Bolya et al., ECCV 2020), what they mean, in their order
ERROR_KINDS = dict(
    Cls='wrong class, well placed',
    Loc='right class, badly placed',
    Both='wrong class, badly placed',
    Dupe='object found twice',
    Bkg='nothing there',
    Miss='object not found',
)


@dataclass(frozen=True)
class ErrorAnalysis:
    """Errors of detections at IoU 0.5.

    Args:
        iou_type (str): ``'bbox'`` or ``'segm'``: what was compared.
        num_images (int): Of the whole evaluation.
        truth (GroundTruth): Of the images that were looked at.
        found (Predictions): Those that reach the score threshold.
        names (list[str]): (C,) class names.
        kinds (dict[str, tuple[float, int]]): Key of :data:`ERROR_KINDS` ->
            percent that AP50 would gain without these errors, and their
            number, of detections of any score.
        confusion (ndarray): (C + 1, C + 1) pairs of objects (rows) and
            detections (columns) of any class; the last row is detections
            where no object is, the last column objects that were missed.
        missed (Counter): (image id, name) -> objects that no detection of
            their class found.
        wrong (Counter): (image id, name) -> detections that found no object
            of their class.
    """

    iou_type: str
    num_images: int
    truth: GroundTruth
    found: Predictions
    names: list[str]
    kinds: dict[str, tuple[float, int]]
    confusion: np.ndarray
    missed: Counter = field(default_factory=Counter)
    wrong: Counter = field(default_factory=Counter)


def analyse_errors(
    truth: GroundTruth,
    read: Callable[[], Iterable[Predictions]],
    protocol: Protocol,
    score_thr: float,
) -> ErrorAnalysis:
    """Analyse the errors on at most :data:`MOST_IMAGES` images.

    Args:
        truth (GroundTruth): What is there.
        read (Callable): Gives the predictions, in blocks of whole images;
            those of other images are left out.
        protocol (Protocol): The rules; ``engine`` is not needed.
        score_thr (float): Least score of detections that are shown, and of
            those in all but ``kinds``.

    Raises:
        ValueError: If a prediction lacks what the rules need.
    """
    num_images = len(truth.images)
    step = -(-num_images // MOST_IMAGES) or 1
    truth = truth.of_images(image.id for image in truth.images[::step])
    known = truth.image_ids
    every = Predictions.join(
        block.take(np.flatnonzero(np.isin(block.image_ids, known)))
        for block in read()
    )
    if protocol.style == 'lvis':
        every = best_of_images(every, protocol.max_dets[-1])
    found = every.take(np.flatnonzero(every.scores >= score_thr))
    # TIDE takes AP apart, which all detections make
    kinds = _evaluator(truth, every, protocol).tide_errors(pos_thr=0.5)
    evaluator = _evaluator(truth, found, protocol)
    matrix = evaluator.confusion_matrix(iou_thr=0.5)
    return ErrorAnalysis(
        protocol.iou_type,
        num_images,
        truth,
        found,
        list(matrix['cat_names']),
        {
            kind: (100 * kinds['delta_ap'][kind], kinds['counts'][kind])
            for kind in ERROR_KINDS
        },
        matrix['matrix'].astype(np.int64),
        *_count_errors(truth, found, evaluator),
    )


def _evaluator(
    truth: GroundTruth, found: Predictions, protocol: Protocol
) -> Any:
    """Return hotcoco's evaluator, its images and objects numbered from 1."""
    iou_type = protocol.iou_type
    blocks = [*numbered_blocks(truth, [found], protocol)]
    known = hotcoco.COCO(to_dataset(truth, iou_type))
    results = to_results(blocks[0], iou_type)
    evaluator = hotcoco.COCOeval(
        known,
        known.load_res(results),
        iou_type,
        lvis_style=protocol.style == 'lvis',
    )
    evaluator.params.max_dets = list(protocol.max_dets)
    evaluator.evaluate()
    return evaluator


def _count_errors(
    truth: GroundTruth, found: Predictions, evaluator: Any
) -> tuple[Counter, Counter]:
    """Return missed objects and wrong detections by image and class.

    hotcoco numbers objects and detections from 1, in the order given.
    """
    names = {i: name for name, i in truth.cat_ids.items()}
    status = evaluator.image_diagnostics(iou_thr=0.5)
    objects = [
        (image.id, names[annotation.category_id])
        for image in truth.images
        for annotation in truth.annotations.get(image.id, ())
    ]
    detections = list(
        zip(found.image_ids.tolist(), map(names.get, found.cat_ids.tolist()))
    )
    return (
        Counter(
            objects[i - 1]
            for i, what in status['gt_status'].items()
            if what == 'fn'
        ),
        Counter(
            detections[i - 1]
            for i, what in status['dt_status'].items()
            if what == 'fp'
        ),
    )


def most_confused(analysis: ErrorAnalysis, most: int) -> np.ndarray:
    """Return indices of the classes that are taken for others most often.

    Args:
        analysis (ErrorAnalysis): Of :func:`analyse_errors`.
        most (int): How many at most.

    Returns:
        ndarray: Base classes before novel ones, in the order of their ids.
    """
    errors = _between_classes(analysis)
    total = errors.sum(axis=0) + errors.sum(axis=1)
    chosen = np.sort(np.argsort(-total, kind='stable')[:most])
    novel = set(analysis.truth.groups['novel'])
    is_novel = [analysis.names[i] in novel for i in chosen]
    return chosen[np.argsort(is_novel, kind='stable')]


def confused_pairs(
    analysis: ErrorAnalysis, most: int
) -> list[tuple[str, str, int]]:
    """Return (class, class that it is taken for, how often), most first."""
    errors = _between_classes(analysis)
    order = np.argsort(-errors, axis=None, kind='stable')[:most]
    return [
        (analysis.names[i], analysis.names[j], int(errors[i, j]))
        for i, j in zip(*np.unravel_index(order, errors.shape))
        if errors[i, j]
    ]


def _between_classes(analysis: ErrorAnalysis) -> np.ndarray:
    """Return (C, C) how often a class is taken for another."""
    errors = analysis.confusion[:-1, :-1].copy()
    np.fill_diagonal(errors, 0)
    return errors
