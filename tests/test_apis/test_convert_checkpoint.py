"""Peers' checkpoints: built here key by key, converted, and compared.

What the converted heads compute is worked out again from the tensors of the
original file, with torch.nn.functional alone.
"""

import os
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import load_checkpoint
from safetensors.torch import save_file

from ovd.apis.convert_checkpoint import convert_checkpoint
from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.artifacts.files import sha256_file
from ovd.artifacts.seen_classes import UNKNOWN, read_seen_classes
from ovd.clip.weights import published_digest

ROOT = Path(__file__).resolve().parents[2]
BASE, NECK, FC, DIMS = 4, 8, 16, 12  # channels
NAMES, NOVEL = ['a', 'b', 'c', 'd'], ['b', 'd']
TAU = 0.2


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working folder with class embeddings."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    ClassEmbeddings(
        NAMES,
        F.normalize(torch.randn(len(NAMES), DIMS)),
        dict(name='tiny', sha256='0' * 64),
        'vild',
    ).save('classes.pth')
    return tmp_path


# ------------------------------------------------------ what others write


def norm(prefix, size):
    return {
        f'{prefix}.weight': 1 + torch.randn(size) / 4,
        f'{prefix}.bias': torch.randn(size),
        f'{prefix}.running_mean': torch.randn(size),
        f'{prefix}.running_var': torch.rand(size) + 0.5,
        f'{prefix}.num_batches_tracked': torch.tensor(7),
    }


def linear(prefix, size_in, size_out):
    return {
        f'{prefix}.weight': torch.randn(size_out, size_in) / size_in**0.5,
        f'{prefix}.bias': torch.randn(size_out),
    }


def conv(prefix, size_in, size_out, side, bias=False):
    scale = (size_in * side**2) ** -0.5
    found = {
        f'{prefix}.weight': torch.randn(size_out, size_in, side, side) * scale
    }
    return (
        dict(found, **{f'{prefix}.bias': torch.randn(size_out)})
        if bias
        else found
    )


def resnet50(prefix):
    found = {
        **conv(f'{prefix}conv1', 3, BASE, 7),
        **norm(f'{prefix}bn1', BASE),
    }
    size_in = BASE
    for layer, blocks in enumerate((3, 4, 6, 3), 1):
        mid = BASE * 2 ** (layer - 1)
        for block in range(blocks):
            name = f'{prefix}layer{layer}.{block}'
            if block == 0:
                found.update(conv(f'{name}.downsample.0', size_in, mid * 4, 1))
                found.update(norm(f'{name}.downsample.1', mid * 4))
            for i, sizes in enumerate(
                ((size_in, mid, 1), (mid, mid, 3), (mid, mid * 4, 1)), 1
            ):
                found.update(conv(f'{name}.conv{i}', *sizes))
                found.update(norm(f'{name}.bn{i}', sizes[1]))
            size_in = mid * 4
    return found


def fpn_with_norm():
    found = {}
    for i in range(4):
        for name, size_in, side in (
            ('lateral', BASE * 4 * 2**i, 1),
            ('fpn', NECK, 3),
        ):
            found.update(
                conv(f'neck.{name}_convs.{i}.conv', size_in, NECK, side)
            )
            found.update(norm(f'neck.{name}_convs.{i}.bn', NECK))
    return found


def rpn(prefix='rpn_head', num_convs=1):
    layers = (
        [f'{prefix}.rpn_conv']
        if num_convs == 1
        else [f'{prefix}.rpn_conv.{i}.conv' for i in range(num_convs)]
    )
    convs = [conv(layer, NECK, NECK, 3, True) for layer in layers]
    return {
        **{key: value for own in convs for key, value in own.items()},
        **conv(f'{prefix}.rpn_cls', NECK, 3, 1, True),
        **conv(f'{prefix}.rpn_reg', NECK, 12, 1, True),
    }


def mask_head(prefix, classes=1):
    found = {}
    for i in range(4):
        found.update(conv(f'{prefix}.convs.{i}.conv', NECK, NECK, 3, True))
    found.update(conv(f'{prefix}.upsample', NECK, NECK, 2, True))
    found.update(conv(f'{prefix}.conv_logits', NECK, classes, 1, True))
    return found


