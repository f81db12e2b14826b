"""The blocks that text and image towers of CLIP are made of.

They compute what openai-clip's own blocks compute, with fewer passes over
memory; weights stay where they are.

Shapes: B sequences, S tokens, E token embedding size, H heads.
"""

from typing import Any, List, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .linear import linear, tracks_gradients

QUICK_GELU_SLOPE = 1.702


def layer_norm(x: Tensor, norm: nn.LayerNorm, times: float = 1.0) -> Tensor:
    """Apply a layer norm in float32, whatever its weights are in.

    Args:
        x (Tensor): (..., E), float32.
        norm (nn.LayerNorm): Has the weights.
        times (float): What to multiply the result by. Defaults to 1.
    """
    return F.layer_norm(
        x,
        norm.normalized_shape,
        norm.weight.float() * times,
        norm.bias.float() * times,
        norm.eps,
    )


def project(
    h: Tensor, attn: nn.MultiheadAttention, parts: slice = slice(0, 3)
) -> List[Tensor]:
    """Return queries, keys and values of (B, S, E), each (B, H, S, E / H).

    Args:
        h (Tensor): (B, S, E), normalised.
        attn (nn.MultiheadAttention): Has the weights.
        parts (slice): Which of the three. Defaults to all.
    """
    weight, bias = attn.in_proj_weight, attn.in_proj_bias
    rows = slice(parts.start * h.shape[-1], parts.stop * h.shape[-1])
    packed = linear(h.to(weight.dtype), weight[rows], bias[rows])
    packed = packed.unflatten(
        -1, (parts.stop - parts.start, attn.num_heads, -1)
    )
    return list(packed.permute(2, 0, 3, 1, 4).unbind(0))


def finish(
    x: Tensor,
    block: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Optional[Tensor] = None,
) -> Tensor:
    """Return what a block makes of (B, S, E), given its projections.

    The sum that runs through the blocks stays in float32. Where there are no
    gradients, ``x`` is overwritten.
    """
    y = attend(query, key, value, mask).transpose(1, 2).flatten(2)
    out = block.attn.out_proj
    x = _add(x, _scale(block, 'ls_1', linear(y, out.weight, out.bias)))
    if _is_quick(block.mlp) and not tracks_gradients(x):
        slope = QUICK_GELU_SLOPE
        h = layer_norm(x, block.ln_2, times=slope).to(y.dtype)
        y = _scale(block, 'ls_2', _mlp_times_slope(block.mlp, h))
        return x.add_(y, alpha=1 / slope)
    h = layer_norm(x, block.ln_2).to(y.dtype)
    return _add(x, _scale(block, 'ls_2', _mlp(block.mlp, h)))


def _add(x: Tensor, y: Tensor) -> Tensor:
    """Add to the float32 sum what may be in half precision."""
    return x + y if tracks_gradients(x, y) else x.add_(y)


def attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Optional[Tensor]
) -> Tensor:
    """Return the attention (B, H, S, E / H) of queries to keys."""
    if (
        mask is None
        and query.dtype == torch.bfloat16
        and query.device.type == 'cpu'
    ):
        # torch 2.11's fused kernel takes longer for so short sequences, and
        # its softmax in bfloat16 than that in float32.
        q, k, v = (item.flatten(0, 1) for item in (query, key, value))
        logits = torch.bmm(q * q.shape[-1] ** -0.5, k.transpose(1, 2))
        weights = logits.softmax(-1, dtype=torch.float32).to(q.dtype)
        return torch.bmm(weights, v).view(query.shape)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


def _is_quick(mlp: nn.Sequential) -> bool:
    """Whether it is frozen, and has openai-clip's activation.

    QuickGELU(x) = x sigmoid(a x) = silu(a x) / a.
    """
    return type(mlp.gelu).__name__ == 'QuickGELU' and not tracks_gradients(
        mlp.c_fc.weight
    )


def _mlp_times_slope(mlp: nn.Sequential, h: Tensor) -> Tensor:
    """Return a times what the two layers make of (B, S, E) / a.

    With input and biases a times as large, the hidden layer is a product with
    silu at its end, and needs no passes over memory of its own.
    """
    fc, proj, slope = mlp.c_fc, mlp.c_proj, QUICK_GELU_SLOPE
    hidden = linear(h, fc.weight, fc.bias * slope, silu=True)
    return linear(hidden, proj.weight, proj.bias * slope)


def _mlp(mlp: nn.Sequential, h: Tensor) -> Tensor:
    """Run the two linear layers of (B, S, E), for gradients to h."""
    # Under autocast, dtypes are its own business.
    if not _is_quick(mlp) or torch.is_autocast_enabled(h.device.type):
        return mlp(h)
    fc, proj = mlp.c_fc, mlp.c_proj
    return _FrozenMLP.apply(h, fc.weight, fc.bias, proj.weight, proj.bias)


class _FrozenMLP(torch.autograd.Function):
    """The two linear layers, for gradients to their input alone.

    Of the hidden layer one tensor is kept, and not three.
    """

    @staticmethod
    def forward(
        ctx: Any,
        h: Tensor,
        weight: Tensor,
        bias: Tensor,
        proj_weight: Tensor,
        proj_bias: Tensor,
    ) -> Tensor:
        hidden = linear(h, weight, bias).mul_(QUICK_GELU_SLOPE)
        ctx.save_for_backward(hidden, weight, proj_weight)
        out = linear(F.silu(hidden), proj_weight)
        return out.mul_(1 / QUICK_GELU_SLOPE).add_(proj_bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tuple[Optional[Tensor], ...]:
        hidden, weight, proj_weight = ctx.saved_tensors
        # The slope of silu(a x) / a is silu'(a x).
        grad = torch.ops.aten.silu_backward(
            linear(grad, proj_weight.t()), hidden
        )
        return linear(grad, weight.t()), None, None, None, None


def _scale(block: nn.Module, name: str, x: Tensor) -> Tensor:
    """Apply open_clip's layer scale, which openai-clip's blocks lack."""
    scale = getattr(block, name, None)
    return x if scale is None else scale(x)
