"""Store of proposal embeddings: a folder of shards and a manifest.

Shapes: P proposals of one image, D embedding size, n images per shard.

``manifest.json`` is the plan and is written first: whose embeddings of what,
the settings, the ids of all images in ascending order. Shard k,
``shard-00000.safetensors`` and so on, holds images k * n to (k + 1) * n - 1:

* ``embeddings`` (sum of P, D) float16, unit norm before rounding;
* ``bboxes`` (sum of P, 4) float32 xyxy, pixels of the original image;
* ``scores`` (sum of P,) float32;
* ``image_ids`` (n,) int64; ``offsets`` (n + 1,) int64 into the rows above.

A shard's bytes depend on the plan alone, not on which process wrote it when.
It exists when it is whole, so a run computes just the shards that are missing.
"""
import hashlib
from collections import OrderedDict
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence

import numpy as np

from .files import PathLike, require_file
from .store_plan import StorePlan, find_missing_shards, shard_name
from .tensor_file import TensorFile, write_tensors

MANIFEST = 'manifest.json'
Item = Dict[str, np.ndarray]


class EmbeddingStoreWriter:
    """Fill a store, shard by shard, from any number of processes.

    Args:
        folder (PathLike): Folder; made with its manifest if it has none.
        plan (StorePlan): What the store is to hold.

    Raises:
        ValueError: If the folder has another plan, with the differences.
    """

    def __init__(self, folder: PathLike, plan: StorePlan) -> None:
        self.folder = Path(folder)
        self.plan = plan
        manifest = self.folder / MANIFEST
        if not manifest.is_file():
            if any(self.folder.glob('shard-*.safetensors')):
                raise ValueError(
                    f'{self.folder} has shards and no {MANIFEST}: nobody can '
                    'say what they are; remove them or choose a new folder')
            plan.save(manifest)
        # Read back even what was just written: of two runs that start at
        # once with different settings, one finds the other's plan.
        found = StorePlan.load(manifest)
        _refuse_other_plan(self.folder, found, plan)
        # Equal plans may be written differently (0 and 0.0).
        self._digest = found.digest()

    def missing_shards(self) -> List[int]:
        """Return the numbers of the shards still to be computed."""
        return find_missing_shards(self.folder, self.plan.num_shards)

    def write_shard(self, shard: int, items: Sequence[Item]) -> None:
        """Write one shard atomically.

        Args:
            shard (int): Its number.
            items (Sequence[dict]): In the order of
                :meth:`StorePlan.shard_image_ids`, ``{'embeddings': (P, D),
                'bboxes': (P, 4), 'scores': (P,)}`` of each image.

        Raises:
            ValueError: If an item is missing, malformed or not finite.
        """
        image_ids = self.plan.shard_image_ids(shard)
        if len(items) != len(image_ids):
            raise ValueError(f'shard {shard} has {len(image_ids)} images, got '
                             f'{len(items)} items')
        for image_id, item in zip(image_ids, items):
            _check_item(image_id, item)
        arrays = {
            name: np.concatenate([item[name] for item in items]).astype(dtype)
            for name, dtype in (('embeddings', np.float16),
                                ('bboxes', np.float32), ('scores', np.float32))
        }
        arrays['image_ids'] = np.array(image_ids, np.int64)
        arrays['offsets'] = np.cumsum(
            [0] + [len(item['scores']) for item in items], dtype=np.int64)
        info = dict(
            plan=self._digest, shard=shard, sha256=digest_arrays(arrays))
        write_tensors(self.folder / shard_name(shard), arrays, info)

    def remove_leftovers(self) -> None:
        """Remove what killed writers left; call when no shard is missing."""
        for path in self.folder.glob('.*.tmp'):
            path.unlink(missing_ok=True)


def _refuse_other_plan(folder: Path, found: StorePlan,
                       plan: StorePlan) -> None:
    """Raise a ValueError with every difference between two plans."""
    ours, theirs = plan.identity(), found.identity()
    differences = [
        f'  {key}: {theirs.get(key)} in the store, {ours.get(key)} now'
        for key in sorted({*ours, *theirs})
        if ours.get(key) != theirs.get(key)
    ]
    if differences:
        raise ValueError(
            f'{folder} was begun with other settings:\n'
            + '\n'.join(differences) + '\nremove it, or choose a new folder')


def _check_item(image_id: int, item: Item) -> None:
    """Check what an image brings: shapes and finite numbers."""
    num, shapes = len(item['scores']), {
        name: item[name].shape for name in ('embeddings', 'bboxes', 'scores')}
    if shapes['scores'] != (num, ) or shapes['bboxes'] != (num, 4) or \
            len(shapes['embeddings']) != 2 or shapes['embeddings'][0] != num:
        raise ValueError(
            f'image {image_id}: expected embeddings (P, D), bboxes (P, 4) and '
            f'scores (P,), got {shapes}')
    for name in shapes:
        if not np.isfinite(item[name]).all():
            raise ValueError(f'image {image_id}: {name} are not all finite')


