"""COCO and LVIS json: checked in full, of which only the ids are decoded.

The file is mapped into memory. Images and annotations stay slices of it; what
is kept of them are their ids and, per annotation, the positions of its image
and its category in NumPy arrays. So memory is the file and little more.
"""

import codecs
import json
import mmap
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Optional, Sequence, Union

import msgspec
import numpy as np

from ovd.artifacts.files import PathLike, require_file
from ovd.datasets.gzsl_splits import Category

CHUNK = 4096  # objects that are decoded at a time
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: 'UTF-8',
    codecs.BOM_UTF16_LE: 'UTF-16',
    codecs.BOM_UTF16_BE: 'UTF-16',
}
Id = Union[int, str]
Content = Union[mmap.mmap, bytes]


class _Image(msgspec.Struct, gc=False):
    id: Id


class _Annotation(msgspec.Struct, gc=False):
    id: Id
    image_id: Id
    category_id: int


# One scan of the file finds the objects; their numbers are skipped in it.
class _Content(msgspec.Struct):
    images: list[msgspec.Raw] = []
    annotations: list[msgspec.Raw] = []
    categories: list[Category] = []
    gzsl: Union[dict, None, msgspec.UnsetType] = msgspec.UNSET


@dataclass(frozen=True)
class AnnotationFile:
    """An annotation file; I images, A annotations.

    Args:
        path (Path): The file.
        content (mmap): All of its bytes.
        sha256 (str): Digest of its content, '' where none was asked for.
        categories (list[Category]): In the order of the file.
        images (list[msgspec.Raw]): I slices of ``content``.
        annotations (list[msgspec.Raw]): A slices of ``content``.
        image_ids (list): I ids.
        annotation_ids (list): A ids.
        image_index (np.ndarray): (A,) position of an annotation's image.
        category_index (np.ndarray): (A,) position of its category.
        gzsl (dict, optional): The `gzsl` block of a file that is split.
    """

    path: Path
    content: Content
    sha256: str
    categories: list
    images: list
    annotations: list
    image_ids: list
    annotation_ids: list
    image_index: np.ndarray
    category_index: np.ndarray
    gzsl: Optional[dict]


def how_to_make(ann_file: PathLike) -> Optional[str]:
    """Return the command that makes an annotation file, None if unknown."""
    path = Path(ann_file)
    miniature = 'miniature' in path.parts
    match = re.fullmatch(r'.+?_(\d+_\d+)_\d+', path.stem)
    if match is None:
        return 'python tools/build_miniature.py' if miniature else None
    own = path.with_name(f'{match[1]}.json')
    config = (
        'configs/_base_/datasets/miniature_instance.py'
        if miniature
        else 'CONFIG'
    )
    return (
        f'python tools/build_zsl_dataset.py {config} --split '
        f'{own if miniature or own.is_file() else match[1]}'
    )


def map_annotation_file(ann_file: PathLike) -> tuple[Path, Content]:
    """Return a file's path and its bytes, which are read when needed."""
    path = require_file(ann_file, 'annotation file', how_to_make(ann_file))
    if not path.stat().st_size:
        return path, b''  # nothing can't be mapped
    with open(path, 'rb') as file:
        return path, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def decode(content: Content, kind: Any, path: Path) -> Any:
    """Decode json; whatever is wrong with it names the file."""
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.ValidationError as error:
        raise ValueError(f'{path} is not in COCO format: {error}') from error
    except msgspec.DecodeError as error:
        raise ValueError(
            f'{path} {_why_not_json(content, str(error))}: {error}'
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} is not UTF-8: {error}') from error


def _why_not_json(content: Content, error: str) -> str:
    """Say what is wrong with bytes that do not decode."""
    for mark, name in BYTE_ORDER_MARKS.items():
        if content[: len(mark)] == mark:
            return (
                f'starts with a byte order mark of {name}: save it as '
                'UTF-8 without one'
            )
    if place := re.search(r'\(byte (\d+)\)', error):
        start = int(place[1])
        if word := re.match(b'NaN|Infinity', content[start : start + 8]):
            return (
                f'has {word[0].decode()}, which is no json: put a number '
                'there or remove the object'
            )
    return 'is not json or is cut off'


def load_annotation_file(
    path: PathLike, digest: bool = False
) -> AnnotationFile:
    """Read and check an annotation file.

    Args:
        path (PathLike): The file.
        digest (bool): Whether `sha256` is wanted. Defaults to False.

    Raises:
        ValueError: If it is not json, keys are missing, ids or names are
            doubled, a key that is read comes twice, or an annotation is of
            an image or a category that is not there; the message has the
            first offending id.
        FileNotFoundError: If it does not exist.
    """
    path, content = map_annotation_file(path)
    with ThreadPoolExecutor(1) as pool:
        # Hashing lets other threads run: with a second core it costs nothing
        hashed = pool.submit(sha256, content) if digest else None
        decoded = _check_keys(decode(content, _Content, path), content, path)
        image_ids = [
            image.id
            for image in decode_each(decoded.images, _Image, path, 'images')
        ]
        _check_unique(image_ids, 'images id', path)
        _check_unique(
            [c.id for c in decoded.categories], 'categories id', path
        )
        _check_unique(
            [c.name for c in decoded.categories], 'category name', path
        )
        columns = _read_annotations(decoded, image_ids, path)
        return AnnotationFile(
            path,
            content,
            hashed.result().hexdigest() if hashed else '',
            decoded.categories,
            decoded.images,
            decoded.annotations,
            image_ids,
            *columns,
            None if decoded.gzsl is msgspec.UNSET else decoded.gzsl,
        )


