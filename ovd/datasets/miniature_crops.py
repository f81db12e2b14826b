"""Cut captioned crops out of scenes: what the miniature CLIP learns from.

Frames: boxes are xyxy pixels of the scene; crops are RGB, cut and resized as
:mod:`ovd.clip.crops` does it for proposals.
"""

from typing import List, Optional, Tuple

import numpy as np
import torch

from ovd.clip.crops import crop_windows, cut_crops

from .miniature_scene import MAX_SIZE, MIN_SIZE, Scene

CROP_SIZE = 64
CROP_SCALES = (1.0, 1.5)
CROPS_PER_SCENE = 8
BOX_JITTER = 0.1
BACKGROUND_LABEL = 0


def draw_crops(
    rng: np.random.Generator, scene: Scene
) -> Tuple[np.ndarray, np.ndarray]:
    """Return 8 crops of a scene: 7 of its objects, 1 of background.

    Boxes are loose, as proposals are. Half of the background crops show a
    nameless object where there is one. Without a place for background, all
    8 show objects.

    Returns:
        tuple[np.ndarray, np.ndarray]: Crops (8, 64, 64, 3) uint8 and labels
        (8,) int64, where 0 is background and i + 1 stands for look i.
    """
    boxes, labels = [], []
    background = _background_box(rng, scene)
    if background is not None:
        boxes.append(background)
        labels.append(BACKGROUND_LABEL)
    # Deal out whole rounds, so that no object is forgotten.
    order: List[int] = []
    while len(order) < CROPS_PER_SCENE - len(labels):
        order.extend(rng.permutation(len(scene.labels)))
    for i in order[: CROPS_PER_SCENE - len(labels)]:
        boxes.append(_jitter(rng, scene.bboxes[i]))
        labels.append(scene.labels[i] + 1)
    scales = rng.choice(CROP_SCALES, len(boxes))
    crops = [
        cut_crops(scene.image, crop_windows(box[None], scale), CROP_SIZE)[0]
        for box, scale in zip(boxes, scales, strict=True)
    ]
    return (torch.stack(crops).permute(0, 2, 3, 1).numpy(), np.array(labels))


def _jitter(rng: np.random.Generator, box: np.ndarray) -> np.ndarray:
    """Move each side of a box by up to 10 % of the box's width or height."""
    sides = np.tile(box[2:] - box[:2], 2)
    return box + rng.uniform(-BOX_JITTER, BOX_JITTER, 4) * sides


def _background_box(
    rng: np.random.Generator, scene: Scene
) -> Optional[np.ndarray]:
    """Return a box (4,) with hardly any named object inside, or None."""
    named = np.any(scene.masks, axis=0)
    size = named.shape[0]
    for _ in range(20):
        if len(scene.distractors) and rng.random() < 0.5:
            box = _jitter(rng, rng.choice(scene.distractors))
        else:
            wh = rng.uniform(MIN_SIZE, MAX_SIZE, 2)
            corner = rng.uniform(0, size - wh)
            box = np.concatenate([corner, corner + wh])
        x1, y1, x2, y2 = crop_windows(box[None], max(CROP_SCALES))[0].tolist()
        if named[max(y1, 0) : y2, max(x1, 0) : x2].mean() < 0.1:
            return box
    return None
