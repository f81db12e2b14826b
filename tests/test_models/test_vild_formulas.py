"""The published formulas of ViLD, ViLD* and DetPro, each a second way."""
from pathlib import Path
from typing import Dict

import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.models import (
    ClassEmbeddingClassifier,
    DistillationLoss,
    ViLDBBoxHead,
    ViLDEnsembleBBoxHead,
)
from ovd.models.layers import class_embedding_classifier

NAMES = ['a', 'b', 'c', 'd']
NOVEL = ['b', 'd']
DIMS = 8
AUTOCAST = [torch.float16, torch.bfloat16]


@pytest.fixture
def file(tmp_path: Path) -> str:
    rows = F.normalize(
        torch.randn(4, DIMS, generator=torch.Generator().manual_seed(0)))
    ClassEmbeddings(NAMES, rows, dict(name='tiny', sha256='0' * 64),
                    'vild').save(tmp_path / 'vild.pth')
    return str(tmp_path / 'vild.pth')


def head_cfg(file: str, **kwargs) -> dict:
    classifier = dict(
        type='ClassEmbeddingClassifier', class_embeddings=file,
        temperature=.1, **kwargs.pop('classifier', {}))
    return dict(
        num_shared_fcs=1,
        in_channels=4,
        fc_out_channels=16,
        num_classes=4,
        reg_class_agnostic=True,
        classifier=classifier,
        **kwargs)


def ensemble_head(file: str, **kwargs) -> ViLDEnsembleBBoxHead:
    torch.manual_seed(0)
    head = ViLDEnsembleBBoxHead(
        image_branch=dict(num_shared_fcs=1, fc_out_channels=16),
        **head_cfg(file, **kwargs))
    head.set_vocabulary(NAMES, NOVEL)
    return head


def softmax_by_hand(region: Tensor, rows: Tensor, temperature: float
                    ) -> Tensor:
    """Return exp(cos / temperature) of each row over their sum."""
    cosines = [sum(region * row) / region.norm() / row.norm() for row in rows]
    powers = torch.stack(cosines).div(temperature).exp()
    return powers / powers.sum()


def p_text_and_image(head: ViLDEnsembleBBoxHead, x: Tensor,
                     temperature: float = .1):
    """Both branches' probabilities, RoI by RoI."""
    text = head.fc_cls(torch.relu(head.shared_fcs[0](x.flatten(1))))
    image = head.image_branch.fc_cls(
        torch.relu(head.image_branch.shared_fcs[0](x.flatten(1))))
    rows = ClassEmbeddings.load(head.classifier.class_embeddings_file)
    rows = rows.embeddings
    with_bg = torch.cat([rows, head.classifier.bg_embedding])
    return (torch.stack([softmax_by_hand(r, with_bg, temperature)
                         for r in text]),
            torch.stack([softmax_by_hand(r, rows, temperature)
                         for r in image]))


def test_cross_entropy_over_base_classes_and_background(file: str) -> None:
    """ViLD-text's loss, its novel columns as good as not there."""
    torch.manual_seed(0)
    head = ViLDBBoxHead(**head_cfg(file))
    head.set_vocabulary(NAMES, NOVEL)
    x, labels = torch.randn(5, 4, 7, 7), torch.tensor([0, 2, 4, 4, 0])
    logits, deltas = head(x)
    loss = head.loss(
        logits, deltas, torch.zeros(5, 5), labels, torch.ones(5),
        torch.zeros(5, 4), torch.zeros(5, 4))['loss_cls']
    regions = head.fc_cls(torch.relu(head.shared_fcs[0](x.flatten(1))))
    rows = ClassEmbeddings.load(file).embeddings[[0, 2]]
    rows = torch.cat([rows, head.classifier.bg_embedding])
    picked = [softmax_by_hand(region, rows, .1)[{0: 0, 2: 1, 4: 2}[label]]
              for region, label in zip(regions, labels.tolist())]
    expected = -sum(p.log() for p in picked) / 5
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize('weights', [
    {}, dict(base_weight=.6, novel_weight=.6),
    dict(base_weight=1, novel_weight=0)])
