"""Boxes of an image to crops as CLIP takes them.

Shapes: P boxes of an image, S crop scales, U different windows, n side of
CLIP's input in pixels.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Callable, Optional, Sequence, Tuple, Union, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as PILF
from torchvision.transforms.v2 import functional as TF

from ovd.suggest import check_choice

from .loading import CLIP_MEAN, CLIP_STD

Boxes = Union[np.ndarray, Tensor]
CROP_MODES = ('fast', 'clip')
# A thread for fewer would take longer to start than it saves.
CROPS_PER_THREAD = 16


@dataclass(frozen=True)
class CropPlan:
    """Which crops the boxes of an image need, none of them twice.

    Args:
        windows (Tensor): (U, 4) int64 xyxy in pixels, end exclusive.
        index (Tensor): (S, P) int64, the window of a box at a scale.
    """

    windows: Tensor
    index: Tensor


def plan_crops(
    bboxes: Boxes,
    crop_scales: Sequence[float],
    as_they_are: Optional[np.ndarray] = None,
) -> CropPlan:
    """Return the crops of P boxes at S scales.

    Args:
        bboxes (ndarray | Tensor): (P, 4) xyxy in pixels.
        crop_scales (Sequence[float]): Side of a crop as a multiple of the
            box's, about the same centre.
        as_they_are (ndarray, optional): (P,) bool, boxes on whole pixels that
            are cut so at every scale: whole images.

    Raises:
        ValueError: If a scale is not positive, or there is none.
    """
    if (
        not isinstance(crop_scales, (list, tuple))
        or not crop_scales
        or any(not isinstance(s, (int, float)) or s <= 0 for s in crop_scales)
    ):
        raise ValueError(
            f'crop_scales must be positive numbers, got {crop_scales!r}'
        )
    windows = torch.stack([crop_windows(bboxes, s) for s in crop_scales])
    if as_they_are is not None:
        rows = torch.from_numpy(as_they_are)
        windows[:, rows] = torch.as_tensor(bboxes)[rows].long()
    unique, index = windows.flatten(0, 1).unique(dim=0, return_inverse=True)
    return CropPlan(unique, index.view(len(crop_scales), -1))


def crop_windows(bboxes: Boxes, scale: float = 1.0) -> Tensor:
    """Return the pixels that boxes cover, int64 (P, 4) xyxy, end exclusive.

    Sides are multiplied by ``scale`` about the box's centre, then rounded
    outwards with DetPro's margin of 0.001 px: floor(x1 - 0.001) ...
    ceil(x2 + 0.001). So a box without an area still covers a pixel, and a
    box that begins on a whole pixel takes the one before it too. As in
    DetPro's code in effect, nothing is clamped to the image.

    Args:
        bboxes (ndarray | Tensor): (P, 4) xyxy in pixels.
        scale (float): Multiplier of the sides. Defaults to 1.
    """
    bboxes = torch.as_tensor(bboxes, dtype=torch.float64)
    top_left, bottom_right = bboxes[:, :2], bboxes[:, 2:]
    grow = (bottom_right - top_left) * (scale - 1) / 2
    return torch.cat(
        [
            (top_left - grow - 0.001).floor(),
            (bottom_right + grow + 0.001).ceil(),
        ],
        dim=1,
    ).long()


def cut_crops(
    image: np.ndarray,
    windows: Tensor,
    side: int = 224,
    crop_mode: str = 'fast',
) -> Tensor:
    """Cut windows out of an image, as CLIP's input: uint8 (U, 3, n, n).

    A crop's shorter side is resized to n (bicubic, antialiased), then the
    middle of the longer side is kept, as openai-clip does; what lies outside
    the image is black. The kernels use one core each, so as many crops are cut
    at once as PyTorch has threads: one in the workers of a loader.

    Args:
        image (ndarray): (H, W, 3) uint8, RGB.
        windows (Tensor): (U, 4) int64 xyxy in pixels, end exclusive.
        side (int): n in pixels. Defaults to 224.
        crop_mode (str): ``'clip'`` resizes with PIL, to openai-clip's very
            pixels; ``'fast'`` with torchvision's kernel for tensors, which
            differs from PIL by a grey level here and there. Defaults to
            ``'fast'``.

    Raises:
        ValueError: If the image is not of the form, or the mode is unknown.
    """
    check_choice(crop_mode, CROP_MODES, 'crop_mode')
    check_image(image)
    # Channels last in memory: the resizing kernel and convolutions like it.
    crops = torch.empty(
        (len(windows), 3, side, side),
        dtype=torch.uint8,
        memory_format=torch.channels_last,
    )
    cut: Callable[..., Tensor]
    if crop_mode == 'clip':
        cut = partial(_cut_as_clip, Image.fromarray(image))
    else:
        pixels = torch.from_numpy(np.array(image, order='C'))
        cut = partial(_cut_fast, pixels.permute(2, 0, 1))

    def fill(rows: range) -> None:
        for row in rows:
            crops[row].copy_(cut(windows[row].tolist(), side))

    threads = min(torch.get_num_threads(), len(windows) // CROPS_PER_THREAD)
    if threads <= 1:
        fill(range(len(windows)))
        return crops
    with ThreadPoolExecutor(threads) as pool:
        parts = (range(n, len(windows), threads) for n in range(threads))
        # Raises what a thread raised
        list(pool.map(fill, parts))
    return crops


def normalize_crops(
    crops: Tensor,
    mean: Sequence[float] = CLIP_MEAN,
    std: Sequence[float] = CLIP_STD,
) -> Tensor:
    """Map uint8 crops (B, 3, n, n) to float32 input of CLIP's image tower.

    Args:
        crops (Tensor): RGB.
        mean (Sequence[float]): Of RGB in [0, 1]. Defaults to openai-clip's.
        std (Sequence[float]): Likewise.
    """
    # Laid out as a crop is: with three values for a pixel, the innermost loop
    # over channels-last memory would be three long.
    means, stds = (
        torch.empty_like(crops[:1], dtype=torch.float32).copy_(
            torch.tensor(values).view(3, 1, 1)
        )
        for values in (mean, std)
    )
    return crops.float().div_(255).sub_(means).div_(stds)


def check_image(image: np.ndarray) -> None:
    """Raise a ValueError unless this is (H, W, 3) uint8."""
    if (
        not isinstance(image, np.ndarray)
        or image.dtype != np.uint8
        or image.ndim != 3
        or image.shape[2] != 3
    ):
        form = (
            f'{image.dtype} {tuple(image.shape)}'
            if isinstance(image, np.ndarray)
            else type(image).__name__
        )
        raise ValueError(
            f'image must be a uint8 array (H, W, 3) in RGB order, got {form}'
        )


def check_bboxes(bboxes: Boxes, height: int, width: int) -> Tensor:
    """Return boxes as float64 (P, 4) if each of them meets the image.

    Raises:
        ValueError: With the first box that does not.
    """
    bboxes = torch.as_tensor(bboxes, dtype=torch.float64).cpu()
    if bboxes.ndim != 2 or bboxes.shape[1] != 4:
        raise ValueError(
            f'bboxes must have the shape (P, 4), got {tuple(bboxes.shape)}'
        )
    x1, y1, x2, y2 = bboxes.unbind(dim=1)
    # NaN fails each comparison
    good = (
        (x1 <= x2)
        & (y1 <= y2)
        & (x2 >= 0)
        & (y2 >= 0)
        & (x1 <= width)
        & (y1 <= height)
        & bboxes.isfinite().all(dim=1)
    )
    if not good.all():
        row = int((~good).nonzero()[0])
        raise ValueError(
            f'bboxes must be x1 <= x2, y1 <= y2 within the image of width '
            f'{width} and height {height}, got {bboxes[row].tolist()} in row '
            f'{row}; are they boxes of another image?'
        )
    return bboxes


def _cut(image: Tensor, x1: int, y1: int, x2: int, y2: int) -> Tensor:
    """Return pixels (3, y2 - y1, x2 - x1), black outside the image."""
    height, width = image.shape[1:]
    left, top = max(x1, 0), max(y1, 0)
    right, bottom = min(x2, width), min(y2, height)
    if (left, top, right, bottom) == (x1, y1, x2, y2):
        return image[:, y1:y2, x1:x2]
    crop = image.new_zeros(y2 - y1, x2 - x1, 3).permute(2, 0, 1)
    if left < right and top < bottom:
        crop[:, top - y1 : bottom - y1, left - x1 : right - x1] = image[
            :, top:bottom, left:right
        ]
    return crop


def _cut_fast(image: Tensor, window: Sequence[int], side: int) -> Tensor:
    """Resize the shorter side to n, keep the middle: uint8 (3, n, n)."""
    crop = _drop_ends(_cut(image, *window))
    height, width = crop.shape[1:]
    shorter = min(height, width)
    new_hw = [side * height // shorter, side * width // shorter]
    crop = TF.resize_image(
        crop, new_hw, interpolation=InterpolationMode.BICUBIC, antialias=True
    )
    top, left = (round((length - side) / 2) for length in new_hw)
    return crop[:, top : top + side, left : left + side]


def _drop_ends(crop: Tensor) -> Tensor:
    """Cut off what only shows in the ends of a long crop, which are not kept.

    Both ends lose the same multiple of the shorter side, so that the rest is
    sampled at the same places; what a bicubic kernel reaches stays.
    """
    shorter, longer = sorted(crop.shape[1:])
    spare = longer - shorter - 2 * max(shorter, 4)
    end = max(spare, 0) // (2 * shorter) * shorter
    dim = 1 if crop.shape[1] == longer else 2
    return crop.narrow(dim, end, longer - 2 * end)


def _cut_as_clip(
    picture: Image.Image, window: Sequence[int], side: int
) -> Tensor:
    """Return a crop (3, n, n) by the transforms that openai-clip uses."""
    box = cast(Tuple[int, int, int, int], tuple(window))
    crop = PILF.resize(picture.crop(box), side, InterpolationMode.BICUBIC)
    return PILF.pil_to_tensor(PILF.center_crop(crop, side))
