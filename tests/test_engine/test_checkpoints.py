"""Checkpoints that are not there, and what to do about it."""

import os
import shlex
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import load_checkpoint

from ovd.apis.data_tree import PRETRAINED
from ovd.artifacts.torch_file import NotPlainError
from ovd.engine.checkpoints import (
    SOURCES,
    check_whole,
    find_checkpoint,
    read_whole,
)
from ovd.engine.launch import build_runner

SOCO = 'pretrained/soco/soco_star_mask_rcnn_r50_fpn_400e.pth'


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize('path', [SOCO, f'./{SOCO}'])
def test_a_published_file_that_is_missing(path):
    with pytest.raises(
        FileNotFoundError,
        match=(
            'soco_star_mask_rcnn_r50_fpn_400e.pth does not exist\nput it '
            'there; it is published at https://github.com/hologerry/SoCo, '
            'there called current_mmdetection_Head.pth'
        ),
    ):
        find_checkpoint(path)
    Path(SOCO).parent.mkdir(parents=True)
    Path(SOCO).write_bytes(b'weights')
    assert find_checkpoint(path) == str(Path(path))


def test_before_anything_of_a_run_is_built():
    with pytest.raises(FileNotFoundError, match='published at https://github'):
        build_runner(Config(dict(load_from=SOCO, launcher='none')))


def test_sources_are_those_of_the_data_tree():
    origins = {entry.path: entry.origin for entry in PRETRAINED.all_entries()}
    assert SOURCES
    assert {path: origins[path] for path in SOURCES} == SOURCES


def test_other_files_have_near_names():
    Path('epoch_12.pth').touch()
    with pytest.raises(FileNotFoundError, match='mean "epoch_12.pth"'):
        find_checkpoint('epoch_2.pth')


def test_damaged_checkpoints_are_told_from_whole_ones(tmp_path: Path) -> None:
    whole = tmp_path / 'iter_1.pth'
    torch.save(dict(state_dict=dict(w=torch.arange(4096.0))), whole)
    check_whole(str(whole))
    content = whole.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for damaged in (flipped, content[:-100], content[:2000], b''):
        whole.write_bytes(damaged)
        with pytest.raises(ValueError, match='iter_1.pth is damaged'):
            check_whole(str(whole))


def test_damage_that_torch_alone_minds(tmp_path: Path) -> None:
    """The number of the disk that a part is on, which is always 0."""
    path = tmp_path / 'iter_1.pth'
    torch.save(dict(meta=dict(iter=1)), path)
    assert read_whole(str(path)) == dict(meta=dict(iter=1))
    content = bytearray(path.read_bytes())
    content[content.rindex(b'PK\x01\x02') + 34] = 2
    path.write_bytes(content)
    check_whole(str(path))
    with pytest.raises(ValueError, match='iter_1.pth is damaged .* earlier'):
        read_whole(str(path))


def test_a_file_that_is_no_checkpoint(tmp_path: Path) -> None:
    torch.save([1], tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='to resume: it holds a list'):
        read_whole(str(tmp_path / 'a.pth'))


def test_what_the_host_loads_is_refused_in_our_words() -> None:
    torch.save(dict(state_dict={}, meta=os.getcwd), 'a.pth')
    with pytest.raises(NotPlainError, match='a.pth is not opened, because'):
        load_checkpoint(torch.nn.Linear(1, 1), 'a.pth')
    with pytest.raises(FileNotFoundError, match='mean "a.pth"'):
        load_checkpoint(torch.nn.Linear(1, 1), 'b.pth')
    torch.save(dict(state_dict=dict(weight=torch.ones(1, 1))), 'a.pth')
    assert load_checkpoint(torch.nn.Linear(1, 1), 'a.pth').keys() == {
        'state_dict'
    }


def test_a_file_of_the_legacy_format(tmp_path: Path) -> None:
    """It has no checksums, and is not damaged; what is told makes it new."""
    path = tmp_path / 'old one.pth'
    content = dict(meta=dict(iter=1), w=torch.ones(2))
    torch.save(content, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match='legacy format') as refused:
        read_whole(str(path))
    assert 'damaged' not in str(refused.value)
    command = shlex.split(str(refused.value).splitlines()[-1])
    assert command[:2] == ['python', '-c']
    exec(command[2])  # noqa: S102  (what is told)
    assert read_whole(str(path))['meta'] == dict(iter=1)


def test_an_end_of_the_legacy_format_is_not_whole(tmp_path: Path) -> None:
    (tmp_path / 'a.pth').write_bytes(b'\x80\x02')
    with pytest.raises(ValueError, match='a.pth is damaged'):
        check_whole(str(tmp_path / 'a.pth'))
