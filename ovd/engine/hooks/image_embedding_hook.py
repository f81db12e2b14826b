"""Embed the boxes to distil with CLIP during training, without a store."""

import time
from typing import Any, Dict, Optional, Sequence

import numpy as np
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ovd.artifacts.provenance import check_same_clip
from ovd.datasets.crop_tasks import UNREADABLE, describe_error
from ovd.models.proposal_feature_extractor import (
    AUTO,
    ProposalFeatureExtractor,
)

from .distilled_boxes import check_boxes_to_embed


@HOOKS.register_module()
class ImageEmbeddingHook(Hook):
    """Embed the boxes of :class:`LoadProposalsToEmbed` in each iteration.

    For small data and trials, where making a store first does not pay. The
    embeddings are those of a store with the same settings, rounded as there.
    Each process has a CLIP of its own on its device, which is in no
    checkpoint and no optimizer. The time per iteration is logged as
    ``embed_time``.

    In mmengine's own registry, so that it is found from every scope.

    Args:
        clip (str): See :class:`~ovd.models.ProposalFeatureExtractor`.
        crop_scales (Sequence[float]): Likewise. Defaults to ``(1.0, 1.5)``.
        crop_mode (str): Likewise. Defaults to ``'fast'``.
        batch_size (int): Likewise. Defaults to 256.
        precision (str): Likewise. Defaults to ``'fp32'``.
        backend_args (dict, optional): Of mmengine's file backend that reads
            the images. Defaults to None.

    Raises:
        ValueError: If something is ``'auto'``: what is fastest is another
            thing on another machine, and the embeddings with it.
    """

    # After the timer, whose data_time ends where this begins.
    priority = 'BELOW_NORMAL'
    extractor: ProposalFeatureExtractor  # from before_train on

    def __init__(
        self,
        clip: str,
        crop_scales: Sequence[float] = (1.0, 1.5),
        crop_mode: str = 'fast',
        batch_size: int = 256,
        precision: str = 'fp32',
        backend_args: Optional[Dict[str, Any]] = None,
    ) -> None:
        if AUTO in (batch_size, precision):
            raise ValueError(
                'ImageEmbeddingHook measures nothing: give precision and '
                f'batch_size in place of "{AUTO}"'
            )
        self.settings: Dict[str, Any] = dict(
            clip=clip,
            crop_scales=crop_scales,
            crop_mode=crop_mode,
            batch_size=batch_size,
            precision=precision,
        )
        # As extractions decode: libraries don't agree on all pixels.
        self.load_image = LoadImageFromFile(
            imdecode_backend='pillow', backend_args=backend_args
        )

    def before_train(self, runner: Runner) -> None:
        """Check what is to be embedded, and load CLIP.

        Raises:
            FileNotFoundError: If there is no such CLIP, or no proposals.
            ValueError: If an option is none of those there are, the class
                embeddings are of another CLIP, or the training set gives
                boxes that have embeddings, or none.
        """
        check_boxes_to_embed(runner.train_dataloader.dataset)
        # Building a CLIP draws weights; what the run draws must not differ.
        with torch.random.fork_rng(devices=[]):
            self.extractor = ProposalFeatureExtractor(**self.settings)
        for module in runner.model.modules():
            if hasattr(module, 'set_vocabulary'):
                check_same_clip(
                    module.clip,
                    self.extractor.teacher.identity,
                    'the class embeddings',
                    'the image embeddings of ImageEmbeddingHook',
                )
        self.extractor.to(next(runner.model.parameters()).device)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict
    ) -> None:
        """Replace ``original_bboxes`` of a batch by ``embeddings``."""
        start = time.time()
        instances = [
            sample.distill_instances for sample in data_batch['data_samples']
        ]
        images = map(self._read, (item.img_path for item in instances))
        embeddings = self.extractor(
            images, [item.original_bboxes.numpy() for item in instances]
        )
        for item, rows in zip(instances, embeddings):
            item.embeddings = rows.half().float()  # rounded as in a store
            del item.original_bboxes
        runner.message_hub.update_scalar(
            'train/embed_time', time.time() - start
        )

    def _read(self, path: str) -> np.ndarray:
        """Return an image (H, W, 3) uint8 RGB."""
        try:
            image = self.load_image(dict(img_path=path))['img']
        except UNREADABLE as error:
            raise ValueError(
                f"{path} can't be embedded: {describe_error(error)}"
            ) from error
        return image[..., ::-1]
