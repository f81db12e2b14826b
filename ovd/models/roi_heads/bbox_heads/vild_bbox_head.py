"""Box heads that name regions by class embeddings.

Shapes: R RoIs, C foreground classes, D embedding size.
"""
from typing import Dict, Optional, Sequence, Tuple

import torch.nn.functional as F
from mmdet.models.layers import multiclass_nms
from mmdet.models.roi_heads.bbox_heads import ConvFCBBoxHead
from mmdet.registry import MODELS
from mmdet.utils import ConfigType
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ovd.artifacts.class_embeddings import ClassEmbeddings


@MODELS.register_module()
class ViLDBBoxHead(ConvFCBBoxHead):
    """Host box head whose ``fc_cls`` projects regions into CLIP's space.

    ViLD-text, or, with distillation by :class:`ViLDRoIHead`, ViLD: one head
    that serves both losses.

    Args:
        classifier (ConfigType): Config of the classifier, usually a
            :class:`ClassEmbeddingClassifier`.
        args, kwargs: See :class:`mmdet.models.ConvFCBBoxHead`. Boxes must be
            class-agnostic: novel classes have no boxes to learn from.

    Raises:
        ValueError: If ``reg_class_agnostic`` is not set.
    """

    def __init__(self, *args, classifier: ConfigType, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if self.with_reg and not self.reg_class_agnostic:
            raise ValueError(
                f'{type(self).__name__} needs reg_class_agnostic=True: novel '
                'classes have no boxes to learn a regression from')
        self.classifier = MODELS.build(classifier)
        self.fc_cls = nn.Linear(self.cls_last_dim, self.classifier.embed_dims)

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
            class_embeddings: Optional[ClassEmbeddings] = None) -> None:
        """Detect these classes; see ``ClassEmbeddingClassifier.set_classes``.

        Nothing that was learned changes.
        """
        self.classifier.set_classes(names, novel_classes, class_embeddings)
        self.num_classes = len(names)

    def forward(self, x: Tensor) -> Tuple[Tensor, Optional[Tensor]]:
        """Score pooled features (R, C', 7, 7).

        Returns:
            tuple: In training logits, else probabilities, (R, C + 1) with
            background last; and class-agnostic box deltas (R, 4).
        """
        region_embeddings, bbox_pred = super().forward(x)
        logits = self.classifier(region_embeddings)
        if self.training:
            return logits, bbox_pred
        return logits.softmax(dim=-1), bbox_pred

    def distill_embeddings(self, x: Tensor) -> Tensor:
        """Return the normalised region embeddings (R, D) to be distilled."""
        return F.normalize(super().forward(x)[0], dim=-1)

    def _predict_by_feat_single(
            self,
            roi: Tensor,
            cls_score: Tensor,
            bbox_pred: Tensor,
            img_meta: dict,
            rescale: bool = False,
            rcnn_test_cfg: Optional[ConfigType] = None) -> InstanceData:
        """Decode boxes as the host does, and take the scores as they are.

        The host applies a softmax to ``cls_score``, which here already are
        probabilities that, ensembled, need not sum to one. So it only gets a
        single column of them, and decodes the boxes.
        """
        if rcnn_test_cfg is None or len(roi) == 0:
            return super()._predict_by_feat_single(
                roi, cls_score, bbox_pred, img_meta, rescale, rcnn_test_cfg)
        results = super()._predict_by_feat_single(
            roi, cls_score[:, :1], bbox_pred, img_meta, rescale, None)
        detections, labels = multiclass_nms(
            results.bboxes, cls_score, rcnn_test_cfg.score_thr,
            rcnn_test_cfg.nms, rcnn_test_cfg.max_per_img)
        return InstanceData(
            bboxes=detections[:, :4], scores=detections[:, 4], labels=labels)
