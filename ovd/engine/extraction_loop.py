"""Fill a store of proposal embeddings: plan, share out, embed, write."""
import os
import time
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy as np
import torch
from mmdet.registry import DATASETS, LOOPS
from mmengine.dist import broadcast_object_list
from mmengine.runner import BaseLoop, Runner
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from ovd.artifacts.embedding_store import EmbeddingStoreWriter, shard_name
from ovd.artifacts.files import sha256_file
from ovd.artifacts.proposals import (
    Entry,
    image_key,
    load_proposals,
    select_proposals,
)
from ovd.artifacts.provenance import check_same_source
from ovd.artifacts.store_plan import StorePlan
from ovd.artifacts.tensor_file import TensorFile
from ovd.datasets.gzsl_split import describe_annotations

# Rounding may put a box this many pixels over the edge of its image.
TOLERANCE = 1.0


@LOOPS.register_module()
class ExtractionLoop(BaseLoop):
    """Embed the proposals of every image of a dataset.

    The shards that are missing are shared out among the processes; each is
    computed by itself, CLIP's batches included, and written when it is whole.
    So a run may be killed at any time, and go on with any number of
    processes, without a change in the result.

    Args:
        runner (Runner): Has the model, a :class:`ProposalFeatureExtractor`.
        dataloader (dict): ``dataset``, in test mode, whose pipeline gives
            ``img`` (H, W, 3) uint8 BGR in its original size; the rest is
            passed to :class:`torch.utils.data.DataLoader` (``num_workers``).
        proposals (str): Proposals file.
        store (str): Folder to fill.
        images_per_shard (int): Defaults to 500.
        num_max_proposals (int, optional): The best of an image to embed; None
            embeds all. Defaults to None.
        min_size (float): Shortest side of a box in pixels. Defaults to 0.

    Raises:
        FileNotFoundError: If the proposals do not exist.
        ValueError: If the proposals are for other images, or the store was
            begun with other settings.
    """

    def __init__(self,
                 runner: Runner,
                 dataloader: Dict[str, Any],
                 proposals: str,
                 store: str,
                 images_per_shard: int = 500,
                 num_max_proposals: Optional[int] = None,
                 min_size: float = 0.0) -> None:
        # Which images to load is known when the shards are shared out.
        super().__init__(runner, dataloader=None)
        self.loader_cfg = dict(dataloader)
        self.dataset = DATASETS.build(self.loader_cfg.pop('dataset'))
        self.store = store
        self.num_max_proposals = num_max_proposals
        self.min_size = min_size
        self.proposals = load_proposals(proposals)
        infos = map(self.dataset.get_data_info, range(len(self.dataset)))
        self.images = {
            info['img_id']: (index, image_key(info['img_path']))
            for index, info in enumerate(infos)
        }
        ann_file = self.dataset.ann_file
        annotations = describe_annotations(ann_file)
        check_same_source(annotations,
                          self.proposals.provenance.get('annotations', {}),
                          'the dataset', f'the proposals file {proposals}')
        self.proposals.check_covers(
            (key for _, key in self.images.values()), ann_file)
        self.plan = StorePlan(
            clip=runner.model.teacher.identity,
            proposals=dict(file=proposals, sha256=sha256_file(proposals)),
            annotations=annotations,
            settings=dict(
                crop_scales=runner.model.crop_scales,
                precision=runner.model.teacher.precision,
                num_max_proposals=num_max_proposals,
                min_size=float(min_size)),
            images_per_shard=images_per_shard,
            image_ids=list(self.images),
            image_keys=[key for _, key in self.images.values()],
            command=_describe_command(runner))

    def run(self) -> None:
        """Compute the missing shards; return when none is missing."""
        start = time.time()
        writer, missing = self._open_store()
        mine = missing[self.runner.rank::self.runner.world_size]
        self.dataloader = self._build_loader(mine)
        images = iter(self.dataloader)
        self.runner.logger.info(
            f'{self.store}: {len(missing)} of {self.plan.num_shards} shards '
            'to compute')
        with tqdm(
                desc='embed proposals',
                total=len(self.plan.image_ids),
                initial=self._count_done(missing),
                unit='img',
                mininterval=1,
                disable=self.runner.rank != 0) as progress:
            for shard in mine:
                writer.write_shard(
                    shard, self._embed_shard(shard, images, progress))
                self._show(progress, writer)
            # Not a barrier, which would give up after half an hour.
            while writer.missing_shards():
                time.sleep(0.2)
                self._show(progress, writer)
        if self.runner.rank == 0:
            writer.remove_leftovers()
            self._report(missing, time.time() - start)

    def _open_store(self) -> Tuple[EmbeddingStoreWriter, List[int]]:
        """Return the writer and the missing shards, one list for all ranks.

        A rank that looked later could find a shard of a faster one done, and
        share out differently.
        """
        missing: List[Optional[List[int]]] = [None]
        if self.runner.rank == 0:
            writer = EmbeddingStoreWriter(self.store, self.plan)
            missing = [writer.missing_shards()]
        broadcast_object_list(missing)
        return EmbeddingStoreWriter(self.store, self.plan), missing[0]

    def _build_loader(self, shards: List[int]) -> DataLoader:
        """Return the images of some shards, shard by shard, one at a time."""
        return DataLoader(
            self.dataset,
            sampler=[
                self.images[image_id][0] for shard in shards
                for image_id in self.plan.shard_image_ids(shard)
            ],
            batch_size=None,
            collate_fn=_take_image,
            **self.loader_cfg)

    def _embed_shard(self, shard: int, images: Iterator[Tuple[int, Tensor]],
                     progress: tqdm) -> List[Entry]:
        """Return boxes, scores and embeddings of the images of a shard."""
        entries = {}
        for image_id in self.plan.shard_image_ids(shard):
            entry = self.proposals[self.images[image_id][1]]
            entries[image_id] = select_proposals(
                entry, self.num_max_proposals, self.min_size)

        def checked_images() -> Iterator[np.ndarray]:
            for image_id, (found, image) in zip(entries, images):
                if found != image_id:
                    raise ValueError(
                        f'the dataset gives image {found} for {image_id}; '
                        'it needs test_mode=True')
                self._check_inside(image_id, image, entries[image_id])
                yield image.numpy()
                progress.update()

        embeddings = self.runner.model(
            checked_images(), [entry['bboxes'] for entry in entries.values()])
        return [
            dict(entry, embeddings=item.numpy())
            for entry, item in zip(entries.values(), embeddings)
        ]

    def _check_inside(self, image_id: int, image: Tensor,
                      entry: Entry) -> None:
        """Raise a ValueError unless all boxes (P, 4) are in their image."""
        height, width = image.shape[:2]
        bboxes = entry['bboxes']
        limits = np.array([width, height], np.float32) + TOLERANCE
        outside = (bboxes[:, :2] < -TOLERANCE).any(1) | (
            bboxes[:, 2:] > limits).any(1)
        if outside.any():
            raise ValueError(
                f'{self.proposals.source} holds proposals for other images: '
                f'{self.images[image_id][1]} of {self.dataset.ann_file} has '
                f'{width} x {height} pixels, and the box '
                f'{bboxes[outside][0].tolist()} lies outside')

    def _count_done(self, missing: List[int]) -> int:
        """Return how many images are in shards that exist."""
        return len(self.plan.image_ids) - sum(
            len(self.plan.shard_image_ids(shard)) for shard in missing)

    def _show(self, progress: tqdm, writer: EmbeddingStoreWriter) -> None:
        """Bring the progress line up to the shards of all processes."""
        progress.update(
            self._count_done(writer.missing_shards()) - progress.n)

    def _report(self, shards: List[int], seconds: float) -> None:
        """Log how fast all processes together were."""
        num_images = sum(
            len(self.plan.shard_image_ids(shard)) for shard in shards)
        num_crops = len(self.runner.model.crop_scales) * sum(
            TensorFile(f'{self.store}/{shard_name(shard)}').shape('scores')[0]
            for shard in shards)
        self.runner.logger.info(
            f'{self.store} is complete; embedded {num_images} images in '
            f'{seconds:.1f} s: {num_images / seconds:.1f} images/s, '
            f'{num_crops / seconds:.1f} crops/s')


def _take_image(results: Dict[str, Any]) -> Tuple[int, Tensor]:
    """Return the id and the image (H, W, 3) uint8 RGB, a tensor.

    Runs in the loader's workers, which hand tensors over without a copy.
    """
    image = results['img']
    if image.shape[:2] != tuple(results['ori_shape'][:2]):
        raise ValueError(
            f'{results["img_path"]} comes out of the pipeline as '
            f'{image.shape[:2]}, it is {results["ori_shape"][:2]}: use no '
            'transform that changes its size')
    rgb = np.ascontiguousarray(image[..., ::-1])
    return results['img_id'], torch.from_numpy(rgb)


def _describe_command(runner: Runner) -> str:
    """Return the command that goes on with this job."""
    config = runner.cfg.filename
    path = os.path.relpath(config) if config else 'CONFIG'
    return f'python tools/train.py {path}'
