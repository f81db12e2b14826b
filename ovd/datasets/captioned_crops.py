"""Crops with captions, to train the miniature CLIP on."""

import json
from pathlib import Path
from typing import Any, List, Optional

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
    ``metainfo['classes']`` are the names, background first; with a split they
    are those that it calls base or novel, which ``metainfo`` has, too.

    Args:
        ann_file (str): ``names.json``, the names in the order of labels.
        crops_file (str): ``.npy`` (N, n, n, 3) uint8; it stays on disk and
            is read crop by crop. Its labels (N,) lie beside it, in
            ``<name>_labels.npy``. Both are relative to ``data_root``.
        split_file (str, optional): JSON with ``base`` and ``novel``, likewise
            relative: only crops of these names. Defaults to all crops.
        kwargs: Of mmengine's ``BaseDataset``.
    """

    def __init__(
        self,
        ann_file: str,
        crops_file: str,
        split_file: Optional[str] = None,
        **kwargs: Any,
    ) -> None:
        self.crops_file = crops_file
        self.split_file = split_file
        super().__init__(ann_file=ann_file, **kwargs)

    def load_data_list(self) -> List[dict]:
        """Read names and labels; open the crops.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If labels and crops don't fit together.
        """
        names_file = require_file(self.ann_file, 'names of crops', MAKE_CROPS)
        self._metainfo['classes'] = tuple(
            json.loads(names_file.read_text(encoding='utf-8'))
        )
        crops_file = require_file(
            Path(self.data_root, self.crops_file), 'crops', MAKE_CROPS
        )
        labels_file = require_file(
            crops_file.with_name(f'{crops_file.stem}_labels.npy'),
            'labels of crops',
            MAKE_CROPS,
        )
        labels = _load_array(labels_file)
        self._crops = _load_array(crops_file, mmap_mode='r')
        if len(labels) != len(self._crops):
            raise ValueError(
                f'{labels_file} has {len(labels)} labels for '
                f'{len(self._crops)} crops; remove both and run {MAKE_CROPS}'
            )
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(
            self._metainfo['classes']
        ):
            raise ValueError(
                f'{labels_file} has labels {labels.min()} to {labels.max()}, '
                f'{names_file} has {len(self._metainfo["classes"])} names'
            )
        infos = [
            dict(crop=i, labels=int(label)) for i, label in enumerate(labels)
        ]
        if self.split_file is None:
            return infos
        return self._in_split(infos, Path(self.data_root, self.split_file))

    def _in_split(self, infos: List[dict], path: Path) -> List[dict]:
        """Return the crops of the names in the split, labelled by these."""
        require_file(path, 'split file', MAKE_CROPS)
        split = json.loads(path.read_text(encoding='utf-8'))
        named = {*split['base'], *split['novel']}
        names = self._metainfo['classes']
        classes = tuple(name for name in names if name in named)
        self._metainfo.update(
            classes=classes,
            base_classes=tuple(n for n in classes if n in split['base']),
            novel_classes=tuple(n for n in classes if n in split['novel']),
        )
        return [
            dict(info, labels=classes.index(names[info['labels']]))
            for info in infos
            if names[info['labels']] in named
        ]

    def prepare_data(self, idx: int) -> dict:
        """Return ``inputs`` (3, n, n) uint8 and ``labels``, an integer."""
        info = self.get_data_info(idx)
        crop = torch.from_numpy(np.array(self._crops[info['crop']]))
        return dict(inputs=crop.permute(2, 0, 1), labels=info['labels'])


def _load_array(path: Path, **kwargs: Any) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False, **kwargs)
    except (EOFError, ValueError) as error:
        raise ValueError(
            f'{path} is damaged, or no array of numbers ({error}); remove it '
            f'and run {MAKE_CROPS}'
        ) from error
