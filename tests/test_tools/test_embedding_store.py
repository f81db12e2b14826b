"""Verifying, measuring and looking into a store, from the command line."""

import errno
import os
import re
import runpy
import shutil
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from ovd.artifacts.embedding_store import EmbeddingStoreWriter
from ovd.artifacts.store_plan import StorePlan

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / 'tools' / 'embedding_store.py'
IDS = list(range(7))
KEYS = [
    'train/a.jpg',
    'train/b.jpg',
    'train/12.jpg',
    'val/b.jpg',
    'val/cat.jpg',
    'val/dog.jpg',
    'val/2.jpg',
]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tool(monkeypatch, capsys):
    """Call the tool; return its exit code (or error) and what it printed."""

    def call(*args):
        monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, args)])
        with pytest.raises(SystemExit) as error:
            runpy.run_path(str(TOOL), run_name='__main__')
        said = capsys.readouterr()
        return (
            said.err if error.value.code == 2 else error.value.code
        ), said.out

    return call


def make_plan(**settings):
    return StorePlan(
        dict(name='RN50', sha256='0' * 64),
        dict(file='p.pkl', sha256='1'),
        dict(file='a.json', sha256='2'),
        dict(dtype='float16', **settings),
        2,
        IDS,
        KEYS,
        'python tools/train.py a.py',
    )


def item(image_id):
    """Image i has i boxes; the first is a true one."""
    rng = np.random.RandomState(image_id)
    embeddings = rng.randn(image_id, 4)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return dict(
        embeddings=embeddings,
        bboxes=rng.randint(0, 99, (image_id, 4)),
        scores=rng.rand(image_id),
        kinds=np.arange(image_id) == 0,
    )


def make_store(folder='store', **settings):
    """Compute what is missing; image 0 can't be read."""
    writer = EmbeddingStoreWriter(folder, make_plan(**settings))
    missing = writer.missing_shards()
    for shard in missing:
        ids = writer.plan.shard_image_ids(shard)
        writer.write_shard(
            shard, [item(i) for i in ids], {0: 'cut off'} if 0 in ids else None
        )
    return missing


def shard(number):
    return Path(f'store/shard-0000{number}.safetensors')


def files(folder='store'):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_verify_a_sound_store(tool):
    make_store()
    code, out = tool('verify', 'store')
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == 'store: proposal embeddings of 7 images'
    assert '  shards: 4 of 4, 2 images each' in lines
    assert '  broken image train/a.jpg (id 0): cut off' in lines
    assert lines[-2] == 'complete and sound'
    assert '--retry-broken' in lines[-1]


def damage():
    """Cut one shard off, flip a bit of another, take away a third."""
    whole = [shard(k).read_bytes() for k in range(3)]
    shard(0).write_bytes(whole[0][:-2])
    changed = bytearray(whole[2])
    changed[-30] ^= 4
    shard(2).write_bytes(changed)
    shard(1).unlink()


def test_broken_images_are_tried_again(tool):
    make_store()
    assert tool('verify', 'store')[0] == 0
    code, out = tool('verify', 'store', '--retry-broken')
    assert code == 1 and 'removed store/shard-00000.safetensors' in out
    assert out.splitlines()[-1].startswith('resume with: ')
    assert make_store() == [0]


def test_verify_names_faults_and_removes_what_is_damaged(tool):
    """The next run then computes these and no others, to the same bytes."""
    make_store()
    before = files()
    damage()
    after = files()
    code, out = tool('verify', 'store')
    assert code == 1
    faults = re.findall(r'FAULT: (.*)', out)
    resume = 'resume with: python tools/train.py a.py'
    assert faults[0] == (
        f'1 of 4 shards are missing: shard-00001.safetensors; {resume}'
    )
    assert faults[1].startswith('store/shard-00000.safetensors is damaged')
    assert faults[2] == (
        'store/shard-00002.safetensors is damaged: its '
        'content has another digest than it says; remove it '
        f'and {resume}'
    )
    assert len(faults) == 3
    assert out.splitlines()[-2:] == [
        'damaged shards are removed with: python tools/embedding_store.py '
        'verify store --remove',
        resume,
    ]
    assert files() == after
    code, out = tool('verify', 'store', '--remove')
    assert code == 1
    assert out.splitlines()[-3:] == [
        'removed store/shard-00000.safetensors',
        'removed store/shard-00002.safetensors',
        resume,
    ]
    assert make_store() == [0, 1, 2]
    assert files() == before
    assert tool('verify', 'store', '--remove')[0] == 0


