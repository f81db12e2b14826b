"""Crops with captions, to train the miniature CLIP on."""
import json
from pathlib import Path
from typing import List

import numpy as np
import torch
from mmdet.registry import DATASETS
from mmengine.dataset import BaseDataset

from ovd.artifacts.files import require_file

MAKE_CROPS = 'python tools/build_miniature.py'


@DATASETS.register_module()
class CaptionedCrops(BaseDataset):
    """Crops (3, n, n) uint8 RGB and the label of their caption's name.

    The sentence round the name is chosen by the model, anew at each use.
    ``metainfo['classes']`` are the names, background first.

    Args:
        ann_file (str): ``names.json``, the names in the order of labels.
        crops_file (str): ``.npy`` (N, n, n, 3) uint8; it stays on disk and
            is read crop by crop. Its labels (N,) lie beside it, in
            ``<name>_labels.npy``. Both are relative to ``data_root``.
        kwargs: Of mmengine's ``BaseDataset``.
    """

    def __init__(self, ann_file: str, crops_file: str, **kwargs) -> None:
        self.crops_file = crops_file
        super().__init__(ann_file=ann_file, **kwargs)

    def load_data_list(self) -> List[dict]:
        """Read names and labels; open the crops.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If labels and crops don't fit together.
        """
        names_file = require_file(self.ann_file, 'names of crops', MAKE_CROPS)
        self._metainfo['classes'] = tuple(
            json.loads(names_file.read_text(encoding='utf-8')))
        crops_file = require_file(
            Path(self.data_root, self.crops_file), 'crops', MAKE_CROPS)
        labels_file = require_file(
            crops_file.with_name(f'{crops_file.stem}_labels.npy'),
            'labels of crops', MAKE_CROPS)
        labels = np.load(labels_file, allow_pickle=False)
        self._crops = np.load(crops_file, mmap_mode='r', allow_pickle=False)
        if len(labels) != len(self._crops):
            raise ValueError(
                f'{labels_file} has {len(labels)} labels for '
                f'{len(self._crops)} crops; remove both and run {MAKE_CROPS}')
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(
                self._metainfo['classes']):
            raise ValueError(
                f'{labels_file} has labels {labels.min()} to {labels.max()}, '
                f'{names_file} has {len(self._metainfo["classes"])} names')
        return [dict(labels=int(label)) for label in labels]

    def prepare_data(self, idx: int) -> dict:
        """Return ``inputs`` (3, n, n) uint8 and ``labels``, an integer."""
        crop = torch.from_numpy(np.array(self._crops[idx]))
        return dict(
            inputs=crop.permute(2, 0, 1),
            labels=self.get_data_info(idx)['labels'])
