"""Which names of a vocabulary have no boxes in training."""

from typing import Collection

from ovd.suggest import did_you_mean

MOST_NAMES = 5  # in an error


def check_novel_classes(
    names: Collection[str], novel_classes: Collection[str]
) -> None:
    """Raise unless all novel classes are among the names.

    The right name of a misspelt one would be learned as a base class, which
    has no boxes in training.

    Args:
        names (Collection[str]): The vocabulary.
        novel_classes (Collection[str]): Those without boxes in training.

    Raises:
        ValueError: With the novel classes that are none of the names.
    """
    known = set(names)
    strange = [name for name in novel_classes if name not in known]
    if strange:
        raise ValueError(
            f'{len(strange)} of {len(novel_classes)} novel classes are none '
            f'of the {len(known)} names of the vocabulary:'
            + ''.join(
                f'\n  "{name}"{did_you_mean(name, names)}'
                for name in strange[:MOST_NAMES]
            )
            + ('\n  …' if len(strange) > MOST_NAMES else '')
        )
