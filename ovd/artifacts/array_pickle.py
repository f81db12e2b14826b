"""Read pickles that hold NumPy arrays, and run nothing that they say.

A pickle is a program. This reader knows the handful of names that arrays,
``dict``-like containers and mmengine's ``InstanceData`` are pickled with, and
puts inert classes of its own behind them: neither NumPy's nor mmengine's
unpickling code sees the file. Any other name raises.
"""

import pickle
import reprlib
from typing import IO, Any, Callable, Dict, Literal, Tuple

import numpy as np

_ARRAY_MODULES = ('numpy.core.multiarray', 'numpy._core.multiarray')
_NUMERIC_MODULES = ('numpy.core.numeric', 'numpy._core.numeric')
_BUILTIN_MODULES = ('builtins', '__builtin__')


class _Function:
    """Makes a function a stand-in that a pickle can call, not change.

    What a pickle builds upon, it writes to: to defaults, say, which would
    stay for the next file.
    """

    __slots__ = ('_function',)

    def __init__(self, function: Callable) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError('it writes to a function')


class _Instances:
    """Stands for ``InstanceData``; its state is a dict of fields."""

    def __setstate__(self, state: Dict[str, Any]) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError('malformed InstanceData')
        names = state.get('_data_fields', ())
        self.fields = {name: state[name] for name in names}


class DTypeStandIn:
    """Stands for ``numpy.dtype``: a kind, a size and a byte order."""

    def __init__(self, code: str, *flags: Any) -> None:
        if not isinstance(code, str) or code[:1] not in 'fiub':
            raise pickle.UnpicklingError(
                f'arrays of type {reprlib.repr(code)} are not admitted, '
                'numbers only'
            )
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Tuple) -> None:
        if state[1] in ('<', '>'):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for ``numpy.ndarray``; filled by ``__setstate__``."""

    view: np.ndarray  # of the bytes in the pickle, until `detach`

    def __setstate__(self, state: Tuple) -> None:
        _, shape, dtype, is_fortran, data = state
        self.fill(data, dtype, shape, 'F' if is_fortran else 'C')

    def fill(
        self,
        data: bytes,
        dtype: DTypeStandIn,
        shape: Tuple[int, ...],
        order: Literal['C', 'F'],
    ) -> None:
        """Show raw bytes as an array."""
        self.view = np.frombuffer(data, dtype.dtype).reshape(
            shape, order=order
        )

    def detach(self) -> np.ndarray:
        """Return the array in memory of its own, the same one each time."""
        if not self.view.flags.owndata:
            self.view = self.view.copy()
        return self.view


@_Function
def _reconstruct(subtype: type, shape: Tuple, code: bytes) -> _Array:
    """Stands for the function that makes the array which is filled next."""
    if subtype is not _Array:
        raise pickle.UnpicklingError('an array of a foreign class')
    return _Array()


@_Function
def _frombuffer(
    data: bytes,
    dtype: DTypeStandIn,
    shape: Tuple[int, ...],
    order: Literal['C', 'F'],
) -> _Array:
    """Stands for the function that protocol 5 makes arrays with."""
    made = _Array()
    made.fill(data, dtype, shape, order)
    return made


@_Function
def _encode(text: str, encoding: str) -> bytes:
    """Stands for ``_codecs.encode``, with which protocol 2 writes bytes."""
    if encoding != 'latin1':
        raise pickle.UnpicklingError(
            f'bytes encoded as {reprlib.repr(encoding)}'
        )
    return text.encode('latin1')


@_Function
def _no_bytes() -> bytes:
    """Stands for ``bytes``, called without arguments by protocol 2."""
    return b''


_ADMITTED: Dict[Tuple[str, str], Callable] = {
    ('numpy', 'ndarray'): _Array,
    ('numpy', 'dtype'): DTypeStandIn,
    ('_codecs', 'encode'): _encode,
    ('mmengine.structures.instance_data', 'InstanceData'): _Instances,
    **{(module, '_reconstruct'): _reconstruct for module in _ARRAY_MODULES},
    **{(module, '_frombuffer'): _frombuffer for module in _NUMERIC_MODULES},
    **{(module, 'set'): _Function(set) for module in _BUILTIN_MODULES},
    **{(module, 'bytes'): _no_bytes for module in _BUILTIN_MODULES},
}


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler that finds admitted names only, and imports nothing."""

    def find_class(self, module: str, name: str) -> Callable:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f'it asks for {module}.{name}; only NumPy arrays and '
                'InstanceData are admitted'
            ) from None


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
        return _unwrap(_ArrayUnpickler(file).load(), {})
    except (
        pickle.UnpicklingError,
        ArithmeticError,
        AttributeError,
        EOFError,
        ImportError,
        LookupError,
        MemoryError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise ValueError(
            f'not a readable pickle of arrays: {error}'
        ) from error


def _unwrap(value: Any, seen: Dict[int, Tuple[Any, Any]]) -> Any:
    """Replace the stand-ins by what they stand for, in containers too.

    One by one in their places, so that no two copies of all are in memory.

    Args:
        value (Any): What was read.
        seen (dict): Id of a container -> itself, so that the id stays its
            own, and what it became: each is unwrapped once, however many
            others share it. None as long as that goes on.
    """
    if isinstance(value, _Array):
        return value.detach()
    if isinstance(value, _Instances):
        value = value.fields
    if not isinstance(value, (dict, list, tuple)):
        return value
    if id(value) not in seen:
        seen[id(value)] = value, None
        seen[id(value)] = value, _unwrap_items(value, seen)
    _, found = seen[id(value)]
    if found is None:
        raise ValueError(f'a {type(value).__name__} contains itself')
    return found


def _unwrap_items(value: Any, seen: Dict[int, Tuple[Any, Any]]) -> Any:
    """Return a container, the same one if it can be changed."""
    if isinstance(value, tuple):
        return tuple(_unwrap(item, seen) for item in value)
    for key in value if isinstance(value, dict) else range(len(value)):
        value[key] = _unwrap(value[key], seen)
    return value
