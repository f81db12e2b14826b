"""Reading files of ``torch.save`` without running what they hold."""
import errno
from typing import Any

import torch

from .files import PathLike


def read_torch_file(path: PathLike, what: str) -> Any:
    """Return what a ``.pth`` or ``.pt`` holds, on the CPU.

    Args:
        path (PathLike): An existing file.
        what (str): What it should hold, for the message.

    Raises:
        ValueError: If it is damaged, no file of ``torch.save``, or holds
            more than tensors and plain containers.
        OSError: If it can't be read at all.
    """
    try:
        return torch.load(path, map_location='cpu', weights_only=True)
    # Given bytes that are no pickle, the unpickler raises nearly anything.
    except Exception as error:
        # A short file that is cut off makes torch seek to before its start.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise ValueError(
            f'{path} is damaged, or no file of {what} as torch.save writes '
            f'it, with tensors and plain containers alone '
            f'({type(error).__name__}: {error})') from error
