"""Tests of the torchvision ops behind mmcv's names, through mmcv's API.

References are plain loops, or autograd of bilinear sampling.
"""

import importlib
import importlib.util
import math
import subprocess
import sys
import types
from pathlib import Path
from typing import Callable, List, Optional, Tuple

import mmcv
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ovd import mmcv_ops

mmcv_ops.install()
ops = importlib.import_module('mmcv.ops')

FLT_MIN = float(np.finfo(np.float32).tiny)

pytestmark = pytest.mark.skipif(
    not str(sys.modules['mmcv._ext'].__spec__.origin).startswith('torchv'),
    reason='a compiled mmcv is installed, the ops of ovd are not in use',
)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def random_boxes(num: int, size: float = 60.0) -> Tensor:
    top_left = torch.rand(num, 2) * size
    return torch.cat([top_left, top_left + torch.rand(num, 2) * size], dim=1)


# ---------------------------------------------------------------- install


def test_install_makes_mmdet_importable_in_a_fresh_process():
    # Loaded by path: `import ovd` would import mmdet on its own.
    code = f"""
import importlib, importlib.util, sys
spec = importlib.util.spec_from_file_location('m', {mmcv_ops.__file__!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
assert not {{'mmcv', 'mmdet', 'mmengine'}} & set(sys.modules)
module.install()
ext = importlib.import_module('mmcv._ext')
module.install()
assert sys.modules['mmcv._ext'] is ext
for name in ('models', 'structures', 'datasets', 'evaluation'):
    importlib.import_module('mmdet.' + name)
from mmengine.utils.dl_utils import mmcv_full_available
assert mmcv_full_available()
"""
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_install_leaves_a_compiled_mmcv_alone(tmp_path, monkeypatch):
    (tmp_path / '_ext.py').write_text('nms = "compiled"\n')
    monkeypatch.setattr(mmcv, '__path__', [str(tmp_path), *mmcv.__path__])
    monkeypatch.delattr(mmcv, '_ext')
    monkeypatch.delitem(sys.modules, 'mmcv._ext')
    mmcv_ops.install()  # found, not imported yet
    assert 'mmcv._ext' not in sys.modules
    compiled = importlib.import_module('mmcv._ext')
    mmcv_ops.install()  # imported
    assert sys.modules['mmcv._ext'] is compiled
    assert compiled.nms == 'compiled'
    assert Path(compiled.__file__).parent == tmp_path


def test_install_leaves_a_module_without_a_spec_alone(monkeypatch):
    # A stand-in made by hand, as in the tests of other packages
    other = types.ModuleType('mmcv._ext')
    monkeypatch.setitem(sys.modules, 'mmcv._ext', other)
    mmcv_ops.install()
    assert sys.modules['mmcv._ext'] is other


@pytest.mark.parametrize(
    'name, call',
    [
        ('nms_match', lambda: ops.nms_match(torch.rand(2, 5), 0.5)),
        (
            'carafe_forward',
            lambda: ops.CARAFE(3, 1, 2)(
                torch.rand(1, 4, 4, 4), torch.rand(1, 9, 8, 8)
            ),
        ),
        # An op that we have, in a mode that torchvision lacks
        (
            "roi_align_forward with pool_mode='max'",
            lambda: ops.RoIAlign(2, pool_mode='max')(
                torch.rand(1, 1, 4, 4), torch.zeros(1, 5)
            ),
        ),
    ],
)
def test_unsupported_op_raises_with_its_name(name: str, call: Callable):
    with pytest.raises(NotImplementedError, match='pip install mmcv==') as e:
        call()
    assert name in str(e.value)


def test_environment_report_says_whose_ops_run():
    assert 'torchvision' in ops.get_compiler_version()
    assert ops.get_compiling_cuda_version()


def test_missing_private_attribute_is_no_op():
    # Tools that walk sys.modules ask every module for such names.
    assert not hasattr(sys.modules['mmcv._ext'], '__wrapped__')


# ---------------------------------------------------------- nms, soft-nms


