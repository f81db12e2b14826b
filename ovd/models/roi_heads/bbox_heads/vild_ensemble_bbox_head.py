"""ViLD-ensemble: one branch for text, a second one for CLIP's images.

Shapes: R RoIs, C foreground classes, D embedding size.
"""
from typing import Optional, Tuple

import torch
import torch.nn.functional as F
from mmdet.models.roi_heads.bbox_heads import ConvFCBBoxHead
from mmdet.registry import MODELS
from mmdet.utils import ConfigType
from torch import Tensor, nn

from ovd.suggest import check_choice

from .vild_bbox_head import ViLDBBoxHead

SCORINGS = ('text', 'image', 'ensemble', 'objectness')


@MODELS.register_module()
class ViLDEnsembleBBoxHead(ViLDBBoxHead):
    """Two branches with weights of their own; boxes come from the text one.

    ViLD-ensemble of Gu et al., ICLR 2022. The score of a base class is
    ``p_text^(2/3) * p_image^(1/3)``, that of a novel one
    ``p_text^(1/3) * p_image^(2/3)``.

    Args:
        image_branch (ConfigType): What differs from the text branch in the
            layers of the image branch, a :class:`ConvFCBBoxHead`.
        base_weight (float): Exponent of the text score for base classes.
            Defaults to 2/3.
        novel_weight (float): The same for novel ones. Defaults to 1/3.
        scoring (str): What scores at test time: ``'ensemble'``, one branch
            alone (``'text'``, ``'image'``), or ``'objectness'``, which
            detects a single class, "not background". Defaults to
            ``'ensemble'``.

    Raises:
        ValueError: If a weight lies outside [0, 1], or ``scoring`` is unknown.
    """

    def __init__(self,
                 *args,
                 image_branch: ConfigType,
                 base_weight: float = 2 / 3,
                 novel_weight: float = 1 / 3,
                 scoring: str = 'ensemble',
                 **kwargs) -> None:
        super().__init__(*args, **kwargs)
        for name, weight in (('base_weight', base_weight),
                             ('novel_weight', novel_weight)):
            if not 0 <= weight <= 1:
                raise ValueError(f'{name} must be in [0, 1], got {weight}')
        check_choice(scoring, SCORINGS, 'scoring')
        self.scoring = scoring
        self.base_weight = base_weight
        self.novel_weight = novel_weight
        self.image_branch = ConvFCBBoxHead(
            with_reg=False,
            in_channels=self.in_channels,
            roi_feat_size=self.roi_feat_size,
            **image_branch)
        self.image_branch.fc_cls = nn.Linear(self.image_branch.cls_last_dim,
                                             self.classifier.embed_dims)

    def forward(self, x: Tensor) -> Tuple[Tensor, Optional[Tensor]]:
        """Score pooled features (R, C', 7, 7); see the base class.

        With ``scoring='objectness'`` the scores are (R, 2).
        """
        scores, bbox_pred = super().forward(x)
        if self.training or self.scoring == 'text':
            return scores, bbox_pred
        if self.scoring == 'objectness':
            background = scores[:, -1:]
            return torch.cat([1 - background, background], -1), bbox_pred
        return self._ensemble(scores, x), bbox_pred

    def _ensemble(self, text_scores: Tensor, x: Tensor) -> Tensor:
        """Combine both branches' probabilities into (R, C + 1) scores."""
        image_scores = self.classifier.foreground_logits(
            self.image_branch(x)[0]).softmax(dim=-1)
        text_scores, background = text_scores[:, :-1], text_scores[:, -1:]
        if self.scoring == 'ensemble':
            weight = torch.where(self.classifier.novel_mask,
                                 self.novel_weight, self.base_weight)
            image_scores = text_scores**weight * image_scores**(1 - weight)
        return torch.cat([image_scores, background], dim=-1)

    def distill_embeddings(self, x: Tensor) -> Tensor:
        """Return the normalised embeddings (R, D) of the image branch."""
        return F.normalize(self.image_branch(x)[0], dim=-1)
