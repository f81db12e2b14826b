"""ViLD-image loss: region embeddings follow CLIP's image embeddings."""

from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor


@MODELS.register_module()
class DistillationLoss(BaseModule):
    """L1 distance, summed over the embedding, averaged over the regions.

    ViLD-image of Gu et al., ICLR 2022. With the published ``loss_weight`` of
    0.5 it equals the ``D / 2 * mean`` of other implementations (256 for the
    512 numbers of ViT-B/32).

    Args:
        loss_weight (float): Defaults to 0.5.
    """

    def __init__(self, loss_weight: float = 0.5) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(
        self, region_embeddings: Tensor, image_embeddings: Tensor
    ) -> Tensor:
        """Compare unit vectors.

        Args:
            region_embeddings (Tensor): (P, D), L2-normalised.
            image_embeddings (Tensor): (P, D), L2-normalised.

        Returns:
            Tensor: A scalar; 0, still with a gradient, where P is 0.
        """
        distance = (region_embeddings - image_embeddings).abs().sum()
        return self.loss_weight * distance / max(len(region_embeddings), 1)
