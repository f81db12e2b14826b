"""Class names from where users have them: words, a list, annotations."""

import mmap
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Dict, List, Optional, Union

import msgspec

from ovd.artifacts.class_embeddings import check_class_names
from ovd.artifacts.files import PathLike, require_file
from ovd.datasets.annotation_file import decode, map_annotation_file
from ovd.spelling import canonical_spelling
from ovd.suggest import check_choice


@dataclass(frozen=True)
class KnownDataset:
    """A dataset of the data tree.

    Args:
        ann_file (str, optional): The annotation file that its names are read
            from.
        pretrained (str): The CLIP that its configs use.
        mmdet_class (str, optional): Dataset of mmdet that has the names too.
    """

    ann_file: Optional[str] = None
    pretrained: str = 'ViT-B/32'
    mmdet_class: Optional[str] = None


DATASETS = {
    'coco': KnownDataset(
        'data/coco/annotations/instances_val2017.json',
        mmdet_class='CocoDataset',
    ),
    'lvis_v1': KnownDataset(
        'data/lvis_v1/annotations/lvis_v1_val.json',
        mmdet_class='LVISV1Dataset',
    ),
    'voc': KnownDataset(mmdet_class='VOCDataset'),
    'objects365': KnownDataset(
        'data/Objects365/Obj365_v2/annotations/zhiyuan_objv2_val.json',
        mmdet_class='Objects365V2Dataset',
    ),
    'objects365_v1': KnownDataset(
        'data/Objects365/Obj365_v1/annotations/objects365_val.json',
        mmdet_class='Objects365V1Dataset',
    ),
    'miniature': KnownDataset(
        'data/miniature/annotations/instances_val.json',
        pretrained='pretrained/clip/miniature.pt',
    ),
}


class _Category(msgspec.Struct):
    name: str
    synonyms: Optional[List[str]] = None


class _Annotations(msgspec.Struct):
    categories: List[_Category]


@dataclass(frozen=True)
class ClassNames:
    """The class names that a command is given, in one of four ways.

    Args:
        dataset (str, optional): A key of ``DATASETS``. Gives the names where
            no other argument does. Defaults to ``'coco'``.
        classes (str, optional): Names with commas between.
        classes_file (PathLike, optional): Text file, one name per line.
        ann_file (PathLike, optional): COCO or LVIS annotation file, or a list
            of its categories.

    Raises:
        ValueError: If there is no such dataset, or several arguments give
            names.
    """

    dataset: Optional[str] = None
    classes: Optional[str] = None
    classes_file: Optional[PathLike] = None
    ann_file: Optional[PathLike] = None

    def __post_init__(self) -> None:
        if self.dataset is not None:
            check_choice(self.dataset, DATASETS, 'dataset')
        if len(self._others) > 1:
            raise ValueError(
                f'{" and ".join(self._others)} each give class names: '
                'choose one'
            )

    @property
    def _others(self) -> List[str]:
        """The options other than --dataset that give names."""
        return [
            option
            for option, value in (
                ('--classes', self.classes),
                ('--classes-file', self.classes_file),
                ('--ann-file', self.ann_file),
            )
            if value is not None
        ]

    @property
    def given(self) -> bool:
        """Whether the user said anything of names."""
        return self.dataset is not None or bool(self._others)

    @property
    def are_of_dataset(self) -> bool:
        """Whether they are the names of a dataset, whatever gives them.

        Raises:
            FileNotFoundError: If the names of the dataset are not known.
        """
        if not self._others:
            return True
        if self.ann_file is None or self.dataset is None:
            return False
        known = dataset_class_names(self.dataset)
        return {*map(canonical_spelling, known)} == {
            *map(canonical_spelling, self.names)
        }

    @property
    def folder(self) -> Path:
        """Where class embeddings of the dataset go."""
        return Path('data') / (self.dataset or 'coco') / 'prompt'

    @property
    def pretrained(self) -> str:
        """The CLIP that is used where the user names none."""
        return DATASETS[self.dataset or 'coco'].pretrained

    @cached_property
    def names(self) -> List[str]:
        """The names, in the order that they stand there.

        Raises:
            FileNotFoundError: If a file of names is missing.
            ValueError: If there are none, or one is empty or stands there
                twice.
        """
        if not self._others:
            return dataset_class_names(self.dataset or 'coco')
        if self.ann_file is not None:
            return ann_file_class_names(self.ann_file)
        if self.classes_file is not None:
            where = f'--classes-file {self.classes_file}'
            names = read_class_names(self.classes_file)
        else:
            where = f'--classes "{self.classes}"'
            names = split_class_names(self.classes or '')
        try:
            check_class_names(names)
            _check_spellings(names)
        except ValueError as error:
            raise ValueError(f'{where}: {error}') from error
        if not names:
            raise ValueError(f'{where} has no class names')
        return names

    def read_synonyms(self) -> List[List[str]]:
        """Return the synonyms of each name, from the annotation file.

        Raises:
            ValueError: If the names come from elsewhere, or the file has no
                synonyms.
            FileNotFoundError: If the file is missing.
        """
        path = self.ann_file or (
            DATASETS[self.dataset or 'coco'].ann_file
            if not self._others
            else None
        )
        if path is None:
            raise ValueError(
                'synonyms are read from an annotation file that has them, '
                'such as that of LVIS: name one with --ann-file'
            )
        categories = _read_categories(path)
        if all(category.synonyms is None for category in categories):
            raise ValueError(
                f'the categories of {path} have no synonyms, as those of LVIS '
                'have: leave out --synonyms, or name another --ann-file'
            )
        synonyms = [category.synonyms or [] for category in categories]
        for name, own in zip(self.names, synonyms):
            if not all(synonym.strip() for synonym in own):
                raise ValueError(f'{path}: "{name}" has an empty synonym')
        return synonyms


