"""ViLD heads: scores, ensemble, distillation, gradients, each a second way."""
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.models import DistillationLoss, ViLDBBoxHead, ViLDEnsembleBBoxHead

NAMES = ['a', 'b', 'c']
DIMS = 8


@pytest.fixture
def file(tmp_path: Path) -> str:
    rows = torch.nn.functional.normalize(
        torch.randn(3, DIMS, generator=torch.Generator().manual_seed(0)))
    ClassEmbeddings(NAMES, rows, dict(name='tiny', sha256='0' * 64),
                    'vild').save(tmp_path / 'vild.pth')
    return str(tmp_path / 'vild.pth')


def head_cfg(file: str, **kwargs) -> dict:
    return dict(
        num_shared_fcs=1,
        in_channels=4,
        roi_feat_size=7,
        fc_out_channels=16,
        num_classes=3,
        reg_class_agnostic=True,
        classifier=dict(
            type='ClassEmbeddingClassifier',
            class_embeddings=file,
            temperature=0.1),
        **kwargs)


def ensemble_head(file: str, **kwargs) -> ViLDEnsembleBBoxHead:
    torch.manual_seed(0)
    head = ViLDEnsembleBBoxHead(
        image_branch=dict(num_shared_fcs=1, fc_out_channels=16),
        **head_cfg(file, **kwargs))
    head.set_vocabulary(NAMES, ['b'])
    return head


def branch_probabilities(head, x):
    """Both branches' probabilities, computed step by step."""
    flat, rows = x.flatten(1), head.classifier.class_embeddings
    text = torch.relu(flat @ head.shared_fcs[0].weight.T +
                      head.shared_fcs[0].bias)
    text = text @ head.fc_cls.weight.T + head.fc_cls.bias
    image = torch.relu(flat @ head.image_branch.shared_fcs[0].weight.T +
                       head.image_branch.shared_fcs[0].bias)
    image = image @ head.image_branch.fc_cls.weight.T + \
        head.image_branch.fc_cls.bias
    with_bg = torch.cat([rows, head.classifier.bg_embedding])
    cosine = torch.cosine_similarity
    p_text = (cosine(text[:, None], with_bg[None], dim=-1) / .1).softmax(-1)
    p_image = (cosine(image[:, None], rows[None], dim=-1) / .1).softmax(-1)
    return p_text, p_image


def test_ensemble_equals_the_cube_root_form(file: str) -> None:
    # The official code takes cube roots: p_text * p_image * (p_text if base,
    # p_image if novel).
    head = ensemble_head(file).eval()
    x = torch.randn(6, 4, 7, 7)
    scores, bbox_pred = head(x)
    p_text, p_image = branch_probabilities(head, x)
    third = p_text[:, :3].clone()
    third[:, 1] = p_image[:, 1]  # 'b' is novel
    expected = (p_text[:, :3] * p_image * third)**(1 / 3)
    assert torch.allclose(scores[:, :3], expected, atol=1e-5)
    assert torch.allclose(scores[:, 3], p_text[:, 3], atol=1e-5)
    assert bbox_pred.shape == (6, 4)


@pytest.mark.parametrize('scoring, column', [('text', 0), ('image', 1)])
def test_one_branch_alone(file: str, scoring: str, column: int) -> None:
    head = ensemble_head(file, scoring=scoring).eval()
    x = torch.randn(6, 4, 7, 7)
    expected = branch_probabilities(head, x)[column][:, :3]
    assert torch.allclose(head(x)[0][:, :3], expected, atol=1e-5)


def test_objectness_detects_one_class(file: str) -> None:
    head = ensemble_head(file, scoring='objectness').eval()
    x = torch.randn(6, 4, 7, 7)
    background = branch_probabilities(head, x)[0][:, 3]
    expected = torch.stack([1 - background, background], -1)
    assert torch.allclose(head(x)[0], expected, atol=1e-5)


def test_scores_above_one_in_sum_reach_nms_unchanged(file: str) -> None:
    # Text mass on a base class and image mass on a novel one: the ensembled
    # scores sum to more than 1, and no logarithm or softmax may touch them.
    head = ensemble_head(file).eval()
    scores = torch.tensor([[0.9, 0.4, 0.01, 0.0], [0.1, 0.7, 0.3, 0.05]])
    rois = torch.tensor([[0., 10, 10, 20, 20], [0., 40, 40, 60, 70]])
    result = head._predict_by_feat_single(
        rois,
        scores,
        torch.zeros(2, 4),
        dict(img_shape=(100, 100), scale_factor=(2.0, 2.0)),
        rescale=True,
        rcnn_test_cfg=ConfigDict(
            score_thr=0.05,
            nms=dict(type='nms', iou_threshold=.5),
            max_per_img=10))
    assert result.scores.tolist() == pytest.approx([.9, .7, .4, .3, .1])
    assert result.labels.tolist() == [0, 1, 1, 2, 0]
    assert result.bboxes[0].tolist() == [5, 5, 10, 10]  # original pixels


@pytest.mark.parametrize('scale, dims', [(0.5, 8), (1.0, 512)])
def test_distillation_loss_equals_half_d_times_mean(scale, dims) -> None:
    a, b = torch.randn(5, dims), torch.randn(5, dims)
    expected = sum((a[i, j] - b[i, j]).abs()
                   for i in range(5) for j in range(dims)) * scale / 5
    loss = DistillationLoss(loss_weight=scale)(a, b)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    mean_form = scale * dims * torch.nn.functional.l1_loss(a, b)
    assert loss.item() == pytest.approx(mean_form.item(), rel=1e-5)


