"""Look into a shard of an embedding store: what it has; each of its bytes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Optional, Tuple

import numpy as np

from .files import PathLike, require_file
from .store_shard import BOX_KINDS, check_digest, open_shard
from .tensor_file import TensorFile


@dataclass(frozen=True)
class ShardContent:
    """What a shard has.

    Args:
        shard (int): Its number.
        boxes (tuple[int]): How many, of each image.
        kinds (dict[str, int]): How many boxes of each of `BOX_KINDS`.
        embed_dims (int): D.
        dtype (str): What embeddings are stored as.
        broken (dict[int, str]): Images that could not be read: id -> reason.
        size (int): Of the file, in bytes.
    """

    shard: int
    boxes: Tuple[int, ...]
    kinds: Dict[str, int]
    embed_dims: int
    dtype: str
    broken: Dict[int, str]
    size: int


def check_shard(
    path: PathLike, plan: Optional[str] = None, dtype: Optional[str] = None
) -> ShardContent:
    """Read a shard and compare it with its digest and its place.

    Args:
        path (PathLike): The file.
        plan (str, optional): Digest of the plan of its store, if there is
            one.
        dtype (str, optional): What that plan has embeddings stored as.

    Raises:
        FileNotFoundError: If it does not exist.
        ForeignShardError: If it belongs to another store.
        ValueError: If it is damaged, changed, or another shard than its name
            says.
    """
    file = _open(path, plan, dtype)
    check_digest(file)
    return _count(file)


def count_shard(
    path: PathLike, plan: Optional[str] = None, dtype: Optional[str] = None
) -> ShardContent:
    """Return what a shard has without reading its embeddings.

    Arguments and errors are those of :func:`check_shard`, but bytes that
    changed are not found.
    """
    return _count(_open(path, plan, dtype))


def _open(
    path: PathLike, plan: Optional[str], dtype: Optional[str]
) -> TensorFile:
    path = require_file(path, 'shard of an embedding store')
    return open_shard(path, plan, dtype)


def _count(file: TensorFile) -> ShardContent:
    kinds = np.bincount(file.read('kinds'), minlength=len(BOX_KINDS))
    embeddings = file.read('embeddings')
    return ShardContent(
        file.info['shard'],
        tuple(np.diff(file.read('offsets')).tolist()),
        dict(zip(BOX_KINDS, kinds.tolist())),
        embeddings.shape[1],
        embeddings.dtype.name,
        {int(key): reason for key, reason in file.info['broken'].items()},
        Path(file.path).stat().st_size,
    )
