"""A config as it is in the end, and where each entry comes from."""

import copy
from typing import Any, Iterator, Sequence, Tuple

from mmengine.config import Config

from ovd.engine.config_origins import ConfigOrigins
from ovd.engine.overrides import USED_BY_RUNNER, apply_overrides


def config_lines(path: str, options: Sequence[str] = ()) -> Iterator[str]:
    """Yield ``key = value  # file`` for each entry of a config.

    Variables of the file, which are not read any more, are left out.

    Args:
        path (str): The config file.
        options (Sequence[str]): As ``--cfg-options`` takes them.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is no Python, or an option names no entry.
    """
    origins = ConfigOrigins(path)
    cfg = copy.deepcopy(origins.cfg)
    apply_overrides(cfg, options)
    for key, item in config_entries(cfg):
        yield f'{key} = {item!r}  # {origins.find(key, item)}'


def config_entries(cfg: Config) -> Iterator[Tuple[str, Any]]:
    """Yield dotted keys and values of what the runner reads."""
    for name, value in cfg.items():
        if name in USED_BY_RUNNER:
            yield from _leaves(name, value)


def _leaves(key: str, value: Any) -> Iterator[Tuple[str, Any]]:
    """Yield what has no keys of its own; a list of numbers is one value."""
    if isinstance(value, dict) and value:
        for name, part in value.items():
            if name != '_scope_':  # a note of the host
                yield from _leaves(f'{key}.{name}', part)
    elif isinstance(value, (list, tuple)) and any(
        isinstance(item, (dict, list)) for item in value
    ):
        for i, item in enumerate(value):
            yield from _leaves(f'{key}.{i}', item)
    else:
        yield key, value
