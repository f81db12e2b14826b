"""Torchvision's kernels behind the op names of mmcv's compiled extension.

``mmcv-lite`` ships the Python half of ``mmcv.ops`` without ``mmcv._ext``, so
that ``import mmdet.models`` fails. :func:`install` puts a ``mmcv._ext`` in its
place which has what two-stage detectors need; every other op raises, when it
is called, an error that names it. The functions below take the arguments of
mmcv 2.1.0's C++ functions of the same name and, like these, fill the buffers
that mmcv hands them.

Half and bfloat16 are computed in float32, on every device: torchvision's own
choice under autocast, and the only one that all its CPU kernels have.

Shapes: N images, C channels, H, W feature size, R RoIs, B boxes, K classes.
"""

import importlib.util
import sys
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Callable, Dict, List, Optional, Tuple

import torch
import torchvision  # registers torch.ops.torchvision
from torch import Tensor

_EXT = 'mmcv._ext'
_FLT_MIN = torch.finfo(torch.float32).tiny

# The order of torchvision: each (h, w), then weight and offset groups.
_V1_SIZES = (
    'dH',
    'dW',
    'padH',
    'padW',
    'dilationH',
    'dilationW',
    'group',
    'deformable_group',
)
_V2_SIZES = (
    'stride_h',
    'stride_w',
    'pad_h',
    'pad_w',
    'dilation_h',
    'dilation_w',
    'group',
    'deformable_group',
)


def install() -> None:
    """Provide ``mmcv._ext`` unless a compiled mmcv has it; idempotent.

    Call it before anything imports ``mmcv.ops`` or ``mmdet.models``.

    Raises:
        ModuleNotFoundError: Where neither mmcv nor mmcv-lite is installed.
    """
    if _EXT in sys.modules or importlib.util.find_spec(_EXT) is not None:
        return
    # A loader, not only a spec: mmengine takes a module without one as 'no
    # ops', and its optimizers then ignore `dcn_offset_lr_mult`.
    loader = _OpsLoader()
    module = importlib.util.module_from_spec(
        ModuleSpec(_EXT, loader, origin=f'torchvision, by {__name__}')
    )
    loader.exec_module(module)
    sys.modules[_EXT] = module
    # find_spec has imported the parent
    vars(sys.modules['mmcv'])['_ext'] = module


class _OpsLoader(Loader):
    """Fill ``mmcv._ext`` with the ops of this file."""

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(
            {op.__name__: op for op in _OPS}, __getattr__=_unsupported_op
        )  # asked for missing names only


def _unsupported_op(name: str) -> Callable:
    """Stand in for an op of mmcv, so that importing ``mmcv.ops`` works."""
    if name.startswith('_'):
        raise AttributeError(f'module {_EXT!r} has no attribute {name!r}')

    def raise_unsupported(*args: object, **kwargs: object) -> None:
        raise _unsupported_error(name)

    return raise_unsupported


def _unsupported_error(name: str) -> NotImplementedError:
    return NotImplementedError(
        f"mmcv's op {name} has no torchvision counterpart in ovd.mmcv_ops, "
        'it needs the compiled mmcv: pip uninstall mmcv-lite, then '
        'pip install mmcv==2.1.0'
    )


def _wide(tensor: Tensor) -> Tensor:
    """Raise half, bfloat16 and integers to float32; keep float64."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def get_compiler_version() -> str:
    """Say in mmcv's environment report whose kernels run."""
    return f'not compiled, torchvision {torchvision.__version__}'


def get_compiling_cuda_version() -> str:
    """Return the CUDA version of torch, which torchvision's wheels share."""
    return torch.version.cuda or 'not available'


