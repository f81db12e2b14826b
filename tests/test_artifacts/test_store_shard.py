"""One shard: packing, rounding, what it says of itself."""

import json
from pathlib import Path

import numpy as np
import pytest

from ovd.artifacts.store_shard import (
    BOX_KINDS,
    ForeignShardError,
    check_digest,
    dequantise,
    open_shard,
    pack_items,
    quantise,
    read_item,
    write_shard,
)
from ovd.artifacts.tensor_file import TensorFile, write_tensors

REAL = (
    Path(__file__).parents[2]
    / '../shared/data/class_embeddings/lvis_v1_clip_a+cname.npy'
)


def _unit(num, size, seed=0):
    vectors = np.random.RandomState(seed).randn(num, size)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _item(num, size=3, **changes):
    item = dict(
        embeddings=_unit(num, size),
        bboxes=np.ones((num, 4)),
        scores=np.linspace(0, 1, num),
        kinds=np.arange(num) % 4,
    )
    return {**item, **changes}


def _write(folder, items, dtype='float16', name='shard-00003.safetensors'):
    ids = list(range(10, 10 + len(items)))
    info = dict(plan='p', shard=3, broken={})
    write_shard(folder / name, info, pack_items(ids, items, dtype))
    return folder / name


def test_kinds_have_their_numbers_for_good():
    """They are in files: an order that changes would be read as another."""
    assert BOX_KINDS == ('proposal', 'ground_truth', 'jittered', 'image')


@pytest.mark.parametrize('dtype', ['float16', 'int8'])
def test_items_come_back(tmp_path, dtype):
    items = [_item(4), _item(0), _item(3, kinds=None)]
    file = open_shard(_write(tmp_path, items, dtype), 'p')
    for row, item in enumerate(items):
        found = read_item(file, row)
        assert {
            name: array.dtype.name for name, array in found.items()
        } == dict(
            embeddings='float16',
            bboxes='float32',
            scores='float32',
            kinds='uint8',
        )
        np.testing.assert_allclose(
            found['embeddings'], item['embeddings'], atol=0.004
        )
        np.testing.assert_array_equal(found['bboxes'], item['bboxes'])
        np.testing.assert_allclose(found['scores'], item['scores'], atol=1e-7)
        np.testing.assert_array_equal(
            found['kinds'], np.arange(len(item['scores'])) % 4 * (row != 2)
        )


def test_a_box_takes_little_more_than_its_numbers(tmp_path):
    rows, size = 2000, 64
    float16, int8 = (
        _write(tmp_path, [_item(rows, size)], dtype).stat().st_size
        for dtype in ('float16', 'int8')
    )
    assert float16 <= 1.03 * rows * (2 * size + 20)
    assert int8 <= 1.03 * rows * (size + 4 + 20)


@pytest.mark.parametrize('size', [64, 512, 640, 768, 1024])
def test_int8_keeps_direction_and_norm(size):
    vectors = _unit(1000, size)
    found = dequantise(*quantise(vectors)).astype(np.float64)
    norms = np.linalg.norm(found, axis=1)
    assert ((vectors * found).sum(1) / norms).min() > 0.9999
    np.testing.assert_allclose(norms, 1, atol=5e-4)


def test_int8_of_real_embeddings():
    """Theirs are harder: one number is many times as large as the others."""
    if not REAL.is_file():
        pytest.skip(f'{REAL} is not there')
    vectors = np.load(REAL).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = dequantise(*quantise(vectors)).astype(np.float64)
    cosines = (vectors * found).sum(1) / np.linalg.norm(found, axis=1)
    assert cosines.min() > 0.999


def test_int8_worked_by_hand():
    vectors = np.array([[3.0, -6.0, 0.0], [0.0, 0.0, 0.0]])
    integers, scales = quantise(vectors)
    assert integers.dtype == np.int8 and scales.dtype == np.float32
    # 63.5 is rounded to even
    np.testing.assert_array_equal(integers, [[64, -127, 0], [0, 0, 0]])
    np.testing.assert_allclose(
        scales, [np.sqrt(45) / np.sqrt(64**2 + 127**2), 0]
    )
    assert quantise(np.zeros((0, 5)))[0].shape == (0, 5)
    assert not dequantise(integers, scales)[1].any()


def _packing_fails(match, *items):
    with pytest.raises(ValueError, match=match):
        pack_items(list(range(7, 7 + len(items))), items, 'float16')


@pytest.mark.parametrize(
    'changes, match',
    [
        (
            dict(embeddings=np.ones((2, 5))),
            r'image 8: expected embeddings \(P, 3',
        ),
        (dict(embeddings=np.ones(2)), 'image 8: expected embeddings'),
        (dict(embeddings=None), r"got {'embeddings': \(\), "),
        (dict(scores=None), 'image 8: expected embeddings'),
        (dict(bboxes=np.ones((3, 4))), 'image 8: expected embeddings'),
        (dict(kinds=np.ones(3)), 'image 8: expected embeddings'),
        (
            dict(kinds=np.array([0, 4])),
            r'kinds must be 0 to 3 \(proposal, .*, image\), got 4',
        ),
        (dict(kinds=np.array([-1, 0])), 'image 8: kinds .* got -1'),
        (dict(kinds=np.array([0, 0.5])), 'image 8: kinds .* got 0.5'),
        (
            dict(bboxes=np.full((2, 4), np.inf)),
            'image 8: bboxes are not all fini',
        ),
        (
            dict(scores=np.array([0, np.nan])),
            'image 8: scores are not all finite',
        ),
        (
            dict(embeddings=np.full((2, 3), 1e6)),
            'image 8: embeddings are not all',
        ),
    ],
)
def test_malformed_items_are_named(changes, match):
    _packing_fails(match, _item(1), _item(2, **changes))


