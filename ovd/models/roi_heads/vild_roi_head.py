"""RoI head that also distils CLIP's image embeddings into its box head."""
from typing import Dict, Tuple

import torch
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox2roi
from mmdet.utils import ConfigType, InstanceList
from torch import Tensor


@MODELS.register_module()
class ViLDRoIHead(StandardRoIHead):
    """Standard RoI head plus the ViLD-image loss.

    The distilled boxes and their image embeddings come with the data samples,
    as ``distill_instances`` (``bboxes`` (P, 4) xyxy in pixels of the network
    input, ``embeddings`` (P, D), unit norm).

    Args:
        loss_distill (ConfigType): Config of the distillation loss.
        args, kwargs: See :class:`mmdet.models.StandardRoIHead`.
    """

    def __init__(self, *args, loss_distill: ConfigType, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.loss_distill = MODELS.build(loss_distill)

    def loss(self, x: Tuple[Tensor, ...], rpn_results_list: InstanceList,
             batch_data_samples: SampleList) -> Dict[str, Tensor]:
        """Add ``loss_distill`` to the host's losses."""
        losses = super().loss(x, rpn_results_list, batch_data_samples)
        losses['loss_distill'] = self._distill(x, batch_data_samples)
        return losses

    def _distill(self, x: Tuple[Tensor, ...],
                 batch_data_samples: SampleList) -> Tensor:
        """Compare the distilled boxes of all images with their embeddings.

        The branch runs for zero boxes too: each process of a distributed run
        must have a gradient for each of its weights.
        """
        instances = [sample.distill_instances for sample in batch_data_samples]
        if any('embeddings' not in item for item in instances):
            raise ValueError(
                'boxes to distill have no embeddings: add image_embeddings='
                'dict(type="ImageEmbeddingHook", clip=...) to default_hooks, '
                'or use LoadProposalEmbeddings')
        rois = bbox2roi([item.bboxes for item in instances])
        bbox_feats = self.bbox_roi_extractor(
            x[:self.bbox_roi_extractor.num_inputs], rois)
        return self.loss_distill(
            self.bbox_head.distill_embeddings(bbox_feats),
            torch.cat([item.embeddings for item in instances]))
