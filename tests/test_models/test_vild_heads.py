"""ViLD's RoI heads: losses, gradients, half precision, detections."""

from typing import Dict, Optional

import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.models import ViLDBBoxHead

NAMES = ['a', 'b', 'c', 'd']
NOVEL = ['b', 'd']
DIMS = 8


def roi_head(
    file: str, kind: str, with_mask: bool = True, **branch
) -> torch.nn.Module:
    """A Standard or Cascade RoI head, of few channels."""
    extractor = dict(
        type='SingleRoIExtractor',
        roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0),
        out_channels=4,
        featmap_strides=[4],
    )
    bbox_head = dict(
        type='ViLDEnsembleBBoxHead',
        image_branch=dict(num_shared_fcs=1, fc_out_channels=16, **branch),
        num_shared_fcs=1,
        in_channels=4,
        fc_out_channels=16,
        num_classes=4,
        reg_class_agnostic=True,
        classifier=dict(
            type='ClassEmbeddingClassifier',
            class_embeddings=file,
            temperature=0.1,
        ),
        **branch,
    )
    train_cfg = dict(
        assigner=dict(
            type='MaxIoUAssigner',
            pos_iou_thr=0.5,
            neg_iou_thr=0.5,
            min_pos_iou=0.5,
        ),
        sampler=dict(
            type='RandomSampler',
            num=8,
            pos_fraction=0.25,
            add_gt_as_proposals=True,
        ),
        mask_size=14,
        pos_weight=-1,
    )
    cascade = kind == 'ViLDCascadeRoIHead'
    torch.manual_seed(0)
    head = MODELS.build(
        ConfigDict(
            type=kind,
            bbox_roi_extractor=extractor,
            bbox_head=[bbox_head] * 3 if cascade else bbox_head,
            mask_roi_extractor=extractor if with_mask else None,
            mask_head=dict(
                type='FCNMaskHead',
                num_convs=1,
                in_channels=4,
                conv_out_channels=4,
                num_classes=4,
                class_agnostic=True,
                loss_mask=dict(
                    type='CrossEntropyLoss', use_mask=True, loss_weight=1.0
                ),
            )
            if with_mask
            else None,
            loss_distill=dict(type='DistillationLoss'),
            train_cfg=[train_cfg] * 3 if cascade else train_cfg,
            test_cfg=dict(
                score_thr=0.0,
                nms=dict(type='nms', iou_threshold=0.5),
                max_per_img=10,
                mask_thr_binary=0.5,
            ),
            **(
                dict(num_stages=3, stage_loss_weights=[1, 0.5, 0.25])
                if cascade
                else {}
            ),
        )
    )
    head.init_weights()
    for bbox_head in bbox_heads(head):
        bbox_head.set_vocabulary(NAMES, NOVEL)
    return head


def bbox_heads(head: torch.nn.Module) -> list:
    return [m for m in head.modules() if isinstance(m, ViLDBBoxHead)]


def train_losses(
    head,
    num_distilled: int = 3,
    num_gt: int = 1,
    num_proposals: int = 2,
    embeddings: Optional[Tensor] = None,
) -> Dict[str, Tensor]:
    sample = DetDataSample(metainfo=dict(img_shape=(64, 64)))
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor([[8.0, 8, 30, 30]]).repeat(num_gt, 1),
        labels=torch.zeros(num_gt, dtype=torch.long),
        masks=BitmapMasks(torch.ones(num_gt, 64, 64).byte().numpy(), 64, 64),
    )
    sample.distill_instances = InstanceData(
        bboxes=torch.tensor([[4.0, 4, 40, 40]]).repeat(num_distilled, 1),
        embeddings=F.normalize(torch.randn(num_distilled, DIMS))
        if embeddings is None
        else embeddings,
    )
    proposals = InstanceData(
        bboxes=torch.tensor([[8.0, 8, 31, 30], [0.0, 0, 12, 12]])[
            :num_proposals
        ],
        scores=torch.ones(num_proposals),
        labels=torch.zeros(num_proposals, dtype=torch.long),
    )
    return head.loss((torch.randn(1, 4, 16, 16),), [proposals], [sample])


