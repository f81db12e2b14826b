"""ViLD-ensemble: one branch for text, a second one for CLIP's images.

Shapes: R RoIs, C foreground classes, D embedding size.
"""

from typing import Any

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmdet.utils import ConfigType
from torch import Tensor

from .region_branch import RegionBranch
from .vild_bbox_head import ViLDBBoxHead


@MODELS.register_module()
class ViLDEnsembleBBoxHead(ViLDBBoxHead):
    """Two branches with weights of their own; boxes come from the text one.

    ViLD-ensemble of Gu et al., ICLR 2022. The score of a base class is
    ``p_text^(2/3) * p_image^(1/3)``, that of a novel one
    ``p_text^(1/3) * p_image^(2/3)``.

    Args:
        image_branch (ConfigType): What differs from the text branch in the
            layers of the image branch, a :class:`RegionBranch`.
        base_weight (float): Exponent of the text score for base classes.
            Defaults to 2/3.
        novel_weight (float): The same for novel ones. Defaults to 1/3.
            DetPro takes 0.6 for both where it tests on other data.
        scoring (str): What scores at test time: ``'ensemble'``, one branch
            alone (``'text'``, ``'image'``), or ``'objectness'``, which
            detects a single class, "not background". Defaults to
            ``'ensemble'``.

    Raises:
        ValueError: If a weight lies outside [0, 1], or ``scoring`` is unknown.
    """

    scorings = ('text', 'image', 'ensemble', 'objectness')

    def __init__(
        self,
        *args: Any,
        image_branch: ConfigType,
        base_weight: float = 2 / 3,
        novel_weight: float = 1 / 3,
        scoring: str = 'ensemble',
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, scoring=scoring, **kwargs)
        for name, weight in (
            ('base_weight', base_weight),
            ('novel_weight', novel_weight),
        ):
            if not 0 <= weight <= 1:
                raise ValueError(f'{name} must be in [0, 1], got {weight}')
        self.base_weight = base_weight
        self.novel_weight = novel_weight
        self.image_branch = RegionBranch(
            with_reg=False,
            in_channels=self.in_channels,
            roi_feat_size=self.roi_feat_size,
            **image_branch,
        )
        self.image_branch.project_to(self.classifier.embed_dims)

    def score(self, region_embeddings: Tensor, x: Tensor) -> Tensor:
        """Return scores (R, C + 1); (R, 2) with ``scoring='objectness'``."""
        if self.scoring == 'text':
            return self.classifier.probabilities(region_embeddings)
        if self.scoring == 'objectness':
            background = self.classifier.probabilities(region_embeddings)[
                :, -1:
            ]
            return torch.cat([1 - background, background], dim=-1)
        weight = torch.zeros_like(self.classifier.novel_mask).float()
        if self.scoring == 'ensemble':
            weight = torch.where(
                self.classifier.novel_mask, self.novel_weight, self.base_weight
            )
        return self.classifier.ensemble(
            region_embeddings, self.image_branch(x)[0], weight
        )

    def distill_embeddings(self, x: Tensor) -> Tensor:
        """Return the normalised embeddings (R, D) of the image branch."""
        return F.normalize(self.image_branch(x)[0].float(), dim=-1)
