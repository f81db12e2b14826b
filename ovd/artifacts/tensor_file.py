"""Safetensors files with one JSON object of our own in their header."""
import json
from pathlib import Path
from typing import Any, Dict

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from .files import PathLike, atomic_write

# One key only: safetensors writes several in an order that changes from run
# to run, and equal content must give equal bytes.
_METADATA_KEY = 'ovd'


def write_tensors(path: PathLike, arrays: Dict[str, np.ndarray],
                  info: Dict[str, Any]) -> None:
    """Write arrays and a JSON object atomically; same content, same bytes.

    Args:
        path (PathLike): Ends in ``.safetensors``.
        arrays (dict[str, ndarray]): What to store.
        info (dict): Anything that JSON can hold.
    """
    contiguous = {
        name: np.ascontiguousarray(array)
        for name, array in arrays.items()
    }
    text = json.dumps(info, sort_keys=True)
    with atomic_write(path) as file:
        file.write(save(contiguous, metadata={_METADATA_KEY: text}))


class TensorFile:
    """An open, memory-mapped safetensors file.

    Args:
        path (PathLike): The file.

    Raises:
        ValueError: If it is damaged or was not written by this module.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        try:
            self._file = safe_open(str(path), framework='numpy')
        except SafetensorError as error:
            raise ValueError(
                f'{path} is damaged or no safetensors file ({error})'
            ) from error
        metadata = self._file.metadata() or {}
        if _METADATA_KEY not in metadata:
            raise ValueError(
                f'{path} was not written by ovd: its header has no entry '
                f'"{_METADATA_KEY}"')
        self.info: Dict[str, Any] = json.loads(metadata[_METADATA_KEY])
        self._names = set(self._file.keys())

    def read(self, name: str) -> np.ndarray:
        """Return a whole array."""
        self._require(name)
        return self._file.get_tensor(name)

    def read_rows(self, name: str, start: int, stop: int) -> np.ndarray:
        """Return rows ``start`` to ``stop`` without reading the others."""
        self._require(name)
        rows = self._file.get_slice(name)
        if rows.get_shape()[0] == 0:
            return self._file.get_tensor(name)
        # safetensors refuses no rows behind the last one.
        return rows[start:stop] if start < stop else rows[0:0]

    def shape(self, name: str) -> tuple:
        """Return the shape of an array without reading it."""
        self._require(name)
        return tuple(self._file.get_slice(name).get_shape())

    def _require(self, name: str) -> None:
        if name not in self._names:
            raise ValueError(
                f'{self.path} has no array "{name}", only '
                f'{", ".join(sorted(self._names))}')