KINDS = ['ViLDRoIHead', 'ViLDCascadeRoIHead']


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(
    'counts',
    [(3, 1, 2), (0, 1, 2), (3, 0, 2), (3, 1, 0), (0, 0, 1)],
    ids=['all', 'nothing distilled', 'no objects', 'no proposals', 'least'],
)
def test_gradients_only_where_they_belong(file, kind, counts) -> None:
    """Text branch and boxes learn from labels, the image branch from CLIP."""
    head = roi_head(file, kind)
    rows = [h.classifier.class_embeddings.clone() for h in bbox_heads(head)]
    losses = train_losses(head, *counts)
    distill = {
        name: loss for name, loss in losses.items() if 'loss_distill' in name
    }
    assert len(distill) == len(bbox_heads(head))
    assert all(
        torch.isfinite(torch.as_tensor(loss)).all() for loss in losses.values()
    )
    image = [p for h in bbox_heads(head) for p in h.image_branch.parameters()]
    others = {
        name
        for name, p in head.named_parameters()
        if not any(p is q for q in image)
    }
    sum(distill.values()).backward(retain_graph=True)
    assert all(p.grad is not None for p in image)  # every process needs one
    assert all(
        (p.grad.abs().sum() > 0) == (counts[0] > 0)
        for p in image
        if p.ndim == 2
    )
    assert all(
        p.grad is None for name, p in head.named_parameters() if name in others
    )
    head.zero_grad()
    sum(
        loss.sum()
        for name, loss in losses.items()
        if 'loss' in name and name not in distill
    ).backward()
    assert all(p.grad is None for p in image)
    text = [h.fc_cls.weight.grad for h in bbox_heads(head)]
    assert text[0].abs().sum() > 0
    for h, before in zip(bbox_heads(head), rows):
        assert not h.classifier.class_embeddings.requires_grad
        assert torch.equal(h.classifier.class_embeddings, before)


def test_each_stage_of_a_cascade_distils_with_its_weight(file: str) -> None:
    head = roi_head(file, 'ViLDCascadeRoIHead')
    torch.manual_seed(1)
    losses = train_losses(head)
    torch.manual_seed(1)
    embeddings = F.normalize(torch.randn(3, DIMS))
    # the same numbers were drawn in the same order
    x = (torch.randn(1, 4, 16, 16),)
    rois = torch.tensor([[0.0, 4, 4, 40, 40]]).repeat(3, 1)
    for i, weight in enumerate([1, 0.5, 0.25]):
        feats = head.bbox_roi_extractor[i](x, rois)
        region = head.bbox_head[i].distill_embeddings(feats)
        expected = weight * DIMS / 2 * F.l1_loss(region, embeddings)
        assert losses[f's{i}.loss_distill'].item() == pytest.approx(
            expected.item(), rel=1e-4
        )


