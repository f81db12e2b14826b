"""Names of the miniature world: 65 compositions of pattern, colour and shape.

48 base names and 17 novel ones of two kinds, which test different things:
``novel_attribute`` names have a shape that no base name has, so only a
teacher who has seen that shape can help; ``novel_combination`` names put
together values that base names do have.
"""

from dataclasses import dataclass
from typing import Dict, List, Tuple

import numpy as np

SPLIT = '48_17'
BACKGROUND = 'background'

# 'plain' is not spoken: "red ring", but "striped red ring".
PATTERNS = ('plain', 'striped', 'dotted')
COLOURS = ('red', 'yellow', 'green', 'blue', 'purple')
BASE_SHAPES = (
    'circle',
    'square',
    'triangle',
    'cross',
    'ring',
    'moon',
    'arrow',
)
NOVEL_SHAPES = ('star', 'heart')
NOVEL_COMBINATIONS = (
    'purple circle',
    'dotted green square',
    'striped blue triangle',
    'striped yellow ring',
    'dotted red arrow',
)

# Anything with one of these is in the scenes, but has no name there.
DISTRACTOR_COLOURS = ('grey', 'brown', 'black', 'white')
DISTRACTOR_SHAPES = ('hourglass', 'bolt')


@dataclass(frozen=True)
class Look:
    """What an object looks like; also what it is called."""

    pattern: str
    colour: str
    shape: str

    @property
    def name(self) -> str:
        """E.g. "striped blue triangle", or "red ring" where plain."""
        spoken = '' if self.pattern == 'plain' else f'{self.pattern} '
        return f'{spoken}{self.colour} {self.shape}'


@dataclass(frozen=True)
class Vocabulary:
    """The named looks, in category order (id 1 first), and their split."""

    looks: Tuple[Look, ...]
    base: Tuple[str, ...]
    groups: Dict[str, Tuple[str, ...]]

    @property
    def names(self) -> List[str]:
        """The 65 names in category order."""
        return [look.name for look in self.looks]

    @property
    def novel(self) -> List[str]:
        """The novel names in category order."""
        held_out = set().union(*self.groups.values())
        return [name for name in self.names if name in held_out]

    @property
    def categories(self) -> List[dict]:
        """The ``categories`` of a COCO file, ids 1 to 65."""
        return [
            dict(id=i, name=look.name, supercategory=look.shape)
            for i, look in enumerate(self.looks, 1)
        ]

    @property
    def split(self) -> Dict[str, object]:
        """What the split file holds."""
        return dict(
            base=list(self.base),
            novel=self.novel,
            groups={key: list(names) for key, names in self.groups.items()},
        )


def build_vocabulary() -> Vocabulary:
    """Return the names of the world; they do not depend on its seed.

    Each of the 35 (base shape, colour) has one pattern and 18 of them a
    second one: 53 names, 5 of which are the novel combinations. Each novel
    shape comes once in every colour and twice in one, both in the same
    patterns: to tell a striped red star from a striped red heart by what they
    are not is impossible. The order is shuffled, so that nothing can tell
    base from novel by position.
    """
    found = []
    for s, shape in enumerate(BASE_SHAPES):
        for c, colour in enumerate(COLOURS):
            found.append(Look(PATTERNS[(s + c + 2) % 3], colour, shape))
            if (s + c) % 2 == 0:
                found.append(Look(PATTERNS[(s + c) % 3], colour, shape))
    for shape in NOVEL_SHAPES:
        found.extend(
            Look(PATTERNS[(c + 1) % 3], colour, shape)
            for c, colour in enumerate(COLOURS)
        )
        found.append(Look(PATTERNS[0], COLOURS[0], shape))

    order = np.random.default_rng(4817).permutation(len(found))
    looks = tuple(found[i] for i in order)
    groups = dict(
        novel_attribute=tuple(
            look.name for look in looks if look.shape in NOVEL_SHAPES
        ),
        novel_combination=tuple(
            look.name for look in looks if look.name in NOVEL_COMBINATIONS
        ),
    )
    novel = set().union(*groups.values())
    base = tuple(look.name for look in looks if look.name not in novel)
    return Vocabulary(looks, base, groups)
