"""The image tower of a CLIP, without what its output doesn't need.

Shapes: B images, n side in pixels, g patches along a side, k side of a patch
in pixels, S = g * g + 1 tokens, E token embedding size, D embedding size.
"""

import torch
from torch import Tensor, nn

from .linear import linear
from .transformer import finish, layer_norm, project


class ImageTower:
    """Encode images as ``model.encode_image`` does, with less work.

    Of a vision transformer only the class token of the last block is read, so
    only it is computed there; patches are embedded by one matrix product; the
    sum that runs through the blocks stays in float32. Other towers
    (ModifiedResNet) run as they are, on channels-last memory. It holds no
    weights of its own, and gives no gradients.

    Args:
        model (nn.Module): A CLIP of openai-clip's class, or of open_clip's.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.is_known = _is_known(model.visual)

    def encode(self, images: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the features (B, D) of images, float32, not normalised.

        Args:
            images (Tensor): (B, 3, n, n), normalised for this CLIP.
            dtype (torch.dtype): That of the weights of matrices.
        """
        images = images.to(dtype)
        with torch.no_grad():
            if self.is_known:
                return encode_vit(self.model.visual, images)
            images = images.contiguous(memory_format=torch.channels_last)
            return self.model.encode_image(images).float()


def _is_known(visual: nn.Module) -> bool:
    """Whether a tower is a transformer read at its class token after a norm.

    open_clip's own variants of it are run by its own code.
    """
    blocks = getattr(getattr(visual, 'transformer', None), 'resblocks', ())
    needed = (
        'conv1',
        'class_embedding',
        'positional_embedding',
        'ln_pre',
        'ln_post',
        'proj',
    )
    variant = getattr(visual, 'pool_type', 'tok') != 'tok' or any(
        getattr(visual, name, False)
        for name in ('attn_pool', 'final_ln_after_pool', 'output_tokens')
    )
    return (
        bool(blocks)
        and not variant
        and all(getattr(visual, name, None) is not None for name in needed)
        and all(
            type(block.attn) is nn.MultiheadAttention
            and not hasattr(block, 'ln_attn')
            for block in blocks
        )
        and type(visual.ln_pre).__name__.startswith('LayerNorm')
        and visual.conv1.bias is None
    )


def encode_vit(visual: nn.Module, images: Tensor) -> Tensor:
    """Return the features (B, D) of (B, 3, n, n) from a transformer."""
    x = layer_norm(_embed(visual, images), visual.ln_pre)
    blocks = visual.transformer.resblocks
    for block in blocks[:-1]:
        h = layer_norm(x, block.ln_1)
        x = finish(x, block, *project(h, block.attn))
    block = blocks[-1]
    h = layer_norm(x, block.ln_1)
    (query,) = project(h[:, :1], block.attn, slice(0, 1))
    x = finish(x[:, :1], block, query, *project(h, block.attn, slice(1, 3)))
    x = layer_norm(x[:, 0], visual.ln_post)
    return (x.to(visual.proj.dtype) @ visual.proj).float()


def _embed(visual: nn.Module, images: Tensor) -> Tensor:
    """Return the tokens (B, S, E) of images, float32, before any norm."""
    weight = visual.conv1.weight  # (E, 3, k, k)
    k = weight.shape[-1]
    patches = images.unflatten(3, (-1, k)).unflatten(2, (-1, k))
    # (B, 3, g, k, g, k) -> (B, g * g, 3 * k * k)
    patches = patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
    tokens = linear(patches, weight.flatten(1))
    x = tokens.new_empty(
        len(images), tokens.shape[1] + 1, len(weight), dtype=torch.float32
    )
    x[:, 0] = visual.class_embedding.float()
    x[:, 1:] = tokens
    return x.add_(visual.positional_embedding.float())