def _check_keys(decoded: _Content, content: Content, path: Path) -> _Content:
    """Raise unless there are images, annotations and categories."""
    keys = Counter(_find_keys(decoded, content, path))
    for name in ('categories', 'images', 'annotations'):
        if name not in keys:
            raise ValueError(
                f'{path} lacks the key `{name}`, it has '
                f'{", ".join(keys) or "none"}: expected COCO format'
            )
    for name in _Content.__struct_fields__:
        if keys[name] > 1:
            # Readers take the last one, a copy of the file has them all
            raise ValueError(f'{path} has the key "{name}" twice')
    if decoded.gzsl is None:
        raise ValueError(
            f'{path} has the key "gzsl" with null, which would '
            'hide the `gzsl` block of a split: remove the key'
        )
    return decoded


def _find_keys(decoded: _Content, content: Content, path: Path) -> list:
    """Return the keys of the file, doubled ones too, in its order.

    All that is parsed is what is left of the file without its images and
    annotations; where a key is doubled, only the last list is left out.
    """
    view, done, rest = memoryview(content), 0, b''
    for start, stop in sorted(
        find_range(content, objects)
        for objects in (decoded.images, decoded.annotations)
        if objects
    ):
        rest += view[done:start]
        done = stop
    rest += view[done:]
    try:
        # Of inner objects the keys are found too; the outermost comes last
        return json.loads(
            rest.decode('utf-8', 'replace'),
            strict=False,
            parse_int=str,
            parse_float=str,
            object_pairs_hook=lambda pairs: [key for key, _ in pairs],
        )
    except json.JSONDecodeError as error:
        raise ValueError(f'{path} is not json: {error}') from error


def find_range(content: Content, objects: Sequence) -> tuple[int, int]:
    """Return where the first of the objects starts and the last one ends."""
    # A msgspec.Raw is a slice of what was decoded, but does not say which
    origin, first, last = (
        np.frombuffer(buffer, np.uint8)
        for buffer in (content, objects[0], objects[-1])
    )
    start = first.ctypes.data - origin.ctypes.data
    stop = last.ctypes.data - origin.ctypes.data + last.size
    assert 0 < start < stop < origin.size
    return start, stop


def decode_each(
    objects: Sequence, kind: type, path: Path, name: str, start: int = 0
) -> list:
    """Decode objects one by one; the first of them has position `start`.

    Raises:
        ValueError: At the first that is not of this kind, with its place.
    """
    decoder: msgspec.json.Decoder = msgspec.json.Decoder(kind)
    found: list = []
    try:
        # extend keeps what came before an error, so its length is the place
        found.extend(map(decoder.decode, objects))
    except msgspec.ValidationError as error:
        raise ValueError(
            f'{path} is not in COCO format: `{name}[{start + len(found)}]`: '
            f'{error}'
        ) from error
    return found


def _read_annotations(
    decoded: _Content, image_ids: list, path: Path
) -> tuple[list, np.ndarray, np.ndarray]:
    """Return ids, image positions and category positions of annotations."""
    place = {image_id: i for i, image_id in enumerate(image_ids)}
    row = {category.id: i for i, category in enumerate(decoded.categories)}
    total = len(decoded.annotations)
    ids, images, categories = [], np.empty(total, int), np.empty(total, int)
    # In chunks, so that not all decoded objects are in memory at once
    for start in range(0, total, CHUNK):
        part = slice(start, start + CHUNK)
        found = decode_each(
            decoded.annotations[part], _Annotation, path, 'annotations', start
        )
        ids += [annotation.id for annotation in found]
        try:
            images[part] = [place[a.image_id] for a in found]
            categories[part] = [row[a.category_id] for a in found]
        except KeyError:
            _raise_stray(found, place, row, path)
    _check_unique(ids, 'annotations id', path)
    return ids, images, categories


def _raise_stray(
    annotations: Sequence[_Annotation], place: dict, row: dict, path: Path
) -> None:
    """Name the first annotation whose image or category is not there."""
    for annotation in annotations:
        for what, found, known in (
            ('image', annotation.image_id, place),
            ('category', annotation.category_id, row),
        ):
            if found not in known:
                raise ValueError(
                    f'annotation {annotation.id} of {path} is '
                    f'of {what} {found}, which the file lacks'
                )


def _check_unique(ids: Sequence, what: str, path: Path) -> None:
    """Raise with the first id that comes twice."""
    if len(set(ids)) == len(ids):
        return
    seen = set()
    for item in ids:
        if item in seen:
            raise ValueError(f'{path} has {what} {item} twice')
        seen.add(item)
