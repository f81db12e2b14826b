"""What files of class embeddings and of learned prompts say of themselves."""
from shlex import quote

import torch

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
        **flatten(found.settings))
    if found.contexts is not None:
        number, length, width = found.contexts.shape
        details['contexts'] = (
            f'{counted(number, "learned prompt", "learned prompts")} of '
            f'{length} tokens, {width} numbers each')
    details['classes'] = list_names(found.names)
    number = counted(len(found.names), 'class', 'classes')
    return Description(f'class embeddings of {number}', details)


def describe_foreign_table(path: PathLike) -> Description:
    """Describe class embeddings of another project, or a learned prompt.

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
        f' have {size} numbers' for size in table.numbers.shape
        if size in EMBED_DIMS.values()
    ]
    details['clip'] = '; '.join(['the file does not say', *fitting])
    headline = 'class embeddings of another project'
    if table.may_be_prompt:
        headline = (f'learned prompt of {len(table.numbers)} tokens, or '
                    f'{headline}')
        details['as a prompt'] = table.how_to_use_as_prompt
    details['to use it'] = (
        f'python tools/class_embeddings.py convert {quote(str(path))} '
        '--dataset NAME')
    return Description(headline, details)