def test_ensemble_by_its_definition(file: str, weights: dict) -> None:
    head = ensemble_head(file, **weights).eval()
    x = torch.randn(6, 4, 7, 7)
    p_text, p_image = p_text_and_image(head, x)
    base, novel = weights.get('base_weight', 2 / 3), weights.get(
        'novel_weight', 1 / 3)
    for c, name in enumerate(NAMES):
        weight = novel if name in NOVEL else base
        expected = p_text[:, c]**weight * p_image[:, c]**(1 - weight)
        assert torch.allclose(head(x)[0][:, c], expected, atol=1e-5)


def test_foreground_of_the_ensemble_may_exceed_one(tmp_path: Path) -> None:
    """Text mass on a base class, image mass on a novel one: up to 1.058."""
    ClassEmbeddings(['base', 'novel'], torch.eye(3)[:2],
                    dict(name='tiny', sha256='0' * 64),
                    'vild').save(tmp_path / 'two.pth')
    classifier = ClassEmbeddingClassifier(
        str(tmp_path / 'two.pth'), temperature=.05).eval()
    classifier.set_classes(['base', 'novel'], ['novel'])
    classifier.bg_embedding.data = torch.tensor([[0., 0, -1]])
    weight = torch.tensor([2 / 3, 1 / 3])
    angles = torch.linspace(.6, 1, 41)
    text, image = torch.cartesian_prod(angles, angles).T
    regions = [torch.stack([a.cos(), a.sin(), torch.zeros_like(a)], 1)
               for a in (text, image)]
    scores = classifier.ensemble(*regions, weight)
    rows = torch.cat([torch.eye(3)[:2], classifier.bg_embedding])
    for i in range(0, len(scores), 97):
        p_text = softmax_by_hand(regions[0][i], rows, .05)
        p_image = softmax_by_hand(regions[1][i], rows[:2], .05)
        expected = p_text[:2]**weight * p_image**(1 - weight)
        assert torch.allclose(scores[i, :2], expected, atol=1e-5)
        # it keeps the text's, whatever is left
        assert scores[i, 2].item() == pytest.approx(p_text[2].item(), abs=1e-6)
    assert scores[:, :2].sum(1).max().item() == pytest.approx(1.058, abs=1e-3)


def test_temperatures_of_training_and_test(file: str) -> None:
    head = ensemble_head(file, classifier=dict(test_temperature=.07))
    x = torch.randn(6, 4, 7, 7)
    regions = head.fc_cls(torch.relu(head.shared_fcs[0](x.flatten(1))))
    rows = torch.cat([head.classifier.class_embeddings,
                      head.classifier.bg_embedding])
    base = [0, 2, 4]
    in_training = torch.stack([softmax_by_hand(r, rows[base], .1)
                               for r in regions])
    assert torch.allclose(
        head(x)[0].softmax(-1)[:, base], in_training, atol=1e-5)
    p_text, p_image = p_text_and_image(head, x, .07)
    scores = head.eval()(x)[0]
    assert torch.allclose(scores[:, 4], p_text[:, 4], atol=1e-5)
    assert torch.allclose(
        scores[:, 0], p_text[:, 0]**(2 / 3) * p_image[:, 0]**(1 / 3),
        atol=1e-5)
    with pytest.raises(ValueError, match='test_temperature must be positive'):
        ClassEmbeddingClassifier(file, test_temperature=0)


def test_vild_image_scores_classes_alone(file: str) -> None:
    torch.manual_seed(0)
    head = ViLDBBoxHead(scoring='image', **head_cfg(file)).eval()
    head.set_vocabulary(NAMES, NOVEL)
    x = torch.randn(6, 4, 7, 7)
    regions = head.fc_cls(torch.relu(head.shared_fcs[0](x.flatten(1))))
    rows = head.classifier.class_embeddings
    expected = torch.stack([softmax_by_hand(r, rows, .1) for r in regions])
    assert torch.allclose(head(x)[0][:, :4], expected, atol=1e-5)
    assert (head(x)[0][:, 4] == 0).all()


