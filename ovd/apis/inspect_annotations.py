"""What an annotation file has, and whether its images are there."""

import os
from collections import defaultdict
from pathlib import Path
from typing import Iterable, Optional

import msgspec

from ovd.datasets.annotation_file import decode, map_annotation_file

from .tree_entry import Entry


class Incomplete(ValueError):
    """A part of something is there."""


class _Image(msgspec.Struct, gc=False):
    file_name: str = ''
    coco_url: str = ''


class _Anything(msgspec.Struct, gc=False):
    """Counted alone: msgspec skips what is not declared."""


class _Annotations(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Anything]
    categories: list[_Anything]
    gzsl: Optional[dict] = None


def count_in_words(number: int, what: str, full: Optional[int]) -> str:
    """Return '80 images', with the number of the full set if it differs."""
    text = f'{number:,} {what}'
    return text if full in (None, number) else f'{text} (full: {full:,})'


def inspect_annotations(path: Path, entry: Entry, dataset: Path) -> str:
    """Return what an annotation file has, in words.

    Args:
        path (Path): The file.
        entry (Entry): What belongs there. If it is required, its images are
            looked for.
        dataset (Path): Folder that the folders of images are in.

    Raises:
        Incomplete: If some of the images are not there.
        ValueError: If it is damaged, or not split where it should be.
    """
    path, text = map_annotation_file(path)
    content = decode(text, _Annotations, path)
    counts = dict(
        images=len(content.images), annotations=len(content.annotations)
    )
    words = [
        count_in_words(counts[what], what, getattr(entry, what))
        for what in counts
    ]
    gzsl = content.gzsl
    if gzsl is None and entry.kind == 'split':
        raise ValueError(f'{path} is not split: it has no `gzsl` block')
    if gzsl is None:
        words.append(f'{len(content.categories):,} classes')
    else:
        try:
            words.append(
                f'{gzsl["split"]} {gzsl["subset"]}, '
                f'{len(gzsl["base"]):,} base and '
                f'{len(gzsl["novel"]):,} novel classes'
            )
            kept = gzsl['kept']
        except (KeyError, TypeError) as error:
            raise ValueError(
                f'{path} has a malformed `gzsl` block: '
                f'{type(error).__name__} {error}'
            ) from error
        if kept != counts:
            raise ValueError(
                f'{path} has {counts}, and says that it has {kept}'
            )
    if entry.required:
        _check_images(path, content.images, entry.folder, dataset)
    return ', '.join(words)


def _check_images(
    path: Path, images: Iterable[_Image], folder: str, dataset: Path
) -> None:
    """Raise unless the images are there; folders that lack are left out."""
    named = defaultdict(set)
    key = 'file_name' if folder else 'coco_url'
    for image in images:
        # the last two parts: Objects365 puts more before them, LVIS a host
        name = '/'.join(getattr(image, key).split('/')[-2:])
        parent, _, file_name = f'{folder}/{name}'.lstrip('/').rpartition('/')
        if not name or not parent:
            raise ValueError(f'{path} has an image without `{key}`')
        named[parent].add(file_name)
    missing = []
    for parent, names in sorted(named.items()):
        if not (dataset / parent.split('/')[0]).is_dir():
            continue  # reported as missing itself
        place = dataset / parent
        found = os.listdir(place) if place.is_dir() else ()
        missing += [
            f'{parent}/{name}' for name in sorted(names.difference(found))
        ]
    if missing:
        total = sum(map(len, named.values()))
        raise Incomplete(
            f'{path} names {total:,} images, {len(missing):,} '
            f'of them are not there, the first: {missing[0]}'
        )
