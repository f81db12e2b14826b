"""NMS of shared boxes: as the host's, and as one NMS per class.

The host shifts the boxes of each class; where both are compared, coordinates
are small multiples of 1/4, which it shifts without rounding.
"""

import sys
from pathlib import Path
from typing import Tuple
from unittest.mock import patch

import pytest
import torch
from mmdet.models.layers import multiclass_nms
from mmengine.config import ConfigDict
from torch import Tensor
from torchvision.ops import nms

from ovd.models.task_modules import shared_box_nms

sys.path.append(str(Path(__file__).parents[2] / 'tools/benchmarks'))
from peak_memory import peak_bytes  # noqa: E402

MODULE = sys.modules['ovd.models.task_modules.shared_box_nms']
PLAIN = dict(type='nms', iou_threshold=0.5)


def draw_boxes(num: int, generator: torch.Generator, size: int = 40) -> Tensor:
    """Return boxes (num, 4) on a grid of 1/4, some equal, some empty."""
    corners = torch.randint(0, 4 * size, (num, 2, 2), generator=generator)
    boxes = torch.cat([corners.amin(1), corners.amax(1)], dim=1) / 4
    if num > 4:
        boxes[1] = boxes[0]
        boxes[2, 2:] = boxes[2, :2]
        boxes[3, 2] = boxes[3, 0]
    return boxes


def draw_scores(
    num: int, num_classes: int, generator: torch.Generator, levels: int = 0
) -> Tensor:
    """Return scores (num, num_classes + 1); few levels give many ties."""
    shape = num, num_classes + 1
    if levels:
        return torch.randint(0, levels, shape, generator=generator) / levels
    return (4 * torch.randn(shape, generator=generator)).softmax(dim=1)


def nms_per_class(
    bboxes: Tensor,
    scores: Tensor,
    score_thr: float,
    iou_threshold: float,
    limit: int,
) -> Tuple[Tensor, Tensor]:
    """Run torchvision's NMS for each class, then sort by (-score, place)."""
    rows = []
    num_classes = scores.size(1) - 1
    for label in range(num_classes):
        rois = (scores[:, label] > score_thr).nonzero()[:, 0]
        # The host's boundary is in the dtype of the boxes
        threshold = torch.tensor(iou_threshold, dtype=bboxes.dtype).item()
        kept = nms(bboxes[rois], scores[rois, label], threshold)
        rows += [
            (-scores[roi, label].item(), roi * num_classes + label)
            for roi in rois[kept].tolist()
        ]
    rows = sorted(rows)[: limit if limit > 0 else None]
    places = torch.tensor([place for _, place in rows], dtype=torch.long)
    rois, labels = places // num_classes, places % num_classes
    return torch.cat([bboxes[rois], scores[rois, labels][:, None]], 1), labels


def check_same(
    found: Tuple[Tensor, Tensor], expected: Tuple[Tensor, Tensor]
) -> None:
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])
    assert found[0].dtype == expected[0].dtype
    assert found[1].dtype == expected[1].dtype


@pytest.mark.parametrize('levels', [0, 2, 5, 1000])
@pytest.mark.parametrize('limit', [-1, 0, 1, 7, 40])
def test_equals_the_host(levels: int, limit: int) -> None:
    for seed in range(12):
        generator = torch.Generator().manual_seed(seed)
        num = (1, 2, 5, 30, 60, 90)[seed % 6]
        num_classes = (1, 2, 13, 50, 33)[seed % 5]
        bboxes = draw_boxes(num, generator, size=(8, 40)[seed % 2])
        scores = draw_scores(num, num_classes, generator, levels)
        for score_thr in (0.0, 0.05, 0.6, 1.0, -1.0):
            check_same(
                shared_box_nms(bboxes, scores, score_thr, PLAIN, limit),
                multiclass_nms(bboxes, scores, score_thr, PLAIN, limit),
            )


