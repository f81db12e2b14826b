"""Which class names are base and which are novel: the published splits.

Sources: 48/17 is Bansal et al., Zero-Shot Object Detection, ECCV 2018, as
OVR-CNN's json files have it; 65/15 is Rahman et al., Improved Visual-Semantic
Alignment for Zero-Shot Object Detection, AAAI 2020; the splits of LVIS
(Gu et al., ViLD, ICLR 2022) follow the `frequency` of its categories.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional, Sequence

import msgspec

from ovd.artifacts.files import require_file
from ovd.suggest import check_choice, did_you_mean

NAMED_SPLITS = {
    '48_17': dict(
        base='person, bicycle, car, motorcycle, train, truck, boat, bench, '
        'bird, horse, sheep, bear, zebra, giraffe, backpack, handbag, '
        'suitcase, frisbee, skis, kite, surfboard, bottle, fork, spoon, bowl, '
        'banana, apple, sandwich, orange, broccoli, carrot, pizza, donut, '
        'chair, bed, toilet, tv, laptop, mouse, remote, microwave, oven, '
        'toaster, refrigerator, book, clock, vase, toothbrush'.split(', '),
        novel='airplane, bus, cat, dog, cow, elephant, umbrella, tie, '
        'snowboard, skateboard, cup, knife, cake, couch, keyboard, sink, '
        'scissors'.split(', '),
    ),
    '65_15': dict(
        base='person, bicycle, car, motorcycle, bus, truck, boat, '
        'traffic light, fire hydrant, stop sign, bench, bird, dog, horse, '
        'sheep, cow, elephant, zebra, giraffe, backpack, umbrella, handbag, '
        'tie, skis, sports ball, kite, baseball bat, baseball glove, '
        'skateboard, surfboard, tennis racket, bottle, wine glass, cup, '
        'knife, spoon, bowl, banana, apple, orange, broccoli, carrot, pizza, '
        'donut, cake, chair, couch, potted plant, bed, dining table, tv, '
        'laptop, remote, keyboard, cell phone, microwave, oven, sink, '
        'refrigerator, book, clock, vase, scissors, teddy bear, '
        'toothbrush'.split(', '),
        novel='airplane, train, parking meter, cat, bear, suitcase, frisbee, '
        'snowboard, fork, sandwich, hot dog, toilet, mouse, toaster, '
        'hair drier'.split(', '),
    ),
}

# Base is `frequency` c or f, novel is r: name -> (base, novel) counts. The
# first is of LVIS v1, the second of LVIS v0.5.
FREQUENCY_SPLITS = {'866_337': (866, 337), '776_454': (776, 454)}

# Images of the full COCO 2017 files, and what the published files have:
# (split, subset) -> (images, annotations), with at least one annotation left.
COCO_2017_IMAGES = dict(train=118_287, val=5_000)
PUBLISHED_COUNTS = {
    ('48_17', 'train'): (107_761, 665_387),
    ('48_17', 'val'): (4_836, 33_152),
    ('65_15', 'train'): (111_338, 811_777),
    ('65_15', 'val'): (4_952, 36_781),
}

# The metrics report these beside the groups of a split file.
RESERVED_GROUPS = ('all', 'base', 'novel', 'harmonic')


class Category(msgspec.Struct):
    """What a split needs of one entry of `categories`."""

    id: int
    name: str
    frequency: Optional[str] = None


@dataclass(frozen=True)
class Split:
    """Base and novel names, and groups of them that are reported apart.

    Args:
        name (str): Goes into the names of the files that are written.
        base (Sequence[str]): Names seen in training.
        novel (Sequence[str]): Names that have no box in training.
        groups (dict[str, Sequence[str]]): Further sets of these names.
        whole_val (bool): The val file is evaluated as it is.
    """

    name: str
    base: Sequence[str]
    novel: Sequence[str]
    groups: dict = field(default_factory=dict)
    whole_val: bool = False


class _SplitFile(msgspec.Struct, forbid_unknown_fields=True):
    base: list[str]
    novel: list[str]
    groups: dict[str, list[str]] = {}


def load_split(
    split: str, categories: Sequence[Category], where: str
) -> Split:
    """Return a split with its names in the order of the categories.

    Args:
        split (str): A published split, or a file ``{"base": [...], "novel":
            [...], "groups": {name: [...]}}`` that ends with ``.json``.
        categories (Sequence[Category]): The categories of the annotations.
        where (str): The annotation file, for messages.

    Raises:
        ValueError: If the split is unknown or malformed, or names what the
            categories lack.
        FileNotFoundError: If the split file does not exist.
    """
    check_split(split)
    if split.endswith('.json'):
        found = _read_split_file(Path(split))
    elif split in FREQUENCY_SPLITS:
        found = _split_by_frequency(split, categories, where)
    else:
        named = NAMED_SPLITS[split]
        found = Split(split, named['base'], named['novel'])
    _check_names(found, [category.name for category in categories], where)
    order = {category.name: i for i, category in enumerate(categories)}

    def in_order(names: Sequence[str]) -> list[str]:
        return sorted(names, key=order.__getitem__)

    return Split(
        found.name,
        in_order(found.base),
        in_order(found.novel),
        {name: in_order(group) for name, group in found.groups.items()},
        found.whole_val,
    )


def check_split(split: str) -> None:
    """Raise unless a split is published or a sound file.

    It needs no annotations, so that nobody waits for those to be read.
    """
    if split.endswith('.json'):
        _read_split_file(Path(split))
    else:
        check_choice(
            split, [*NAMED_SPLITS, *FREQUENCY_SPLITS, 'FILE.json'], 'the split'
        )


def check_published_names(
    split: str,
    base: Sequence[str],
    novel: Sequence[str],
    categories: Sequence[Category],
    where: str,
) -> None:
    """Raise if a split has a published name, but not the published names.

    Where the categories lack some of them, as those of the miniature world
    do, it is a user's own split that happens to be called so.

    Args:
        split (str): What the split is called.
        base (Sequence[str]): Its base names.
        novel (Sequence[str]): Its novel names.
        categories (Sequence[Category]): Those of the annotation file.
        where (str): What has these names, for messages.

    Raises:
        ValueError: With the first name that is in another place.
    """
    if split not in NAMED_SPLITS and split not in FREQUENCY_SPLITS:
        return
    try:
        published = load_split(split, categories, where)
    except ValueError:  # it is not of these categories
        return

    def place(name: str, base: Sequence[str], novel: Sequence[str]) -> str:
        return (
            'base'
            if name in base
            else 'novel'
            if name in novel
            else 'neither base nor novel'
        )

    for category in categories:
        ours = place(category.name, base, novel)
        theirs = place(category.name, published.base, published.novel)
        if ours != theirs:
            raise ValueError(
                f'"{category.name}" is {ours} in {where}, and {theirs} in '
                f'the published split {split}; a split of your own needs '
                'another name'
            )


def check_published(
    split: str,
    subset: str,
    categories: Sequence[Category],
    where: str,
    images: tuple[int, int],
    annotations: tuple[int, int],
) -> None:
    """Raise if COCO 2017 is split, but not into what was published.

    Args:
        split (str): As for :func:`load_split`.
        subset (str): ``'train'`` or ``'val'``.
        categories (Sequence[Category]): Those of the source.
        where (str): The source, for messages.
        images (tuple[int, int]): How many are kept and removed.
        annotations (tuple[int, int]): How many are kept and removed.

    Raises:
        ValueError: If the counts differ.
    """
    expected = PUBLISHED_COUNTS.get((split, subset))
    # The source is taken for COCO 2017 by its number of images and its 80
    # names. The name of a file is the user's, `info` often gets lost, and
    # the number of annotations is what a damaged file has wrong.
    coco = {name for names in NAMED_SPLITS['65_15'].values() for name in names}
    if (
        expected is None
        or sum(images) != COCO_2017_IMAGES[subset]
        or {category.name for category in categories} != coco
    ):
        return
    if (images[0], annotations[0]) != expected:
        raise ValueError(
            f'{where} is COCO 2017 {subset} by its images and categories, '
            f'and split {split} leaves {images[0]:,} images with '
            f'{annotations[0]:,} annotations; published are {expected[0]:,} '
            f'with {expected[1]:,}: the file is damaged or edited, get the '
            'original\nother annotations of the same images are split with '
            '--split FILE.json, which compares nothing'
        )


def _read_split_file(path: Path) -> Split:
    """Read a user's own split; it is called by the stem of its file."""
    require_file(path, 'split file')
    try:
        content = msgspec.json.decode(path.read_bytes(), type=_SplitFile)
    except msgspec.DecodeError as error:
        raise ValueError(
            f'{path} is not a split, expected {{"base": [names], "novel": '
            f'[names], "groups": {{name: [names]}}}}: {error}'
        ) from error
    return Split(path.stem, content.base, content.novel, content.groups)


