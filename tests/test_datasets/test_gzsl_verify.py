"""Leaks and other damage in split files are found."""

import json
from pathlib import Path

import pytest

from ovd.datasets.gzsl_split import split_file
from ovd.datasets.gzsl_verify import verify_split

SOURCE = dict(
    images=[dict(id=i) for i in (1, 2, 3)],
    annotations=[
        dict(id=10 + i, image_id=i, category_id=i) for i in (1, 2, 3)
    ],
    categories=[
        dict(id=1, name='cat'),
        dict(id=2, name='boat'),
        dict(id=3, name='kite'),
    ],
)


def make(folder: Path, subset: str) -> Path:
    (folder / 'my.json').write_text(
        '{"base": ["cat"], "novel": ["boat"], "groups": {"g": ["boat"]}}'
    )
    (folder / 'a.json').write_text(json.dumps(SOURCE))
    return split_file(
        folder / 'a.json', str(folder / 'my.json'), subset
    ).output


@pytest.mark.parametrize(
    'subset, line',
    [
        ('train', 'train of my, 1 images, 1 annotations, no leak'),
        ('val', 'val of my, 2 images, 2 annotations, no leak'),
    ],
)
def test_sound(tmp_path, subset, line):
    """What the splitter writes is sound, with and without its source."""
    path = make(tmp_path, subset)
    assert verify_split(path).endswith(line + '; agrees with a.json')
    (tmp_path / 'a.json').write_text('other content')
    unchecked = line + '; what was removed is not checked: the a.json '
    assert unchecked + 'beside it is not, or no longer,' in verify_split(path)
    (tmp_path / 'a.json').unlink()
    assert unchecked + 'it is made from is not beside' in verify_split(path)


@pytest.mark.parametrize('k', [0, 1])
def test_sound_with_empty_images(tmp_path, k):
    """Any least number of annotations is understood."""
    make(tmp_path, 'train')
    path = split_file(
        tmp_path / 'a.json', str(tmp_path / 'my.json'), 'train', k
    ).output
    assert f'{(3, 1)[k]} images' in verify_split(path)


def leak(content: dict) -> None:
    content['annotations'].append(dict(id=77, image_id=1, category_id=2))


def excluded(content: dict) -> None:
    content['annotations'].append(dict(id=78, image_id=1, category_id=3))


def double(content: dict) -> None:
    content['annotations'].append(dict(id=11, image_id=1, category_id=1))


def stray_image(content: dict) -> None:
    content['annotations'].append(dict(id=79, image_id=9, category_id=1))


def empty_image(content: dict) -> None:
    content['images'].append(dict(id=8))
    content['gzsl']['kept']['images'] += 1


def lost(content: dict) -> None:
    content['annotations'].clear()


def unknown_name(content: dict) -> None:
    content['gzsl']['novel'].append('bat')


def both(content: dict) -> None:
    content['gzsl']['novel'].append('cat')


def stray_group(content: dict) -> None:
    content['gzsl']['groups']['g'] = ['kite']


def no_subset(content: dict) -> None:
    del content['gzsl']['subset']


def removed(content: dict) -> None:
    content['gzsl']['removed']['annotations'] = 1


def relabelled(content: dict) -> None:
    """The novel box of image 2 as a base one, counts and all."""
    content['images'] = [dict(id=2)]
    content['annotations'] = [dict(id=12, image_id=2, category_id=1)]


def other_box(content: dict) -> None:
    content['annotations'][0]['id'] = 12


def renamed(content: dict) -> None:
    """The category of image 1 gets the name of another one."""
    content['categories'][0]['name'] = 'kite'
    content['categories'][2]['name'] = 'cat'
    content['annotations'][0]['category_id'] = 3


def no_category(content: dict) -> None:
    content['annotations'][0]['category_id'] = 9


def no_source(content: dict) -> None:
    del content['gzsl']['source']


def no_block(content: dict) -> None:
    del content['gzsl']


@pytest.mark.parametrize(
    'damage, message',
    [
        (leak, 'annotation 77 .*"boat", which is novel.*not be in a train'),
        (excluded, 'annotation 78 .*"kite", which is neither'),
        (double, 'annotations id 11 twice'),
        (stray_image, 'annotation 79 .* image 9'),
        (empty_image, 'image 8 .* has 0 annotations'),
        (lost, 'has 0 annotations, its `gzsl` block says 1'),
        (unknown_name, 'names "bat", which no category'),
        (both, 'names "cat" more than once'),
        (stray_group, 'group "g" .* "kite", neither'),
        (removed, 'lacks 2 annotations of its source, its .* says 1'),
        (relabelled, 'image 2 of .* the rule leaves image 1 of'),
        (other_box, 'annotation 12 of .* the rule leaves annotation 11'),
        (renamed, 'categories of .* are not those of its source a.json'),
        (no_category, 'annotation 11 of .* is of category 9'),
        (no_source, 'block of .* is malformed: .*`source`'),
        (no_subset, 'block of .* is malformed: .*`subset`'),
        (no_block, 'has no `gzsl` block'),
    ],
)
def test_damage(tmp_path, damage, message):
    """Each kind of damage is named, with the first offending id."""
    path = make(tmp_path, 'train')
    content = json.loads(path.read_text())
    damage(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        verify_split(path)


@pytest.mark.parametrize('field, value', [('category_id', 1), ('image_id', 1)])
def test_changed_annotation(tmp_path, field, value):
    """A box that is given to another class or image is found."""
    path = make(tmp_path, 'val')
    content = json.loads(path.read_text())
    content['gzsl']['min_annotations'] = 0  # images may become empty
    content['annotations'][1][field] = value
    content['images'].append(dict(id=3))
    content['gzsl']['kept']['images'] = 3
    content['gzsl']['removed']['images'] = 0
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match='annotation 12 of .* has another'):
        verify_split(path)
