"""The published formulas of ViLD, ViLD* and DetPro, each a second way.

Of box heads; whole RoI heads are in test_vild_heads.
"""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
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


def head_cfg(file: str, **kwargs) -> dict:
    classifier = dict(
        type='ClassEmbeddingClassifier',
        class_embeddings=file,
        temperature=0.1,
        **kwargs.pop('classifier', {}),
    )
    return dict(
        num_shared_fcs=1,
        in_channels=4,
        fc_out_channels=16,
        num_classes=4,
        reg_class_agnostic=True,
        classifier=classifier,
        **kwargs,
    )


def ensemble_head(file: str, **kwargs) -> ViLDEnsembleBBoxHead:
    torch.manual_seed(0)
    head = ViLDEnsembleBBoxHead(
        image_branch=dict(num_shared_fcs=1, fc_out_channels=16),
        **head_cfg(file, **kwargs),
    )
    head.set_vocabulary(NAMES, NOVEL)
    return head


def softmax_by_hand(
    region: Tensor, rows: Tensor, temperature: float
) -> Tensor:
    """Return exp(cos / temperature) of each row over their sum."""
    cosines = [sum(region * row) / region.norm() / row.norm() for row in rows]
    powers = torch.stack(cosines).div(temperature).exp()
    return powers / powers.sum()


def p_text_and_image(
    head: ViLDEnsembleBBoxHead, x: Tensor, temperature: float = 0.1
):
    """Both branches' probabilities, RoI by RoI."""
    text = head.fc_cls(torch.relu(head.shared_fcs[0](x.flatten(1))))
    image = head.image_branch.fc_cls(
        torch.relu(head.image_branch.shared_fcs[0](x.flatten(1)))
    )
    rows = ClassEmbeddings.load(head.classifier.class_embeddings_file)
    rows = rows.embeddings
    with_bg = torch.cat([rows, head.classifier.bg_embedding])
    return (
        torch.stack([softmax_by_hand(r, with_bg, temperature) for r in text]),
        torch.stack([softmax_by_hand(r, rows, temperature) for r in image]),
    )


def test_cross_entropy_over_base_classes_and_background(file: str) -> None:
    """ViLD-text's loss, its novel columns as good as not there."""
    torch.manual_seed(0)
    head = ViLDBBoxHead(**head_cfg(file))
    head.set_vocabulary(NAMES, NOVEL)
    x, labels = torch.randn(5, 4, 7, 7), torch.tensor([0, 2, 4, 4, 0])
    logits, deltas = head(x)
    loss = head.loss(
        logits,
        deltas,
        torch.zeros(5, 5),
        labels,
        torch.ones(5),
        torch.zeros(5, 4),
        torch.zeros(5, 4),
    )['loss_cls']
    regions = head.fc_cls(torch.relu(head.shared_fcs[0](x.flatten(1))))
    rows = ClassEmbeddings.load(file).embeddings[[0, 2]]
    rows = torch.cat([rows, head.classifier.bg_embedding])
    picked = [
        softmax_by_hand(region, rows, 0.1)[{0: 0, 2: 1, 4: 2}[label]]
        for region, label in zip(regions, labels.tolist())
    ]
    expected = -sum(p.log() for p in picked) / 5
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize(
    'weights',
    [
        {},
        dict(base_weight=0.6, novel_weight=0.6),
        dict(base_weight=1, novel_weight=0),
    ],
)
def test_ensemble_by_its_definition(file: str, weights: dict) -> None:
    head = ensemble_head(file, **weights).eval()
    x = torch.randn(6, 4, 7, 7)
    p_text, p_image = p_text_and_image(head, x)
    base, novel = (
        weights.get('base_weight', 2 / 3),
        weights.get('novel_weight', 1 / 3),
    )
    for c, name in enumerate(NAMES):
        weight = novel if name in NOVEL else base
        expected = p_text[:, c] ** weight * p_image[:, c] ** (1 - weight)
        assert torch.allclose(head(x)[0][:, c], expected, atol=1e-5)


