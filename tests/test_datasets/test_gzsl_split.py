"""The splitter: what it keeps, what it writes, what it refuses."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from ovd.datasets import gzsl_split
from ovd.datasets.gzsl_split import read_gzsl, read_header, split_file

NAMES = ['cat', 'dog', 'kite', 'boat']
SPLIT = {
    'base': ['dog', 'cat'],
    'novel': ['boat'],
    'groups': {'novel_boats': ['boat']},
}
# (id, image, category, crowd); 4 = boat is novel, 3 = kite is neither
ANNOTATIONS = [
    (11, 1, 1, 0),
    (12, 1, 4, 0),
    (13, 2, 4, 0),
    (14, 3, 3, 0),
    (15, 4, 2, 1),
    (16, 5, 1, 0),
    (17, 5, 2, 0),
]
SHARED = Path(__file__).parents[3] / 'shared' / 'data'
COCO_TINY = SHARED / 'coco_tiny'
LVIS_V05 = SHARED / 'lvis_v0.5_val_100.json'


def coco(**changes: object) -> dict:
    """A file with images 1 to 6; image 6 is empty, image 4 has a crowd."""
    content = dict(
        info=dict(year=2017),
        images=[
            dict(id=i, file_name=f'{i}.png', height=10, width=10, extra=[i])
            for i in range(1, 7)
        ],
        annotations=[
            dict(
                id=i,
                image_id=image_id,
                category_id=cat_id,
                iscrowd=crowd,
                area=4.0,
                bbox=[1.25, 1e-3, 2, 2],
                segmentation=[[1, 1, 3, 1, 3, 3.10]],
            )
            for i, image_id, cat_id, crowd in ANNOTATIONS
        ],
        categories=[dict(id=i, name=n) for i, n in enumerate(NAMES, 1)],
    )
    content.update(changes)
    return content


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / 'instances_x.json'
    path.write_text(json.dumps(coco()))
    return path


@pytest.fixture
def split(tmp_path: Path) -> str:
    path = tmp_path / 'mine.json'
    path.write_text(json.dumps(SPLIT))
    return str(path)


def ids(content: dict, field: str) -> list:
    return [item['id'] for item in content[field]]


@pytest.mark.parametrize(
    'subset, k, images, annotations',
    [
        ('train', 1, [1, 4, 5], [11, 15, 16, 17]),
        ('train', 2, [5], [16, 17]),
        ('train', 0, [1, 2, 3, 4, 5, 6], [11, 15, 16, 17]),
        ('val', 1, [1, 2, 4, 5], [11, 12, 13, 15, 16, 17]),
        ('val', 2, [1, 5], [11, 12, 16, 17]),
    ],
)
def test_rule(source, split, subset, k, images, annotations):
    """Base (and novel) boxes stay, crowds count, emptied images go."""
    report = split_file(source, split, subset, k)
    assert report.output == source.with_name(f'instances_x_mine_{k}.json')
    content = json.loads(report.output.read_text())
    assert ids(content, 'images') == images
    assert ids(content, 'annotations') == annotations
    assert report.images == (len(images), 6 - len(images))
    assert report.annotations == (len(annotations), 7 - len(annotations))
    assert content['gzsl'] == dict(
        split='mine',
        base=['cat', 'dog'],  # in the order of the categories
        novel=['boat'],
        groups={'novel_boats': ['boat']},
        subset=subset,
        min_annotations=k,
        kept=dict(images=len(images), annotations=len(annotations)),
        removed=dict(images=6 - len(images), annotations=7 - len(annotations)),
        source=dict(
            file='instances_x.json',
            sha256=hashlib.sha256(source.read_bytes()).hexdigest(),
        ),
    )


def test_kept_objects_are_copied(source, split):
    """All other values are those of the source, to the letter."""
    report = split_file(source, split, 'train')
    before, after = coco(), json.loads(report.output.read_text())
    assert after['categories'] == before['categories']
    assert after['info'] == before['info']
    by_id = {item['id']: item for item in before['annotations']}
    assert all(by_id[item['id']] == item for item in after['annotations'])
    assert json.dumps(by_id[11]) in report.output.read_text()
    assert set(after) == {*before, 'gzsl'}


def test_long_lists_are_joined(source, split, monkeypatch):
    """Chunk borders leave no trace."""
    whole = split_file(source, split, 'val').output.read_bytes()
    monkeypatch.setattr(gzsl_split, 'CHUNK', 2)
    report = split_file(source, split, 'val', overwrite=True)
    assert report.output.read_bytes() == whole


def test_no_image_left(tmp_path, source):
    """A split that empties the file writes a valid, empty one."""
    other = tmp_path / 'none.json'
    other.write_text('{"base": ["cat"], "novel": ["boat"]}')
    source.write_text(json.dumps(coco(annotations=[])))
    content = json.loads(
        split_file(source, str(other), 'train').output.read_text()
    )
    assert content['images'] == content['annotations'] == []


def test_run_again(source, split):
    """The same split is up to date; another one is not replaced unasked."""
    first = split_file(source, split, 'train')
    stamp = first.output.stat().st_mtime_ns
    again = split_file(source, split, 'train')
    assert (first.state, again.state) == ('written', 'up to date')
    assert again.output.stat().st_mtime_ns == stamp
    assert again.images == first.images
    source.write_text(json.dumps(coco(info=dict(year=2018))))
    with pytest.raises(FileExistsError, match='--overwrite'):
        split_file(source, split, 'train')
    assert (
        split_file(source, split, 'train', overwrite=True).state == 'written'
    )
    with pytest.raises(FileExistsError):
        split_file(source, split, 'val')
    first.output.write_text('{"gzsl": ')
    with pytest.raises(FileExistsError):
        split_file(source, split, 'train')


def test_a_split_file_is_no_source(source, split):
    """Splitting twice would hide where the annotations come from."""
    output = split_file(source, split, 'train').output
    with pytest.raises(ValueError, match='is a split file already'):
        split_file(output, split, 'train')


@pytest.mark.parametrize(
    'layout',
    [dict(indent=1), dict(separators=(',', ':')), dict(sort_keys=True)],
)
def test_every_letter_stays(source, split, layout):
    """Numbers are spelled as in the source, whatever its layout."""
    text = json.dumps(coco(info='\u00e9 {"images": ['), **layout)
    text = text.replace('0.001', '1E-3').replace('1.25', '1.250')
    source.write_text('\n ' + text)
    output = split_file(source, split, 'train').output.read_text()

    def load(text: str) -> dict:
        return json.loads(text, parse_float=str, parse_int=str)

    before, after = load(text), load(output)
    assert '1.250' in output and '1E-3' in output
    assert list(after) == ['gzsl', *before]
    del after['gzsl']
    assert after == dict(
        before,
        images=[before['images'][i] for i in (0, 3, 4)],
        annotations=[before['annotations'][i] for i in (0, 4, 5, 6)],
    )


def test_ids_may_be_texts(source, split):
    """Text ids, and mixed ones: 1 is not "1"."""
    content = coco()
    content['images'][0]['id'] = '1'
    content['annotations'][0].update(id='11', image_id='1')
    content['annotations'] = [
        a for a in content['annotations'] if a['image_id'] != 1
    ]
    content['images'].append(dict(id=1))
    source.write_text(json.dumps(content))
    after = json.loads(split_file(source, split, 'train').output.read_text())
    assert ids(after, 'images') == ['1', 4, 5]
    assert ids(after, 'annotations') == ['11', 15, 16, 17]


def test_read(source, split):
    """The block comes back; files without one say how to get one."""
    output = split_file(source, split, 'val').output
    assert read_gzsl(output)['novel'] == ['boat']
    assert [c.name for c in read_header(output)[1]] == NAMES
    with pytest.raises(ValueError, match='build_zsl_dataset.py'):
        read_gzsl(source)
    output.write_text(output.read_text()[:-20])
    with pytest.raises(ValueError, match='cut off'):
        read_gzsl(output)


@pytest.mark.parametrize(
    'name, command',
    [
        (
            'coco/annotations/instances_val2017_48_17_1.json',
            'build_zsl_dataset.py CONFIG --split 48_17$',
        ),
        (
            'lvis_v1/annotations/lvis_v1_train_866_337_1.json',
            'build_zsl_dataset.py CONFIG --split 866_337$',
        ),
        (
            'miniature/annotations/instances_val_48_17_1.json',
            'miniature_instance.py --split '
            '.*/miniature/annotations/48_17.json$',
        ),
        ('miniature/annotations/instances_val.json', 'build_miniature.py$'),
        ('coco/annotations/instances_val2017.json', 'does not exist$'),
    ],
)
def test_missing_file_says_how_to_make_it(tmp_path, name, command):
    """The command fits the name of the file."""
    with pytest.raises(FileNotFoundError, match=command):
        read_gzsl(tmp_path / name)


@pytest.mark.skipif(
    not COCO_TINY.is_dir(), reason='80 real COCO images are not at hand'
)
@pytest.mark.parametrize('name', ['48_17', '65_15'])
@pytest.mark.parametrize('subset', ['train', 'val'])
def test_real_coco(tmp_path, name, subset):
    """Agree with the rule applied with json alone."""
    original = COCO_TINY / 'annotations' / f'instances_{subset}2017.json'
    source = tmp_path / original.name
    source.write_bytes(original.read_bytes())
    after = json.loads(split_file(source, name, subset).output.read_text())
    before = json.loads(source.read_text())
    wanted = set(after['gzsl']['base'])
    if subset == 'val':
        wanted |= set(after['gzsl']['novel'])
    cat_ids = {c['id'] for c in before['categories'] if c['name'] in wanted}
    annotations = [
        a for a in before['annotations'] if a['category_id'] in cat_ids
    ]
    seen = {a['image_id'] for a in annotations}
    assert after.pop('gzsl')['split'] == name
    assert after == dict(
        before,
        annotations=annotations,
        images=[i for i in before['images'] if i['id'] in seen],
    )


@pytest.mark.skipif(not LVIS_V05.is_file(), reason='no LVIS v0.5 file at hand')
def test_real_lvis(tmp_path):
    """Rare classes go from train; no other field changes; val stays."""
    source = tmp_path / 'lvis_v0.5_train.json'
    source.write_bytes(LVIS_V05.read_bytes())
    before = json.loads(source.read_text())
    report = split_file(source, '776_454', 'train', 0)
    assert report.output.name == 'lvis_v0.5_train_776_454_0.json'
    assert report.annotations[1] > 0
    after = json.loads(report.output.read_text())
    block = after.pop('gzsl')
    assert (len(block['base']), len(block['novel'])) == (776, 454)
    base = {c['id'] for c in before['categories'] if c['frequency'] != 'r'}
    assert after == dict(
        before,
        annotations=[
            a for a in before['annotations'] if a['category_id'] in base
        ],
    )
    assert split_file(source, '776_454', 'val').state == 'needs no split'
    with pytest.raises(ValueError, match='its split is 776_454'):
        split_file(source, '866_337', 'train')


def test_imports_no_host():
    """The splitter needs neither mmdet nor mmengine nor torch."""
    program = (
        'import sys\n'
        'for name in ("mmdet", "mmengine", "mmcv", "torch"):\n'
        '    sys.modules[name] = None\n'
        'import ovd.datasets.gzsl_split, ovd.datasets.gzsl_verify'
    )
    subprocess.run(
        [sys.executable, '-c', program],
        check=True,
        cwd=Path(__file__).parents[2],
    )