def digest_arrays(arrays: Dict[str, np.ndarray]) -> str:
    """Return the SHA-256 of the arrays' bytes, in the order of names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


class EmbeddingStore:
    """Read a complete store; memory-mapped, for many workers at once.

    Shards are opened when first asked for and never travel to another
    process: a copy sent to a spawned worker opens its own.

    Args:
        folder (PathLike): Folder of the store.
        max_open (int): Shards held open at once. Defaults to 512.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If it is damaged, or shards are missing: how many, and
            the command that computes them.
    """

    def __init__(self, folder: PathLike, max_open: int = 512) -> None:
        self.folder = Path(folder)
        manifest = require_file(
            self.folder / MANIFEST, 'manifest of the embedding store',
            'python tools/train.py FEATURE_EXTRACTOR_CONFIG')
        self.manifest = StorePlan.load(manifest)
        self.max_open = max_open
        self._digest = self.manifest.digest()
        self._image_ids = np.array(self.manifest.image_ids, np.int64)
        self._open: 'OrderedDict[int, TensorFile]' = OrderedDict()
        self._check_complete()

    def _check_complete(self) -> None:
        num_shards = self.manifest.num_shards
        missing = find_missing_shards(self.folder, num_shards)
        if missing:
            command = self.manifest.command or \
                'python tools/train.py FEATURE_EXTRACTOR_CONFIG'
            raise ValueError(
                f'{self.folder} is incomplete: {len(missing)} of {num_shards} '
                f'shards are missing; resume with: {command}')

    def __getstate__(self) -> Dict[str, Any]:
        return {**self.__dict__, '_open': OrderedDict()}

    @property
    def clip(self) -> Dict[str, str]:
        """``{'name', 'sha256'}`` of the CLIP that made the embeddings."""
        return self.manifest.clip

    @property
    def embed_dims(self) -> int:
        """D; 0 for a store without images."""
        if not len(self):
            return 0
        return self._shard(0).shape('embeddings')[1]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._image_ids)

    def get(self, image_id: int) -> Item:
        """Return the proposals and embeddings of an image.

        Returns:
            dict: ``embeddings`` (P, D) float16, ``bboxes`` (P, 4) float32
            xyxy in pixels of the original image, ``scores`` (P,) float32.

        Raises:
            KeyError: If the store does not have the image, with its id.
            ValueError: If its shard is damaged or of another store.
        """
        position = int(np.searchsorted(self._image_ids, image_id))
        if position == len(self) or self._image_ids[position] != image_id:
            raise KeyError(
                f'image {image_id} is not in {self.folder}, which has the '
                f'images of {self.manifest.annotations.get("file")}')
        k, row = divmod(position, self.manifest.images_per_shard)
        shard = self._shard(k)
        start, stop = shard.read_rows('offsets', row, row + 2).tolist()
        return {
            name: shard.read_rows(name, start, stop)
            for name in ('embeddings', 'bboxes', 'scores')
        }

    def check_covers(self, images: Mapping[int, str]) -> None:
        """Raise unless the store has every one of these images.

        Args:
            images (Mapping[int, str]): Image id -> ``<dir>/<file>``.

        Raises:
            ValueError: With the first images that are missing, or that are
                other ones than the store has under their ids.
        """
        known = dict(zip(self.manifest.image_ids, self.manifest.image_keys))
        missing = [
            f'{key} (id {image_id})' for image_id, key in images.items()
            if known.get(image_id) != key
        ]
        if missing:
            first = ', '.join(missing[:3])
            raise ValueError(
                f'{self.folder} lacks {len(missing)} of the {len(images)} '
                f'images asked for: {first}'
                f'{", ..." if len(missing) > 3 else ""}; it has those of '
                f'{self.manifest.annotations.get("file")}')

    def _shard(self, k: int) -> TensorFile:
        """Return an open shard; the one unused for longest gives way."""
        if k in self._open:
            self._open.move_to_end(k)
            return self._open[k]
        path = self.folder / shard_name(k)
        try:
            shard = TensorFile(path)
        except ValueError as error:
            raise ValueError(
                f'{error}; remove {path.name} and resume with: '
                f'{self.manifest.command}') from error
        if shard.info.get('plan') != self._digest:
            raise ValueError(f'{path} belongs to another store')
        self._open[k] = shard
        if len(self._open) > self.max_open:
            self._open.popitem(last=False)
        return shard
