"""Whole files or none: atomic writing, digests, and files that must exist."""

import errno
import hashlib
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Iterator, Optional, Union

from ovd.suggest import did_you_mean

PathLike = Union[str, os.PathLike]
# The disk is full, the quota is used up, the file is larger than allowed
NO_ROOM = {
    getattr(errno, name)
    for name in ('ENOSPC', 'EDQUOT', 'EFBIG')
    if hasattr(errno, name)
}


@contextmanager
def atomic_write(path: PathLike, mode: str = 'wb') -> Iterator[IO]:
    """Open a file that appears under its name only when it is whole.

    The data goes to a temporary name in the same folder, is fsynced and then
    renamed. After an exception the temporary file is removed and an older
    file of that name is left as it was; a full disk is an error that names
    the file. A killed process leaves a hidden ``.NAME.*.tmp``, which no later
    run reads.

    Args:
        path (PathLike): Final name; missing parent folders are made.
        mode (str): ``'wb'`` or ``'w'``. Defaults to ``'wb'``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(
        dir=path.parent, prefix=f'.{path.name}.', suffix='.tmp'
    )
    try:
        encoding = None if 'b' in mode else 'utf-8'
        with os.fdopen(handle, mode, encoding=encoding) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp makes it private
        os.replace(temporary, path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            error.filename = str(path)  # write and fsync don't know it
        raise
    _fsync_folder(path.parent)


def _fsync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power cut (POSIX only)."""
    if os.name != 'posix':
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_file(path: PathLike) -> str:
    """Return the SHA-256 of a file's content as hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def require_file(
    path: PathLike, what: str, make_it: Optional[str] = None
) -> Path:
    """Return ``path`` if the file exists.

    Args:
        path (PathLike): The file.
        what (str): What it holds, for the message ("annotation file").
        make_it (str, optional): The command that makes it.

    Raises:
        FileNotFoundError: If it does not exist, with near names of its folder
            and the command that makes it; or if it is a folder.
    """
    path = Path(path)
    if path.is_file():
        return path
    if path.is_dir():
        raise FileNotFoundError(f'{what} {path} is a folder: expected a file')
    siblings = (
        [p.name for p in path.parent.iterdir() if p.is_file()]
        if path.parent.is_dir()
        else []
    )
    message = (
        f'{what} {path} does not exist{did_you_mean(path.name, siblings)}'
    )
    if make_it:
        message += f'\nmake it with: {make_it}'
    raise FileNotFoundError(message)