def test_ensemble_in_its_cube_root_form(file: str) -> None:
    """The official p_text * p_image * (p_image if novel else p_text)."""
    head = ensemble_head(file).eval()
    x = torch.randn(6, 4, 7, 7)
    p_text, p_image = p_text_and_image(head, x)
    novel = torch.tensor([name in NOVEL for name in NAMES])
    third = torch.where(novel, p_image, p_text[:, :4])
    expected = (p_text[:, :4] * p_image * third) ** (1 / 3)
    scores, bbox_pred = head(x)
    assert torch.allclose(scores[:, :4], expected, atol=1e-5)
    assert torch.allclose(scores[:, 4], p_text[:, 4], atol=1e-5)
    assert bbox_pred.shape == (6, 4)


@pytest.mark.parametrize('scoring, column', [('text', 0), ('image', 1)])
def test_one_branch_alone(file: str, scoring: str, column: int) -> None:
    head = ensemble_head(file, scoring=scoring).eval()
    x = torch.randn(6, 4, 7, 7)
    expected = p_text_and_image(head, x)[column][:, :4]
    assert torch.allclose(head(x)[0][:, :4], expected, atol=1e-5)


def test_objectness_detects_one_class(file: str) -> None:
    head = ensemble_head(file, scoring='objectness').eval()
    x = torch.randn(6, 4, 7, 7)
    background = p_text_and_image(head, x)[0][:, 4]
    expected = torch.stack([1 - background, background], -1)
    assert torch.allclose(head(x)[0], expected, atol=1e-5)


def test_scores_above_one_in_sum_reach_nms_unchanged(file: str) -> None:
    """No logarithm or softmax may touch them."""
    head = ensemble_head(file).eval()
    scores = torch.tensor([[0.9, 0.4, 0.01, 0, 0], [0.1, 0.7, 0.3, 0, 0.05]])
    rois = torch.tensor([[0.0, 10, 10, 20, 20], [0.0, 40, 40, 60, 70]])
    result = head._predict_by_feat_single(
        rois,
        scores,
        torch.zeros(2, 4),
        dict(img_shape=(100, 100), scale_factor=(2.0, 2.0)),
        rescale=True,
        rcnn_test_cfg=ConfigDict(
            score_thr=0.05,
            nms=dict(type='nms', iou_threshold=0.5),
            max_per_img=10,
        ),
    )
    assert result.scores.tolist() == pytest.approx([0.9, 0.7, 0.4, 0.3, 0.1])
    assert result.labels.tolist() == [0, 1, 1, 2, 0]
    assert result.bboxes[0].tolist() == [5, 5, 10, 10]  # original pixels


def test_foreground_of_the_ensemble_may_exceed_one(tmp_path: Path) -> None:
    """Text mass on a base class, image mass on a novel one: up to 1.058."""
    ClassEmbeddings(
        ['base', 'novel'],
        torch.eye(3)[:2],
        dict(name='tiny', sha256='0' * 64),
        'vild',
    ).save(tmp_path / 'two.pth')
    classifier = ClassEmbeddingClassifier(
        str(tmp_path / 'two.pth'), temperature=0.05
    ).eval()
    classifier.set_classes(['base', 'novel'], ['novel'])
    classifier.bg_embedding.data = torch.tensor([[0.0, 0, -1]])
    weight = torch.tensor([2 / 3, 1 / 3])
    angles = torch.linspace(0.6, 1, 41)
    text, image = torch.cartesian_prod(angles, angles).T
    regions = [
        torch.stack([a.cos(), a.sin(), torch.zeros_like(a)], 1)
        for a in (text, image)
    ]
    scores = classifier.ensemble(*regions, weight)
    rows = torch.cat([torch.eye(3)[:2], classifier.bg_embedding])
    for i in range(0, len(scores), 97):
        p_text = softmax_by_hand(regions[0][i], rows, 0.05)
        p_image = softmax_by_hand(regions[1][i], rows[:2], 0.05)
        expected = p_text[:2] ** weight * p_image ** (1 - weight)
        assert torch.allclose(scores[i, :2], expected, atol=1e-5)
        # it keeps the text's, whatever is left
        assert scores[i, 2].item() == pytest.approx(p_text[2].item(), abs=1e-6)
    assert scores[:, :2].sum(1).max().item() == pytest.approx(1.058, abs=1e-3)