def shared_layers(prefix, suffix=''):
    """Shared4Conv1FC with SyncBN."""
    found = {}
    for i in range(4):
        found.update(
            conv(f'{prefix}.shared_convs{suffix}.{i}.conv', NECK, NECK, 3)
        )
        found.update(norm(f'{prefix}.shared_convs{suffix}.{i}.bn', NECK))
    found.update(linear(f'{prefix}.shared_fcs{suffix}.0', NECK * 49, FC))
    return found


def detpro(num_stages=None, ensemble=True, dims=DIMS):
    """dyabel/detpro: StandardRoIHead, or CascadeRoIHead with its lists."""
    stages = (
        [''] if num_stages is None else [f'.{i}' for i in range(num_stages)]
    )
    found = {**resnet50('backbone.'), **fpn_with_norm(), **rpn()}
    for stage in stages:
        head = f'roi_head.bbox_head{stage}'
        found.update(shared_layers(head))
        found.update(linear(f'{head}.fc_reg', FC, 4))
        found.update(linear(f'roi_head.projection{stage}', FC, dims))
        if ensemble:
            found.update(shared_layers(head, '_for_image'))
            found.update(
                linear(f'roi_head.projection_for_image{stage}', FC, dims)
            )
        found.update(mask_head(f'roi_head.mask_head{stage}'))
    found.update(linear('roi_head.bg_embedding', 1, dims))
    clip = 'roi_head.clip_model.'
    found.update(
        {
            f'{clip}logit_scale': torch.tensor(4.6),
            f'{clip}visual.conv1.weight': torch.ones(2, 3, 4, 4).half(),
            f'{clip}transformer.resblocks.0.attn.in_proj_weight': torch.ones(
                2
            ),
            f'{clip}token_embedding.weight': torch.ones(2, 2),
        }
    )
    return found


def oadp():
    """LutingWang/OADP with all of its heads."""
    found = {
        **resnet50('backbone.'),
        **fpn_with_norm(),
        **rpn(),
        **mask_head('roi_head.mask_head'),
    }
    for name in ('bbox_head', '_object_head'):
        found.update(shared_layers(f'roi_head.{name}'))
        found.update(linear(f'roi_head.{name}.fc_cls._linear', FC, DIMS))
        found[f'roi_head.{name}.fc_cls._bg_embedding'] = torch.randn(1, DIMS)
    found.update(linear('roi_head.bbox_head.fc_reg', FC, 4))
    for i in range(2):
        found.update(linear(f'roi_head._block_head.shared_fcs.{i}', 4, 4))
    found.update(linear('roi_head._block_head.fc_cls._linear', 4, DIMS))
    found['roi_head._block_head.fc_cls._bg_embedding'] = torch.randn(1, DIMS)
    found['roi_head._block_head._loss._weight._steps'] = torch.tensor(9)
    found.update(linear('_global_head._classifier._linear', NECK, DIMS))
    found['_distiller._losses.loss_clip_objects._weight._steps'] = (
        torch.tensor(9)
    )
    return found


def soco():
    return {
        **resnet50('backbone.'),
        **fpn_with_norm(),
        **shared_layers('roi_head.bbox_head'),
    }


def mmdet_mask_rcnn(classes=5):
    head = 'roi_head.bbox_head'
    return {
        **resnet50('backbone.'),
        **fpn_with_norm(),
        **rpn(),
        **shared_layers(head),
        **linear(f'{head}.fc_cls', FC, classes + 1),
        **linear(f'{head}.fc_reg', FC, classes * 4),
        **mask_head('roi_head.mask_head', classes),
    }


def save(weights, path='theirs.pth', **more):
    """Write what mmcv 1.x writes."""
    meta = dict(mmdet_version='2.7.0', epoch=20, CLASSES=('x', 'y'))
    torch.save(
        dict(
            meta=meta,
            state_dict=weights,
            optimizer=dict(state={}, param_groups=[dict(lr=0.02)]),
            **more,
        ),
        path,
    )


# ----------------------------------------------------- what ovd makes of it


