"""Embedded regions to learn prompts from, grouped by IoU (DetPro).

Shapes: M regions that there are, K of them kept, B of a batch; G groups, C
base classes, D embedding size.
"""

import logging
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from mmdet.registry import DATASETS
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from mmengine.registry import FUNCTIONS
from torch import Tensor
from torch.utils.data import Dataset

from .detpro_regions import DetProRegions
from .gzsl_classes import listed
from .labelled_regions import LabelledRegions
from .store_regions import StoreRegions

Range = Tuple[float, float]
DETPRO_IOU_RANGES = (
    (0.5, 0.6),
    (0.6, 0.7),
    (0.7, 0.8),
    (0.8, 0.9),
    (0.9, 1.1),
)
BACKGROUND, NOVEL = -1, -2  # beside 0 to C - 1, the base classes
FROM_DETPRO = (
    '--cfg-options train_dataloader.dataset.store=None '
    '+train_dataloader.dataset.data_file=train_data.pth'
)


@DATASETS.register_module()
class RegionEmbeddings(Dataset):
    """What DetPro learns each of its prompts from (Du et al., CVPR 2022).

    A group has the regions of base classes whose IoU with their box is in its
    range, and background. Background are regions that hardly overlap a box;
    of those, a random part is drawn, once for all groups, where five runs of
    DetPro would draw five times: so embeddings are in memory once, K of them
    as float16. In a distributed run each process has them.

    Index i counts through the groups, background last in each. Give it to a
    ``GroupBatchSampler`` with ``collate_fn=dict(type='keep_batch')``.

    Args:
        dataset (dict): Config of the dataset of the images, a GZSL dataset in
            training mode. It has the boxes and the names.
        store (str, optional): Embedding store, made with ``ground_truth``.
        data_file (str, optional): In its place, DetPro's ``train_data.pth``,
            whose labels are those of the dataset.
        iou_ranges (Sequence[tuple]): G ranges [low, high). Defaults to the
            five of DetPro.
        neg_range (tuple): IoU [low, high) of background. Defaults to
            (0.1, 0.5).
        neg_fraction (float): Part of the background that is drawn. Defaults
            to 0.1.
        seed (int): Of that draw. Defaults to 0.
        lazy_init (bool): Leave reading to :meth:`full_init`. Defaults to
            False.

    Raises:
        FileNotFoundError: If a file or the store is missing.
        ValueError: If an option is out of its range, there is a region of a
            novel class, none of a range, or see :class:`StoreRegions` and
            :class:`DetProRegions`.
    """

    def __init__(
        self,
        dataset: Dict[str, Any],
        store: Optional[str] = None,
        data_file: Optional[str] = None,
        iou_ranges: Sequence[Range] = DETPRO_IOU_RANGES,
        neg_range: Range = (0.1, 0.5),
        neg_fraction: float = 0.1,
        seed: int = 0,
        lazy_init: bool = False,
    ) -> None:
        if (store is None) == (data_file is None):
            raise ValueError(
                'name either a store or a data_file, got '
                f'store={store!r}, data_file={data_file!r}; it takes '
                f"DetPro's training data by {FROM_DETPRO}"
            )
        for low, high in (*iou_ranges, neg_range):
            if not 0 < low < high:
                raise ValueError(
                    'a range of IoU must be low < high with low '
                    f'above 0, got ({low}, {high})'
                )
        if not iou_ranges:
            raise ValueError('iou_ranges must have a range, got none')
        if not 0 <= neg_fraction <= 1:
            raise ValueError(
                f'neg_fraction must be from 0 to 1, got {neg_fraction}'
            )
        self.dataset_cfg = dict(dataset)
        self.store, self.data_file = store, data_file
        self.iou_ranges = [tuple(item) for item in iou_ranges]
        self.neg_range, self.neg_fraction = tuple(neg_range), neg_fraction
        self.seed = seed
        self._fully_initialized = False
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Read the regions, unless that is done."""
        if self._fully_initialized:
            return
        # A file of DetPro needs the names alone.
        dataset = DATASETS.build(
            dict(self.dataset_cfg, lazy_init=self.store is None)
        )
        if 'novel_classes' not in dataset.metainfo:
            raise ValueError(
                f'{type(dataset).__name__} does not say which classes are '
                'novel: take GZSLCocoDataset or another GZSL dataset'
            )
        self.metainfo = dict(dataset.metainfo)
        self.ann_file = dataset.ann_file
        lows = [low for low, _ in (*self.iou_ranges, self.neg_range)]
        regions = self._read(dataset, min(lows))
        del dataset  # LVIS's annotations take gigabytes
        self.clip, self.embed_dims = regions.clip, regions.embed_dims
        self._take(regions, self._base_labels(regions))
        self._fully_initialized = True
        self._report(regions)

    def _read(self, dataset: BaseDataset, min_iou: float) -> LabelledRegions:
        """Return the regions of the store or of DetPro's file."""
        if self.store is None:
            assert self.data_file is not None  # one of them is given
            return DetProRegions(self.data_file, len(self.metainfo['classes']))
        try:
            return StoreRegions(self.store, dataset, min_iou)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{error}\nor learn from DetPro's training data: {FROM_DETPRO}"
            ) from error

    def _base_labels(self, regions: LabelledRegions) -> np.ndarray:
        """Return labels (M,) among the base classes.

        Raises:
            ValueError: If a region that counts is of a novel class.
        """
        mask = np.array(self.metainfo['novel_mask'], bool)
        base = np.where(mask, NOVEL, np.cumsum(~mask) - 1)
        # The last one is what -1 finds.
        labels = np.append(base, BACKGROUND)[regions.labels]
        novel = np.unique(regions.labels[labels == NOVEL])
        if len(novel):
            classes = self.metainfo['classes']
            raise ValueError(
                f'{self.data_file or self.ann_file} has boxes of novel '
                'classes, which training must not see: '
                f'{listed([classes[i] for i in novel], ())}'
            )
        return labels

    def _take(self, regions: LabelledRegions, labels: np.ndarray) -> None:
        """Choose the regions of each group; read their embeddings."""
        found = np.flatnonzero(_is_in(regions.ious, self.neg_range))
        count = int(len(found) * self.neg_fraction)
        drawn = np.random.default_rng(self.seed).choice(
            found, count, replace=False, shuffle=False
        )
        groups = [
            np.flatnonzero(_is_in(regions.ious, iou_range) & (labels >= 0))
            for iou_range in self.iou_ranges
        ]
        for (low, high), rows in zip(self.iou_ranges, groups):
            if not len(rows):
                raise ValueError(
                    f'no region of a base class has an IoU from {low} to '
                    f'{high}: take the range out of iou_ranges'
                )
        kept = np.unique(np.concatenate([*groups, drawn]))  # ascending
        self.embeddings = regions.gather(kept)
        self.num_negatives = count
        background = np.full(count, BACKGROUND)
        self._labels = [
            torch.from_numpy(np.append(labels[rows], background))
            for rows in groups
        ]
        self._rows = [
            torch.from_numpy(np.searchsorted(kept, np.append(rows, drawn)))
            for rows in groups
        ]
        self.weights = torch.stack(
            [
                inverse_frequencies(own, len(self.metainfo['base_classes']))
                for own in self._labels
            ]
        )
        self._ends = np.cumsum(self.group_sizes)

    @property
    def group_sizes(self) -> List[int]:
        """How many regions each group has, background included."""
        return [len(rows) for rows in self._rows]

    @property
    def group_seeds(self) -> List[List[int]]:
        """Numbers of each group, the same whichever others there are."""
        return [
            [round(1000 * end) for end in iou_range]
            for iou_range in self.iou_ranges
        ]

    def __len__(self) -> int:
        """Return how many regions all groups have together."""
        return sum(self.group_sizes)

    def __getitem__(self, index: int) -> Dict[str, Any]:
        """Return a batch of one, see :meth:`__getitems__`."""
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Dict[str, Any]:
        """Return a batch of regions of one group.

        Args:
            indices (Sequence[int]): B places in the dataset.

        Returns:
            dict: ``embeddings`` (B, D) float16 of unit norm; ``labels`` (B,)
            int64, places in the base classes, -1 for background; ``weights``
            (B,) float32; ``group``, an integer.

        Raises:
            ValueError: If they are of several groups.
        """
        which = np.searchsorted(self._ends, indices, side='right')
        group = int(which[0])
        if (which != group).any():
            raise ValueError(
                'a batch must be of one group: take GroupBatchSampler as '
                'batch_sampler of the dataloader'
            )
        places = torch.as_tensor(indices) - (
            self._ends[group] - self.group_sizes[group]
        )
        labels = self._labels[group][places]
        return dict(
            embeddings=self.embeddings[self._rows[group][places]],
            labels=labels,
            # Label -1 finds the last weight, that of background.
            weights=self.weights[group][labels],
            group=group,
        )

    def _report(self, regions: LabelledRegions) -> None:
        """Log how much there is to learn from."""
        sizes = ', '.join(
            f'{size - self.num_negatives:,} of IoU {low} to {high}'
            for (low, high), size in zip(self.iou_ranges, self.group_sizes)
        )
        megabytes = self.embeddings.nbytes / 1e6
        print_log(
            f'regions of {len(self.metainfo["base_classes"])} base classes: '
            f'{sizes}; {self.num_negatives:,} of background; their '
            f'embeddings take {megabytes:,.0f} MB in each process',
            'current',
        )
        if broken := getattr(regions, 'num_broken', 0):
            print_log(
                f'{broken} images have no regions, because they were broken '
                f'when {self.store} was made',
                'current',
                logging.WARNING,
            )


def inverse_frequencies(labels: Tensor, num_classes: int) -> Tensor:
    """Return the weights (C + 1,) of classes and, last, of background.

    With n_c of N regions a class has the frequency C n_c / N, and background
    2 n / N; the weight is one over it (DetPro). What does not occur gets 0.

    Args:
        labels (Tensor): (N,) int64, -1 for background.
        num_classes (int): C.
    """
    counts = torch.bincount(labels + 1, minlength=num_classes + 1).roll(-1)
    shares = torch.full((num_classes + 1,), float(num_classes))
    shares[-1] = 2
    weights = len(labels) / (shares * counts)
    return weights.where(counts > 0, torch.zeros(()))


def _is_in(ious: np.ndarray, iou_range: Sequence[float]) -> np.ndarray:
    low, high = iou_range
    return (low <= ious) & (ious < high)


@FUNCTIONS.register_module()
def keep_batch(batch: Dict[str, Any]) -> Dict[str, Any]:
    """Collate what is a batch already."""
    return batch
