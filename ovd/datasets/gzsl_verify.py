"""Prove that split annotation files do not leak and are what they say."""

from collections import Counter
from itertools import compress
from pathlib import Path
from typing import Iterator, Literal, Sequence

import msgspec
import numpy as np

from ovd.artifacts.files import PathLike, sha256_file
from ovd.datasets.annotation_file import AnnotationFile, load_annotation_file
from ovd.datasets.gzsl_header import SPLITTER
from ovd.datasets.gzsl_split import choose
from ovd.datasets.gzsl_splits import Split, check_published_names


class _Counts(msgspec.Struct):
    images: int
    annotations: int


class _Source(msgspec.Struct):
    file: str
    sha256: str


class _Block(msgspec.Struct):
    split: str
    base: list[str]
    novel: list[str]
    groups: dict[str, list[str]]
    subset: Literal['train', 'val']
    min_annotations: int
    kept: _Counts
    removed: _Counts
    source: _Source


def verify_split(ann_file: PathLike) -> str:
    """Check a split file and return a line that says what was checked.

    Ids are unique, every annotation's image and category exist, the names
    of the `gzsl` block are categories, none of them base and novel, those of
    a published split are the published ones, counts are as declared, and no
    annotation is of a class that the subset hides: in a training file every
    annotation is of a base class. Where the source lies beside the file,
    what was removed is checked too: the file has just the images and
    annotations that the rule leaves of its source.

    Raises:
        ValueError: With the first offending id.
        FileNotFoundError: If the file does not exist.
    """
    data = load_annotation_file(ann_file)
    if data.gzsl is None:
        raise ValueError(
            f'{ann_file} has no `gzsl` block\nmake one with: {SPLITTER}'
        )
    try:
        block = msgspec.convert(data.gzsl, _Block)
    except msgspec.ValidationError as error:
        raise ValueError(
            f'the `gzsl` block of {ann_file} is malformed: {error}'
        ) from error
    _verify_names(data, block)
    _verify_annotations(data, block)
    _verify_counts(data, block)
    beside = data.path.with_name(block.source.file)
    unchecked = _why_unchecked(beside, block)
    if not unchecked:
        _verify_removed(data, block, load_annotation_file(beside))
    return (
        f'{ann_file}: {block.subset} of {block.split}, '
        f'{block.kept.images:,} images, {block.kept.annotations:,} '
        'annotations, no leak; '
        + (
            f'what was removed is not checked: {unchecked}'
            if unchecked
            else f'agrees with {block.source.file}'
        )
    )


def _verify_names(data: AnnotationFile, block: _Block) -> None:
    """Raise unless declared names are categories, and in one place."""
    known = {category.name for category in data.categories}
    declared = [*block.base, *block.novel]
    for name in [*declared, *sum(block.groups.values(), [])]:
        if name not in known:
            raise ValueError(
                f'the `gzsl` block of {data.path} names '
                f'"{name}", which no category is called'
            )
    doubled = [name for name, n in Counter(declared).items() if n > 1]
    if doubled:
        raise ValueError(
            f'the `gzsl` block of {data.path} names '
            f'"{doubled[0]}" more than once'
        )
    for group, names in block.groups.items():
        if stray := sorted(set(names) - set(declared)):
            raise ValueError(
                f'group "{group}" of {data.path} has '
                f'"{stray[0]}", neither base nor novel'
            )
    check_published_names(
        block.split,
        block.base,
        block.novel,
        data.categories,
        f'the `gzsl` block of {data.path}',
    )


def _verify_annotations(data: AnnotationFile, block: _Block) -> None:
    """Raise at the first annotation that the subset should not have."""
    allowed = set(block.base)
    if block.subset == 'val':
        allowed.update(block.novel)
    names = [category.name for category in data.categories]
    hidden = np.array([name not in allowed for name in names], bool)
    for i in np.flatnonzero(hidden[data.category_index])[:1]:
        name = names[data.category_index[i]]
        kind = 'novel' if name in block.novel else 'neither base nor novel'
        raise ValueError(
            f'annotation {data.annotation_ids[i]} of {data.path} (image '
            f'{data.image_ids[data.image_index[i]]}) is of "{name}", which '
            f'is {kind}: it must not be in a {block.subset} file'
        )


def _verify_counts(data: AnnotationFile, block: _Block) -> None:
    """Raise unless counts are as declared, in all and per image."""
    for what in ('images', 'annotations'):
        found, declared = len(getattr(data, what)), getattr(block.kept, what)
        if found != declared:
            raise ValueError(
                f'{data.path} has {found} {what}, its `gzsl` '
                f'block says {declared}'
            )
    left = np.bincount(data.image_index, minlength=len(data.images))
    for i in np.flatnonzero(left < block.min_annotations)[:1]:
        raise ValueError(
            f'image {data.image_ids[i]} of {data.path} has {left[i]} '
            f'annotations, the file keeps images with at least '
            f'{block.min_annotations}'
        )


def _why_unchecked(source: Path, block: _Block) -> str:
    """Say why a file cannot be compared with its source, '' if it can."""
    if not source.is_file():
        return f'the {source.name} it is made from is not beside it'
    if sha256_file(source) != block.source.sha256:
        return (
            f'the {source.name} beside it is not, or no longer, the one '
            'it is made from (another sha256); if that was changed on '
            'purpose, split it again with --overwrite'
        )
    return ''


def _verify_removed(
    data: AnnotationFile, block: _Block, source: AnnotationFile
) -> None:
    """Raise unless the rule leaves of the source what is in the file."""
    for what in ('images', 'annotations'):
        found = len(getattr(source, what)) - len(getattr(data, what))
        declared = getattr(block.removed, what)
        if found != declared:
            raise ValueError(
                f'{data.path} lacks {found} {what} of its '
                f'source, its `gzsl` block says {declared}'
            )
    if data.categories != source.categories:
        raise ValueError(
            f'the categories of {data.path} are not those of '
            f'its source {source.path.name}'
        )
    names = Split(block.split, block.base, block.novel)
    images, annotations = choose(
        source, names, block.subset, block.min_annotations
    )
    _verify_ids(
        'image', data.image_ids, compress(source.image_ids, images), data
    )
    _verify_ids(
        'annotation',
        data.annotation_ids,
        compress(source.annotation_ids, annotations),
        data,
    )
    place = np.cumsum(images) - 1  # of the source's images in the file
    changed = (data.category_index != source.category_index[annotations]) | (
        data.image_index != place[source.image_index[annotations]]
    )
    for i in np.flatnonzero(changed)[:1]:
        raise ValueError(
            f'annotation {data.annotation_ids[i]} of {data.path} has another '
            f'image or category in its source {source.path.name}'
        )


def _verify_ids(
    what: str, found: Sequence, expected: Iterator, data: AnnotationFile
) -> None:
    """Raise at the first id that is not the one that the rule keeps."""
    for ours, theirs in zip(found, expected):
        if ours != theirs:
            raise ValueError(
                f'{what} {ours} of {data.path} stands where the '
                f'rule leaves {what} {theirs} of its source'
            )
