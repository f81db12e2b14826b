"""Regions of the training data that DetPro's own tools write.

Shapes: M regions, D embedding size.
"""

import zipfile
from typing import Any, List

import numpy as np
import torch
from torch import Tensor

from ovd.artifacts.files import PathLike, require_file
from ovd.artifacts.torch_file import read_torch_file

from .labelled_regions import LabelledRegions, show_progress

WHAT = "DetPro's training data"
CHUNK = 4096  # regions that are copied at once


class DetProRegions(LabelledRegions):
    """Regions of DetPro's ``train_data.pth``.

    Args:
        path (PathLike): A tuple of features (M, D), labels (M,), -1 being
            the background, and IoUs (M,). Features stay on disk.
        num_classes (int): Of the dataset.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds anything else.
    """

    def __init__(self, path: PathLike, num_classes: int) -> None:
        path = require_file(path, WHAT)
        content = read_torch_file(path, WHAT, mmap=zipfile.is_zipfile(path))
        self._features, labels, ious = _check_parts(content, path)
        self.embed_dims = self._features.shape[1]
        self.labels = labels.numpy().astype(np.int64)
        self.ious = ious.numpy().astype(np.float32)
        lowest, highest = (
            self.labels.min(initial=-1),
            self.labels.max(initial=-1),
        )
        if lowest < -1 or highest >= num_classes:
            raise ValueError(
                f'{path} has labels from {lowest} to {highest}, expected -1 '
                f'for background and 0 to {num_classes - 1}, the classes of '
                'the dataset'
            )

    def gather(self, rows: np.ndarray) -> Tensor:
        """Return embeddings, reading some thousands at a time."""
        found = torch.empty(len(rows), self.embed_dims, dtype=torch.float16)
        starts = range(0, len(rows), CHUNK)
        for start in show_progress(starts, 'read embeddings'):
            chunk = torch.from_numpy(rows[start : start + CHUNK])
            found[start : start + CHUNK] = self._features[chunk]
        return found


def _check_parts(content: Any, path: PathLike) -> List[Tensor]:
    """Return features, labels and IoUs, if these are what a file holds."""
    parts = list(content) if isinstance(content, (tuple, list)) else [content]
    if len(parts) == 3 and all(isinstance(part, Tensor) for part in parts):
        features, labels, ious = parts
        if (
            features.ndim == 2
            and features.is_floating_point()
            and not labels.is_floating_point()
            and ious.is_floating_point()
            and labels.shape == ious.shape == features.shape[:1]
        ):
            return parts
    found = ', '.join(
        f'{part.dtype} {tuple(part.shape)}'
        if isinstance(part, Tensor)
        else type(part).__name__
        for part in parts[:4]
    )
    raise ValueError(
        f'{path} is no training data of DetPro: expected features (N, D), '
        f'integer labels (N,) and IoUs (N,), got {found}'
    )