@pytest.mark.parametrize('kind', KINDS)
def test_detections_of_the_whole_head(file, kind) -> None:
    head = roi_head(file, kind).eval()
    sample = DetDataSample(
        metainfo=dict(
            img_shape=(64, 64), ori_shape=(64, 64), scale_factor=(1.0, 1.0)
        )
    )
    proposals = InstanceData(
        bboxes=torch.tensor([[8.0, 8, 31, 30], [0.0, 0, 12, 12]]),
        scores=torch.ones(2),
    )
    x = (torch.randn(1, 4, 16, 16),)
    with torch.no_grad():
        (found,) = head.predict(x, [proposals], [sample])
        assert found.masks.shape == (len(found), 64, 64)
        if kind == 'ViLDCascadeRoIHead':
            rois = torch.cat(
                [
                    torch.zeros(2, 1),
                    torch.tensor([[8.0, 8, 31, 30], [0.0, 0, 12, 12]]),
                ],
                1,
            )
            _, scores, _ = head._refine_roi(x, rois, [sample.metainfo], (2,))
            stages = []
            for i in range(3):  # the mean of the stages' probabilities
                feats = head.bbox_roi_extractor[i](x, rois)
                score, deltas = head.bbox_head[i](feats)
                stages.append(score)
                boxes = head.bbox_head[i].bbox_coder.decode(
                    rois[:, 1:], deltas, max_shape=(64, 64)
                )
                rois = torch.cat([rois[:, :1], boxes], 1)
            assert torch.allclose(scores[0], sum(stages) / 3, atol=1e-6)
    assert 0 < len(found) <= 8
    assert (found.scores[:-1] >= found.scores[1:]).all()


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('num_distilled', [1, 2])
def test_boxes_without_masks_and_norms_of_a_single_box(
    file, kind, num_distilled
) -> None:
    """Faster and Cascade R-CNN; batch norm needs more than one vector."""
    head = roi_head(file, kind, with_mask=False, fc_norm_cfg=dict(type='BN1d'))
    losses = train_losses(head, num_distilled)
    assert not any('mask' in name for name in losses)
    assert all(
        torch.isfinite(torch.as_tensor(loss)).all() for loss in losses.values()
    )


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_a_step_in_half_precision(file, kind, dtype) -> None:
    """The gradients are float32's, and the scaler finds nothing to skip."""
    head = roi_head(file, kind)
    before = {name: p.detach().clone() for name, p in head.named_parameters()}
    grads = []
    optimizer = torch.optim.SGD(head.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler('cpu', init_scale=256.0)
    # An L1 loss has the gradient of a sign, which must be the same in both.
    far = 2.0 * torch.randn(3, DIMS).sign()
    for enabled in (False, True):
        torch.manual_seed(1)
        with torch.autocast('cpu', dtype=dtype, enabled=enabled):
            losses = train_losses(head, embeddings=far)
        optimizer.zero_grad()
        loss = sum(loss for name, loss in losses.items() if 'loss' in name)
        assert loss.dtype == torch.float32
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        grads.append({name: p.grad for name, p in head.named_parameters()})
        if not enabled:
            scaler.update()
    for name, full in grads[0].items():
        half = grads[1][name]
        assert half.dtype == torch.float32 and half.isfinite().all()
        assert (half - full).norm() <= 0.05 * full.norm() + 1e-4, name
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 256.0
    assert all(
        (p != before[name]).any()
        for name, p in head.named_parameters()
        if grads[1][name].any()
    )


def test_images_without_boxes_to_distil(file: str) -> None:
    """What PackDetInputs gives."""
    sample = DetDataSample(metainfo=dict(img_shape=(64, 64)))
    with pytest.raises(ValueError, match='with PackDistillInputs in place of'):
        roi_head(file, KINDS[0]).loss((), [], [sample])


def test_no_proposals_no_detections(file: str) -> None:
    head = roi_head(file, KINDS[0], with_mask=False).eval()
    sample = DetDataSample(
        metainfo=dict(
            img_shape=(64, 64), ori_shape=(64, 64), scale_factor=(1.0, 1.0)
        )
    )
    empty = InstanceData(bboxes=torch.zeros(0, 4), scores=torch.zeros(0))
    (result,) = head.predict((torch.randn(1, 4, 16, 16),), [empty], [sample])
    assert result.bboxes.shape == (0, 4)


def test_embeddings_survive_weight_initialisation(file: str) -> None:
    head = roi_head(file, KINDS[0])
    rows = ClassEmbeddings.load(file).embeddings
    assert torch.equal(head.bbox_head.classifier.class_embeddings, rows)
    assert not any('class_embeddings' in key for key in head.state_dict())
