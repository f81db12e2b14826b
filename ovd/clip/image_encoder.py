"""Boxes of images to CLIP embeddings: crop, resize, encode.

Shapes: P boxes of an image, S crop scales, N crops, B crops of a batch,
n side of CLIP's input in pixels, D embedding size.
"""
from typing import Iterable, Iterator, List, Sequence, Union

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as TF

from .loading import CLIP_MEAN, CLIP_STD, LoadedCLIP

Boxes = Union[np.ndarray, Tensor]


def embed_boxes(clip: LoadedCLIP,
                image: np.ndarray,
                bboxes: Boxes,
                crop_scales: Sequence[float] = (1.0, 1.5),
                batch_size: int = 256) -> Tensor:
    """Return the image embeddings (P, D) of boxes of one image.

    The features of a box's crops at all scales are added as CLIP gives them
    and their sum is normalised once (ViLD, as DetPro codes it).

    Args:
        clip (LoadedCLIP): The CLIP to use.
        image (ndarray): (H, W, 3) uint8, RGB.
        bboxes (ndarray | Tensor): (P, 4) xyxy in pixels of ``image``; P may
            be 0.
        crop_scales (Sequence[float]): Side of a crop as a multiple of the
            box's, about the same centre. Defaults to ``(1.0, 1.5)``.
        batch_size (int): Crops at once. Defaults to 256.

    Returns:
        Tensor: (P, D) float32 of unit norm, on the CPU.

    Raises:
        ValueError: If the image or a box is not of that form, or a box lies
            outside the image.
    """
    return embed_boxes_of_images(clip, [image], [bboxes], crop_scales,
                                 batch_size)[0]


@torch.no_grad()
def embed_boxes_of_images(clip: LoadedCLIP,
                          images: Iterable[np.ndarray],
                          bboxes_list: Sequence[Boxes],
                          crop_scales: Sequence[float] = (1.0, 1.5),
                          batch_size: int = 256) -> List[Tensor]:
    """Return :func:`embed_boxes` of many images, in batches across images.

    Args:
        clip (LoadedCLIP): The CLIP to use.
        images (Iterable[ndarray]): (H, W, 3) uint8 RGB each; may be a
            generator, one image at a time is held.
        bboxes_list (Sequence[ndarray | Tensor]): (P_i, 4) for each image.
        crop_scales (Sequence[float]): See :func:`embed_boxes`.
        batch_size (int): Crops at once. Defaults to 256.

    Returns:
        list[Tensor]: (P_i, D) float32 of unit norm each, on the CPU.
    """
    if not crop_scales or min(crop_scales) <= 0:
        raise ValueError(
            f'crop_scales must be positive numbers, got {crop_scales}')
    if batch_size < 1:
        raise ValueError(f'batch_size must be positive, got {batch_size}')
    side = clip.image_size
    # Row of a crop in the output: crops of one box share it.
    counts = [len(bboxes) for bboxes in bboxes_list]
    rows = torch.arange(sum(counts)).repeat_interleave(len(crop_scales))
    sums = torch.zeros(sum(counts), clip.embed_dims)
    crops = (crop for image, bboxes in zip(images, bboxes_list, strict=True)
             for crop in iter_crops(image, bboxes, crop_scales, side,
                                    clip.device))
    # Channels last in memory: convolutions on the CPU are faster so.
    buffer = torch.empty(
        (min(batch_size, max(len(rows), 1)), 3, side, side),
        dtype=torch.uint8,
        device=clip.device,
        memory_format=torch.channels_last)
    done = filled = 0
    for crop in crops:
        buffer[filled] = crop
        filled += 1
        if filled == len(buffer) or done + filled == len(rows):
            features = clip.encode_image(
                normalize_crops(buffer[:filled], clip.image_mean,
                                clip.image_std))
            sums.index_add_(0, rows[done:done + filled], features.cpu())
            done, filled = done + filled, 0
    return list(F.normalize(sums, dim=-1).split(counts))


