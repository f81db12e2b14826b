"""Safetensors files with one JSON object of our own in their header.

The form (https://github.com/huggingface/safetensors): the header's length as
8 bytes, little-endian; the header, JSON with the dtype, shape and place of
each array; then the arrays, end to end. The `safetensors` library copies all
of them into one string before it writes, and out of the file when it reads.
Here arrays go straight to the file, and are views of it when they are read:
a machine needs no memory for what nobody looks at.
"""

import hashlib
import json
import mmap
from pathlib import Path
from typing import Any, BinaryIO, Dict, List, NamedTuple, Tuple

import numpy as np

from .files import PathLike, atomic_write

# Where safetensors have strings of the user's: one holds all of ours
_METADATA, _METADATA_KEY = '__metadata__', 'ovd'
DTYPES = {
    'BOOL': '?',
    'U8': 'u1',
    'I8': 'i1',
    'U16': '<u2',
    'I16': '<i2',
    'U32': '<u4',
    'I32': '<i4',
    'U64': '<u8',
    'I64': '<i8',
    'F16': '<f2',
    'F32': '<f4',
    'F64': '<f8',
}
# NumPy has no bfloat16: to it they are two bytes, and no number
BFLOAT16 = np.dtype('V2')
_DTYPES = {name: np.dtype(dtype) for name, dtype in DTYPES.items()}
_DTYPES['BF16'] = BFLOAT16
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
MAX_HEADER = 100_000_000  # The library refuses larger ones
BLOCK = 1 << 20


class _Array(NamedTuple):
    """Place of an array in a file: bytes ``start`` to ``stop``."""

    dtype: np.dtype
    shape: Tuple[int, ...]
    start: int
    stop: int


def write_tensors(
    path: PathLike, arrays: Dict[str, np.ndarray], info: Dict[str, Any]
) -> None:
    """Write arrays and a JSON object atomically; same content, same bytes.

    Args:
        path (PathLike): Ends in ``.safetensors``.
        arrays (dict[str, ndarray]): What to store; what is contiguous is not
            copied.
        info (dict): Anything that JSON can hold.

    Raises:
        ValueError: If an array is of a dtype that safetensors lack.
    """
    header = encode_header(arrays, info)
    with atomic_write(path) as file:
        file.write(header)
        for name in file_order(arrays):
            file.write(_raw(arrays[name]))


def file_order(arrays: Dict[str, np.ndarray]) -> List[str]:
    """Return the names of arrays in the order in which they are written.

    The widest numbers come first, so that each array begins at a multiple of
    its item's size.
    """
    return sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))


