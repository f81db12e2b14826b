"""What is said of a file: a headline and lines of "key: value"."""

from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Mapping, Sequence, Tuple, Union

MAX_NAMES = 6


@dataclass(frozen=True)
class Description:
    """What a file is.

    Args:
        headline (str): In a few words.
        details (dict): What it has and what made it, to be printed.
        faults (list[str]): What is wrong with it.
    """

    headline: str
    details: Dict[str, Any] = field(default_factory=dict)
    faults: List[str] = field(default_factory=list)

    def lines(self, path: str) -> Iterator[str]:
        """Yield the lines to print."""
        yield f'{path}: {self.headline}'
        for key, value in self.details.items():
            yield f'  {key}: {value}'
        for fault in self.faults:
            yield '  FAULT: ' + fault.replace('\n', '\n    ')


def flatten(
    info: Union[Mapping, Sequence], prefix: str = ''
) -> Dict[str, Any]:
    """Return ``{'a.b': 1}`` for ``{'a': {'b': 1}}``; dicts in lists, too."""
    flat = {}
    for key, value in _items(info):
        if isinstance(value, Mapping) or (
            isinstance(value, (list, tuple))
            and any(isinstance(item, Mapping) for item in value)
        ):
            flat.update(flatten(value, f'{prefix}{key}.'))
        else:
            flat[f'{prefix}{key}'] = value
    return flat


def _items(info: Any) -> Iterator[Tuple[Any, Any]]:
    return iter(info.items() if isinstance(info, Mapping) else enumerate(info))


def list_names(names: Sequence[str]) -> str:
    """Return the first names, and how many there are if that is not all."""
    text = ', '.join(names[:MAX_NAMES])
    return text if len(names) <= MAX_NAMES else f'{text}, ... ({len(names)})'


def counted(number: int, one: str, many: str) -> str:
    """Return '1 class' or '1,203 classes'."""
    return f'{number:,} {one if number == 1 else many}'