@pytest.mark.parametrize('iou_threshold', [0.0, 0.1, 0.3, 0.5, 0.7, 1.0])
def test_equals_one_nms_per_class_on_any_coordinates(
    iou_threshold: float,
) -> None:
    for seed in range(8):
        generator = torch.Generator().manual_seed(seed)
        bboxes = draw_boxes(60, generator)
        # Also below 0, where the classes of the host run into each other
        bboxes += torch.rand(60, 4, generator=generator) - 20
        scores = draw_scores(60, 20, generator, levels=(0, 9)[seed % 2])
        for limit in (-1, 5, 50):
            cfg = dict(type='nms', iou_threshold=iou_threshold)
            check_same(
                shared_box_nms(bboxes, scores, 0.0, cfg, limit),
                nms_per_class(bboxes, scores, 0.0, iou_threshold, limit),
            )


@pytest.mark.parametrize(
    'width, iou_threshold', [(1, 0.1), (3, 0.3), (5, 0.5), (7, 0.7)]
)
def test_an_overlap_of_the_threshold_itself(
    width: int, iou_threshold: float
) -> None:
    # .1 and .7 are not numbers of float32: the threshold must be rounded as
    # the overlap is.
    bboxes = torch.tensor([[0.0, 0, 10, 1], [0, 0, width, 1]])
    scores = torch.tensor([[0.9, 0], [0.8, 0]])
    cfg = dict(type='nms', iou_threshold=iou_threshold)
    found = shared_box_nms(bboxes, scores, 0.0, cfg, 10)
    check_same(found, multiclass_nms(bboxes, scores, 0.0, cfg, 10))
    assert len(found[0]) == 2  # only what exceeds it goes


def test_boxes_without_area_do_not_overlap() -> None:
    bboxes = torch.tensor([[3.0, 3, 3, 3]]).repeat(4, 1)
    scores = torch.full((4, 3), 0.5)
    found = shared_box_nms(bboxes, scores, 0.0, PLAIN, 10)
    check_same(found, multiclass_nms(bboxes, scores, 0.0, PLAIN, 10))
    assert found[1].tolist() == [0, 1] * 4


@pytest.mark.parametrize('order', ['by_class', 'by_box', 'tied', 'one_class'])
def test_boxes_that_all_overlap(order: str) -> None:
    """The high scores give a few detections, the rest must be looked for."""
    num, num_classes = 80, 50
    generator = torch.Generator().manual_seed(0)
    bboxes = (
        torch.tensor([[0.0, 0, 20, 20]])
        + torch.randint(0, 4, (num, 4), generator=generator) / 4
    )
    scores = torch.rand(num, num_classes + 1, generator=generator) / 2
    if order == 'by_class':
        scores += torch.arange(num_classes + 1).flip(0)
    elif order == 'by_box':
        scores += torch.arange(num)[:, None]
    elif order == 'tied':
        scores[:] = 0.25
    else:
        scores[:, 0] += 10
    for limit in (1, 3, 49, 50, 51):
        found = shared_box_nms(bboxes, scores, 0.0, PLAIN, limit)
        check_same(found, multiclass_nms(bboxes, scores, 0.0, PLAIN, limit))
        assert len(found[0]) == min(limit, 50)


def draw_clusters(
    num: int, num_classes: int, generator: torch.Generator
) -> Tuple[Tensor, Tensor]:
    """Return boxes around some objects, which share their best classes."""
    objects = torch.randint(0, 30, (num,), generator=generator)
    corners = objects[:, None] * torch.tensor([30.0, 20])
    bboxes = torch.cat([corners, corners + 25], dim=1)
    bboxes += torch.randint(0, 9, (num, 4), generator=generator) / 4
    regions = torch.randn(30, 64, generator=generator)[objects]
    regions += 0.3 * torch.randn(num, 64, generator=generator)
    classes = torch.randn(num_classes + 1, 64, generator=generator)
    return bboxes, (regions @ classes.T / 2).softmax(dim=1)


@pytest.mark.parametrize('levels', [0, 200])
def test_clusters_of_boxes(levels: int) -> None:
    generator = torch.Generator().manual_seed(levels)
    bboxes, scores = draw_clusters(300, 40, generator)
    if levels:  # many ties, and many zeros
        scores = (scores * levels).round() / levels
    for limit in (-1, 1, 30, 100, 1000):
        check_same(
            shared_box_nms(bboxes, scores, 0.0, PLAIN, limit),
            multiclass_nms(bboxes, scores, 0.0, PLAIN, limit),
        )


