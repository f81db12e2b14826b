"""The weights of a checkpoint alone, as safetensors."""

from pathlib import Path
from typing import Optional

from ovd.artifacts.files import PathLike
from ovd.artifacts.torch_file import read_torch_file
from ovd.artifacts.weights_file import SUFFIX, write_weights
from ovd.engine.checkpoints import find_checkpoint

# What a run needs besides the weights, and nothing else does
LEFT_OUT = ('position',)


def export_weights(
    checkpoint: PathLike, out: PathLike, overwrite: bool = False
) -> Path:
    """Write the weights of a checkpoint, and what says what they are.

    Optimizer, schedules and logs stay behind: a run can't be resumed from
    it, but tested, and started from.

    Args:
        checkpoint (PathLike): A ``.pth``, or the folder of a run.
        out (PathLike): Ends in ``.safetensors``.
        overwrite (bool): Whether to replace ``out``. Defaults to False.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If it holds no weights, or ``out`` is there, or ends in
            something else.
    """
    out = Path(out)
    if out.suffix != SUFFIX:
        raise ValueError(f'{out} must end in {SUFFIX}')
    if out.exists() and not overwrite:
        raise ValueError(
            f'{out} is there already; replace it with --overwrite'
        )
    file = find_checkpoint(str(checkpoint))
    content = read_torch_file(file, 'checkpoints', mmap=True)
    state_dict: Optional[dict] = (
        content.get('state_dict') if isinstance(content, dict) else None
    )
    if not state_dict:
        raise ValueError(
            f'{file} has no "state_dict": it is no checkpoint of '
            'a training run'
        )
    meta = {
        key: value
        for key, value in content.get('meta', {}).items()
        if key not in LEFT_OUT
    }
    write_weights(out, state_dict, meta)
    return out