def _check_spellings(names: List[str]) -> None:
    """Raise if two names are spellings of one class."""
    first: Dict[str, str] = {}
    for name in names:
        other = first.setdefault(canonical_spelling(name), name)
        if other != name:
            raise ValueError(
                f'"{other}" and "{name}" are two spellings of one class'
            )


def dataset_class_names(dataset: str) -> List[str]:
    """Return the class names of a dataset in the order of its annotations.

    They are read from its annotation file; where that of a real dataset is
    not there, mmdet's list stands in.

    Args:
        dataset (str): A key of ``DATASETS``.

    Raises:
        ValueError: If there is no such dataset.
        FileNotFoundError: If its annotation file is missing.
    """
    check_choice(dataset, DATASETS, 'dataset')
    known = DATASETS[dataset]
    if known.ann_file is not None and (
        known.mmdet_class is None or Path(known.ann_file).is_file()
    ):
        return ann_file_class_names(known.ann_file)
    assert known.mmdet_class is not None  # one of the two is there
    from mmdet import datasets

    classes = getattr(datasets, known.mmdet_class).METAINFO['classes']
    return [canonical_spelling(name) for name in classes]


def ann_file_class_names(path: PathLike) -> List[str]:
    """Return the category names of a COCO or LVIS file in the file's order.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If it is no annotation file.
    """
    names = [category.name for category in _read_categories(path)]
    try:
        check_class_names(names)
    except ValueError as error:
        raise ValueError(
            f'{path} is no COCO or LVIS annotation file: {error}'
        ) from error
    return names


def _read_categories(path: PathLike) -> List[_Category]:
    """Read the categories of an annotation file, and nothing else of it."""
    path, content = map_annotation_file(path)
    try:
        # A bare list of categories is what LVIS's authors hand out, too.
        found = decode(content, Union[List[_Category], _Annotations], path)
    except ValueError as error:
        raise ValueError(
            f'{path} is no COCO or LVIS annotation file, whose "categories" '
            f'each have a "name": {error}'
        ) from error
    finally:
        if isinstance(content, mmap.mmap):
            content.close()
    return found if isinstance(found, list) else found.categories


def split_class_names(text: str) -> List[str]:
    """Return the names in ``'red fox, snow leopard'``."""
    return [name.strip() for name in text.split(',') if name.strip()]


def read_class_names(path: PathLike) -> List[str]:
    """Return the names of a UTF-8 text file, one per line."""
    path = require_file(path, 'list of classes')
    try:
        text = path.read_text(encoding='utf-8-sig')  # Windows writes a BOM
    except UnicodeDecodeError as error:
        raise ValueError(
            f'{path} is no text in UTF-8 with a class name per line: {error}'
        ) from error
    return [line.strip() for line in text.splitlines() if line.strip()]
