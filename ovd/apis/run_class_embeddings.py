"""The job behind ``tools/class_embeddings.py``: one of two, by its options."""

from inspect import signature
from pathlib import Path
from typing import Any

from ovd.clip.prompt_templates import TEMPLATE_SETS
from ovd.clip.text_encoder import LEARNED
from ovd.suggest import check_choice

from .class_embeddings import make_class_embeddings
from .convert_class_embeddings import convert_class_embeddings


def run_class_embeddings(method: str, **options: Any) -> Path:
    """Do what ``tools/class_embeddings.py`` was told.

    Args:
        method (str): Templates of :func:`make_class_embeddings`, or
            ``'convert'`` for :func:`convert_class_embeddings`.
        options: Arguments of that function; None where not given.

    Raises:
        ValueError: If there is no such method, an option is not one of its,
            or see the two functions.
        FileNotFoundError: See the two functions.
    """
    check_choice(method, [*TEMPLATE_SETS, LEARNED, 'convert'], 'method')
    given = {key: value for key, value in options.items() if value is not None}
    job = (
        convert_class_embeddings
        if method == 'convert'
        else make_class_embeddings
    )
    taken = signature(job).parameters
    others = [key for key in given if key not in taken]
    if others:
        raise ValueError(
            f'{method} takes no {" and no ".join(map(_option, others))}'
        )
    if method == 'convert':
        if 'file' not in given:
            raise ValueError('convert needs the FILE to convert')
        return job(**given)
    return job(method, **given)


def _option(argument: str) -> str:
    """Return how the command line calls an argument."""
    names = dict(file='FILE', prompts='--prompt')
    return names.get(argument, '--' + argument.replace('_', '-'))
