"""Predictions of one process on disk, image by image, until all are there."""
import os
import tempfile
import weakref
from pathlib import Path
from typing import Iterable, Iterator, Optional, Sequence, Union

import msgspec
import numpy as np

from .predictions import BLOCK, Predictions

Id = Union[int, str]


class _Record(msgspec.Struct, array_like=True):
    labels: bytes
    scores: bytes
    bboxes: bytes
    masks: Optional[list[dict]]


class Spool(msgspec.Struct):
    """Where the predictions of one process are.

    Args:
        path (str): The file.
        index (dict): Image id -> offset and length of its record.
        rank (int): The process.
    """

    path: str
    index: dict[Id, tuple[int, int]]
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
            dir=folder, prefix='predictions_', suffix='.tmp')
        self.path = os.path.abspath(path)
        self.index: dict[Id, tuple[int, int]] = {}
        self._file = os.fdopen(handle, 'wb')
        self.remove = weakref.finalize(self, _remove, self._file, self.path)

    def add(self,
            image_id: Id,
            labels: np.ndarray,
            scores: np.ndarray,
            bboxes: np.ndarray,
            masks: Optional[list[dict]] = None) -> None:
        """Keep the predictions of one image.

        Args:
            image_id (int | str): Of a second one of the same image (samplers
                repeat some, to give all processes as many) nothing is kept.
            labels (ndarray): (N,) integers.
            scores (ndarray): (N,) floats.
            bboxes (ndarray): (N, 4) floats, xywh.
            masks (list[dict], optional): N RLE.
        """
        if image_id in self.index:
            return
        record = msgspec.msgpack.encode(
            _Record(
                labels.astype(np.int64).tobytes(),
                scores.astype(np.float64).tobytes(),
                bboxes.astype(np.float64).tobytes(), masks))
        self.index[image_id] = (self._file.tell(), len(record))
        self._file.write(record)

    def finish(self, rank: int = 0) -> Spool:
        """Return where everything is, for another process to read."""
        self._file.flush()
        return Spool(self.path, self.index, rank)


def _remove(file, path: str) -> None:
    file.close()
    Path(path).unlink(missing_ok=True)


def read_spools(spools: Sequence[Spool],
                cat_ids: Sequence[int],
                num_images: int = BLOCK) -> Iterator[Predictions]:
    """Yield all predictions in blocks, sorted by image id.

    So the result does not depend on which process had which image.

    Args:
        spools (Sequence[Spool]): Of all processes.
        cat_ids (Sequence[int]): Label -> category id.
        num_images (int): Images per block.

    Raises:
        FileNotFoundError: If the file of another machine is not seen here.
    """
    for spool in spools:
        if not Path(spool.path).is_file():
            raise FileNotFoundError(
                f'process {spool.rank} wrote its predictions to {spool.path},'
                ' which the first process does not see: set collect_dir of '
                'the metric to a folder that all machines share')
    where = {
        image_id: (spool.path, *place)
        for spool in reversed(spools)
        for image_id, place in spool.index.items()
    }
    image_ids = sorted(where)
    files = {spool.path: open(spool.path, 'rb') for spool in spools}
    try:
        for start in range(0, len(image_ids), num_images):
            yield _read(files, where, image_ids[start:start + num_images],
                        np.asarray(cat_ids))
    finally:
        for file in files.values():
            file.close()


def _read(files: dict, where: dict, image_ids: Iterable[Id],
          cat_ids: np.ndarray) -> Predictions:
    """Read the records of these images as one block."""
    records = []
    for image_id in image_ids:
        path, offset, length = where[image_id]
        files[path].seek(offset)
        records.append(
            msgspec.msgpack.decode(files[path].read(length), type=_Record))
    labels, scores, bboxes = (
        np.concatenate([
            np.frombuffer(getattr(record, name), dtype) for record in records
        ]) for name, dtype in (('labels', np.int64), ('scores', np.float64),
                               ('bboxes', np.float64)))
    has_masks = any(record.masks is not None for record in records)
    return Predictions(
        np.repeat(
            np.asarray(image_ids),
            [len(record.scores) // 8 for record in records]), cat_ids[labels],
        scores, bboxes.reshape(-1, 4),
        [mask for record in records
         for mask in record.masks or ()] if has_masks else None)