def nms(
    boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int
) -> Tensor:
    """Greedy NMS, boxes (B, 4) xyxy; suppresses IoU > threshold.

    Returns:
        Tensor: Kept indices (M,) by falling score, ties by rising index.
    """
    boxes, scores = _wide(boxes), _wide(scores)
    dtype = torch.promote_types(boxes.dtype, scores.dtype)
    if offset:
        # mmcv's sides are x2 - x1 + offset, for areas and overlaps alike;
        # min(x2, x2') + offset is min(x2 + offset, x2' + offset).
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    # Round the threshold as the IoUs are: torchvision compares in double,
    # where a float32 IoU of 0.1 exceeds 0.1, though one of 0.7 not 0.7.
    threshold = torch.tensor(iou_threshold, dtype=dtype).item()
    return torch.ops.torchvision.nms(
        boxes.to(dtype), scores.to(dtype), threshold
    )


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft-NMS; method 0 is naive, 1 linear, 2 gaussian.

    Writes boxes and decayed scores to the first M rows of ``dets`` (B, 5).
    Like mmcv's, it decays at IoU >= threshold where hard NMS has >.

    Returns:
        Tensor: Kept indices (M,) in the order of ``dets``.
    """
    boxes, scores = _wide(boxes), _wide(scores).clone()
    areas = (boxes[:, 2:] - boxes[:, :2] + offset).prod(dim=1)
    order = torch.arange(len(boxes), device=boxes.device)
    i = 0
    while i < len(order):
        best = i + int(scores[order[i:]].argmax())
        order[[i, best]] = order[[best, i]]
        top, rest = order[i], order[i + 1 :]
        low = torch.maximum(boxes[top, :2], boxes[rest, :2])
        high = torch.minimum(boxes[top, 2:], boxes[rest, 2:])
        inter = (high - low + offset).clamp(min=0).prod(dim=1)
        ious = inter / (areas[top] + areas[rest] - inter)
        if method == 2:
            scores[rest] *= torch.exp(-(ious * ious) / sigma)
        else:
            decayed = 1 - ious if method == 1 else torch.zeros_like(ious)
            scores[rest] *= torch.where(ious >= iou_threshold, decayed, 1)
        i += 1
        order = torch.cat([order[:i], _drop(rest, scores[rest] < min_score)])
    dets[:i] = torch.cat([boxes[order], scores[order, None]], dim=1)
    return order


def _drop(order: Tensor, dropped: Tensor) -> Tensor:
    """Put the last kept entry where one is dropped, as mmcv's C++ does.

    The order decides which of two equal scores comes first later on.
    """
    num_kept = len(order) - int(dropped.sum())
    head, tail = order[:num_kept].clone(), order[num_kept:]
    head[dropped[:num_kept]] = tail[~dropped[num_kept:]].flip(0)
    return head


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Average-pool input (N, C, H, W) at rois (R, 5) into output."""
    if pool_mode != 1:
        raise _unsupported_error("roi_align_forward with pool_mode='max'")
    input = _wide(input)
    output.copy_(
        torch.ops.torchvision.roi_align(
            input,
            rois.to(input),
            spatial_scale,
            aligned_height,
            aligned_width,
            sampling_ratio,
            aligned,
        )
    )


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Fill grad_input (N, C, H, W) from grad_output of the pooled bins."""
    if pool_mode != 1:
        raise _unsupported_error("roi_align_backward with pool_mode='max'")
    grad_output = _wide(grad_output)
    grad_input.copy_(
        torch.ops.torchvision._roi_align_backward(
            grad_output,
            rois.to(grad_output),
            spatial_scale,
            aligned_height,
            aligned_width,
            *grad_input.shape,
            sampling_ratio,
            aligned,
        )
    )


def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Max-pool input (N, C, H, W) at rois (R, 5); argmax holds y * W + x.

    Not torchvision's: that rounds the RoI to whole pixels before it divides
    it into bins, mmcv divides first and rounds the bins outwards.
    """
    input, rois = _wide(input), _wide(rois)
    height, width = input.shape[-2:]
    start = rois[:, 1:3] * spatial_scale
    end = (rois[:, 3:] + 1) * spatial_scale  # the end pixel belongs to it
    columns = _bin_ranges(start[:, 0], end[:, 0], pooled_width, width)
    rows = _bin_ranges(start[:, 1], end[:, 1], pooled_height, height)
    # Empty bins are 0 without gradient. (For RoIs without area mmcv leaves
    # argmax at 0, and their gradient goes to the first pixel.)
    output.zero_()
    argmax.fill_(-1)
    for r, image in enumerate(rois[:, 0].long().tolist()):
        filled = [
            pw for pw, (left, right) in enumerate(columns[r]) if left < right
        ]
        if not filled:
            continue
        # Within rows first: of equal maxima the first in reading order wins,
        # as in mmcv.
        pools = [
            input[image, :, :, slice(*columns[r][pw])].max(dim=2)
            for pw in filled
        ]
        maxima = torch.stack([pool.values for pool in pools], dim=2)
        xs = torch.stack([pool.indices for pool in pools], dim=2)
        xs += xs.new_tensor([columns[r][pw][0] for pw in filled])
        for ph, (low, high) in enumerate(rows[r]):
            if low < high:
                values, ys = maxima[:, low:high].max(dim=1, keepdim=True)
                pixels = (ys + low) * width + xs.gather(1, ys + low)
                output[r, :, ph][:, filled] = values[:, 0].to(output)
                argmax[r, :, ph][:, filled] = pixels[:, 0].to(argmax)


