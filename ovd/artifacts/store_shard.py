"""One shard of an embedding store: its arrays, and an image's part of them.

Shapes: n images, P boxes of one of them, D embedding size.

* ``embeddings`` (sum of P, D) float16, or int8 with ``scales`` (sum of P,)
  float32: an embedding is its integers times its scale;
* ``bboxes`` (sum of P, 4) float32 xyxy, pixels of the original image;
* ``scores`` (sum of P,) float32;
* ``kinds`` (sum of P,) uint8: what a box is, an index into `BOX_KINDS`;
* ``image_ids`` (n,) int64; ``offsets`` (n + 1,) int64 into the rows above.

The header has the digest of the plan, the shard's number, the images that
could not be read, with the reason (``broken``), and the digest of all that,
with the names, dtypes, shapes and places of the arrays.
"""

import hashlib
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

import numpy as np

from .files import PathLike
from .store_plan import STORE_DTYPES, shard_name
from .tensor_file import (
    TensorFile,
    digest_tensors,
    encode_header,
    write_tensors,
)

BOX_KINDS = ('proposal', 'ground_truth', 'jittered', 'image')
Item = Dict[str, np.ndarray]
# Beside the embeddings, one row for each box
_COLUMNS = dict(bboxes=np.float32, scores=np.float32, kinds=np.uint8)
# Of all arrays but the embeddings
_DTYPES = dict(
    _COLUMNS, scales=np.float32, image_ids=np.int64, offsets=np.int64
)
_LEVELS = 127


class ForeignShardError(ValueError):
    """A sound shard of another store: it may be the only copy."""


def write_shard(
    path: PathLike, info: Dict[str, Any], arrays: Dict[str, np.ndarray]
) -> None:
    """Write a shard atomically, with its digest.

    Args:
        path (PathLike): Where to.
        info (dict): ``plan`` (digest), ``shard`` and ``broken`` (str(image
            id) -> reason).
        arrays (dict[str, ndarray]): From :func:`pack_items`.
    """
    digest = _digest(arrays, info, digest_tensors(arrays))
    write_tensors(path, arrays, dict(info, sha256=digest))


def open_shard(
    path: PathLike, plan: Optional[str] = None, dtype: Optional[str] = None
) -> TensorFile:
    """Open a shard; only its header is read and checked.

    Args:
        path (PathLike): The file.
        plan (str, optional): Digest of the plan that it must belong to.
        dtype (str, optional): What that plan has embeddings stored as.

    Raises:
        FileNotFoundError: If it does not exist.
        ForeignShardError: If it belongs to another plan.
        ValueError: If it is cut off, no shard, or another one than its name
            says.
    """
    file = TensorFile(path)
    shard = file.info.get('shard')
    if (
        not {'plan', 'broken', 'sha256'} <= file.info.keys()
        or type(shard) is not int
        or not isinstance(file.info['broken'], dict)
    ):
        raise ValueError(f'{path} is no shard of an embedding store')
    if plan is not None and file.info['plan'] != plan:
        raise ForeignShardError(f'{path} belongs to another store')
    if file.path.name != shard_name(shard):
        raise ValueError(
            f'{path} is shard {shard} under another name: '
            f'expected {shard_name(shard)}'
        )
    _check_shapes(file)
    _check_dtypes(file, STORE_DTYPES if dtype is None else (dtype,))
    return file


def _check_shapes(file: TensorFile) -> None:
    """Raise a ValueError unless the arrays belong together."""
    rows, embed_dims = file.shape('scores')[:1], file.shape('embeddings')[-1:]
    expected = dict(
        scores=rows,
        kinds=rows,
        bboxes=(*rows, 4),
        embeddings=(*rows, *embed_dims),
        offsets=tuple(n + 1 for n in file.shape('image_ids')),
    )
    if file.read('embeddings').dtype == np.int8:
        expected['scales'] = rows
    for name, shape in expected.items():
        if file.shape(name) != shape:
            raise ValueError(
                f'{file.path} is damaged: {name} are of shape '
                f'{file.shape(name)}, expected {shape}'
            )


def _check_dtypes(file: TensorFile, dtypes: Sequence[str]) -> None:
    """Raise a ValueError unless each array is of the dtype it is to have."""
    for name, array in _arrays(file).items():
        expected = (
            dtypes if name == 'embeddings' else [np.dtype(_DTYPES[name]).name]
        )
        if array.dtype.name not in expected:
            raise ValueError(
                f'{file.path} is damaged: {name} are '
                f'{array.dtype}, expected '
                f'{" or ".join(expected)}'
            )


def check_digest(file: TensorFile) -> None:
    """Read all of a shard; raise a ValueError if a byte has changed."""
    arrays = _arrays(file)
    info = {key: value for key, value in file.info.items() if key != 'sha256'}
    # Same content, same bytes: so the places of two arrays can't be swapped
    header = encode_header(arrays, file.info)
    with open(file.path, 'rb') as opened:
        is_sound = opened.read(len(header)) == header
    if (
        not is_sound
        or _digest(arrays, info, file.digest()) != file.info['sha256']
    ):
        raise ValueError(
            f'{file.path} is damaged: its content has another '
            'digest than it says'
        )


