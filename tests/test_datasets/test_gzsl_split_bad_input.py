"""What cannot be split is refused by name, and leaves no file behind."""

import errno
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator
from unittest import mock

import pytest

from ovd.datasets.gzsl_split import split_file
from ovd.datasets.gzsl_verify import verify_split

ROOT = Path(__file__).parents[2]
IMAGES = [dict(id=i, file_name=f'{i}.png') for i in (1, 2, 3)]
ANNOTATIONS = [dict(id=10 + i, image_id=i, category_id=i) for i in (1, 2, 3)]
CATEGORIES = [
    dict(id=i, name=n) for i, n in enumerate(['cat', 'dog', 'boat'], 1)
]


def text(**changes: Any) -> str:
    content = dict(
        images=IMAGES, annotations=ANNOTATIONS, categories=CATEGORIES
    )
    content.update(changes)
    return json.dumps({k: v for k, v in content.items() if v is not None})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / 'x.json'
    path.write_text(text())
    return path


@pytest.fixture
def split(tmp_path: Path) -> str:
    path = tmp_path / 'mine.json'
    path.write_text('{"base": ["cat", "dog"], "novel": ["boat"]}')
    return str(path)


def files(folder: Path) -> list:
    return sorted(path.name for path in folder.iterdir())


NOT_JSON = 'is not json or is cut off'
NOT_COCO = 'is not in COCO format: '


@pytest.mark.parametrize(
    'content, message',
    [
        ('', NOT_JSON),
        ('<html>', NOT_JSON),
        (text()[:-1], NOT_JSON),
        (text()[:60], NOT_JSON),
        (text() + '}', NOT_JSON),
        ('[1]', NOT_COCO + 'Expected `object`, got `array`'),
        ('3', NOT_COCO),
        ('{}', 'lacks the key `categories`, it has none'),
        (
            text(annotations=None),
            'lacks the key `annotations`, it has images, categories',
        ),
        (text(images=None), 'lacks the key `images`'),
        (text(categories=None), 'lacks the key `categories`'),
        (text(annotations=3), NOT_COCO + 'Expected `array`.*annotations'),
        (
            text(images=[*IMAGES, dict(file_name='4.png')]),
            r'`images\[3\]`: .* required field `id`',
        ),
        (text(images=[7]), r'`images\[0\]`: Expected `object`'),
        (
            text(annotations=[*ANNOTATIONS, dict(id=5, category_id=1)]),
            r'`annotations\[3\]`: .* required field `image_id`',
        ),
        (
            text(annotations=[dict(id=5, image_id=1, category_id='cat')]),
            r'`annotations\[0\]`: Expected `int`, got `str` - at '
            r'`\$.category_id`',
        ),
        (
            text(annotations=[dict(id=5.5, image_id=1, category_id=1)]),
            r'`annotations\[0\]`: Expected `int . str`, got `float`',
        ),
        (text(categories=[*CATEGORIES, dict(id=4)]), 'required field `name`'),
        (text(images=IMAGES + IMAGES[:1]), 'images id 1 twice'),
        (text(annotations=ANNOTATIONS * 2), 'annotations id 11 twice'),
        (
            text(categories=[*CATEGORIES, dict(id=1, name='cow')]),
            'categories id 1 twice',
        ),
        (
            text(categories=[*CATEGORIES, dict(id=9, name='cat')]),
            'category name cat twice',
        ),
        (
            text(annotations=[dict(id=5, image_id=99, category_id=1)]),
            'annotation 5 of .* is of image 99, which the file lacks',
        ),
        (
            text(annotations=[dict(id=5, image_id=1, category_id=77)]),
            'annotation 5 of .* is of category 77, which the file lacks',
        ),
        (
            text(
                categories=[
                    dict(c, name=c['name'].upper()) for c in CATEGORIES
                ]
            ),
            '"cat"; did you mean "CAT"',
        ),
        (text(gzsl=dict(split='mine')), 'is a split file already'),
        (text(gzsl={}), 'is a split file already'),
        (text()[:-1] + ', "gzsl": null}', 'has the key "gzsl" with null'),
        (
            '{"annotations": ' + json.dumps(ANNOTATIONS) + ', ' + text()[1:],
            'has the key "annotations" twice',
        ),
        (text()[:-1] + ', "annotations": []}', 'the key "annotations" twice'),
        (text()[:-1] + r', "\u0069mages": []}', 'the key "images" twice'),
        (text()[:-1] + ', "categories": []}', 'the key "categories" twice'),
        ('{"gzsl": {}, ' + text()[1:-1] + ', "gzsl": {}}', 'key "gzsl" twice'),
    ],
)
def test_bad_source(source, split, content, message):
    """The message has the file and the first offending object."""
    source.write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        split_file(source, split, 'train')
    assert str(source) in str(error.value)
    assert files(source.parent) == ['mine.json', 'x.json']


@pytest.mark.parametrize(
    'base, k, message',
    [
        ('cow', 1, 'none of the 3 annotations .*: none is of a base class$'),
        ('cat', 2, 'none is of a base class, in an image with at least 2$'),
    ],
)
def test_nothing_left(source, base, k, message):
    """Nothing to train on is no success; a source without boxes is."""
    categories = [*CATEGORIES, dict(id=4, name='cow')]
    source.write_text(text(categories=categories))
    split = source.with_name('mine.json')
    split.write_text(json.dumps(dict(base=[base], novel=['boat'])))
    with pytest.raises(ValueError, match=message):
        split_file(source, str(split), 'train', k)
    assert files(source.parent) == ['mine.json', 'x.json']
    source.write_text(text(categories=categories, annotations=[]))
    assert split_file(source, str(split), 'train', k).state == 'written'


