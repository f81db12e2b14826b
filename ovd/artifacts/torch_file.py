"""Reading files of ``torch.save`` without running what they hold."""

import errno
import pickle
import re
from functools import partial
from typing import Any

import torch

from .files import PathLike
from .numpy_scalars import admit_scalars, asks_for_scalars

COLOURS = re.compile('\x1b\\[[0-9;]*m')
# torch names what is not plain in one of these ways
ASKED_FOR = re.compile(r'(?:GLOBAL|Unsupported class) ([\w.]*\w)')
# Sentences of torch that tell to read the file in a way that runs it
ADVICE = re.compile(
    '`weights_only` |trust|Weights only load failed|documentation|two options'
)


class NotPlainError(ValueError):
    """A file holds more than tensors and plain containers."""


def read_torch_file(path: PathLike, what: str, mmap: bool = False) -> Any:
    """Return what a ``.pth`` or ``.pt`` holds, on the CPU.

    Scalars of NumPy in it become Python's numbers.

    Args:
        path (PathLike): An existing file.
        what (str): What it should hold, for the message.
        mmap (bool): Leave tensors on disk until they are looked at; needs a
            file of torch 1.6 or later. Defaults to False.

    Raises:
        NotPlainError: If it holds more than tensors and plain containers,
            with the class or function that it asks for.
        ValueError: If it is damaged, or no file of ``torch.save``.
        OSError: If it can't be read at all.
    """
    try:
        return _load(path, mmap)
    # Given bytes that are no pickle, the unpickler raises nearly anything.
    except Exception as error:
        # A short file that is cut off makes torch seek to before its start.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        if asked_for := ASKED_FOR.search(str(error)):
            raise NotPlainError(
                f'{path} is not opened, because that could run code: it asks '
                f'for {asked_for[1]}; expected a file of {what} with tensors '
                'and plain containers alone, which checkpoints of other '
                'programs are not\n'
                'whoever trusts it can save its tensors alone, in the '
                'program that wrote it'
            ) from error
        raise ValueError(
            f'{path} is damaged, or no file of {what} as torch.save writes '
            f'it, with tensors and plain containers alone '
            f'({_reason(error)})'
        ) from error


def _load(path: PathLike, mmap: bool) -> Any:
    load = partial(
        torch.load, path, map_location='cpu', weights_only=True, mmap=mmap
    )
    try:
        return load()
    except pickle.UnpicklingError as error:
        if not asks_for_scalars(error):
            raise
    with admit_scalars():
        return load()


def _reason(error: Exception) -> str:
    """Return the error and its message without colours and advice."""
    text = COLOURS.sub('', str(error)).rpartition('WeightsUnpickler error:')[2]
    sentences = re.split(r'(?<=\.)\s+', text.strip())
    kept = [s for s in sentences if s and not ADVICE.search(s)]
    return ' '.join([type(error).__name__ + ':' * bool(kept), *kept])
