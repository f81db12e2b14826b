"""RoI heads that also distil CLIP's image embeddings into their box heads.

Shapes: P distilled boxes, D embedding size.
"""

from typing import TYPE_CHECKING, Any, Dict, Iterator, Tuple

import torch
from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox2roi
from mmdet.utils import ConfigType, InstanceList
from torch import Tensor, nn

# What a loss is called, its weight, RoI extractor and box head
Stage = Tuple[str, float, nn.Module, nn.Module]

if TYPE_CHECKING:
    from mmdet.models.roi_heads import StandardRoIHead as _Host
else:
    _Host = object  # the host's RoI head comes behind the mixin


class DistillationMixin(_Host):
    """Adds the ViLD-image loss to a RoI head.

    The distilled boxes and their image embeddings come with the data samples,
    as ``distill_instances`` (``bboxes`` (P, 4) xyxy in pixels of the network
    input, ``embeddings`` (P, D), unit norm).

    Distilled boxes go through the box head by themselves, so that its batch
    norms, where it has them, see them apart from the RoIs of the other losses;
    Google's code has both in one batch where one head serves both losses.

    Args:
        loss_distill (ConfigType): Config of the distillation loss.
        args, kwargs: Of the RoI head.
    """

    def __init__(
        self, *args: Any, loss_distill: ConfigType, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.loss_distill = MODELS.build(loss_distill)

    def stages(self) -> Iterator[Stage]:
        """Yield the box heads that learn from CLIP."""
        raise NotImplementedError

    def loss(
        self,
        x: Tuple[Tensor, ...],
        rpn_results_list: InstanceList,
        batch_data_samples: SampleList,
    ) -> Dict[str, Tensor]:
        """Add ``loss_distill`` of each stage to the host's losses.

        Raises:
            ValueError: If there are no boxes to distil, or they have no
                embeddings.
        """
        if not all(
            'distill_instances' in sample for sample in batch_data_samples
        ):
            raise ValueError(
                f'{type(self).__name__} learns from boxes with embeddings, '
                'and the images come without: end the pipeline of '
                'train_dataloader.dataset with PackDistillInputs in place of '
                'PackDetInputs, and begin it with LoadProposalEmbeddings or, '
                'without a store, LoadProposalsToEmbed'
            )
        losses = super().loss(x, rpn_results_list, batch_data_samples)
        instances = [sample.distill_instances for sample in batch_data_samples]
        if any('embeddings' not in item for item in instances):
            raise ValueError(
                'boxes to distill have no embeddings: add image_embeddings='
                'dict(type="ImageEmbeddingHook", clip=...) to default_hooks, '
                'or use LoadProposalEmbeddings'
            )
        rois = bbox2roi([item.bboxes for item in instances])
        targets = torch.cat([item.embeddings for item in instances])
        if len(rois) == 1:  # of one vector, batch norm has no statistics
            rois, targets = rois.repeat(2, 1), targets.repeat(2, 1)
        for name, weight, roi_extractor, bbox_head in self.stages():
            # For zero boxes, too: each process of a distributed run must
            # have a gradient for each of its weights.
            bbox_feats = roi_extractor(x[: roi_extractor.num_inputs], rois)
            losses[name] = weight * self.loss_distill(
                bbox_head.distill_embeddings(bbox_feats), targets
            )
        return losses


@MODELS.register_module()
class ViLDRoIHead(DistillationMixin, StandardRoIHead):
    """Standard RoI head plus the ViLD-image loss.

    Args:
        loss_distill (ConfigType): Config of the distillation loss.
        args, kwargs: See :class:`mmdet.models.StandardRoIHead`.
    """

    def stages(self) -> Iterator[Stage]:
        """Yield the one box head."""
        yield 'loss_distill', 1.0, self.bbox_roi_extractor, self.bbox_head


@MODELS.register_module()
class ViLDCascadeRoIHead(DistillationMixin, CascadeRoIHead):
    """Cascade RoI head each of whose stages has the ViLD-image loss.

    All stages distil from the same boxes, with the weight of the stage's
    other losses. At test time the host averages the stages' scores.

    Args:
        loss_distill (ConfigType): Config of the distillation loss.
        args, kwargs: See :class:`mmdet.models.CascadeRoIHead`.
    """

    def stages(self) -> Iterator[Stage]:
        """Yield the box head of each stage."""
        for i, weight in enumerate(self.stage_loss_weights):
            yield (
                f's{i}.loss_distill',
                weight,
                self.bbox_roi_extractor[i],
                self.bbox_head[i],
            )
