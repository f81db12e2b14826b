"""Reading the weights of TorchScript archives without running them.

An archive is a program: ``torch.jit.load`` runs the ``__setstate__`` of its
classes, which may write files. Here its ``data.pkl`` is read with inert
stand-ins for all that it names, and its code is left alone.
"""

import pickle
import zipfile
from typing import IO, Any, Dict, Tuple

import torch
from torch import Tensor

from .files import PathLike
from .torch_file import NotPlainError

_DTYPES = {
    'BFloat16Storage': torch.bfloat16,
    'BoolStorage': torch.bool,
    'ByteStorage': torch.uint8,
    'CharStorage': torch.int8,
    'DoubleStorage': torch.float64,
    'FloatStorage': torch.float32,
    'HalfStorage': torch.float16,
    'IntStorage': torch.int32,
    'LongStorage': torch.int64,
    'ShortStorage': torch.int16,
}


class _NotAdmitted(pickle.UnpicklingError):
    """The pickle asks for something that could run."""


class _Module:
    """Stands for an instance of any class of the archive."""

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise _NotAdmitted('a __setstate__ of its own')
        self.attributes = state


class _Tensor:
    """Stands for ``torch._utils._rebuild_tensor_v2``."""

    def __init__(
        self,
        storage: Tensor,
        offset: int,
        size: Tuple[int, ...],
        stride: Tuple[int, ...],
        *_: Any,
    ) -> None:
        self.value = storage.as_strided(size, stride, offset)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError('a tensor with a state')


class _Ignored:
    """Stands for what says nothing about weights: hooks, lists, types."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class _Unpickler(pickle.Unpickler):
    """Finds stand-ins only, and imports nothing."""

    def __init__(
        self, file: IO[bytes], archive: zipfile.ZipFile, root: str
    ) -> None:
        super().__init__(file)
        self._archive, self._root = archive, root
        self._storages: Dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == '__torch__' or module.startswith('__torch__.'):
            return _Module
        if module == 'torch' and name in _DTYPES:
            return name
        if (module, name) == ('torch._utils', '_rebuild_tensor_v2'):
            return _Tensor
        if (module, name) == (
            'collections',
            'OrderedDict',
        ) or module == 'torch.jit._pickle':
            return _Ignored
        raise _NotAdmitted(f'{module}.{name}')

    def persistent_load(self, pid: Any) -> Tensor:
        """Return the numbers of a storage, flat."""
        _, kind, key, _, _ = pid
        if key not in self._storages:
            content = self._archive.read(f'{self._root}data/{key}')
            self._storages[key] = (
                torch.frombuffer(bytearray(content), dtype=_DTYPES[kind])
                if content
                else torch.empty(0, dtype=_DTYPES[kind])
            )
        return self._storages[key]


def read_torchscript(path: PathLike) -> Dict[str, Tensor]:
    """Return the tensors of a TorchScript archive by their names in it.

    Args:
        path (PathLike): An existing archive of ``torch.jit.save``.

    Raises:
        NotPlainError: If restoring it would run code, with what.
        ValueError: If it is damaged.
    """
    found: Dict[str, Tensor] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(
                name
                for name in archive.namelist()
                if name.endswith('/data.pkl')
            )
            with archive.open(name) as file:
                root = name.removesuffix('data.pkl')
                content = _Unpickler(file, archive, root).load()
            _collect(content, '', found)
    except _NotAdmitted as error:
        raise NotPlainError(
            f'{path} is not opened, because that could run code: it asks for '
            f'{error}; expected a TorchScript archive of a model whose '
            'attributes are tensors and modules alone\n'
            'whoever trusts it can save its state_dict(), in the program '
            'that wrote it'
        ) from error
    # Given bytes that are no pickle, the unpickler raises nearly anything.
    except Exception as error:
        raise ValueError(
            f'{path} is damaged, or no TorchScript archive '
            f'({type(error).__name__}: {error})'
        ) from error
    return found


def _collect(value: Any, prefix: str, found: Dict[str, Tensor]) -> None:
    """Put the tensors of a module and of those in it into ``found``."""
    if not isinstance(value, _Module):
        return
    for name, item in value.attributes.items():
        if isinstance(item, _Tensor):
            found[f'{prefix}{name}'] = item.value.clone()
        _collect(item, f'{prefix}{name}.', found)
