"""What the metrics share: predictions on disk until the first process reads.

Gathering the predictions of all processes in the memory of one is what ends
large evaluations, and waiting for it in a collective call is what times out.
"""

from abc import abstractmethod
from functools import partial
from typing import Any, Callable, Iterable, Optional, Sequence, Union

import numpy as np
import torch
import torch.distributed as dist
from mmdet.structures.mask import encode_mask_results
from mmengine.dist import get_rank, get_world_size, is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from ovd.artifacts.files import PathLike
from ovd.engine.first_process import patient_group
from ovd.spelling import canonical_spelling

from ..ground_truth import GroundTruth, load_ground_truth
from ..prediction_spool import PredictionSpool, Spool, read_spools
from ..predictions import Predictions, save_predictions

SHARED_FOLDER = '.dist_test'  # the host's, in the current folder


class DetectionMetric(BaseMetric):
    """Base of metrics that compare predictions with an annotation file.

    Each process writes its predictions to a file of its own; the first one
    evaluates them block by block while the others wait as long as it takes.

    Args:
        ann_file (str): Split val file. A file without ``gzsl`` block takes
            the base and novel classes of the dataset.
        only_annotated (bool): Leave out images without an object of a base
            or novel class, which can only add false positives. Published
            results differ in this; the log says which it was. Defaults to
            False: all images of the file.
        collect_dir (str, optional): Folder for the predictions of each
            process; all machines must share it. Defaults to the system's
            for one process and to ``.dist_test`` for several.
        prefix (str, optional): Goes before all names, with a slash.
    """

    masks = False  # whether masks are kept
    out_file: Optional[str] = None  # where predictions are kept

    def __init__(
        self,
        ann_file: PathLike,
        only_annotated: bool = False,
        collect_dir: Optional[str] = None,
        prefix: Optional[str] = None,
    ) -> None:
        # The host warns where there is no prefix; ours is empty on purpose.
        super().__init__(prefix='none', collect_dir=collect_dir)
        self.prefix = prefix
        self.ann_file = str(ann_file)
        self.only_annotated = only_annotated
        self._spool: Optional[PredictionSpool] = None
        self._group: Optional[dist.ProcessGroup] = None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Put the predictions of a batch on disk, masks as RLE."""
        spool = self._open_spool()
        for sample in data_samples:
            found = sample['pred_instances']
            boxes, scores, labels = (
                found[name].detach().cpu().numpy()
                for name in ('bboxes', 'scores', 'labels')
            )
            spool.add(
                sample['img_id'],
                labels,
                scores,
                boxes,
                _encode_masks(found) if self.masks else None,
            )

    def _open_spool(self) -> PredictionSpool:
        if self._spool is None:
            self._spool = PredictionSpool(
                self.collect_dir
                or (SHARED_FOLDER if get_world_size() > 1 else None)
            )
        return self._spool

    def evaluate(self, size: int) -> dict[str, float]:
        """Evaluate the predictions of all processes, on the first one.

        Args:
            size (int): Not needed: images that samplers repeat are known by
                their id.

        Returns:
            dict: The metrics, on every process.
        """
        own = self._open_spool()
        spools = self._collect(own.finish(get_rank()))
        metrics: list = [None]
        if is_main_process():
            metrics = [self.compute_metrics(spools)]
        if self._group is not None:
            dist.broadcast_object_list(metrics, src=0, group=self._group)
        own.remove()
        self._spool = None
        return metrics[0]

    def _collect(self, spool: Spool) -> list[Spool]:
        """Return the spools of all processes, on the first one."""
        if get_world_size() == 1:
            return [spool]
        if self._group is None:
            self._group = patient_group()
        spools: list = [None] * get_world_size() if is_main_process() else []
        dist.gather_object(spool, spools or None, dst=0, group=self._group)
        return spools

    def compute_metrics(self, results: Sequence[Spool]) -> dict[str, float]:
        """Evaluate what the processes wrote.

        Args:
            results (list[Spool]): Of all processes.
        """
        truth = self.load_truth()
        read = partial(
            read_spools,
            results,
            [
                truth.cat_ids[canonical_spelling(name)]
                for name in self.dataset_meta['classes']
            ],
        )
        if self.out_file:
            save_predictions(self.out_file, read())
        seen = {image_id for spool in results for image_id in spool.index}
        absent = sum(image.id not in seen for image in truth.images)
        if absent:
            MMLogger.get_current_instance().warning(
                f'no prediction came for {absent} of {len(truth.images)} '
                f'images of {self.ann_file}; they count as empty'
            )
        return self.evaluate_predictions(truth, read)

    def evaluate_predictions(
        self, truth: GroundTruth, read: Callable[[], Iterable[Predictions]]
    ) -> dict[str, float]:
        """Return the metrics of predictions, with their prefix.

        Args:
            truth (GroundTruth): Of :meth:`load_truth`.
            read (Callable): Gives the predictions from their start, in
                blocks of whole images.
        """
        if self.only_annotated:
            whole, truth = truth, truth.only_annotated()
            read = partial(
                _without, read, np.setdiff1d(whole.image_ids, truth.image_ids)
            )
        metrics = self.measure(truth, read)
        return {
            f'{self.prefix}/{name}' if self.prefix else name: value
            for name, value in metrics.items()
        }

    @abstractmethod
    def measure(
        self, truth: GroundTruth, read: Callable[[], Iterable[Predictions]]
    ) -> dict[str, float]:
        """Return the metrics of predictions and log them."""

    def load_truth(self) -> GroundTruth:
        """Read the ground truth; its classes must be the dataset's.

        Raises:
            FileNotFoundError: If ``ann_file`` does not exist.
            ValueError: If it is malformed or has other classes.
        """
        meta = self.dataset_meta or {}
        gzsl = None
        if 'novel_classes' in meta:
            gzsl = dict(
                base=meta['base_classes'],
                novel=meta['novel_classes'],
                groups=meta.get('class_groups', {}),
            )
        truth = load_ground_truth(self.ann_file, gzsl)
        if 'classes' not in meta:
            raise ValueError(
                'the metric needs dataset_meta["classes"]: the '
                'names that the labels of predictions stand for'
            )
        differing = set(map(canonical_spelling, meta['classes'])) ^ set(
            truth.cat_ids
        )
        if differing:
            raise ValueError(
                f'the dataset and {self.ann_file} disagree about the classes '
                f'{", ".join(sorted(differing))}'
            )
        return truth


def _without(
    read: Callable[[], Iterable[Predictions]], image_ids: np.ndarray
) -> Iterable[Predictions]:
    """Yield the predictions but for those of these images."""
    for block in read():
        yield block.take(np.flatnonzero(~np.isin(block.image_ids, image_ids)))


def _encode_masks(found: dict) -> list[dict]:
    """Return one RLE per instance, with ``counts`` as text."""
    if 'masks' not in found:
        raise ValueError(
            'metric "segm" needs masks, but the model '
            'predicts none; use metric="bbox"'
        )
    masks = found['masks']
    if isinstance(masks, torch.Tensor):
        masks = encode_mask_results(masks.detach().cpu().numpy())
    return [
        dict(size=list(mask['size']), counts=_as_text(mask['counts']))
        for mask in masks
    ]


def _as_text(counts: Union[str, bytes]) -> str:
    """Return the counts of an RLE as json can hold them."""
    return counts.decode() if isinstance(counts, bytes) else counts
