"""Safetensors files with our JSON in their header."""

import json
import multiprocessing
import pickle
import tracemalloc
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from ovd.artifacts.tensor_file import (
    DTYPES,
    TensorFile,
    digest_tensors,
    write_tensors,
)


def _arrays():
    return dict(
        rows=np.arange(20, dtype=np.float32).reshape(5, 4),
        ids=np.array([3, 1], np.int64),
    )


@pytest.fixture
def path(tmp_path):
    """A file with two arrays."""
    path = tmp_path / 'a.safetensors'
    write_tensors(path, _arrays(), {'made': ['by', 1]})
    return path


def test_round_trip_whole_and_by_rows(path):
    file = TensorFile(path)
    assert file.info == {'made': ['by', 1]}
    assert file.shape('rows') == (5, 4)
    np.testing.assert_array_equal(file.read('ids'), [3, 1])
    np.testing.assert_array_equal(
        file.read_rows('rows', 1, 3), _arrays()['rows'][1:3]
    )
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def _every_dtype():
    """Odd numbers of rows, none at all, and a single number."""
    arrays = {
        name: np.arange(3).astype(dtype) for name, dtype in DTYPES.items()
    }
    arrays.update(
        {
            f'{name} none': np.zeros((0, 4), dtype)
            for name, dtype in DTYPES.items()
        }
    )
    return dict(
        arrays,
        number=np.array(7, np.int16),
        no_columns=np.zeros((3, 0), np.float32),
    )


def _assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        np.testing.assert_array_equal(found[name], array, name, strict=True)


def test_the_library_reads_what_is_written(tmp_path):
    path = tmp_path / 'a.safetensors'
    write_tensors(path, _every_dtype(), {'text': 'ä "\n'})
    _assert_equal(load_file(path), _every_dtype())
    with safe_open(path, 'numpy') as file:
        assert json.loads(file.metadata()['ovd']) == {'text': 'ä "\n'}
    start = int.from_bytes(path.read_bytes()[:8], 'little')
    assert start % 8 == 0


def test_what_the_library_writes_is_read(tmp_path):
    path = tmp_path / 'a.safetensors'
    save_file(_every_dtype(), path, metadata=dict(ovd='{"a": 1}', more='b'))
    file = TensorFile(path)
    assert file.info == {'a': 1}
    found = {name: file.read(name) for name in _every_dtype()}
    _assert_equal(found, _every_dtype())


def test_each_array_is_aligned(tmp_path):
    path = tmp_path / 'a.safetensors'
    write_tensors(path, _every_dtype(), {'text': 'of any length'})
    file = TensorFile(path)
    assert all(file.read(name).flags.aligned for name in _every_dtype())


def test_equal_content_gives_equal_bytes_in_any_order(tmp_path):
    arrays, info = _arrays(), {'a': 1, 'b': 2}
    write_tensors(tmp_path / 'a.safetensors', arrays, info)
    write_tensors(
        tmp_path / 'b.safetensors',
        {
            name: np.asfortranarray(
                array.astype(array.dtype.newbyteorder('>'))
            )
            for name, array in reversed(arrays.items())
        },
        dict(reversed(info.items())),
    )
    assert (tmp_path / 'a.safetensors').read_bytes() == (
        tmp_path / 'b.safetensors'
    ).read_bytes()


def test_digest_is_of_the_content(path):
    assert TensorFile(path).digest() == digest_tensors(_arrays())
    other = dict(_arrays(), ids=np.array([3, 2]))
    assert digest_tensors(other) != digest_tensors(_arrays())


def test_neither_writing_nor_reading_copies(tmp_path):
    path = tmp_path / 'a.safetensors'
    array = np.zeros((1 << 20, 8), np.float32)
    tracemalloc.start()
    try:
        write_tensors(path, dict(rows=array, columns=array.T[:2].copy()), {})
        TensorFile(path).read('rows')
        assert tracemalloc.get_traced_memory()[1] < array.nbytes / 2
    finally:
        tracemalloc.stop()


def test_views_cannot_be_written_and_outlive_the_file(path):
    rows = TensorFile(path).read('rows')
    with pytest.raises(ValueError, match='read-only'):
        rows[0] = 1
    path.unlink()
    np.testing.assert_array_equal(rows, _arrays()['rows'])


def _read(file):
    return file.read('rows')


@pytest.mark.parametrize('method', ['fork', 'spawn'])
def test_other_processes_read_an_open_file(path, method):
    file = TensorFile(path)
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        rows = pool.submit(_read, file).result()
    np.testing.assert_array_equal(rows, _arrays()['rows'])
    assert len(pickle.dumps(file)) < 500


@pytest.mark.parametrize('keep', [0, 4, 8, 100, -1])
def test_a_truncated_file_is_named(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match='a.safetensors is damaged or no saf'):
        TensorFile(path)


