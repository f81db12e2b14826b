"""Arguments of what the host builds without a type of a registry."""

import inspect
from typing import Any, Callable, FrozenSet, Iterator, Optional, Set, Tuple

from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.runner import Runner
from mmengine.utils.dl_utils import set_multi_processing
from torch.utils.data import DataLoader

from ovd.suggest import did_you_mean

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
# Read by Runner.build_dataloader, which hands all others to torch
OF_HOST = {'disable_subprocess_warning', 'num_batch_per_epoch'}
# Read by Runner.setup_env
ENVIRONMENT = {'cudnn_benchmark', 'dist_cfg', 'mp_cfg', 'resource_limit'}


def unknown_arguments(cfg: Config) -> Iterator[Tuple[str, Any, str]]:
    """Yield what data loaders, seeds and environment do not take.

    Args:
        cfg (Config): Whose data loaders are configs.

    Yields:
        tuple: Key, value, and what is wrong with it.
    """
    settings = [(name, OF_HOST | _names(DataLoader)) for name in LOADERS]
    settings += [
        ('randomness', _names(Runner.set_randomness)),
        ('env_cfg', ENVIRONMENT),
        ('env_cfg.mp_cfg', _names(set_multi_processing) - {'distributed'}),
    ]
    for key, known in settings:
        node: Any = cfg
        for part in key.split('.'):
            node = node.get(part) if isinstance(node, (dict, Config)) else None
        for name in node if isinstance(node, dict) else ():
            if name not in known:
                near = did_you_mean(name, known)
                near = near or f'; it takes {", ".join(sorted(known))}'
                yield f'{key}.{name}', node[name], f'no such setting{near}'


def arguments_of_ema(
    hook: type, average: Optional[FrozenSet[str]]
) -> Optional[FrozenSet[str]]:
    """Return what a hook of averages takes, with what it hands on.

    Args:
        hook (type): :class:`EMAHook` or one made from it.
        average (FrozenSet[str], optional): Arguments of the average. None if
            they are not known.

    Returns:
        FrozenSet[str] or None: None if they can't be told.
    """
    its_own = inspect.getattr_static(hook, '__init__')
    if average is None or its_own is not vars(EMAHook)['__init__']:
        return None
    return frozenset(_names(hook) | average - {'model'})


def _names(function: Callable[..., Any]) -> Set[str]:
    """Return the names of parameters, without ``self`` and ``**kwargs``."""
    return {
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is not parameter.VAR_KEYWORD
        and parameter.name != 'self'
    }
