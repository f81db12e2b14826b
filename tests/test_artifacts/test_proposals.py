"""Proposals: both forms, mmdet's reader and writer, and what is refused."""

import json
import pickle
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from ovd.artifacts.proposals import (
    FORMAT,
    Proposals,
    image_key,
    load_proposals,
    save_proposals,
    select_proposals,
)
from ovd.artifacts.tensor_file import TensorFile, write_tensors

SUFFIXES = ['.safetensors', '.pkl']


def _entry(*boxes):
    bboxes = np.array(boxes, np.float32).reshape(-1, 4)
    scores = np.linspace(0.9, 0.1, len(bboxes)).astype(np.float32)
    return dict(bboxes=bboxes, scores=scores)


def _proposals():
    return {
        'train/000002.png': _entry((0, 1, 5, 7), (2.5, 3, 4, 6)),
        'train/000001.png': _entry(),
        'val/ä b.png': _entry((1, 1, 2, 2)),
    }


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_round_trip(tmp_path, suffix):
    path = tmp_path / f'p{suffix}'
    save_proposals(path, _proposals(), {'made_by': 'test', 'n': [1, 2]})
    found = load_proposals(path)
    assert found.provenance == {'made_by': 'test', 'n': [1, 2]}
    assert list(found) == list(_proposals())
    for key, entry in _proposals().items():
        for name in ('bboxes', 'scores'):
            assert found[key][name].dtype == np.float32
            np.testing.assert_array_equal(found[key][name], entry[name])


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_no_images_and_loaded_proposals_can_be_saved(tmp_path, suffix):
    path = tmp_path / f'p{suffix}'
    save_proposals(path, {}, {})
    assert len(load_proposals(path)) == 0
    save_proposals(path, _proposals(), {})
    before = path.read_bytes()
    save_proposals(path, load_proposals(path), {})
    assert path.read_bytes() == before


def _peak(job):
    """Return the most bytes that a call took, and what it returns."""
    tracemalloc.start()
    try:
        result = job()
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    'suffix, most', [('.safetensors', 0.25), ('.pkl', 2.1)]
)
def test_little_is_held_twice(tmp_path, monkeypatch, suffix, most):
    """Writing makes no copy, nor does reading what can be mapped."""
    monkeypatch.setattr('ovd.artifacts.proposals.BLOCK', 20_000)
    entry = dict(
        bboxes=np.tile(np.float32([1, 2, 3, 4]), (20_000, 1)),
        scores=np.ones(20_000, np.float32),
    )
    found = Proposals.pack({f'a/{i}.png': dict(entry) for i in range(20)})
    size, path = 20 * 20_000 * 5 * 4, tmp_path / f'p{suffix}'
    assert _peak(lambda: save_proposals(path, found, {}))[0] < size / 4
    peak, again = _peak(lambda: load_proposals(path))
    assert peak < most * size
    np.testing.assert_array_equal(again['a/7.png']['bboxes'], entry['bboxes'])


def test_packing_says_whose_entry_is_malformed_and_empties_the_dict():
    entries = _proposals()
    found = Proposals.pack(entries, dict(made_by='test'), 'p.pkl')
    assert entries == {} and found.provenance == dict(made_by='test')
    assert {k: v['bboxes'].tolist() for k, v in found.items()} == {
        k: v['bboxes'].tolist() for k, v in _proposals().items()
    }
    with pytest.raises(ValueError, match='p.pkl: a/b.png: bboxes must be'):
        Proposals.pack({'a/b.png': None}, source='p.pkl')


def test_a_bad_box_behind_the_first_block(monkeypatch):
    monkeypatch.setattr('ovd.artifacts.proposals.BLOCK', 2)
    entries = _proposals()
    entries['val/ä b.png']['scores'][0] = np.nan
    with pytest.raises(ValueError, match='val/ä b.png has a .* not finite'):
        Proposals.pack(entries)


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_mapped_proposals_are_written_as_plain_arrays(tmp_path, suffix):
    save_proposals(tmp_path / 'p.safetensors', _proposals(), {})
    found = load_proposals(tmp_path / 'p.safetensors')
    assert type(found['train/000002.png']['bboxes']) is np.ndarray
    save_proposals(tmp_path / f'q{suffix}', found, {})
    again = load_proposals(tmp_path / f'q{suffix}')
    assert {k: v['scores'].tolist() for k, v in again.items()} == {
        k: v['scores'].tolist() for k, v in _proposals().items()
    }


