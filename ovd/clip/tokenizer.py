"""Texts to the tokens of CLIP's byte pair encoding."""

from typing import Sequence

from torch import Tensor

from .openai import clip


def tokenize(texts: Sequence[str], context_length: int = 77) -> Tensor:
    """Turn texts into tokens (N, L) int32, padded with zeros to the right.

    Args:
        texts (Sequence[str]): N texts.
        context_length (int): L, start and end token included. Defaults to 77.

    Raises:
        ValueError: If a text needs more than L tokens, with the text.
    """
    try:
        return clip.tokenize(list(texts), context_length=context_length)
    except RuntimeError as error:
        raise ValueError(
            f'{error} tokens: shorten the text, or the class name or template '
            f'that it is made of'
        ) from error
