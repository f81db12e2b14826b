"""Find checkpoints by file or by the folder of their run; read them."""

import pickle
import shlex
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

from mmengine.runner import find_latest_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader

from ovd.artifacts.files import require_file
from ovd.artifacts.torch_file import NotPlainError, read_torch_file
from ovd.artifacts.weights_file import read_weights

# Published files that configs start from, and where to get them
SOURCES = {
    'pretrained/soco/soco_star_mask_rcnn_r50_fpn_400e.pth': (
        'https://github.com/hologerry/SoCo, there called '
        'current_mmdetection_Head.pth'
    )
}

# How files of torch.save before 1.6 begin: the pickle of a number
LEGACY = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)

# What a flipped bit or a lost end makes of a zip file
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


def find_checkpoint(path: str) -> str:
    """Return a checkpoint file, or the last one of a training run's folder.

    Raises:
        FileNotFoundError: If there is no such file, or none in the folder;
            of a published one it says where to get it.
    """
    if Path(path).is_dir():
        latest = find_latest_checkpoint(path)
        if latest is None:
            raise FileNotFoundError(
                f'{path} holds no checkpoint; train first, with '
                f'--work-dir {path}'
            )
        # A run's folder may have been moved: look beside the pointer first.
        beside = Path(path) / Path(latest).name
        path = (
            latest
            if Path(latest).is_file() and not beside.is_file()
            else str(beside)
        )  # else of default_hooks.checkpoint.out_dir
    source = SOURCES.get(Path(path).as_posix())
    if source and not Path(path).is_file():
        raise FileNotFoundError(
            f'checkpoint {path} does not exist\nput it there; it is published '
            f'at {source}'
        )
    return str(require_file(path, 'checkpoint'))


def check_whole(path: str) -> None:
    """Compare a checkpoint with the checksums that ``torch.save`` wrote.

    Raises:
        ValueError: If it is damaged, or older than these checksums.
    """
    with open(path, 'rb') as file:
        if file.read(len(LEGACY)) == LEGACY:
            code = (
                'import torch; path = {path!r}; torch.save(torch.load('
                'path, weights_only=True), path)'
            ).format(path=str(path))
            raise ValueError(
                f'checkpoint {path} is in the legacy format of torch before '
                '1.6, which has no checksums; write it anew, then resume:\n'
                f'python -c {shlex.quote(code)}'
            )
    try:
        with zipfile.ZipFile(path) as file:
            bad = file.testzip()
    except DAMAGED as error:
        bad = str(error)
    if bad is not None:
        raise ValueError(_say_damaged(path, bad))


def read_whole(path: str) -> dict:
    """Read a checkpoint to resume, its tensors left on disk.

    Raises:
        ValueError: If it is damaged, or holds more than plain content.
    """
    check_whole(path)
    try:
        content = read_torch_file(path, 'checkpoints', mmap=True)
    except NotPlainError:
        raise
    except ValueError as error:  # torch is stricter than zipfile
        raise ValueError(_say_damaged(path, error)) from error
    if not isinstance(content, dict):
        raise ValueError(
            f'{path} is no checkpoint to resume: it holds a '
            f'{type(content).__name__}'
        )
    return content


def _say_damaged(path: str, reason: object) -> str:
    return (
        f'checkpoint {path} is damaged ({reason}); go on from an earlier '
        'one with --resume CHECKPOINT, or start anew without --resume'
    )


@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_local(filename: str, map_location: Any = None) -> Any:
    """Load a file for the host: ``load_from``, ``init_cfg`` and the like.

    The host's own tells who meets a file that could run code to have it run.

    Args:
        filename (str): A ``.pth``, or what ``tools/export_weights.py`` wrote.
        map_location (Any): Ignored: models copy weights to where they are.

    Raises:
        FileNotFoundError: If it does not exist, with near names.
        ValueError: If it is damaged, or holds more than plain content.
    """
    path = require_file(Path(filename).expanduser(), 'checkpoint')
    return read_weights(path)
