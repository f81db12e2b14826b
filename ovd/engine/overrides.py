"""Strict ``--cfg-options``: a key that does not exist is an error."""
import ast
import inspect
from typing import Any, Dict, Iterator, Sequence

from mmengine.config import Config
from mmengine.runner import Runner

from ovd.suggest import did_you_mean

# What the host's runner, its hooks, mmdet's tools and ours read.
USED_BY_RUNNER = {
    *inspect.signature(Runner.__init__).parameters, 'auto_scale_lr',
    'custom_imports', 'find_unused_parameters', 'model_wrapper_cfg',
    'runner_type', 'sync_bn', 'tta_model', 'tta_pipeline'
}


def apply_overrides(cfg: Config, options: Sequence[str]) -> None:
    """Merge ``key=value`` texts into a config, in place.

    A key names an existing entry (``optim_wrapper.optimizer.lr``,
    ``train_dataloader.dataset.pipeline.0.type``); ``+key=value`` adds one on
    purpose.

    Args:
        cfg (Config): The config to change.
        options (Sequence[str]): Texts ``key=value`` or ``+key=value``. Values
            are Python literals; what is none is a string, or, if it has
            commas and starts with no bracket, a list of values.

    Raises:
        ValueError: If a text has no ``=``, or a key does not exist, with the
            nearest keys that do, or has no effect.
    """
    merged: Dict[str, Any] = {}
    for option in options:
        key, equals, value = option.partition('=')
        if not equals:
            raise ValueError(
                f'--cfg-options takes key=value, got "{option}"')
        if key.startswith('+'):
            key = key[1:]
        else:
            _check_key(cfg, key)
            _check_is_used(key)
        merged[key] = parse_value(value)
    cfg.merge_from_dict(merged, allow_list_keys=True)


def parse_value(text: str) -> Any:
    """Turn the text behind ``=`` into a Python value."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        pass
    lowered = text.lower()
    if lowered in ('true', 'false'):
        return lowered == 'true'
    if ',' in text and not text.startswith(('[', '(', '{')):
        return [parse_value(part) for part in text.split(',')]
    return text


def _check_key(cfg: Config, key: str) -> None:
    """Raise ``ValueError`` unless ``key`` names an entry of ``cfg``."""
    node: Any = cfg
    for part in key.split('.'):
        if isinstance(node, (list, tuple)):
            found = part.isdigit() and int(part) < len(node)
            node = node[int(part)] if found else None
        else:
            found = isinstance(node, (dict, Config)) and part in node
            node = node[part] if found else None
        if not found:
            raise ValueError(
                f'the config has no key "{key}" (stopped at "{part}")'
                f'{did_you_mean(key, _all_keys(cfg))} '
                f'Write +{key}=… to add it on purpose')


def _check_is_used(key: str) -> None:
    """Raise if ``key`` is a variable of the config file, which no one reads.

    Its value was already put where the file uses it.
    """
    name = key.split('.')[0]
    if name not in USED_BY_RUNNER:
        raise ValueError(
            f'"{name}" is a variable of the config file, and to change it '
            'now has no effect: override the entries that were made from it '
            '(such as train_dataloader.dataset.pipeline for train_pipeline)')


def _all_keys(node: Any, prefix: str = '') -> Iterator[str]:
    """Yield every dotted key of a config."""
    if isinstance(node, (list, tuple)):
        items = enumerate(node)
    elif isinstance(node, (dict, Config)):
        items = node.items()
    else:
        return
    for name, value in items:
        yield f'{prefix}{name}'
        yield from _all_keys(value, f'{prefix}{name}.')