def build(num_stages=None, ensemble=True):
    """A detector of ours with DetPro's settings, in narrow."""
    sync_bn = dict(type='SyncBN', requires_grad=True)
    layers = dict(
        num_shared_convs=4,
        num_shared_fcs=1,
        norm_cfg=sync_bn,
        conv_out_channels=NECK,
        fc_out_channels=FC,
    )
    bbox_head = dict(
        type='ViLDEnsembleBBoxHead' if ensemble else 'ViLDBBoxHead',
        in_channels=NECK,
        roi_feat_size=7,
        num_classes=len(NAMES),
        reg_class_agnostic=True,
        classifier=dict(
            type='ClassEmbeddingClassifier',
            class_embeddings='classes.pth',
            temperature=0.01,
            test_temperature=TAU,
        ),
        **layers,
    )
    if ensemble:
        bbox_head['image_branch'] = layers
    name = 'mask-rcnn' if num_stages is None else 'cascade-mask-rcnn'
    model = Config.fromstring(
        f"_base_ = ['mmdet::_base_/models/{name}_r50_fpn.py']", '.py'
    ).model
    model.backbone.update(
        norm_cfg=sync_bn,
        style='caffe',
        frozen_stages=-1,
        base_channels=BASE,
        init_cfg=None,
    )
    model.neck.update(
        norm_cfg=sync_bn,
        out_channels=NECK,
        in_channels=[BASE * 4 * 2**i for i in range(4)],
    )
    model.rpn_head.update(in_channels=NECK, feat_channels=NECK)
    roi_head = model.roi_head
    for extractor in (
        roi_head.bbox_roi_extractor,
        roi_head.mask_roi_extractor,
    ):
        extractor.out_channels = NECK
    roi_head.mask_head.update(
        in_channels=NECK,
        conv_out_channels=NECK,
        num_classes=len(NAMES),
        class_agnostic=True,
    )
    roi_head.update(
        type='ViLDRoIHead' if num_stages is None else 'ViLDCascadeRoIHead',
        loss_distill=dict(type='DistillationLoss'),
        bbox_head=bbox_head
        if num_stages is None
        else [bbox_head] * num_stages,
    )
    detector = MODELS.build(model).eval()
    for module in detector.modules():
        if hasattr(module, 'set_vocabulary'):
            module.set_vocabulary(NAMES, NOVEL)
    return detector


def run_layers(weights, prefix, x, suffix=''):
    """Shared4Conv1FC, in plain functions."""
    for i in range(4):
        name = f'{prefix}.shared_convs{suffix}.{i}'
        x = F.conv2d(x, weights[f'{name}.conv.weight'], padding=1)
        x = F.relu(
            F.batch_norm(
                x,
                weights[f'{name}.bn.running_mean'],
                weights[f'{name}.bn.running_var'],
                weights[f'{name}.bn.weight'],
                weights[f'{name}.bn.bias'],
            )
        )
    name = f'{prefix}.shared_fcs{suffix}.0'
    return F.relu(
        F.linear(
            x.flatten(1), weights[f'{name}.weight'], weights[f'{name}.bias']
        )
    )


def apply_linear(weights, name, x):
    return F.linear(x, weights[f'{name}.weight'], weights[f'{name}.bias'])


