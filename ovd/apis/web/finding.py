"""What was found in an image, to be shown at any threshold."""

from dataclasses import dataclass
from typing import Any, Dict, List, Tuple

import cv2
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from PIL import Image
from pycocotools import mask as mask_tools

from ovd.apis.detections import Detections
from ovd.apis.drawing import render_detections, shrink_image
from ovd.apis.image_sources import SourceImage
from ovd.spelling import canonical_spelling

MAX_SIDE, MIN_SIDE = 1600, 640  # pixels of a picture on the page


@dataclass(frozen=True)
class Finding:
    """All detections in an image, small enough to be kept for a visitor.

    Args:
        rgb (np.ndarray): uint8 (H, W, 3), the image, made smaller to be shown
            if it is large.
        content (dict): Of :meth:`Detections.to_coco`, best first, masks as
            run lengths, in pixels of the image as it was given.
        novel (list[bool]): For each category, if it had no box in training.
        seconds (dict[str, float]): How long the parts took.
    """

    rgb: np.ndarray
    content: Dict[str, List[dict]]
    novel: List[bool]
    seconds: Dict[str, float]

    @classmethod
    def of(cls, image: SourceImage, found: Detections) -> 'Finding':
        """Keep what was found in an image, one name per object."""
        base = {*map(canonical_spelling, found.base_classes)}
        return cls(
            shrink_image(image.rgb, MAX_SIDE),
            found.one_per_object().to_coco(),
            [canonical_spelling(name) not in base for name in found.classes],
            found.seconds,
        )

    @property
    def classes(self) -> List[str]:
        """The names, in the order of their ids, which count from 1."""
        return [item['name'] for item in self.content['categories']]

    @property
    def size_wh(self) -> Tuple[int, int]:
        """Width and height of the image as it was given."""
        (image,) = self.content['images']
        return image['width'], image['height']

    def above(self, score_thr: float) -> Dict[str, List[dict]]:
        """Return the COCO dataset of what scores at least so much."""
        return dict(
            self.content,
            annotations=[
                item
                for item in self.content['annotations']
                if item['score'] >= score_thr
            ],
        )

    def draw(self, annotations: List[dict]) -> Image.Image:
        """Return the picture of some of the annotations."""
        return render_detections(
            self.rgb,
            DetDataSample(pred_instances=self._shown(annotations)),
            self.classes,
            min_side=MIN_SIDE,
        )

    def _shown(self, annotations: List[dict]) -> InstanceData:
        """Return annotations in pixels of the image that is shown."""
        size_wh = self.rgb.shape[1::-1]
        boxes = torch.tensor([item['bbox'] for item in annotations])
        boxes = boxes.reshape(-1, 4).float()
        boxes[:, 2:] += boxes[:, :2]
        scale = torch.tensor(size_wh) / torch.tensor(self.size_wh)
        shown = InstanceData(
            bboxes=boxes * scale.repeat(2),
            labels=torch.tensor(
                [item['category_id'] - 1 for item in annotations],
                dtype=torch.long,
            ),
            scores=torch.tensor([item['score'] for item in annotations]),
        )
        if annotations and 'segmentation' in annotations[0]:
            shown.masks = torch.stack(
                [
                    _decode_mask(item['segmentation'], size_wh)
                    for item in annotations
                ]
            )
        return shown


def _decode_mask(
    code: Dict[str, Any], size_wh: Tuple[int, int]
) -> torch.Tensor:
    """Return run lengths as a bool mask of another size."""
    mask = cv2.resize(
        mask_tools.decode(code), size_wh, interpolation=cv2.INTER_NEAREST
    )
    return torch.from_numpy(mask.astype(bool))
