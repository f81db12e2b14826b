"""Turn a wrong name into a helpful half sentence."""

import difflib
from typing import Iterable, Optional


def did_you_mean(name: str, candidates: Iterable[str], most: int = 3) -> str:
    """Return ``'; did you mean "a" or "b"?'``, or ``''`` when nothing is near.

    Args:
        name (str): The name that was not found.
        candidates (Iterable[str]): The names that exist.
        most (int): How many to offer at most. Defaults to 3.
    """
    by_lower = {str(item).lower(): str(item) for item in candidates}
    near = difflib.get_close_matches(
        name.lower(), by_lower, n=most, cutoff=0.6
    )
    if not near:
        return ''
    return (
        '; did you mean '
        + ' or '.join(f'"{by_lower[item]}"' for item in near)
        + '?'
    )


def check_choice(
    name: str, candidates: Iterable[str], what: Optional[str] = None
) -> None:
    """Raise unless ``name`` is one of ``candidates``.

    Args:
        name (str): What the user gave.
        candidates (Iterable[str]): What is accepted.
        what (str, optional): The word for it in the message.

    Raises:
        ValueError: If it is not, with the accepted names.
    """
    candidates = list(candidates)
    if name not in candidates:
        raise ValueError(
            f'{what or "value"} must be one of {", ".join(candidates)}, '
            f'got "{name}"{did_you_mean(name, candidates)}'
        )
