"""GZSL annotation files: COCO or LVIS json that is split by class names.

A training file keeps the annotations of base names alone, a val file those of
base and novel names; images left with fewer than `min_annotations` go. All
category entries stay, so that label ids never move. The top-level `gzsl`
block says what was done; it comes first in the file. All the rest of the
source is copied byte by byte. The rule is that of the published 48/17 files.
"""

from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import IO, Optional

import msgspec
import numpy as np

from ovd.artifacts.files import PathLike, atomic_write
from ovd.datasets.annotation_file import (
    AnnotationFile,
    find_range,
    how_to_make,
    load_annotation_file,
)
from ovd.datasets.gzsl_header import (
    SPLITTER,
    describe_annotations,
    load_header,
    read_gzsl,
    read_header,
)
from ovd.datasets.gzsl_splits import (
    Split,
    check_published,
    check_published_names,
    check_split,
    load_split,
)

__all__ = [
    'SPLITTER',
    'SplitReport',
    'choose',
    'describe_annotations',
    'how_to_make',
    'read_gzsl',
    'read_header',
    'split_file',
]

CHUNK = 256  # objects that are joined before they are written


@dataclass(frozen=True)
class SplitReport:
    """What became of one annotation file; counts are (kept, removed)."""

    source: Path
    output: Optional[Path]
    subset: str
    state: str
    images: tuple = (0, 0)
    annotations: tuple = (0, 0)


def split_file(
    source: PathLike,
    split: str,
    subset: str,
    min_annotations: int = 1,
    overwrite: bool = False,
) -> SplitReport:
    """Write the train or val part of a split beside its annotation file.

    Args:
        source (PathLike): COCO or LVIS annotation file.
        split (str): As for :func:`ovd.datasets.gzsl_splits.load_split`.
        subset (str): ``'train'`` keeps base, ``'val'`` base and novel names.
        min_annotations (int): The least number of annotations an image must
            have left to be kept; crowds count. Defaults to 1.
        overwrite (bool): Replace another file of that name.

    Returns:
        SplitReport: With state ``'written'``, ``'up to date'`` where the same
        split of the same source is there, or ``'needs no split'``.

    Raises:
        ValueError: If source or split are not as they should be, nothing is
            left to train on, or the source is COCO 2017 and the counts are
            not the published ones.
        FileNotFoundError: If the source does not exist.
        FileExistsError: If another file of that name exists.
    """
    if min_annotations < 0:
        raise ValueError(
            f'min_annotations must not be negative, got {min_annotations}'
        )
    check_split(split)
    data = load_annotation_file(source, digest=True)
    if data.gzsl is not None:
        raise ValueError(
            f'{data.path} is a split file already; name the '
            'file that it was made from'
        )
    names = load_split(split, data.categories, str(data.path))
    check_published_names(
        names.name, names.base, names.novel, data.categories, split
    )
    if subset == 'val' and names.whole_val:
        return SplitReport(
            data.path,
            None,
            subset,
            'needs no split',
            (len(data.images), 0),
            (len(data.annotations), 0),
        )
    masks = choose(data, names, subset, min_annotations)
    counts = {
        what: (int(mask.sum()), int((~mask).sum()))
        for what, mask in zip(('images', 'annotations'), masks)
    }
    if subset == 'train' and len(data.annotations) and not masks[1].any():
        raise ValueError(
            f'split {names.name} leaves none of the {len(data.annotations):,} '
            f'annotations of {data.path} for training: none is of a base '
            'class'
            + (
                ''
                if min_annotations < 2
                else f', in an image with at least {min_annotations}'
            )
        )
    if min_annotations == 1:
        check_published(
            split, subset, data.categories, str(data.path), **counts
        )
    block = _describe(data, names, subset, min_annotations, counts)
    output = data.path.with_name(
        f'{data.path.stem}_{names.name}_{min_annotations}.json'
    )
    if output.exists() and not overwrite:
        if not _is_same(output, block):
            raise FileExistsError(
                f'{output} exists and is not this split of {data.path.name} '
                'as it is now; --overwrite replaces it'
            )
        return SplitReport(data.path, output, subset, 'up to date', **counts)
    with atomic_write(output) as file:
        write_kept(file, data, *masks, block)
    return SplitReport(data.path, output, subset, 'written', **counts)


def _is_same(output: Path, block: dict) -> bool:
    """Say whether a file is whole and has this block."""
    try:
        return load_header(output).gzsl == block
    except ValueError:
        return False


def choose(
    data: AnnotationFile, names: Split, subset: str, min_annotations: int
) -> tuple[np.ndarray, np.ndarray]:
    """Say what is kept: masks of the images (I,) and annotations (A,)."""
    kept_names = set(names.base)
    if subset == 'val':
        kept_names.update(names.novel)
    is_kept = np.array([c.name in kept_names for c in data.categories], bool)
    annotations = is_kept[data.category_index]
    left = np.bincount(
        data.image_index[annotations], minlength=len(data.images)
    )
    images = left >= min_annotations
    return images, annotations & images[data.image_index]


def _describe(
    data: AnnotationFile,
    names: Split,
    subset: str,
    min_annotations: int,
    counts: dict,
) -> dict:
    """Return the `gzsl` block."""
    return dict(
        split=names.name,
        base=list(names.base),
        novel=list(names.novel),
        groups={name: list(group) for name, group in names.groups.items()},
        subset=subset,
        min_annotations=min_annotations,
        kept={name: kept for name, (kept, _) in counts.items()},
        removed={name: removed for name, (_, removed) in counts.items()},
        source=dict(file=data.path.name, sha256=data.sha256),
    )


def write_kept(
    file: IO[bytes],
    data: AnnotationFile,
    images: np.ndarray,
    annotations: np.ndarray,
    block: Optional[dict] = None,
) -> None:
    """Write an annotation file anew, without what is removed.

    Args:
        file (IO[bytes]): Where to.
        data (AnnotationFile): I images, A annotations.
        images (np.ndarray): bool (I,), which are kept.
        annotations (np.ndarray): bool (A,), likewise.
        block (dict, optional): The `gzsl` block of a split.
    """
    content = memoryview(data.content)
    done = data.content.find(b'{') + 1
    file.write(b'{')
    if block is not None:
        file.write(b'"gzsl": ' + msgspec.json.encode(block) + b',\n')
    lists = [
        (*find_range(data.content, objects), objects, kept)
        for objects, kept in (
            (data.images, images),
            (data.annotations, annotations),
        )
        if objects
    ]
    for start, stop, objects, kept in sorted(lists, key=lambda x: x[0]):
        file.write(content[done:start])
        _write_objects(file, list(compress(objects, kept)))
        done = stop
    file.write(content[done:])


def _write_objects(file: IO[bytes], objects: list) -> None:
    """Write json objects with commas between them."""
    for start in range(0, len(objects), CHUNK):
        if start:
            file.write(b', ')
        file.write(b', '.join(objects[start : start + CHUNK]))
