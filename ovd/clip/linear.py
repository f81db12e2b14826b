"""Linear layers as fast as the processor is."""

from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor


def tracks_gradients(*tensors: Tensor) -> bool:
    """Whether autograd looks at what is done with tensors."""
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors)


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Optional[Tensor] = None,
    silu: bool = False,
) -> Tensor:
    """Apply a linear layer to (..., in), as ``F.linear`` does.

    On a CPU, and where no gradient is asked for, oneDNN computes it.
    ``F.linear`` has MKL multiply float32, which takes twice as long on AMD's
    processors, and writes the bias to memory first.

    Args:
        x (Tensor): (..., in).
        weight (Tensor): (out, in), of the same dtype.
        bias (Tensor, optional): (out,).
        silu (bool): Whether to apply silu to the result, which oneDNN does
            before it writes it to memory. Defaults to False.
    """
    if (
        not _suits_onednn(x.device, x.dtype)
        or not x.numel()
        or tracks_gradients(x, weight)
    ):
        y = F.linear(x, weight, bias)
        return F.silu(y, inplace=not tracks_gradients(y)) if silu else y
    return torch.ops.mkldnn._linear_pointwise(
        x.contiguous(), weight, bias, 'swish' if silu else 'none', [], ''
    )


def _suits_onednn(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether oneDNN has the operation for this dtype here.

    A compiler takes it by itself, with weights in oneDNN's own layout.
    """
    if (
        torch.compiler.is_compiling()
        or device.type != 'cpu'
        or not torch.backends.mkldnn.is_available()
        or not torch.backends.mkldnn.enabled
        or not hasattr(torch.ops.mkldnn, '_linear_pointwise')
    ):
        return False
    return dtype == torch.float32 or (
        dtype == torch.bfloat16
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )
