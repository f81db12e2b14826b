"""Class names from where users have them: words, a list, annotations."""
import json
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional

from ovd.artifacts.class_embeddings import check_class_names
from ovd.artifacts.files import PathLike, require_file
from ovd.spelling import canonical_spelling
from ovd.suggest import check_choice


@dataclass(frozen=True)
class KnownDataset:
    """A dataset of the data tree.

    Args:
        ann_file (str): The annotation file that its names are read from.
        pretrained (str): The CLIP that its configs use.
        mmdet_class (str, optional): Dataset of mmdet that has the names too.
    """
    ann_file: str
    pretrained: str = 'ViT-B/32'
    mmdet_class: Optional[str] = None


DATASETS = {
    'coco': KnownDataset(
        'data/coco/annotations/instances_val2017.json',
        mmdet_class='CocoDataset'),
    'lvis_v1': KnownDataset(
        'data/lvis_v1/annotations/lvis_v1_val.json',
        mmdet_class='LVISV1Dataset'),
    'miniature': KnownDataset(
        'data/miniature/annotations/instances_val.json',
        pretrained='pretrained/clip/miniature.pt'),
}


def dataset_class_names(dataset: str) -> List[str]:
    """Return the class names of a dataset in the order of its annotations.

    They are read from its annotation file; where COCO's or LVIS's is not
    there, mmdet's list stands in.

    Args:
        dataset (str): A key of ``DATASETS``.

    Raises:
        ValueError: If there is no such dataset.
        FileNotFoundError: If its annotation file is missing.
    """
    check_choice(dataset, DATASETS, 'dataset')
    known = DATASETS[dataset]
    if known.mmdet_class is None or Path(known.ann_file).is_file():
        return ann_file_class_names(known.ann_file)
    from mmdet import datasets
    classes = getattr(datasets, known.mmdet_class).METAINFO['classes']
    return [canonical_spelling(name) for name in classes]


def ann_file_class_names(path: PathLike) -> List[str]:
    """Return the category names of a COCO or LVIS file in the file's order.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If it is no annotation file.
    """
    path = require_file(path, 'annotation file')
    try:
        with open(path, encoding='utf-8') as file:
            content = json.load(file)
        names = [category['name'] for category in content['categories']]
        check_class_names(names)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'{path} is no COCO or LVIS annotation file, whose "categories" '
            f'each have a "name" of their own: '
            f'{type(error).__name__}: {error}') from error
    return names


def split_class_names(text: str) -> List[str]:
    """Return the names in ``'red fox, snow leopard'``."""
    return [name.strip() for name in text.split(',') if name.strip()]


def read_class_names(path: PathLike) -> List[str]:
    """Return the names of a UTF-8 text file, one per line."""
    text = require_file(path, 'list of classes').read_text(encoding='utf-8')
    return [line.strip() for line in text.splitlines() if line.strip()]
