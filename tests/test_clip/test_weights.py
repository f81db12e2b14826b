"""Tests of where weights are found, and of files that hold none."""

import os
from urllib.error import URLError

import clip
import pytest
import torch
from safetensors.torch import save_file

from ovd.artifacts.files import sha256_file
from ovd.clip import weights
from ovd.clip.building import build_clip, save_clip
from ovd.clip.loading import load_clip
from ovd.clip.weights import EMBED_DIMS, identify_clip


@pytest.mark.parametrize(
    'name, message',
    [
        ('ViT-B-32', 'neither a file nor one of .*did you mean "ViT-B/32"'),
        ('no/such.pt', r'CLIP weights no/such.pt does not exist'),
        (
            'pretrained/clip/miniature.pt',
            'make it with: python tools/train.py',
        ),
    ],
)
def test_unknown_name(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=message):
        load_clip(name)


@pytest.mark.parametrize(
    'content, message',
    [
        (b'no weights', 'is damaged, or no file of CLIP weights'),
        (dict(weight=torch.ones(2)), 'no entry text_projection'),
        (
            dict(text_projection=torch.ones(2, 2)),
            'visual.layer1.0.conv1.weight',
        ),
        (dict(model=os.getcwd), 'is not opened, .* a file of CLIP weights'),
    ],
)
def test_file_without_a_clip(tmp_path, content, message):
    path = tmp_path / 'bad.pt'
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(ValueError, match=message):
        load_clip(str(path))


@pytest.fixture
def no_network(tmp_path, monkeypatch):
    """An empty working folder and cache, and a network that is down."""

    def refuse(url, root):
        raise URLError('no network')

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(weights, 'CACHE_FOLDER', tmp_path / 'cache')
    monkeypatch.setattr(weights, 'download', refuse)
    return tmp_path


def test_offline_error_says_where_to_put_the_file(no_network):
    with pytest.raises(
        FileNotFoundError,
        match='no network.*put the file https://.*ViT-B-32.pt at '
        'pretrained/clip/ViT-B-32.pt',
    ):
        load_clip('ViT-B/32')
    assert list((no_network / 'cache').iterdir()) == []


def test_openai_weights_are_checked(no_network, tiny_clip_path, monkeypatch):
    path = no_network / 'pretrained/clip/ViT-B-32.pt'
    path.parent.mkdir(parents=True)
    path.write_bytes(open(tiny_clip_path, 'rb').read())
    with pytest.raises(ValueError, match='is not the published ViT-B/32'):
        load_clip('ViT-B/32')

    url = f'https://host/{sha256_file(path)}/ViT-B-32.pt'
    monkeypatch.setitem(weights.OPENAI_URLS, 'ViT-B/32', url)
    assert load_clip('ViT-B/32').name == 'ViT-B/32'


def test_openai_weights_from_the_cache_or_the_net(
    no_network, tiny_clip_path, monkeypatch
):
    url = f'https://host/{sha256_file(tiny_clip_path)}/ViT-B-32.pt'
    monkeypatch.setitem(weights.OPENAI_URLS, 'ViT-B/32', url)
    calls = []

    def download(url, root):
        calls.append(url)
        path = os.path.join(root, url.rsplit('/', 1)[1])
        with open(tiny_clip_path, 'rb') as source, open(path, 'wb') as file:
            file.write(source.read())
        return path

    monkeypatch.setattr(weights, 'download', download)
    for _ in range(2):
        loaded = load_clip('ViT-B/32')
        assert loaded.sha256 == sha256_file(tiny_clip_path)
    assert calls == [url]  # the second time it was in the cache
    assert os.listdir(no_network / 'cache') == ['ViT-B-32.pt']


def test_identity_without_the_file_of_a_published_clip(no_network):
    assert set(EMBED_DIMS) == set(clip.available_models())
    identity, embed_dims = identify_clip('ViT-B/32')
    assert identity['name'] == 'ViT-B/32' and embed_dims == 512
    assert identity['sha256'] in weights.OPENAI_URLS['ViT-B/32']


def test_safetensors_are_known_without_their_suffix(tmp_path, tiny_clip_path):
    state_dict = torch.load(tiny_clip_path, weights_only=True)
    for name in ('a.bin', 'weights'):
        save_file(state_dict, tmp_path / name)
        assert load_clip(str(tmp_path / name)).embed_dims == 64


def test_another_vocabulary_is_refused(tmp_path):
    model = build_clip(
        embed_dim=64,
        image_resolution=64,
        vision_layers=(1, 1, 1, 1),
        vision_width=16,
        transformer_width=64,
        transformer_layers=1,
        vocab_size=1000,
    )
    save_clip(model, tmp_path / 'a.pt')
    with pytest.raises(ValueError, match='a.pt knows 1000 tokens, expected'):
        load_clip(str(tmp_path / 'a.pt'))


def test_identity_of_a_file(tiny_clip_path):
    assert identify_clip(tiny_clip_path) == (
        load_clip(tiny_clip_path).identity,
        64,
    )
