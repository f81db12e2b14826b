"""COCO AP for base, novel and all classes."""
from typing import Optional, Sequence, Union

import msgspec
import torch
from mmdet.registry import METRICS
from mmdet.structures.mask import encode_mask_results
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from terminaltables import AsciiTable

from ovd.artifacts.files import atomic_write
from ovd.suggest import check_choice

from ..gzsl_coco_ap import (
    IOU_TYPES,
    STATS,
    GroundTruth,
    evaluate_predictions,
    load_ground_truth,
    summarise,
)


@METRICS.register_module()
class GZSLCocoMetric(BaseMetric):
    """AP, AP50 and AP75 of boxes and masks, in percent, by group of classes.

    All classes are detected jointly (generalised zero-shot setting); then AP
    is averaged over all, base and novel classes and over the groups of the
    split, as ``bbox_AP50_novel``. Images without objects are part of it as
    far as the annotation file keeps them. Images of the file for which no
    prediction came count as empty ones, with a warning.

    Args:
        ann_file (str): Split val file. A file without ``gzsl`` block takes
            the base and novel classes of the dataset.
        metric (str | Sequence[str]): ``'bbox'``, ``'segm'`` or both.
        max_dets (int): The best of one class in one image that count, as in
            pycocotools. Defaults to 300.
        out_file (str, optional): Keep the predictions here as COCO json
            (boxes, and masks as RLE).
        collect_device (str): As for the host. Defaults to ``'cpu'``.
        prefix (str, optional): Goes before all names, with a slash.

    Raises:
        ValueError: If ``metric`` is unknown, ``max_dets`` is not positive,
            or, on evaluation, file and dataset have other classes.
        FileNotFoundError: On evaluation, if ``ann_file`` does not exist.
    """

    def __init__(self,
                 ann_file: str,
                 metric: Union[str, Sequence[str]] = 'bbox',
                 max_dets: int = 300,
                 out_file: Optional[str] = None,
                 collect_device: str = 'cpu',
                 prefix: Optional[str] = None) -> None:
        # The host warns where there is no prefix; ours is empty on purpose.
        super().__init__(collect_device=collect_device, prefix='gzsl')
        self.prefix = prefix
        self.iou_types = [metric] if isinstance(metric, str) else list(metric)
        for iou_type in self.iou_types:
            check_choice(iou_type, IOU_TYPES, 'metric')
        if out_file is not None and not out_file.endswith('.json'):
            raise ValueError(
                f'predictions are kept as COCO json, got out_file={out_file}')
        if max_dets < 1:
            raise ValueError(f'max_dets must be positive, got {max_dets}')
        self.ann_file = ann_file
        self.max_dets = max_dets
        self.out_file = out_file

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keep the predictions of a batch on the CPU, masks as RLE."""
        for sample in data_samples:
            found = sample['pred_instances']
            result = dict(
                img_id=sample['img_id'],
                **{
                    name: found[name].detach().cpu().numpy()
                    for name in ('bboxes', 'scores', 'labels')
                })
            if 'segm' in self.iou_types:
                result['masks'] = self._encode_masks(found)
            self.results.append(result)

    @staticmethod
    def _encode_masks(found: dict) -> list[dict]:
        """Return one RLE per instance, with ``counts`` as text."""
        if 'masks' not in found:
            raise ValueError('metric "segm" needs masks, but the model '
                             'predicts none; use metric="bbox"')
        masks = found['masks']
        if isinstance(masks, torch.Tensor):
            masks = encode_mask_results(masks.detach().cpu().numpy())
        return [
            dict(size=list(mask['size']), counts=_as_text(mask['counts']))
            for mask in masks
        ]

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Return the metrics of :func:`ovd.evaluation.gzsl_coco_ap.summarise`.

        Args:
            results (list[dict]): What :meth:`process` kept, of all ranks.
        """
        truth = self._load_ground_truth()
        predictions = self._to_coco(results, truth)
        if self.out_file:
            with atomic_write(self.out_file) as file:
                file.write(msgspec.json.encode(predictions))
        logger: MMLogger = MMLogger.get_current_instance()
        absent = len({image['id'] for image in truth.images}
                     - {result['img_id'] for result in results})
        if absent:
            logger.warning(
                f'no prediction came for {absent} of {len(truth.images)} '
                f'images of {self.ann_file}; they count as empty')
        metrics = {}
        for iou_type in self.iou_types:
            class_ap = evaluate_predictions(truth, predictions, iou_type,
                                            self.max_dets)
            metrics.update(summarise(truth, class_ap, iou_type))
        logger.info(self._describe(truth, len(predictions), metrics))
        return metrics

    def _load_ground_truth(self) -> GroundTruth:
        """Read the ground truth; its classes must be the dataset's."""
        meta = self.dataset_meta or {}
        gzsl = None
        if 'novel_classes' in meta:
            gzsl = dict(
                base=meta['base_classes'],
                novel=meta['novel_classes'],
                groups=meta.get('class_groups', {}))
        truth = load_ground_truth(self.ann_file, gzsl)
        if 'classes' not in meta:
            raise ValueError('the metric needs dataset_meta["classes"]: the '
                             'names that the labels of predictions stand for')
        differing = set(meta['classes']) ^ set(truth.cat_ids)
        if differing:
            raise ValueError(
                f'the dataset and {self.ann_file} disagree about the classes '
                f'{", ".join(sorted(differing))}')
        return truth

    def _to_coco(self, results: list, truth: GroundTruth) -> list[dict]:
        """Return predictions as COCO results, boxes as xywh."""
        cat_ids = [truth.cat_ids[n] for n in self.dataset_meta['classes']]
        predictions = []
        for result in results:
            boxes = result['bboxes'].astype('float64')
            boxes[:, 2:] -= boxes[:, :2]
            columns = zip(boxes.tolist(), result['scores'].tolist(),
                          result['labels'].tolist())
            for i, (box, score, label) in enumerate(columns):
                prediction = dict(
                    image_id=result['img_id'],
                    category_id=cat_ids[label],
                    bbox=box,
                    score=score)
                if 'masks' in result:
                    prediction['segmentation'] = result['masks'][i]
                predictions.append(prediction)
        return predictions

    def _describe(self, truth: GroundTruth, count: int,
                  metrics: dict[str, float]) -> str:
        """Return the table that is logged."""
        groups = [*truth.groups, 'harmonic']
        rows = [['percent', *groups]]
        for iou_type in self.iou_types:
            for stat in STATS:
                rows.append([f'{iou_type} {stat}'] + [
                    f'{metrics[f"{iou_type}_{stat}_{group}"]:.1f}'
                    for group in groups
                ])
        return (f'split {truth.split}, {len(truth.images)} images of '
                f'{truth.ann_file}, {count} predictions, at most '
                f'{self.max_dets} per class and image\n'
                + AsciiTable(rows).table)


def _as_text(counts: Union[str, bytes]) -> str:
    """Return the counts of an RLE as json can hold them."""
    return counts.decode() if isinstance(counts, bytes) else counts
