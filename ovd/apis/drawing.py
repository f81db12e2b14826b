"""Pictures of detections: named boxes and masks."""
from typing import Collection, Sequence, Tuple

import cv2
import numpy as np
import torch
from matplotlib.font_manager import findfont
from mmdet.structures import DetDataSample
from PIL import Image, ImageDraw, ImageFont
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

from ovd.artifacts.files import PathLike, atomic_write

# Told apart by colour-blind people too (Okabe and Ito).
BASE_COLOUR = (0, 114, 178)
NOVEL_COLOUR = (230, 159, 0)


def draw_detections(image: np.ndarray,
                    sample: DetDataSample,
                    classes: Sequence[str],
                    base_classes: Collection[str],
                    out_file: PathLike,
                    min_side: int = 480) -> None:
    """Write a PNG with labelled boxes and masks, base blue, novel orange.

    Args:
        image (np.ndarray): RGB uint8 (H, W, 3).
        sample (DetDataSample): ``pred_instances`` in pixels of the image.
        classes (Sequence[str]): Names that the labels index.
        base_classes (Collection[str]): Those that had boxes in training.
        out_file (PathLike): Picture to write.
        min_side (int): A smaller image is enlarged to at least this shorter
            side, so that the labels can be read. Defaults to 480.
    """
    picture, boxes, masks = _enlarge(image, sample, min_side)
    found = sample.pred_instances
    names = [classes[label] for label in found.labels]
    colours = [
        BASE_COLOUR if name in base_classes else NOVEL_COLOUR for name in names
    ]
    if names and masks is not None:
        picture = draw_segmentation_masks(
            picture, masks, alpha=0.35, colors=colours)
    size = max(13, min(picture.shape[1:]) // 30)
    if names:
        picture = draw_bounding_boxes(
            picture, boxes, colors=colours, width=max(2, size // 6))
    canvas = Image.fromarray(picture.permute(1, 2, 0).numpy())
    for box, name, score, colour in zip(boxes.tolist(), names,
                                        found.scores.tolist(), colours):
        _write_label(canvas, box, f'{name} {score:.2f}', colour, size)
    with atomic_write(out_file) as file:
        canvas.save(file, 'PNG')


def _write_label(canvas: Image.Image, box: Sequence[float], text: str,
                 colour: Tuple[int, int, int], size: int) -> None:
    """Write a label above its box (xyxy), or wherever it still fits."""
    pen = ImageDraw.Draw(canvas)
    font = ImageFont.truetype(findfont('DejaVu Sans'), size)
    width = pen.textlength(text, font=font)
    left = max(0, min(box[0], canvas.width - width - size / 2))
    top = max(0, box[1] - 1.3 * size)
    pen.rectangle((left, top, left + width + size / 2, top + 1.3 * size),
                  fill=colour)
    pen.text((left + size / 4, top), text, fill='white', font=font)


def _enlarge(image: np.ndarray, sample: DetDataSample, min_side: int
             ) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scale a small image, its boxes and its masks up by a whole factor.

    Returns:
        tuple: uint8 (3, H, W), boxes (M, 4), masks (M, H, W) or None.
    """
    factor = max(1, -(-min_side // min(image.shape[:2])))
    found = sample.pred_instances.cpu()
    masks = found.get('masks')
    if factor > 1:
        image = cv2.resize(
            image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        if masks is not None:
            masks = masks.repeat_interleave(factor, dim=1)
            masks = masks.repeat_interleave(factor, dim=2)
    picture = torch.from_numpy(image).permute(2, 0, 1)
    return picture, found.bboxes * factor, masks
