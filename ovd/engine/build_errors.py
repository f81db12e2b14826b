"""Say where in a config it stands what the host could not build."""

import re
import traceback
from contextlib import contextmanager
from typing import Any, Iterator, Optional, Tuple

from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import build_from_cfg

from .config_check import no_such_argument, no_such_type
from .config_keys import all_entries
from .config_origins import ConfigOrigins
from .signatures import accepted_arguments

BUILD = build_from_cfg.__code__
MISSING = re.compile(r'missing \d+ required')
UNEXPECTED = re.compile(r"got an unexpected keyword argument '(\w+)'")


@contextmanager
def explained_builds(cfg: Config) -> Iterator[None]:
    """Turn what a registry can't build into one line with file and key.

    Args:
        cfg (Config): Of the runner that is built, or builds, in the block.

    Raises:
        ValueError: In place of a ``TypeError`` on an argument of the config,
            or a ``KeyError`` on a type. All others are left alone.
    """
    try:
        yield
    except (TypeError, KeyError) as error:
        text = _explain(error, cfg)
        if text is None:
            raise
        raise ValueError(text) from error


def _explain(error: Exception, cfg: Config) -> Optional[str]:
    """Return file, key and what is wrong with it; None if no key is."""
    found = _not_built(error)
    if found is None:
        return None
    kind, name, value, text = found
    origins = ConfigOrigins(cfg.filename)
    # What a tool put in between is in none of the keys that the user knows.
    for where in (origins.cfg, cfg):
        for key, node in all_entries(where):
            if (
                isinstance(node, dict)
                and node.get('type') == kind
                and name in node
                and node[name] == value
            ):
                return (
                    f'{origins.find(f"{key}.{name}", value)}: '
                    f'{key}.{name}: {text}'
                )
    return None


def _not_built(error: Exception) -> Optional[Tuple[Any, str, Any, str]]:
    """Return the type that could not be built, key, value and why.

    The local variables of the functions that build are what they were given.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    builds = [frame.f_locals for frame in frames if frame.f_code is BUILD]
    if not builds:
        return None
    build, last = builds[-1], frames[-1].f_locals
    kind = build.get('obj_type')
    layer = last.get('layer_type')  # of mmcv's functions that build layers
    if isinstance(error, KeyError):
        if layer is not None:
            return layer, 'type', layer, no_such_type(MODELS, layer)
        if kind is None or build.get('obj_cls') is not None:
            return None
        return kind, 'type', kind, no_such_type(build['registry'], kind)
    if MISSING.search(str(error)) and frames[-1].f_code is BUILD:
        return kind, 'type', kind, str(error)
    unexpected = UNEXPECTED.search(str(error))
    if unexpected is None:
        return None
    name = unexpected[1]
    if layer is not None and name in last.get('cfg_', ()):
        return layer, name, last['cfg_'][name], str(error)
    if name not in build.get('args', ()):
        return None
    return (
        kind,
        name,
        build['args'][name],
        no_such_argument(kind, name, accepted_arguments(build['obj_cls'])),
    )
