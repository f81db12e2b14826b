"""Pictures of detections and annotations: named boxes and masks."""
from collections import Counter
from typing import Collection, Optional, Sequence, Tuple

import cv2
import numpy as np
import torch
from mmdet.structures import DetDataSample
from PIL import Image, ImageColor, ImageDraw
from torch import Tensor
from torchvision.utils import draw_segmentation_masks

from ovd import colours
from ovd.artifacts.files import PathLike, atomic_write

from .labels import draw_box, draw_labels, draw_legend

BASE_COLOUR = ImageColor.getrgb(colours.BASE_COLOUR)
NOVEL_COLOUR = ImageColor.getrgb(colours.NOVEL_COLOUR)


def draw_detections(image: np.ndarray,
                    sample: DetDataSample,
                    classes: Sequence[str],
                    base_classes: Collection[str],
                    out_file: PathLike,
                    min_side: int = 480) -> None:
    """Write a PNG of detections with their scores; see `draw_instances`.

    Args:
        image (np.ndarray): RGB uint8 (H, W, 3).
        sample (DetDataSample): ``pred_instances`` in pixels of the image.
        classes (Sequence[str]): Names that the labels index.
        base_classes (Collection[str]): Those that had boxes in training.
        out_file (PathLike): Picture to write.
        min_side (int): Least shorter side of the picture. Defaults to 480.
    """
    found = sample.pred_instances.cpu()
    draw_instances(
        image,
        found.bboxes, [classes[label] for label in found.labels],
        base_classes,
        out_file,
        masks=found.get('masks'),
        scores=found.scores,
        min_side=min_side)


def draw_instances(image: np.ndarray,
                   bboxes: Tensor,
                   names: Sequence[str],
                   base_classes: Collection[str],
                   out_file: PathLike,
                   masks: Optional[Tensor] = None,
                   scores: Optional[Tensor] = None,
                   is_crowd: Optional[Sequence[bool]] = None,
                   legend: bool = False,
                   min_side: int = 480) -> None:
    """Write a PNG with labelled boxes and masks, base blue, novel orange.

    Args:
        image (np.ndarray): RGB uint8 (H, W, 3).
        bboxes (Tensor): (M, 4) xyxy in pixels of the image.
        names (Sequence[str]): M class names.
        base_classes (Collection[str]): Those that have boxes in training.
        out_file (PathLike): Picture to write.
        masks (Tensor, optional): bool (M, H, W).
        scores (Tensor, optional): (M,), written behind the names.
        is_crowd (Sequence[bool], optional): M; crowds get dashed boxes.
        legend (bool): Add a strip that says what the colours mean, and how
            many boxes there are. Defaults to False.
        min_side (int): A smaller image is enlarged to at least this shorter
            side, so that the labels can be read. Defaults to 480.
    """
    crowd = list(is_crowd) if is_crowd is not None else [False] * len(names)
    texts = list(names) if scores is None else [
        f'{name} {score:.2f}' for name, score in zip(names, scores.tolist())
    ]
    is_base = [name in base_classes for name in names]
    box_colours = [BASE_COLOUR if base else NOVEL_COLOUR for base in is_base]
    picture, bboxes, masks = _enlarge(image, bboxes, masks, min_side)
    # Small boxes come last, on top of those that they lie in.
    order = torch.argsort((bboxes[:, 2:] - bboxes[:, :2]).prod(1),
                          descending=True).tolist()
    if names and masks is not None:
        picture = draw_segmentation_masks(
            picture, masks[order], alpha=0.3,
            colors=[box_colours[i] for i in order])
    canvas = Image.fromarray(picture.permute(1, 2, 0).numpy())
    # where there are many, smaller labels hide less
    size = max(13, min(canvas.size) // (32 if len(names) <= 10 else 42))
    pen = ImageDraw.Draw(canvas)
    for i in order:
        draw_box(pen, bboxes[i].tolist(), box_colours[i], max(2, size // 6),
                 crowd[i])
    draw_labels(canvas, [bboxes[i].tolist() for i in order],
                [texts[i] for i in order], [box_colours[i] for i in order],
                size)
    if legend:
        number = Counter(zip(is_base, crowd))
        canvas = draw_legend(canvas, {
            f'{what}{" crowds" * dashed}: {number[base, dashed]}':
            (colour, dashed)
            for dashed in sorted({False, *crowd})
            for what, base, colour in (('base', True, BASE_COLOUR),
                                       ('novel', False, NOVEL_COLOUR))
        }, size)
    with atomic_write(out_file) as file:
        canvas.save(file, 'PNG')


def _enlarge(
    image: np.ndarray, bboxes: Tensor, masks: Optional[Tensor], min_side: int
) -> Tuple[Tensor, Tensor, Optional[Tensor]]:
    """Scale a small image, its boxes and its masks up by a whole factor.

    Returns:
        tuple: uint8 (3, H, W), boxes (M, 4), masks (M, H, W) or None.
    """
    factor = max(1, -(-min_side // min(image.shape[:2])))
    if factor > 1:
        image = cv2.resize(
            image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        if masks is not None:
            masks = masks.repeat_interleave(factor, dim=1)
            masks = masks.repeat_interleave(factor, dim=2)
    picture = torch.from_numpy(image).permute(2, 0, 1)
    return picture, bboxes * factor, masks
