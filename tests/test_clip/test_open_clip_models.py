"""Tests of CLIPs of open_clip, of small sizes with random weights."""

import json
import shutil
import sys

import pytest
import torch

from ovd.clip import open_clip_models
from ovd.clip.image_encoder import embed_boxes
from ovd.clip.loading import load_clip
from ovd.clip.text_encoder import embed_class_names
from ovd.clip.weights import identify_clip

TINY = dict(
    embed_dim=48,
    vision_cfg=dict(image_size=64, layers=1, width=64, patch_size=16),
    text_cfg=dict(
        context_length=77, vocab_size=49408, width=128, heads=2, layers=3
    ),
)
# Layer scale, and the text tower in a module of its own
CUSTOM = {
    **TINY,
    'custom_text': True,
    'text_cfg': {**TINY['text_cfg'], 'ls_init_value': 0.5},
}
LAST = {**TINY, 'text_cfg': {**TINY['text_cfg'], 'pool_type': 'last'}}
QUICK = {**TINY, 'quick_gelu': True}
LARGE = {**TINY, 'vision_cfg': {**TINY['vision_cfg'], 'image_size': 128}}
SHORT = {**CUSTOM, 'text_cfg': {**CUSTOM['text_cfg'], 'context_length': 32}}
WIDE = {**TINY, 'vision_cfg': {**TINY['vision_cfg'], 'image_size': (64, 96)}}
WORDS = {**TINY, 'text_cfg': {**TINY['text_cfg'], 'vocab_size': 1000}}
OTHER_TOKENS = {
    **TINY,
    'text_cfg': {
        **TINY['text_cfg'],
        'tokenizer_kwargs': dict(clean='canonicalize'),
    },
}


@pytest.fixture(scope='module')
def open_clip():
    return pytest.importorskip(
        'open_clip', reason='the optional open_clip_torch is not installed'
    )


@pytest.fixture(scope='module')
def files(open_clip, tmp_path_factory):
    """Files of random weights of three models that open_clip then knows."""
    folder = tmp_path_factory.mktemp('open_clip')
    configs = dict(
        tiny=TINY,
        tiny_custom=CUSTOM,
        tiny_last=LAST,
        tiny_quick=QUICK,
        tiny_large=LARGE,
        tiny_wide=WIDE,
        tiny_short=SHORT,
        tiny_words=WORDS,
        tiny_tokens=OTHER_TOKENS,
    )
    for name, config in configs.items():
        (folder / f'{name}.json').write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    paths = {}
    for name in configs:
        torch.manual_seed(0)
        paths[name] = folder / f'{name}.pt'
        torch.save(open_clip.create_model(name).state_dict(), paths[name])
    return paths


@pytest.mark.parametrize('name', ['tiny', 'tiny_custom'])
def test_equal_to_the_plain_calls(open_clip, files, name):
    spec = f'open_clip:{name}/{files[name]}'
    clip = load_clip(spec)
    assert (clip.embed_dims, clip.image_size) == (48, 64)
    assert identify_clip(spec) == (clip.identity, 48)
    assert not any(p.requires_grad for p in clip.model.parameters())
    texts = ['a photo of a cat.', 'a photo of a long green bus.', 'x']
    tokens = open_clip.get_tokenizer(name)(texts)
    torch.testing.assert_close(
        clip.text_tower.encode(tokens),
        clip.model.encode_text(tokens),
        rtol=0,
        atol=1e-5,
    )
    rounded = load_clip(spec, precision='bf16')
    assert rounded.model.visual.proj.dtype == torch.bfloat16
    names = ['cat', 'bus']
    cosines = (
        embed_class_names(clip, names) * embed_class_names(rounded, names)
    ).sum(dim=1)
    assert cosines.min() > 0.9999
    image = torch.randint(255, (50, 60, 3), dtype=torch.uint8).numpy()
    boxes = [[5.0, 5, 30, 40]]
    one, two = (embed_boxes(c, image, boxes) for c in (clip, rounded))
    assert one.shape == (1, 48) and (one * two).sum() > 0.999


def test_other_text_towers_are_refused(files):
    with pytest.raises(ValueError, match="text tower .* pooled by 'last'"):
        embed_class_names(
            load_clip(f'open_clip:tiny_last/{files["tiny_last"]}'), ['cat']
        )


@pytest.mark.parametrize(
    'spec, error, message',
    [
        (
            'open_clip:tiny',
            FileNotFoundError,
            'expected open_clip:NAME/TAG or',
        ),
        (
            'open_clip:ViT-B32/openai',
            FileNotFoundError,
            'no model "ViT-B32"; did you mean "ViT-B-32',
        ),
        (
            'open_clip:ViT-B-16/laion2b_s34b_b88',
            FileNotFoundError,
            'neither a file nor one of the tags .*did you mean '
            '"laion2b_s34b_b88k"',
        ),
        (
            'open_clip:tiny/no.pt',
            FileNotFoundError,
            'open_clip weights no.pt does not exist',
        ),
        (
            'open_clip:tiny/{tiny_custom}',
            ValueError,
            "does not hold the weights of open_clip's tiny",
        ),
    ],
)
def test_errors(files, spec, error, message):
    with pytest.raises(error, match=message):
        load_clip(spec.format(**files))


