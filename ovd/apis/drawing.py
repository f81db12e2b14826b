"""Pictures of detections: named boxes and masks."""
from pathlib import Path
from typing import Sequence, Tuple, Union

import cv2
import mmcv
import numpy as np
import torch

from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer

# Okabe and Ito's palette: told apart by colour-blind people too.
COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66),
           (0, 114, 178), (213, 94, 0), (204, 121, 167))


def draw_detections(image: Union[str, Path, np.ndarray],
                    sample: DetDataSample,
                    classes: Sequence[str],
                    out_file: Union[str, Path],
                    min_side: int = 640) -> None:
    """Write a picture with labelled boxes and masks.

    Args:
        image (str | Path | np.ndarray): File, or RGB uint8 array (H, W, 3).
        sample (DetDataSample): ``pred_instances`` in pixels of the image.
        classes (Sequence[str]): Names that the labels index.
        out_file (str | Path): Picture to write.
        min_side (int): Smaller images are enlarged to this shorter side, so
            that the labels can be read. Defaults to 640.
    """
    if not isinstance(image, np.ndarray):
        image = mmcv.imread(str(image), channel_order='rgb')
    image, sample = _enlarge(image, sample, min_side)
    visualizer = DetLocalVisualizer()
    visualizer.dataset_meta = dict(
        classes=tuple(classes),
        palette=[COLOURS[i % len(COLOURS)] for i in range(len(classes))])
    visualizer.add_datasample(
        'detections',
        image,
        sample,
        draw_gt=False,
        pred_score_thr=0.0,
        out_file=str(out_file))


def _enlarge(image: np.ndarray, sample: DetDataSample,
             min_side: int) -> Tuple[np.ndarray, DetDataSample]:
    """Scale a small image and its detections up by a whole factor."""
    factor = -(-min_side // min(image.shape[:2]))
    sample = sample.cpu()
    if factor <= 1:
        return image, sample
    image = cv2.resize(
        image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    instances = sample.pred_instances
    instances.bboxes = instances.bboxes * factor
    if 'masks' in instances:
        masks = instances.masks.repeat_interleave(factor, dim=1)
        instances.masks = masks.repeat_interleave(factor, dim=2).to(torch.bool)
    return image, sample
