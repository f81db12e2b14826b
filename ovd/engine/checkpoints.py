"""Find checkpoints by file or by the folder of the run that wrote them."""
from pathlib import Path

from mmengine.runner import find_latest_checkpoint

from ovd.artifacts.files import require_file


def find_checkpoint(path: str) -> str:
    """Return a checkpoint file, or the last one of a training run's folder.

    Raises:
        FileNotFoundError: If there is no such file, or none in the folder.
    """
    if Path(path).is_dir():
        latest = find_latest_checkpoint(path)
        if latest is None:
            raise FileNotFoundError(
                f'{path} holds no checkpoint; train first, with '
                f'--work-dir {path}')
        # A run's folder may have been moved: look beside the pointer.
        path = str(Path(path) / Path(latest).name)
    return str(require_file(path, 'checkpoint'))
