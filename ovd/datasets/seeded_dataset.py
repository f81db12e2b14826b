"""A dataset whose randomness hangs on the sample, not on who loads it."""
import json
import os
from typing import Any, Optional

import cv2
import numpy as np
from mmdet.registry import DATASETS
from torch.utils.data import Dataset

from .resumable_batch_sampler import SeededIndex
from .seeding import SAMPLES, seed_all

# What loading and transforming a file that is no whole image raises.
BROKEN = (AssertionError, OSError, ValueError, cv2.error)
MAX_BROKEN_IN_A_ROW = 100


@DATASETS.register_module()
class SeededDataset(Dataset):
    """Seed everything before each sample, and name images that are broken.

    The augmentation of a sample depends on the seed and on the sample's
    place in the training: not on the number of workers, on what they loaded
    before, nor on whether the run was interrupted.

    Everything but the samples is that of the dataset inside.

    Args:
        dataset (dict | Dataset): The dataset inside.
        broken_file (str, optional): Go on without images that can't be used,
            and add a line of JSON for each to this file; the sample behind
            it takes its place. Defaults to None: the first one is an error.
    """

    def __init__(self,
                 dataset: Any,
                 broken_file: Optional[str] = None) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(
            dataset, dict) else dataset
        self.broken_file = broken_file

    def __getattr__(self, name: str) -> Any:
        if name == 'dataset':  # not there yet, while it is unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)

    @property
    def pipeline(self) -> Any:
        """That of the dataset inside, which hooks of the host exchange."""
        return self.dataset.pipeline

    @pipeline.setter
    def pipeline(self, pipeline: Any) -> None:
        self.dataset.pipeline = pipeline

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        """Return the sample.

        Raises:
            ValueError: If its image can't be read and ``broken_file`` is
                None, or none of many in a row can. Errors that have other
                reasons are left as they are.
        """
        if isinstance(index, SeededIndex):
            seed_all(SAMPLES, *index.position)
        index = int(index)
        for _ in range(MAX_BROKEN_IN_A_ROW):
            try:
                return self.dataset[index]
            except BROKEN as error:
                path, reason = self._path(index), str(error)
                if path is None or _is_readable(path):
                    raise  # it is not the image's fault
                if self.broken_file is None:
                    raise ValueError(
                        f'{path} cannot be used: {reason}\n'
                        'mend or replace it, or go on without such images '
                        'by --skip-broken') from error
            self._record(path, reason)
            index = (index + 1) % len(self)
        raise ValueError(
            f'{MAX_BROKEN_IN_A_ROW} images in a row cannot be used, the last '
            f'is {path}: {reason}\nsee {self.broken_file}')

    def _path(self, index: int) -> Optional[str]:
        """Return the file of a sample, if it has one."""
        info = self.dataset.get_data_info(index) if hasattr(
            self.dataset, 'get_data_info') else {}
        return info.get('img_path')

    def _record(self, path: str, reason: str) -> None:
        """Add a line in one write: other workers add theirs."""
        line = json.dumps(dict(image=path, reason=reason)) + '\n'
        os.makedirs(os.path.dirname(self.broken_file) or '.', exist_ok=True)
        with open(self.broken_file, 'a', encoding='utf-8') as file:
            file.write(line)


def _is_readable(path: str) -> bool:
    """Whether a file is an image."""
    try:
        content = np.fromfile(path, np.uint8)
        return content.size > 0 and cv2.imdecode(
            content, cv2.IMREAD_UNCHANGED) is not None
    except (OSError, cv2.error):
        return False