def _bin_ranges(
    start: Tensor, end: Tensor, num_bins: int, size: int
) -> List[List[Tuple[int, int]]]:
    """Cut [start, end) (R,) into bins; pixel ranges [low, high) per bin."""
    steps = torch.arange(num_bins + 1).to(start)
    edges = steps * ((end - start) / num_bins)[:, None] + start[:, None]
    low = edges[:, :-1].floor().clamp(0, size)
    high = edges[:, 1:].ceil().clamp(0, size)
    high = torch.where((end > start)[:, None], high, low)
    return torch.stack([low, high], dim=-1).long().tolist()


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Route each bin's gradient to the pixel that argmax names."""
    num_channels, height, width = grad_input.shape[1:]
    planes = rois[:, :1].long() * num_channels + torch.arange(
        num_channels, device=rois.device
    )
    pixels = planes[..., None, None] * (height * width) + argmax
    pooled = argmax >= 0
    grads = _wide(grad_output)
    flat = grads.new_zeros(grad_input.numel())
    flat.index_add_(0, pixels[pooled], grads[pooled])
    grad_input.copy_(flat.view_as(grad_input))


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    **sizes: int,
) -> None:
    """Deformable convolution v1: no mask, no bias."""
    args = _deform_conv_args(input, weight, offset, None, None, sizes)
    output.copy_(torch.ops.torchvision.deform_conv2d(*args))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradInput: Tensor,
    gradOffset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **sizes: int,
) -> None:
    """Fill the gradients of the input and the offsets of v1."""
    args = _deform_conv_args(input, weight, offset, None, None, sizes)
    grads = _deform_conv_backward(gradOutput, *args)
    gradInput.copy_(grads[0])
    gradOffset.copy_(grads[2])


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradWeight: Tensor,
    columns: Tensor,
    ones: Tensor,
    scale: float,
    **sizes: int,
) -> None:
    """Add ``scale`` times the gradient of the weight of v1."""
    # mmcv passes no weight: its gradient needs the shape of it only.
    args = _deform_conv_args(input, gradWeight, offset, None, None, sizes)
    grads = _deform_conv_backward(gradOutput, *args)
    gradWeight.add_(grads[1].to(gradWeight), alpha=scale)


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    with_bias: bool,
    **sizes: int,
) -> None:
    """Deformable convolution v2; without bias, ``bias`` is (0,)."""
    args = _deform_conv_args(
        input, weight, offset, mask, bias if with_bias else None, sizes
    )
    output.copy_(torch.ops.torchvision.deform_conv2d(*args))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    with_bias: bool,
    **sizes: int,
) -> None:
    """Fill the five gradients of v2; ``grad_bias`` only with bias."""
    args = _deform_conv_args(
        input, weight, offset, mask, bias if with_bias else None, sizes
    )
    grads = _deform_conv_backward(grad_output, *args)
    buffers = [grad_input, grad_weight, grad_offset, grad_mask]
    if with_bias:
        buffers.append(grad_bias)
    for buffer, grad in zip(buffers, grads, strict=False):
        buffer.copy_(grad)