def test_temperatures_of_training_and_test(file: str) -> None:
    head = ensemble_head(file, classifier=dict(test_temperature=0.07))
    x = torch.randn(6, 4, 7, 7)
    regions = head.fc_cls(torch.relu(head.shared_fcs[0](x.flatten(1))))
    rows = torch.cat(
        [head.classifier.class_embeddings, head.classifier.bg_embedding]
    )
    base = [0, 2, 4]
    in_training = torch.stack(
        [softmax_by_hand(r, rows[base], 0.1) for r in regions]
    )
    assert torch.allclose(
        head(x)[0].softmax(-1)[:, base], in_training, atol=1e-5
    )
    p_text, p_image = p_text_and_image(head, x, 0.07)
    scores = head.eval()(x)[0]
    assert torch.allclose(scores[:, 4], p_text[:, 4], atol=1e-5)
    assert torch.allclose(
        scores[:, 0],
        p_text[:, 0] ** (2 / 3) * p_image[:, 0] ** (1 / 3),
        atol=1e-5,
    )
    with pytest.raises(ValueError, match='test_temperature must be positive'):
        ClassEmbeddingClassifier(file, test_temperature=0)


def test_vild_image_scores_classes_alone(file: str) -> None:
    torch.manual_seed(0)
    head = ViLDBBoxHead(scoring='image', **head_cfg(file)).eval()
    head.set_vocabulary(NAMES, NOVEL)
    x = torch.randn(6, 4, 7, 7)
    regions = head.fc_cls(torch.relu(head.shared_fcs[0](x.flatten(1))))
    rows = head.classifier.class_embeddings
    expected = torch.stack([softmax_by_hand(r, rows, 0.1) for r in regions])
    assert torch.allclose(head(x)[0][:, :4], expected, atol=1e-5)
    assert (head(x)[0][:, 4] == 0).all()


@pytest.mark.parametrize('most', [1, 7, 15])
@pytest.mark.parametrize('num_rois', [0, 1, 6])
def test_parts_make_the_same_scores(file, monkeypatch, most, num_rois) -> None:
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
    assert loss.item() == pytest.approx(0.5 * (sum(sums) / 7).item(), rel=1e-5)
    assert loss.item() == pytest.approx(
        dims / 2 * F.l1_loss(region, image).item(), rel=1e-5
    )


def test_one_head_for_both_losses(file: str) -> None:
    """What is distilled is what the text scores are computed from."""
    head = ViLDBBoxHead(**head_cfg(file))
    head.set_vocabulary(NAMES, NOVEL)
    x = torch.randn(3, 4, 7, 7)
    embeddings = head.distill_embeddings(x)
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(3), atol=1e-5)
    rows = torch.cat(
        [head.classifier.class_embeddings, head.classifier.bg_embedding]
    )
    expected = torch.stack([softmax_by_hand(r, rows, 0.1) for r in embeddings])
    assert torch.allclose(head.eval()(x)[0], expected, atol=1e-5)


@pytest.mark.parametrize('dtype', AUTOCAST)
def test_half_precision_scores_as_float32_does(file, dtype) -> None:
    """Logits of up to 100 would be rounded; features alone are."""
    head = ensemble_head(file, classifier=dict(test_temperature=0.01))
    x = torch.randn(6, 4, 7, 7)
    with torch.autocast('cpu', dtype=dtype):
        logits, _ = head(x)
        embeddings = head.distill_embeddings(x)
        assert logits.dtype == embeddings.dtype == torch.float32
        region = head.fc_cls(torch.relu(head.shared_fcs[0](x.flatten(1))))
        scores = head.eval()(x)[0]
    assert region.dtype == dtype
    assert scores.dtype == torch.float32
    rows = torch.cat(
        [head.classifier.class_embeddings, head.classifier.bg_embedding]
    )
    expected = torch.stack(
        [softmax_by_hand(r, rows, 0.01) for r in region.float()]
    )
    assert torch.allclose(scores[:, -1], expected[:, -1], rtol=1e-3, atol=1e-6)
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(6), atol=1e-5)


