"""Classes and CLIP a checkpoint was trained with, as far as it says so."""

from typing import Any, Dict, List, Optional, Sequence, Union

from ovd.spelling import canonical_spelling

from .files import PathLike
from .weights_file import read_weights

UNKNOWN = 'unknown'
Seen = Union[List[str], str]  # names, or UNKNOWN


def read_seen_classes(checkpoint: PathLike) -> Seen:
    """Return the classes whose boxes a checkpoint has seen in training.

    Ours note which classes were novel, and thus hidden. Those of mmdet note
    all classes of their dataset, if any: they have seen them all.

    Returns:
        list[str] | str: Names; ``UNKNOWN`` if the checkpoint does not say.

    Raises:
        ValueError: If it is damaged, or holds more than plain content.
    """
    content = read_weights(checkpoint)
    meta = content.get('meta') if isinstance(content, dict) else None
    if not isinstance(meta, dict):
        return UNKNOWN
    noted = meta.get('dataset_meta')
    noted = noted if isinstance(noted, dict) else {}
    if _is_names(noted.get('base_classes')) and 'novel_classes' in noted:
        return list(noted['base_classes'])
    # mmdet 3.x, its first versions, and 2.x
    for names in (
        noted.get('classes'),
        noted.get('CLASSES'),
        meta.get('CLASSES'),
    ):
        if _is_names(names) and names:
            return list(names)
    return UNKNOWN


def read_clip(checkpoint: PathLike) -> Optional[Dict[str, str]]:
    """Return the CLIP that a detector was distilled from, if it says so.

    Raises:
        ValueError: If the file is damaged, or holds more than plain content.
    """
    content = read_weights(checkpoint)
    meta = content.get('meta') if isinstance(content, dict) else None
    return meta.get('clip') if isinstance(meta, dict) else None


def _is_names(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(
        isinstance(name, str) for name in value
    )


def find_seen_novel(seen: Seen, novel: Sequence[str]) -> Seen:
    """Return the novel classes whose boxes a checkpoint has seen.

    Args:
        seen (list[str] | str): Of :func:`read_seen_classes`.
        novel (Sequence[str]): Novel classes of a dataset.

    Returns:
        list[str] | str: Names, or ``UNKNOWN`` as ``seen`` is.
    """
    if seen == UNKNOWN:
        return UNKNOWN
    known = set(map(canonical_spelling, seen))
    return [name for name in novel if canonical_spelling(name) in known]


def explain_leak(seen_novel: Seen) -> str:
    """Return what it means that a checkpoint has seen novel classes.

    Args:
        seen_novel (list[str] | str): Of :func:`find_seen_novel`; '' is
            returned for none.
    """
    if not seen_novel:
        return ''
    if seen_novel == UNKNOWN:
        what = (
            'the checkpoint does not say that novel classes were hidden '
            "in its training; an RPN trained on all classes, as mmdet's "
            'are, has seen novel boxes'
        )
    else:
        what = (
            'the checkpoint has seen the boxes of classes that are novel '
            f'here in its training: {", ".join(seen_novel)}'
        )
    return (
        f'{what}. It finds novel objects better than an open-vocabulary '
        'detector may: train one of configs/rpn on base boxes alone'
    )
