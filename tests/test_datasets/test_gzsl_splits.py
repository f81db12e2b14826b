"""Name lists of the published splits, and split files."""

import hashlib
import json
from pathlib import Path

import pytest

from ovd.datasets.gzsl_splits import NAMED_SPLITS, Category, load_split

# Category ids of OVR-CNN's json files
BASE_IDS = [
    1,
    2,
    3,
    4,
    7,
    8,
    9,
    15,
    16,
    19,
    20,
    23,
    24,
    25,
    27,
    31,
    33,
    34,
    35,
    38,
    42,
    44,
    48,
    50,
    51,
    52,
    53,
    54,
    55,
    56,
    57,
    59,
    60,
    62,
    65,
    70,
    72,
    73,
    74,
    75,
    78,
    79,
    80,
    82,
    84,
    85,
    86,
    90,
]
NOVEL_IDS = [5, 6, 17, 18, 21, 22, 28, 32, 36, 41, 47, 49, 61, 63, 76, 81, 87]
NOVEL_IDS_65_15 = [5, 7, 14, 17, 23, 33, 34, 36, 48, 54, 58, 70, 74, 80, 89]
# Of the newline-joined LVIS v1 names, spelled as in the json, in id order
BASE_SHA = '36dde06bd56bd3e2f4e10f3c796d916aa2d26dc4f11453e4b243eb410187535f'
NOVEL_SHA = '3335cac077e8efd8502a3b4087e774cb4fb1176dce6d63947d29be68981b3546'
ALL_SHA = 'ec0290d86a7d76b7f7057c9af07ea20fb7888b3e1a81f5c3200aa07106281b8d'
SHARED = Path(__file__).parents[3] / 'shared' / 'data'
COCO = SHARED / 'coco_tiny' / 'annotations' / 'instances_val2017.json'
LVIS = SHARED / 'lvis_v1_categories.json'
LVIS_V05 = SHARED / 'lvis_v0.5_val_100.json'


def categories(*names: str, frequency: str = None) -> list:
    return [Category(i, n, frequency) for i, n in enumerate(names, 1)]


def from_json(path: Path) -> list:
    content = json.loads(path.read_text())
    if isinstance(content, dict):
        content = content['categories']
    return [Category(c['id'], c['name'], c.get('frequency')) for c in content]


def test_sizes():
    """48/17 leaves 15 classes of COCO out, 65/15 none."""
    assert [len(NAMED_SPLITS['48_17'][k]) for k in ('base', 'novel')] == [
        48,
        17,
    ]
    assert [len(NAMED_SPLITS['65_15'][k]) for k in ('base', 'novel')] == [
        65,
        15,
    ]
    every = {*NAMED_SPLITS['65_15']['base'], *NAMED_SPLITS['65_15']['novel']}
    assert len(every) == 80
    both = {*NAMED_SPLITS['48_17']['base'], *NAMED_SPLITS['48_17']['novel']}
    assert every - both == {
        'traffic light',
        'fire hydrant',
        'stop sign',
        'parking meter',
        'sports ball',
        'baseball bat',
        'baseball glove',
        'tennis racket',
        'wine glass',
        'hot dog',
        'potted plant',
        'dining table',
        'cell phone',
        'teddy bear',
        'hair drier',
    }
    assert set(NAMED_SPLITS['48_17']['novel']) & set(
        NAMED_SPLITS['65_15']['novel']
    ) == {'airplane', 'cat', 'snowboard'}


def official_coco() -> list:
    """COCO's categories: 80 names, ids 1 to 90 with ten left out."""
    from mmdet.datasets import CocoDataset

    ids = [
        i
        for i in range(1, 91)
        if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
    ]
    return [
        Category(i, name)
        for i, name in zip(ids, CocoDataset.METAINFO['classes'])
    ]


@pytest.mark.parametrize(
    'found',
    [
        pytest.param(official_coco, id='official'),
        pytest.param(
            lambda: from_json(COCO),
            id='real file',
            marks=pytest.mark.skipif(
                not COCO.is_file(), reason='no COCO file at hand'
            ),
        ),
    ],
)
def test_coco_ids(found):
    """Names have the category ids of the published files."""
    found = found()
    split = load_split('48_17', found, 'x')
    by_name = {c.name: c.id for c in found}
    assert [by_name[n] for n in split.base] == BASE_IDS
    assert [by_name[n] for n in split.novel] == NOVEL_IDS
    split = load_split('65_15', found, 'x')
    assert [by_name[n] for n in split.novel] == NOVEL_IDS_65_15
    assert sorted([*split.base, *split.novel]) == sorted(by_name)


