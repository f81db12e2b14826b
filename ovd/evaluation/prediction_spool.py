"""Predictions of one process on disk, image by image, until all are there."""

import os
import tempfile
import weakref
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Iterator, NamedTuple, Optional, Sequence, Union

import msgspec
import numpy as np

from ovd.artifacts.files import NO_ROOM

from .predictions import BLOCK, Predictions

Id = Union[int, str]


class _Record(msgspec.Struct, array_like=True):
    labels: bytes
    scores: bytes
    bboxes: bytes
    masks: Optional[list[dict]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the predictions of an image are in the file of its process.

    Args:
        offset (int): First byte.
        length (int): Number of bytes.
        count (int): Number of predictions.
        name (str): What the image is called.
    """

    offset: int
    length: int
    count: int
    name: str


class Found(NamedTuple):
    """The N predictions of an image.

    Args:
        labels (ndarray): (N,) int32.
        scores (ndarray): (N,) float32.
        bboxes (ndarray): (N, 4) float32, xyxy.
        masks (list[dict], optional): N RLE.
    """

    labels: np.ndarray
    scores: np.ndarray
    bboxes: np.ndarray
    masks: Optional[list[dict]]


class Spool(msgspec.Struct):
    """Where the predictions of one process are.

    Args:
        path (str): The file.
        index (dict[Id, Place]): Image id -> where its predictions are.
        rank (int): The process.
    """

    path: str
    index: dict[Id, Place]
    rank: int


class PredictionSpool:
    """A temporary file that takes predictions as they come.

    It is removed with the object, at the latest when the process ends.

    Args:
        folder (str, optional): Where to put the file; None takes the
            system's folder for temporary files.
    """

    def __init__(self, folder: Optional[str] = None) -> None:
        if folder is not None:
            os.makedirs(folder, exist_ok=True)
        handle, path = tempfile.mkstemp(
            dir=folder, prefix='predictions_', suffix='.tmp'
        )
        self.path = os.path.abspath(path)
        self.index: dict[Id, Place] = {}
        self._file = os.fdopen(handle, 'wb')
        self.remove = weakref.finalize(self, _remove, self._file, self.path)

    def add(
        self,
        image_id: Id,
        labels: np.ndarray,
        scores: np.ndarray,
        bboxes: np.ndarray,
        masks: Optional[list[dict]] = None,
        name: str = '',
    ) -> None:
        """Keep the predictions of one image.

        Args:
            image_id (int | str): Of a second one of the same image (samplers
                repeat some, to give all processes as many) nothing is kept.
            labels (ndarray): (N,) integers.
            scores (ndarray): (N,) floats; kept as float32, as are boxes.
            bboxes (ndarray): (N, 4) floats, xyxy.
            masks (list[dict], optional): N RLE.
            name (str): What the image is called. Defaults to ''.
        """
        if image_id in self.index:
            return
        record = msgspec.msgpack.encode(
            _Record(
                labels.astype(np.int32).tobytes(),
                scores.astype(np.float32).tobytes(),
                bboxes.astype(np.float32).tobytes(),
                masks,
            )
        )
        self.index[image_id] = Place(
            self._file.tell(), len(record), len(scores), name
        )
        with self._room():
            self._file.write(record)

    @contextmanager
    def _room(self) -> Iterator[None]:
        """Say which file a full disk is about, and how to move it."""
        try:
            yield
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            raise OSError(
                error.errno,
                'no room for predictions: set collect_dir of the '
                'metric to a folder with more',
                self.path,
            ) from error

    def finish(self, rank: int = 0) -> Spool:
        """Return where everything is, for another process to read."""
        with self._room():
            self._file.flush()
        return Spool(self.path, self.index, rank)


def _remove(file: IO[bytes], path: str) -> None:
    file.close()
    Path(path).unlink(missing_ok=True)


def find_places(spools: Sequence[Spool]) -> dict[Id, tuple[int, Place]]:
    """Return image id -> position of the spool and place, sorted by id.

    So nothing depends on which process had which image.
    """
    where = {
        image_id: (number, spool.index[image_id])
        for number, spool in reversed([*enumerate(spools)])
        for image_id in spool.index
    }
    return {image_id: where[image_id] for image_id in sorted(where)}


def read_found(spools: Sequence[Spool]) -> Iterator[tuple[Id, Found]]:
    """Yield the ids and predictions of all images, sorted by id.

    Raises:
        FileNotFoundError: If the file of another machine is not seen here.
    """
    files: list[IO[bytes]] = []
    try:
        files += map(_open, spools)
        for image_id, (number, place) in find_places(spools).items():
            files[number].seek(place.offset)
            record = msgspec.msgpack.decode(
                files[number].read(place.length), type=_Record
            )
            yield (
                image_id,
                Found(
                    np.frombuffer(record.labels, np.int32),
                    np.frombuffer(record.scores, np.float32),
                    np.frombuffer(record.bboxes, np.float32).reshape(-1, 4),
                    record.masks,
                ),
            )
    finally:
        for file in files:
            file.close()


def _open(spool: Spool) -> IO[bytes]:
    if not Path(spool.path).is_file():
        raise FileNotFoundError(
            f'process {spool.rank} wrote its predictions to {spool.path}, '
            'which the first process does not see: set collect_dir of the '
            'metric to a folder that all machines share'
        )
    return open(spool.path, 'rb')


def read_spools(
    spools: Sequence[Spool], cat_ids: Sequence[int], num_images: int = BLOCK
) -> Iterator[Predictions]:
    """Yield all predictions in blocks, sorted by image id.

    Args:
        spools (Sequence[Spool]): Of all processes.
        cat_ids (Sequence[int]): Label -> category id.
        num_images (int): Images per block.

    Raises:
        FileNotFoundError: If the file of another machine is not seen here.
    """
    images = read_found(spools)
    while block := [*islice(images, num_images)]:
        yield _join(block, np.asarray(cat_ids))


def _join(
    block: Sequence[tuple[Id, Found]], cat_ids: np.ndarray
) -> Predictions:
    """Return the predictions of these images as columns."""
    image_ids, found = zip(*block)
    bboxes = np.concatenate([one.bboxes for one in found], dtype=np.float64)
    bboxes[:, 2:] -= bboxes[:, :2]
    has_masks = any(one.masks is not None for one in found)
    return Predictions(
        np.repeat(np.asarray(image_ids), [len(one.scores) for one in found]),
        cat_ids[np.concatenate([one.labels for one in found])],
        np.concatenate([one.scores for one in found], dtype=np.float64),
        bboxes,
        [mask for one in found for mask in one.masks or ()]
        if has_masks
        else None,
    )
