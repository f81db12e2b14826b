"""Weights of torchvision: where they are looked for, and without a network."""

import os
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.runner import checkpoint as host
from mmengine.runner.checkpoint import CheckpointLoader

import ovd.engine
from ovd.apis.data_tree import PRETRAINED
from ovd.artifacts.files import sha256_file
from ovd.engine import backbone_weights
from ovd.engine.backbone_weights import (
    PREFIX,
    WEIGHTS_FOLDER,
    find_url,
    find_weights,
    load_from_torchvision,
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A working folder, an empty cache, and no network."""

    def fail(request, **kwargs):
        raise URLError('no network')

    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    monkeypatch.setattr(torch.hub, '_hub_dir', None)
    monkeypatch.setattr(torch.hub, 'urlopen', fail)
    (tmp_path / 'work').mkdir()
    monkeypatch.chdir(tmp_path / 'work')
    return tmp_path / 'home/hub/checkpoints'


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Return a function that publishes what it is given, as ``tiny``."""

    def publish(content) -> Path:
        folder = tmp_path / 'server'
        folder.mkdir(exist_ok=True)
        torch.save(content, folder / 'tiny.pth')
        digest = sha256_file(folder / 'tiny.pth')
        path = (folder / 'tiny.pth').rename(folder / f'tiny-{digest[:8]}.pth')
        urls = dict(tiny=path.as_uri(), no_longer_there=None)
        monkeypatch.setattr(
            backbone_weights, 'get_torchvision_models', lambda: urls
        )
        return path

    return publish


@pytest.fixture
def online(monkeypatch):
    """A network on which files can be got, by ``file:``."""
    from urllib.request import urlopen

    monkeypatch.setattr(torch.hub, 'urlopen', urlopen)


def place(path: Path, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / path.name).write_bytes(path.read_bytes())
    return folder / path.name


def test_pretrained_goes_before_the_cache(publish, cache):
    path = publish({'a': torch.ones(2)})
    cached = place(path, cache)
    assert find_weights('tiny') == cached
    ours = place(path, WEIGHTS_FOLDER)
    assert find_weights('tiny') == ours
    assert load_from_torchvision(f'{PREFIX}tiny')['a'].tolist() == [1, 1]


def test_download_into_the_cache(publish, cache, online):
    path = publish({'a': torch.ones(2)})
    found = find_weights('tiny')
    assert found == cache / path.name
    assert found.read_bytes() == path.read_bytes()
    path.unlink()
    assert find_weights('tiny') == found  # without another download
    assert os.listdir(cache) == [path.name]


def test_a_damaged_cache_is_downloaded_anew(publish, cache, online):
    path = publish({'a': torch.ones(2)})
    place(path, cache).write_bytes(b'half')
    assert find_weights('tiny').read_bytes() == path.read_bytes()


def test_a_download_of_another_digest_is_refused(publish, cache, online):
    path = publish({'a': torch.ones(2)})
    path.write_bytes(b'something else')
    with pytest.raises(FileNotFoundError, match='invalid hash value'):
        find_weights('tiny')
    assert os.listdir(cache) == []


def test_offline_it_says_which_file_to_put_where(publish, cache):
    path = publish({'a': torch.ones(2)})
    with pytest.raises(FileNotFoundError) as error:
        load_from_torchvision(f'{PREFIX}tiny')
    ours = WEIGHTS_FOLDER / path.name
    assert str(error.value) == (
        f'the weights torchvision://tiny are neither at {ours} nor at '
        f'{cache / path.name}, and downloading them failed (<urlopen error '
        f'no network>); put the file {path.as_uri()} at {ours}'
    )


def test_offline_it_says_that_the_cached_file_is_damaged(publish, cache):
    path = publish({'a': torch.ones(2)})
    cached = place(path, cache)
    cached.write_bytes(b'half')
    with pytest.raises(ValueError) as error:
        load_from_torchvision(f'{PREFIX}tiny')
    assert str(error.value) == (
        f"{cached} is cut off or not torchvision's: its SHA-256 does not "
        f'begin with {path.stem[-8:]}; downloading it anew failed (<urlopen '
        f'error no network>): put the file {path.as_uri()} there, or at '
        f'{WEIGHTS_FOLDER / path.name}'
    )
    assert cached.read_bytes() == b'half'


def test_another_file_under_its_name_is_refused(publish):
    path = publish({'a': torch.ones(2)})
    place(path, WEIGHTS_FOLDER).write_bytes(b'half')
    with pytest.raises(ValueError, match='is cut off or not torchvision'):
        find_weights('tiny')


class Runs:
    """Pickles as a call that would leave a file behind."""

    def __reduce__(self):
        return os.system, ('touch trace',)


def test_nothing_is_executed(publish):
    place(publish({'a': Runs()}), WEIGHTS_FOLDER)
    with pytest.raises(ValueError, match='is not opened, because that could'):
        load_from_torchvision(f'{PREFIX}tiny')
    assert not Path('trace').exists()


@pytest.mark.parametrize('name', ['tine', 'no_longer_there'])
def test_unknown_names(publish, name):
    publish({})
    with pytest.raises(ValueError, match=f'has no weights "{name}"'):
        find_weights(name)


def test_real_names():
    """Those of the data tree are those that configs ask for."""
    urls = {
        entry.path: entry.origin
        for entry in PRETRAINED.all_entries()
        if entry.path.startswith(str(WEIGHTS_FOLDER))
    }
    assert urls == {
        f'{WEIGHTS_FOLDER}/{url.split("/")[-1]}': url
        for url in map(find_url, ('resnet50', 'resnet101'))
    }
    assert find_url('resnet50.imagenet1k_v2').endswith('11ad3fa6.pth')
    with pytest.raises(ValueError, match='"resnet5".*mean "resnet50"'):
        find_url('resnet5')


def test_the_host_loads_backbones_with_it(publish):
    """Importing ovd is enough, and other prefixes stay the host's."""
    cfg = dict(type='ResNet', depth=18, base_channels=4)
    weights = MODELS.build(cfg).state_dict()
    place(
        publish(
            {key: torch.full_like(value, 2) for key, value in weights.items()}
        ),
        WEIGHTS_FOLDER,
    )
    backbone = MODELS.build(
        dict(cfg, init_cfg=dict(type='Pretrained', checkpoint=f'{PREFIX}tiny'))
    )
    backbone.init_weights()
    assert backbone.layer4[1].conv2.weight.eq(2).all()
    assert ovd.engine.load_from_torchvision is load_from_torchvision
    loaders = CheckpointLoader._schemes
    assert loaders[PREFIX] is load_from_torchvision
    assert loaders['modelzoo://'] is host.load_from_torchvision
    assert loaders['open-mmlab://'] is host.load_from_openmmlab
    assert loaders['https://'] is host.load_from_http
