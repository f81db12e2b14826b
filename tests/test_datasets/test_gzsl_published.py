"""COCO 2017 must come out as published; other data is let alone."""

import json
from pathlib import Path

import pytest

from ovd.datasets import gzsl_splits
from ovd.datasets.gzsl_split import split_file
from ovd.datasets.gzsl_splits import NAMED_SPLITS
from ovd.datasets.gzsl_verify import verify_split

BASE_48, NOVEL_17 = NAMED_SPLITS['48_17'].values()
BASE_65, NOVEL_15 = NAMED_SPLITS['65_15'].values()
NAMES = [*BASE_65, *NOVEL_15]
OUTSIDE_48_17 = [n for n in NAMES if n not in [*BASE_48, *NOVEL_17]]


def spread(number: int, images: range) -> list:
    """Return `number` image ids, each of `images` at least once."""
    return [images[i % len(images)] for i in range(number)]


def write(path: Path, num_images: int, parts: list) -> Path:
    """Write COCO names and boxes of (image ids, category name)."""
    cat_ids = {name: i for i, name in enumerate(NAMES, 1)}
    boxes = [
        (image_id, cat_ids[name]) for ids, name in parts for image_id in ids
    ]
    path.write_text(
        json.dumps(
            dict(
                images=[dict(id=i) for i in range(num_images)],
                annotations=[
                    dict(id=i, image_id=image_id, category_id=cat_id)
                    for i, (image_id, cat_id) in enumerate(boxes)
                ],
                categories=[dict(id=i, name=n) for n, i in cat_ids.items()],
            )
        )
    )
    return path


def make_val(path: Path, missing: int = 0) -> Path:
    """A file of val's size with just the numbers that are published.

    4,836 images have 33,152 boxes of the 48 and 17 classes, 116 more have
    the other 3,629 boxes, 48 have none.
    """
    return write(
        path,
        5000,
        [
            (spread(33_152 - missing, range(4836)), BASE_48[0]),
            (spread(36_781 - 33_152, range(4836, 4952)), OUTSIDE_48_17[0]),
        ],
    )


@pytest.mark.parametrize(
    'split, images, annotations',
    [('48_17', 4836, 33_152), ('65_15', 4952, 36_781)],
)
def test_full_size(tmp_path, split, images, annotations):
    """The check passes, and fails where one box is missing."""
    report = split_file(make_val(tmp_path / 'val.json'), split, 'val')
    assert (report.images[0], report.annotations[0]) == (images, annotations)
    report.output.unlink()
    source = make_val(tmp_path / 'val.json', missing=1)
    with pytest.raises(ValueError) as error:
        split_file(source, split, 'val')
    assert (
        f'{annotations - 1:,} annotations; published are {images:,} '
        f'with {annotations:,}' in str(error.value)
    )
    assert [path.name for path in tmp_path.iterdir()] == ['val.json']


def test_only_what_was_published_is_compared(tmp_path):
    """Other rules, own splits and other data have other counts."""
    source = make_val(tmp_path / 'val.json', missing=1)
    split_file(source, '48_17', 'val', min_annotations=0)
    own = tmp_path / '48_17.json'  # called like the published one
    own.write_text(json.dumps(dict(base=BASE_48, novel=NOVEL_17)))
    split_file(source, str(own), 'val')
    split_file(source, '65_15', 'train').output.unlink()  # of the val file
    content = json.loads(source.read_text())
    content['images'].append(dict(id=5000))
    source.write_text(json.dumps(content))
    split_file(source, '65_15', 'val')
    del content['images'][-1]
    content['categories'].append(dict(id=81, name='unicorn'))
    source.write_text(json.dumps(content))
    split_file(source, '48_17', 'val', overwrite=True)


