"""Learned prompts: token embeddings that stand for the words of a sentence.

Shapes: L tokens, E token embedding size.
"""
from pathlib import Path

import torch
from torch import Tensor

from .files import PathLike, require_file
from .torch_file import read_torch_file

# More would be class embeddings, taken for a prompt by mistake.
MAX_LENGTH = 64


def load_prompt_context(path: PathLike) -> Tensor:
    """Read a learned prompt, such as DetPro's ``*_prompt.pth``.

    Returns:
        Tensor: (L, E) float32.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If it is damaged or holds anything else.
    """
    path = require_file(path, 'learned prompt')
    context = read_torch_file(path, 'learned prompt')
    if not is_prompt_context(context):
        found = f'a tensor {tuple(context.shape)}' if isinstance(
            context, Tensor) else f'a {type(context).__name__}'
        raise ValueError(
            f'{path} holds no learned prompt, which is a tensor of (tokens, '
            f'numbers per token) such as (8, 512), but {found}; class '
            'embeddings of others are read by: '
            f'python tools/class_embeddings.py convert {Path(path)}')
    context = context.detach().float()
    if not torch.isfinite(context).all():
        raise ValueError(f'{path} has values that are NaN or infinite')
    return context


def is_prompt_context(content: object) -> bool:
    """Whether what a file holds may be a learned prompt, by its shape."""
    return isinstance(content, Tensor) and content.is_floating_point() \
        and content.ndim == 2 and 0 < len(content) <= MAX_LENGTH \
        and content.shape[1] > 0
