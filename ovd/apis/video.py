"""Videos: frames in, and a file that appears when it is whole."""

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator, List, Optional

import cv2
import mmcv
import numpy as np

from ovd.artifacts.files import PathLike

VIDEO_SUFFIXES = (
    '.mp4',
    '.avi',
    '.mov',
    '.mkv',
    '.webm',
    '.m4v',
    '.mpg',
    '.mpeg',
)
CODEC = 'mp4v'  # what OpenCV's wheels can write everywhere
USUAL_FPS = 25.0  # where a file does not say
Write = Callable[[np.ndarray], None]


def is_video(path: PathLike) -> bool:
    """Tell whether a file is called as videos are."""
    path = Path(path)
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()


def open_video(path: PathLike) -> mmcv.VideoReader:
    """Return the host's reader, which yields BGR frames.

    Raises:
        ValueError: If the file is damaged or no video.
    """
    reader = mmcv.VideoReader(str(path))
    if not reader.opened or reader.width <= 0:
        raise ValueError(f'{path} is damaged or no video')
    return reader


def frame_rate(reader: mmcv.VideoReader) -> float:
    """Return the frames per second of a video."""
    return reader.fps if 0 < reader.fps < 1000 else USUAL_FPS


@contextmanager
def atomic_video(path: PathLike, fps: float) -> Iterator[Write]:
    """Give a function that takes RGB frames of one size, for an MP4 file.

    The file is written in a hidden folder beside its place, and moved there
    when all frames are in it; without a frame there is no file.

    Args:
        path (PathLike): Ends in ``.mp4``; missing parent folders are made.
        fps (float): Frames per second.

    Raises:
        OSError: If not all frames got into the file, as on a full disk.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=path.parent, prefix=f'.{path.name}.'
    ) as folder:
        temporary = Path(folder) / path.name
        writer: Optional[cv2.VideoWriter] = None
        written: List[int] = []

        def write(frame: np.ndarray) -> None:
            nonlocal writer
            if writer is None:
                writer = _start(temporary, fps, frame)
            writer.write(np.ascontiguousarray(frame[..., ::-1]))
            written.append(1)

        try:
            yield write
        finally:
            if writer is not None:
                writer.release()
        if writer is not None:
            _check(temporary, len(written), path)
            os.replace(temporary, path)


def _start(path: Path, fps: float, frame: np.ndarray) -> cv2.VideoWriter:
    height, width = frame.shape[:2]
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter.fourcc(*CODEC), fps, (width, height)
    )
    if not writer.isOpened():
        raise OSError(
            f'OpenCV can not write {path.name}, a video of '
            f'{width} x {height} pixels: is the disk full, or its '
            'FFmpeg missing?'
        )
    return writer


def _check(path: Path, written: int, final: Path) -> None:
    """Raise unless all frames are in the file: OpenCV does not say."""
    found = mmcv.VideoReader(str(path)).frame_cnt if path.is_file() else 0
    if found != written:
        raise OSError(
            f'only {found} of {written} frames got into {final}: '
            'is the disk full?'
        )
    with open(path, 'rb') as file:
        os.fsync(file.fileno())