def iou(a: np.ndarray, b: np.ndarray, offset: int) -> np.ndarray:
    wh = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]) + offset
    inter = np.prod(np.maximum(wh, 0))
    areas = [np.prod(box[2:] - box[:2] + offset) for box in (a, b)]
    return inter / (areas[0] + areas[1] - inter)


def slow_nms(
    boxes: Tensor, scores: Tensor, threshold: float, offset: int = 0
) -> List[int]:
    boxes = boxes.numpy()
    keep = []
    for i in sorted(range(len(boxes)), key=lambda i: -float(scores[i])):
        if all(
            iou(boxes[i], boxes[k], offset) <= boxes.dtype.type(threshold)
            for k in keep
        ):
            keep.append(i)
    return keep


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize(
    'levels',
    [
        1000,  # scores without ties
        4,  # many ties: they fall in the order of the indices
    ],
)
def test_nms(dtype: torch.dtype, offset: int, levels: int):
    boxes = random_boxes(50).round().to(dtype)
    scores = torch.randint(levels, (50,)).to(dtype) / levels
    if levels == 1000:
        scores = torch.randperm(50).to(dtype) / 50
    dets, inds = ops.nms(boxes, scores, 0.3, offset=offset)
    assert inds.tolist() == slow_nms(boxes, scores, 0.3, offset)
    assert torch.equal(dets, torch.cat([boxes, scores[:, None]], 1)[inds])


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize(
    'x2, offset, threshold, kept',
    [
        # The IoU with a 10 x 10 box is x2 / 10. Equal to the threshold is
        # kept, whether the threshold's float32 lies above (0.1) or below it
        # (0.7).
        (1.0, 0, 0.1, 2),
        (7.0, 0, 0.7, 2),
        (5.0, 0, 0.5, 2),
        (5.0, 0, 0.49, 1),
        # Sides of 11: (x2 + 1) / 11
        (4.5, 1, 0.5, 2),
        (4.5, 1, 0.49, 1),
        (5.0, 1, 0.5, 1),
    ],
)
def test_nms_threshold_is_strict(
    dtype: torch.dtype, x2: float, offset: int, threshold: float, kept: int
):
    boxes = torch.tensor([[0, 0, 10, 10], [0, 0, x2, 10]], dtype=dtype)
    scores = torch.tensor([0.9, 0.8], dtype=dtype)
    assert len(ops.nms(boxes, scores, threshold, offset=offset)[1]) == kept


def test_nms_score_threshold_and_max_num():
    boxes = torch.arange(5.0)[:, None] * 20 + torch.tensor([0.0, 0, 9, 9])
    scores = torch.tensor([0.1, 0.9, 0.3, 0.8, 0.2])
    inds = ops.nms(boxes, scores, 0.5, score_threshold=0.15, max_num=3)[1]
    assert inds.tolist() == [1, 3, 2]


def test_nms_of_numpy_is_numpy():
    boxes, scores = random_boxes(9).numpy(), torch.rand(9).numpy()
    dets, inds = ops.nms(boxes, scores, 0.5)
    assert isinstance(dets, np.ndarray) and isinstance(inds, np.ndarray)


@pytest.mark.parametrize(
    'boxes_dtype, scores_dtype',
    [
        (torch.float16, torch.float16),
        (torch.bfloat16, torch.bfloat16),
        (
            torch.float32,
            torch.float16,
        ),  # under autocast: boxes are decoded wide
    ],
)
def test_nms_in_half(boxes_dtype: torch.dtype, scores_dtype: torch.dtype):
    boxes = random_boxes(30).round().to(boxes_dtype)
    scores = (torch.randperm(30) / 32).to(scores_dtype)
    inds = ops.nms(boxes, scores, 0.3)[1]
    assert inds.tolist() == slow_nms(boxes.float(), scores, 0.3)


@pytest.mark.parametrize('op', [ops.nms, ops.soft_nms])
def test_nms_of_nothing(op: Callable):
    dets, inds = op(torch.zeros(0, 4), torch.zeros(0), 0.5)
    assert dets.shape == (0, 5)
    assert inds.shape == (0,) and inds.dtype == torch.long


