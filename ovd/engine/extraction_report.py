"""What an extraction says before its first shard and after its last."""

import shutil
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import List, Optional, Sequence

from mmengine.runner import Runner

from ovd.artifacts.embedding_store import EmbeddingStoreWriter
from ovd.artifacts.files import PathLike
from ovd.artifacts.store_check import count_shard
from ovd.artifacts.store_plan import shard_name
from ovd.clip.crops import plan_crops
from ovd.clip.encoder_speed import EncoderSpeed
from ovd.datasets.box_selection import OutsideError

from .extraction_tasks import ImageBoxes

NUM_SAMPLED = 200
# Of a box beside its embedding: corners, score, kind
BYTES_PER_BOX = 4 * 4 + 4 + 1


@dataclass(frozen=True)
class Estimate:
    """How much work some images are, from a sample of them.

    Args:
        num_boxes (float): Of all images.
        num_crops (float): Likewise, those of one window counted once.
    """

    num_boxes: float
    num_crops: float

    @classmethod
    def of(
        cls,
        images: ImageBoxes,
        image_ids: Sequence[int],
        crop_scales: Sequence[float],
    ) -> 'Estimate':
        """Select the boxes of some images, spread evenly, and scale up."""
        sampled = image_ids[:: max(1, len(image_ids) // NUM_SAMPLED)]
        boxes = crops = 0
        for image_id in sampled:
            try:
                found = images.select(image_id)[0]['bboxes']
            except (KeyError, OutsideError):
                continue  # broken: said when its turn comes
            boxes += len(found)
            crops += len(plan_crops(found, crop_scales).windows)
        scale = len(image_ids) / max(1, len(sampled))
        return cls(boxes * scale, crops * scale)

    def num_bytes(self, embed_dims: int, dtype: str) -> float:
        """Return the size of their embeddings in a store."""
        embedding = 2 * embed_dims if dtype == 'float16' else embed_dims + 4
        return self.num_boxes * (embedding + BYTES_PER_BOX)


def announce(
    runner: Runner,
    images: ImageBoxes,
    writer: EmbeddingStoreWriter,
    missing: Sequence[int],
    speed: EncoderSpeed,
    store: Optional[PathLike] = None,
) -> None:
    """Log what is to be done, how large it gets and how long it takes.

    ``store`` is the folder to speak of, where it is not that of the writer.
    """
    log, plan, store = runner.logger, writer.plan, Path(store or writer.folder)
    for shard, reason in writer.damaged.items():
        log.warning(f'shard {shard} of {store} is computed anew: {reason}')
    log.info(f'{store}: {len(missing)} of {plan.num_shards} shards to compute')
    if not missing:
        return
    image_ids = [i for k in missing for i in plan.shard_image_ids(k)]
    work = Estimate.of(images, image_ids, runner.model.crop_scales)
    num_bytes = work.num_bytes(runner.model.teacher.embed_dims, plan.dtype)
    seconds = work.num_crops / speed.crops_per_second / runner.world_size
    log.info(
        f'about {work.num_boxes:,.0f} boxes of {len(image_ids):,} images, '
        f'{work.num_crops:,.0f} crops, {num_bytes / 1e9:.3g} GB; CLIP '
        f'encodes {speed.crops_per_second:.1f} crops/s here, measured in '
        f'{speed}: about '
        f'{timedelta(seconds=round(seconds))} with {runner.world_size} '
        f'process{"es" if runner.world_size > 1 else ""} like this one, if '
        'images are read and cut as fast'
    )
    folder = next(
        p for p in (store.absolute(), *store.absolute().parents) if p.exists()
    )
    free = shutil.disk_usage(folder).free
    if num_bytes > free:
        log.warning(
            f'the disk of {store} has {free / 1e9:.1f} GB left, which is too '
            'little: free some space, or choose fewer boxes or dtype="int8"; '
            'what is done when it is full is kept'
        )


def report(
    runner: Runner,
    writer: EmbeddingStoreWriter,
    shards: List[int],
    seconds: float,
    seconds_writing: float,
) -> None:
    """Log how fast all processes together were, and what was skipped."""
    log = runner.logger
    found = [count_shard(writer.folder / shard_name(k)) for k in shards]
    broken = [image_id for shard in found for image_id in shard.broken]
    num_images = sum(len(shard.boxes) for shard in found) - len(broken)
    num_crops = len(runner.model.crop_scales) * sum(
        sum(shard.boxes) for shard in found
    )
    if broken:  # those of other processes are in no log
        log.warning(
            f'{len(broken)} images are broken and have no embeddings; why: '
            f'python tools/embedding_store.py stat {writer.folder}'
        )
    log.info(
        f'{writer.folder} is complete; embedded {num_images} images in '
        f'{seconds:.1f} s: {num_images / seconds:.1f} images/s, '
        f'{num_crops / seconds:.1f} crops/s; writing took '
        f'{100 * seconds_writing / seconds:.1f} % of it'
    )