def test_google_has_norm_layers_behind_its_fcs(file: str) -> None:
    torch.manual_seed(0)
    head = ViLDBBoxHead(
        fc_norm_cfg=dict(type='BN1d'), **dict(head_cfg(file), num_shared_fcs=2)
    )
    head.set_vocabulary(NAMES, NOVEL)
    head.init_weights()
    head.eval()
    x = torch.randn(5, 4, 7, 7)
    h = x.flatten(1)
    for fc, norm in head.shared_fcs:
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        h = h @ fc.weight.T + fc.bias
        h = (h - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
        h = torch.relu(h * norm.weight + norm.bias)
    expected = F.normalize(h @ head.fc_cls.weight.T + head.fc_cls.bias)
    assert torch.allclose(head.distill_embeddings(x), expected, atol=1e-5)
    assert (head.shared_fcs[1][1].weight == 1).all()  # no Xavier on these


def test_raw_results_are_the_scores_as_they_are(file: str) -> None:
    """Without a test config the host would apply another softmax."""
    head = ensemble_head(file).eval()
    rois = torch.tensor([[0.0, 10, 10, 20, 20]])
    scores = torch.tensor([[0.9, 0.4, 0.01, 0.2, 0.1]])
    found = head._predict_by_feat_single(
        rois,
        scores,
        torch.zeros(1, 4),
        dict(img_shape=(64, 64), scale_factor=(1.0, 1.0)),
    )
    assert torch.equal(found.scores, scores)
    assert found.bboxes.tolist() == [[10, 10, 20, 20]]


@pytest.mark.parametrize(
    'wrong, message',
    [
        (
            dict(loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True)),
            'use_sigmoid=False',
        ),
        (dict(fc_norm_cfg=dict(type='BN')), 'SyncBN, BN1d or LN, got BN'),
        (
            dict(scoring='ensembel'),
            'scoring must be .*did you mean "ensemble"',
        ),
        (dict(base_weight=1.5), r'base_weight must be in \[0, 1\], got 1.5'),
        (dict(reg_class_agnostic=False), 'reg_class_agnostic=True'),
        (
            dict(num_shared_fcs=0),
            'at least one layer, got none: set num_shared_f',
        ),
        (dict(image_branch={}), 'at least one layer.* image_branch'),
        (
            dict(num_reg_convs=1),
            'can not follow num_shared_fcs=1: take num_shar',
        ),
        (
            dict(image_branch=dict(num_shared_fcs=1, num_reg_fcs=1)),
            'num_reg_fcs=1 of a branch without boxes',
        ),
    ],
)
def test_settings_that_can_not_be(file, wrong, message) -> None:
    cfg = dict(head_cfg(file), image_branch=dict(num_shared_fcs=1))
    with pytest.raises(ValueError, match=message):
        ViLDEnsembleBBoxHead(**dict(cfg, **wrong))


def test_losses_and_scores_need_the_mode_that_they_are_of(file: str) -> None:
    """In eval mode a loss would be one of probabilities: silently wrong."""
    head = ensemble_head(file).eval()
    scores, deltas = head(torch.randn(2, 4, 7, 7))
    with pytest.raises(RuntimeError, match='call train.. of the model before'):
        head.loss_and_target(scores, deltas, torch.zeros(2, 5), [], None)
    head.train()
    with pytest.raises(RuntimeError, match='call eval.. of the model before'):
        head.predict_by_feat((torch.zeros(2, 5),), (scores,), (deltas,), [{}])
