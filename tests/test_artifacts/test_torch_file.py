"""Tests of the careful reading of torch files."""
import os

import pytest
import torch

from ovd.artifacts.torch_file import read_torch_file


def test_plain_content(tmp_path):
    torch.save(dict(a=[torch.ones(2), 'b', 1]), tmp_path / 'a.pth')
    content = read_torch_file(tmp_path / 'a.pth', 'things')
    assert content['a'][1:] == ['b', 1]


@pytest.mark.parametrize('content', [
    b'', b'something else', b'\x80\x02', b'PK\x03\x04', bytes(range(256)) * 9])
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
    (tmp_path / 'a.pth').write_bytes(whole[:stop - 1])
    with pytest.raises(ValueError, match='a.pth is damaged, or no file of th'):
        read_torch_file(tmp_path / 'a.pth', 'things')


def test_code_is_refused(tmp_path):
    torch.save(dict(a=os.getcwd), tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='UnpicklingError'):
        read_torch_file(tmp_path / 'a.pth', 'things')


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_torch_file(tmp_path / 'a.pth', 'things')
