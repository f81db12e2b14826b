"""GZSL annotation files: COCO or LVIS json that is split by class names.

A training file keeps the annotations of base names alone, a val file those of
base and novel names; images left with fewer than `min_annotations` go. All
category entries stay, so that label ids never move. The top-level `gzsl`
block says what was done; it comes first in the file. Objects that are kept
are copied byte by byte. The rule is that of the published 48/17 files.
"""
import mmap
import re
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from itertools import compress
from pathlib import Path
from typing import IO, Optional, Sequence, Union

import msgspec

from ovd.artifacts.files import (
    PathLike,
    atomic_write,
    require_file,
    sha256_file,
)
from ovd.datasets.gzsl_splits import Category, Split, load_split

CHUNK = 4096  # objects that are joined before they are written
SPLITTER = 'python tools/build_zsl_dataset.py CONFIG --split 48_17'
Id = Union[int, str]


class _Image(msgspec.Struct, gc=False):
    id: Id


class _Annotation(msgspec.Struct, gc=False):
    id: Id
    image_id: Id
    category_id: int


class _Header(msgspec.Struct):
    categories: list[Category]
    gzsl: Optional[dict] = None


@dataclass(frozen=True)
class AnnotationFile:
    """A decoded annotation file whose objects are still raw json.

    Args:
        path (Path): The file.
        sha256 (str): Digest of its content.
        fields (dict[str, msgspec.Raw]): The raw top-level values.
        categories (list[Category]): In the order of the file.
        images (list): Ids of the images.
        annotations (list): Ids of the annotations.
        gzsl (dict, optional): The `gzsl` block of a file that is split.
    """

    path: Path
    sha256: str
    fields: dict
    categories: list
    images: list
    annotations: list
    gzsl: Optional[dict]


@dataclass(frozen=True)
class SplitReport:
    """What became of one annotation file; counts are (kept, removed)."""

    source: Path
    output: Optional[Path]
    subset: str
    state: str
    images: tuple = (0, 0)
    annotations: tuple = (0, 0)


def how_to_make(ann_file: PathLike) -> Optional[str]:
    """Return the command that makes an annotation file, None if unknown."""
    path = Path(ann_file)
    miniature = 'miniature' in path.parts
    match = re.fullmatch(r'.+?_(\d+_\d+)_\d+', path.stem)
    if match is None:
        return 'python tools/build_miniature.py' if miniature else None
    own = path.with_name(f'{match[1]}.json')
    config = ('configs/_base_/datasets/miniature_instance.py'
              if miniature else 'CONFIG')
    return (f'python tools/build_zsl_dataset.py {config} --split '
            f'{own if miniature or own.is_file() else match[1]}')


def read_gzsl(ann_file: PathLike) -> dict:
    """Return the `gzsl` block of an annotation file.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is not json or was never split.
    """
    return read_header(ann_file)[0]


def describe_annotations(ann_file: PathLike) -> dict[str, str]:
    """Return what an artefact notes of the annotation file it is made from.

    Returns:
        dict: ``file``, ``sha256`` and ``source_sha256``, the digest of the
        file that it was split from, or its own where it was not split.
    """
    gzsl, digest = _read_header(ann_file).gzsl, sha256_file(ann_file)
    return dict(
        file=str(ann_file),
        sha256=digest,
        source_sha256=gzsl['source']['sha256'] if gzsl else digest)


def read_header(ann_file: PathLike) -> tuple[dict, list[Category]]:
    """Return the `gzsl` block and the categories, skipping all the rest.

    The file is scanned to its end, so a truncated one is noticed.
    """
    header = _read_header(ann_file)
    if header.gzsl is None:
        raise ValueError(
            f'{ann_file} has no `gzsl` block: it does not say which classes '
            f'are base and which are novel\nmake one with: {SPLITTER}')
    return header.gzsl, header.categories


def _read_header(ann_file: PathLike) -> _Header:
    """Read the header of a file that may be split or not."""
    path = require_file(ann_file, 'annotation file', how_to_make(ann_file))
    with open(path, 'rb') as file:
        if not path.stat().st_size:
            return _decode(b'', _Header, path)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _decode(content, _Header, path)


def _decode(content, kind: type, path: Path, field: str = ''):
    """Decode json; whatever is wrong with it names the file."""
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.ValidationError as error:
        raise ValueError(
            f'{path} is not in COCO format: '
            f'{f"`{field}`: " if field else ""}{error}') from error
    except msgspec.DecodeError as error:
        raise ValueError(
            f'{path} is not json or is cut off: {error}') from error


