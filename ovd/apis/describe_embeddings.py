"""What files of class embeddings and of learned prompts say of themselves."""

from shlex import quote
from typing import Any, Dict

import torch
from torch import Tensor

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.artifacts.files import PathLike
from ovd.artifacts.foreign_class_embeddings import read_foreign_table

from .artifact_description import Description, counted, flatten, list_names


def describe_class_embeddings(path: PathLike) -> Description:
    """Describe class embeddings of ovd's own form.

    Raises:
        ValueError: If they are damaged.
    """
    found = ClassEmbeddings.load(path)
    details = dict(
        size=found.embeddings.shape[1],
        **flatten(dict(clip=found.clip)),
        templates=found.templates,
        **flatten(found.settings),
    )
    if found.contexts is not None:
        number, length, width = found.contexts.shape
        details['contexts'] = (
            f'{counted(number, "learned prompt", "learned prompts")} of '
            f'{length} tokens, {width} numbers each'
        )
    details['classes'] = list_names(found.names)
    classes = counted(len(found.names), 'class', 'classes')
    return Description(f'class embeddings of {classes}', details)


def describe_foreign_table(path: PathLike) -> Description:
    """Describe a table of another project, or a learned prompt.

    Without names it may be of classes, or of images: DetPro keeps a table of
    unit norm for the proposals of each image.

    Raises:
        ValueError: If they are damaged, or in no form that is known.
    """
    from ovd.clip.weights import EMBED_DIMS

    table = read_foreign_table(path)
    if not torch.isfinite(table.numbers).all():
        raise ValueError(f'{path} has numbers that are NaN or infinite')
    details = dict(form=table.form)
    if table.names:
        details['classes'] = list_names(table.names)
    fitting = [
        f'{", ".join(name for name in EMBED_DIMS if EMBED_DIMS[name] == size)}'
        f' have {size} numbers'
        for size in table.numbers.shape
        if size in EMBED_DIMS.values()
    ]
    details['clip'] = '; '.join(['the file does not say', *fitting])
    headline = 'class embeddings of another project'
    if not table.names:
        rows, numbers = table.numbers.shape
        headline = (
            f'a table of embeddings ({rows:,} x {numbers:,}): '
            f'{headline}, or image embeddings'
        )
    if table.may_be_prompt:
        headline = (
            f'learned prompt of {len(table.numbers)} tokens, or {headline}'
        )
        details['as a prompt'] = table.how_to_use_as_prompt
    details['to use it'] = (
        f'python tools/class_embeddings.py convert {quote(str(path))} '
        '--dataset NAME'
    )
    return Description(headline, details)


def describe_oadp_proposals(
    path: PathLike, content: Dict[Any, Any]
) -> Description:
    """Describe what OADP keeps of the proposals, or blocks, of an image.

    Args:
        path (PathLike): The file, for messages.
        content (dict): ``embeddings`` (P, D), ``bboxes`` (P, 4) and, of
            proposals, ``objectness``.

    Raises:
        ValueError: If these are malformed or not finite.
    """
    shapes = {}
    for key in ('embeddings', 'bboxes'):
        if not isinstance(content[key], Tensor) or content[key].ndim != 2:
            raise ValueError(
                f'{path}: {key} must be a tensor of two '
                f'dimensions, got {_form(content[key])}'
            )
        if not torch.isfinite(content[key]).all():
            raise ValueError(
                f'{path}: {key} has numbers that are NaN or infinite'
            )
        shapes[key] = tuple(content[key].shape)
    if shapes['bboxes'] != (shapes['embeddings'][0], 4):
        raise ValueError(
            f'{path}: {shapes["embeddings"]} embeddings and '
            f'{shapes["bboxes"]} bboxes do not belong together'
        )
    what = (
        ('proposal', 'proposals')
        if 'objectness' in content
        else ('proposal or block', 'proposals or blocks')
    )
    return Description(
        f"OADP's embeddings of {counted(shapes['embeddings'][0], *what)}",
        {
            'size': shapes['embeddings'][1],
            'clip': 'the file does not say',
            'to use it': 'this project does not read it',
        },
    )


def _form(content: Any) -> str:
    return (
        f'a tensor {tuple(content.shape)}'
        if isinstance(content, Tensor)
        else f'a {type(content).__name__}'
    )
