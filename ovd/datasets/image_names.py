"""What the images of an annotation file are called, and how large they are."""
from typing import Optional, Union

import msgspec

from ovd.artifacts.files import PathLike

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
