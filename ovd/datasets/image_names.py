"""What the images of an annotation file are called, and how large they are.

Shapes: N images.
"""

from pathlib import PurePosixPath
from typing import Optional, Sequence, Union

import msgspec
import numpy as np

from ovd.artifacts.files import PathLike
from ovd.artifacts.proposals import image_key

from .annotation_file import decode, map_annotation_file


class ImageName(msgspec.Struct, gc=False):
    """An image of an annotation file; what the file lacks is None or ''."""

    id: Union[int, str]
    file_name: str = ''
    coco_url: str = ''
    width: Optional[int] = None
    height: Optional[int] = None


class _Images(msgspec.Struct):
    images: list[ImageName]


def read_images(ann_file: PathLike) -> list[ImageName]:
    """Return the images of an annotation file, and skip all the rest.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If it is damaged or its images are not COCO's.
    """
    path, content = map_annotation_file(ann_file)
    return decode(content, _Images, path).images


def image_keys(
    images: Sequence[ImageName],
    ann_file: PathLike,
    folder: Optional[str] = None,
) -> list[str]:
    """Return the names ``'<folder>/<file>'`` that proposals are found by.

    The folder is the one given; else that in the file name, as Objects365
    has it; else that in the `coco_url`, as COCO and LVIS have it.

    Args:
        images (Sequence[ImageName]): Of an annotation file.
        ann_file (PathLike): Its name, for messages.
        folder (str, optional): Last folder of ``data_prefix`` of the dataset.

    Raises:
        ValueError: If there is no folder, or two, or two images have one
            name.
    """
    keys = [_image_key(image, ann_file, folder) for image in images]
    seen: dict[str, Union[int, str]] = {}
    for key, image in zip(keys, images):
        if seen.setdefault(key, image.id) != image.id:
            raise ValueError(
                f'the images {seen[key]} and {image.id} of '
                f'{ann_file} are both called {key}'
            )
    return keys


def _image_key(
    image: ImageName, ann_file: PathLike, folder: Optional[str]
) -> str:
    has_folder = '/' in image.file_name
    if folder and has_folder:
        raise ValueError(
            f'images of {ann_file} have a folder already, such as '
            f'{image.file_name}: leave out --folder'
        )
    if folder:
        # LVIS v0.5 has the names of COCO 2014 beside the URLs of 2017.
        name = PurePosixPath(image.coco_url or image.file_name).name
        key = image_key(f'{folder}/{name}')
    else:
        key = image_key(
            image.file_name
            if has_folder
            else image.coco_url.partition('//')[2]
        )
    if '/' not in key:
        raise ValueError(
            f'image {image.id} of {ann_file} ({image.file_name or "no name"}) '
            'has neither a folder in its `file_name` nor a `coco_url`: say '
            'with --folder which folder the images are in, such as train2017'
        )
    return key


def image_sizes(images: Sequence[ImageName], ann_file: PathLike) -> np.ndarray:
    """Return (N, 2) widths and heights in pixels.

    Raises:
        ValueError: If the file does not say one.
    """
    for image in images:
        if not image.width or not image.height:
            raise ValueError(
                f'image {image.id} of {ann_file} has no `width` and `height`, '
                'by which the boxes are checked'
            )
    return np.array(
        [(image.width, image.height) for image in images], np.float64
    ).reshape(-1, 2)