@pytest.mark.parametrize('most', [1, 7, 15])
@pytest.mark.parametrize('num_rois', [0, 1, 6])
def test_parts_make_the_same_scores(file, monkeypatch, most, num_rois
                                    ) -> None:
    """Scores of many names are computed by some RoIs at a time."""
    head = ensemble_head(file).eval()
    x = torch.randn(num_rois, 4, 7, 7)
    whole = head(x)[0]
    monkeypatch.setattr(class_embedding_classifier, 'MAX_SCORES', most)
    assert torch.allclose(head(x)[0], whole, atol=1e-6)
    assert whole.shape == (num_rois, 5)


@pytest.mark.parametrize('dims', [8, 512, 640])
def test_image_loss_of_any_size(dims: int) -> None:
    """0.5 x the L1 sum of a proposal = D / 2 x the mean (256 of 512)."""
    region, image = (F.normalize(torch.randn(7, dims)) for _ in 'ab')
    loss = DistillationLoss(0.5)(region, image)
    sums = [(a - b).abs().sum() for a, b in zip(region, image)]
    assert loss.item() == pytest.approx(.5 * (sum(sums) / 7).item(), rel=1e-5)
    assert loss.item() == pytest.approx(
        dims / 2 * F.l1_loss(region, image).item(), rel=1e-5)


@pytest.mark.parametrize('dtype', AUTOCAST)
def test_half_precision_scores_as_float32_does(file, dtype) -> None:
    """Logits of up to 100 would be rounded; features alone are."""
    head = ensemble_head(file, classifier=dict(test_temperature=.01))
    x = torch.randn(6, 4, 7, 7)
    with torch.autocast('cpu', dtype=dtype):
        logits, _ = head(x)
        embeddings = head.distill_embeddings(x)
        assert logits.dtype == embeddings.dtype == torch.float32
        region = head.fc_cls(torch.relu(head.shared_fcs[0](x.flatten(1))))
        scores = head.eval()(x)[0]
    assert region.dtype == dtype
    assert scores.dtype == torch.float32
    rows = torch.cat([head.classifier.class_embeddings,
                      head.classifier.bg_embedding])
    expected = torch.stack([
        softmax_by_hand(r, rows, .01) for r in region.float()])
    assert torch.allclose(scores[:, -1], expected[:, -1], rtol=1e-3, atol=1e-6)
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(6), atol=1e-5)


def test_google_has_norm_layers_behind_its_fcs(file: str) -> None:
    torch.manual_seed(0)
    head = ViLDBBoxHead(
        fc_norm_cfg=dict(type='BN1d'),
        **dict(head_cfg(file), num_shared_fcs=2))
    head.set_vocabulary(NAMES, NOVEL)
    head.init_weights()
    head.eval()
    x = torch.randn(5, 4, 7, 7)
    h = x.flatten(1)
    for fc, norm in head.shared_fcs:
        norm.running_mean.normal_()
        norm.running_var.uniform_(.5, 2)
        h = h @ fc.weight.T + fc.bias
        h = (h - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
        h = torch.relu(h * norm.weight + norm.bias)
    expected = F.normalize(h @ head.fc_cls.weight.T + head.fc_cls.bias)
    assert torch.allclose(head.distill_embeddings(x), expected, atol=1e-5)
    assert (head.shared_fcs[1][1].weight == 1).all()  # no Xavier on these


def test_raw_results_are_the_scores_as_they_are(file: str) -> None:
    """Without a test config the host would apply another softmax."""
    head = ensemble_head(file).eval()
    rois = torch.tensor([[0., 10, 10, 20, 20]])
    scores = torch.tensor([[.9, .4, .01, .2, .1]])
    found = head._predict_by_feat_single(
        rois, scores, torch.zeros(1, 4),
        dict(img_shape=(64, 64), scale_factor=(1., 1.)))
    assert torch.equal(found.scores, scores)
    assert found.bboxes.tolist() == [[10, 10, 20, 20]]


@pytest.mark.parametrize('wrong, message', [
    (dict(loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True)),
     'use_sigmoid=False'),
    (dict(fc_norm_cfg=dict(type='BN')), 'SyncBN, BN1d or LN, got BN'),
    (dict(scoring='pictures'), 'scoring must be')])