def check_head(head, x, text, image, background, deltas):
    """Compare a converted head with embeddings of the original tensors."""
    classes = ClassEmbeddings.load('classes.pth').embeddings
    rows = torch.cat([classes, F.normalize(background.reshape(1, -1))])
    text_logits = F.normalize(text) @ rows.T / TAU
    p_text = text_logits.softmax(-1)
    close = dict(rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        found = {}
        scorings = (
            ('text',) if image is None else ('text', 'image', 'ensemble')
        )
        for head.scoring in scorings:
            found[head.scoring], found_deltas = head(x)
        torch.testing.assert_close(head.classifier(text), text_logits, **close)
    torch.testing.assert_close(found_deltas, deltas, **close)
    torch.testing.assert_close(found['text'], p_text, **close)
    if image is None:
        return
    image_logits = F.normalize(image) @ rows.T / TAU
    image_logits[:, -1] = -1e11  # as DetPro hides the background
    p_image = image_logits.softmax(-1)
    novel = torch.tensor([name in NOVEL for name in NAMES] + [False])
    mixed = torch.where(
        novel,
        p_text ** (1 / 3) * p_image ** (2 / 3),
        p_text ** (2 / 3) * p_image ** (1 / 3),
    )
    torch.testing.assert_close(
        found['image'][:, :-1], p_image[:, :-1], **close
    )
    torch.testing.assert_close(
        found['ensemble'][:, :-1], mixed[:, :-1], **close
    )


def check_kept(model, weights, prefixes):
    """Check that whatever is no box head has the numbers of the file."""
    own = model.state_dict()
    kept = [key for key in weights if key.startswith(prefixes)]
    assert len(kept) > 300
    assert all(torch.equal(own[key], weights[key]) for key in kept)


# ------------------------------------------------------------------- tests


@pytest.mark.parametrize(
    'num_stages, ensemble',
    [(None, True), (None, False), (3, True)],
    ids=['mask', 'vild', 'cascade'],
)
def test_detpro(num_stages, ensemble, capsys):
    weights = detpro(num_stages, ensemble)
    save(weights)
    assert convert_checkpoint('theirs.pth', 'x/ours.pth') == Path('x/ours.pth')
    model = build(num_stages, ensemble)
    load_checkpoint(model, 'x/ours.pth', map_location='cpu', strict=True)
    check_kept(
        model,
        weights,
        ('backbone.', 'neck.', 'rpn_head.', 'roi_head.mask_head'),
    )
    x = torch.randn(5, NECK, 7, 7)
    background = (
        weights['roi_head.bg_embedding.weight'][:, 0]
        + weights['roi_head.bg_embedding.bias']
    )
    heads = (
        [('', model.roi_head.bbox_head)]
        if num_stages is None
        else [
            (f'.{i}', head) for i, head in enumerate(model.roi_head.bbox_head)
        ]
    )
    for stage, head in heads:
        prefix = f'roi_head.bbox_head{stage}'
        shared = run_layers(weights, prefix, x)
        text = apply_linear(weights, f'roi_head.projection{stage}', shared)
        image = (
            apply_linear(
                weights,
                f'roi_head.projection_for_image{stage}',
                run_layers(weights, prefix, x, '_for_image'),
            )
            if ensemble
            else None
        )
        check_head(
            head,
            x,
            text,
            image,
            background,
            apply_linear(weights, f'{prefix}.fc_reg', shared),
        )
    printed = capsys.readouterr().out
    assert printed.startswith(
        "theirs.pth: a detector of DetPro's code: ViLD* or DetPro (detpro)"
        + (', a cascade of 3 stages\n' if num_stages else '\n')
    )
    assert f'{len(weights) - 4:,} keys mapped, ' in printed
    assert '4 keys dropped: the CLIP whose embeddings it learned\n' in printed
    assert f'x/ours.pth: {len(model.state_dict()):,} keys\n' in printed


def test_oadp(capsys):
    weights = oadp()
    save(weights)
    convert_checkpoint('theirs.pth', 'ours.pth')
    model = build()
    load_checkpoint(model, 'ours.pth', map_location='cpu', strict=True)
    check_kept(
        model,
        weights,
        ('backbone.', 'neck.', 'rpn_head.', 'roi_head.mask_head'),
    )
    x = torch.randn(5, NECK, 7, 7)
    shared = run_layers(weights, 'roi_head.bbox_head', x)
    check_head(
        model.roi_head.bbox_head,
        x,
        apply_linear(weights, 'roi_head.bbox_head.fc_cls._linear', shared),
        apply_linear(
            weights,
            'roi_head._object_head.fc_cls._linear',
            run_layers(weights, 'roi_head._object_head', x),
        ),
        weights['roi_head.bbox_head.fc_cls._bg_embedding'],
        apply_linear(weights, 'roi_head.bbox_head.fc_reg', shared),
    )
    printed = capsys.readouterr().out
    for line in (
        '1 keys dropped: a background that is neither trained',
        '8 keys dropped: the head for blocks',
        '2 keys dropped: the head for whole images',
        '1 keys dropped: the state of losses',
    ):
        assert line in printed


def test_soco_starts_the_text_branch():
    weights = soco()
    torch.save(dict(state_dict=weights, meta={}), 'theirs.pth')
    convert_checkpoint('theirs.pth', 'ours.pth')
    content = torch.load('ours.pth', weights_only=True)
    assert content['state_dict'].keys() == weights.keys()
    model = build()
    missing, unexpected = model.load_state_dict(
        content['state_dict'], strict=False
    )
    assert not unexpected
    assert {key.split('.')[0] for key in missing} == {'rpn_head', 'roi_head'}
    assert not any('bbox_head.shared' in key for key in missing)
    check_kept(model, weights, ('backbone.', 'neck.', 'roi_head.'))


@pytest.mark.parametrize('classes, dropped', [(5, 6), (1, 2)])
def test_mmdet(classes, dropped):
    """What is there once per class is left out, if there is more than one."""
    weights = mmdet_mask_rcnn(classes)
    save(weights)
    convert_checkpoint('theirs.pth', 'ours.pth')
    content = torch.load('ours.pth', weights_only=True)
    assert len(content['state_dict']) == len(weights) - dropped
    assert not any('fc_cls' in key for key in content['state_dict'])
    missing, unexpected = build(ensemble=False).load_state_dict(
        content['state_dict'], strict=False
    )
    assert not unexpected
    assert len(missing) == 3 + (4 if classes > 1 else 0)
    # leaks of novel boxes are still found
    assert read_seen_classes('ours.pth') == ['x', 'y']


@pytest.mark.parametrize('num_convs', [1, 2])
def test_an_rpn_of_mmdet_3(num_convs):
    own = rpn('bbox_head', num_convs)
    weights = {**resnet50('backbone.'), **fpn_with_norm(), **own}
    save(weights)
    convert_checkpoint('theirs.pth', 'ours.pth')
    found = torch.load('ours.pth', weights_only=True)['state_dict']
    assert (
        found.keys()
        == {**weights, **rpn(num_convs=num_convs)}.keys() - own.keys()
    )


def test_torchvision_into_mmdets_backbone():
    """Both programs' networks give the same numbers."""
    theirs = torchvision.models.resnet18().eval()
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    torch.save(theirs.state_dict(), 'theirs.pth')
    convert_checkpoint('theirs.pth', 'ours.pth')
    ours = torch.nn.ModuleDict(
        dict(
            backbone=MODELS.build(
                dict(type='ResNet', depth=18, out_indices=(3,))
            )
        )
    )
    load_checkpoint(ours, 'ours.pth', map_location='cpu', strict=True)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        (found,) = ours.eval().backbone(x)
        for name, module in theirs.named_children():
            x = x if name in ('avgpool', 'fc') else module(x)
    torch.testing.assert_close(found, x)


DETPRO_MASK = 'mask-rcnn_r50_fpn_soco-20e_lvis_v1_866_337.py'


@pytest.mark.parametrize(
    'make, name',
    [
        (detpro, 'vild-star_' + DETPRO_MASK),
        (lambda: detpro(3), 'vild-star_cascade-' + DETPRO_MASK),
        (
            lambda: no_masks(detpro()),
            'vild-star_faster-rcnn_r50_fpn_soco-20e_coco_48_17.py',
        ),
        (oadp, 'vild-star_' + DETPRO_MASK),
        (
            lambda: no_masks(oadp()),
            'vild-star_faster-rcnn_r50_fpn_soco-40k_coco_48_17.py',
        ),
    ],
)
def test_the_config_that_is_named_loads_it(make, name, monkeypatch, capsys):
    """At full width, without a number: there are names and shapes alone."""
    for width, value in dict(BASE=64, NECK=256, FC=1024, DIMS=512).items():
        monkeypatch.setitem(globals(), width, value)
    monkeypatch.setattr(detpro, '__defaults__', (None, True, DIMS))
    with torch.device('meta'):
        save(make())
        convert_checkpoint('theirs.pth', 'ours.pth')
        (line,) = re.findall(
            '^its config: (.+)$', capsys.readouterr().out, re.MULTILINE
        )
        paths = re.findall(r'configs/detpro/\S+\.py', line)
        assert paths[0] == f'configs/detpro/{name}'
        for path in paths:
            with DefaultScope.overwrite_default_scope('mmdet'):
                model = MODELS.build(Config.fromfile(ROOT / path).model)
            load_checkpoint(model, 'ours.pth', map_location='cpu', strict=True)


def no_masks(weights):
    return {
        key: value for key, value in weights.items() if 'mask_head' not in key
    }


@pytest.mark.parametrize(
    'make',
    [
        soco,
        mmdet_mask_rcnn,
        lambda: resnet50(''),
        lambda: detpro(ensemble=False),
    ],
)
def test_configs_are_named_for_the_other_forms_too(make, capsys):
    save(make())
    convert_checkpoint('theirs.pth', 'ours.pth')
    (line,) = re.findall(
        '^its config: (.+)$', capsys.readouterr().out, re.MULTILINE
    )
    patterns = re.findall(r'configs/\S+\.py', line)
    assert patterns and all(any(ROOT.glob(item)) for item in patterns)
    assert line.startswith(('load_from of configs', 'none here has such'))


def test_scalars_of_numpy_and_safetensors(capsys):
    """As checkpoints have them whose metrics are NumPy's."""
    weights = soco()
    meta = dict(epoch=np.int64(3), best=np.float64(0.5))
    torch.save(dict(state_dict=weights, meta=meta), 'theirs.pth')
    convert_checkpoint('theirs.pth', 'a.pth')
    save_file(weights, 'theirs.safetensors')
    os.link('theirs.safetensors', 'named_so.pth')
    for name, out in (
        ('theirs.safetensors', 'b.pth'),
        ('named_so.pth', 'c.pth'),
    ):
        convert_checkpoint(name, out)
        found, expected = (
            torch.load(path, weights_only=True)['state_dict']
            for path in (out, 'a.pth')
        )
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in found)
    whole = Path('theirs.safetensors').read_bytes()
    Path('half.safetensors').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        ValueError,
        match='half.safetensors is damaged, or no safetensors file: ',
    ):
        convert_checkpoint('half.safetensors', 'd.pth')