def test_a_file_that_is_too_long(path):
    path.write_bytes(path.read_bytes() + b'x')
    with pytest.raises(
        ValueError,
        match='a.safetensors is damaged or no .*'
        'its arrays have 96 bytes, the file has 97 for them',
    ):
        TensorFile(path)


def _entry(dtype='U8', shape=(2,), start=0, stop=2, **more):
    return {
        **dict(dtype=dtype, shape=list(shape), data_offsets=[start, stop]),
        **more,
    }


OVD = {'ovd': '{}'}


@pytest.mark.parametrize(
    'header, message',
    [
        (b'\xff{}', 'its header is no JSON: .*utf-8'),
        (b'{"a": ', 'its header is no JSON: Expecting value'),
        (b'[' * 100_000, 'its header is nested too deeply'),
        ([1], 'its header is no object'),
        (dict(a=3), 'wrong entry of "a"'),
        (dict(a=_entry(dtype=3)), 'wrong entry of "a"'),
        (dict(a=_entry(shape=[-2])), 'wrong entry of "a"'),
        (dict(a=_entry(shape=[True])), 'wrong entry of "a"'),
        (dict(a=_entry(shape=[2.0])), 'wrong entry of "a"'),
        (dict(a=_entry(data_offsets=[0, 1, 2])), 'wrong entry of "a"'),
        (dict(a=_entry(data_offsets=2)), 'wrong entry of "a"'),
        (dict(a=_entry(start=1, stop=2)), '"a" has bytes 1 to 2 .* from 0 on'),
        (dict(a=_entry(stop=1), b=_entry(stop=2)), '"b" has bytes 0 to 2 of'),
        (
            dict(a=_entry(start=0, stop=3)),
            'arrays have 3 bytes, the file has 2',
        ),
        (dict(a=_entry(stop=10**30)), 'the file has 2 for them'),
        ({}, 'its arrays have 0 bytes, the file has 2'),
        (dict(a=_entry()), 'was not written by ovd: .* no entry "ovd"'),
        (dict(__metadata__=[], a=_entry()), 'was not written by ovd'),
        (dict(__metadata__=dict(ovd='{'), a=_entry()), 'header is no JSON'),
        (dict(__metadata__=dict(ovd=3), a=_entry()), 'header is no JSON'),
        (dict(__metadata__=dict(ovd='3'), a=_entry()), 'header is no object'),
        (
            dict(__metadata__=OVD, a=_entry(dtype='F8_E4M3', shape=[1])),
            'array "a" is of dtype \'F8_E4M3\', expected one of BOOL, U8',
        ),
        (
            dict(__metadata__=OVD, a=_entry(shape=[3])),
            r'shape \(3,\) and dtype U8 has 2 bytes, expected 3',
        ),
        (
            dict(__metadata__=OVD, a=_entry(shape=[2**62, 4, 2])),
            'has 2 bytes, ex',
        ),
    ],
)
def test_a_wrong_header_is_named(tmp_path, header, message):
    path = tmp_path / 'a.safetensors'
    if not isinstance(header, bytes):
        header = json.dumps(header).encode()
    path.write_bytes(len(header).to_bytes(8, 'little') + header + b'xx')
    with pytest.raises(ValueError, match=f'a.safetensors.*{message}'):
        TensorFile(path)


@pytest.mark.parametrize('length', [2**64 - 1, 2**40, 1000])
def test_a_huge_header_is_not_read(path, length):
    path.write_bytes(length.to_bytes(8, 'little') + path.read_bytes()[8:])
    with pytest.raises(
        ValueError,
        match=f'a.safetensors is damaged or no .*a '
        f'header of {length:,} bytes in a file of',
    ):
        TensorFile(path)


def test_a_foreign_file_is_refused(tmp_path):
    path = tmp_path / 'a.safetensors'
    save_file(_arrays(), path)
    with pytest.raises(ValueError, match='was not written by ovd'):
        TensorFile(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='a.safetensors'):
        TensorFile(tmp_path / 'a.safetensors')


def test_a_dtype_that_safetensors_lack(tmp_path):
    with pytest.raises(
        ValueError,
        match='array "a" is of dtype <U1, expected one of bool, uint8',
    ):
        write_tensors(tmp_path / 'a', dict(a=np.array(['x'])), {})
    assert not list(tmp_path.iterdir())


def test_an_array_that_is_not_there_is_named(path):
    with pytest.raises(ValueError, match='no array "bboxes", only ids, rows'):
        TensorFile(path).read('bboxes')


@pytest.mark.parametrize('num_rows, start', [(5, 2), (5, 5), (0, 0)])
def test_no_rows(tmp_path, num_rows, start):
    path = tmp_path / 'a.safetensors'
    write_tensors(path, dict(rows=np.zeros((num_rows, 4), np.float16)), {})
    found = TensorFile(path).read_rows('rows', start, start)
    assert found.shape == (0, 4) and found.dtype == np.float16
