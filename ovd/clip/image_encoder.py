"""Boxes of images to CLIP embeddings, in batches across images.

Shapes: P boxes of an image, S crop scales, U different crops of it, B crops
of a batch, n side of CLIP's input in pixels, D embedding size.
"""

from collections import deque
from typing import Deque, Iterable, Iterator, List, Optional, Sequence, Tuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .crops import (
    Boxes,
    check_bboxes,
    check_image,
    cut_crops,
    normalize_crops,
    plan_crops,
)
from .loading import LoadedCLIP


def embed_boxes(
    clip: LoadedCLIP,
    image: np.ndarray,
    bboxes: Boxes,
    crop_scales: Sequence[float] = (1.0, 1.5),
    batch_size: int = 256,
    crop_mode: str = 'fast',
) -> Tensor:
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
        crop_mode (str): See :func:`ovd.clip.crops.cut_crops`.

    Returns:
        Tensor: (P, D) float32 of unit norm, on the CPU.

    Raises:
        ValueError: If the image or a box is not of that form, or a box lies
            outside the image.
    """
    return embed_boxes_of_images(
        clip, [image], [bboxes], crop_scales, batch_size, crop_mode
    )[0]


def embed_boxes_of_images(
    clip: LoadedCLIP,
    images: Iterable[np.ndarray],
    bboxes_list: Sequence[Boxes],
    crop_scales: Sequence[float] = (1.0, 1.5),
    batch_size: int = 256,
    crop_mode: str = 'fast',
) -> List[Tensor]:
    """Return :func:`embed_boxes` of many images, in batches across images.

    Args:
        clip (LoadedCLIP): The CLIP to use.
        images (Iterable[ndarray]): (H, W, 3) uint8 RGB each; may be a
            generator, one image at a time is held.
        bboxes_list (Sequence[ndarray | Tensor]): (P_i, 4) for each image.
        crop_scales (Sequence[float]): See :func:`embed_boxes`.
        batch_size (int): Crops at once. Defaults to 256.
        crop_mode (str): See :func:`ovd.clip.crops.cut_crops`.

    Returns:
        list[Tensor]: (P_i, D) float32 of unit norm each, on the CPU.
    """
    plans: Deque[Tensor] = deque()

    def crops() -> Iterator[Tensor]:
        for image, bboxes in zip(images, bboxes_list, strict=True):
            check_image(image)
            plan = plan_crops(
                check_bboxes(bboxes, *image.shape[:2]), crop_scales
            )
            plans.append(plan.index)
            yield cut_crops(image, plan.windows, clip.image_size, crop_mode)

    return [
        combine(features, plans.popleft())
        for features in encode_crops(clip, crops(), batch_size)
    ]


def combine(features: Tensor, index: Tensor) -> Tensor:
    """Add the features of each box's crops and normalise the sums.

    Args:
        features (Tensor): (U, D) float32, as CLIP gives them.
        index (Tensor): (S, P) int64, see :class:`ovd.clip.crops.CropPlan`.

    Returns:
        Tensor: (P, D) float32 of unit norm.
    """
    return F.normalize(features[index].sum(dim=0), dim=-1)


@torch.no_grad()
def encode_crops(
    clip: LoadedCLIP, chunks: Iterable[Tensor], batch_size: int
) -> Iterator[Tensor]:
    """Yield the features of each chunk of crops, in order.

    Batches go across chunks: only the last one may be smaller. While a GPU
    works on a batch the next one is gathered; so features come a batch late.

    Args:
        clip (LoadedCLIP): The CLIP to use.
        chunks (Iterable[Tensor]): uint8 (U_i, 3, n, n) RGB each, taken when
            needed; U_i may be 0.
        batch_size (int): B.

    Yields:
        Tensor: (U_i, D) float32, on the CPU, not normalised.

    Raises:
        ValueError: If ``batch_size`` is not positive.
    """
    if batch_size < 1:
        raise ValueError(f'batch_size must be positive, got {batch_size}')
    sizes: Deque[int] = deque()
    done = _Features(clip.embed_dims)
    for batch in _regroup(chunks, sizes, batch_size):
        features = clip.encode_image(
            normalize_crops(
                batch.to(clip.device), clip.image_mean, clip.image_std
            )
        )
        while sizes and done.ready >= sizes[0]:
            yield done.take(sizes.popleft())
        done.add(features)
    for size in sizes:
        yield done.take(size)


def _regroup(
    chunks: Iterable[Tensor], sizes: Deque[int], batch_size: int
) -> Iterator[Tensor]:
    """Yield the crops of all chunks in batches; note the chunks' sizes."""
    buffer: Optional[Tensor] = None
    filled = 0
    for chunk in chunks:
        sizes.append(len(chunk))
        if buffer is None:
            buffer = torch.empty(
                (batch_size, *chunk.shape[1:]),
                dtype=torch.uint8,
                memory_format=torch.channels_last,
            )
        start = 0
        while start < len(chunk):
            number = min(len(chunk) - start, batch_size - filled)
            buffer[filled : filled + number] = chunk[start : start + number]
            start, filled = start + number, filled + number
            if filled == batch_size:
                yield buffer
                filled = 0
    if buffer is not None and filled:
        yield buffer[:filled]


class _Features:
    """Features in order, on their way from the device to the CPU."""

    def __init__(self, embed_dims: int) -> None:
        self._rows = torch.empty(0, embed_dims)
        self._coming: Deque[Tuple[Tensor, Optional[torch.cuda.Event]]] = (
            deque()
        )

    @property
    def ready(self) -> int:
        """How many rows :meth:`take` can give."""
        return len(self._rows) + sum(len(rows) for rows, _ in self._coming)

    def add(self, features: Tensor) -> None:
        """Start to fetch (B, D) from where they are."""
        if features.device.type != 'cuda':
            self._coming.append((features, None))
            return
        rows = torch.empty(
            features.shape, dtype=features.dtype, pin_memory=True
        )
        rows.copy_(features, non_blocking=True)
        event = torch.cuda.Event()
        # Of its device, which need not be the current one
        event.record(torch.cuda.current_stream(features.device))
        self._coming.append((rows, event))

    def take(self, number: int) -> Tensor:
        """Return the next rows; wait for those that are on their way."""
        while len(self._rows) < number:
            rows, event = self._coming.popleft()
            if event is not None:
                event.synchronize()
            self._rows = torch.cat([self._rows, rows])
        rows, self._rows = self._rows.tensor_split([number])
        return rows