def iter_crops(image: np.ndarray,
               bboxes: Boxes,
               crop_scales: Sequence[float] = (1.0, 1.5),
               side: int = 224,
               device: Union[str, torch.device] = 'cpu') -> Iterator[Tensor]:
    """Yield the crops of P boxes as CLIP's input, uint8 (3, n, n).

    A crop's shorter side is resized to n (bicubic, antialiased), then the
    middle of the longer side is kept, as openai-clip does; what lies outside
    the image is black. All scales of the first box come first.

    Args:
        image (ndarray): (H, W, 3) uint8, RGB.
        bboxes (ndarray | Tensor): (P, 4) xyxy in pixels of ``image``.
        crop_scales (Sequence[float]): See :func:`embed_boxes`.
        side (int): n in pixels. Defaults to 224.
        device (str | torch.device): Where to resize. Defaults to ``'cpu'``.

    Raises:
        ValueError: If the image or a box is not of the form, or a box lies
            outside the image.
    """
    image = _image_tensor(image)
    height, width = image.shape[1:]
    bboxes = _check_bboxes(bboxes, height, width)
    image = image.to(device)
    windows = torch.stack(
        [crop_windows(bboxes, scale) for scale in crop_scales], dim=1)
    for window in windows.flatten(0, 1).tolist():
        yield _resize(_cut(image, *window), side)


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
    return torch.cat([
        (top_left - grow - 0.001).floor(),
        (bottom_right + grow + 0.001).ceil(),
    ], dim=1).long()


def normalize_crops(crops: Tensor,
                    mean: Sequence[float] = CLIP_MEAN,
                    std: Sequence[float] = CLIP_STD) -> Tensor:
    """Map uint8 crops (B, 3, n, n) to float32 input of CLIP's image tower.

    Args:
        crops (Tensor): RGB.
        mean (Sequence[float]): Of RGB in [0, 1]. Defaults to openai-clip's.
        std (Sequence[float]): Likewise.
    """
    mean = torch.tensor(mean, device=crops.device).view(3, 1, 1)
    std = torch.tensor(std, device=crops.device).view(3, 1, 1)
    return crops.float().div_(255).sub_(mean).div_(std)


def _image_tensor(image: np.ndarray) -> Tensor:
    """Return (3, H, W) uint8, a view of a copy that is (H, W, 3) in memory."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 \
            or image.ndim != 3 or image.shape[2] != 3:
        form = f'{image.dtype} {tuple(image.shape)}' if isinstance(
            image, np.ndarray) else type(image).__name__
        raise ValueError(
            f'image must be a uint8 array (H, W, 3) in RGB order, got {form}')
    return torch.from_numpy(np.array(image, order='C')).permute(2, 0, 1)


def _check_bboxes(bboxes: Boxes, height: int, width: int) -> Tensor:
    """Return boxes as float64 (P, 4) if each of them meets the image."""
    bboxes = torch.as_tensor(bboxes, dtype=torch.float64).cpu()
    if bboxes.ndim != 2 or bboxes.shape[1] != 4:
        raise ValueError(
            f'bboxes must have the shape (P, 4), got {tuple(bboxes.shape)}')
    x1, y1, x2, y2 = bboxes.unbind(dim=1)
    # NaN fails each comparison
    good = (x1 <= x2) & (y1 <= y2) & (x2 >= 0) & (y2 >= 0) & (
        x1 <= width) & (y1 <= height) & bboxes.isfinite().all(dim=1)
    if not good.all():
        row = int((~good).nonzero()[0])
        raise ValueError(
            f'bboxes must be x1 <= x2, y1 <= y2 within the image of width '
            f'{width} and height {height}, got {bboxes[row].tolist()} in row '
            f'{row}; are they boxes of another image?')
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
        crop[:, top - y1:bottom - y1, left - x1:right - x1] = \
            image[:, top:bottom, left:right]
    return crop


def _resize(crop: Tensor, side: int) -> Tensor:
    """Resize the shorter side to n, keep the middle: uint8 (3, n, n)."""
    height, width = crop.shape[1:]
    shorter = min(height, width)
    new_hw = [side * height // shorter, side * width // shorter]
    crop = TF.resize_image(
        crop, new_hw, interpolation=InterpolationMode.BICUBIC, antialias=True)
    top, left = (round((length - side) / 2) for length in new_hw)
    return crop[:, top:top + side, left:left + side]