def test_keys_of_other_objects(source, split):
    """Only the outermost keys count, and only those that are read."""
    info = dict(images=[], annotations='"annotations": [', gzsl=None)
    source.write_text(
        '{"info": 1, '
        + text(info=info, images=[dict(i, images=[]) for i in IMAGES])[1:]
    )
    report = split_file(source, split, 'train')
    assert 'no leak' in verify_split(report.output)


def test_not_utf8(source, split):
    """Bytes that are no text in a name that is read."""
    source.write_bytes(text().encode().replace(b'boat', b'bo\xffat'))
    with pytest.raises(ValueError, match=f'{source}'):
        split_file(source, split, 'train')


@pytest.mark.parametrize(
    'encoding, name', [('utf-8-sig', 'UTF-8'), ('utf-16', 'UTF-16')]
)
def test_byte_order_mark(source, split, encoding, name):
    """Editors of Windows write one; nothing is cut off."""
    source.write_bytes(text().encode(encoding))
    with pytest.raises(
        ValueError,
        match=f'{source} starts with a byte order '
        f'mark of {name}: save it as UTF-8 without one',
    ):
        split_file(source, split, 'train')


@pytest.mark.parametrize('value', ['nan', 'inf', '-inf'])
def test_no_number(source, split, value):
    """Python writes NaN and Infinity, which other readers refuse."""
    boxes = [dict(a, bbox=[1, float(value)]) for a in ANNOTATIONS]
    source.write_text(text(annotations=boxes))
    word = 'NaN' if value == 'nan' else 'Infinity'
    with pytest.raises(
        ValueError,
        match=f'{source} has {word}, which is no '
        r'json: put a number .*\(byte \d+\)',
    ):
        split_file(source, split, 'train')


def test_bad_annotation_far_down(source, split):
    """The position counts from the start of the list, not of a chunk."""
    many = [dict(id=i, image_id=1, category_id=1) for i in range(9000)]
    del many[8999]['image_id']
    source.write_text(text(annotations=many))
    with pytest.raises(ValueError, match=r'`annotations\[8999\]`'):
        split_file(source, split, 'train')


@pytest.mark.parametrize(
    'change, error, message',
    [
        (dict(source='y.json'), FileNotFoundError, 'did you mean "x.json"'),
        (dict(split='48_71'), ValueError, 'did you mean "48_17"'),
        (dict(split='776_545'), ValueError, 'did you mean "776_454"'),
        (dict(split='866_337'), ValueError, 'has none for "cat"'),
        (
            dict(split='mini.json'),
            FileNotFoundError,
            'split file .* does not exist; did you mean "mine.json"',
        ),
        (dict(min_annotations=-1), ValueError, 'not be negative, got -1'),
    ],
)
def test_bad_arguments(source, split, change, error, message):
    """What was given is in the message, with what was perhaps meant."""
    arguments = dict(source=source, split=split, subset='train')
    for key, value in change.items():
        if str(value).endswith('.json'):
            value = str(source.with_name(value))
        arguments[key] = value
    with pytest.raises(error, match=message):
        split_file(**arguments)
    assert files(source.parent) == ['mine.json', 'x.json']


def test_a_bad_split_is_noticed_first(source):
    """Nobody waits for a large file to hear of a misspelled split."""
    source.write_text('not even read')
    with pytest.raises(ValueError, match='the split must be one of'):
        split_file(source, '48-17', 'train')


@contextmanager
def fill_disk_on_fsync() -> Iterator[None]:
    """Network folders may tell no earlier."""
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with mock.patch('os.fsync', side_effect=error):
        yield


@contextmanager
def limit_size() -> Iterator[None]:
    """A true refusal of write(2): no file may pass 300 bytes."""
    resource = pytest.importorskip('resource')
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    'full_disk, reason',
    [
        (fill_disk_on_fsync, 'No space left on device'),
        (limit_size, 'File too large'),
    ],
)
@pytest.mark.parametrize('exists', [False, True])
def test_disk_full(source, split, full_disk, reason, exists):
    """The message names the file; an older file of that name stays."""
    output = source.with_name('x_mine_1.json')
    if exists:
        output.write_text('older')
    before = files(source.parent)
    with full_disk(), pytest.raises(OSError, match=reason) as error:
        split_file(source, split, 'train', overwrite=True)
    assert str(output) in str(error.value)
    assert files(source.parent) == before
    assert not exists or output.read_text() == 'older'


@pytest.mark.parametrize('name, left_over', [('SIGKILL', 1), ('SIGINT', 0)])
def test_killed_while_writing(source, split, name, left_over):
    """No file has the final name; the next run works and verifies."""
    program = f"""
import os, signal, sys
sys.modules['mmdet'] = None  # starts in no time
from ovd.datasets import gzsl_split
def die(file, objects):
    file.write(b'half of')
    file.flush()
    os.kill(os.getpid(), signal.{name})
gzsl_split._write_objects = die
gzsl_split.split_file({str(source)!r}, {split!r}, 'train')
"""
    done = subprocess.run(
        [sys.executable, '-c', program], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    assert done.returncode == -getattr(signal, name)
    found = files(source.parent)
    assert 'x_mine_1.json' not in found
    temporary = [file for file in found if file.endswith('.tmp')]
    assert len(temporary) == left_over
    assert all(file.startswith('.x_mine_1.json.') for file in temporary)
    report = split_file(source, split, 'train')
    assert report.state == 'written'
    assert 'no leak' in verify_split(report.output)
