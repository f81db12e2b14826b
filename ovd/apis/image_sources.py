"""Images from where users have them: files, folders, arrays, PIL's."""

import os
import warnings
from collections import Counter
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any, List, Optional, Sequence, Union

import cv2
import mmcv
import numpy as np
from PIL import Image as PILImage
from PIL import ImageOps

from ovd.artifacts.files import PathLike, require_file

from .video import VIDEO_SUFFIXES

Image = Union[PathLike, np.ndarray, PILImage.Image, 'SourceImage']
# What is longer has no width left when the network shrinks it
MAX_ASPECT_RATIO = 100
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')


@dataclass(frozen=True, eq=False)
class SourceImage:
    """An image that was read.

    Args:
        bgr (np.ndarray): uint8 (H, W, 3).
        path (str, optional): Where it was read; None if it was no file.
    """

    bgr: np.ndarray
    path: Optional[str] = None

    @property
    def rgb(self) -> np.ndarray:
        """The image with its channels in the other order."""
        return np.ascontiguousarray(self.bgr[..., ::-1])


def list_images(path: PathLike) -> List[Path]:
    """Return the images of a file, a folder or a pattern in order of name.

    Raises:
        FileNotFoundError: If there are none.
    """
    path = Path(path)
    if path.is_dir():
        found = sorted(
            item
            for item in path.iterdir()
            if item.suffix.lower() in IMAGE_SUFFIXES
        )
    elif path.is_file():
        found = [path]
    else:
        found = sorted(Path(name) for name in glob(str(path)))
    if not found:
        raise FileNotFoundError(
            f'{path} is no image, no pattern that fits one, and no folder '
            f'that holds one ({", ".join(IMAGE_SUFFIXES)})'
        )
    return found


def describe_left_out(folder: PathLike) -> str:
    """Say what is in a folder beside its images; '' if nothing is.

    Hidden files are not told.

    Args:
        folder (PathLike): Anything; only of a folder there is something left
            out.
    """
    if not Path(folder).is_dir():
        return ''
    left_out = Counter(
        'folder' if item.is_dir() else item.suffix.lower() or 'without suffix'
        for item in Path(folder).iterdir()
        if not item.name.startswith('.')
        and (item.is_dir() or item.suffix.lower() not in IMAGE_SUFFIXES)
    )
    parts = [
        f'{number} {kind}'
        + (' (give each video alone)' if kind in VIDEO_SUFFIXES else '')
        for kind, number in sorted(left_out.items())
    ]
    return f'left out of {folder}: {", ".join(parts)}' if parts else ''


def expand_folders(images: Union[Image, Sequence[Image]]) -> List[Image]:
    """Return images one by one, with those of folders in their place.

    Warns of what else is in a folder.

    Raises:
        FileNotFoundError: If a folder has no images.
    """
    if isinstance(
        images, (str, os.PathLike, np.ndarray, PILImage.Image, SourceImage)
    ):
        images = [images]
    found: List[Image] = []
    for image in images:
        if isinstance(image, (str, Path)) and Path(image).is_dir():
            found += list_images(image)
            if left_out := describe_left_out(image):
                warnings.warn(left_out, stacklevel=3)
        else:
            found.append(image)
    return found


def read_image(
    image: Any, color_type: str = 'color', backend: str = 'cv2'
) -> SourceImage:
    """Read an image, turned as its EXIF tag says, as the host does.

    Args:
        image (Image): File, BGR uint8 array (H, W, 3), or image of PIL.
        color_type (str): Of the host's ``LoadImageFromFile``.
        backend (str): Its ``imdecode_backend``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged or no image, an array of another form, or
            more than 100 times as long as wide.
    """
    if isinstance(image, SourceImage):
        return image
    if isinstance(image, np.ndarray):
        return SourceImage(_check_array(image))
    if isinstance(image, PILImage.Image):
        if image.mode.startswith(('I', 'F')):  # PIL would cut, not scale
            raise ValueError(
                'an image of PIL must have 8 bits, got the mode '
                f'{image.mode}: give its file, or convert it'
            )
        upright = ImageOps.exif_transpose(image).convert('RGB')
        return SourceImage(
            _check_array(np.ascontiguousarray(np.asarray(upright)[..., ::-1]))
        )
    if not isinstance(image, (str, Path)):
        raise ValueError(
            'an image must be a file, an array or an image of '
            f'PIL, got {type(image).__name__}'
        )
    path = require_file(image, 'image')
    try:
        bgr = mmcv.imfrombytes(path.read_bytes(), color_type, backend=backend)
    except (OSError, cv2.error) as error:
        raise ValueError(
            f'{path} can not be read as an image ({error})'
        ) from error
    if bgr is None:
        raise ValueError(f'{path} is damaged or no image')
    return SourceImage(_check_array(bgr, str(path)), str(path))


def _check_array(image: np.ndarray, name: str = 'the image') -> np.ndarray:
    """Return an array if it is BGR uint8 (H, W, 3), and not a mere line.

    Raises:
        ValueError: If it is not.
    """
    if (
        image.dtype != np.uint8
        or image.ndim != 3
        or image.shape[2] != 3
        or 0 in image.shape
    ):
        raise ValueError(
            'an array must be a BGR image, uint8 of the shape (H, W, 3), got '
            f'{image.dtype} of the shape {image.shape}'
        )
    height, width = image.shape[:2]
    if max(height, width) > MAX_ASPECT_RATIO * min(height, width):
        raise ValueError(
            f'{name} has {width} x {height} pixels: more than '
            f'{MAX_ASPECT_RATIO} times as long as wide is too thin for the '
            'network'
        )
    return image