def test_shards_of_another_store_are_named_and_stay(tool):
    make_store()
    make_store('other', crop_scales=[1])
    shutil.copy('other/shard-00001.safetensors', 'store')
    before = files()
    code, out = tool('verify', '--remove', 'store')
    assert code == 1
    assert re.findall('FAULT: (.*)', out) == [
        'store/shard-00001.safetensors belongs to another store; remove '
        'it and resume with: python tools/train.py a.py'
    ]
    assert files() == before


def test_other_files_are_named(tool):
    """They harm nobody; what runs under way or killed have is told apart."""
    make_store()
    for name in (
        'notes.txt',
        'shard-00004.safetensors',
        '.shard-00001.safetensors.x.tmp',
    ):
        Path('store', name).write_text('x')
    code, out = tool('verify', 'store')
    assert code == 0
    assert '  unknown files: notes.txt, shard-00004.safetensors\n' in out
    assert (
        '  temporary files: .shard-00001.safetensors.x.tmp, of runs under '
        'way or killed; a run that completes '
    ) in out


def test_files_that_go_while_it_looks(tool):
    """A temporary file gets its name; a link leads nowhere."""
    make_store()
    names = [*os.listdir('store'), '.shard-00001.safetensors.x.tmp']
    with mock.patch(
        'pathlib.Path.iterdir',
        lambda folder: iter([folder / name for name in names]),
    ):
        assert tool('verify', 'store')[0] == 0
    shard(1).unlink()
    shard(1).symlink_to('nowhere')
    Path('store/link').symlink_to('nowhere')
    code, out = tool('verify', 'store')
    assert code == 1 and 'unknown files: link\n' in out
    assert '1 of 4 shards are missing: shard-00001.safetensors' in out


@pytest.mark.parametrize('number', [errno.EACCES, errno.EIO])
def test_what_cannot_be_read_is_never_removed(tool, number):
    """It may be sound: the disk, or who may read it, is at fault."""
    make_store()
    before = files()
    error = OSError(number, os.strerror(number))
    with mock.patch('ovd.artifacts.store_check.open_shard', side_effect=error):
        code, out = tool('verify', 'store', '--remove', '--retry-broken')
    assert code == 1 and files() == before
    assert out.count('FAULT: ') == 4 and 'removed' not in out
    assert (
        f'FAULT: store/shard-00002.safetensors cannot be read ('
        f'{os.strerror(number)}); make it readable, or move it away and '
        'resume with: python tools/train.py a.py\n'
    ) in out


def test_a_folder_in_a_shards_place(tool):
    make_store()
    damage()
    shard(0).unlink()
    shard(0).mkdir()
    code, out = tool('verify', 'store', '--remove')
    assert code == 1 and shard(0).is_dir() and not shard(2).exists()
    assert 'shard-00000.safetensors cannot be read (it is no file); m' in out


def test_what_cannot_be_removed_stops_nothing(tool):
    make_store()
    damage()
    error = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    with mock.patch('pathlib.Path.unlink', side_effect=[error, None]):
        code, out = tool('verify', 'store', '--remove')
    assert code == 1
    assert (
        'store/shard-00000.safetensors could not be removed (Permission '
        'denied)\nremoved store/shard-00002.safetensors\n'
    ) in out


def test_statistics(tool):
    make_store()
    size = sum(path.stat().st_size for path in Path('store').glob('shard-*'))
    code, out = tool('stat', 'store')
    assert code == 0
    assert out.splitlines()[:8] == [
        'store: proposal embeddings of 7 images',
        '  shards: 4 of 4, 2 images each',
        '  embeddings: 21',
        '  kinds: proposal 15, ground_truth 6',
        '  per image: 0 to 6, 3.0 on average',
        f'  bytes: {size:,}, {size / 21:,.1f} per embedding',
        '  size: 4 float16',
        '  broken images: 1, they have no boxes',
    ]
    assert '  clip.name: RN50\n' in out and '  proposals.file: p.pkl\n' in out


def test_statistics_of_an_incomplete_store(tool):
    make_store()
    damage()
    code, out = tool('stat', 'store')
    assert code == 1
    assert '  shards: 3 of 4, 2 images each\n' in out
    assert '  embeddings: 15\n' in out  # of what opens
    assert 'FAULT: 1 of 4 shards are missing: shard-00001.safetensors' in out
    assert 'FAULT: store/shard-00000.safetensors is damaged' in out


def test_statistics_of_a_store_that_was_only_begun(tool):
    EmbeddingStoreWriter('store', make_plan())
    code, out = tool('stat', 'store')
    assert code == 1 and '  size: unknown\n' in out
    assert (
        'shard-00000.safetensors, shard-00001.safetensors, shard-00002.'
        'safetensors, shard-00003.safetensors; resume with'
    ) in out


