"""Safetensors files with our JSON in their header."""
import numpy as np
import pytest
from safetensors.numpy import save_file

from ovd.artifacts.tensor_file import TensorFile, write_tensors


def _arrays():
    return dict(
        rows=np.arange(20, dtype=np.float32).reshape(5, 4),
        ids=np.array([3, 1], np.int64))


def test_round_trip_whole_and_by_rows(tmp_path):
    path = tmp_path / 'a.safetensors'
    write_tensors(path, _arrays(), {'made': ['by', 1]})
    file = TensorFile(path)
    assert file.info == {'made': ['by', 1]}
    assert file.shape('rows') == (5, 4)
    np.testing.assert_array_equal(file.read('ids'), [3, 1])
    np.testing.assert_array_equal(
        file.read_rows('rows', 1, 3),
        _arrays()['rows'][1:3])


def test_equal_content_gives_equal_bytes_in_any_order(tmp_path):
    arrays, info = _arrays(), {'a': 1, 'b': 2}
    write_tensors(tmp_path / 'a.safetensors', arrays, info)
    write_tensors(
        tmp_path / 'b.safetensors',
        dict(reversed(arrays.items())),
        dict(reversed(info.items())))
    assert (tmp_path / 'a.safetensors').read_bytes() == \
        (tmp_path / 'b.safetensors').read_bytes()


@pytest.mark.parametrize('keep', [0, 4, 100, -1])
def test_a_truncated_file_is_named(tmp_path, keep):
    path = tmp_path / 'a.safetensors'
    write_tensors(path, _arrays(), {})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match='a.safetensors is damaged'):
        TensorFile(path)


def test_a_foreign_file_is_refused(tmp_path):
    path = tmp_path / 'a.safetensors'
    save_file(_arrays(), path)
    with pytest.raises(ValueError, match='was not written by ovd'):
        TensorFile(path)


def test_an_array_that_is_not_there_is_named(tmp_path):
    path = tmp_path / 'a.safetensors'
    write_tensors(path, _arrays(), {})
    with pytest.raises(ValueError, match='no array "bboxes", only ids, rows'):
        TensorFile(path).read('bboxes')


@pytest.mark.parametrize('num_rows, start', [(5, 2), (5, 5), (0, 0)])
def test_no_rows(tmp_path, num_rows, start):
    path = tmp_path / 'a.safetensors'
    write_tensors(path, dict(rows=np.zeros((num_rows, 4), np.float16)), {})
    found = TensorFile(path).read_rows('rows', start, start)
    assert found.shape == (0, 4) and found.dtype == np.float16
