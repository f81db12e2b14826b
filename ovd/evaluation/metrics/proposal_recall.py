"""How many base and novel objects the proposals find."""
from dataclasses import replace
from typing import Callable, Iterable, Sequence

import msgspec
import numpy as np
from mmdet.registry import METRICS
from mmengine.logging import MMLogger
from terminaltables import AsciiTable

from ovd.artifacts.files import PathLike

from ..engines import AREAS, Curves, Protocol, evaluate
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

    def __init__(self,
                 ann_file: PathLike,
                 max_dets: Sequence[int] = (100, 300, 1000),
                 engine: str = 'hotcoco',
                 prefix: str = 'recall',
                 **kwargs) -> None:
        super().__init__(ann_file, prefix=prefix, **kwargs)
        self.protocol = Protocol('bbox', 'coco', tuple(max_dets), engine)

    def measure(self, truth: GroundTruth,
                read: Callable[[], Iterable[Predictions]]
                ) -> dict[str, float]:
        """Return ``AR_{group}@{limit}`` and ``AR{s,m,l}_{group}``."""
        metrics, rows = {}, []
        for group, names in truth.groups.items():
            found = self._recall(
                evaluate(_one_class(truth, names),
                         map(_as_one_class, read()), self.protocol))
            rows.append([group, *(f'{value:.1f}' for value in found.values())])
            metrics.update({
                name.format(group=group): value
                for name, value in found.items()
            })
        head = [name.replace('_{group}', '') for name in found]
        MMLogger.get_current_instance().info(
            f'recall of proposals in percent, {truth.ann_file}, '
            f'{truth.describe_images()}\n'
            + AsciiTable([['objects', *head], *rows]).table)
        return metrics

    def _recall(self, curves: Curves) -> dict[str, float]:
        """Return name with a place for the group -> percent."""
        # (T, A, M) of the one class -> (A, M)
        recall = curves.recall[:, 0]
        recall = 100 * np.where(recall < 0, np.nan, recall).mean(axis=0)
        result = {
            f'AR_{{group}}@{limit}': float(value)
            for limit, value in zip(self.protocol.max_dets, recall[0])
        }
        for area, values in zip(AREAS[1:], recall[1:]):
            result[f'AR{area[0]}_{{group}}'] = float(values[-1])
        return result


ANY = 1  # category of all objects and proposals


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
        cat_ids={'object': ANY})


def _as_one_class(block: Predictions) -> Predictions:
    return replace(block, cat_ids=np.full(len(block), ANY))