@pytest.mark.parametrize('num_classes', [1203, 10_000])
def test_clusters_of_many_names(num_classes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    bboxes, scores = draw_clusters(1000, num_classes, generator)
    found = shared_box_nms(bboxes, scores, 0.0, PLAIN, 300)
    assert len(found[0]) == 300
    # What scores lower than all of them can't have displaced any.
    low = found[0][-1, 4].item() * (1 - 1e-6)
    check_same(found, nms_per_class(bboxes, scores, low, 0.5, 300))


def test_few_classes_are_looked_at() -> None:
    generator = torch.Generator().manual_seed(0)
    bboxes = draw_boxes(200, generator, size=100)
    scores = draw_scores(200, 300, generator)
    with patch.object(MODULE, '_first', wraps=MODULE._first) as first:
        found = shared_box_nms(bboxes, scores, 0.0, PLAIN, 20)
    check_same(found, nms_per_class(bboxes, scores, 0.0, 0.5, 20))
    assert first.call_count == 1
    assert first.call_args[0][0].shape == (20, 200)


@pytest.mark.parametrize('tied', [False, True])
def test_memory_is_that_of_the_scores_at_most(tied: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    bboxes, scores = draw_clusters(1000, 1203, generator)
    if tied:  # all are candidates
        scores[:] = 0.25
    peak = peak_bytes(
        lambda: shared_box_nms(bboxes, scores, 0.0, PLAIN, 300), 'cpu'
    )
    assert 0.1 < peak / scores.nbytes < 1.1


def test_boxes_are_compared_and_classes_taken_in_parts() -> None:
    generator = torch.Generator().manual_seed(0)
    bboxes = draw_boxes(60, generator)
    scores = draw_scores(60, 20, generator)
    expected = multiclass_nms(bboxes, scores, 0.0, PLAIN, -1)
    with (
        patch.object(MODULE, 'MAX_PAIRS', 150),
        patch.object(MODULE, 'MAX_SCORES', 180),
    ):
        for limit in (-1, 7, 14, 100):
            found = shared_box_nms(bboxes, scores, 0.0, PLAIN, limit)
            check_same(
                found,
                tuple(
                    item[: limit if limit > 0 else None] for item in expected
                ),
            )


@pytest.mark.parametrize('shape', [(0, 5), (0, 1), (6, 1), (6, 5)])
def test_nothing_to_detect(shape: Tuple[int, int]) -> None:
    bboxes = draw_boxes(shape[0], torch.Generator().manual_seed(0))
    for limit in (-1, 3):
        found = shared_box_nms(bboxes, torch.rand(shape), 2.0, PLAIN, limit)
        check_same(found, (torch.zeros(0, 5), torch.zeros(0).long()))


@pytest.mark.parametrize(
    'dtype', [torch.float16, torch.bfloat16, torch.float64]
)
def test_scores_of_other_dtypes(dtype: torch.dtype) -> None:
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        bboxes = draw_boxes(60, generator)
        scores = draw_scores(60, 30, generator).to(dtype)
        # Half rounds .05, and a score may be the rounded number itself
        scores[0, 0] = 0.05
        for score_thr, limit in ((0.0, 10), (0.05, 1000), (0.05, 3)):
            check_same(
                shared_box_nms(bboxes, scores, score_thr, PLAIN, limit),
                multiclass_nms(bboxes, scores, score_thr, PLAIN, limit),
            )


def test_half_boxes_are_not_shifted_out_of_range() -> None:
    # The host moves those of class 1,000 to infinity, which overlaps nothing.
    generator = torch.Generator().manual_seed(0)
    bboxes = draw_boxes(20, generator, size=200)
    scores = draw_scores(20, 1000, generator)
    found = shared_box_nms(bboxes.half(), scores.half(), 0.0, PLAIN, 100)
    boxes, labels = nms_per_class(bboxes, scores.half().float(), 0.0, 0.5, 100)
    assert found[0].dtype == torch.float16
    assert torch.equal(found[0].float(), boxes)
    assert torch.equal(found[1], labels)


def test_scores_that_are_no_numbers_are_left_out() -> None:
    generator = torch.Generator().manual_seed(0)
    bboxes = draw_boxes(40, generator)
    scores = draw_scores(40, 30, generator)
    scores[5, 3] = scores[6, -1] = float('nan')
    check_same(
        shared_box_nms(bboxes, scores, 0.0, PLAIN, 5),
        multiclass_nms(bboxes, scores, 0.0, PLAIN, 5),
    )
    scores[:, 4] = float('nan')
    check_same(
        shared_box_nms(bboxes, scores, 0.0, PLAIN, 5),
        multiclass_nms(bboxes, scores, 0.0, PLAIN, 5),
    )


@pytest.mark.parametrize(
    'cfg',
    [
        dict(type='soft_nms', iou_threshold=0.5, min_score=0.01),
        dict(type='nms', iou_threshold=0.5, class_agnostic=True),
        dict(type='nms', iou_threshold=0.5, max_num=4),
        dict(type='nms', iou_threshold=0.5, offset=1),
        dict(type='nms', iou_threshold=0.5, score_threshold=0.3),
        dict(type='nms', iou_threshold=0.5, split_thr=20),
        None,
    ],
)
def test_other_nms_is_left_to_the_host(cfg: dict) -> None:
    generator = torch.Generator().manual_seed(0)
    bboxes = draw_boxes(30, generator, size=8)
    scores = draw_scores(30, 4, generator)
    with patch.object(MODULE, '_search') as search:
        found = shared_box_nms(bboxes, scores, 0.0, cfg, 25)
    check_same(found, multiclass_nms(bboxes, scores, 0.0, cfg, 25))
    search.assert_not_called()


@pytest.mark.parametrize('num_classes', [1, 3])
def test_boxes_of_each_class_are_left_to_the_host(num_classes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    bboxes = draw_boxes(20 * num_classes, generator).view(20, -1)
    scores = draw_scores(20, num_classes, generator)
    with patch.object(MODULE, '_search') as search:
        found = shared_box_nms(bboxes, scores, 0.0, PLAIN, 25)
    check_same(found, multiclass_nms(bboxes, scores, 0.0, PLAIN, 25))
    search.assert_not_called()


def test_a_missing_threshold_is_the_hosts_error() -> None:
    with pytest.raises(TypeError, match='iou_threshold'):
        shared_box_nms(
            torch.rand(2, 4), torch.rand(2, 3), 0.0, dict(type='nms'), 10
        )


def test_configs_of_the_runner_and_inputs_stay_as_they_are() -> None:
    generator = torch.Generator().manual_seed(0)
    bboxes, scores = draw_boxes(30, generator), draw_scores(30, 9, generator)
    copies = bboxes.clone(), scores.clone()
    cfg = ConfigDict(iou_threshold=0.5)  # 'nms' is the default
    check_same(
        shared_box_nms(bboxes, scores, 0.0, cfg, 10),
        multiclass_nms(bboxes, scores, 0.0, PLAIN, 10),
    )
    assert cfg == dict(iou_threshold=0.5)
    assert torch.equal(bboxes, copies[0]) and torch.equal(scores, copies[1])


def test_gradients_reach_the_detections_as_in_the_host() -> None:
    generator = torch.Generator().manual_seed(0)
    grads = []
    for function in (shared_box_nms, multiclass_nms):
        generator.manual_seed(0)
        bboxes = draw_boxes(30, generator).requires_grad_()
        scores = draw_scores(30, 9, generator).requires_grad_()
        function(bboxes, scores, 0.0, PLAIN, 10)[0].square().sum().backward()
        grads.append((bboxes.grad, scores.grad))
    assert all(torch.equal(*pair) for pair in zip(*grads))


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
def test_on_a_gpu() -> None:
    generator = torch.Generator().manual_seed(0)
    bboxes, scores = draw_boxes(90, generator), draw_scores(90, 70, generator)
    for limit in (-1, 10):
        found = shared_box_nms(bboxes.cuda(), scores.cuda(), 0.0, PLAIN, limit)
        assert found[0].is_cuda and found[1].is_cuda
        check_same(
            tuple(item.cpu() for item in found),
            shared_box_nms(bboxes, scores, 0.0, PLAIN, limit),
        )
