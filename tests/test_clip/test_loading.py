"""Tests of reading, building and saving CLIPs."""
import copy
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
from ovd.clip.tokenizer import tokenize

TINY = dict(
    embed_dim=64,
    image_resolution=64,
    vision_layers=(1, 1, 1, 1),
    vision_width=16,
    transformer_width=64,
    transformer_layers=2)


@pytest.mark.parametrize('fixture', ['tiny_clip_path', 'tiny_vit_path'])
def test_load_clip_gives_a_frozen_float32_model(fixture, request):
    path = request.getfixturevalue(fixture)
    loaded = load_clip(path)
    parameters = list(loaded.model.parameters())
    assert {p.dtype for p in parameters} == {torch.float32}
    assert not any(p.requires_grad for p in parameters)
    assert not loaded.model.training
    assert loaded.identity == {'name': path, 'sha256': sha256_file(path)}
    assert loaded.device == torch.device('cpu')
    assert loaded.model.visual.input_resolution == 64
    assert loaded.model.transformer.resblocks[0].attn.num_heads == 1
    image = torch.rand(2, 3, 64, 64)
    assert loaded.model.encode_image(image).shape == (2, 64)
    assert loaded.model.encode_text(tokenize(['a cat'])).shape == (1, 64)


def test_saved_weights_are_the_halves_of_the_model(tmp_path):
    model = build_clip(**TINY)
    save_clip(model, tmp_path / 'a.pt')
    save_clip(model, tmp_path / 'b.pt')
    assert sha256_file(tmp_path / 'a.pt') == sha256_file(tmp_path / 'b.pt')
    assert model.text_projection.dtype == torch.float32  # left as it was
    loaded = load_clip(str(tmp_path / 'a.pt')).model
    torch.testing.assert_close(
        loaded.text_projection, model.text_projection.half().float(),
        rtol=0, atol=0, check_device=False)
    torch.testing.assert_close(
        loaded.token_embedding.weight, model.token_embedding.weight.detach(),
        rtol=0, atol=0)
    # clip's own builder takes the same file
    state_dict = torch.load(tmp_path / 'a.pt', weights_only=True)
    assert clip.model.build_model(state_dict).visual.input_resolution == 64


@pytest.mark.filterwarnings('ignore::torch.jit.TracerWarning',
                            'ignore:.torch.jit:DeprecationWarning')
def test_other_forms_give_the_same_model(tmp_path, tiny_clip_path):
    model = load_clip(tiny_clip_path).model
    image = torch.rand(2, 3, 64, 64)
    expected = model.encode_image(image)
    unrounded = copy.deepcopy(model)
    unrounded.text_projection += 1e-5  # lost in half precision
    save_file(unrounded.state_dict(), str(tmp_path / 'a.safetensors'))
    loaded = load_clip(str(tmp_path / 'a.safetensors')).model
    torch.testing.assert_close(
        loaded.text_projection, unrounded.text_projection, rtol=0, atol=0)
    torch.testing.assert_close(loaded.encode_image(image), expected)

    archived = copy.deepcopy(model)
    # Published archives hold such numbers beside the weights.
    archived.register_buffer('input_resolution', torch.tensor(64))
    tokens = tokenize(['a cat'] * 2)
    torch.jit.trace(archived, (image, tokens)).save(str(tmp_path / 'jit.pt'))
    loaded = load_clip(str(tmp_path / 'jit.pt')).model
    torch.testing.assert_close(loaded.encode_image(image), expected)


def test_save_clip_refuses_what_half_precision_cannot_hold(tmp_path):
    model = build_clip(**TINY)
    model.text_projection.data[0, 0] = 1e6
    with pytest.raises(ValueError, match='text_projection has values'):
        save_clip(model, tmp_path / 'a.pt')
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize('changes, message', [
    (dict(transformer_width=96), 'transformer_width must .* of 64, got 96'),
    (dict(image_resolution=80), 'image_resolution must .* of 32, got 80'),
    (dict(vision_layers=2), 'vision_width must .* of 64, got 16'),
])
def test_build_clip_refuses_what_would_load_differently(changes, message):
    with pytest.raises(ValueError, match=message):
        build_clip(**{**TINY, **changes})


@pytest.mark.parametrize('name, message', [
    ('ViT-B-32', 'neither a file nor one of .*did you mean "ViT-B/32"'),
    ('no/such.pt', r'CLIP weights no/such.pt does not exist'),
])
def test_unknown_name(name, message):
    with pytest.raises(FileNotFoundError, match=message):
        load_clip(name)


@pytest.mark.parametrize('content, message', [
    (b'no weights', 'is damaged, or no file of CLIP weights'),
    (dict(weight=torch.ones(2)), 'no entry text_projection'),
    (dict(text_projection=torch.ones(2, 2)), 'visual.layer1.0.conv1.weight'),
    (dict(model=os.getcwd), 'is damaged, or no file of CLIP weights'),
])
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
            'pretrained/clip/ViT-B-32.pt'):
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


def test_openai_weights_from_the_cache_or_the_net(no_network, tiny_clip_path,
                                                  monkeypatch):
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


def test_tokenize():
    tokens = tokenize(['cat', 'a photo of a cat'], context_length=20)
    assert tokens.shape == (2, 20)
    assert tokens[0].tolist()[:4] == [49406, 2368, 49407, 0]
    assert tokenize([]).shape == (0, 77)
    with pytest.raises(ValueError, match='Input cat cat .* length 4 tokens'):
        tokenize(['cat', 'cat cat cat'], context_length=4)
