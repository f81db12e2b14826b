"""Store of proposal embeddings: a folder of shards and a manifest.

Shapes: P boxes of one image, D embedding size, n images per shard.

``manifest.json`` is the plan (:mod:`ovd.artifacts.store_plan`) and is written
first: whose embeddings of what, the settings, the ids of all images in
ascending order. Shard k, ``shard-00000.safetensors`` and so on, holds images
k * n to (k + 1) * n - 1 (:mod:`ovd.artifacts.store_shard`).

A shard's bytes depend on the plan alone, not on which process wrote it when.
It exists when it is whole, so a run computes just the shards that are missing.
"""

from collections import OrderedDict
from functools import cached_property
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple

import numpy as np

from .files import PathLike, require_file
from .store_plan import MANIFEST, StorePlan, find_missing_shards, shard_name
from .store_shard import BOX_KINDS, Item, open_shard, read_item
from .store_writer import EmbeddingStoreWriter
from .tensor_file import TensorFile

__all__ = [
    'BOX_KINDS',
    'EXTRACT',
    'MANIFEST',
    'EmbeddingStore',
    'EmbeddingStoreWriter',
    'shard_name',
]

# What makes a store, where it does not say so itself
EXTRACT = 'python tools/train.py FEATURE_EXTRACTOR_CONFIG'


class EmbeddingStore:
    """Read a store; memory-mapped, for many workers at once.

    Shards are opened when first asked for and never travel to another
    process: a copy sent to a spawned worker opens its own. What has to fail
    before a long run does in :meth:`check_covers`.

    Args:
        folder (PathLike): Folder of the store.
        max_open (int): Shards held open at once. Defaults to 512.
        partial (bool): Accept that shards are missing; asked for an image of
            one, it says so then. Defaults to False.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If it is damaged, or shards are missing: how many, and
            the command that computes them.
    """

    def __init__(
        self, folder: PathLike, max_open: int = 512, partial: bool = False
    ) -> None:
        self.folder = Path(folder)
        manifest = require_file(
            self.folder / MANIFEST, 'manifest of the embedding store', EXTRACT
        )
        self.manifest = StorePlan.load(manifest)
        self.max_open = max_open
        self._digest = self.manifest.digest()
        self._image_ids = np.array(self.manifest.image_ids, np.int64)
        self._open: 'OrderedDict[int, TensorFile]' = OrderedDict()
        self._command = self.manifest.command or EXTRACT
        if not partial:
            self._check_complete()

    def _check_complete(self) -> None:
        num_shards = self.manifest.num_shards
        missing = find_missing_shards(self.folder, num_shards)
        if missing:
            raise ValueError(
                f'{self.folder} is incomplete: {len(missing)} of {num_shards} '
                f'shards are missing; resume with: {self._command}'
            )

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

    @cached_property
    def broken(self) -> Dict[int, str]:
        """Images that could not be read: id -> reason, ids ascending.

        Asked first, it reads the header of every shard; errors are those of
        :meth:`get`.
        """
        return {
            int(image_id): reason
            for k in range(self.manifest.num_shards)
            for image_id, reason in self._open_shard(k).info['broken'].items()
        }

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._image_ids)

    def get(self, image_id: int) -> Item:
        """Return the boxes and embeddings of an image.

        Returns:
            dict: ``embeddings`` (P, D) float16 of unit norm, whatever they
            are stored as; ``bboxes`` (P, 4) float32 xyxy in pixels of the
            original image; ``scores`` (P,) float32; ``kinds`` (P,) uint8,
            indices into `BOX_KINDS`. They may be read-only views of the file:
            copy what you want to change.

        Raises:
            FileNotFoundError: If its shard is missing.
            KeyError: If the store does not have the image, with its id.
            ValueError: If its shard is damaged or of another store.
        """
        k, row = self._find(image_id)
        return read_item(self._shard(k), row)

    def why_broken(self, image_id: int) -> Optional[str]:
        """Return why an image could not be read, or None if it could.

        Only its own shard is opened; errors are those of :meth:`get`.
        """
        shard = self._shard(self._find(image_id)[0])
        return shard.info['broken'].get(str(image_id))

    def _find(self, image_id: int) -> Tuple[int, int]:
        """Return the number of an image's shard, and its row there."""
        position = int(np.searchsorted(self._image_ids, image_id))
        if position == len(self) or self._image_ids[position] != image_id:
            raise KeyError(
                f'image {image_id} is not in {self.folder}, which has the '
                f'images of {self.manifest.annotations.get("file")}'
            )
        return divmod(position, self.manifest.images_per_shard)

    def check_covers(self, images: Mapping[int, str]) -> None:
        """Raise unless the store has every one of these images.

        The headers of all shards are read, too: a shard that was cut off is
        found here, and not hours later.

        Args:
            images (Mapping[int, str]): Image id -> ``<dir>/<file>``.

        Raises:
            ValueError: With the first images that are missing, or that are
                other ones than the store has under their ids; or if a shard
                is damaged.
        """
        known = dict(zip(self.manifest.image_ids, self.manifest.image_keys))
        missing = [
            f'{key} (id {image_id})'
            for image_id, key in images.items()
            if known.get(image_id) != key
        ]
        if missing:
            first = ', '.join(missing[:3])
            raise ValueError(
                f'{self.folder} lacks {len(missing)} of the {len(images)} '
                f'images asked for: {first}'
                f'{", ..." if len(missing) > 3 else ""}; it has those of '
                f'{self.manifest.annotations.get("file")}'
            )
        _ = self.broken  # opens every shard

    def _shard(self, k: int) -> TensorFile:
        """Return an open shard; the one unused for longest gives way."""
        if k in self._open:
            self._open.move_to_end(k)
            return self._open[k]
        self._open[k] = shard = self._open_shard(k)
        if len(self._open) > self.max_open:
            self._open.popitem(last=False)
        return shard

    def _open_shard(self, k: int) -> TensorFile:
        path = self.folder / shard_name(k)
        try:
            return open_shard(path, self._digest, self.manifest.dtype)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f'{path} is missing; resume with: {self._command}'
            ) from error
        except ValueError as error:
            raise type(error)(
                f'{error}; remove it and resume with: {self._command}'
            ) from error
