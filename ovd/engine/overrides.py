"""Strict ``--cfg-options``: a key that does not exist is an error."""

import inspect
from typing import Any, Dict, Sequence

from mmengine.config import Config
from mmengine.runner import Runner

from ovd.user_errors import say_once

from .config_keys import entry, has_entry, nearest_keys
from .mmdet2_keys import translate
from .override_values import check_kind, parse_value

# What the host's runner, its hooks, mmdet's tools and ours read.
USED_BY_RUNNER = {
    *inspect.signature(Runner.__init__).parameters,
    'auto_scale_lr',
    'custom_imports',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'runner_type',
    'sync_bn',
    'tta_model',
    'tta_pipeline',
}


def apply_overrides(cfg: Config, options: Sequence[str]) -> None:
    """Merge ``key=value`` texts into a config, in place.

    A key names an existing entry (``optim_wrapper.optimizer.lr``,
    ``train_dataloader.dataset.pipeline.0.type``); ``+key=value`` adds one on
    purpose. Keys of mmdet 2.x (``data.samples_per_gpu``) are translated, with
    a notice.

    Args:
        cfg (Config): The config to change.
        options (Sequence[str]): Texts ``key=value`` or ``+key=value``. Values
            are read by :func:`~.override_values.parse_value`.

    Raises:
        ValueError: If a text has no ``=``, or a key is empty, or does not
            exist, with the nearest keys that do, or has no effect, or can't
            have this value.
    """
    merged: Dict[str, Any] = {}
    for option in options:
        key, equals, text = option.partition('=')
        if not equals or not all(key.removeprefix('+').split('.')):
            raise ValueError(f'--cfg-options takes key=value, got "{option}"')
        try:
            value = parse_value(text)
        except ValueError as error:
            raise ValueError(f'--cfg-options {key}: {error}') from error
        entries = _entries(cfg, key, value)
        for name in entries:
            check_kind(cfg, name, entries[name], key.startswith('+'))
        merged.update(entries)
    for key, value in merged.items():
        _make_room(cfg, key, value)
    try:
        cfg.merge_from_dict(merged, allow_list_keys=True)
    except (TypeError, KeyError) as error:
        raise ValueError(
            f'--cfg-options {" ".join(options)}: {error.args[0]}'
        ) from error


def _entries(cfg: Config, key: str, value: Any) -> Dict[str, Any]:
    """Return what one option sets: as a rule, just its key."""
    name = key.removeprefix('+')
    entries = {} if has_entry(cfg, name) else translate(cfg, name, value)
    if entries:
        say_once(
            f'note: "{name}" of mmdet 2.x is set as '
            + ', '.join(f'{new}={entries[new]}' for new in entries)
        )
    elif not key.startswith('+'):
        _check_key(cfg, key)
        _check_is_used(key)
    entries = entries or {name: value}
    _say_without_effect(cfg, entries)
    return entries


def _make_room(cfg: Config, key: str, value: Any) -> None:
    """Put dicts where a key needs one and the config has None.

    The host would refuse to merge a dict into None.
    """
    parent: Any = cfg
    last = key.count('.')
    for i, part in enumerate(key.split('.')):
        if not has_entry(parent, part):
            return
        if entry(parent, part) is None and (
            i < last or isinstance(value, dict)
        ):
            parent[int(part) if isinstance(parent, list) else part] = {}
        parent = entry(parent, part)


def _say_without_effect(cfg: Config, entries: Dict[str, Any]) -> None:
    """Say so if entries are of hooks, and this job runs none."""
    hooks = [key for key in entries if key.split('.')[0] == 'default_hooks']
    if hooks and cfg.get('runner_type') == 'ExtractionRunner':
        say_once(
            f'note: {", ".join(hooks)} has no effect: this job runs no '
            'hooks, and shows its progress all the time'
        )


def _check_key(cfg: Config, key: str) -> None:
    """Raise ``ValueError`` unless ``key`` names an entry of ``cfg``."""
    try:
        entry(cfg, key)
    except KeyError as error:
        raise ValueError(
            f'the config has no key "{key}" (stopped at "{error.args[0]}")'
            f'{nearest_keys(cfg, key)} '
            f'Write +{key}=… to add it on purpose'
        ) from None


def _check_is_used(key: str) -> None:
    """Raise if ``key`` is a variable of the config file, which no one reads.

    Its value was already put where the file uses it.
    """
    name = key.split('.')[0]
    if name not in USED_BY_RUNNER:
        raise ValueError(
            f'"{name}" is a variable of the config file, and to change it '
            'now has no effect: override the entries that were made from it '
            '(such as train_dataloader.dataset.pipeline for train_pipeline)'
        )
