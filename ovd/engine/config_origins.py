"""Which file each entry of a config comes from."""

import functools
import os.path
import traceback
from pathlib import Path
from typing import Any, Dict, Optional, Union

import mmdet
from mmengine.config import Config, utils

from ovd.suggest import did_you_mean

from .config_keys import entry

COMMAND_LINE = '--cfg-options'
HOST_CONFIGS = os.path.join(os.path.dirname(mmdet.__file__), '.mim', 'configs')
# Of dicts the origins of their entries, of all else the file
Origins = Union[str, Dict[str, Any]]


def read_config(path: str) -> Config:
    """Read a config file.

    Raises:
        FileNotFoundError: If it does not exist, with near names, or a base
            of it does not.
        ValueError: If it can't be run, or can't be merged with its bases.
    """
    if not Path(path).is_file():
        known = [str(file) for file in Path('configs').rglob('*.py')]
        raise FileNotFoundError(
            f'config {path} does not exist{did_you_mean(path, known)}'
        )
    try:
        return _read_quickly(path)
    except (SyntaxError, NameError, TypeError, KeyError) as error:
        frames = traceback.extract_tb(error.__traceback__)
        if any('importlib' in frame.filename for frame in frames):
            raise  # of a module that the config imports
        raise ValueError(
            f'the config {_where(error, frames, path)}: '
            f'{type(error).__name__}: {error}'
        ) from error


def _read_quickly(path: str) -> Config:
    """Spare the host seconds of work that it does again and again.

    For each base it reads all metafiles of mmdet. For each checkpoint it has
    yapf format the text of the config; its option against that goes nowhere.
    """
    load = utils.load
    utils.load = functools.cache(load)
    try:
        cfg = Config.fromfile(path)
    finally:
        utils.load = load
    object.__setattr__(cfg, '_format_python_code', False)
    return cfg


def _where(error: Exception, frames: traceback.StackSummary, path: str) -> str:
    """Return the file, and its line if there is one, of an error."""
    if isinstance(error, SyntaxError):
        return shown(_file_with_typo(path) or path)
    run = [
        frame
        for frame in frames
        if frame.name == '<module>' and frame.filename.startswith('/')
    ]
    if not run:
        return path
    return f'{shown(run[-1].filename)}, line {run[-1].lineno}'


def _file_with_typo(path: str) -> Optional[str]:
    """Return the first file among a config and its bases that is no Python."""
    try:
        names = Config._get_base_files(path)
    except SyntaxError:
        return path
    bases = (Config._get_cfg_path(name, path)[0] for name in names)
    return next(filter(None, map(_file_with_typo, bases)), None)


class ConfigOrigins:
    """The file that gave each entry the value that it has.

    Of files that give the same value it is the one furthest down among the
    bases: the others change nothing. A list is taken over as a whole.

    Args:
        path (str): A config file.

    Attributes:
        cfg (Config): What it is without the command line.
    """

    def __init__(self, path: str) -> None:
        self.cfg = read_config(path)
        self._origins = _trace(path, self.cfg.to_dict())

    def find(self, key: str, value: Any) -> str:
        """Return the file, or ``--cfg-options``, that set a key to a value.

        Args:
            key (str): Dotted, such as ``model.backbone.depth``.
            value (Any): What the final config has there.
        """
        try:
            if entry(self.cfg, key) != value:
                return COMMAND_LINE
        except KeyError:
            return COMMAND_LINE
        node: Origins = self._origins
        for part in key.split('.'):
            if isinstance(node, str):
                break
            node = node[part]
        return (
            shown(node)
            if isinstance(node, str)
            else shown(str(self.cfg.filename))
        )


def shown(path: str) -> str:
    """Return the short name of a config file."""
    if path.startswith(HOST_CONFIGS):
        return 'mmdet::' + os.path.relpath(path, HOST_CONFIGS)
    return os.path.relpath(path)


def _trace(path: str, cfg: Dict[str, Any]) -> Dict[str, Any]:
    """Return the origins of all entries of a config file."""
    path = str(Path(path).absolute())
    merged: Dict[str, Any] = {}
    origins: Dict[str, Any] = {}
    for name in Config._get_base_files(path):
        base_path, _ = Config._get_cfg_path(name, path)
        base = Config.fromfile(base_path).to_dict()
        merged.update(base)
        origins.update(_trace(base_path, base))
    return {
        key: _origin(value, merged, origins, key, path)
        for key, value in cfg.items()
    }


def _origin(
    value: Any, base: Any, origins: Optional[Origins], key: str, path: str
) -> Origins:
    """Return the origin of what a file has under a key, given its bases'."""
    if isinstance(base, dict) and key in base and isinstance(origins, dict):
        base, origins = base[key], origins[key]
    else:
        base = origins = None
    if isinstance(value, dict) and value:
        return {
            name: _origin(part, base, origins, name, path)
            for name, part in value.items()
        }
    return origins if isinstance(origins, str) and value == base else path