def encode_header(
    arrays: Dict[str, np.ndarray], info: Dict[str, Any]
) -> bytes:
    """Return what stands in a file before its arrays."""
    header: Dict[str, Any] = {
        _METADATA: {_METADATA_KEY: json.dumps(info, sort_keys=True)}
    }
    stop = 0
    for name in file_order(arrays):
        array = arrays[name]
        dtype = array.dtype.newbyteorder('<')
        if dtype not in _NAMES:
            known = ', '.join(map(str, map(np.dtype, DTYPES.values())))
            raise ValueError(
                f'array "{name}" is of dtype {array.dtype}, '
                f'expected one of {known}'
            )
        start, stop = stop, stop + array.nbytes
        header[name] = dict(
            dtype=_NAMES[dtype], shape=array.shape, data_offsets=[start, stop]
        )
    text = json.dumps(header, sort_keys=True, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise ValueError(
            f'a header of {len(text):,} bytes is too large: '
            f'safetensors have {MAX_HEADER:,} at most'
        )
    return len(text).to_bytes(8, 'little') + text


def digest_tensors(arrays: Dict[str, np.ndarray]) -> str:
    """Return the SHA-256 of the arrays' bytes, as a file has them."""
    digest = hashlib.sha256()
    for name in file_order(arrays):
        digest.update(_raw(arrays[name]))
    return digest.hexdigest()


def _raw(array: np.ndarray) -> memoryview:
    """Return the bytes of an array as they are in the file."""
    dtype = array.dtype.newbyteorder('<')
    flat = np.ascontiguousarray(array, dtype).reshape(-1)
    return flat.view(np.uint8).data


class TensorFile:
    """An open, memory-mapped safetensors file.

    Only the header is read at first. Processes, forked or spawned, may share
    one: a copy sent to another process opens the file there.

    Args:
        path (PathLike): The file.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If it is damaged or was not written by this module, with
            what is wrong.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        with open(path, 'rb') as file:
            try:
                header, self._start = _read_header(file)
            except ValueError as error:
                raise ValueError(
                    f'{path} is damaged or no safetensors file ({error})'
                ) from error
            self.info = self._read_info(header.pop(_METADATA, {}))
            self._layout = {
                name: self._place(name, entry)
                for name, entry in header.items()
            }
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        # A view keeps the mapping alive, whatever becomes of this object
        content = np.frombuffer(mapped, np.uint8)
        self._arrays: Dict[str, np.ndarray] = {
            name: content[item.start : item.stop]
            .view(item.dtype)
            .reshape(item.shape)
            for name, item in self._layout.items()
        }

    def __reduce__(self) -> Tuple[type, Tuple[Path]]:
        return type(self), (self.path,)

    def _read_info(self, metadata: Any) -> Dict[str, Any]:
        if not isinstance(metadata, dict) or _METADATA_KEY not in metadata:
            raise ValueError(
                f'{self.path} was not written by ovd: its header has no entry '
                f'"{_METADATA_KEY}"'
            )
        try:
            info = json.loads(metadata[_METADATA_KEY])
        except (TypeError, ValueError) as error:
            raise ValueError(
                f'{self.path} is damaged: the entry '
                f'"{_METADATA_KEY}" of its header is no JSON '
                f'({error})'
            ) from error
        if not isinstance(info, dict):
            raise ValueError(
                f'{self.path} is damaged: the entry '
                f'"{_METADATA_KEY}" of its header is no object'
            )
        return info

    def _place(self, name: str, entry: Dict[str, Any]) -> _Array:
        """Return where an array is; its size must be that of its shape."""
        if entry['dtype'] not in _DTYPES:
            raise ValueError(
                f'{self.path}: array "{name}" is of dtype '
                f'{entry["dtype"]!r}, expected one of '
                f'{", ".join(_DTYPES)}'
            )
        dtype = _DTYPES[entry['dtype']]
        start, stop = (
            self._start + offset for offset in entry['data_offsets']
        )
        shape = tuple(entry['shape'])
        # Python's numbers, which don't overflow
        size = dtype.itemsize
        for side in shape:
            size *= side
        if stop - start != size:
            raise ValueError(
                f'{self.path} is damaged: array "{name}" of shape {shape} and '
                f'dtype {entry["dtype"]} has {stop - start} bytes, expected '
                f'{size}'
            )
        return _Array(dtype, shape, start, stop)

    def names(self) -> List[str]:
        """Return the names of all arrays."""
        return list(self._arrays)

    def read(self, name: str) -> np.ndarray:
        """Return a whole array: a read-only view of the file."""
        self._require(name)
        return self._arrays[name]

    def read_rows(self, name: str, start: int, stop: int) -> np.ndarray:
        """Return rows ``start`` to ``stop`` without reading the others."""
        self._require(name)
        return self._arrays[name][start:stop]

    def shape(self, name: str) -> Tuple[int, ...]:
        """Return the shape of an array without reading it."""
        self._require(name)
        return self._arrays[name].shape

    def digest(self) -> str:
        """Return :func:`digest_tensors` of the content.

        The file is read, not mapped: a disk that fails then is an OSError,
        where a view ends the process.
        """
        digest = hashlib.sha256()
        with open(self.path, 'rb') as file:
            file.seek(self._start)
            while block := file.read(BLOCK):
                digest.update(block)
        return digest.hexdigest()

    def _require(self, name: str) -> None:
        if name not in self._arrays:
            raise ValueError(
                f'{self.path} has no array "{name}", only '
                f'{", ".join(sorted(self._arrays))}'
            )


def _read_header(file: BinaryIO) -> Tuple[Dict[str, Any], int]:
    """Return the header of a file and where its arrays begin.

    Raises:
        ValueError: If it is no header, or the file has another length than
            it says.
    """
    size = file.seek(0, 2)
    file.seek(0)
    length = int.from_bytes(file.read(8), 'little')
    if size < 8 or length > min(size - 8, MAX_HEADER):
        raise ValueError(
            f'a header of {length:,} bytes in a file of {size:,}'
            if size >= 8
            else f'it has {size} bytes'
        )
    text = file.read(length)
    try:
        header = json.loads(text.decode('utf-8'))
    except ValueError as error:
        raise ValueError(f'its header is no JSON: {error}') from error
    except RecursionError as error:
        raise ValueError('its header is nested too deeply') from error
    if not isinstance(header, dict):
        raise ValueError('its header is no object')
    places = []
    for name, entry in header.items():
        if name != _METADATA:
            if not _is_entry(entry):
                raise ValueError(f'its header has a wrong entry of "{name}"')
            places.append((*entry['data_offsets'], name))
    _check_places(sorted(places), size - 8 - length)
    return header, 8 + length


def _is_entry(entry: Any) -> bool:
    """Whether an entry of a header has the three parts that it needs."""
    return (
        isinstance(entry, dict)
        and isinstance(entry.get('dtype'), str)
        and _are_sizes(entry.get('shape'))
        and _are_sizes(entry.get('data_offsets'))
        and len(entry['data_offsets']) == 2
    )


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(
        type(value) is int and value >= 0 for value in values
    )


def _check_places(places: List[Tuple[int, int, str]], size: int) -> None:
    """Raise unless arrays, in order, fill ``size`` bytes without a hole."""
    end = 0
    for start, stop, name in places:
        if start != end or stop < start:
            raise ValueError(
                f'array "{name}" has bytes {start} to {stop} of '
                f'its content, expected them from {end} on'
            )
        end = stop
    if end != size:
        raise ValueError(
            f'its arrays have {end:,} bytes, the file has {size:,} for them'
        )
