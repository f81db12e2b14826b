"""How ``tools/train.py`` makes a config fit the machine."""

from mmengine.config import Config
from mmengine.device import get_device


def set_amp(cfg: Config, amp: bool) -> None:
    """Train in mixed precision with a dynamic loss scale.

    Raises:
        ValueError: If this config trains nothing, or with an optimizer
            wrapper of its own, or there is no GPU.
    """
    if not amp:
        return
    name = (cfg.get('optim_wrapper') or {}).get('type')
    if name not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise ValueError(
            '--amp is for training with the OptimWrapper; the optim_wrapper '
            f'of this config is {name}'
        )
    if get_device() == 'cpu':
        raise ValueError('--amp is for GPUs, and there is none here')
    cfg.optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')


def set_auto_scale_lr(cfg: Config, auto_scale_lr: bool) -> None:
    """Scale the learning rate with the batch of all processes.

    Raises:
        ValueError: If the config does not say for which batch its rate is.
    """
    if not auto_scale_lr:
        return
    if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
        raise ValueError(
            '--auto-scale-lr needs to know for which batch of all processes '
            'the learning rate of this config is: --cfg-options '
            '+auto_scale_lr.base_batch_size=16'
        )
    cfg.auto_scale_lr.enable = True