def test_mmdet_reads_our_pickle_and_we_read_mmdets(tmp_path):
    fileio = pytest.importorskip('mmengine.fileio')
    from mmengine.structures import InstanceData

    path = tmp_path / 'ours.pkl'
    save_proposals(path, _proposals(), {'made_by': 'test'})
    found = fileio.load(str(path))
    assert type(found) is dict and list(found) == list(_proposals())
    assert type(found['train/000002.png']['bboxes']) is np.ndarray

    theirs = {
        key: InstanceData(**entry) for key, entry in _proposals().items()
    }
    fileio.dump(theirs, str(tmp_path / 'theirs.pkl'))
    found = load_proposals(tmp_path / 'theirs.pkl')
    assert found.provenance == {}
    np.testing.assert_array_equal(
        found['train/000002.png']['bboxes'][1], [2.5, 3, 4, 6]
    )


def test_a_malicious_pickle_is_refused_by_name(tmp_path):
    path, trace = tmp_path / 'p.pkl', tmp_path / 'trace'
    path.write_bytes(
        b'cos\nsystem\n(S"touch ' + str(trace).encode() + b'"\ntR.'
    )
    with pytest.raises(ValueError, match=r'p\.pkl is refused: .*os\.system'):
        load_proposals(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    'entry, match',
    [
        (
            dict(
                bboxes=np.zeros((2, 5), np.float32),
                scores=np.zeros(2, np.float32),
            ),
            r'a/b.png: bboxes must be \(P, 4\), got \(2, 5\)',
        ),
        (
            dict(
                bboxes=np.zeros((2, 4), np.float32),
                scores=np.zeros((2, 1), np.float32),
            ),
            r'scores must be \(P,\), got \(2, 1\)',
        ),
        (
            dict(
                bboxes=np.zeros((2, 4), np.float32),
                scores=np.zeros(3, np.float32),
            ),
            '2 boxes and 3 scores',
        ),
        (
            dict(bboxes=np.zeros((2, 4), int), scores=np.zeros(2, np.float32)),
            'bboxes must be a float array .* got int64',
        ),
        (dict(bboxes=[[0, 0, 1, 1]], scores=np.zeros(1)), 'got list'),
        (dict(bboxes=np.zeros((0, 4))), 'scores must be .* got NoneType'),
        (np.zeros((2, 5)), 'bboxes must be .* got NoneType'),
        (
            _entry((0, 0, 1, np.nan)),
            'a/b.png has a box or score that is not fin',
        ),
        (
            _entry((0, 0, 2, 2), (5, 0, 4, 1)),
            'not .x1, y1, x2, y2.: .5.0, 0.0',
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize('suffix', SUFFIXES)
def test_malformed_entries_are_refused(tmp_path, suffix, entry, match):
    path = tmp_path / f'p{suffix}'
    proposals = {'a/first.png': _entry((0, 0, 1, 1)), 'a/b.png': entry}
    with pytest.raises(ValueError, match=match):
        save_proposals(path, proposals, {})
    assert list(tmp_path.iterdir()) == []
    (tmp_path / 'p.pkl').write_bytes(pickle.dumps(proposals))
    with pytest.raises(ValueError, match=match):
        load_proposals(tmp_path / 'p.pkl')


@pytest.mark.parametrize(
    'content, match',
    [
        (
            [np.zeros((3, 5))],
            r'is a list \(mmdet 2.x\)(.|\n)*convert_proposals',
        ),
        (np.zeros(3), 'holds a ndarray, expected a dict'),
        ({1: _entry()}, 'named by "<folder>/<file>", got 1'),
    ],
)
def test_other_pickles_are_refused(tmp_path, content, match):
    path = tmp_path / 'p.pkl'
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=match):
        load_proposals(path)


@pytest.mark.parametrize(
    'second, match',
    [
        ({}, 'must be an object with an object "provenance".*got a NoneType'),
        ([1], 'got a list'),
        ('[1]', 'got a list'),
        ('text', r'its second pickle is no JSON \('),
        ('[' * 100_000, r'its second pickle is no JSON \('),
        (json.dumps({'provenance': [1]}), 'got a list'),
        (json.dumps({'provenance': 's'}), 'got a str'),
        (None, 'got a NoneType'),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_second_pickle_that_is_not_ours(tmp_path, second, match):
    path = tmp_path / 'p.pkl'
    path.write_bytes(pickle.dumps(_proposals()) + pickle.dumps(second))
    with pytest.raises(ValueError, match=rf'p\.pkl is damaged: .*{match}'):
        load_proposals(path)


@pytest.mark.parametrize(
    'info, kind',
    [
        ({}, 'NoneType'),
        (dict(provenance=[1]), 'list'),
        (dict(provenance='s'), 'str'),
    ],
)
def test_tensors_without_provenance(tmp_path, info, kind):
    path = tmp_path / 'p.safetensors'
    save_proposals(path, _proposals(), {})
    file = TensorFile(path)
    arrays = {
        name: file.read(name).copy()
        for name in ('keys', 'bboxes', 'scores', 'offsets')
    }
    write_tensors(path, arrays, dict(info, format=FORMAT))
    with pytest.raises(
        ValueError,
        match=r'p\.safetensors is damaged: .*'
        f'"provenance".* got a {kind}; make it again',
    ):
        load_proposals(path)


def test_missing_and_foreign_files(tmp_path):
    (tmp_path / 'rpn_train.pkl').touch()
    with pytest.raises(
        FileNotFoundError,
        match='mean "rpn_train.pkl"(.|\n)*make it with: .*tools/test.py',
    ):
        load_proposals(tmp_path / 'rpn_trian.pkl')
    with pytest.raises(ValueError, match='.safetensors or .pkl files'):
        load_proposals(tmp_path / 'p.npz')
    write_tensors(tmp_path / 'p.safetensors', {'a': np.zeros(1)}, {})
    with pytest.raises(ValueError, match='is no proposals file'):
        load_proposals(tmp_path / 'p.safetensors')


def test_lookup_and_coverage_name_image_and_files(tmp_path):
    path = tmp_path / 'p.pkl'
    save_proposals(path, _proposals(), {})
    found = load_proposals(path)
    found.check_covers(_proposals(), 'train.json')
    with pytest.raises(KeyError, match='no proposals of train/9.png'):
        found['train/9.png']
    with pytest.raises(
        ValueError,
        match=r'p\.pkl holds proposals for other images: train/8\.png '
        r'\(and 1 more\) of train\.json',
    ):
        found.check_covers(
            ['train/000001.png', 'train/8.png', 'train/9.png'], 'train.json'
        )


def test_names_without_a_folder():
    found = Proposals.pack({'b.jpg': _entry()}, source='p.pkl')
    found.check_covers(['b.jpg'], 'train.json')
    with pytest.raises(
        ValueError,
        match='p.pkl: names of images have no '
        'folder, such as b.jpg: name them "<folder>/<file>", '
        'as train/b.jpg of train.json',
    ):
        found.check_covers(['train/b.jpg'], 'train.json')
    with pytest.raises(ValueError, match='proposals for other images: c.jpg'):
        found.check_covers(['c.jpg'], 'train.json')


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('name', ['bboxes', 'scores'])
def test_numbers_beyond_float32_are_refused_without_a_warning(name):
    entry = dict(bboxes=np.float64([[0, 0, 1, 1]]), scores=np.float64([1]))
    entry[name] = entry[name] * 1e300
    with pytest.raises(ValueError, match='a/b.png has a .* not finite: .*inf'):
        Proposals.pack({'a/b.png': entry})


@pytest.mark.parametrize(
    'path, key',
    [
        ('data/coco/train2017/1.jpg', 'train2017/1.jpg'),
        ('/a/b/c.png', 'b/c.png'),
        ('c.png', 'c.png'),
    ],
)
def test_image_key(path, key):
    assert image_key(path) == key


@pytest.mark.parametrize(
    'num_max, min_size, rows',
    [(None, 0, [3, 0, 1]), (2, 0, [3, 0]), (None, 3, [3, 1]), (0, 0, [])],
)
def test_select_proposals(num_max, min_size, rows):
    # Sides: 2 x 5, 3 x 3, 4 x 0 (no area), 9 x 9; 0 and 1 tie.
    entry = dict(
        bboxes=np.array(
            [[0, 0, 2, 5], [1, 1, 4, 4], [0, 0, 4, 0], [0, 0, 9, 9]],
            np.float32,
        ),
        scores=np.array([0.5, 0.5, 0.9, 0.7], np.float32),
    )
    found = select_proposals(entry, num_max, min_size)
    np.testing.assert_array_equal(found['bboxes'], entry['bboxes'][rows])
    np.testing.assert_array_equal(found['scores'], entry['scores'][rows])


def test_artifacts_import_neither_mmengine_nor_mmdet():
    code = (
        'import sys; sys.modules["mmdet"] = None\n'
        'import importlib.util as u; find = u.find_spec\n'
        'u.find_spec = lambda n, *a: None if n == "mmdet" else find(n, *a)\n'
        'import ovd.artifacts.proposals, ovd.artifacts.embedding_store\n'
        'assert not {"mmengine", "torch"} & set(sys.modules)'
    )
    subprocess.run([sys.executable, '-c', code], check=True)
