"""Turn the images of shards into tasks for workers, and results into items.

Shapes: P boxes of an image, U crops of a task, D embedding size.
"""

import os
from collections import deque
from typing import (
    Any,
    Deque,
    Dict,
    Iterable,
    Iterator,
    List,
    Optional,
    Sequence,
    Tuple,
)

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from torch import Tensor
from torch.utils.data import DataLoader

from ovd.artifacts.embedding_store import BOX_KINDS
from ovd.artifacts.proposals import Proposals
from ovd.clip.crops import plan_crops
from ovd.clip.image_encoder import combine, encode_crops
from ovd.datasets.box_selection import (
    BoxSelection,
    OutsideError,
    annotated_boxes,
)
from ovd.datasets.crop_tasks import CropDataset, CropTask
from ovd.datasets.patient_worker import patient_worker
from ovd.models.proposal_feature_extractor import ProposalFeatureExtractor

from .hooks.distilled_boxes import image_keys

# Crops of one task: a large image is cut by several workers, and what waits
# in shared memory stays small (19 MB of crops of 224 pixels).
CROPS_PER_TASK = 128
Item = Dict[str, np.ndarray]


class ImageBoxes:
    """The images of a dataset and the boxes to embed of each.

    Args:
        dataset (BaseDataset): Detection dataset, whose annotations give the
            images' sizes and boxes.
        proposals (Proposals, optional): None embeds no proposals.
        selection (BoxSelection): Which boxes.
    """

    def __init__(
        self,
        dataset: BaseDataset,
        proposals: Optional[Proposals],
        selection: BoxSelection,
    ) -> None:
        self.dataset = dataset
        self.proposals = proposals
        self.selection = selection
        self.keys = image_keys(dataset)
        self.index = {image_id: i for i, image_id in enumerate(self.keys)}

    def select(self, image_id: int) -> Tuple[Item, Tuple[int, int]]:
        """Return ``bboxes``, ``scores`` and ``kinds``; height and width.

        Raises:
            KeyError: If the proposals lack the image.
            OutsideError: If a proposal lies outside the image.
        """
        info = self.dataset.get_data_info(self.index[image_id])
        size_hw = info['height'], info['width']
        entry = (
            None
            if self.proposals is None
            else self.proposals[self.keys[image_id]]
        )
        return self.selection.select(
            image_id, entry, annotated_boxes(info), size_hw
        ), size_hw

    def tasks(
        self, shards: Iterable[Sequence[int]], crop_scales: Sequence[float]
    ) -> Iterator[CropTask]:
        """Yield the tasks of the images of some shards, at least one each."""
        for image_ids in shards:
            for image_id in image_ids:
                tasks = self._tasks_of(image_id, crop_scales)
                tasks[-1].ends_image = True
                tasks[-1].ends_shard = image_id == image_ids[-1]
                yield from tasks

    def _tasks_of(
        self, image_id: int, crop_scales: Sequence[float]
    ) -> List[CropTask]:
        try:
            boxes, size_hw = self.select(image_id)
        except (KeyError, OutsideError) as error:
            return [self._broken(image_id, str(error.args[0]))]
        plan = plan_crops(
            boxes['bboxes'],
            crop_scales,
            boxes['kinds'] == BOX_KINDS.index('image'),
        )
        tasks = [
            CropTask(image_id, self.index[image_id], size_hw, windows)
            for windows in plan.windows.split(CROPS_PER_TASK)
        ]
        tasks[-1].boxes, tasks[-1].crop_index = boxes, plan.index
        return tasks

    def _broken(self, image_id: int, reason: str) -> CropTask:
        return CropTask(
            image_id,
            self.index[image_id],
            (0, 0),
            torch.zeros(0, 4, dtype=torch.int64),
            broken=reason,
        )


def build_loader(
    images: ImageBoxes,
    model: ProposalFeatureExtractor,
    tasks: Iterator[CropTask],
    settings: Dict[str, Any],
) -> DataLoader:
    """Return a loader that looks tasks up in their order.

    Args:
        images (ImageBoxes): Has the dataset.
        model (ProposalFeatureExtractor): Says how crops look.
        tasks (Iterator[CropTask]): Taken as workers get free.
        settings (dict): Of :class:`torch.utils.data.DataLoader`;
            ``num_workers`` None is what :func:`count_workers` says.
    """
    settings = dict(settings)
    if settings.get('num_workers') is None:
        settings['num_workers'] = count_workers(model.teacher.device)
    return DataLoader(
        CropDataset(images.dataset, model.teacher.image_size, model.crop_mode),
        sampler=tasks,
        batch_size=None,
        collate_fn=_keep,
        worker_init_fn=patient_worker,
        **settings,
    )


def count_workers(device: torch.device) -> int:
    """Return how many workers cut crops for this process.

    They are as many as its share of the cores, at most 8. Of one or two cores
    that CLIP itself works on there is none to spare: without workers an
    extraction was 1.06 times as fast as with two, or one, on two cores.

    Args:
        device (torch.device): That of CLIP.
    """
    processes = int(os.environ.get('LOCAL_WORLD_SIZE', 1))
    cores = (
        len(os.sched_getaffinity(0))
        if hasattr(os, 'sched_getaffinity')
        else os.cpu_count() or 1
    )
    share = max(1, cores // processes)
    return 0 if device.type == 'cpu' and share <= 2 else min(8, share)


def _keep(result: Any) -> Any:
    """Hand a worker's result over as it is."""
    return result


def embed_shard(
    model: ProposalFeatureExtractor, results: Iterator[Tuple[CropTask, Tensor]]
) -> Iterator[Tuple[CropTask, Item]]:
    """Yield the last task and the item of each image of the next shard.

    Batches are formed within the shard, so that its content does not depend
    on the shards before it.

    Args:
        model (ProposalFeatureExtractor): Has CLIP.
        results (Iterator): Of :func:`build_loader`; the shard is taken off.

    Yields:
        tuple: The task, whose ``broken`` says if the image could not be read,
        and ``embeddings`` (P, D) float16, ``bboxes``, ``scores``, ``kinds``;
        P is 0 for a broken image.
    """
    tasks: Deque[CropTask] = deque()

    def chunks() -> Iterator[Tensor]:
        for task, crops in results:
            tasks.append(task)
            yield crops
            if task.ends_shard:
                return

    parts: List[Tensor] = []
    broken = ''
    assert isinstance(model.batch_size, int)  # it is settled
    for features in encode_crops(model.teacher, chunks(), model.batch_size):
        task = tasks.popleft()
        parts.append(features)
        broken = broken or task.broken
        if task.ends_image:
            task.broken = broken
            item = _empty(features)
            if not broken:
                assert task.boxes is not None and task.crop_index is not None
                embeddings = combine(torch.cat(parts), task.crop_index)
                item = dict(task.boxes, embeddings=embeddings.half().numpy())
            yield task, item
            parts, broken = [], ''


def _empty(features: Tensor) -> Item:
    """Return the item of an image without boxes."""
    return dict(
        embeddings=np.zeros((0, features.shape[1]), np.float16),
        bboxes=np.zeros((0, 4), np.float32),
        scores=np.zeros(0, np.float32),
        kinds=np.zeros(0, np.uint8),
    )
