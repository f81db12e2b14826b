"""How a layout of keys is written down: rules, each for some of the keys."""

import re
from dataclasses import dataclass
from typing import Collection, Iterable, Optional, Tuple

STAGE = r'(\.\d+)?'  # in patterns: of a cascade


@dataclass(frozen=True)
class Rule:
    r"""What becomes of weights whose whole key fits a pattern.

    Args:
        pattern (str): Regular expression.
        target (str, optional): Their key in ovd, with ``\1`` for groups;
            None drops them.
        why (str): Why they are dropped, in words.
        unless_rows (int, optional): Weights of so many rows are not meant.
    """

    pattern: str
    target: Optional[str] = r'\g<0>'
    why: str = ''
    unless_rows: Optional[int] = None


@dataclass(frozen=True)
class Layout:
    """The keys of one kind of file.

    Args:
        name (str): What ``--form`` calls it.
        title (str): What it is, in words.
        needs (tuple[str]): Patterns each of which some key fits.
        lacks (tuple[str]): Patterns that no key fits.
        rules (tuple[Rule]): The first that fits a key decides.
        background (tuple[str]): Keys of a linear layer of one input, which
            is always 1: weight and bias, whose sum is the background vector
            of all stages.
        clip (str): The CLIP whose space it detects in; '' if in none.
        note (str): What a user has to know who goes on with it.
        keep_meta (tuple[str]): What is taken over from its ``meta``.
    """

    name: str
    title: str
    needs: Tuple[str, ...]
    rules: Tuple[Rule, ...]
    lacks: Tuple[str, ...] = ()
    background: Tuple[str, ...] = ()
    clip: str = ''
    note: str = ''
    keep_meta: Tuple[str, ...] = ()

    def find_misfit(self, keys: Collection[str]) -> str:
        """Return what speaks against this layout; '' if nothing does."""
        for pattern in self.needs:
            if not any(re.fullmatch(pattern, key) for key in keys):
                return f'it has no key {_as_text(pattern)}'
        for pattern in self.lacks:
            for key in keys:
                if re.fullmatch(pattern, key):
                    return f'it has the key {key}'
        return ''

    def find_rule(self, key: str, rows: int) -> Optional[Rule]:
        """Return the rule for a key; None if there is none.

        Args:
            key (str): Its name.
            rows (int): Of the tensor; 0 for a scalar.
        """
        for rule in self.rules:
            if rule.unless_rows != rows and re.fullmatch(rule.pattern, key):
                return rule
        return None


def _as_text(pattern: str) -> str:
    """Return a pattern of ``needs`` as a reader would write a key."""
    first = re.sub(r'\(\?:(\w+)\|[^)]*\)', r'\1', pattern.replace(STAGE, ''))
    return first.replace('\\', '')


def list_some(keys: Iterable[str], most: int = 10) -> str:
    """Return the first of many keys in words."""
    keys = list(keys)
    rest = len(keys) - most
    return ', '.join(keys[:most]) + (f' and {rest} more' if rest > 0 else '')
