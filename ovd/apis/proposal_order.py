"""Whose boxes the entries of a list are: found by what fits into images.

Shapes: N images, P proposals of one.
"""

from typing import Iterable, List, Optional, Sequence

import numpy as np
from tqdm import tqdm

from ovd.artifacts.files import PathLike
from ovd.datasets.box_selection import TOLERANCE
from ovd.datasets.gzsl_header import load_header
from ovd.datasets.image_names import image_keys, image_sizes, read_images

ORDERS = dict(
    file='the order of the images in the annotation file',
    id='the order of ascending image ids',
)


class ImageTable:
    """Names, sizes and orders of the N images of an annotation file.

    Args:
        ann_file (PathLike): COCO or LVIS annotation file.
        folder (str, optional): As for :func:`image_keys`.

    Attributes:
        keys (list[str]): N names ``'<folder>/<file>'``.
        orders (dict[str, list[int]]): Order -> N positions in the file.
    """

    def __init__(self, ann_file: PathLike, folder: Optional[str]) -> None:
        images = read_images(ann_file)
        self.ann_file = ann_file
        self.keys = image_keys(images, ann_file, folder)
        self.orders = dict(
            file=list(range(len(images))),
            id=sorted(range(len(images)), key=lambda i: images[i].id),
        )
        self._sizes = image_sizes(images, ann_file)

    def find_outside(
        self, extents: np.ndarray, order: str = 'file'
    ) -> Optional[str]:
        """Return in words the first image that its boxes do not fit into.

        Args:
            extents (ndarray): (N, 4), of :func:`measure_extents`.
            order (str): Whose they are.
        """
        positions = self.orders[order]
        outside = (extents[:, :2] < -TOLERANCE).any(axis=1) | (
            extents[:, 2:] > self._sizes[positions] + TOLERANCE
        ).any(axis=1)
        if not outside.any():
            return None
        row = int(outside.argmax())
        width, height = self._sizes[positions[row]].astype(int)
        return (
            f'{self.keys[positions[row]]} has {width} x {height} pixels, '
            'and its boxes reach from (x, y) = '
            f'{tuple(extents[row, :2].tolist())} to '
            f'{tuple(extents[row, 2:].tolist())}'
        )


def measure_extents(
    boxes: Iterable[np.ndarray], num_images: int
) -> np.ndarray:
    """Return (N, 4): least x1, y1 and most x2, y2 of each image.

    Args:
        boxes (Iterable[ndarray]): N arrays (P, 4 or more); where P is 0, the
            result is 0.
        num_images (int): N.
    """
    extents = np.zeros((num_images, 4))
    progress = tqdm(
        boxes, 'check boxes', num_images, leave=False, unit='img', disable=None
    )
    for extent, array in zip(extents, progress):
        if array.size:
            extent[:2] = array[:, :2].min(axis=0)
            extent[2:] = array[:, 2:4].max(axis=0)
    return extents


def find_order(
    rows: Sequence[np.ndarray], images: ImageTable, order: str, source: str
) -> str:
    """Return the order of a list, one of ``ORDERS``.

    Args:
        rows (Sequence[ndarray]): Arrays (P, 5) of images.
        images (ImageTable): Of the annotation file.
        order (str): The one that was asked for; ``'auto'`` takes the one in
            which all boxes lie in their images.
        source (str): File of the list, for messages.

    Raises:
        ValueError: If the list is of another length, boxes lie outside, or
            both orders fit.
    """
    _check_length(len(rows), images, source)
    extents = measure_extents(rows, len(rows))
    candidates: List[str] = [*ORDERS] if order == 'auto' else [order]
    faults = {name: images.find_outside(extents, name) for name in candidates}
    fitting = [name for name in candidates if faults[name] is None]
    if not fitting:
        reasons = ''.join(
            f'\nin {ORDERS[name]}, {fault}' for name, fault in faults.items()
        )
        raise ValueError(
            f'{source} was not made for {images.ann_file}, or its entries are '
            f'in another order: boxes lie outside their images{reasons}'
        )
    if len(fitting) > 1 and images.orders['file'] != images.orders['id']:
        raise ValueError(
            f'all boxes of {source} lie in their images in both orders: say '
            'with --order file that entries are in '
            f'{ORDERS["file"]} (mmdet), or with --order id that they are in '
            f'{ORDERS["id"]} (OADP, OLN)'
        )
    return fitting[0]


def _check_length(length: int, images: ImageTable, source: str) -> None:
    """Raise unless a list has as many entries as there are images."""
    expected = len(images.keys)
    if length == expected:
        return
    gzsl = load_header(images.ann_file).gzsl or {}
    whole = gzsl.get('kept', {}).get('images', 0) + gzsl.get(
        'removed', {}
    ).get('images', 0)
    hint = 'give the annotation file that it was made for'
    if gzsl and length == whole:
        hint = (
            f'as many as {gzsl["source"]["file"]}, from which '
            f'{images.ann_file} was split: give that one, its images '
            'include these'
        )
    raise ValueError(
        f'{source} has {length:,} entries, {images.ann_file} '
        f'{expected:,} images; {hint}'
    )
