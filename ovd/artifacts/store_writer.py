"""Fill an embedding store, shard by shard, from any number of processes."""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from .files import PathLike
from .store_plan import MANIFEST, StorePlan, shard_name
from .store_shard import (
    ForeignShardError,
    Item,
    open_shard,
    pack_items,
    write_shard,
)

# Seconds. Younger temporary files may be those of a run that goes on, on
# another machine, too; a shard takes seconds from its first byte to its name.
ABANDONED_AFTER = 3600
_REMEDY = 'remove it, or choose a new folder'


class EmbeddingStoreWriter:
    """Fill a store; any number of processes may do it together.

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
            _refuse_unknown_shards(self.folder, plan)
            plan.save(manifest)
        # Read back even what was just written: of two runs that start at
        # once with different settings, one finds the other's plan.
        found = StorePlan.load(manifest)
        _refuse_other_plan(self.folder, found, plan)
        # Equal plans may be written differently (0 and 0.0).
        self._digest = found.digest()
        self.damaged: Dict[int, str] = {}
        # Shard -> its time and size when it was looked into, and its fault
        self._seen: Dict[int, Tuple[Tuple[int, int], Optional[str]]] = {}

    def missing_shards(self) -> List[int]:
        """Return the numbers of the shards still to be computed.

        A shard that is cut off or unreadable is one of them, and
        ``damaged`` then has the reason: number -> what is wrong. Only headers
        are read, and only of shards that are new since the last call. Bytes
        that changed are found by ``tools/embedding_store.py verify``.

        Raises:
            ValueError: If a shard belongs to another store.
        """
        missing, self.damaged = [], {}
        for shard in range(self.plan.num_shards):
            path = os.path.join(self.folder, shard_name(shard))
            try:
                stat = os.stat(path)
            except FileNotFoundError:
                missing.append(shard)
                continue
            stamp = stat.st_mtime_ns, stat.st_size
            if self._seen.get(shard, (None,))[0] != stamp:
                self._seen[shard] = stamp, self._find_fault(path)
            fault = self._seen[shard][1]
            if fault:
                missing.append(shard)
                self.damaged[shard] = fault
        return missing

    def _find_fault(self, path: str) -> Optional[str]:
        """Return what is wrong with a shard, as far as its header tells."""
        try:
            open_shard(path, self._digest, self.plan.dtype)
        except ForeignShardError as error:
            raise ValueError(f'{error}; {_REMEDY}') from error
        except (ValueError, OSError) as error:
            return str(error)
        return None

    def write_shard(
        self,
        shard: int,
        items: Sequence[Item],
        broken: Optional[Mapping[int, str]] = None,
    ) -> None:
        """Write one shard atomically.

        Args:
            shard (int): Its number.
            items (Sequence[dict]): In the order of
                :meth:`StorePlan.shard_image_ids`, ``{'embeddings': (P, D),
                'bboxes': (P, 4), 'scores': (P,), 'kinds': (P,)}`` of each
                image. ``kinds`` are indices into `BOX_KINDS`; without them
                all boxes are proposals.
            broken (Mapping[int, str], optional): Image id -> why the image
                could not be read; its item has no boxes.

        Raises:
            ValueError: If an item is missing, malformed or not finite.
        """
        image_ids = self.plan.shard_image_ids(shard)
        if len(items) != len(image_ids):
            raise ValueError(
                f'shard {shard} has {len(image_ids)} images, got '
                f'{len(items)} items'
            )
        broken = dict(sorted((broken or {}).items()))
        _check_broken(shard, broken, dict(zip(image_ids, items)))
        info = dict(
            plan=self._digest,
            shard=shard,
            broken={
                str(image_id): str(reason)
                for image_id, reason in broken.items()
            },
        )
        write_shard(
            self.folder / shard_name(shard),
            info,
            pack_items(image_ids, items, self.plan.dtype),
        )

    def remove_leftovers(self) -> None:
        """Remove what writers left that were killed an hour ago or before.

        Call it when no shard is missing.
        """
        for path in self.folder.glob('.*.tmp'):
            with suppress(FileNotFoundError):  # its writer ends, or another
                if time.time() - path.stat().st_mtime > ABANDONED_AFTER:
                    path.unlink()


def _refuse_unknown_shards(folder: Path, plan: StorePlan) -> None:
    """Raise a ValueError if shards without a manifest are not of a plan."""
    digest = plan.digest()
    for path in sorted(folder.glob('shard-*.safetensors')):
        try:
            open_shard(path, digest, plan.dtype)
        except (ValueError, OSError) as error:
            raise ValueError(
                f'{folder} has shards and no {MANIFEST}, and they are not '
                f'those of this run: {error}; {_REMEDY}'
            ) from error


def _refuse_other_plan(
    folder: Path, found: StorePlan, plan: StorePlan
) -> None:
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
            + '\n'.join(differences)
            + f'\n{_REMEDY}'
        )


def _check_broken(
    shard: int, broken: Mapping[int, str], items: Mapping[int, Item]
) -> None:
    """Raise unless broken images are of the shard and have no boxes."""
    for image_id in broken:
        if image_id not in items:
            raise ValueError(
                f'broken image {image_id} is not in shard {shard}'
            )
        if len(items[image_id]['scores']):
            raise ValueError(f'broken image {image_id} has boxes')
