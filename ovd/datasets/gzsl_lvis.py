"""LVIS datasets whose rare classes are novel."""

from typing import Sequence

from mmdet.datasets import LVISV05Dataset, LVISV1Dataset
from mmdet.registry import DATASETS

from .gzsl_classes import GZSLClasses
from .gzsl_splits import Category

TOOL = 'python tools/build_zsl_dataset.py configs/_base_/datasets/'


class _GZSLLVIS(GZSLClasses):
    """Val files of LVIS are evaluated as they are, without a split."""

    def _split_of_whole_file(self, categories: Sequence[Category]) -> dict:
        if any(c.frequency not in ('r', 'c', 'f') for c in categories):
            return super()._split_of_whole_file(categories)
        return dict(
            base=[c.name for c in categories if c.frequency != 'r'],
            novel=[c.name for c in categories if c.frequency == 'r'],
        )


@DATASETS.register_module()
class GZSLLVISV1Dataset(_GZSLLVIS, LVISV1Dataset):
    """LVIS v1, with images from both folders of COCO 2017."""

    SPLITTER = f'{TOOL}lvis_v1_detection.py --split 866_337'


@DATASETS.register_module()
class GZSLLVISV05Dataset(_GZSLLVIS, LVISV05Dataset):
    """LVIS v0.5, whose files name the images as COCO 2014 does."""

    SPLITTER = f'{TOOL}lvis_v0.5_instance.py --split 776_454'