def test_a_malformed_first_item():
    _packing_fails('image 7: expected', _item(2, embeddings=np.ones(2)))
    _packing_fails('image 7: expected', _item(2, embeddings=None))


def test_every_changed_byte_is_found(tmp_path):
    """That of the header, too."""
    path = _write(tmp_path, [_item(2), _item(1)])
    info = dict(plan='p', shard=3, broken={'11': 'cut off'})
    write_shard(path, info, pack_items([10, 11], [_item(2), _item(0)], 'int8'))
    whole = path.read_bytes()
    check_digest(open_shard(path, 'p'))
    for place in range(len(whole)):
        for bit in (place % 8, (place + 3) % 8):
            changed = bytearray(whole)
            changed[place] ^= 1 << bit
            path.write_bytes(changed)
            with pytest.raises(ValueError, match='shard-00003'):
                check_digest(open_shard(path, 'p'))


@pytest.mark.parametrize(
    'dtype, old, new, match',
    [
        (
            'float16',
            b'"F16"',
            b'"I16"',
            'embeddings are int16, expected float16 or int8',
        ),
        ('float16', b'"U8"', b'"I8"', 'kinds are int8, expected uint8'),
        ('float16', b'"I64"', b'"F64"', 'are float64, expected int64'),
        ('int8', b'"F32"', b'"I32"', 'are int32, expected float32'),
    ],
)
def test_changed_dtypes_are_found(tmp_path, dtype, old, new, match):
    path = _write(tmp_path, [_item(2), _item(1)], dtype)
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(
        ValueError, match=f'shard-00003.* is damaged: .*{match}'
    ):
        open_shard(path)


def test_another_dtype_than_that_of_the_plan(tmp_path):
    path = _write(tmp_path, [_item(2)], 'int8')
    open_shard(path, 'p', 'int8')
    with pytest.raises(ValueError, match='int8, expected float16'):
        open_shard(path, 'p', 'float16')


def _swap_scores_and_scales(header):
    scores, scales = header['scores'], header['scales']
    assert scores['data_offsets'] != scales['data_offsets']
    header.update(scores=scales, scales=scores)


def _name_another_size(header):
    assert header['embeddings']['shape'] == [0, 3]
    header['embeddings']['shape'] = [0, 5]


@pytest.mark.parametrize(
    'num, change', [(2, _swap_scores_and_scales), (0, _name_another_size)]
)
def test_changes_of_the_header_alone_are_found(tmp_path, num, change):
    path = _write(tmp_path, [_item(num)], 'int8')
    whole = path.read_bytes()
    size = 8 + int.from_bytes(whole[:8], 'little')
    header = json.loads(whole[8:size])
    change(header)
    text = json.dumps(header, sort_keys=True, separators=(',', ':'))
    path.write_bytes(whole[:8] + text.encode().ljust(size - 8) + whole[size:])
    assert path.stat().st_size == len(whole)
    with pytest.raises(ValueError, match='another digest than it says'):
        check_digest(open_shard(path))


def test_another_place(tmp_path):
    path = _write(tmp_path, [_item(2)])
    with pytest.raises(ForeignShardError, match='3.safe.* to another store'):
        open_shard(path, 'q')
    assert open_shard(path).info['plan'] == 'p'
    renamed = path.rename(tmp_path / 'shard-00004.safetensors')
    with pytest.raises(
        ValueError,
        match='is shard 3 under another name: '
        'expected shard-00003.safetensors',
    ):
        open_shard(renamed)


def test_arrays_that_do_not_belong_together(tmp_path):
    path = _write(tmp_path, [_item(2)])
    file = TensorFile(path)
    names = ('bboxes', 'embeddings', 'image_ids', 'kinds', 'offsets', 'scores')
    arrays = {name: file.read(name) for name in names}
    write_tensors(path, dict(arrays, offsets=np.zeros(1)), file.info)
    with pytest.raises(
        ValueError,
        match=r'damaged: offsets are of shape '
        r'\(1,\), expected \(2,\)',
    ):
        open_shard(path)
    write_tensors(path, dict(arrays, embeddings=np.zeros(2)), file.info)
    with pytest.raises(ValueError, match='damaged: embeddings are of shape'):
        open_shard(path)
    for info in ({}, dict(file.info, shard='3'), dict(file.info, broken=3)):
        write_tensors(path, arrays, info)
        with pytest.raises(ValueError, match='no shard of an embedding store'):
            open_shard(path)