def _arrays(file: TensorFile) -> Dict[str, np.ndarray]:
    """Return the arrays of a shard, views of the file, by name."""
    is_int8 = file.read('embeddings').dtype == np.int8
    return {
        name: file.read(name)
        for name in ('embeddings', *_DTYPES)
        if name != 'scales' or is_int8
    }


def _digest(
    arrays: Dict[str, np.ndarray], info: Dict[str, Any], content: str
) -> str:
    """Return the digest of the header, without itself, and the content."""
    header = encode_header(arrays, info)
    return hashlib.sha256(header + content.encode()).hexdigest()


def pack_items(
    image_ids: Sequence[int], items: Sequence[Item], dtype: str
) -> Dict[str, np.ndarray]:
    """Lay the items of a shard end to end.

    Args:
        image_ids (Sequence[int]): n ids.
        items (Sequence[dict]): n times ``embeddings`` (P, D), ``bboxes``
            (P, 4), ``scores`` (P,) and, unless all boxes are proposals,
            ``kinds`` (P,).
        dtype (str): ``'float16'`` or ``'int8'``, of the embeddings.

    Raises:
        ValueError: If an item is malformed or not finite, with its image.
    """
    # D of the first image is that of all
    embed_dims = (np.shape(items[0].get('embeddings', 0)) or (0,))[-1]
    items = [
        _check_item(image_id, item, embed_dims)
        for image_id, item in zip(image_ids, items, strict=True)
    ]
    offsets = np.cumsum(
        [0] + [len(item['scores']) for item in items], dtype=np.int64
    )
    arrays = {
        name: np.concatenate(
            [item[name] for item in items], dtype=column, casting='unsafe'
        )
        for name, column in _COLUMNS.items()
    }
    total = int(offsets[-1])
    embeddings = arrays['embeddings'] = np.empty((total, embed_dims), dtype)
    if dtype == 'int8':
        arrays['scales'] = np.empty(total, np.float32)
    # Image by image: all of them at once would be a second copy
    for i, item in enumerate(items):
        rows = slice(offsets[i], offsets[i + 1])
        if dtype == 'int8':
            embeddings[rows], arrays['scales'][rows] = quantise(
                item['embeddings']
            )
        else:
            with np.errstate(over='ignore'):  # found in the next line
                embeddings[rows] = item['embeddings']
            _check_finite(image_ids[i], 'embeddings', embeddings[rows])
    return dict(
        arrays, image_ids=np.array(image_ids, np.int64), offsets=offsets
    )


def read_item(file: TensorFile, row: int) -> Item:
    """Return what a shard has of its image number ``row``.

    All but dequantised embeddings are read-only views of the file.
    """
    start, stop = file.read_rows('offsets', row, row + 2).tolist()
    item = {
        name: file.read_rows(name, start, stop)
        for name in ('embeddings', *_COLUMNS)
    }
    if item['embeddings'].dtype == np.int8:
        item['embeddings'] = dequantise(
            item['embeddings'], file.read_rows('scales', start, stop)
        )
    return item


def quantise(embeddings: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Round vectors to integers from -127 to 127.

    The largest number of a vector becomes 127, with its sign. Its scale is
    not that number's, but gives the integers the vector's own norm: all that
    is lost is direction, and what had unit norm has it again.

    Args:
        embeddings (ndarray): (P, D).

    Returns:
        tuple[ndarray, ndarray]: (P, D) int8 and scales (P,) float32.
    """
    vectors = np.asarray(embeddings, np.float32)
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    rounded = np.rint(vectors * (_LEVELS / np.maximum(largest, 1e-30)))
    norms = np.linalg.norm(rounded, axis=1)
    scales = np.linalg.norm(vectors, axis=1) / np.maximum(norms, 1)
    return rounded.astype(np.int8), scales.astype(np.float32)


def dequantise(integers: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Return (P, D) float16 of (P, D) int8 and their scales (P,)."""
    return (integers * scales[:, None]).astype(np.float16)


def _check_item(
    image_id: int, item: Mapping[str, np.ndarray], embed_dims: int
) -> Item:
    """Return an item with its kinds, if all of it is as it should be."""
    item = dict(item)
    num = len(np.atleast_1d(item.get('scores', 0)))
    if item.get('kinds') is None:
        item['kinds'] = np.zeros(num, np.uint8)
    shapes = {
        name: np.shape(item.get(name, 0)) for name in ('embeddings', *_COLUMNS)
    }
    if shapes != dict(
        embeddings=(num, embed_dims),
        bboxes=(num, 4),
        scores=(num,),
        kinds=(num,),
    ):
        raise ValueError(
            f'image {image_id}: expected embeddings (P, {embed_dims}), bboxes '
            f'(P, 4), scores (P,) and kinds (P,), got {shapes}'
        )
    for name in ('embeddings', 'bboxes', 'scores'):
        _check_finite(image_id, name, item[name])
    wrong = ~np.isin(item['kinds'], range(len(BOX_KINDS)))
    if wrong.any():
        raise ValueError(
            f'image {image_id}: kinds must be 0 to {len(BOX_KINDS) - 1} '
            f'({", ".join(BOX_KINDS)}), got {item["kinds"][wrong][0]}'
        )
    return item


def _check_finite(image_id: int, name: str, array: np.ndarray) -> None:
    if not np.isfinite(array).all():
        raise ValueError(f'image {image_id}: {name} are not all finite')
