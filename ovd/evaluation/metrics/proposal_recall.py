"""How many base and novel objects the proposals find.

Shapes: T IoU thresholds, A areas, M limits.
"""

from dataclasses import replace
from typing import Any, Callable, Iterable, Sequence

import msgspec
import numpy as np
from mmdet.registry import METRICS
from mmengine.logging import MMLogger
from terminaltables import AsciiTable
from tqdm import tqdm

from ovd.artifacts.files import PathLike

from ..engines import AREAS, Protocol, evaluate
from ..ground_truth import GroundTruth
from ..predictions import Predictions
from .detection_metric import DetectionMetric


@METRICS.register_module()
class ProposalRecall(DetectionMetric):
    """AR of boxes, whatever their class, for all, base and novel objects.

    ``AR_novel@100`` is the mean recall, in percent, of the objects of novel
    classes by the 100 best boxes of an image, over the IoU thresholds 0.5,
    0.55, ... 0.95 (COCO's AR for proposals); ``ARs``, ``ARm`` and ``ARl`` are
    those of small, medium and large objects, at the largest limit. Crowds do
    not count.

    Args:
        ann_file (str): As for :class:`DetectionMetric`, with all classes.
        max_dets (Sequence[int]): The numbers of boxes, ascending. Defaults
            to 100, 300 and 1000.
        engine (str): ``'hotcoco'`` or, slower, ``'pycocotools'``.
        prefix (str, optional): Defaults to ``'recall'``.
        **kwargs: As for :class:`DetectionMetric`.
    """

    def __init__(
        self,
        ann_file: PathLike,
        max_dets: Sequence[int] = (100, 300, 1000),
        engine: str = 'hotcoco',
        prefix: str = 'recall',
        **kwargs: Any,
    ) -> None:
        super().__init__(ann_file, prefix=prefix, **kwargs)
        self.protocol = Protocol('bbox', 'coco', tuple(max_dets), engine)

    def measure(
        self, truth: GroundTruth, read: Callable[[], Iterable[Predictions]]
    ) -> dict[str, float]:
        """Return ``AR_{group}@{limit}`` and ``AR{s,m,l}_{group}``."""
        objects = {
            group: _one_class(truth, names)
            for group, names in truth.groups.items()
        }
        num_found = self._count_found(objects, truth, read)
        metrics, rows = {}, []
        for group, whole in objects.items():
            found = self._recall(num_found[group], _count(whole))
            rows.append([group, *(f'{value:.1f}' for value in found.values())])
            metrics.update(
                {
                    name.format(group=group): value
                    for name, value in found.items()
                }
            )
        head = [name.replace('_{group}', '') for name in found]
        MMLogger.get_current_instance().info(
            f'recall of proposals in percent, {truth.ann_file}, '
            f'{truth.describe_images()}\n'
            + AsciiTable([['objects', *head], *rows]).table
        )
        return metrics

    def _count_found(
        self,
        objects: dict[str, GroundTruth],
        truth: GroundTruth,
        read: Callable[[], Iterable[Predictions]],
    ) -> dict[str, np.ndarray]:
        """Return group -> (A, M) objects found, a mean over the thresholds.

        Evaluators sort all boxes of all images by score, which recall does
        not need: what is found in each block adds up, in little memory.
        """
        shape = len(AREAS), len(self.protocol.max_dets)
        num_found = {group: np.zeros(shape) for group in objects}
        progress = tqdm(
            desc='recall of proposals',
            total=len(truth.images),
            unit='img',
            leave=False,
            disable=None,
        )
        for block in filter(len, read()):
            ids = np.unique(block.image_ids).tolist()
            block = replace(block, cat_ids=np.full(len(block), ANY))
            for group, whole in objects.items():
                part = whole.of_images(ids)
                recall = evaluate(part, [block], self.protocol).recall[:, 0]
                num_found[group] += np.rint(
                    recall * _count(part)[:, None]
                ).mean(axis=0)
            progress.update(len(ids))
        progress.close()
        return num_found

    def _recall(
        self, num_found: np.ndarray, num_objects: np.ndarray
    ) -> dict[str, float]:
        """Return name with a place for the group -> percent.

        Args:
            num_found (ndarray): (A, M), a mean over the thresholds.
            num_objects (ndarray): (A,).
        """
        recall = (
            100
            * num_found
            / np.where(num_objects > 0, num_objects, np.nan)[:, None]
        )
        result = {
            f'AR_{{group}}@{limit}': float(value)
            for limit, value in zip(self.protocol.max_dets, recall[0])
        }
        for area, values in zip(AREAS[1:], recall[1:]):
            result[f'AR{area[0]}_{{group}}'] = float(values[-1])
        return result


ANY = 1  # category of all objects and proposals
# COCO's areas in square pixels, ends included, in the order of AREAS
LEAST = np.array([0, 0, 32**2, 96**2])
MOST = np.array([1e10, 32**2, 96**2, 1e10])


def _one_class(truth: GroundTruth, names: Sequence[str]) -> GroundTruth:
    """Return the objects of these classes as objects of one class."""
    chosen = {truth.cat_ids[name] for name in names}
    return replace(
        truth,
        annotations={
            image_id: [
                msgspec.structs.replace(annotation, category_id=ANY)
                for annotation in annotations
                if annotation.category_id in chosen
            ]
            for image_id, annotations in truth.annotations.items()
        },
        cat_ids={'object': ANY},
    )


def _count(truth: GroundTruth) -> np.ndarray:
    """Return (A,) the numbers of objects that are to be found."""
    shown = {image.id for image in truth.images}
    areas = np.array(
        [
            annotation.bbox[2] * annotation.bbox[3]
            if annotation.area is None
            else annotation.area
            for image_id, annotations in truth.annotations.items()
            if image_id in shown
            for annotation in annotations
            if not annotation.iscrowd
        ]
    ).reshape(-1, 1)
    return ((areas >= LEAST) & (areas <= MOST)).sum(axis=0)
