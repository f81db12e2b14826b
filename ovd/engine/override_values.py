"""Values of ``--cfg-options``: read from text, and held against the old."""

import ast
import numbers
from typing import Any, Iterator

from mmengine.config import Config, DictAction

from .config_keys import entry, has_entry

BRACKETS = '[({'


def parse_value(text: str) -> Any:
    """Turn the text behind ``=`` into a Python value.

    Args:
        text (str): A Python literal; else a list or tuple of bare words in
            brackets, which the host's parser reads (``[bbox,segm]``); else
            values with commas between them, which become a list; else a
            string.

    Raises:
        ValueError: If it begins with a bracket, and is neither of these.
    """
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        pass
    if text.startswith(tuple(BRACKETS)):
        return _parse_words(text)
    lowered = text.lower()
    if lowered in ('true', 'false'):
        return lowered == 'true'
    if ',' in text:
        return [parse_value(part) for part in text.split(',')]
    return text


def _parse_words(text: str) -> Any:
    """Read a list or tuple whose strings have no quotes."""
    try:
        value = DictAction._parse_iterable(text)
    except AssertionError:  # the host's, on brackets that are not closed
        value = None
    # It also drops spaces and quotes inside, and takes dicts for words.
    if not isinstance(value, (list, tuple)) or not all(
        word in text and word and not set(word) & set('[](){}\'"=')
        for word in _words(value)
    ):
        raise ValueError(
            f'expected a Python literal or a list of plain words such as '
            f"[bbox,segm], got {text}; quote the strings inside, ['a b', "
            f"'c=d'], or the whole of it, if it is a string: \"'…'\""
        )
    return value


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _words(item)
    elif isinstance(value, str):
        yield value


def check_kind(
    cfg: Config, key: str, value: Any, is_on_purpose: bool = False
) -> None:
    """Raise if a value can't take the place of what the config has.

    None may take any place, a list of dicts that of a dict (evaluators,
    schedules), and a list of numbers in brackets that of a number.

    Args:
        cfg (Config): Before the value is set.
        key (str): Dotted; where there is nothing, any value will do.
        value (Any): The new value.
        is_on_purpose (bool): Let anything take the place of a number, such as
            ``dynamic`` that of a loss scale. Defaults to False.

    Raises:
        ValueError: If it is no dict where one stands, or no number.
    """
    if value is None or not has_entry(cfg, key):
        return
    old = entry(cfg, key)
    if isinstance(old, dict):
        if not isinstance(value, dict) and not _all(value, dict):
            raise ValueError(
                f'"{key}" is a dict with {", ".join(map(str, old))}: '
                f'expected a dict or None, got {value!r}; to change an entry '
                f'of it, write {key}.NAME=…'
            )
    elif _is_number(old) and not is_on_purpose:
        if not _is_number(value) and not (
            isinstance(value, list) and all(map(_is_number, value))
        ):
            raise ValueError(
                f'"{key}" is the number {old}: expected a number, a list of '
                f'numbers or None, got {value!r}. Write +{key}=… to set it '
                'on purpose'
            )


def _all(value: Any, kind: type) -> bool:
    return isinstance(value, (list, tuple)) and all(
        isinstance(item, kind) for item in value
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
