"""Images that are no whole images: how they are told, named and recorded.

OpenCV 4 gives a JPEG that is cut off a grey lower half and says nothing, and
no decoder minds zeros in place of what was never copied.
"""

import json
import os
import re
from pathlib import Path

import cv2
from PIL import Image

from ovd.artifacts.files import PathLike

if os.name == 'posix':
    import fcntl

# What the host and its decoders raise for files that can't be read
UNREADABLE = (
    OSError,
    AssertionError,
    SyntaxError,
    ValueError,
    cv2.error,
    Image.DecompressionBombError,
)
JPEG, JPEG_END = b'\xff\xd8\xff', b'\xff\xd9'
# Behind coded pixels: a marker that is neither a stuffed zero nor a restart
MARKER = re.compile(rb'\xff[^\x00\xd0-\xd7\xff]')
PNG, PNG_END = b'\x89PNG\r\n\x1a\n', b'IEND'


class BrokenImageError(ValueError):
    """An image file can't be used.

    Args:
        message (str): What the user is told. PyTorch makes it of one of a
            worker with nothing but this.
        path (str): The file.
        reason (str): Why.
    """

    def __init__(self, message: str, path: str = '', reason: str = '') -> None:
        super().__init__(message, path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return self.args[0]


def broken(path: str, reason: str) -> BrokenImageError:
    """Return the error for a file that can't be used."""
    return BrokenImageError(
        f'{path} cannot be used: {reason}\nmend or replace it, or go on '
        'without such images by --skip-broken',
        path,
        reason,
    )


def describe_error(error: Exception) -> str:
    """Return why an image is broken, in the same words in every run."""
    if isinstance(error, BrokenImageError):
        return error.reason
    text = re.sub(r' <[^>]* at 0x[0-9a-f]+>', '', str(error))
    return f'{type(error).__name__}: {text}'


def is_cut_off(content: bytes) -> bool:
    """Whether the content of a JPEG or PNG file lacks its end.

    What follows the end is no matter: some cameras append a film. Most files
    are settled by their last bytes; those of other kinds are never cut off.
    """
    if content.startswith(JPEG):
        return not (content.endswith(JPEG_END) or _has_jpeg_end(content))
    if content.startswith(PNG):
        return PNG_END not in content[-12:] and not _has_png_end(content)
    return False


def _has_jpeg_end(content: bytes) -> bool:
    """Go from marker to marker: a thumbnail inside has an end, too."""
    place = 2
    while found := MARKER.search(content, place):
        marker, place = content[found.start() + 1], found.end()
        if marker == JPEG_END[1]:
            return True
        if marker != 1:  # which has no length
            place += int.from_bytes(content[place : place + 2], 'big')
    return False


def _has_png_end(content: bytes) -> bool:
    """Go from chunk to chunk."""
    place = len(PNG)
    while place + 8 <= len(content):
        if content[place + 4 : place + 8] == PNG_END:
            return True
        # besides the data: length, name, checksum
        place += 12 + int.from_bytes(content[place : place + 4], 'big')
    return False


def record_broken(file: PathLike, image: str, reason: str) -> None:
    """Add a line of JSON for an image, unless it has one.

    Args:
        file (PathLike): Of the lines; other processes may add theirs.
        image (str): Path of the image.
        reason (str): Why it can't be used.
    """
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    with open(file, 'a+', encoding='utf-8') as lines:
        if os.name == 'posix':
            fcntl.flock(lines, fcntl.LOCK_EX)  # until it is closed
        lines.seek(0)
        # A process that was killed may have left half a line.
        start = json.dumps(dict(image=image))[:-1] + ','
        if not any(line.startswith(start) for line in lines):
            lines.write(json.dumps(dict(image=image, reason=reason)) + '\n')
