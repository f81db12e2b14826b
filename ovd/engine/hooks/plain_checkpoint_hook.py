"""Checkpoints of plain content, which load with ``weights_only=True``."""

from typing import Any

import numpy as np
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Keep classes out of checkpoints, so that nothing executes on loading.

    mmengine pickles its log history as objects, and so can't resume its own
    checkpoints since ``torch.load`` admits only plain content (torch 2.6).
    This hook saves the history as lists, and turns it back on resuming.
    """

    priority = 'LOWEST'  # see the checkpoint as it will be saved

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Replace objects by lists and numbers."""
        hub = checkpoint['message_hub']
        scalars = {
            name: dict(
                log_history=buffer.data[0].tolist(),
                count_history=buffer.data[1].tolist(),
                max_length=buffer.max_length,
            )
            for name, buffer in hub['log_scalars'].items()
        }
        checkpoint['message_hub'] = dict(hub, log_scalars=scalars)
        for key in ('meta', 'message_hub', 'param_schedulers'):
            if key in checkpoint:
                checkpoint[key] = _plain(checkpoint[key])

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Turn the lists back into the host's log history.

        Of a checkpoint of mmdet 2.x the config is taken out: on resuming, the
        host would run it as Python.
        """
        checkpoint.get('meta', {}).pop('config', None)
        hub = checkpoint.get('message_hub', {})
        for name, value in hub.get('log_scalars', {}).items():
            if isinstance(value, dict):
                hub['log_scalars'][name] = HistoryBuffer(**value)


def _plain(value: Any) -> Any:
    """Replace NumPy values and dict subclasses by Python's own."""
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item) for item in value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value
