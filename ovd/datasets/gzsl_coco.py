"""COCO-format datasets whose classes are base and novel ones."""
from typing import Sequence

from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmengine.fileio import get_local_path

from ovd.suggest import did_you_mean

from .gzsl_split import read_header


@DATASETS.register_module()
class GZSLCocoDataset(CocoDataset):
    """A split annotation file, with class names taken from the file itself.

    ``metainfo`` has ``classes`` (base and novel names in the order of the
    file's categories, which is the order of the labels), ``base_classes``,
    ``novel_classes`` and ``class_groups`` (group -> names). Categories that
    are neither base nor novel have no label. All of it is there even with
    ``lazy_init=True``.

    Args:
        *args: As for :class:`mmdet.datasets.CocoDataset`.
        lazy_init (bool): Leave the annotations for later. Defaults to False.
        **kwargs: As for the host. A ``metainfo`` with ``classes`` is compared
            with the file, it never changes the labels.

    Raises:
        FileNotFoundError: If the annotation file does not exist.
        ValueError: If it is not split, ``metainfo`` disagrees with it, or a
            val file is opened for training.
    """

    METAINFO: dict = {}

    def __init__(self, *args, lazy_init: bool = False, **kwargs) -> None:
        super().__init__(*args, lazy_init=True, **kwargs)
        with get_local_path(
                self.ann_file, backend_args=self.backend_args) as path:
            gzsl, categories = read_header(path)
        named = {*gzsl['base'], *gzsl['novel']}
        classes = tuple(c.name for c in categories if c.name in named)
        if 'classes' in self._metainfo:
            self._check_classes(self._metainfo['classes'], classes)
        if gzsl['subset'] == 'val' and not self.test_mode:
            raise ValueError(
                f'{self.ann_file} has boxes of novel classes, which training '
                'must not see; for evaluation set test_mode=True')
        self._metainfo.update(
            classes=classes,
            base_classes=tuple(gzsl['base']),
            novel_classes=tuple(gzsl['novel']),
            class_groups={
                name: tuple(group)
                for name, group in gzsl['groups'].items()
            })
        if not lazy_init:
            self.full_init()

    def _check_classes(self, given: Sequence[str],
                       classes: Sequence[str]) -> None:
        """Raise unless the config names the classes of the file, in order."""
        unknown = [
            f'"{name}"{did_you_mean(name, classes)}'
            for name in given if name not in set(classes)
        ]
        absent = [f'"{name}"' for name in classes if name not in set(given)]
        if unknown or absent:
            raise ValueError(
                f'metainfo classes disagree with {self.ann_file}'
                + (f'\nthe file lacks: {", ".join(unknown)}'
                   if unknown else '')
                + (f'\nmetainfo lacks: {", ".join(absent)}' if absent else ''))
        if tuple(given) != tuple(classes):
            raise ValueError(
                'metainfo classes are in another order than the categories '
                f'of {self.ann_file}, which gives the labels; leave '
                'metainfo out')
