"""A dataset whose randomness hangs on the sample, not on who loads it."""

from typing import Any, Optional

import cv2
import numpy as np
from mmdet.registry import DATASETS

from .broken_images import BrokenImageError, broken, is_cut_off, record_broken
from .resumable_batch_sampler import SeededIndex
from .seeding import SAMPLES, seed_all
from .wrapped_dataset import WrappedDataset

# What loading and transforming a file that is no whole image raises.
BROKEN = (AssertionError, OSError, ValueError, cv2.error)
MAX_BROKEN_IN_A_ROW = 100


@DATASETS.register_module()
class SeededDataset(WrappedDataset):
    """Seed everything before each sample, and name images that are broken.

    The augmentation of a sample depends on the seed and on the sample's
    place in the training: not on the number of workers, on what they loaded
    before, nor on whether the run was interrupted. Where broken images are
    recorded, the sample behind one takes its place.
    """

    def __getitem__(self, index: int) -> Any:
        """Return the sample.

        Raises:
            BrokenImageError: If its image can't be read and ``broken_file``
                is None. Errors that have other reasons are left as they are.
            ValueError: If none of many in a row can be read.
        """
        if isinstance(index, SeededIndex):
            seed_all(SAMPLES, *index.position)
        index = int(index)
        for _ in range(MAX_BROKEN_IN_A_ROW):
            try:
                return self.dataset[index]
            except BROKEN as error:
                found = self._judge(index, error)
                if found is None:
                    raise  # it is not the image's fault
                if self.broken_file is None:
                    raise found from error
            record_broken(self.broken_file, found.path, found.reason)
            index = (index + 1) % len(self)
        assert found is not None
        raise ValueError(
            f'{MAX_BROKEN_IN_A_ROW} images in a row cannot be used, the last '
            f'is {found.path}: {found.reason}\nsee {self.broken_file}'
        )

    def _judge(
        self, index: int, error: Exception
    ) -> Optional[BrokenImageError]:
        """Return what is wrong with the image of a sample, if anything is.

        Not every dataset loads by :class:`LoadWholeImage`.
        """
        if isinstance(error, BrokenImageError):
            return error
        info = (
            self.dataset.get_data_info(index)
            if hasattr(self.dataset, 'get_data_info')
            else {}
        )
        path = info.get('img_path')
        if path is None or _is_readable(path):
            return None
        return broken(path, str(error))


def _is_readable(path: str) -> bool:
    """Whether a file is a whole image."""
    try:
        content = np.fromfile(path, np.uint8)
        return (
            content.size > 0
            and not is_cut_off(content.tobytes())
            and cv2.imdecode(content, cv2.IMREAD_UNCHANGED) is not None
        )
    except (OSError, cv2.error):
        return False