def test_settings_that_can_not_be(file, wrong, message) -> None:
    with pytest.raises(ValueError, match=message):
        ViLDBBoxHead(**head_cfg(file), **wrong)


def roi_head(file: str, kind: str, with_mask: bool = True,
             **branch) -> torch.nn.Module:
    """A Standard or Cascade RoI head, of few channels."""
    extractor = dict(
        type='SingleRoIExtractor',
        roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0),
        out_channels=4,
        featmap_strides=[4])
    bbox_head = dict(
        type='ViLDEnsembleBBoxHead',
        image_branch=dict(num_shared_fcs=1, fc_out_channels=16, **branch),
        **head_cfg(file, **branch))
    train_cfg = dict(
        assigner=dict(type='MaxIoUAssigner', pos_iou_thr=.5, neg_iou_thr=.5,
                      min_pos_iou=.5),
        sampler=dict(type='RandomSampler', num=8, pos_fraction=.25,
                     add_gt_as_proposals=True),
        mask_size=14,
        pos_weight=-1)
    cascade = kind == 'ViLDCascadeRoIHead'
    torch.manual_seed(0)
    head = MODELS.build(ConfigDict(
        type=kind,
        bbox_roi_extractor=extractor,
        bbox_head=[bbox_head] * 3 if cascade else bbox_head,
        mask_roi_extractor=extractor if with_mask else None,
        mask_head=dict(
            type='FCNMaskHead', num_convs=1, in_channels=4,
            conv_out_channels=4, num_classes=4, class_agnostic=True,
            loss_mask=dict(type='CrossEntropyLoss', use_mask=True,
                           loss_weight=1.0)) if with_mask else None,
        loss_distill=dict(type='DistillationLoss'),
        train_cfg=[train_cfg] * 3 if cascade else train_cfg,
        test_cfg=dict(score_thr=0., nms=dict(type='nms', iou_threshold=.5),
                      max_per_img=10, mask_thr_binary=.5),
        **(dict(num_stages=3, stage_loss_weights=[1, .5, .25])
           if cascade else {})))
    head.init_weights()
    for bbox_head in bbox_heads(head):
        bbox_head.set_vocabulary(NAMES, NOVEL)
    return head


def bbox_heads(head: torch.nn.Module) -> list:
    return [m for m in head.modules() if isinstance(m, ViLDBBoxHead)]


def train_losses(head, num_distilled: int = 3, num_gt: int = 1,
                 num_proposals: int = 2) -> Dict[str, Tensor]:
    from mmdet.structures.mask import BitmapMasks
    sample = DetDataSample(metainfo=dict(img_shape=(64, 64)))
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor([[8., 8, 30, 30]]).repeat(num_gt, 1),
        labels=torch.zeros(num_gt, dtype=torch.long),
        masks=BitmapMasks(torch.ones(num_gt, 64, 64).byte().numpy(), 64, 64))
    sample.distill_instances = InstanceData(
        bboxes=torch.tensor([[4., 4, 40, 40]]).repeat(num_distilled, 1),
        embeddings=F.normalize(torch.randn(num_distilled, DIMS)))
    proposals = InstanceData(
        bboxes=torch.tensor([[8., 8, 31, 30], [0., 0, 12, 12]]
                            )[:num_proposals],
        scores=torch.ones(num_proposals),
        labels=torch.zeros(num_proposals, dtype=torch.long))
    return head.loss((torch.randn(1, 4, 16, 16), ), [proposals], [sample])


