"""Cross entropy in which background belongs to every class a little.

Shapes: B regions, C classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def soft_background_loss(
    logits: Tensor, labels: Tensor, weights: Tensor, total_weight: Tensor
) -> Tensor:
    """Return DetPro's loss with soft background (Du et al., CVPR 2022).

    A region of class c costs -log p_c. One of background costs the cross
    entropy to the uniform target, -1/C sum_c log p_c: no class is to be sure
    of it. There is no column of background.

    Args:
        logits (Tensor): (B, C).
        labels (Tensor): (B,) int64, -1 for background.
        weights (Tensor): (B,), of the regions.
        total_weight (Tensor): Scalar that the sum is divided by.

    Returns:
        Tensor: A scalar; 0, still with a gradient, where B is 0.
    """
    log_probs = F.log_softmax(logits, dim=-1)
    of_class = log_probs.gather(1, labels.clamp(min=0)[:, None])[:, 0]
    losses = -torch.where(labels >= 0, of_class, log_probs.mean(dim=-1))
    return (losses * weights).sum() / total_weight