@pytest.mark.parametrize(
    'image, image_id',
    [
        ('4', 4),
        ('val/cat.jpg', 4),
        ('cat.jpg', 4),
        ('12.jpg', 2),
        ('2', 2),
        ('2.jpg', 6),
        ('train/b.jpg', 1),
        ('00004', 4),
    ],
)
def test_an_image_by_id_or_name(tool, image, image_id):
    make_store()
    code, out = tool('get', 'store', image)
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == (
        f'{KEYS[image_id]} (id {image_id}): {image_id}x4 embeddings'
    )
    expected = item(image_id)
    for i, line in enumerate(lines[2:]):
        *numbers, kind = line.split()
        np.testing.assert_allclose(
            [float(number) for number in numbers],
            [*expected['bboxes'][i], expected['scores'][i], 1],
            atol=1e-3,
        )
        assert kind == ('proposal' if i else 'ground_truth')
    assert len(lines) == 2 + image_id


def test_an_image_as_arrays(tool):
    make_store()
    code, out = tool('get', 'store', '5', '--out', 'new/a.npz')
    assert code == 0 and out.endswith('written to new/a.npz\n')
    with np.load('new/a.npz') as found:
        assert found['embeddings'].dtype == np.float16
        assert found['embeddings'].shape == (5, 4)
        np.testing.assert_array_equal(found['bboxes'], item(5)['bboxes'])
        np.testing.assert_array_equal(found['kinds'], [1, 0, 0, 0, 0])
    assert os.listdir('new') == ['a.npz']


def test_an_image_that_could_not_be_read(tool):
    make_store()
    code, out = tool('get', 'store', 'a.jpg')
    assert code == 0 and 'it could not be read: cut off\n' in out


@pytest.mark.parametrize(
    'args, message',
    [
        (
            ('get', 'store', 'b.jpg'),
            'train/b.jpg, val/b.jpg are called b.jpg: which?',
        ),
        (('get', 'store', 'val/dgo.jpg'), 'did you mean "val/dog.jpg"'),
        (('get', 'store', 'dgo.jpg'), 'did you mean "dog.jpg"'),
        (
            ('get', 'store', '99'),
            'the store has no image 99, which may be an id',
        ),
        (('get', 'store', '\N{SUPERSCRIPT TWO}'), 'the store has no image'),
        (
            ('get', 'store', '\N{FULLWIDTH DIGIT TWO}'),
            'the store has no image',
        ),
        (('get', 'store'), 'get needs an IMAGE'),
        (('get', 'store', ''), 'get needs an IMAGE'),
        (('verify', 'store', ''), 'IMAGE is for get alone'),
        (
            ('get', 'store', '1', '--out', 'a.npy'),
            '--out must end in .npz, got',
        ),
        (('get', 'store', '1', '--remove'), '--remove is for verify alone'),
        (('stat', 'store', '--retry-broken'), '--retry-broken is for verify'),
        (('verify', 'store', '1'), 'IMAGE is for get alone'),
        (('stat', 'store', '--out', 'a.npz'), '--out is for get alone'),
        (
            ('verfy', 'store'),
            'command must be one of verify, stat, get, got "verf'
            'y"; did you mean "verify"?',
        ),
        (
            ('stat', 'stor'),
            'manifest of the embedding store stor/manifest.json '
            'does not exist\nmake it with: python tools/train.py',
        ),
    ],
)
def test_errors(tool, args, message):
    make_store()
    code, out = tool(*args)
    assert code.startswith('error: ') and message in code
    assert not out


def test_getting_from_an_incomplete_store(tool):
    """Only the image's own shard has to be there."""
    make_store()
    shard(3).unlink()
    shard(1).write_bytes(shard(1).read_bytes()[:-1])
    code, out = tool('get', 'store', '0')
    assert code == 0 and 'it could not be read: cut off' in out
    assert tool('get', 'store', '5')[0] == 0
    resume = 'python tools/train.py a.py'
    code, out = tool('get', 'store', '6')
    assert (
        code
        == (
            'error: store/shard-00003.safetensors is missing; resume '
            f'with: {resume}\n'
        )
        and not out
    )
    code, out = tool('get', 'store', '2')
    assert code.startswith('error: store/shard-00001.safetensors is damaged')
    assert code.endswith(f'; remove it and resume with: {resume}\n')


def test_a_damaged_manifest(tool):
    make_store()
    manifest = Path('store/manifest.json')
    manifest.write_text(manifest.read_text().replace('cat.jpg', 'car.jpg'))
    for args in (
        ('verify', 'store', '--remove'),
        ('stat', 'store'),
        ('get', 'store', '1'),
    ):
        assert 'manifest.json is damaged: its content' in tool(*args)[0]
    assert len(files()) == 5
