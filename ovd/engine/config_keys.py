"""Dotted keys of a config: ``train_dataloader.dataset.pipeline.0.type``."""

from typing import Any, Iterable, Iterator, Tuple

from mmengine.config import Config

from ovd.suggest import did_you_mean


def entry(node: Any, key: str) -> Any:
    """Return what a key names.

    Raises:
        KeyError: If there is nothing, with the part of the key that fails.
    """
    for part in key.split('.'):
        if isinstance(node, (list, tuple)):
            found = part.isdigit() and int(part) < len(node)
            node = node[int(part)] if found else None
        else:
            found = isinstance(node, (dict, Config)) and part in node
            node = node[part] if found else None
        if not found:
            raise KeyError(part)
    return node


def has_entry(node: Any, key: str) -> bool:
    """Tell whether a key names something."""
    try:
        entry(node, key)
    except KeyError:
        return False
    return True


def all_entries(node: Any, prefix: str = '') -> Iterator[Tuple[str, Any]]:
    """Yield every key and what it names, parents before their parts."""
    items: Iterable[Tuple[Any, Any]]
    if isinstance(node, (list, tuple)):
        items = enumerate(node)
    elif isinstance(node, (dict, Config)):
        items = node.items()
    else:
        return
    for name, value in items:
        yield f'{prefix}{name}', value
        yield from all_entries(value, f'{prefix}{name}.')


def nearest_keys(cfg: Config, key: str) -> str:
    """Return ``'; did you mean …?'`` with keys that exist.

    Those that end alike come first: ``lr`` is ``optim_wrapper.optimizer.lr``.
    """
    keys = [name for name, _ in all_entries(cfg)]
    alike = [name for name in keys if name.endswith(f'.{key}')]
    if alike:
        return (
            '; did you mean '
            + ' or '.join(f'"{name}"' for name in alike[:3])
            + '?'
        )
    return did_you_mean(key, keys)
