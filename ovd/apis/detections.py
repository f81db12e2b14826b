"""What was found in images, and its forms for other programs.

Shapes: M detections of an image.
"""

import json
from typing import Any, Dict, Iterable, List, Optional, Sequence

import numpy as np
from mmdet.structures import DetDataSample
from mmdet.structures.mask import encode_mask_results
from mmengine.structures import InstanceData
from torchvision.ops import nms

from ovd.artifacts.files import PathLike, atomic_write


class Detections(List[DetDataSample]):
    """A list of detections, one sample per image, that knows their names.

    ``pred_instances`` of a sample, on the CPU, holds ``bboxes`` (M, 4) xyxy
    in pixels of the image as it was given, ``scores`` (M,) falling,
    ``labels`` (M,), which index :attr:`classes`, and ``masks``, bool (M, H,
    W), where the detector makes them. ``img_path`` is the file of an image,
    None of others.

    Args:
        samples (Sequence[DetDataSample]): One per image.
        classes (Sequence[str]): Names that the labels index.
        base_classes (Sequence[str]): Names that had boxes in training.
        seconds (dict[str, float], optional): How long the parts took:
            ``text``, ``image``, ``boxes``.

    Example:
        >>> from ovd.apis import OpenVocabularyDetector
        >>> detector = OpenVocabularyDetector(
        ...     'configs/miniature/'
        ...     'vild-ensemble_mask-rcnn_r18_fpn_miniature.py',
        ...     'work_dirs/miniature/vild-ensemble', device='cpu')
        >>> found = detector.predict(
        ...     'data/miniature/val', classes=['red circle', 'heart'])
        >>> [sample.img_path for sample in found[:2]]
        ['data/miniature/val/000001.png', 'data/miniature/val/000002.png']
        >>> content = found.to_coco()
        >>> content['categories'][0]
        {'id': 1, 'name': 'red circle'}
        >>> content['images'][1]['file_name']
        'data/miniature/val/000002.png'
        >>> len(content['annotations']) == sum(
        ...     len(sample.pred_instances) for sample in found)
        True
        >>> found.save_coco('work_dirs/found.json')
        >>> sorted(found.seconds)
        ['boxes', 'image', 'text']
    """

    def __init__(
        self,
        samples: Sequence[DetDataSample],
        classes: Sequence[str],
        base_classes: Sequence[str] = (),
        seconds: Optional[Dict[str, float]] = None,
    ) -> None:
        super().__init__(samples)
        self.classes = list(classes)
        self.base_classes = list(base_classes)
        self.seconds = dict(seconds or dict(text=0.0, image=0.0, boxes=0.0))

    def one_per_object(self, iou_thr: float = 0.6) -> 'Detections':
        """Keep the best name of boxes that overlap: the host allows several.

        Args:
            iou_thr (float): Boxes of a greater overlap are one object's.
                Defaults to 0.6.
        """
        samples = []
        for sample in self:
            found, sample = sample.pred_instances, sample.new()
            sample.pred_instances = found[
                nms(found.bboxes, found.scores, iou_thr)
            ]
            samples.append(sample)
        return Detections(
            samples, self.classes, self.base_classes, self.seconds
        )

    def to_coco(self) -> Dict[str, List[Dict[str, Any]]]:
        """Return a COCO dataset whose annotations have a ``score``.

        Ids count from 1, images in the order in which they were given and
        categories as in :attr:`classes`. ``file_name`` is the path, '' for
        images that were no files; ``bbox`` is xywh in pixels; masks are
        ``segmentation``, run lengths (RLE) with ``counts`` as text.
        """
        images: List[Dict[str, Any]] = []
        annotations: List[Dict[str, Any]] = []
        for image_id, sample in enumerate(self, 1):
            height, width = sample.ori_shape
            images.append(
                dict(
                    id=image_id,
                    file_name=sample.get('img_path') or '',
                    height=height,
                    width=width,
                )
            )
            for item in _to_annotations(sample.pred_instances):
                annotations.append(
                    dict(id=len(annotations) + 1, image_id=image_id, **item)
                )
        return dict(
            images=images,
            annotations=annotations,
            categories=[
                dict(id=label, name=name)
                for label, name in enumerate(self.classes, 1)
            ],
        )

    def save_coco(self, path: PathLike) -> None:
        """Write :meth:`to_coco` as a json file, whole or not at all."""
        with atomic_write(path, 'w') as file:
            json.dump(self.to_coco(), file)

    def to_supervision(self) -> List[Any]:
        """Return ``supervision.Detections``, one per image.

        Their ``data['class_name']`` has the names.

        Raises:
            ImportError: If the package ``supervision`` is not installed.

        Example:
            >>> from ovd.apis import OpenVocabularyDetector
            >>> detector = OpenVocabularyDetector(
            ...     'configs/miniature/'
            ...     'vild-ensemble_mask-rcnn_r18_fpn_miniature.py',
            ...     'work_dirs/miniature/vild-ensemble', device='cpu')
            >>> found = detector.predict('data/miniature/val/000001.png')
            >>> one, = found.to_supervision()
            >>> len(one) == len(found[0].pred_instances)
            True
        """
        try:
            import supervision
        except ImportError as error:
            raise ImportError(
                'supervision.Detections needs the package supervision: '
                'pip install supervision'
            ) from error
        converted = []
        for sample in self:
            one = supervision.Detections.from_mmdetection(sample)
            labels = sample.pred_instances.labels.tolist()
            one.data['class_name'] = np.array(
                [self.classes[label] for label in labels], str
            )
            converted.append(one)
        return converted


def merge_coco(
    parts: Iterable[Dict[str, List[dict]]],
) -> Dict[str, List[dict]]:
    """Join contents of :meth:`Detections.to_coco` of the same classes.

    Ids go on counting from one part to the next.
    """
    whole: Dict[str, List[dict]] = dict(
        images=[], annotations=[], categories=[]
    )
    for part in parts:
        before = len(whole['images'])
        whole['images'] += [
            dict(image, id=image['id'] + before) for image in part['images']
        ]
        whole['annotations'] += [
            dict(item, id=number, image_id=item['image_id'] + before)
            for number, item in enumerate(
                part['annotations'], len(whole['annotations']) + 1
            )
        ]
        whole['categories'] = part['categories']
    return whole


def _to_annotations(found: InstanceData) -> List[Dict[str, Any]]:
    """Return M annotations without ids."""
    annotations = []
    for label, score, (x1, y1, x2, y2) in zip(
        found.labels.tolist(), found.scores.tolist(), found.bboxes.tolist()
    ):
        annotations.append(
            dict(
                category_id=label + 1,
                score=score,
                iscrowd=0,
                bbox=[x1, y1, x2 - x1, y2 - y1],
                area=(x2 - x1) * (y2 - y1),
            )
        )
    if 'masks' in found:
        masks = found.masks.numpy()
        for item, mask, code in zip(
            annotations, masks, encode_mask_results(masks)
        ):
            item['area'] = int(mask.sum())
            item['segmentation'] = dict(
                size=list(map(int, code['size'])),
                counts=code['counts'].decode(),
            )
    return annotations