def test_meta_says_what_it_was_made_of():
    save(detpro(dims=512))
    convert_checkpoint('theirs.pth', 'ours.pth')
    content = torch.load('ours.pth', weights_only=True)
    assert content.keys() == {'state_dict', 'meta'}
    assert content['meta'] == dict(
        converted_from=dict(
            file='theirs.pth', form='detpro', sha256=sha256_file('theirs.pth')
        ),
        clip=dict(name='ViT-B/32', sha256=published_digest('ViT-B/32')),
    )
    # its names are all of LVIS, and it has not seen the boxes of rare ones
    assert read_seen_classes('ours.pth') == UNKNOWN


class Runs:
    """Pickles as a call that would leave a file behind."""

    def __reduce__(self):
        return os.system, ('touch trace',)


@pytest.mark.parametrize(
    'content',
    [
        Runs(),
        dict(state_dict=Runs()),
        dict(state_dict={'a': Runs()}),
        dict(state_dict={'a': torch.ones(1)}, meta=Runs()),
    ],
)
@pytest.mark.parametrize('zipped', [True, False])
def test_a_malicious_pickle_is_refused_and_runs_nothing(content, zipped):
    torch.save(content, 'theirs.pth', _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match='theirs.pth is not opened, because'):
        convert_checkpoint('theirs.pth', 'ours.pth')
    assert sorted(os.listdir()) == ['classes.pth', 'theirs.pth']


