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

from .labels import Colour, draw_box, draw_labels, draw_legend

BASE_COLOUR = ImageColor.getrgb(colours.BASE_COLOUR)
NOVEL_COLOUR = ImageColor.getrgb(colours.NOVEL_COLOUR)
MAX_NAME = 40  # letters of a label


def render_detections(
    image: np.ndarray,
    sample: DetDataSample,
    classes: Sequence[str],
    show_masks: bool = True,
    min_side: int = 480,
) -> Image.Image:
    """Return a picture of detections with scores, a colour for each class.

    Args:
        image (np.ndarray): RGB uint8 (H, W, 3).
        sample (DetDataSample): ``pred_instances`` in pixels of the image.
        classes (Sequence[str]): Names that the labels index.
        show_masks (bool): Whether to tint masks, where there are some.
            Defaults to True.
        min_side (int): See :func:`render_instances`. Defaults to 480.
    """
    found = sample.pred_instances.cpu()
    labels = found.labels.tolist()
    return render_instances(
        image,
        found.bboxes,
        [
            f'{_shorten(classes[label])} {score:.2f}'
            for label, score in zip(labels, found.scores.tolist())
        ],
        [ImageColor.getrgb(colours.class_colour(label)) for label in labels],
        masks=found.get('masks') if show_masks else None,
        min_side=min_side,
    )


def draw_instances(
    image: np.ndarray,
    bboxes: Tensor,
    names: Sequence[str],
    base_classes: Collection[str],
    out_file: PathLike,
    masks: Optional[Tensor] = None,
    scores: Optional[Tensor] = None,
    is_crowd: Optional[Sequence[bool]] = None,
    legend: bool = False,
    min_side: int = 480,
) -> None:
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
        min_side (int): See :func:`render_instances`. Defaults to 480.
    """
    crowd = list(is_crowd) if is_crowd is not None else [False] * len(names)
    texts = (
        list(names)
        if scores is None
        else [
            f'{name} {score:.2f}'
            for name, score in zip(names, scores.tolist())
        ]
    )
    is_base = [name in base_classes for name in names]
    canvas = render_instances(
        image,
        bboxes,
        texts,
        [BASE_COLOUR if base else NOVEL_COLOUR for base in is_base],
        masks,
        crowd,
        min_side,
    )
    if legend:
        number = Counter(zip(is_base, crowd))
        canvas = draw_legend(
            canvas,
            {
                f'{what}{" crowds" * dashed}: {number[base, dashed]}': (
                    colour,
                    dashed,
                )
                for dashed in sorted({False, *crowd})
                for what, base, colour in (
                    ('base', True, BASE_COLOUR),
                    ('novel', False, NOVEL_COLOUR),
                )
            },
            _font_size(canvas, len(names)),
        )
    save_picture(canvas, out_file)


def render_instances(
    image: np.ndarray,
    bboxes: Tensor,
    texts: Sequence[str],
    box_colours: Sequence[Colour],
    masks: Optional[Tensor] = None,
    is_crowd: Optional[Sequence[bool]] = None,
    min_side: int = 480,
) -> Image.Image:
    """Return a picture with labelled boxes and masks.

    Args:
        image (np.ndarray): RGB uint8 (H, W, 3).
        bboxes (Tensor): (M, 4) xyxy in pixels of the image.
        texts (Sequence[str]): M labels.
        box_colours (Sequence[Colour]): M.
        masks (Tensor, optional): bool (M, H, W).
        is_crowd (Sequence[bool], optional): M; crowds get dashed boxes.
        min_side (int): A smaller image is enlarged to at least this shorter
            side, so that the labels can be read. Defaults to 480.
    """
    picture, bboxes, masks = _enlarge(image, bboxes, masks, min_side)
    # Small boxes come last, on top of those that they lie in.
    order = torch.argsort(
        (bboxes[:, 2:] - bboxes[:, :2]).prod(1), descending=True
    ).tolist()
    if texts and masks is not None:
        picture = draw_segmentation_masks(
            picture,
            masks[order],
            alpha=0.3,
            colors=[box_colours[i] for i in order],
        )
    canvas = Image.fromarray(picture.permute(1, 2, 0).numpy())
    size = _font_size(canvas, len(texts))
    pen = ImageDraw.Draw(canvas)
    for i in order:
        draw_box(
            pen,
            bboxes[i].tolist(),
            box_colours[i],
            max(2, size // 6),
            is_crowd is not None and is_crowd[i],
        )
    draw_labels(
        canvas,
        [bboxes[i].tolist() for i in order],
        [texts[i] for i in order],
        [box_colours[i] for i in order],
        size,
    )
    return canvas


def _shorten(name: str) -> str:
    """Return a name in one line that leaves something of the picture."""
    name = ' '.join(name.split())
    return name if len(name) <= MAX_NAME else f'{name[: MAX_NAME - 1]}\u2026'


def save_picture(picture: Image.Image, out_file: PathLike) -> None:
    """Write a PNG, whole or not at all."""
    with atomic_write(out_file) as file:
        picture.save(file, 'PNG')


def _font_size(canvas: Image.Image, number: int) -> int:
    """Return the height of labels: where there are many, smaller ones."""
    return max(13, min(canvas.size) // (32 if number <= 10 else 42))


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
            image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC
        )
        if masks is not None:
            masks = masks.repeat_interleave(factor, dim=1)
            masks = masks.repeat_interleave(factor, dim=2)
    picture = torch.from_numpy(image).permute(2, 0, 1)
    return picture, bboxes * factor, masks


def shrink_image(rgb: np.ndarray, longest: int) -> np.ndarray:
    """Return an image whose longer side has no more pixels than that.

    Args:
        rgb (np.ndarray): uint8 (H, W, 3); returned itself if it is small.
        longest (int): Pixels, at least 1.
    """
    scale = longest / max(rgb.shape[:2])
    if scale >= 1:
        return rgb
    height, width = (max(1, round(side * scale)) for side in rgb.shape[:2])
    return cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
