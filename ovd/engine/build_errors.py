"""Say where in a config it stands what the host could not build."""
import re
import traceback
from contextlib import contextmanager
from typing import Any, Dict, Iterator, Optional

from mmengine.config import Config
from mmengine.registry import build_from_cfg

from .config_check import no_such_argument, no_such_type
from .config_keys import all_entries
from .config_origins import ConfigOrigins
from .signatures import accepted_arguments

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
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)
              if frame.f_code is build_from_cfg.__code__]
    if not frames:
        return None
    build: Dict[str, Any] = frames[-1].f_locals
    kind, target = build.get('obj_type'), build.get('obj_cls')
    unexpected = UNEXPECTED.search(str(error))
    if kind and target is None and isinstance(error, KeyError):
        name, value = 'type', kind
        text = no_such_type(build['registry'], kind)
    elif unexpected and unexpected[1] in build.get('args', {}):
        name = unexpected[1]
        value = build['args'][name]
        text = no_such_argument(kind, name, accepted_arguments(target))
    else:
        return None
    origins = ConfigOrigins(cfg.filename)
    # What a tool put in between is in none of the keys that the user knows.
    for where in (origins.cfg, cfg):
        for key, node in all_entries(where):
            if isinstance(node, dict) and node.get('type') == kind and \
                    name in node and node[name] == value:
                return f'{origins.find(f"{key}.{name}", value)}: ' \
                    f'{key}.{name}: {text}'
    return None
