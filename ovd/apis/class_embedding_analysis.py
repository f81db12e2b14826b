"""Which classes lie close to each other in a file of class embeddings.

Shapes: C classes, D embedding size, P = C (C - 1) / 2 pairs of two classes.
"""

from dataclasses import dataclass, field
from typing import List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform
from torch import Tensor
from torch.nn.functional import normalize

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.artifacts.files import PathLike
from ovd.datasets.gzsl_header import load_header, read_gzsl
from ovd.datasets.gzsl_splits import (
    FREQUENCY_SPLITS,
    Category,
    Split,
    check_split,
    load_split,
)
from ovd.spelling import canonical_spelling

# All cosines are held at once: 100 MB for so many classes, and a few copies.
MOST_CLASSES = 5_000
# The best order of the leaves takes minutes for thousands of classes.
MOST_IN_BEST_ORDER = 1_500


class Pair(NamedTuple):
    """Two classes and their cosine; the first is novel, the second base."""

    first: str
    second: str
    cosine: float


@dataclass(frozen=True)
class Classes:
    """The classes of a file that are looked at.

    Args:
        names (list[str]): C names.
        cosines (ndarray): (C, C) float32.
        novel_mask (ndarray, optional): (C,) bool; None where nothing says
            which classes are novel.
        left_out (list[str]): Those of the file that are neither base nor
            novel.
    """

    names: List[str]
    cosines: np.ndarray
    novel_mask: Optional[np.ndarray] = None
    left_out: List[str] = field(default_factory=list)


def find_split(
    names: Sequence[str],
    where: PathLike,
    split: Optional[str] = None,
    ann_file: Optional[PathLike] = None,
) -> Optional[Split]:
    """Return base and novel names, None where nothing says which they are.

    Args:
        names (Sequence[str]): Class names of the embeddings.
        where (PathLike): Their file, for messages.
        split (str, optional): As for
            :func:`ovd.datasets.gzsl_splits.load_split`.
        ann_file (PathLike, optional): Has the categories of ``split``, or,
            without it, a `gzsl` block.

    Raises:
        ValueError: If the split is unknown, malformed or without novel
            classes, or names what the categories or ``names`` lack.
        FileNotFoundError: If a file does not exist.
    """
    if split is None:
        if ann_file is None:
            return None
        gzsl = read_gzsl(ann_file)
        if missing := {'split', 'base', 'novel'} - set(gzsl):
            raise ValueError(
                f'the `gzsl` block of {ann_file} lacks '
                f'{", ".join(sorted(missing))}'
            )
        found = Split(gzsl['split'], gzsl['base'], gzsl['novel'])
    else:
        check_split(split)
        if split in FREQUENCY_SPLITS and ann_file is None:
            raise ValueError(
                f'split {split} goes by the `frequency` of LVIS categories: '
                'give an annotation file that has them with --ann-file'
            )
        categories = (
            load_header(ann_file).categories
            if ann_file
            else [Category(i, name) for i, name in enumerate(names)]
        )
        found = load_split(split, categories, str(ann_file or where))
    if not found.base or not found.novel:
        raise ValueError(
            f'split {found.name} of {ann_file or split} has no '
            f'{"novel" if found.base else "base"} class: there are no pairs '
            'of a base and a novel one; leave the split out for pairs of any '
            'two classes'
        )
    return found


def check_number(found: ClassEmbeddings, where: PathLike) -> None:
    """Raise unless a file has two classes, and not too many for all pairs.

    Raises:
        ValueError: If it has not, with the file.
    """
    number = len(found.names)
    if number < 2:
        raise ValueError(
            f'{where} has {"one" if number else "no"} class, '
            'expected at least two: there are no pairs'
        )
    if number > MOST_CLASSES:
        raise ValueError(
            f'{where} has {number:,} classes, expected at most '
            f'{MOST_CLASSES:,}, as every one is compared with every other; '
            'make a file of fewer with: python tools/class_embeddings.py '
            '--classes-file'
        )


def cosines_of(embeddings: Tensor) -> np.ndarray:
    """Return (C, C) of (C, D), at most 1: their norm is 1 to 1e-3 only."""
    embeddings = normalize(embeddings)
    return (embeddings @ embeddings.T).clamp(-1, 1).numpy()


def choose_classes(
    found: ClassEmbeddings, where: PathLike, split: Optional[Split]
) -> Classes:
    """Return the base and then the novel classes of a file, or all.

    Raises:
        ValueError: If the split has classes that the file lacks, or the file
            has too many or too few.
    """
    check_number(found, where)
    if split is None:
        return Classes(found.names, cosines_of(found.embeddings))
    names = [*split.base, *split.novel]
    try:
        embeddings = found.select(names)
    except ValueError as error:
        raise ValueError(f'{where}: {error}') from error
    chosen = set(map(canonical_spelling, names))
    return Classes(
        names,
        cosines_of(embeddings),
        np.isin(names, split.novel),
        [
            name
            for name in found.names
            if canonical_spelling(name) not in chosen
        ],
    )


def pair_cosines(cosines: np.ndarray) -> np.ndarray:
    """Return (P,) of (C, C): what is above the diagonal, row by row."""
    return squareform(cosines, checks=False)


def closest_pairs(classes: Classes, top: int) -> List[Pair]:
    """Return the pairs of largest cosine, the closest first.

    Pairs are of a novel and a base class; where nothing says which classes
    are novel, of any two.
    """
    if classes.novel_mask is None:
        rows, columns = np.triu_indices(len(classes.names), 1)
    else:
        allowed = np.outer(classes.novel_mask, ~classes.novel_mask)
        rows, columns = np.nonzero(allowed)
    values = classes.cosines[rows, columns]
    return [
        Pair(
            classes.names[rows[i]], classes.names[columns[i]], float(values[i])
        )
        for i in np.argsort(-values, kind='stable')[:top]
    ]


def find_neighbours(classes: Classes) -> List[Tuple[Union[str, float], ...]]:
    """Return the nearest classes of classes.

    Returns:
        list[tuple]: Per novel class its name, its nearest base class and
        their cosine, its nearest novel class and their cosine (``''`` where
        there is no other). Where nothing says which classes are novel, per
        class its name, its nearest class and their cosine.
    """
    everyone = np.arange(len(classes.names))
    chosen, parts = everyone, [everyone]
    if classes.novel_mask is not None:
        chosen = everyone[classes.novel_mask]
        parts = [everyone[~classes.novel_mask], chosen]
    rows: List[Tuple[Union[str, float], ...]] = []
    for i in chosen:
        row: List[Union[str, float]] = [classes.names[i]]
        for part in parts:
            others = part[part != i]
            if not len(others):
                row += ['', '']
                continue
            nearest = others[classes.cosines[i, others].argmax()]
            row += [classes.names[nearest], float(classes.cosines[i, nearest])]
        rows.append(tuple(row))
    return rows


def order_by_similarity(cosines: np.ndarray) -> np.ndarray:
    """Return an order (C,) that puts like classes (C, C) beside each other.

    It is that of the leaves of a tree that joins the groups of largest mean
    cosine first.
    """
    if len(cosines) < 3:
        return np.arange(len(cosines))
    tree = linkage(
        1 - pair_cosines(cosines),
        'average',
        optimal_ordering=len(cosines) <= MOST_IN_BEST_ORDER,
    )
    return leaves_list(tree)
