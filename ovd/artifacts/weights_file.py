"""Weights of a trained model as safetensors: no pickle, read as they lie."""

from pathlib import Path
from typing import Any, Dict

import numpy as np
import torch
from torch import Tensor

from .files import PathLike
from .tensor_file import BFLOAT16, TensorFile, digest_tensors, write_tensors
from .torch_file import read_torch_file

SUFFIX = '.safetensors'
FORMAT = 'ovd-weights'


def write_weights(
    path: PathLike, state_dict: Dict[str, Tensor], meta: Dict[str, Any]
) -> None:
    """Write weights and what made them, atomically.

    Args:
        path (PathLike): Ends in ``.safetensors``.
        state_dict (dict[str, Tensor]): On any device.
        meta (dict): Anything that JSON can hold.
    """
    arrays = {
        name: _to_array(value.detach().cpu())
        for name, value in state_dict.items()
    }
    write_tensors(
        path,
        arrays,
        dict(format=FORMAT, meta=meta, sha256=digest_tensors(arrays)),
    )


def read_weights(path: PathLike) -> Any:
    """Return what a checkpoint or a file of weights holds, on the CPU.

    Args:
        path (PathLike): A ``.safetensors`` of :func:`write_weights` gives a
            dict with ``state_dict`` and ``meta``; all else is read as a file
            of ``torch.save``.

    Raises:
        ValueError: If it is damaged, holds more than plain content, or is no
            file of weights.
    """
    if Path(path).suffix != SUFFIX:
        return read_torch_file(path, 'weights')
    file = TensorFile(path)
    if file.info.get('format') != FORMAT:
        raise ValueError(
            f'{path} is no file of weights, but of '
            f'{file.info.get("format", "something else")}'
        )
    if file.digest() != file.info['sha256']:
        raise ValueError(
            f'{path} is damaged: its content does not have the '
            'digest that was noted when it was written'
        )
    return dict(
        state_dict={
            # Copied: the view of the file is read-only.
            name: _to_tensor(file.read(name).copy())
            for name in file.names()
        },
        meta=file.info['meta'],
    )


def _to_array(value: Tensor) -> np.ndarray:
    """Return the numbers of a tensor; as bytes where NumPy lacks them."""
    if value.dtype != torch.bfloat16:
        return value.numpy()
    return value.contiguous().view(torch.int16).numpy().view(BFLOAT16)


def _to_tensor(array: np.ndarray) -> Tensor:
    """Return what :func:`_to_array` was given."""
    if array.dtype != BFLOAT16:
        return torch.from_numpy(array)
    return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
