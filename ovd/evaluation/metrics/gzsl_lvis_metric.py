"""LVIS AP for rare, common and frequent, base and novel classes."""

from typing import Callable, Iterable

from mmdet.registry import METRICS

from ..ground_truth import FREQUENCIES, GroundTruth
from ..predictions import Predictions
from .gzsl_coco_metric import GZSLCocoMetric


@METRICS.register_module()
class GZSLLVISMetric(GZSLCocoMetric):
    """AP by the federated rules of LVIS, in percent.

    A detection is judged only where the image was searched for its class,
    and the best 300 of an image count, whatever their classes (Gupta et al.,
    LVIS, CVPR 2019). Adds the benchmark's ``bbox_APr``, ``bbox_APc`` and
    ``bbox_APf`` to what :class:`GZSLCocoMetric` reports, whose arguments it
    takes; the reference ``engine`` is ``'lvis'``.
    """

    style = 'lvis'
    limit = 'per image, federated'
    default_max_dets = 300

    def measure(
        self, truth: GroundTruth, read: Callable[[], Iterable[Predictions]]
    ) -> dict[str, float]:
        """Return the metrics, those by frequency under their usual names."""
        metrics = super().measure(truth, read)
        for iou_type in self.protocols:
            for letter, group in FREQUENCIES.items():
                metrics[f'{iou_type}_AP{letter}'] = metrics[
                    f'{iou_type}_AP_{group}'
                ]
        return metrics
