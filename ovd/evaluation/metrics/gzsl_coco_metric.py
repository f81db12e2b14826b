"""COCO AP for base, novel and all classes."""

from typing import Any, Callable, Iterable, Optional, Sequence, Union

from mmdet.registry import METRICS
from mmengine.logging import MMLogger
from terminaltables import AsciiTable

from ovd.artifacts.files import PathLike

from ..engines import Protocol, evaluate
from ..ground_truth import GroundTruth
from ..predictions import Predictions
from ..report import write_report
from ..summary import STATS, class_table, summarise
from .detection_metric import DetectionMetric


@METRICS.register_module()
class GZSLCocoMetric(DetectionMetric):
    """AP of boxes and masks by group of classes, in percent.

    All classes are detected jointly (generalised zero-shot setting); then
    AP, AP50, AP75 and the AP of small, medium and large objects are averaged
    over all, base and novel classes and over the groups of the split, as
    ``bbox_AP50_novel``; ``harmonic`` is the harmonic mean of base and novel.
    Images of the file for which no prediction came count as empty ones, with
    a warning.

    Args:
        ann_file (str): Split val file. A file without ``gzsl`` block takes
            the base and novel classes of the dataset.
        metric (str | Sequence[str]): ``'bbox'``, ``'segm'`` or both.
        max_dets (int, optional): The best of one class in one image that
            count. Defaults to 100, as COCO has it.
        engine (str): ``'hotcoco'`` or, slower, the reference
            ``'pycocotools'``; both give the same numbers.
        report_dir (str, optional): Folder for a CSV of all classes, a chart
            of their AP and the precision-recall curves. ``tools/test.py``
            sets it.
        out_file (str, optional): Keep the predictions here as COCO json
            (boxes, and masks as RLE).
        **kwargs: ``only_annotated``, ``collect_dir`` and ``prefix`` of
            :class:`DetectionMetric`.

    Raises:
        ValueError: If an argument is not like that, or, on evaluation, file
            and dataset have other classes.
        FileNotFoundError: On evaluation, if ``ann_file`` does not exist.
    """

    style = 'coco'
    limit = 'per class and image'
    default_max_dets = 100

    def __init__(
        self,
        ann_file: PathLike,
        metric: Union[str, Sequence[str]] = 'bbox',
        max_dets: Optional[int] = None,
        engine: str = 'hotcoco',
        report_dir: Optional[str] = None,
        out_file: Optional[str] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(ann_file, **kwargs)
        if out_file is not None and not out_file.endswith('.json'):
            raise ValueError(
                f'predictions are kept as COCO json, got out_file={out_file}'
            )
        self.out_file = out_file
        max_dets = self.default_max_dets if max_dets is None else max_dets
        self.protocols = {
            iou_type: Protocol(iou_type, self.style, (max_dets,), engine)
            for iou_type in ([metric] if isinstance(metric, str) else metric)
        }
        self.masks = 'segm' in self.protocols
        self.max_dets = max_dets
        self.report_dir = report_dir

    def measure(
        self, truth: GroundTruth, read: Callable[[], Iterable[Predictions]]
    ) -> dict[str, float]:
        """Return the metrics of :func:`ovd.evaluation.summary.summarise`."""
        metrics = {}
        for iou_type, protocol in self.protocols.items():
            table = class_table(evaluate(truth, read(), protocol))
            metrics.update(summarise(truth, table, iou_type))
            if self.report_dir is not None:
                write_report(truth, table, iou_type, self.report_dir)
        MMLogger.get_current_instance().info(self._describe(truth, metrics))
        return metrics

    def _describe(self, truth: GroundTruth, metrics: dict[str, float]) -> str:
        """Return the table that is logged, below the protocol."""
        groups = [*truth.groups, 'harmonic']
        rows = [['percent', *groups]]
        for iou_type in self.protocols:
            for stat in STATS:
                rows.append(
                    [f'{iou_type} {stat}']
                    + [
                        f'{metrics[f"{iou_type}_{stat}_{group}"]:.1f}'
                        for group in groups
                    ]
                )
        engine = next(iter(self.protocols.values())).engine
        return (
            f'split {truth.split}, {truth.ann_file}, '
            f'{truth.describe_images()}; at most {self.max_dets} '
            f'detections {self.limit}; evaluated by {engine}\n'
            + AsciiTable(rows).table
        )
