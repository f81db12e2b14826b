"""Base and novel classes of a dataset, taken by name from its own file."""

from collections import Counter
from typing import TYPE_CHECKING, Any, Iterable, Optional, Sequence

from mmengine.fileio import get_local_path

from ovd.spelling import canonical_spelling
from ovd.suggest import did_you_mean

from .gzsl_header import SPLITTER, load_header
from .gzsl_splits import Category

if TYPE_CHECKING:
    from mmdet.datasets import BaseDetDataset as _Host
else:
    _Host = object  # the host's dataset comes behind the mixin


def listed(names: Sequence[str], known: Iterable[str]) -> str:
    """Return the first ten of names that were not found, with near ones."""
    text = ', '.join(
        f'"{name}"{did_you_mean(name, known)}' for name in names[:10]
    )
    return text + (f', ... ({len(names)} names)' if len(names) > 10 else '')


class GZSLClasses(_Host):
    """Mixin, before a COCO or LVIS dataset of the host.

    ``metainfo`` has ``classes`` (base and novel names in the order of the
    labels, which is that of the file's categories), ``base_classes``,
    ``novel_classes``, ``novel_mask`` (which of ``classes`` are novel) and
    ``class_groups`` (group -> names). Categories that are neither base nor
    novel have no label. All of it is there even with ``lazy_init=True``.

    Args:
        *args: As for the host's dataset.
        lazy_init (bool): Leave the annotations for later. Defaults to False.
        **kwargs: As for the host. What ``metainfo`` says of classes is
            compared with the file and never changes the labels. Where a test
            file does not say which classes are novel, ``base_classes`` of
            ``metainfo`` does: ``()`` for a detector that was trained on none.

    Raises:
        FileNotFoundError: If the annotation file does not exist.
        ValueError: If nothing says which classes are novel, ``metainfo``
            disagrees with the file, or a file with boxes of novel classes is
            opened for training.
    """

    METAINFO: dict = {}
    SPLITTER = SPLITTER

    def __init__(
        self, *args: Any, lazy_init: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(*args, lazy_init=True, **kwargs)
        with get_local_path(
            self.ann_file, backend_args=self.backend_args
        ) as path:
            header = load_header(path)
        categories = self._in_label_order(header.categories)
        if not self.test_mode:
            self._check_no_leak(header.gzsl)
        split = header.gzsl or self._split_of_whole_file(categories)
        base, novel = set(split['base']), set(split['novel'])
        self._check_file(base | novel, [c.name for c in categories])
        named = [c for c in categories if c.name in base | novel]
        self._cat_ids = [category.id for category in named]
        classes = tuple(category.name for category in named)
        meta = dict(
            classes=classes,
            base_classes=tuple(n for n in classes if n in base),
            novel_classes=tuple(n for n in classes if n in novel),
        )
        for key, names in meta.items():
            if key in self._metainfo:
                self._check_names(key, self._metainfo[key], names)
        self._metainfo.update(
            meta,
            novel_mask=tuple(name in novel for name in classes),
            class_groups={
                name: tuple(group)
                for name, group in split.get('groups', {}).items()
            },
        )
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Load the annotations, and let go of all that read them."""
        super().full_init()
        # The host keeps an int per annotation here, for its filter, which is
        # done. They lie scattered over all the memory that the annotations
        # took: LVIS's training set would hold on to 4 GB in each process.
        self.__dict__.pop('cat_img_map', None)

    @property
    def cat_ids(self) -> list[int]:
        """Category ids in the order of the labels, as in ``metainfo``."""
        return self._cat_ids

    @cat_ids.setter
    def cat_ids(self, _: Sequence[int]) -> None:
        # The hosts set what they find: for LVIS that is every category, also
        # those that are neither base nor novel, and labels would shift.
        pass

    @staticmethod
    def _in_label_order(categories: list[Category]) -> list[Category]:
        """Return the categories in the order that gives the labels."""
        return categories

    def _check_file(self, named: set[str], names: Sequence[str]) -> None:
        """Raise unless the file's categories are what its names go by."""
        doubled = [name for name, n in Counter(names).items() if n > 1]
        if doubled:
            raise ValueError(
                f'{self.ann_file} has several categories called '
                f'{listed(doubled, ())}'
            )
        if missing := sorted(named - set(names)):
            raise ValueError(
                f'the `gzsl` block of {self.ann_file} has names that its '
                f'categories lack: {listed(missing, names)}'
            )

    def _check_no_leak(self, gzsl: Optional[dict]) -> None:
        """Raise unless this is the training part of a split."""
        if gzsl is None:
            raise ValueError(
                f'{self.ann_file} is not split (it has no `gzsl` block): it '
                'may have boxes of novel classes, which training must not '
                f'see\nmake a split file with: {self.SPLITTER}'
            )
        if gzsl['subset'] == 'val':
            raise ValueError(
                f'{self.ann_file} has boxes of novel classes, which training '
                'must not see; for evaluation set test_mode=True'
            )

    def _split_of_whole_file(self, categories: Sequence[Category]) -> dict:
        """Return base and novel names of a test file that is not split."""
        if 'base_classes' not in self._metainfo:
            raise ValueError(
                f'{self.ann_file} has no `gzsl` block: it does not say which '
                'classes are base and which are novel\nmake a split file '
                f'with: {self.SPLITTER}\nor, to test a detector that was '
                'trained on none of them, set metainfo=dict(base_classes=())'
            )
        given = self._metainfo['base_classes']
        names = {canonical_spelling(c.name): c.name for c in categories}
        base = {names.get(canonical_spelling(name), name) for name in given}
        if unknown := sorted(base - set(names.values())):
            raise ValueError(
                f'base_classes of metainfo disagree with {self.ann_file}\n'
                f'the file lacks: {listed(unknown, names.values())}'
            )
        return dict(
            base=base, novel=[n for n in names.values() if n not in base]
        )

    def _check_names(
        self, key: str, given: Sequence[str], names: Sequence[str]
    ) -> None:
        """Raise unless the config has the names of the file, in order.

        The order of base and novel names has no meaning and may differ.
        """
        given = [canonical_spelling(name) for name in given]
        names = [canonical_spelling(name) for name in names]
        unknown = [name for name in given if name not in set(names)]
        absent = [name for name in names if name not in set(given)]
        if unknown or absent:
            raise ValueError(
                f'{key} of metainfo disagree with {self.ann_file}'
                + (
                    f'\nthe file lacks: {listed(unknown, names)}'
                    if unknown
                    else ''
                )
                + (
                    f'\nmetainfo lacks: {listed(absent, given)}'
                    if absent
                    else ''
                )
            )
        if key == 'classes' and given != names:
            raise ValueError(
                'metainfo classes are in another order than the categories '
                f'of {self.ann_file}, which gives the labels; leave '
                'metainfo out'
            )
