"""CLIPs of one's own: built with random weights, saved as published ones."""

import copy
from typing import Sequence, Union

import torch

from ovd.artifacts.files import PathLike, atomic_write

from .openai import CLIP, convert_weights


def build_clip(
    embed_dim: int,
    image_resolution: int,
    vision_layers: Union[int, Sequence[int]],
    vision_width: int,
    transformer_width: int,
    transformer_layers: int,
    vision_patch_size: int = 32,
    context_length: int = 77,
    vocab_size: int = 49408,
) -> CLIP:
    """Build a CLIP with random weights (float32, in training mode).

    The number of heads is width / 64 in both towers, as a loader infers it.

    Args:
        embed_dim (int): D, size of the joint embedding.
        image_resolution (int): Side of the square input in pixels: a
            multiple of 32 for a ResNet, of the patch size for a ViT.
        vision_layers (int | Sequence[int]): Blocks of a ViT, or of the four
            stages of a ModifiedResNet.
        vision_width (int): Channels of the image tower; a multiple of 64 for
            a ViT, an even number for a ResNet.
        transformer_width (int): Width of the text tower, a multiple of 64.
        transformer_layers (int): Blocks of the text tower.
        vision_patch_size (int): Of a ViT. Defaults to 32.
        context_length (int): Tokens per text. Defaults to 77.
        vocab_size (int): Defaults to 49408, that of CLIP's tokenizer.

    Raises:
        ValueError: If a saved file would not load again as this model.
    """
    is_vit = isinstance(vision_layers, int)
    layers = (
        vision_layers
        if isinstance(vision_layers, int)
        else tuple(vision_layers)
    )
    step = vision_patch_size if is_vit else 32
    for what, value, divisor in (
        ('image_resolution', image_resolution, step),
        ('vision_width', vision_width, 64 if is_vit else 2),
        ('transformer_width', transformer_width, 64),
    ):
        if value <= 0 or value % divisor:
            raise ValueError(
                f'{what} must be a positive multiple of {divisor}, got {value}'
            )
    return CLIP(
        embed_dim=embed_dim,
        image_resolution=image_resolution,
        vision_layers=layers,
        vision_width=vision_width,
        vision_patch_size=vision_patch_size,
        context_length=context_length,
        vocab_size=vocab_size,
        transformer_width=transformer_width,
        transformer_heads=transformer_width // 64,
        transformer_layers=transformer_layers,
    )


def save_clip(model: CLIP, path: PathLike) -> None:
    """Save a CLIP as a state dict with half-precision weights, atomically.

    The precisions are those of the published files: layer norms, batch norms
    and embeddings of tokens and positions stay in float32.

    Raises:
        ValueError: If a weight is not finite in half precision.
    """
    model = copy.deepcopy(model).cpu().float()
    convert_weights(model)
    state_dict = model.state_dict()
    for key, value in state_dict.items():
        if not torch.isfinite(value).all():
            raise ValueError(
                f'{path} is not written: {key} has values that are NaN, or '
                f'beyond the range of half precision'
            )
    with atomic_write(path) as file:
        torch.save(state_dict, file)