def slow_soft_nms(
    boxes: Tensor,
    scores: Tensor,
    threshold: float,
    sigma: float,
    min_score: float,
    method: str,
    offset: int,
) -> List[Tuple[int, float]]:
    decay = {
        'naive': lambda u: float(u < threshold),
        'linear': lambda u: 1 - u if u >= threshold else 1.0,
        'gaussian': lambda u: math.exp(-u * u / sigma),
    }[method]
    boxes = boxes.double().numpy()
    left = dict(enumerate(scores.tolist()))
    kept = []
    while left:
        best = max(left, key=left.get)
        kept.append((best, left.pop(best)))
        left = {
            i: score * decay(iou(boxes[best], boxes[i], offset))
            for i, score in left.items()
        }
        left = {i: s for i, s in left.items() if s >= min_score}
    return kept


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
@pytest.mark.parametrize(
    'min_score',
    [
        0.0,  # drops nothing: naive keeps the suppressed with score 0
        0.2,
    ],
)
def test_soft_nms(
    method: str, offset: int, min_score: float, dtype: torch.dtype
):
    boxes = random_boxes(40).to(dtype)
    scores = torch.rand(40).to(dtype)
    dets, inds = ops.soft_nms(
        boxes, scores, 0.3, 0.5, min_score, method, offset
    )
    expected = slow_soft_nms(
        boxes, scores, 0.3, 0.5, min_score, method, offset
    )
    positive = [(i, s) for i, s in expected if s > 0]  # zeros: any order
    num = len(positive)
    assert len(inds) == len(expected)
    assert inds[:num].tolist() == [i for i, _ in positive]
    torch.testing.assert_close(
        dets[:num, 4], torch.tensor([s for _, s in positive], dtype=dtype)
    )
    assert torch.equal(dets[:, :4], boxes[inds])
    assert dets.dtype == dtype


@pytest.mark.parametrize(
    'method, expected',
    [
        # What mmcv's C++ returned: box 1 falls to box 0, the last box takes
        # its place and thereby comes before its equals, 2 and 3.
        ('naive', [0, 4, 2, 3]),
        ('linear', [0, 4, 2, 3]),
        # Box 1 is decayed, not dropped
        ('gaussian', [0, 2, 3, 4, 1]),
    ],
)
def test_soft_nms_orders_ties_like_mmcv(method: str, expected: List[int]):
    boxes = torch.tensor(
        [
            [0.0, 0, 10, 10],
            [0, 1, 10, 10],
            [20, 0, 30, 10],
            [40, 0, 50, 10],
            [60, 0, 70, 10],
        ]
    )
    scores = torch.tensor([0.9, 0.8, 0.5, 0.5, 0.5])
    inds = ops.soft_nms(boxes, scores, 0.5, 0.5, 0.1, method)[1]
    assert inds.tolist() == expected


def test_soft_nms_fills_two_gaps_from_the_end():
    # Also what mmcv's C++ returned: 0 drops 1 and 2, then 5 and 4, in this
    # order, take their places before 3.
    boxes = torch.tensor(
        [
            [0.0, 0, 10, 10],
            [0, 1, 10, 10],
            [0, 0, 9, 10],
            [20, 0, 30, 10],
            [40, 0, 50, 10],
            [60, 0, 70, 10],
        ]
    )
    scores = torch.tensor([0.9, 0.8, 0.7, 0.5, 0.5, 0.5])
    inds = ops.soft_nms(boxes, scores, 0.5, 0.5, 0.1, 'naive')[1]
    assert inds.tolist() == [0, 5, 4, 3]


def test_soft_nms_leaves_its_inputs_alone():
    boxes, scores = random_boxes(20), torch.rand(20)
    before = boxes.clone(), scores.clone()
    ops.soft_nms(boxes, scores, method='gaussian')
    assert torch.equal(boxes, before[0]) and torch.equal(scores, before[1])


