"""Check a shard of an embedding store in full: each of its bytes."""
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from .embedding_store import digest_arrays
from .files import PathLike, require_file
from .store_plan import StorePlan, shard_name
from .tensor_file import TensorFile

NAMES = ('bboxes', 'embeddings', 'image_ids', 'offsets', 'scores')


@dataclass(frozen=True)
class ShardSize:
    """What a sound shard has.

    Args:
        shard (int): Its number.
        images (int): How many.
        embeddings (int): Of all images together.
        embed_dims (int): D.
    """
    shard: int
    images: int
    embeddings: int
    embed_dims: int


def check_shard(path: PathLike,
                plan: Optional[StorePlan] = None) -> ShardSize:
    """Read a shard and compare it with its digest and its place.

    Args:
        path (PathLike): The file.
        plan (StorePlan, optional): That of its store, if there is one.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If it is damaged, changed, of another store, or another
            shard than its name says.
    """
    path = require_file(path, 'shard of an embedding store')
    file = TensorFile(path)
    if not {'plan', 'shard', 'sha256'} <= file.info.keys():
        raise ValueError(f'{path} is no shard of an embedding store')
    arrays = {name: file.read(name) for name in NAMES}
    if digest_arrays(arrays) != file.info['sha256']:
        raise ValueError(f'{path} is damaged: its content has another digest '
                         'than it says')
    if plan is not None and file.info['plan'] != plan.digest():
        raise ValueError(f'{path} belongs to another store')
    shard = file.info['shard']
    if Path(path).name != shard_name(shard):
        raise ValueError(f'{path} is shard {shard} under another name: '
                         f'expected {shard_name(shard)}')
    return ShardSize(shard, len(arrays['image_ids']),
                     *arrays['embeddings'].shape)