def _deform_conv_args(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Optional[Tensor],
    bias: Optional[Tensor],
    sizes: Dict[str, int],
) -> Tuple:
    """Arguments of torchvision's op, forward and backward.

    Both libraries order offsets (group, kernel y, kernel x, (y, x)).
    """
    use_mask = mask is not None
    mask = input.new_zeros(len(input), 1) if mask is None else mask
    bias = input.new_zeros(len(weight)) if bias is None else bias
    tensors = map(_wide, (input, weight, offset, mask, bias))
    names = _V1_SIZES if 'dH' in sizes else _V2_SIZES
    return (*tensors, *(sizes[name] for name in names), use_mask)


def _deform_conv_backward(grad_output: Tensor, *args: Any) -> List[Tensor]:
    """Gradients of input, weight, offset, mask and bias."""
    grads = list(
        torch.ops.torchvision._deform_conv2d_backward(
            _wide(grad_output), *args
        )
    )
    grads[2] *= _samples_inside(*args)
    return grads


def _samples_inside(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor,
    bias: Tensor,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    groups: int,
    offset_groups: int,
    use_mask: bool,
) -> Tensor:
    """Mark the offsets (same shape) whose sample mmcv reads at all.

    A sample at exactly -1 reads nothing, and mmcv gives its offsets no
    gradient; torchvision gives them the slope on the inner side. With
    padding 1 and offsets that start at 0, the whole border is such samples.
    """
    height, width = input.shape[2:]
    kernel_h, kernel_w = weight.shape[2:]
    out_h, out_w = offset.shape[2:]

    def grid(size: int, step: int) -> Tensor:
        return torch.arange(size, device=offset.device) * step

    samples = offset.unflatten(1, (offset_groups, kernel_h, kernel_w, 2))
    y = samples[..., 0, :, :] + (
        grid(kernel_h, dilation_h).view(-1, 1, 1, 1)
        + grid(out_h, stride_h)[:, None]
        - pad_h
    )
    x = samples[..., 1, :, :] + (
        grid(kernel_w, dilation_w).view(-1, 1, 1)
        + grid(out_w, stride_w)
        - pad_w
    )
    inside = (y > -1) & (y < height) & (x > -1) & (x < width)
    return inside.unsqueeze(4).expand_as(samples).reshape_as(offset)


def sigmoid_focal_loss_forward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    output: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Loss (R, K) of logits and target (R,); K or more is background."""
    p, positive, scale = _focal_terms(input, target, weight, alpha)
    loss_positive = (1 - p) ** gamma * p.clamp(min=_FLT_MIN).log()
    loss_negative = p**gamma * (1 - p).clamp(min=_FLT_MIN).log()
    output.copy_(-scale * torch.where(positive, loss_positive, loss_negative))


def sigmoid_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Fill the gradient (R, K) of the loss with respect to the logits."""
    p, positive, scale = _focal_terms(input, target, weight, alpha)
    log_p = p.clamp(min=_FLT_MIN).log()
    log_q = (1 - p).clamp(min=_FLT_MIN).log()
    grad_positive = (1 - p) ** gamma * (1 - p - gamma * p * log_p)
    grad_negative = p**gamma * (gamma * (1 - p) * log_q - p)
    grad_input.copy_(
        -scale * torch.where(positive, grad_positive, grad_negative)
    )


def _focal_terms(
    input: Tensor, target: Tensor, weight: Tensor, alpha: float
) -> Tuple[Tensor, Tensor, Tensor]:
    """Probabilities, 'is the target' and factor alpha * weight, all (R, K).

    ``weight`` (K,) goes by the row's target; empty is no weight.
    """
    p = _wide(input).sigmoid()
    positive = target[:, None] == torch.arange(
        input.size(1), device=input.device
    )
    scale = alpha * positive.to(p) + (1 - alpha) * (~positive).to(p)
    if weight.numel():
        scale = scale * weight[target][:, None].to(p)
    return p, positive, scale


_OPS = (
    get_compiler_version,
    get_compiling_cuda_version,
    nms,
    softnms,
    roi_align_forward,
    roi_align_backward,
    roi_pool_forward,
    roi_pool_backward,
    deform_conv_forward,
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    modulated_deform_conv_forward,
    modulated_deform_conv_backward,
    sigmoid_focal_loss_forward,
    sigmoid_focal_loss_backward,
)