@pytest.mark.parametrize(
    'split_thr',
    [
        10000,
        10,  # more boxes than that: one class after the other
    ],
)
def test_batched_nms_is_nms_per_class(split_thr: int):
    boxes, scores = random_boxes(40), torch.randperm(40) / 40
    labels = torch.randint(3, (40,))
    expected = []
    for label in range(3):
        own = (labels == label).nonzero()[:, 0]
        keep = slow_nms(boxes[own], scores[own], 0.3)
        expected += own[keep].tolist()
    expected.sort(key=lambda i: -float(scores[i]))
    dets, keep = ops.batched_nms(
        boxes,
        scores,
        labels,
        dict(type='nms', iou_threshold=0.3, split_thr=split_thr),
    )
    assert keep.tolist() == expected
    assert torch.equal(dets[:, :4], boxes[keep])


def test_multiclass_nms_of_mmdet():
    from mmdet.models.layers import multiclass_nms

    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]])
    # Columns: two classes and background, which yields no detection
    scores = torch.tensor([[0.9, 0.3, 0.0], [0.8, 0.6, 0.9], [0.1, 0.02, 0.9]])
    dets, labels = multiclass_nms(
        boxes, scores, 0.05, dict(type='nms', iou_threshold=0.5), 100
    )
    # Box 1 loses to 0 in class 0 and wins over it in class 1; 0.02 is low.
    expected = torch.tensor(
        [[0, 0, 10, 10, 0.9], [0, 0, 10, 9, 0.6], [50, 50, 60, 60, 0.1]]
    )
    torch.testing.assert_close(dets, expected)
    assert labels.tolist() == [0, 1, 0]


# ------------------------------------------------------ RoIAlign, RoIPool


def bilinear(plane: Tensor, y: float, x: float) -> Tensor:
    """Sample (C, H, W) as RoIAlign does: clamped, 0 further than 1 off."""
    height, width = plane.shape[-2:]
    if y < -1 or y > height or x < -1 or x > width:
        return plane.new_zeros(len(plane))
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    upper = plane[:, top, left] * (1 - dx) + plane[:, top, right] * dx
    lower = plane[:, bottom, left] * (1 - dx) + plane[:, bottom, right] * dx
    return upper * (1 - dy) + lower * dy


