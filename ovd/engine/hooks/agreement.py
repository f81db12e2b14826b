"""Checks that config, annotation files and model mean the same classes."""

from typing import List, Sequence

from mmdet.models.dense_heads import RPNHead
from mmengine.dataset import BaseDataset
from mmengine.evaluator import Evaluator
from torch import nn

from ovd.datasets.gzsl_classes import listed
from ovd.datasets.gzsl_header import load_header
from ovd.spelling import canonical_spelling


def dataset_name(dataset: BaseDataset) -> str:
    """Return how messages call a dataset: by its annotation file."""
    return getattr(dataset, 'ann_file', None) or type(dataset).__name__


def read_metainfo(dataset: BaseDataset) -> dict:
    """Return what a dataset says of itself; a plain list says nothing."""
    return getattr(dataset, 'metainfo', {})


def inner_datasets(dataset: BaseDataset) -> List[BaseDataset]:
    """Return what a wrapper, such as ``ConcatDataset``, wraps; else none."""
    inner = getattr(dataset, 'dataset', None)
    return [*getattr(dataset, 'datasets', ())] or ([inner] if inner else [])


def leaf_datasets(dataset: BaseDataset) -> List[BaseDataset]:
    """Return the datasets inside wrappers, such as ``ConcatDataset``."""
    inner = inner_datasets(dataset)
    return [leaf for item in inner for leaf in leaf_datasets(item)] or [
        dataset
    ]


def check_parts(datasets: Sequence[BaseDataset]) -> None:
    """Raise unless the parts of a concatenated dataset have the same classes.

    The host tolerates others: labels of all parts but the first would then
    stand for wrong names.
    """
    first = datasets[0]
    for other in datasets[1:]:
        for key in ('classes', 'novel_classes'):
            one, two = (
                read_metainfo(part).get(key, ()) for part in (first, other)
            )
            if tuple(one) != tuple(two):
                raise ValueError(
                    f'{dataset_name(first)} and {dataset_name(other)} are '
                    f'parts of one dataset, but their {key} differ'
                    + _differences(
                        dataset_name(first), one, dataset_name(other), two
                    )
                )


def check_num_classes(
    model: nn.Module, dataset: BaseDataset, skip: Sequence[nn.Module]
) -> None:
    """Raise unless the heads have as many classes as a dataset.

    Class-agnostic heads and an RPN, which has a single one, pass.

    Args:
        model (nn.Module): The detector.
        dataset (BaseDataset): It passes if ``metainfo`` has no ``classes``.
        skip (Sequence[nn.Module]): Modules that are not looked at.
    """
    skipped = {id(module) for module in skip}
    classes = read_metainfo(dataset).get('classes')
    if classes is None:
        return
    for name, module in model.named_modules():
        number = getattr(module, 'num_classes', None)
        if (
            number in (None, len(classes))
            or id(module) in skipped
            or getattr(module, 'class_agnostic', False)
            or isinstance(module, RPNHead)
            or name.endswith('rpn_head')
        ):
            continue
        raise ValueError(
            f'{name or "the model"} has num_classes={number}, but '
            f'{dataset_name(dataset)} has {len(classes)} classes: set '
            f'num_classes={len(classes)} in the config'
        )


def check_evaluator(evaluator: Evaluator, dataset: BaseDataset) -> None:
    """Raise unless the annotation files of the metrics fit the dataset.

    Those of metrics that name a local file are read.

    Raises:
        FileNotFoundError: If such a file does not exist.
        ValueError: If its base or novel classes are not the dataset's.
    """
    meta = read_metainfo(dataset)
    for metric in evaluator.metrics if 'novel_classes' in meta else ():
        ann_file = getattr(metric, 'ann_file', None)
        if not isinstance(ann_file, str) or '://' in ann_file:
            continue
        header = load_header(ann_file)
        names = {
            canonical_spelling(category.name) for category in header.categories
        }
        for group in ('base', 'novel'):
            own = [*map(canonical_spelling, meta[f'{group}_classes'])]
            # A file that is not split may have further categories.
            other = (
                [*map(canonical_spelling, header.gzsl[group])]
                if header.gzsl
                else [n for n in own if n in names]
            )
            if set(own) != set(other):
                raise ValueError(
                    f'{type(metric).__name__} reads {ann_file}, but the '
                    f'dataset {dataset_name(dataset)} has other {group} '
                    'classes'
                    + _differences(dataset_name(dataset), own, ann_file, other)
                )


def _differences(
    first: str, one: Sequence[str], second: str, two: Sequence[str]
) -> str:
    """Return the names that each of two files lacks, one line for each."""
    lines = [
        f'\n{where} lacks: {listed(missing, known)}'
        for where, known, missing in (
            (second, two, [name for name in one if name not in two]),
            (first, one, [name for name in two if name not in one]),
        )
        if missing
    ]
    return ''.join(lines) or ': the same names in another order'