def without(weights, *keys):
    return {key: value for key, value in weights.items() if key not in keys}


@pytest.mark.parametrize(
    'make, form, match',
    [
        (
            lambda: {**detpro(), 'roi_head.extra': torch.ones(1)},
            'auto',
            'no rule of detpro for 1 of its keys: roi_head.extra$',
        ),
        (
            lambda: {**oadp(), **linear('roi_head.extra', 1, 1)},
            'auto',
            'for 2 of its keys: roi_head.extra.weight, roi_head.extra.bias$',
        ),
        (
            lambda: without(detpro(), 'roi_head.bg_embedding.bias'),
            'auto',
            'no whole detector of the form detpro: nothing in it becomes '
            'roi_head.bbox_head.classifier.bg_embedding$',
        ),
        (
            lambda: without(detpro(3), 'roi_head.projection.1.weight'),
            'auto',
            'becomes roi_head.bbox_head.1.fc_cls.weight$',
        ),
        (
            lambda: without(
                oadp(), 'roi_head._object_head.fc_cls._linear.bias'
            ),
            'auto',
            'becomes roi_head.bbox_head.image_branch.fc_cls.bias$',
        ),
        (
            lambda: {**mmdet_mask_rcnn(), **rpn('bbox_head')},
            'auto',
            'two of its keys are rpn_head.rpn_conv.weight in ovd',
        ),
        (
            detpro,
            'oadp',
            'theirs.pth: it is not of the form oadp: it has no key '
            'roi_head.bbox_head.fc_cls._linear.weight; it looks like detpro',
        ),
        (detpro, 'detpo', 'did you mean "detpro"'),
        (
            lambda: {'a.b': torch.ones(1)},
            'auto',
            r'its keys \(a.b\) are those of '
            'none of',
        ),
        (dict, 'auto', 'got a dict of meta, state_dict, optimizer'),
    ],
)
def test_keys_that_do_not_fit(make, form, match):
    save(make())
    with pytest.raises(ValueError, match=match):
        convert_checkpoint('theirs.pth', 'ours.pth', form)
    assert not Path('ours.pth').exists()


