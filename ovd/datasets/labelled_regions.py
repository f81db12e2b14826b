"""Embedded boxes with the class that each shows, and how well it shows it.

Shapes: M regions, D embedding size.
"""

from abc import ABC, abstractmethod
from typing import Dict, Iterable, Optional, Sequence

import numpy as np
from mmengine.dist import is_main_process
from torch import Tensor
from tqdm import tqdm


class LabelledRegions(ABC):
    """Regions and their embeddings, most of which nobody will ask for.

    Attributes:
        ious (ndarray): (M,) float32, the largest with a box of the image.
        labels (ndarray): (M,) int64, the class of that box among those of
            the dataset; -1 for none.
        embed_dims (int): D.
        clip (dict, optional): ``{'name', 'sha256'}`` of the CLIP, if known.
    """

    ious: np.ndarray
    labels: np.ndarray
    embed_dims: int
    clip: Optional[Dict[str, str]] = None

    @abstractmethod
    def gather(self, rows: np.ndarray) -> Tensor:
        """Return the embeddings (len(rows), D) float16 of ascending rows."""


def show_progress(items: Sequence[int], what: str) -> Iterable[int]:
    """Show how far a loop is, on the first process and if it takes long."""
    return tqdm(
        items, desc=what, mininterval=1, delay=2, disable=not is_main_process()
    )
