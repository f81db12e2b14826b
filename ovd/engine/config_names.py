"""Names at the top of a config file that nothing reads."""

import difflib
from typing import Any, Dict, List

from mmengine.config import Config

from ovd.user_errors import say_once

from .config_keys import all_entries, entry, has_entry
from .config_origins import ConfigOrigins
from .mmdet2_keys import MOVED, REPLACED
from .overrides import USED_BY_RUNNER

# Stricter than for names that are wrong for certain: a file may have variables
NEAR = 0.85
# Customary ones, which may have been changed where they are used
VARIABLES = {'test_pipeline', 'train_pipeline', 'val_pipeline'}


def check_names(cfg: Config) -> None:
    """Raise if a config file sets what only mmdet 2.x would read.

    Variables that other entries were made from are left alone. Of one that
    was not, and is called almost like what the runner reads, a warning tells;
    so it does of the host's own files, some of which were not cleaned up.

    Args:
        cfg (Config): Read from a file, before it is overridden.

    Raises:
        ValueError: With file, key and what does its job in mmdet 3.x, a line
            for each.
    """
    unread = _names_of_2x(cfg)
    misspelt = _near_misses(cfg)
    if not unread and not misspelt:
        return
    origins = ConfigOrigins(cfg.filename)
    problems: List[str] = []
    for key, text in unread.items():
        file = origins.find(key, entry(cfg, key))
        if file.startswith('mmdet::'):
            say_once(f'warning: {file}: {key} has no effect: {text}')
        else:
            problems.append(f'{file}: {key}: {text}')
    for name, near in misspelt.items():
        say_once(
            f'warning: {origins.find(name, cfg[name])}: {name} has no '
            f'effect: nothing reads it; did you mean "{near}"?'
        )
    if problems:
        raise ValueError('\nerror: '.join(problems))


def _names_of_2x(cfg: Config) -> Dict[str, str]:
    """Return keys of mmdet 2.x, and what is to be said of each."""
    found = {}
    for key in (*MOVED, *REPLACED):
        top = key.split('.')[0]
        # Of "data" just what 2.x had in it; "model" is checked as one.
        if key in ('data', 'model.pretrained') or not has_entry(cfg, key):
            continue
        value, new = entry(cfg, key), MOVED.get(key)
        if value is None or _is_used(cfg, top, value):
            continue
        if new is None:
            found[key] = f'of mmdet 2.x; in 3.x its job does {REPLACED[key]}'
        elif not has_entry(cfg, new) or entry(cfg, new) != value:
            found[key] = f'of mmdet 2.x; it is {new} in 3.x'
    return found


def _near_misses(cfg: Config) -> Dict[str, str]:
    """Return names that nothing reads, and what they almost are."""
    found = {}
    for name in set(cfg) - USED_BY_RUNNER - VARIABLES - {*MOVED, *REPLACED}:
        near = difflib.get_close_matches(name, USED_BY_RUNNER, 1, NEAR)
        if near and not _is_used(cfg, name, cfg[name]):
            found[name] = near[0]
    return found


def _is_used(cfg: Config, name: str, value: Any) -> bool:
    """Tell whether another entry has a value that can't be so by chance."""
    return isinstance(value, (dict, list, tuple)) and any(
        other == value
        for key, other in all_entries(cfg)
        if key.split('.')[0] != name
    )
