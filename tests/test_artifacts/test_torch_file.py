"""Tests of the careful reading of torch files."""

import os

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from ovd.artifacts.torch_file import NotPlainError, read_torch_file


def test_plain_content(tmp_path):
    torch.save(dict(a=[torch.ones(2), 'b', 1]), tmp_path / 'a.pth')
    content = read_torch_file(tmp_path / 'a.pth', 'things')
    assert content['a'][1:] == ['b', 1]


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'something else',
        b'\x80\x02',
        b'PK\x03\x04',
        bytes(range(256)) * 9,
    ],
)
def test_other_bytes(tmp_path, content):
    (tmp_path / 'a.pth').write_bytes(content)
    with pytest.raises(ValueError, match='a.pth is damaged, or no file of th'):
        read_torch_file(tmp_path / 'a.pth', 'things')


@pytest.mark.parametrize('size', [4, 4000])
@pytest.mark.parametrize('cut', [1, 500, 0.5])
def test_a_file_that_is_cut_off(tmp_path, size, cut):
    torch.save(torch.ones(size), tmp_path / 'a.pth')
    whole = (tmp_path / 'a.pth').read_bytes()
    stop = -cut if cut > 1 else int(len(whole) * cut)
    (tmp_path / 'a.pth').write_bytes(whole[: stop - 1])
    with pytest.raises(ValueError, match='a.pth is damaged, or no file of th'):
        read_torch_file(tmp_path / 'a.pth', 'things')


@pytest.mark.parametrize(
    'content, name',
    [
        (os.getcwd, f'{os.getcwd.__module__}.getcwd'),
        (HistoryBuffer(), 'mmengine.logging.history_buffer.HistoryBuffer'),
        (torch.nn.Linear(1, 1), 'torch.nn.modules.linear.Linear'),
    ],
)
@pytest.mark.parametrize('zipped', [True, False])
def test_code_is_refused_in_plain_words(tmp_path, content, name, zipped):
    torch.save(
        dict(a=content),
        tmp_path / 'a.pth',
        _use_new_zipfile_serialization=zipped,
    )
    with pytest.raises(NotPlainError) as error:
        read_torch_file(tmp_path / 'a.pth', 'things')
    message = str(error.value)
    assert message.startswith(
        f'{tmp_path / "a.pth"} is not opened, because that could run code: it '
        f'asks for {name}; expected a file of '
    )
    assert 'expected a file of things with tensors' in message
    assert_plain(message)


@pytest.mark.parametrize('zipped', [True, False])
def test_scalars_of_numpy_become_numbers(tmp_path, zipped):
    """With the very same tensors beside them."""
    content = dict(
        meta=[
            np.float64(0.1),
            np.float32(2.5),
            np.int64(-3),
            np.uint8(200),
            np.bool_(True),
            np.array(1, '>i4')[()],
            7,
        ],
        a=torch.arange(3),
    )
    torch.save(
        content, tmp_path / 'a.pth', _use_new_zipfile_serialization=zipped
    )
    before = set(torch.serialization.get_safe_globals())
    found = read_torch_file(tmp_path / 'a.pth', 'things')
    assert found['meta'] == [0.1, 2.5, -3, 200, True, 1, 7]
    assert {type(item) for item in found['meta']} == {float, int, bool}
    assert torch.equal(found['a'], content['a'])
    assert set(torch.serialization.get_safe_globals()) == before


class Scalar:
    """Pickles as a call of the function that makes NumPy's scalars."""

    def __init__(self, *args):
        self.args = args

    def __reduce__(self):
        return type(np.float64(1)).__reduce__(np.float64(1))[0], self.args


@pytest.mark.parametrize(
    'content, match',
    [
        ([np.float64(1), os.getcwd], 'could run code: it asks for .*getcwd'),
        (np.array([1.0]), 'could run code: it asks for numpy.*_reconstruct'),
        (
            Scalar(np.dtype('O'), b'1234567'),
            'is damaged, or no file of things',
        ),
        (
            Scalar(np.dtype('f8'), b'1234567'),
            'is damaged, or no file of things',
        ),
        (
            Scalar(np.dtype('f4'), b'1234567'),
            'is damaged, or no file of things',
        ),
        (
            Scalar(np.dtype('f4'), np.float64(1)),
            'is damaged, or no file of th',
        ),
        (
            Scalar(np.float64(1), b'12345678'),
            'is damaged, or no file of things',
        ),
        (
            Scalar(np.dtype('i4,O'), b'12345678'),
            'is damaged, or no file of thi',
        ),
    ],
)
def test_what_is_no_plain_scalar(tmp_path, content, match):
    torch.save(content, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=match):
        read_torch_file(tmp_path / 'a.pth', 'things')


def assert_plain(message):
    assert '\x1b' not in message and 'weights_only` ' not in message
    assert 'trusted source' not in message and 'safe_globals' not in message


@pytest.mark.filterwarnings(
    'ignore:.*torch.jit:DeprecationWarning', 'ignore:.*TorchScript'
)
def test_advice_of_torch_is_left_out(tmp_path):
    torch.jit.script(torch.nn.Linear(1, 1)).save(tmp_path / 'a.pth')
    (tmp_path / 'b.pth').write_bytes(b'\x80\x02K\x01.')
    for name in ('a.pth', 'b.pth'):
        with pytest.raises(
            ValueError,
            match=f'{name} is damaged, or no file '
            r'of th.* \(\w+Error: .{9}',
        ) as error:
            read_torch_file(tmp_path / name, 'things')
        assert_plain(str(error.value))
    with pytest.raises(ValueError, match='TorchScript archives'):
        read_torch_file(tmp_path / 'a.pth', 'things')


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_torch_file(tmp_path / 'a.pth', 'things')
