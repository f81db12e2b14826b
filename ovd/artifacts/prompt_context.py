"""Learned prompts: token embeddings that stand for the words of a sentence.

Shapes: G prompts of L tokens each, E token embedding size.
"""

from torch import Tensor

from .class_embeddings import check_contexts
from .files import PathLike, require_file
from .torch_file import read_torch_file

# More would be class embeddings, taken for a prompt by mistake.
MAX_LENGTH = 64


def load_prompt_contexts(path: PathLike) -> Tensor:
    """Read a learned prompt, or those that class embeddings were made with.

    Args:
        path (PathLike): A tensor (L, E), such as DetPro's ``*_prompt.pth``,
            or class embeddings of ovd with contexts.

    Returns:
        Tensor: (G, L, E) float32, G being 1 for a single prompt.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If it is damaged or holds anything else.
    """
    path = require_file(path, 'learned prompt')
    content = read_torch_file(path, 'learned prompt')
    if isinstance(content, dict) and 'contexts' in content:
        content = content['contexts']
    elif is_prompt_context(content):
        _refuse_class_embeddings(content, path)
        content = content.detach().float()[None]
    else:
        found = (
            f'a tensor {tuple(content.shape)}'
            if isinstance(content, Tensor)
            else f'a {type(content).__name__}'
        )
        raise ValueError(
            f'{path} holds no learned prompt, which is a tensor of (tokens, '
            f'numbers per token) such as (8, 512), but {found}; class '
            'embeddings of others are read by: '
            f'python tools/class_embeddings.py convert {path}'
        )
    try:
        check_contexts(content)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error
    return content


def is_prompt_context(content: object) -> bool:
    """Whether what a file holds may be a learned prompt, by its shape."""
    return (
        isinstance(content, Tensor)
        and content.is_floating_point()
        and content.ndim == 2
        and 0 < len(content) <= MAX_LENGTH
        and content.shape[1] > 0
    )


def have_unit_norm(rows: Tensor) -> bool:
    """Whether rows have norm 1, as far as half precision can say.

    Those of class embeddings often have, those of a prompt never.
    """
    return bool((rows.detach().float().norm(dim=1) - 1).abs().max() < 1e-2)


def is_class_embeddings(rows: Tensor) -> bool:
    """Whether rows have norm 1, but for a background of zeros at an end."""
    is_zero = ~rows.any(dim=1)
    start, end = int(is_zero[0]), len(rows) - int(is_zero[-1])
    return start < end and have_unit_norm(rows[start:end])


def _refuse_class_embeddings(content: Tensor, path: PathLike) -> None:
    """Raise if what has the shape of a prompt must be something else."""
    if is_class_embeddings(content):
        raise ValueError(
            f'{path} holds a table {tuple(content.shape)} whose rows all have '
            'norm 1: those are class embeddings and no learned prompt; they '
            f'are read by: python tools/class_embeddings.py convert {path}'
        )