def test_offline(open_clip, files, monkeypatch):
    def refuse(*args, **kwargs):
        raise ConnectionError('no network')

    monkeypatch.setattr(open_clip, 'download_pretrained', refuse)
    with pytest.raises(
        FileNotFoundError,
        match='laion2b_s34b_b88k of ViT-B-16 could not '
        'be downloaded .*no network.*put it at pretrained/open_clip/'
        'ViT-B-16_laion2b_s34b_b88k.safetensors',
    ):
        load_clip('open_clip:ViT-B-16/laion2b_s34b_b88k')


def test_tags_are_downloaded_and_their_activation_is_checked(
    open_clip, files, monkeypatch
):
    monkeypatch.setattr(
        open_clip, 'download_pretrained', lambda tag: str(files['tiny'])
    )
    tag = dict(mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
    monkeypatch.setattr(
        open_clip, 'get_pretrained_cfg', lambda model, name: dict(tag)
    )
    clip = load_clip('open_clip:tiny/some_tag')
    assert clip.image_mean == (0.5, 0.5, 0.5)
    assert clip.image_std == (0.2, 0.2, 0.2)
    tag['quick_gelu'] = True
    with pytest.raises(
        ValueError,
        match='trained with QuickGELU, tiny is '
        'without it: use open_clip:tiny-quickgelu/some_tag',
    ):
        load_clip('open_clip:tiny/some_tag')
    tag.update(quick_gelu=False, resize_mode='squash')
    with pytest.raises(ValueError, match="prepared with resize_mode 'squash'"):
        load_clip('open_clip:tiny/some_tag')


def test_nothing_is_downloaded_for_what_is_refused(
    open_clip, files, monkeypatch
):
    def download(tag):
        raise AssertionError('it was downloaded')

    monkeypatch.setattr(open_clip, 'download_pretrained', download)
    tag = dict(resize_mode='squash')
    monkeypatch.setattr(
        open_clip, 'get_pretrained_cfg', lambda model, name: dict(tag)
    )
    for changes, message in (
        (dict(resize_mode='squash'), 'resize_mode'),
        (dict(quick_gelu=True), 'with QuickGELU'),
    ):
        tag.clear()
        tag.update(changes)
        with pytest.raises(ValueError, match=message):
            load_clip('open_clip:tiny/some_tag')


def test_one_file_is_two_models(files):
    one, two = (
        load_clip(f'open_clip:{name}/{files["tiny"]}')
        for name in ('tiny', 'tiny_quick')
    )
    assert one.sha256 != two.sha256
    difference = embed_class_names(one, ['cat']) - embed_class_names(
        two, ['cat']
    )
    assert difference.abs().max() > 1e-5
    with pytest.warns(UserWarning, match='if it is of open_clip, name it '):
        load_clip(str(files['tiny']))


@pytest.mark.parametrize(
    'name, file, message',
    [
        (
            'tiny_large',
            'tiny',
            r'its visual.positional_embedding is \(17, 64\), '
            r'expected \(65, 64\)',
        ),
        (
            'tiny_custom',
            'tiny_short',
            r'its positional_embedding is \(32, 128\)',
        ),
        (
            'tiny_wide',
            'tiny_wide',
            'takes images of 64 x 96; ovd makes square',
        ),
        ('tiny_words', 'tiny_words', r'tokenizer of its own \(1000 tokens\)'),
        ('tiny_tokens', 'tiny_tokens', r'of its own \(tokenizer_kwargs\)'),
    ],
)
def test_what_ovd_does_not_know_is_refused(files, name, file, message):
    with pytest.raises(ValueError, match=message):
        load_clip(f'open_clip:{name}/{files[file]}')


def test_weights_of_a_tag_in_the_folder(
    open_clip, files, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / 'pretrained/open_clip'
    folder.mkdir(parents=True)
    shutil.copy(files['tiny'], folder / 'tiny_some_tag.bin')
    tag = dict(mean=(0.5, 0.5, 0.5))
    monkeypatch.setattr(
        open_clip,
        'get_pretrained_cfg',
        lambda model, name: dict(tag) if name == 'some_tag' else None,
    )
    clip = load_clip('open_clip:tiny/some_tag')
    assert clip.image_mean == (0.5, 0.5, 0.5)
    # The same weights as a file, which knows nothing of the images.
    assert clip.sha256 != load_clip(f'open_clip:tiny/{files["tiny"]}').sha256


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, 'open_clip', None)
    assert open_clip_models.is_spec('open_clip:tiny/a.pt')
    with pytest.raises(ModuleNotFoundError, match='pip install'):
        load_clip('open_clip:tiny/a.pt')