def slow_roi_align(
    feats: Tensor,
    rois: Tensor,
    size: Tuple[int, int],
    scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    pooled = []
    for image, *box in rois.tolist():
        x1, y1, x2, y2 = (v * scale - 0.5 * aligned for v in box)
        h, w = y2 - y1, x2 - x1
        if not aligned:
            h, w = max(h, 1.0), max(w, 1.0)
        bin_h, bin_w = h / size[0], w / size[1]
        num_y = sampling_ratio or math.ceil(bin_h)
        num_x = sampling_ratio or math.ceil(bin_w)
        for ph in range(size[0]):
            for pw in range(size[1]):
                total = feats.new_zeros(feats.size(1))
                for i in range(num_y):
                    for j in range(num_x):
                        total = total + bilinear(
                            feats[int(image)],
                            y1 + (ph + (i + 0.5) / num_y) * bin_h,
                            x1 + (pw + (j + 0.5) / num_x) * bin_w,
                        )
                pooled.append(total / max(num_y * num_x, 1))
    pooled = torch.stack(pooled).view(len(rois), *size, -1)
    return pooled.permute(0, 3, 1, 2)


ROIS = torch.tensor(
    [
        [0.0, 3.0, 5.0, 33.0, 29.0],
        [1.0, 10.3, 7.7, 60.2, 41.9],
        [1.0, -12.0, -9.0, 14.0, 20.0],  # over the top left edge
        [0.0, 50.0, 30.0, 130.0, 90.0],  # over the bottom right edge
        [
            0.0,
            20.0,
            20.0,
            20.0,
            20.0,
        ],  # no area: legacy mode makes it one pixel
    ]
)


@pytest.mark.parametrize(
    'dtype, atol',
    [
        (torch.float32, 1e-5),
        (torch.float64, 1e-12),
        # Computed in float32, so that just the results are rounded
        (torch.float16, 4e-3),
        (torch.bfloat16, 3e-2),
    ],
)
@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('sampling_ratio', [0, 2])
def test_roi_align(
    dtype: torch.dtype, atol: float, aligned: bool, sampling_ratio: int
):
    feats = torch.randn(2, 3, 6, 9).to(dtype)
    rois = ROIS.to(dtype)
    layer = ops.RoIAlign((2, 3), 0.125, sampling_ratio, aligned=aligned)
    ours = feats.clone().requires_grad_()
    pooled = layer(ours, rois)
    slow = feats.double().requires_grad_()
    expected = slow_roi_align(
        slow, rois.double(), (2, 3), 0.125, sampling_ratio, aligned
    )
    assert pooled.dtype == dtype
    torch.testing.assert_close(pooled.double(), expected, atol=atol, rtol=0)
    weights = torch.rand_like(expected)
    (pooled * weights.to(dtype)).sum().backward()
    (expected * weights).sum().backward()
    assert ours.grad.dtype == dtype
    # A pixel sums over bins, the weights are rounded to dtype as well
    torch.testing.assert_close(
        ours.grad.double(), slow.grad, atol=4 * atol, rtol=0
    )


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('sampling_ratio', [0, 2])
def test_roi_align_gradcheck(aligned: bool, sampling_ratio: int):
    feats = torch.randn(2, 1, 4, 5, dtype=torch.double, requires_grad=True)
    layer = ops.RoIAlign(2, 0.125, sampling_ratio, aligned=aligned)
    assert torch.autograd.gradcheck(lambda x: layer(x, ROIS.double()), feats)


@pytest.mark.parametrize(
    'layer',
    [ops.RoIAlign((2, 3), 0.125), ops.RoIPool((2, 3), 0.125)],
    ids=['align', 'pool'],
)
@pytest.mark.parametrize('dtype', [torch.float16, torch.float32])
def test_no_rois_give_a_zero_gradient(
    layer: torch.nn.Module, dtype: torch.dtype
):
    feats = torch.rand(2, 4, 5, 6, dtype=dtype, requires_grad=True)
    pooled = layer(feats, feats.new_zeros(0, 5))
    assert pooled.shape == (0, 4, 2, 3)
    pooled.sum().backward()
    assert feats.grad.abs().max() == 0


def slow_roi_pool(
    feats: Tensor, rois: Tensor, size: Tuple[int, int], scale: float
) -> Tensor:
    pooled = feats.new_zeros(len(rois), feats.size(1), *size)
    height, width = feats.shape[-2:]
    for r, (image, *box) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (
            v * scale for v in (box[0], box[1], box[2] + 1, box[3] + 1)
        )
        h, w = (y2 - y1) / size[0], (x2 - x1) / size[1]
        for ph in range(size[0]):
            for pw in range(size[1]):
                top = max(math.floor(y1 + ph * h), 0)
                bottom = min(math.ceil(y1 + (ph + 1) * h), height)
                left = max(math.floor(x1 + pw * w), 0)
                right = min(math.ceil(x1 + (pw + 1) * w), width)
                if h <= 0 or w <= 0 or top >= bottom or left >= right:
                    continue
                for c in range(feats.size(1)):
                    values = feats[int(image), c, top:bottom, left:right]
                    values = values.flatten()
                    # argmax: the first of equal values gets the gradient
                    pooled[r, c, ph, pw] = values[values.argmax()]
    return pooled


@pytest.mark.parametrize(
    'dtype', [torch.float16, torch.float32, torch.float64]
)
@pytest.mark.parametrize('ties', [False, True])
def test_roi_pool(dtype: torch.dtype, ties: bool):
    feats = torch.randn(2, 3, 6, 9).to(dtype)
    if ties:
        feats = feats.sign()
    extra = torch.tensor(
        [
            [
                1.0,
                30.0,
                20.0,
                10.0,
                40.0,
            ],  # ends before it starts: nothing pooled
            [
                0.0,
                90.0,
                8.0,
                120.0,
                30.0,
            ],  # beyond the right edge: nothing pooled
            # Starts in mid-pixel: torchvision would round to another pixel
            [1.0, 12.0, 12.0, 19.0, 35.0],
        ]
    )
    rois = torch.cat([ROIS, extra]).to(dtype)
    ours = feats.clone().requires_grad_()
    pooled = ops.RoIPool((2, 3), 0.125)(ours, rois)
    slow = feats.double().requires_grad_()
    expected = slow_roi_pool(slow, rois.double(), (2, 3), 0.125)
    assert torch.equal(pooled.double(), expected)
    assert expected[5:7].abs().max() == 0
    # Halves sum up exactly in every dtype
    weights = torch.randint(1, 5, expected.shape) / 2
    (pooled * weights.to(dtype)).sum().backward()
    (expected * weights).sum().backward()
    assert torch.equal(ours.grad.double(), slow.grad)


# -------------------------------------------------- deformable convolution


def zero_padded(x: Tensor, y: Tensor, at_x: Tensor) -> Tensor:
    """Sample (C, H, W) at positions (...): 0 outside, and at -1 or H."""
    height, width = x.shape[-2:]
    inside = (y > -1) & (y < height) & (at_x > -1) & (at_x < width)
    top, left = y.detach().floor(), at_x.detach().floor()
    total = 0
    for row, share_y in ((top, 1 - (y - top)), (top + 1, y - top)):
        for col, share_x in (
            (left, 1 - (at_x - left)),
            (left + 1, at_x - left),
        ):
            known = (
                (row >= 0)
                & (row < height)
                & (col >= 0)
                & (col < width)
                & inside
            )
            values = x[
                :,
                row.clamp(0, height - 1).long(),
                col.clamp(0, width - 1).long(),
            ]
            total = total + values * share_y * share_x * known
    return total


def slow_deform_conv(
    x: Tensor,
    offset: Tensor,
    mask: Optional[Tensor],
    weight: Tensor,
    bias: Optional[Tensor],
    stride: Tuple[int, int],
    padding: Tuple[int, int],
    dilation: Tuple[int, int],
    groups: int,
    deform_groups: int,
) -> Tensor:
    """Gather the taps of each image, then contract them with the weight."""
    num, channels = x.shape[:2]
    kernel_h, kernel_w = weight.shape[2:]
    out_h, out_w = offset.shape[2:]
    offset = offset.view(
        num, deform_groups, kernel_h, kernel_w, 2, out_h, out_w
    )
    if mask is not None:
        mask = mask.view(num, deform_groups, kernel_h, kernel_w, out_h, out_w)
    split = channels // deform_groups
    images = []
    for n in range(num):
        taps = []
        for c in range(channels):
            d = c // split
            for i in range(kernel_h):
                for j in range(kernel_w):
                    dy, dx = offset[n, d, i, j]
                    y = (
                        torch.arange(out_h) * stride[0]
                        - padding[0]
                        + i * dilation[0]
                    )[:, None] + dy
                    at_x = (
                        torch.arange(out_w) * stride[1]
                        - padding[1]
                        + j * dilation[1]
                    ) + dx
                    tap = zero_padded(x[n, c : c + 1], y, at_x)[0]
                    taps.append(
                        tap if mask is None else tap * mask[n, d, i, j]
                    )
        taps = torch.stack(taps).view(groups, -1, out_h, out_w)
        rows = weight.reshape(groups, weight.size(0) // groups, -1)
        images.append(torch.einsum('gok,gkhw->gohw', rows, taps).flatten(0, 1))
    out = torch.stack(images)
    return out if bias is None else out + bias[:, None, None]


GEOMETRIES = [
    # stride, padding, dilation, groups, deform groups, what is special
    pytest.param((1, 1), (1, 1), (1, 1), 1, 1, id='plain'),
    # Height and width differ in all: a swap would show
    pytest.param((1, 2), (2, 1), (2, 1), 1, 1, id='unequal'),
    pytest.param((2, 1), (0, 2), (1, 2), 2, 1, id='groups'),
    pytest.param((1, 1), (1, 1), (1, 1), 1, 2, id='deform-groups'),
    pytest.param((1, 2), (1, 0), (1, 1), 2, 4, id='both-groups'),
]
OFFSETS = [
    'random',
    # As a DCN starts: with padding, samples lie at exactly -1, where mmcv
    # gives the offsets no gradient and torchvision does
    'zero',
]


def deform_inputs(
    offsets: str, dtype: torch.dtype, geometry: tuple
) -> Tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Input (2, 4, 5, 6), offset, mask, weight (4, 4 / g, 3, 2), bias."""
    stride, padding, dilation, groups, deform_groups = geometry
    x = torch.randn(2, 4, 5, 6, dtype=dtype)
    weight = torch.randn(4, 4 // groups, 3, 2, dtype=dtype)
    out_hw = F.conv2d(
        x.float(), weight.float(), None, stride, padding, dilation, groups
    ).shape[2:]
    offset = torch.randn(2, deform_groups * 12, *out_hw, dtype=dtype)
    mask = torch.rand(2, deform_groups * 6, *out_hw, dtype=dtype)
    bias = torch.randn(4, dtype=dtype)
    return x, offset * (offsets == 'random'), mask, weight, bias


def assert_same_with_gradients(
    ours: Callable, slow: Callable, inputs: List[Tensor], atol: float
) -> None:
    """Compare outputs and the gradients of all inputs, slow in double."""
    mine = [t.clone().requires_grad_() for t in inputs]
    theirs = [t.double().requires_grad_() for t in inputs]
    output, expected = ours(*mine), slow(*theirs)
    assert output.dtype == inputs[0].dtype
    torch.testing.assert_close(output.double(), expected, atol=atol, rtol=atol)
    weights = torch.randn(expected.shape).to(output.dtype)
    (output * weights).sum().backward()
    (expected * weights.double()).sum().backward()
    for a, b in zip(mine, theirs, strict=True):
        assert a.grad.dtype == a.dtype
        torch.testing.assert_close(
            a.grad.double(), b.grad, atol=4 * atol, rtol=atol
        )


@pytest.mark.parametrize(
    'geometry', [p.values for p in GEOMETRIES], ids=[p.id for p in GEOMETRIES]
)
@pytest.mark.parametrize('offsets', OFFSETS)
def test_deform_conv(offsets: str, geometry: tuple):
    x, offset, _, weight, _ = deform_inputs(offsets, torch.double, geometry)
    assert_same_with_gradients(
        lambda x, o, w: ops.deform_conv2d(x, o, w, *geometry),
        lambda x, o, w: slow_deform_conv(x, o, None, w, None, *geometry),
        [x, offset, weight],
        1e-11,
    )


@pytest.mark.parametrize(
    'geometry', [p.values for p in GEOMETRIES], ids=[p.id for p in GEOMETRIES]
)
@pytest.mark.parametrize('offsets', OFFSETS)
@pytest.mark.parametrize('with_bias', [True, False])
def test_modulated_deform_conv(offsets: str, geometry: tuple, with_bias: bool):
    inputs = deform_inputs(offsets, torch.double, geometry)
    assert_same_with_gradients(
        lambda x, o, m, w, b=None: ops.modulated_deform_conv2d(
            x, o, m, w, b, *geometry
        ),
        lambda x, o, m, w, b=None: slow_deform_conv(x, o, m, w, b, *geometry),
        list(inputs if with_bias else inputs[:4]),
        1e-11,
    )


@pytest.mark.parametrize(
    'dtype, atol',
    [(torch.float32, 1e-4), (torch.float16, 2e-2), (torch.bfloat16, 2e-1)],
)
def test_deform_convs_in_other_dtypes(dtype: torch.dtype, atol: float):
    geometry = GEOMETRIES[1].values
    x, offset, mask, weight, bias = deform_inputs('random', dtype, geometry)
    assert_same_with_gradients(
        lambda x, o, w: ops.deform_conv2d(x, o, w, *geometry),
        lambda x, o, w: slow_deform_conv(x, o, None, w, None, *geometry),
        [x, offset, weight],
        atol,
    )
    assert_same_with_gradients(
        lambda x, o, m, w, b: ops.modulated_deform_conv2d(
            x, o, m, w, b, *geometry
        ),
        lambda x, o, m, w, b: slow_deform_conv(x, o, m, w, b, *geometry),
        [x, offset, mask, weight, bias],
        atol,
    )


@pytest.mark.parametrize(
    'pack',
    [
        ops.DeformConv2dPack,  # offsets start at 0: an ordinary convolution
        ops.ModulatedDeformConv2dPack,  # and masks at 1/2
    ],
)
def test_deform_conv_layers_start_as_convolutions(pack: type):
    layer = pack(4, 6, 3, stride=2, padding=1, bias=False)
    x = torch.randn(2, 4, 7, 8)
    share = 1 if pack is ops.DeformConv2dPack else 0.5
    torch.testing.assert_close(
        layer(x), share * F.conv2d(x, layer.weight, None, 2, 1)
    )


# -------------------------------------------------------------- focal loss


def slow_focal_loss(
    logits: Tensor, target: Tensor, gamma: float, alpha: float
) -> Tensor:
    hit = F.one_hot(target, logits.size(1) + 1)[:, :-1].to(logits)
    cross_entropy = F.binary_cross_entropy_with_logits(
        logits, hit, reduction='none'
    )
    p = logits.sigmoid()
    p_hit = p * hit + (1 - p) * (1 - hit)
    alpha_hit = alpha * hit + (1 - alpha) * (1 - hit)
    return alpha_hit * (1 - p_hit) ** gamma * cross_entropy


@pytest.mark.parametrize(
    'dtype, atol',
    [
        (torch.float64, 1e-12),
        (torch.float32, 1e-5),
        (torch.float16, 5e-3),
        (torch.bfloat16, 4e-2),
    ],
)
@pytest.mark.parametrize('reduction', ['none', 'mean', 'sum'])
def test_sigmoid_focal_loss(dtype: torch.dtype, atol: float, reduction: str):
    logits = (2 * torch.randn(7, 3)).to(dtype)
    target = torch.tensor([0, 1, 2, 3, 3, 1, 0])  # 3 is background
    ours = logits.clone().requires_grad_()
    slow = logits.double().requires_grad_()
    # 0.3: not a float32 number, so that float64 has to keep it whole
    loss = ops.sigmoid_focal_loss(ours, target, 2.5, 0.3, None, reduction)
    expected = slow_focal_loss(slow, target, 2.5, 0.3)
    if reduction != 'none':
        expected = expected.sum() / (7 if reduction == 'mean' else 1)
    assert loss.dtype == dtype
    torch.testing.assert_close(loss.double(), expected, atol=atol, rtol=atol)
    loss.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(
        ours.grad.double(), slow.grad, atol=atol, rtol=atol
    )


def test_sigmoid_focal_loss_weight_goes_by_the_target():
    logits, target = torch.randn(3, 2), torch.tensor([1, 0, 1])
    weight = torch.tensor([2.0, 5.0])
    loss = ops.sigmoid_focal_loss(logits, target, 2.0, 0.25, weight, 'none')
    expected = slow_focal_loss(logits, target, 2.0, 0.25)
    torch.testing.assert_close(loss, expected * weight[target][:, None])


def test_sigmoid_focal_loss_of_extreme_logits():
    # mmcv's logarithm stops at the smallest normal float32.
    logits = torch.tensor([[-200.0, 200.0]], requires_grad=True)
    loss = ops.sigmoid_focal_loss(
        logits, torch.tensor([0]), 2.0, 0.25, None, 'none'
    )
    floor = -math.log(FLT_MIN)
    torch.testing.assert_close(
        loss, torch.tensor([[0.25 * floor, 0.75 * floor]])
    )
    loss.sum().backward()
    torch.testing.assert_close(logits.grad, torch.tensor([[-0.25, 0.75]]))


def test_sigmoid_focal_loss_of_nothing():
    logits = torch.zeros(0, 3, requires_grad=True)
    target = torch.zeros(0, dtype=torch.long)
    loss = ops.sigmoid_focal_loss(logits, target, 2.0, 0.25, None, 'sum')
    loss.backward()
    assert loss.item() == 0 and logits.grad.shape == (0, 3)