KINDS = ['ViLDRoIHead', 'ViLDCascadeRoIHead']


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('counts', [
    (3, 1, 2), (0, 1, 2), (3, 0, 2), (3, 1, 0), (0, 0, 1)],
    ids=['all', 'nothing distilled', 'no objects', 'no proposals', 'least'])
def test_gradients_only_where_they_belong(file, kind, counts) -> None:
    """Text branch and boxes learn from labels, the image branch from CLIP."""
    head = roi_head(file, kind)
    rows = [h.classifier.class_embeddings.clone() for h in bbox_heads(head)]
    losses = train_losses(head, *counts)
    distill = {name: loss for name, loss in losses.items()
               if 'loss_distill' in name}
    assert len(distill) == len(bbox_heads(head))
    assert all(torch.isfinite(torch.as_tensor(loss)).all()
               for loss in losses.values())
    image = [p for h in bbox_heads(head) for p in h.image_branch.parameters()]
    others = {name for name, p in head.named_parameters()
              if not any(p is q for q in image)}
    sum(distill.values()).backward(retain_graph=True)
    assert all(p.grad is not None for p in image)  # every process needs one
    assert all((p.grad.abs().sum() > 0) == (counts[0] > 0) for p in image
               if p.ndim == 2)
    assert all(p.grad is None for name, p in head.named_parameters()
               if name in others)
    head.zero_grad()
    sum(loss.sum() for name, loss in losses.items()
        if 'loss' in name and name not in distill).backward()
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
    x = (torch.randn(1, 4, 16, 16), )
    rois = torch.tensor([[0., 4, 4, 40, 40]]).repeat(3, 1)
    for i, weight in enumerate([1, .5, .25]):
        feats = head.bbox_roi_extractor[i](x, rois)
        region = head.bbox_head[i].distill_embeddings(feats)
        expected = weight * DIMS / 2 * F.l1_loss(region, embeddings)
        assert losses[f's{i}.loss_distill'].item() == pytest.approx(
            expected.item(), rel=1e-4)


@pytest.mark.parametrize('kind', KINDS)
def test_detections_of_the_whole_head(file, kind) -> None:
    head = roi_head(file, kind).eval()
    sample = DetDataSample(metainfo=dict(
        img_shape=(64, 64), ori_shape=(64, 64), scale_factor=(1., 1.)))
    proposals = InstanceData(
        bboxes=torch.tensor([[8., 8, 31, 30], [0., 0, 12, 12]]),
        scores=torch.ones(2))
    x = (torch.randn(1, 4, 16, 16), )
    with torch.no_grad():
        found, = head.predict(x, [proposals], [sample])
        assert found.masks.shape == (len(found), 64, 64)
        if kind == 'ViLDCascadeRoIHead':
            rois = torch.cat([torch.zeros(2, 1), torch.tensor(
                [[8., 8, 31, 30], [0., 0, 12, 12]])], 1)
            _, scores, _ = head._refine_roi(
                x, rois, [sample.metainfo], (2, ))
            stages = []
            for i in range(3):  # the mean of the stages' probabilities
                feats = head.bbox_roi_extractor[i](x, rois)
                score, deltas = head.bbox_head[i](feats)
                stages.append(score)
                boxes = head.bbox_head[i].bbox_coder.decode(
                    rois[:, 1:], deltas, max_shape=(64, 64))
                rois = torch.cat([rois[:, :1], boxes], 1)
            assert torch.allclose(scores[0], sum(stages) / 3, atol=1e-6)
    assert 0 < len(found) <= 8
    assert (found.scores[:-1] >= found.scores[1:]).all()


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('num_distilled', [1, 2])
def test_boxes_without_masks_and_norms_of_a_single_box(
        file, kind, num_distilled) -> None:
    """Faster and Cascade R-CNN; batch norm needs more than one vector."""
    head = roi_head(file, kind, with_mask=False,
                    fc_norm_cfg=dict(type='BN1d'))
    losses = train_losses(head, num_distilled)
    assert not any('mask' in name for name in losses)
    assert all(torch.isfinite(torch.as_tensor(loss)).all()
               for loss in losses.values())
