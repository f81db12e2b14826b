"""What workers of an extraction do: decode an image and cut crops out of it.

Shapes: U crops of a task, n side of CLIP's input in pixels.
"""

from dataclasses import dataclass
from typing import Dict, Optional, Tuple, Union

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from torch import Tensor
from torch.utils.data import Dataset

from ovd.clip.crops import cut_crops

from .broken_images import UNREADABLE, describe_error


@dataclass
class CropTask:
    """Some crops of an image; those of a large one are several tasks.

    Args:
        image_id (int): Of the image.
        index (int): Its place in the dataset.
        size_hw (tuple[int]): Height and width that it should have.
        windows (Tensor): (U, 4), see :func:`ovd.clip.crops.cut_crops`.
        boxes (dict, optional): Of the image's last task: what was selected.
        crop_index (Tensor, optional): Likewise, see
            :class:`ovd.clip.crops.CropPlan`.
        broken (str): Why nothing can be cut, if so.
        ends_image (bool): Whether it is the image's last task.
        ends_shard (bool): Whether it is the last task of a shard.
    """

    image_id: int
    index: int
    size_hw: Tuple[int, int]
    windows: Tensor
    boxes: Optional[Dict[str, np.ndarray]] = None
    crop_index: Optional[Tensor] = None
    broken: str = ''
    ends_image: bool = False
    ends_shard: bool = False


class CropDataset(Dataset):
    """Look up crops by :class:`CropTask`.

    Args:
        dataset (BaseDataset): In test mode; its pipeline gives ``img`` (H, W,
            3) uint8 BGR in its original size.
        side (int): n.
        crop_mode (str): See :func:`ovd.clip.crops.cut_crops`.
    """

    def __init__(
        self, dataset: BaseDataset, side: int, crop_mode: str
    ) -> None:
        self.dataset = dataset
        self.side = side
        self.crop_mode = crop_mode
        self._last: Tuple[Optional[int], Union[np.ndarray, str]] = (None, '')

    def __getitem__(self, task: CropTask) -> Tuple[CropTask, Tensor]:
        """Return the task and its crops, uint8 (U, 3, n, n).

        If the image can't be read there are no crops, and ``broken`` of the
        task says why.
        """
        image: Union[np.ndarray, str] = task.broken
        if len(task.windows) and not task.broken:
            image = self._load(task)
        if isinstance(image, str):
            task.broken = image
            return task, torch.empty(
                0, 3, self.side, self.side, dtype=torch.uint8
            )
        return task, cut_crops(image, task.windows, self.side, self.crop_mode)

    def _load(self, task: CropTask) -> Union[np.ndarray, str]:
        """Return the image (H, W, 3) RGB, or why there is none.

        The last one is kept: the next task may be about it too.
        """
        if self._last[0] != task.index:
            try:
                self._last = task.index, self._read(task)
            except UNREADABLE as error:
                self._last = task.index, describe_error(error)
        return self._last[1]

    def _read(self, task: CropTask) -> np.ndarray:
        results = self.dataset[task.index]
        if results['img_id'] != task.image_id:
            raise RuntimeError(
                f'the dataset gives image {results["img_id"]} for '
                f'{task.image_id}; it needs test_mode=True'
            )
        image = results['img']
        for what, size in (
            ('the pipeline gives', image.shape[:2]),
            ('the file has', results['ori_shape'][:2]),
        ):
            if tuple(size) != task.size_hw:
                raise ValueError(
                    f'{what} {size[1]} x {size[0]} pixels, the annotation '
                    f'file says {task.size_hw[1]} x {task.size_hw[0]}'
                )
        return np.ascontiguousarray(image[..., ::-1])
