"""What two files of class embeddings say of the classes that both have.

Shapes: S classes that both have, P = S (S - 1) / 2 pairs of them.
"""

from dataclasses import dataclass
from typing import List, Optional, Sequence

import numpy as np
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn.functional import normalize

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.artifacts.files import PathLike
from ovd.spelling import canonical_spelling

from .class_embedding_analysis import check_number, cosines_of, pair_cosines


@dataclass(frozen=True)
class Agreement:
    """Two files side by side.

    Args:
        names (list[str]): S names, spelled and ordered as in the first file.
        only_first (list[str]): Names that the second file lacks.
        only_second (list[str]): Names that the first file lacks.
        first (ndarray): (P,) cosines between the S classes in the first file.
        second (ndarray): (P,) the same of the second file.
        nearest_first (list[str]): S names, the nearest class of each class.
        nearest_second (list[str]): The same of the second file.
        same_class (ndarray, optional): (S,) cosine of a class in the one file
            and in the other; None where these are of two CLIPs.
    """

    names: List[str]
    only_first: List[str]
    only_second: List[str]
    first: np.ndarray
    second: np.ndarray
    nearest_first: List[str]
    nearest_second: List[str]
    same_class: Optional[np.ndarray]

    @property
    def same_neighbour(self) -> float:
        """Share of classes whose nearest class is the same in both."""
        pairs = zip(self.nearest_first, self.nearest_second)
        return float(np.mean([first == second for first, second in pairs]))

    @property
    def rank_correlation(self) -> float:
        """Spearman's, of the cosines; NaN where those of a file are equal."""
        if 0 in (np.ptp(self.first), np.ptp(self.second)):
            return float('nan')
        return float(spearmanr(self.first, self.second).statistic)


def compare_embeddings(
    first: ClassEmbeddings,
    second: ClassEmbeddings,
    where_first: PathLike,
    where_second: PathLike,
) -> Agreement:
    """Compare two files by the classes that both have, whatever the CLIPs.

    Args:
        first (ClassEmbeddings): Of the first file.
        second (ClassEmbeddings): Of the second file.
        where_first (PathLike): The first file, for messages.
        where_second (PathLike): The second file, for messages.

    Raises:
        ValueError: If both have fewer than three of the same classes: of two,
            each is the nearest of the other. If a file has too many.
    """
    check_number(first, where_first)
    check_number(second, where_second)
    in_first, in_second = (
        set(map(canonical_spelling, found.names)) for found in (first, second)
    )
    names = [
        name for name in first.names if canonical_spelling(name) in in_second
    ]
    if len(names) < 3:
        raise ValueError(
            f'{where_first} and {where_second} share {len(names) or "no"} '
            f'class{"es" * (len(names) != 1)}, expected at least 3; '
            f'{_begin(where_first, first)}, {_begin(where_second, second)}'
        )
    embeddings = [found.select(names) for found in (first, second)]
    cosines = [cosines_of(part) for part in embeddings]
    # Two directions can be compared within one space alone.
    same_space = (
        first.clip['sha256'] == second.clip['sha256']
        and first.embeddings.shape[1] == second.embeddings.shape[1]
    )
    return Agreement(
        names,
        [name for name in first.names if name not in set(names)],
        [
            name
            for name in second.names
            if canonical_spelling(name) not in in_first
        ],
        pair_cosines(cosines[0]),
        pair_cosines(cosines[1]),
        _nearest(cosines[0], names),
        _nearest(cosines[1], names),
        _row_cosines(*embeddings) if same_space else None,
    )


def _nearest(cosines: np.ndarray, names: Sequence[str]) -> List[str]:
    """Return the name of the nearest other class (S,) by cosines (S, S)."""
    others = cosines.copy()
    np.fill_diagonal(others, -np.inf)
    return [names[i] for i in others.argmax(1)]


def _row_cosines(first: Tensor, second: Tensor) -> np.ndarray:
    """Return the cosine (S,) of each row (S, D) with the same row."""
    return (normalize(first) * normalize(second)).sum(1).clamp(-1, 1).numpy()


def _begin(where: PathLike, found: ClassEmbeddings) -> str:
    return f'{where} begins with {", ".join(found.names[:3])}'
