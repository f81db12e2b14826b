"""Precision and recall of predictions, by one of three evaluators.

`hotcoco` is exact and fast; `pycocotools` and `lvis` are the references, as
the benchmarks themselves are scored with. All give the same numbers.

Shapes: T IoU thresholds 0.5, 0.55, ... 0.95, R recalls 0, 0.01, ... 1,
C classes, A areas, M limits.
"""
import contextlib
import io
from dataclasses import dataclass
from itertools import count
from typing import Any, Callable, Iterable, Iterator, Sequence

import hotcoco
import msgspec
import numpy as np

from ovd.suggest import check_choice

from .ground_truth import GroundTruth
from .predictions import BLOCK, Predictions, check_predictions

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
    max_dets: Sequence[int] = (100, )
    engine: str = 'hotcoco'

    def __post_init__(self) -> None:
        check_choice(self.iou_type, IOU_TYPES, 'metric')
        check_choice(self.style, ENGINES, 'style')
        check_choice(self.engine, ENGINES[self.style], 'engine')
        if not self.max_dets or min(self.max_dets) < 1 or list(
                self.max_dets) != sorted(self.max_dets):
            raise ValueError('max_dets must be positive and ascending, got '
                             f'{self.max_dets}')
        if self.style == 'lvis' and len(self.max_dets) != 1:
            raise ValueError('LVIS has one limit per image, got max_dets '
                             f'{self.max_dets}')


def evaluate(truth: GroundTruth, blocks: Iterable[Predictions],
             protocol: Protocol) -> Curves:
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
    if protocol.style == 'lvis':
        blocks = (_best_of_images(b, protocol.max_dets[0]) for b in blocks)
    run = ENGINES[protocol.style][protocol.engine]
    precision, recall = run(truth, _checked(truth, blocks, protocol), protocol)
    # Evaluators have the classes by id, which need not be the file's order.
    cat_ids = list(truth.cat_ids.values())
    order = np.searchsorted(sorted(cat_ids), cat_ids)
    return Curves(precision[:, :, order], recall[:, order])


def _check_truth(truth: GroundTruth, protocol: Protocol) -> None:
    if protocol.style == 'lvis':
        if len(truth.frequencies) != len(truth.cat_ids) or any(
                image.neg_category_ids is None
                or image.not_exhaustive_category_ids is None
                for image in truth.images):
            raise ValueError(
                f'{truth.ann_file} is no LVIS file: its categories need a '
                '`frequency`, its images `neg_category_ids` and '
                '`not_exhaustive_category_ids`')
    if protocol.iou_type == 'segm':
        for annotations in truth.annotations.values():
            if any(bytes(a.segmentation) in NO_MASK for a in annotations):
                raise ValueError(
                    f'{truth.ann_file} has objects without a `segmentation`: '
                    'masks cannot be evaluated on it')


def _checked(truth: GroundTruth, blocks: Iterable[Predictions],
             protocol: Protocol) -> Iterator[Predictions]:
    """Yield the blocks with images numbered 1, 2, ... as in the truth.

    Evaluators take integers alone, and pycocotools loses a match with id 0.
    """
    image_ids = truth.image_ids
    for block in blocks:
        check_predictions(block, truth, protocol.iou_type)
        numbers = 1 + np.searchsorted(image_ids, block.image_ids)
        yield Predictions(numbers, block.cat_ids, block.scores, block.bboxes,
                          block.masks if protocol.iou_type == 'segm' else None)


def _best_of_images(block: Predictions, most: int) -> Predictions:
    """Keep the best of each image, equal scores in their order."""
    order = np.lexsort((-block.scores, block.image_ids))
    ids = block.image_ids[order]
    starts = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]][:len(ids)])
    rank = np.arange(len(ids)) - np.repeat(
        starts, np.diff(np.r_[starts, len(ids)]))
    return block.take(np.sort(order[rank < most]))


def _images(truth: GroundTruth) -> list[dict]:
    """Return the images, numbered, with LVIS's lists where they have them."""
    return [{
        key: value
        for key, value in msgspec.structs.asdict(image).items()
        if value is not None
    } | {'id': number} for number, image in enumerate(truth.images, 1)]


def _categories(truth: GroundTruth) -> list[dict]:
    return [
        dict(id=i, name=name, frequency=truth.frequencies.get(name, ''))
        for name, i in sorted(truth.cat_ids.items(), key=lambda item: item[1])
    ]