def _split_by_frequency(
    split: str, categories: Sequence[Category], where: str
) -> Split:
    """Split LVIS: frequent and common names are base, rare ones novel."""
    unknown = [
        c.name for c in categories if c.frequency not in ('r', 'c', 'f')
    ]
    if unknown:
        raise ValueError(
            f'split {split} goes by the `frequency` (r, c or f) of LVIS '
            f'categories, {where} has none for "{unknown[0]}"'
        )
    base = [c.name for c in categories if c.frequency != 'r']
    novel = [c.name for c in categories if c.frequency == 'r']
    if (len(base), len(novel)) != FREQUENCY_SPLITS[split]:
        fitting = [
            name
            for name, sizes in FREQUENCY_SPLITS.items()
            if sizes == (len(base), len(novel))
        ]
        raise ValueError(
            f'split {split} is of another dataset: {where} has {len(base)} '
            f'common or frequent and {len(novel)} rare categories'
            + (f', its split is {fitting[0]}' if fitting else '')
        )
    return Split(split, base, novel, whole_val=True)


def _check_names(split: Split, known: Sequence[str], where: str) -> None:
    """Raise unless the names are known, unique and in one place."""
    if not split.base:
        raise ValueError(f'split {split.name} has no base name')
    named = [*split.base, *split.novel]
    missing = sorted(set(named) - set(known))
    if missing:
        hints = '\n'.join(
            f'  "{name}"{did_you_mean(name, known)}' for name in missing
        )
        raise ValueError(
            f'split {split.name} names what the categories of '
            f'{where} lack:\n{hints}'
        )
    both = sorted(set(split.base) & set(split.novel))
    if both:
        raise ValueError(
            f'split {split.name} has names that are base and '
            f'novel: {", ".join(both)}'
        )
    if len(set(named)) != len(named):
        raise ValueError(
            f'split {split.name} lists "'
            f'{next(n for n in named if named.count(n) > 1)}" '
            'twice'
        )
    for group, names in split.groups.items():
        if group in RESERVED_GROUPS or not names:
            raise ValueError(
                f'group "{group}" of split {split.name} is empty or called '
                f'as one of {", ".join(RESERVED_GROUPS)}'
            )
        for name in names:
            if name not in named:
                raise ValueError(
                    f'group "{group}" of split {split.name} names "{name}", '
                    f'neither base nor novel{did_you_mean(name, named)}'
                )