@pytest.mark.skipif(not LVIS.is_file(), reason='no LVIS categories at hand')
def test_lvis_names():
    """866/337 by frequency gives the published lists."""
    split = load_split('866_337', from_json(LVIS), 'x')
    for names, digest in ((split.base, BASE_SHA), (split.novel, NOVEL_SHA)):
        joined = '\n'.join(names).encode()
        assert hashlib.sha256(joined).hexdigest() == digest
    assert split.whole_val
    names = '\n'.join(c.name for c in from_json(LVIS)).encode()
    assert hashlib.sha256(names).hexdigest() == ALL_SHA


@pytest.mark.skipif(not LVIS_V05.is_file(), reason='no LVIS v0.5 at hand')
def test_lvis_v05_names():
    """776/454 is c and f against r, in the order of the file."""
    found = from_json(LVIS_V05)
    split = load_split('776_454', found, 'x')
    assert list(split.base) == [c.name for c in found if c.frequency in 'cf']
    assert list(split.novel) == [c.name for c in found if c.frequency == 'r']
    assert (len(split.base), len(split.novel)) == (776, 454)
    assert split.whole_val


@pytest.mark.parametrize(
    'name, base, novel, other',
    [('866_337', 866, 337, '776_454'), ('776_454', 776, 454, '866_337')],
)
def test_frequency_counts(name, base, novel, other):
    """Each edition of LVIS has its split, the other one is refused."""
    found = [
        Category(i, f'{i}', 'r' if i < novel else 'cf'[i % 2])
        for i in range(base + novel)
    ]
    split = load_split(name, found, 'x.json')
    assert [len(split.base), len(split.novel)] == [base, novel]
    with pytest.raises(ValueError, match=f'dataset: .* split is {name}'):
        load_split(other, found, 'x.json')


@pytest.mark.parametrize(
    'frequency, message',
    [
        (None, 'goes by the `frequency`'),
        ('f', 'is of another dataset: x.json has 2 common'),
    ],
)
def test_lvis_refuses_other_datasets(frequency, message):
    """COCO has no frequency, LVIS v0.5 other counts."""
    with pytest.raises(ValueError, match=message):
        load_split(
            '866_337', categories('a', 'b', frequency=frequency), 'x.json'
        )


@pytest.mark.parametrize(
    'content, message',
    [
        (dict(base=['cta'], novel=['dog']), '"cta"; did you mean "cat"'),
        (dict(base=['cat', 'dog'], novel=['dog']), 'base and novel: dog'),
        (dict(base=['cat', 'cat'], novel=['dog']), 'lists "cat" twice'),
        (dict(base=[], novel=['dog']), 'no base name'),
        (dict(base=['cat']), 'is not a split, .*`novel`'),
        (dict(base=['cat'], novel=[], extra=1), 'is not a split, .*`extra`'),
        (
            dict(base=['cat'], novel=['dog'], groups=dict(pets=['cow'])),
            'group "pets" .* "cow", neither',
        ),
        (
            dict(base=['cat'], novel=['dog'], groups=dict(novel=['dog'])),
            'group "novel" .* called as one of all, base',
        ),
        (
            dict(base=['cat'], novel=['dog'], groups=dict(pets=[])),
            'group "pets" .* is empty',
        ),
    ],
)
def test_bad_split_file(tmp_path, content, message):
    """What is wrong with a split file is said by name."""
    path = tmp_path / 'mine.json'
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        load_split(str(path), categories('cat', 'dog', 'cow'), 'x.json')


def test_unknown_split(tmp_path):
    """Neither a published split nor a file."""
    with pytest.raises(ValueError, match='did you mean "48_17"'):
        load_split('48_71', categories('cat'), 'x.json')
    with pytest.raises(FileNotFoundError, match='does not exist'):
        load_split(str(tmp_path / 'no.json'), categories('cat'), 'x.json')
