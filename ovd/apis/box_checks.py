"""Whether the boxes of an annotation file are those of COCO's format.

Shapes: A annotations.
"""

from typing import Iterator, List, Sequence, Tuple

import msgspec
import numpy as np

from ovd.datasets.annotation_file import AnnotationFile, decode_each
from ovd.datasets.image_names import ImageName

ROUNDING = 2  # pixels that a box may reach out of its image


class _Box(msgspec.Struct, gc=False):
    bbox: Tuple[float, float, float, float]
    area: float


def check_boxes(
    data: AnnotationFile, images: Sequence[ImageName]
) -> List[str]:
    """Return warnings about boxes that are not as they should be.

    Args:
        data (AnnotationFile): The annotation file.
        images (Sequence[ImageName]): Its images, in its order, with sizes.

    Raises:
        ValueError: If there is no annotation, one has no `bbox` of four
            numbers or no `area`, or no box is of use.
    """
    if not data.annotations:
        raise ValueError(f'{data.path} has no annotations')
    found = decode_each(data.annotations, _Box, data.path, 'annotations')
    boxes = np.array([box.bbox for box in found])  # (A, 4) x, y, w, h
    areas = np.array([box.area for box in found])
    small = (boxes[:, 2:] < 1).any(1) | (areas <= 0)
    if small.all():
        raise ValueError(
            f'no box of {data.path} is larger than a pixel; expected `bbox` '
            'to be [x, y, width, height] in pixels, not shares of the image, '
            f'and a positive `area`; the first is {found[0].bbox}, '
            f'area {found[0].area}'
        )
    return list(_warnings(data, images, boxes, small))


def _warnings(
    data: AnnotationFile,
    images: Sequence[ImageName],
    boxes: np.ndarray,
    small: np.ndarray,
) -> Iterator[str]:
    sizes = np.array(
        [(image.width or 0, image.height or 0) for image in images]
    )[data.image_index]
    outside = (boxes[:, :2] < -ROUNDING).any(1) | (
        boxes[:, :2] + boxes[:, 2:] > sizes + ROUNDING
    ).any(1)
    for mask, what in (
        (
            small,
            'are smaller than a pixel or have no area, and training '
            'passes over them',
        ),
        (
            outside,
            'reach out of their images (`bbox` is [x, y, width, '
            'height] in pixels)',
        ),
    ):
        if mask.any():
            first = int(np.flatnonzero(mask)[0])
            box = ', '.join(f'{value:g}' for value in boxes[first])
            yield (
                f'{int(mask.sum()):,} of {len(mask):,} boxes of '
                f'{data.path} {what}; the first is of annotation '
                f'{data.annotation_ids[first]}: [{box}]'
            )
