"""Box heads that name regions by class embeddings.

Shapes: R RoIs, C foreground classes, D embedding size.
"""

from typing import Any, Dict, Optional, Sequence, Tuple

import torch.nn.functional as F
from mmdet.registry import MODELS
from mmdet.utils import ConfigType
from mmengine.structures import InstanceData
from torch import Tensor

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.models.task_modules.shared_box_nms import shared_box_nms
from ovd.suggest import check_choice

from .region_branch import RegionBranch


@MODELS.register_module()
class ViLDBBoxHead(RegionBranch):
    """Host box head whose ``fc_cls`` projects regions into CLIP's space.

    ViLD-text, or, with distillation by :class:`ViLDRoIHead`, ViLD: one head
    that serves both losses. With ``scoring='image'`` and a ``loss_cls`` of
    weight 0 it is ViLD-image, which learns from CLIP's images alone.

    Args:
        classifier (ConfigType): Config of the classifier, usually a
            :class:`ClassEmbeddingClassifier`.
        scoring (str): Softmax at test time, ``'text'``: over classes and
            background; ``'image'``: over the classes, as nothing teaches
            ViLD-image what background is. Defaults to ``'text'``.
        args, kwargs: See :class:`RegionBranch`. Boxes must be
            class-agnostic: novel classes have no boxes to learn from.

    Raises:
        ValueError: If ``reg_class_agnostic`` is not set, ``scoring`` is
            unknown, or the loss is of sigmoids.
    """

    scorings: Tuple[str, ...] = ('text', 'image')

    def __init__(
        self,
        *args: Any,
        classifier: ConfigType,
        scoring: str = 'text',
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if getattr(self.loss_cls, 'use_sigmoid', False):
            raise ValueError(
                f'{type(self).__name__} is a softmax over the classes: set '
                'use_sigmoid=False of loss_cls'
            )
        if self.with_reg and not self.reg_class_agnostic:
            raise ValueError(
                f'{type(self).__name__} needs reg_class_agnostic=True: novel '
                'classes have no boxes to learn a regression from'
            )
        check_choice(scoring, self.scorings, 'scoring')
        self.scoring = scoring
        self.classifier = MODELS.build(classifier)
        self.project_to(self.classifier.embed_dims)

    @property
    def clip(self) -> Dict[str, str]:
        """The CLIP that made the class embeddings: name and sha256."""
        return self.source.clip

    @property
    def source(self) -> ClassEmbeddings:
        """The class embeddings that the classes are taken from."""
        return self.classifier.source

    def set_vocabulary(
        self,
        names: Sequence[str],
        novel_classes: Sequence[str] = (),
        class_embeddings: Optional[ClassEmbeddings] = None,
    ) -> None:
        """Detect these classes; see ``ClassEmbeddingClassifier.set_classes``.

        Nothing that was learned changes.
        """
        self.classifier.set_classes(names, novel_classes, class_embeddings)
        self.num_classes = len(names)

    def forward(self, x: Tensor) -> Tuple[Tensor, Optional[Tensor]]:
        """Score pooled features (R, C', 7, 7).

        The host doesn't tell it what for: the mode does, and who uses the
        other mode's output gets an error.

        Returns:
            tuple: In training logits, else scores, (R, C + 1) with background
            last; and class-agnostic box deltas (R, 4).
        """
        region_embeddings, bbox_pred = super().forward(x)
        if self.training:
            return self.classifier(region_embeddings), bbox_pred
        return self.score(region_embeddings, x), bbox_pred

    def score(self, region_embeddings: Tensor, x: Tensor) -> Tensor:
        """Return what the test takes as scores (R, C + 1).

        Args:
            region_embeddings (Tensor): (R, D).
            x (Tensor): Pooled features (R, C', 7, 7).
        """
        return self.classifier.probabilities(
            region_embeddings, with_background=self.scoring == 'text'
        )

    def distill_embeddings(self, x: Tensor) -> Tensor:
        """Return the normalised region embeddings (R, D) to be distilled."""
        return F.normalize(super().forward(x)[0].float(), dim=-1)

    def loss_and_target(
        self, cls_score: Tensor, *args: Any, **kwargs: Any
    ) -> dict:
        """Return the host's losses, of logits.

        Raises:
            RuntimeError: In eval mode. What :meth:`forward` gives then are
                probabilities of all classes, at the test's temperature, and
                the host calls it for a loss as it does for a prediction.
        """
        if not self.training:
            raise RuntimeError(
                f'losses of {type(self).__name__} need its training mode, in '
                'which it hides the novel classes: call train() of the model '
                'before loss(); norm layers keep their statistics with '
                'norm_eval=True, or with eval() of their own'
            )
        return super().loss_and_target(cls_score, *args, **kwargs)

    def _predict_by_feat_single(
        self,
        roi: Tensor,
        cls_score: Tensor,
        bbox_pred: Tensor,
        img_meta: dict,
        rescale: bool = False,
        rcnn_test_cfg: Optional[ConfigType] = None,
    ) -> InstanceData:
        """Decode boxes as the host does, and take the scores as they are.

        The host applies a softmax to ``cls_score``, which here already are
        probabilities that, ensembled, need not sum to one. So it only gets a
        single column of them, and decodes the boxes.

        Raises:
            RuntimeError: In training mode, in which they are logits.
        """
        if self.training:
            raise RuntimeError(
                f'predictions of {type(self).__name__} need its eval mode, '
                'in which it scores novel classes too: call eval() of the '
                'model before predict()'
            )
        if len(roi) == 0:
            return super()._predict_by_feat_single(
                roi, cls_score, bbox_pred, img_meta, rescale, rcnn_test_cfg
            )
        results = super()._predict_by_feat_single(
            roi, cls_score[:, :1], bbox_pred, img_meta, rescale, None
        )
        if rcnn_test_cfg is None:  # raw results are wanted
            results.scores = cls_score
            return results
        detections, labels = shared_box_nms(
            results.bboxes,
            cls_score,
            rcnn_test_cfg.score_thr,
            rcnn_test_cfg.nms,
            rcnn_test_cfg.max_per_img,
        )
        return InstanceData(
            bboxes=detections[:, :4], scores=detections[:, 4], labels=labels
        )
