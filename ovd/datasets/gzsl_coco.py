"""COCO-format datasets whose classes are base and novel ones."""

from mmdet.datasets import (
    CocoDataset,
    Objects365V1Dataset,
    Objects365V2Dataset,
)
from mmdet.registry import DATASETS

from .gzsl_classes import GZSLClasses
from .gzsl_splits import Category


@DATASETS.register_module()
class GZSLCocoDataset(GZSLClasses, CocoDataset):
    """COCO, or any file in its format; see :class:`GZSLClasses`."""


@DATASETS.register_module()
class GZSLObjects365V1Dataset(GZSLClasses, Objects365V1Dataset):
    """Objects365 v1, with the names and the order of its own file."""

    @staticmethod
    def _in_label_order(categories: list[Category]) -> list[Category]:
        # The order in the files differs between train and val.
        return sorted(categories, key=lambda category: category.id)


@DATASETS.register_module()
class GZSLObjects365V2Dataset(GZSLClasses, Objects365V2Dataset):
    """Objects365 v2, with the names and the order of its own file."""
