"""What a detector for Python users is made of: device, cache, model."""

import io
import os
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Optional

import torch
from mmdet.apis import init_detector
from torch import nn

from ovd.engine.build_errors import explained_builds
from ovd.engine.config_check import check_types
from ovd.engine.config_origins import read_config


def default_cache() -> Optional[Path]:
    """Return the folder of caches: ``OVD_CACHE``, or what XDG says.

    None where there is no home.
    """
    if os.environ.get('OVD_CACHE'):
        return Path(os.environ['OVD_CACHE'])
    caches = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    return None if caches.startswith('~') else Path(caches) / 'ovd'


def choose_device(device: str) -> str:
    """Return a device that is there.

    Raises:
        ValueError: If there is no such device.
    """
    if device == 'auto':
        return 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # of builds without CUDA
        reason = str(error).splitlines()[0]
        raise ValueError(
            f'there is no device "{device}" ({reason}); expected '
            'auto, cpu, cuda, cuda:1, ...'
        ) from error
    return device


def build_detector(config: str, checkpoint: str, device: str) -> nn.Module:
    """Build a detector with its weights, after a strict look at its config.

    Raises:
        FileNotFoundError: If there is no such config.
        ValueError: If a type or an argument does not exist.

    Warns:
        UserWarning: If weights are missing, or there are others.
    """
    cfg = read_config(config)
    check_types(cfg)
    said = io.StringIO()
    with explained_builds(cfg), redirect_stdout(said):
        # With a palette given, the host leaves the test dataset alone.
        model = init_detector(cfg, checkpoint, palette='random', device=device)
    complaints = [
        line
        for line in said.getvalue().splitlines()
        if line and not line.startswith('Loads checkpoint by')
    ]
    if complaints:
        warnings.warn('\n'.join([f'{checkpoint}:', *complaints]), stacklevel=3)
    return model