@pytest.mark.parametrize(
    'content, match',
    [
        (torch.ones(2), 'theirs.pth: expected a state dict, .* got a Tensor'),
        ({}, 'got a dict of nothing'),
        (dict(model={'a': torch.ones(1)}, epoch=1), 'a dict of model, epoch'),
        (dict(state_dict={'a': 'b'}), 'got a dict of state_dict'),
    ],
)
def test_content_that_is_no_checkpoint(content, match):
    torch.save(content, 'theirs.pth')
    with pytest.raises(ValueError, match=match):
        convert_checkpoint('theirs.pth', 'ours.pth')


def test_files():
    with pytest.raises(FileNotFoundError, match='mean "classes.pth"'):
        convert_checkpoint('clases.pth', 'ours.pth')
    save(soco())
    whole = Path('theirs.pth').read_bytes()
    Path('half.pth').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match='half.pth is damaged'):
        convert_checkpoint('half.pth', 'ours.pth')
    with pytest.raises(ValueError, match='is the file to convert'):
        convert_checkpoint('theirs.pth', './theirs.pth', overwrite=True)
    Path('ours.pth').write_text('mine')
    with pytest.raises(ValueError, match='ours.pth exists: .*--overwrite'):
        convert_checkpoint('theirs.pth', 'ours.pth')
    assert Path('ours.pth').read_text() == 'mine'
    convert_checkpoint('theirs.pth', 'ours.pth', overwrite=True)
    with pytest.raises(ValueError, match='ours.pth: it is not of the form mm'):
        convert_checkpoint('ours.pth', 'again.pth', 'mmdet')
    save(detpro())
    convert_checkpoint('theirs.pth', 'ours.pth', overwrite=True)
    with pytest.raises(ValueError, match="it is in ovd's own form already"):
        convert_checkpoint('ours.pth', 'again.pth')


def test_tool(monkeypatch, capsys):
    """The one that it writes, and the message where it can't."""
    tool = ROOT / 'tools' / 'convert_checkpoint.py'
    save(soco())
    monkeypatch.setattr(
        sys, 'argv', [str(tool), 'theirs.pth', 'ours.pth', '--form', 'soco']
    )
    runpy.run_path(str(tool), run_name='__main__')
    assert capsys.readouterr().out.endswith(f'ours.pth: {len(soco())} keys\n')
    with pytest.raises(SystemExit, match='2'):
        runpy.run_path(str(tool), run_name='__main__')
    assert capsys.readouterr().err.startswith('error: ours.pth exists')
