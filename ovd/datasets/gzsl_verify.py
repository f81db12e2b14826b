"""Prove that split annotation files do not leak and are what they say."""
from collections import Counter
from typing import Literal

import msgspec

from ovd.artifacts.files import PathLike
from ovd.datasets.gzsl_split import (
    SPLITTER,
    AnnotationFile,
    load_annotation_file,
)


class _Counts(msgspec.Struct):
    images: int
    annotations: int


class _Block(msgspec.Struct):
    split: str
    base: list[str]
    novel: list[str]
    groups: dict[str, list[str]]
    subset: Literal['train', 'val']
    min_annotations: int
    kept: _Counts


def verify_split(ann_file: PathLike) -> str:
    """Check a split file and return a line that says what was checked.

    Ids are unique, every annotation's image and category exist, the names
    of the `gzsl` block are categories, none of them base and novel, counts
    are as declared, and no annotation is of a class that the subset hides:
    in a training file every annotation is of a base class.

    Raises:
        ValueError: With the first offending id.
        FileNotFoundError: If the file does not exist.
    """
    data = load_annotation_file(ann_file)
    if data.gzsl is None:
        raise ValueError(
            f'{ann_file} has no `gzsl` block\nmake one with: {SPLITTER}')
    try:
        block = msgspec.convert(data.gzsl, _Block)
    except msgspec.ValidationError as error:
        raise ValueError(
            f'the `gzsl` block of {ann_file} is malformed: {error}') from error
    _verify_names(data, block)
    _verify_annotations(data, block)
    _verify_counts(data, block)
    return (f'{ann_file}: {block.subset} of {block.split}, '
            f'{block.kept.images:,} images, {block.kept.annotations:,} '
            'annotations, no leak')


def _verify_names(data: AnnotationFile, block: _Block) -> None:
    """Raise unless declared names are categories, and in one place."""
    known = {category.name for category in data.categories}
    declared = [*block.base, *block.novel]
    for name in [*declared, *sum(block.groups.values(), [])]:
        if name not in known:
            raise ValueError(f'the `gzsl` block of {data.path} names '
                             f'"{name}", which no category is called')
    doubled = [name for name, n in Counter(declared).items() if n > 1]
    if doubled:
        raise ValueError(f'the `gzsl` block of {data.path} names '
                         f'"{doubled[0]}" more than once')
    for group, names in block.groups.items():
        if stray := sorted(set(names) - set(declared)):
            raise ValueError(f'group "{group}" of {data.path} has '
                             f'"{stray[0]}", neither base nor novel')


def _verify_annotations(data: AnnotationFile, block: _Block) -> None:
    """Raise at the first annotation that the subset should not have."""
    allowed = set(block.base)
    if block.subset == 'val':
        allowed.update(block.novel)
    names = {category.id: category.name for category in data.categories}
    for annotation in data.annotations:
        name = names[annotation.category_id]
        if name not in allowed:
            kind = 'novel' if name in block.novel else 'neither base nor novel'
            raise ValueError(
                f'annotation {annotation.id} of {data.path} (image '
                f'{annotation.image_id}) is of "{name}", which is {kind}: '
                f'it must not be in a {block.subset} file')


def _verify_counts(data: AnnotationFile, block: _Block) -> None:
    """Raise unless counts are as declared, in all and per image."""
    for what in ('images', 'annotations'):
        found, declared = len(getattr(data, what)), getattr(block.kept, what)
        if found != declared:
            raise ValueError(f'{data.path} has {found} {what}, its `gzsl` '
                             f'block says {declared}')
    left = Counter(annotation.image_id for annotation in data.annotations)
    for image in data.images:
        if left[image.id] < block.min_annotations:
            raise ValueError(
                f'image {image.id} of {data.path} has {left[image.id]} '
                f'annotations, the file keeps images with at least '
                f'{block.min_annotations}')
