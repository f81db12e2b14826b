"""Read pickles that hold NumPy arrays, and run nothing that they say.

A pickle is a program. This reader knows the handful of names that arrays,
``dict``-like containers and mmengine's ``InstanceData`` are pickled with, and
puts inert classes of its own behind them: neither NumPy's nor mmengine's
unpickling code sees the file. Any other name raises.
"""
import pickle
from typing import IO, Any, Callable, Dict, Tuple

import numpy as np

_ARRAY_MODULES = ('numpy.core.multiarray', 'numpy._core.multiarray')
_NUMERIC_MODULES = ('numpy.core.numeric', 'numpy._core.numeric')
_BUILTIN_MODULES = ('builtins', '__builtin__')


class _Instances:
    """Stands for ``InstanceData``; its state is a dict of fields."""

    def __setstate__(self, state: Dict[str, Any]) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError('malformed InstanceData')
        names = state.get('_data_fields', ())
        self.fields = {name: state[name] for name in names}


class _DType:
    """Stands for ``numpy.dtype``: a kind, a size and a byte order."""

    def __init__(self, code: str, *flags: Any) -> None:
        if not isinstance(code, str) or code[:1] not in 'fiub':
            raise pickle.UnpicklingError(
                f'arrays of type {code!r} are not admitted, numbers only')
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Tuple) -> None:
        if state[1] in ('<', '>'):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for ``numpy.ndarray``; filled by ``__setstate__``."""

    view: np.ndarray  # of the bytes in the pickle

    def __setstate__(self, state: Tuple) -> None:
        _, shape, dtype, is_fortran, data = state
        self.fill(data, dtype, shape, 'F' if is_fortran else 'C')

    def fill(self, data: bytes, dtype: _DType, shape: Tuple[int, ...],
             order: str) -> None:
        """Show raw bytes as an array."""
        self.view = np.frombuffer(data, dtype.dtype).reshape(
            shape, order=order)


def _reconstruct(subtype: type, shape: Tuple, code: bytes) -> _Array:
    """Stands for the function that makes the array which is filled next."""
    if subtype is not _Array:
        raise pickle.UnpicklingError('an array of a foreign class')
    return _Array()


def _frombuffer(data: bytes, dtype: _DType, shape: Tuple[int, ...],
                order: str) -> _Array:
    """Stands for the function that protocol 5 makes arrays with."""
    made = _Array()
    made.fill(data, dtype, shape, order)
    return made


def _encode(text: str, encoding: str) -> bytes:
    """Stands for ``_codecs.encode``, with which protocol 2 writes bytes."""
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'bytes encoded as {encoding!r}')
    return text.encode('latin1')


def _no_bytes() -> bytes:
    """Stands for ``bytes``, called without arguments by protocol 2."""
    return b''


_ADMITTED: Dict[Tuple[str, str], Callable] = {
    ('numpy', 'ndarray'): _Array,
    ('numpy', 'dtype'): _DType,
    ('_codecs', 'encode'): _encode,
    ('mmengine.structures.instance_data', 'InstanceData'): _Instances,
    **{(module, '_reconstruct'): _reconstruct
       for module in _ARRAY_MODULES},
    **{(module, '_frombuffer'): _frombuffer
       for module in _NUMERIC_MODULES},
    **{(module, 'set'): set
       for module in _BUILTIN_MODULES},
    **{(module, 'bytes'): _no_bytes
       for module in _BUILTIN_MODULES},
}


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler that finds admitted names only, and imports nothing."""

    def find_class(self, module: str, name: str) -> Callable:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f'it asks for {module}.{name}; only NumPy arrays and '
                'InstanceData are admitted') from None


def load_arrays(file: IO[bytes]) -> Any:
    """Read the next pickle of an open file.

    Args:
        file (IO[bytes]): Positioned at the pickle; left behind it.

    Returns:
        Any: Containers, numbers and strings as they were; arrays as
        ``numpy.ndarray``; an ``InstanceData`` as the dict of its fields.

    Raises:
        ValueError: If it is damaged or holds anything else, naming what.
    """
    try:
        return _unwrap(_ArrayUnpickler(file).load())
    except (pickle.UnpicklingError, ArithmeticError, AttributeError, EOFError,
            ImportError, LookupError, MemoryError, RecursionError, TypeError,
            ValueError) as error:
        raise ValueError(
            f'not a readable pickle of arrays: {error}') from error


def _unwrap(value: Any) -> Any:
    """Replace the stand-ins by what they stand for, in containers too.

    One by one in their places, so that no two copies of all are in memory.
    """
    if isinstance(value, _Array):
        return value.view.copy()
    if isinstance(value, _Instances):
        return _unwrap(value.fields)
    if isinstance(value, tuple):
        return tuple(map(_unwrap, value))
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            value[key] = _unwrap(value[key])
    return value
