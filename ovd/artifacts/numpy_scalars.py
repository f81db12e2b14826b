"""Scalars of NumPy in files of ``torch.save``, as Python's numbers.

Programs that compute their metrics with NumPy leave them in checkpoints, and
torch opens no such file unless it may call NumPy's functions, which would let
the file have arrays of objects made. Stand-ins take their places.
"""

import pickle
import re
from contextlib import AbstractContextManager
from typing import Union

import numpy as np
import torch

from .array_pickle import DTypeStandIn

# torch names what it does not admit, with this before
_ASKED_FOR = re.compile(r'GLOBAL (numpy(?:\.\w+)*)')


class _DType(DTypeStandIn):
    """The one of numbers, under the name by which torch finds it."""

    __module__, __qualname__ = 'numpy', 'dtype'


class _Scalar:
    """Stands for the function that makes a scalar.

    Args:
        module (str): Where NumPy has it: versions differ.
    """

    def __init__(self, module: str) -> None:
        self.__module__, self.__qualname__ = module, 'scalar'

    def __call__(self, dtype: _DType, data: bytes) -> Union[float, int, bool]:
        """Return the number that bytes are."""
        return np.frombuffer(data, dtype.dtype).item()


_STAND_INS = (
    _DType,
    _Scalar('numpy.core.multiarray'),
    _Scalar('numpy._core.multiarray'),
)
_NAMES = {f'{item.__module__}.{item.__qualname__}' for item in _STAND_INS}


def asks_for_scalars(error: pickle.UnpicklingError) -> bool:
    """Whether torch opens no file because of a scalar of NumPy."""
    found = _ASKED_FOR.search(str(error))
    return found is not None and found[1] in _NAMES


def admit_scalars() -> AbstractContextManager:
    """Return a context in which torch reads them, and as Python's numbers."""
    return torch.serialization.safe_globals(list(_STAND_INS))