def _objects(truth: GroundTruth, numbers: Iterable[int], ids: Iterator[int],
             iou_type: str) -> list[dict]:
    """Return the objects of numbered images as an evaluator takes them."""
    found = []
    for number in numbers:
        image_id = truth.images[number - 1].id
        for annotation in truth.annotations.get(image_id, ()):
            width, height = annotation.bbox[2:]
            item = dict(
                id=next(ids),
                image_id=number,
                category_id=annotation.category_id,
                bbox=list(annotation.bbox),
                area=width * height
                if annotation.area is None else annotation.area,
                iscrowd=int(annotation.iscrowd))
            if annotation.ignore:
                item['ignore'] = 1
            if iou_type == 'segm':
                item['segmentation'] = msgspec.json.decode(
                    annotation.segmentation)
            found.append(item)
    return found


def _results(predictions: Predictions, iou_type: str) -> list[dict]:
    """Return COCO results with the one field that is evaluated.

    With a box beside its mask, a result's area would be the box's.
    """
    results = predictions.to_coco()
    for result in results if iou_type == 'segm' else ():
        result.pop('bbox', None)
    return results


def _run_hotcoco(truth: GroundTruth, blocks: Iterator[Predictions],
                 protocol: Protocol) -> tuple[np.ndarray, np.ndarray]:
    """Evaluate block by block, so that memory does not grow with images."""
    params = hotcoco.Params(protocol.iou_type)
    params.max_dets = list(protocol.max_dets)
    stream = hotcoco.StreamingEval(
        _categories(truth),
        protocol.iou_type,
        lvis_style=protocol.style == 'lvis',
        params=params)
    images, ids = _images(truth), count(1)

    def update(numbers: list[int], predictions: Any) -> None:
        stream.update([images[number - 1] for number in numbers],
                      _objects(truth, numbers, ids, protocol.iou_type),
                      predictions)

    left = set(range(1, len(images) + 1))
    for block in blocks:
        numbers = np.unique(block.image_ids).tolist()
        left.difference_update(numbers)
        update(
            numbers,
            _results(block, 'segm') if protocol.iou_type == 'segm' else
            np.column_stack([
                block.image_ids, block.bboxes, block.scores, block.cat_ids
            ]))
    rest = sorted(left)
    for start in range(0, len(rest), BLOCK):
        update(rest[start:start + BLOCK], np.empty((0, 7)))
    evaluator = stream.finalize()
    evaluator.accumulate()
    return evaluator.eval['precision'], evaluator.eval['recall']


def _run_pycocotools(truth: GroundTruth, blocks: Iterator[Predictions],
                     protocol: Protocol) -> tuple[np.ndarray, np.ndarray]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = _dataset(truth, protocol)
        known.createIndex()
        results = _results(Predictions.join(blocks), protocol.iou_type)
        # loadRes refuses an empty list
        found = known.loadRes(results) if results else COCO()
        evaluator = COCOeval(known, found, protocol.iou_type)
        evaluator.params.maxDets = list(protocol.max_dets)
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator.eval['precision'], evaluator.eval['recall']


def _run_lvis(truth: GroundTruth, blocks: Iterator[Predictions],
              protocol: Protocol) -> tuple[np.ndarray, np.ndarray]:
    from lvis import LVIS, LVISEval, LVISResults

    class InMemory(LVIS):

        def _load_json(self, path: dict) -> dict:
            return path

    class NoResults(LVISResults):
        """The host's reads the first result."""

        def __init__(self, known: LVIS) -> None:
            LVIS.__init__(self, dict(known.dataset, annotations=[]))

        _load_json = InMemory._load_json

    known = InMemory(_dataset(truth, protocol))
    results = _results(Predictions.join(blocks), protocol.iou_type)
    evaluator = LVISEval(
        known,
        LVISResults(known, results, protocol.max_dets[0])
        if results else NoResults(known), protocol.iou_type)
    evaluator.params.max_dets = protocol.max_dets[0]
    evaluator.evaluate()
    evaluator.accumulate()
    return (evaluator.eval['precision'][..., None],
            evaluator.eval['recall'][..., None])


def _dataset(truth: GroundTruth, protocol: Protocol) -> dict:
    """Return the whole ground truth as one COCO dict."""
    return dict(
        images=_images(truth),
        categories=_categories(truth),
        annotations=_objects(truth, range(1, len(truth.images) + 1), count(1),
                             protocol.iou_type))


Engine = Callable[[GroundTruth, Iterator[Predictions], Protocol],
                  tuple[np.ndarray, np.ndarray]]
# style -> name -> engine, the default first
ENGINES: dict[str, dict[str, Engine]] = {
    'coco': dict(hotcoco=_run_hotcoco, pycocotools=_run_pycocotools),
    'lvis': dict(hotcoco=_run_hotcoco, lvis=_run_lvis)
}