def load_annotation_file(path: PathLike) -> AnnotationFile:
    """Read and check an annotation file.

    Raises:
        ValueError: If it is not json, keys are missing, ids or names are
            doubled, or an annotation is of an image or a category that is
            not there; the message has the first offending id.
        FileNotFoundError: If it does not exist.
    """
    path = require_file(path, 'annotation file', how_to_make(path))
    content = path.read_bytes()
    fields = _decode(content, dict[str, msgspec.Raw], path)
    decoded = {}
    for name, kind in (('categories', Category), ('images', _Image),
                       ('annotations', _Annotation)):
        if name not in fields:
            raise ValueError(
                f'{path} lacks the key `{name}`, it has {", ".join(fields)}')
        decoded[name] = _decode(fields[name], list[kind], path, name)
        _check_unique([item.id for item in decoded[name]], f'{name} id', path)
    _check_unique([c.name for c in decoded['categories']], 'category name',
                  path)
    image_ids = {image.id for image in decoded['images']}
    cat_ids = {category.id for category in decoded['categories']}
    for annotation in decoded['annotations']:
        if annotation.image_id not in image_ids:
            raise ValueError(
                f'annotation {annotation.id} of {path} is of image '
                f'{annotation.image_id}, which the file lacks')
        if annotation.category_id not in cat_ids:
            raise ValueError(
                f'annotation {annotation.id} of {path} is of category '
                f'{annotation.category_id}, which the file lacks')
    gzsl = _decode(fields['gzsl'], dict, path) if 'gzsl' in fields else None
    return AnnotationFile(path, sha256(content).hexdigest(), fields,
                          gzsl=gzsl, **decoded)


def _check_unique(ids: Sequence, what: str, path: Path) -> None:
    """Raise with the first id that comes twice."""
    if len(set(ids)) == len(ids):
        return
    seen = set()
    for item in ids:
        if item in seen:
            raise ValueError(f'{path} has {what} {item} twice')
        seen.add(item)


def split_file(source: PathLike,
               split: str,
               subset: str,
               min_annotations: int = 1,
               overwrite: bool = False) -> SplitReport:
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
        ValueError: If source or split are not as they should be.
        FileNotFoundError: If the source does not exist.
        FileExistsError: If another file of that name exists.
    """
    if min_annotations < 0:
        raise ValueError(
            f'min_annotations must not be negative, got {min_annotations}')
    data = load_annotation_file(source)
    if data.gzsl is not None:
        raise ValueError(f'{data.path} is a split file already; name the '
                         'file that it was made from')
    names = load_split(split, data.categories, str(data.path))
    if subset == 'val' and names.whole_val:
        return SplitReport(data.path, None, subset, 'needs no split',
                           (len(data.images), 0), (len(data.annotations), 0))
    images, annotations = _choose(data, names, subset, min_annotations)
    counts = dict(
        images=(sum(images), len(images) - sum(images)),
        annotations=(sum(annotations), len(annotations) - sum(annotations)))
    block = _describe(data, names, subset, min_annotations, counts)
    output = data.path.with_name(
        f'{data.path.stem}_{names.name}_{min_annotations}.json')
    report = SplitReport(data.path, output, subset, 'written', **counts)
    if output.exists() and not overwrite:
        if not _is_same(output, block):
            raise FileExistsError(
                f'{output} exists and is not this split of {data.path.name} '
                'as it is now; --overwrite replaces it')
        return SplitReport(data.path, output, subset, 'up to date', **counts)
    with atomic_write(output) as file:
        _write(file, data, block, images, annotations)
    return report


def _is_same(output: Path, block: dict) -> bool:
    """Say whether a file is whole and has this block."""
    try:
        return _read_header(output).gzsl == block
    except ValueError:
        return False


def _choose(data: AnnotationFile, names: Split, subset: str,
            min_annotations: int) -> tuple[list[bool], list[bool]]:
    """Say of each image and each annotation whether it is kept."""
    kept_names = set(names.base)
    if subset == 'val':
        kept_names.update(names.novel)
    cat_ids = {c.id for c in data.categories if c.name in kept_names}
    left = Counter(annotation.image_id for annotation in data.annotations
                   if annotation.category_id in cat_ids)
    image_ids = {
        image.id
        for image in data.images if left[image.id] >= min_annotations
    }
    return ([image.id in image_ids for image in data.images],
            [a.category_id in cat_ids and a.image_id in image_ids
             for a in data.annotations])


def _describe(data: AnnotationFile, names: Split, subset: str,
              min_annotations: int, counts: dict) -> dict:
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
        source=dict(file=data.path.name, sha256=data.sha256))


def _write(file: IO[bytes], data: AnnotationFile, block: dict,
           images: list[bool], annotations: list[bool]) -> None:
    """Write the block, then all fields in the order of the source."""
    kept = dict(images=images, annotations=annotations)
    file.write(b'{"gzsl": ' + msgspec.json.encode(block))
    for name, raw in data.fields.items():
        file.write(b',\n' + msgspec.json.encode(name) + b': ')
        if name not in kept:
            file.write(raw)
            continue
        objects = list(compress(
            msgspec.json.decode(raw, type=list[msgspec.Raw]), kept[name]))
        file.write(b'[')
        for start in range(0, len(objects), CHUNK):
            if start:
                file.write(b', ')
            file.write(b', '.join(objects[start:start + CHUNK]))
        file.write(b']')
    file.write(b'}\n')
