"""One line for what a user can mend; a traceback for what is our mistake."""

import linecache
import os
import re
import sys
import traceback
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from pickle import UnpicklingError
from typing import Iterator, Tuple

from ovd.artifacts.files import NO_ROOM

PACKAGE = str(Path(__file__).parent)
USER_ERRORS = (ValueError, OSError, ImportError, RuntimeError)
EXIT_CODE = 2
PATIENCE = timedelta(seconds=5)  # with torchrun's store


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the program with ``error: …`` and exit code 2 on a user's error.

    That is one that this package raises by a statement of its own, in a
    worker of a data loader, too, or one of the system about a file that it
    names, a disk that is full, whoever writes to it, or a download of the host
    that torch does not open because it could run code. All others, such as a
    ``ValueError`` of NumPy, keep their traceback. It is also a decorator.

    All tools end so. Exit code 1 is for those that judge something, and found
    it bad.
    """
    try:
        yield
    except USER_ERRORS as error:
        file, line, text = _raised(error)
        ours = file.startswith(PACKAGE + os.sep) and linecache.getline(
            file, line
        ).lstrip().startswith('raise ')
        if isinstance(error, OSError) and error.errno in NO_ROOM and not ours:
            text = (
                f'no room on the disk: {text}\nmake room, then go on '
                'with --resume'
            )
        elif not ours and not _is_about_file(error):
            raise
        say_once(f'error: {text}')
        sys.exit(EXIT_CODE)
    except UnpicklingError as error:  # files on the disk are named, ours
        from ovd.artifacts.torch_file import ASKED_FOR  # imports torch

        if not (asked_for := ASKED_FOR.search(str(error))):
            raise
        say_once(
            'error: a download is not opened, because that could run code: '
            f'it asks for {asked_for[1]}; expected tensors and plain '
            'containers alone\nwhoever trusts it can save its tensors alone, '
            'in the program that wrote it'
        )
        sys.exit(EXIT_CODE)


def _is_about_file(error: Exception) -> bool:
    return (
        isinstance(error, FileNotFoundError)
        or isinstance(error, OSError)
        and error.filename is not None
    )


def _raised(error: Exception) -> Tuple[str, int, str]:
    """Return file and line that raised an error, and its message.

    PyTorch puts the traceback of a worker into the message.
    """
    text = str(error)
    if re.match(r'Caught \w+ in DataLoader worker process', text):
        file, line = re.findall(
            r'^  File "(.+)", line (\d+)', text, re.MULTILINE
        )[-1]
        # The last line that names the error, perhaps with its module
        kind = re.compile(rf'\n(?:[\w.]+\.)?{type(error).__name__}: ')
        return file, int(line), kind.split(text)[-1].rstrip()
    last = traceback.extract_tb(error.__traceback__)[-1]
    return last.filename, last.lineno or 0, text


def say_once(message: str) -> None:
    """Print a message on stderr, once for all processes of a job.

    Whichever has it first prints it: torchrun soon ends the others.
    """
    if _is_first(message):
        print(message, file=sys.stderr, flush=True)


def _is_first(message: str) -> bool:
    """Ask torchrun's store, which is there before any process group."""
    if os.environ.get('TORCHELASTIC_USE_AGENT_STORE') != 'True':
        return True
    import torch.distributed as dist  # seconds, for tools that need no torch

    try:
        store = dist.TCPStore(
            os.environ['MASTER_ADDR'],
            int(os.environ['MASTER_PORT']),
            is_master=False,
            wait_for_workers=False,
            timeout=PATIENCE,
        )
        return store.add(f'said: {message}', 1) == 1
    except RuntimeError:  # rather twice than never
        return True