def test_one_head_for_both_losses(file: str) -> None:
    head = ViLDBBoxHead(**head_cfg(file))
    head.set_vocabulary(NAMES, ['b'])
    x = torch.randn(3, 4, 7, 7)
    embeddings = head.distill_embeddings(x)
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(3), atol=1e-5)
    p_text = torch.cat([
        embeddings @ head.classifier.class_embeddings.T,
        embeddings @ torch.nn.functional.normalize(
            head.classifier.bg_embedding).T
    ], 1).div(.1).softmax(-1)
    assert torch.allclose(head.eval()(x)[0], p_text, atol=1e-5)


def test_boxes_must_be_class_agnostic(file: str) -> None:
    cfg = dict(head_cfg(file), reg_class_agnostic=False)
    with pytest.raises(ValueError, match='reg_class_agnostic=True'):
        ViLDBBoxHead(**cfg)


@pytest.mark.parametrize('wrong, message', [
    (dict(scoring='ensembel'), 'did you mean "ensemble"'),
    (dict(base_weight=1.5), r'base_weight must be in \[0, 1\], got 1.5'),
])
def test_wrong_settings(file: str, wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ensemble_head(file, **wrong)


def roi_head(file: str):
    cfg = ConfigDict(
        type='ViLDRoIHead',
        bbox_roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0),
            out_channels=4,
            featmap_strides=[4]),
        bbox_head=dict(
            type='ViLDEnsembleBBoxHead',
            image_branch=dict(num_shared_fcs=1, fc_out_channels=16),
            **head_cfg(file)),
        loss_distill=dict(type='DistillationLoss'),
        train_cfg=dict(
            assigner=dict(
                type='MaxIoUAssigner',
                pos_iou_thr=.5,
                neg_iou_thr=.5,
                min_pos_iou=.5),
            sampler=dict(
                type='RandomSampler',
                num=8,
                pos_fraction=.25,
                add_gt_as_proposals=True),
            pos_weight=-1),
        test_cfg=dict(
            score_thr=0.0,
            nms=dict(type='nms', iou_threshold=.5),
            max_per_img=10))
    torch.manual_seed(0)
    head = MODELS.build(cfg)
    head.init_weights()
    head.bbox_head.set_vocabulary(NAMES, ['b'])
    return head


def train_losses(head, num_distilled: int, num_gt: int) -> dict:
    sample = DetDataSample(metainfo=dict(img_shape=(64, 64)))
    boxes = torch.tensor([[8., 8, 30, 30]]).repeat(num_gt, 1)
    sample.gt_instances = InstanceData(
        bboxes=boxes, labels=torch.zeros(num_gt, dtype=torch.long))
    embeddings = torch.nn.functional.normalize(
        torch.randn(num_distilled, DIMS), dim=-1)
    sample.distill_instances = InstanceData(
        bboxes=torch.tensor([[4., 4, 40, 40]]).repeat(num_distilled, 1),
        embeddings=embeddings)
    proposals = InstanceData(
        bboxes=torch.tensor([[8., 8, 31, 30], [0., 0, 12, 12]]),
        scores=torch.ones(2),
        labels=torch.zeros(2, dtype=torch.long))
    return head.loss((torch.randn(1, 4, 16, 16), ), [proposals], [sample])


@pytest.mark.parametrize('num_distilled', [0, 3])
@pytest.mark.parametrize('num_gt', [0, 1])
def test_losses_reach_the_branches_they_belong_to(file, num_distilled,
                                                  num_gt) -> None:
    head = roi_head(file)
    losses = train_losses(head, num_distilled, num_gt)
    assert all(torch.isfinite(losses[key]).all()
               for key in ('loss_cls', 'loss_bbox', 'loss_distill'))
    losses['loss_distill'].backward(retain_graph=True)
    image = head.bbox_head.image_branch.shared_fcs[0].weight.grad
    assert image is not None  # also for zero boxes: every rank needs one
    assert (image.abs().sum() > 0) == (num_distilled > 0)
    assert head.bbox_head.shared_fcs[0].weight.grad is None
    head.zero_grad()
    (losses['loss_cls'] + losses['loss_bbox']).backward()
    assert head.bbox_head.shared_fcs[0].weight.grad.abs().sum() > 0
    assert head.bbox_head.image_branch.shared_fcs[0].weight.grad is None


def test_no_proposals_no_detections(file: str) -> None:
    head = roi_head(file).eval()
    sample = DetDataSample(metainfo=dict(
        img_shape=(64, 64), ori_shape=(64, 64), scale_factor=(1., 1.)))
    empty = InstanceData(bboxes=torch.zeros(0, 4), scores=torch.zeros(0))
    result, = head.predict((torch.randn(1, 4, 16, 16), ), [empty], [sample])
    assert result.bboxes.shape == (0, 4)


def test_embeddings_survive_weight_initialisation(file: str) -> None:
    head = roi_head(file)
    rows = ClassEmbeddings.load(file).embeddings
    assert torch.equal(head.bbox_head.classifier.class_embeddings, rows)
    assert not any('class_embeddings' in key for key in head.state_dict())
