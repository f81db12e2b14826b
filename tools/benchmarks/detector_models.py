"""A ViLD detector with random weights, and what the host has like it."""

import argparse
import contextlib
import io
from pathlib import Path
from typing import Any, Dict, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NMS = dict(type='nms', iou_threshold=0.5)


def build(args: argparse.Namespace, **roi_head: Any) -> nn.Module:
    """Return a Mask R-CNN whose RoI head differs from the host's."""
    from mmdet.registry import MODELS
    from mmengine.config import Config
    from mmengine.registry import DefaultScope

    cfg = Config.fromstring(
        "_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'", '.py'
    )
    model = cfg.model
    model.backbone.init_cfg = None
    model.roi_head.mask_head.class_agnostic = True
    model.roi_head.update(roi_head)
    for part in (model.train_cfg.rpn_proposal, model.test_cfg.rpn):
        part.max_per_img = args.proposals
    model.train_cfg.rcnn.sampler.num = args.rois
    model.test_cfg.rcnn.update(
        score_thr=0.0, nms=NMS, max_per_img=args.detections
    )
    # The host lists every weight that it initialises.
    with (
        DefaultScope.overwrite_default_scope('mmdet'),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        detector = MODELS.build(model)
        detector.init_weights()
    return detector.to(args.device)


def layers(args: argparse.Namespace) -> Dict[str, int]:
    """Return what the box heads of both detectors have in common."""
    return dict(
        num_shared_convs=4,
        num_shared_fcs=1,
        conv_out_channels=args.conv_channels,
        fc_out_channels=args.fc_channels,
    )


def build_vild(args: argparse.Namespace, class_embeddings: Path) -> nn.Module:
    """Return a ViLD-ensemble Mask R-CNN, whose vocabulary is yet to be set."""
    return build(
        args,
        type='ViLDRoIHead',
        loss_distill=dict(type='DistillationLoss'),
        bbox_head=dict(
            layers(args),
            type='ViLDEnsembleBBoxHead',
            in_channels=256,
            num_classes=args.classes,
            reg_class_agnostic=True,
            classifier=dict(
                type='ClassEmbeddingClassifier',
                class_embeddings=str(class_embeddings),
            ),
            image_branch=layers(args),
        ),
    )


def build_host(args: argparse.Namespace) -> nn.Module:
    """Return host Mask R-CNN with a second box head for distilled boxes."""
    from mmdet.models.roi_heads import StandardRoIHead
    from mmdet.registry import MODELS
    from mmdet.structures.bbox import bbox2roi

    @MODELS.register_module(force=True)
    class TwoHeadRoIHead(StandardRoIHead):
        def __init__(self, *args, second_head: dict, **kwargs) -> None:
            super().__init__(*args, **kwargs)
            self.second_head = MODELS.build(second_head)

        def loss(
            self, x: Any, rpn_results_list: Any, batch_data_samples: Any
        ) -> Dict[str, Tensor]:
            losses = super().loss(x, rpn_results_list, batch_data_samples)
            rois = bbox2roi(
                [
                    sample.distill_instances.bboxes
                    for sample in batch_data_samples
                ]
            )
            extractor = self.bbox_roi_extractor
            logits, _ = self.second_head(
                extractor(x[: extractor.num_inputs], rois)
            )
            background = torch.full_like(
                rois[:, 0], logits.size(1) - 1, dtype=torch.long
            )
            losses['loss_second'] = F.cross_entropy(logits, background)
            return losses

    head = dict(
        layers(args),
        type='ConvFCBBoxHead',
        in_channels=256,
        num_classes=args.classes,
        reg_class_agnostic=True,
    )
    return build(
        args,
        type='TwoHeadRoIHead',
        bbox_head=head,
        second_head=dict(head, with_reg=False),
    )


@contextlib.contextmanager
def centred_embeddings(head: nn.Module, num_rois: int) -> Iterator[None]:
    """Have this head embed the regions of the next image about 0.

    A random network embeds all regions of an image nearly alike, and so gives
    all of them the same few names.
    """

    def centre(layer: nn.Module, _: Any, output: Tensor) -> Tensor:
        if len(output) != num_rois:
            raise RuntimeError(
                f'the RPN proposed {len(output)} regions, '
                f'not {num_rois}; take a larger image'
            )
        mean = output.mean(dim=0)
        layer.bias.data -= mean
        return output - mean

    hooks = [
        layer.register_forward_hook(centre)
        for layer in (head.fc_cls, head.image_branch.fc_cls)
    ]
    yield
    for hook in hooks:
        hook.remove()