@pytest.mark.parametrize('split', ['48_17', '65_15'])
@pytest.mark.parametrize('images, annotations', [(2, 3), (3, 3), (2, 4)])
def test_train(tmp_path, monkeypatch, split, images, annotations):
    """Train goes by its own row of the table (here of three images)."""
    monkeypatch.setitem(gzsl_splits.COCO_2017_IMAGES, 'train', 3)
    monkeypatch.setitem(
        gzsl_splits.PUBLISHED_COUNTS, (split, 'train'), (images, annotations)
    )
    source = write(
        tmp_path / 'train.json',
        3,
        [([0, 0, 1], 'person'), ([1, 2], 'airplane')],
    )
    if (images, annotations) == (2, 3):
        assert split_file(source, split, 'train').annotations == (3, 2)
        return
    with pytest.raises(ValueError, match='is COCO 2017 train by its images'):
        split_file(source, split, 'train')


def to_base(block: dict) -> None:
    """A novel class is called base, so that its boxes seem to be in place."""
    block['novel'].remove('cat')
    block['base'].append('cat')


def to_neither(block: dict) -> None:
    block['novel'].remove('cat')


@pytest.mark.parametrize(
    'edit, place', [(to_base, 'base'), (to_neither, 'neither base nor novel')]
)
def test_edited_block(tmp_path, edit, place):
    """A file that leaks and says it may is found without its source."""
    source = write(tmp_path / 'x.json', 2, [([0], 'person'), ([1], 'cat')])
    path = split_file(source, '48_17', 'train').output
    content = json.loads(path.read_text())
    edit(content['gzsl'])
    content['annotations'].append(
        dict(id=7, image_id=0, category_id=NAMES.index('cat') + 1)
    )
    content['gzsl']['kept']['annotations'] += 1
    path.write_text(json.dumps(content))
    source.unlink()
    with pytest.raises(
        ValueError,
        match=f'"cat" is {place} in .*{path.name}, '
        'and novel in the published split 48_17',
    ):
        verify_split(path)


def test_edited_block_of_lvis(tmp_path, monkeypatch):
    """Splits by frequency are compared with the frequency."""
    monkeypatch.setitem(gzsl_splits.FREQUENCY_SPLITS, '866_337', (1, 1))
    source = tmp_path / 'x.json'
    source.write_text(
        json.dumps(
            dict(
                images=[dict(id=1)],
                annotations=[dict(id=1, image_id=1, category_id=1)],
                categories=[
                    dict(id=1, name='cat', frequency='c'),
                    dict(id=2, name='yak', frequency='r'),
                ],
            )
        )
    )
    path = split_file(source, '866_337', 'train').output
    assert 'no leak' in verify_split(path)
    content = json.loads(path.read_text())
    content['gzsl'].update(base=['cat', 'yak'], novel=[])
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match='"yak" is base in .* and novel in'):
        verify_split(path)


def test_own_split_with_a_published_name(tmp_path):
    """Other names cannot pass as 48_17; those of fewer classes are let be."""
    source = write(tmp_path / 'x.json', 1, [([0], 'person')])
    own = tmp_path / '48_17.json'
    own.write_text('{"base": ["person"], "novel": ["dog"]}')
    with pytest.raises(
        ValueError,
        match='"bicycle" is neither .*48_17.json.*needs another name',
    ):
        split_file(source, str(own), 'train')
    content = json.loads(source.read_text())
    content['categories'] = [
        c for c in content['categories'] if c['name'] in ('person', 'dog')
    ]
    source.write_text(json.dumps(content))
    assert 'no leak' in verify_split(
        split_file(source, str(own), 'train').output
    )


def test_table():
    """The published numbers, and images of the original files."""
    assert gzsl_splits.PUBLISHED_COUNTS == {
        ('48_17', 'train'): (107_761, 665_387),
        ('48_17', 'val'): (4_836, 33_152),
        ('65_15', 'train'): (111_338, 811_777),
        ('65_15', 'val'): (4_952, 36_781),
    }
    assert gzsl_splits.COCO_2017_IMAGES == dict(train=118_287, val=5_000)
    assert len(set(NAMES)) == 80
