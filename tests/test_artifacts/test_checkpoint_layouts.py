"""Which layout keys are in, and that it has a rule for each of them."""

import re

import pytest
import torch
import torchvision
from mmdet.registry import MODELS

from ovd.artifacts.checkpoint_layouts import (
    LAYOUTS,
    find_layout,
    find_missing,
    find_stages,
)

DETPRO = [
    'backbone.conv1.weight',
    'rpn_head.rpn_cls.weight',
    'roi_head.projection.weight',
    'neck.lateral_convs.0.bn.weight',
    'roi_head.bbox_head.shared_fcs.0.weight',
]
SOCO = [
    'backbone.conv1.weight',
    'neck.lateral_convs.0.bn.weight',
    'roi_head.bbox_head.shared_fcs.0.weight',
]
KEYS = {
    'detpro': DETPRO,
    'oadp': [
        *SOCO,
        'rpn_head.rpn_cls.weight',
        'roi_head.bbox_head.fc_cls._linear.weight',
    ],
    'soco': SOCO,
    'mmdet': [
        *SOCO,
        'rpn_head.rpn_cls.weight',
        'roi_head.bbox_head.fc_cls.weight',
    ],
    'torchvision': ['conv1.weight', 'layer1.0.conv1.weight', 'fc.weight'],
}


@pytest.mark.parametrize('name', LAYOUTS)
def test_form_is_told_from_the_keys(name):
    assert find_layout(KEYS[name]).name == name
    assert find_layout(KEYS[name], name).name == name
    for other in LAYOUTS:  # each file is of one form alone
        assert (LAYOUTS[other].find_misfit(KEYS[name]) == '') == (
            other == name
        )


@pytest.mark.parametrize(
    'keys',
    [
        ['roi_head.projection.2.weight'],
        ['backbone.conv1.weight', 'bbox_head.rpn_cls.weight'],
    ],
)
def test_cascades_and_rpns(keys):
    assert find_layout(keys).name in ('detpro', 'mmdet')


@pytest.mark.parametrize(
    'name, keys, match',
    [
        (
            'auto',
            ['visual.conv1.weight'],
            r'keys \(visual.conv1.weight\) are thos'
            r'e of none of\n  detpro: a detector of DetPro',
        ),
        ('detpor', DETPRO, 'must be one of auto, detpro, .*mean "detpro"'),
        (
            'detpro',
            KEYS['oadp'],
            'not of the form detpro: it has no key roi_head'
            '.projection.weight; it looks like oadp',
        ),
        (
            'mmdet',
            DETPRO,
            'not of the form mmdet: it has the key roi_head.proj',
        ),
        ('mmdet', ['backbone.conv1.weight'], 'it has no key rpn_head.rpn_cls'),
        ('soco', ['a'], 'it has no key backbone.conv1.weight$'),
        (
            'auto',
            ['roi_head.bbox_head.1.classifier.bg_embedding'],
            "in ovd's own",
        ),
        (
            'mmdet',
            ['roi_head.bbox_head.classifier.bg_embedding'],
            "in ovd's own",
        ),
        (
            'auto',
            [*KEYS['oadp'], 'roi_head.projection.1.weight'],
            r'of several forms at once: detpro '
            r'\(roi_head.projection.1.weight\), '
            r'oadp \(roi_head.bbox_head.fc_cls._linear.weight\); say with '
            r'--form wh',
        ),
    ],
)
def test_wrong_forms(name, keys, match):
    with pytest.raises(ValueError, match=match):
        find_layout(keys, name)


@pytest.mark.parametrize('depth', [18, 50, 101])
def test_backbones_of_torchvision_have_mmdets_keys(depth):
    with torch.device('meta'):
        theirs = getattr(torchvision.models, f'resnet{depth}')().state_dict()
        ours = MODELS.build(dict(type='ResNet', depth=depth)).state_dict()
    layout = find_layout(theirs)
    rules = {key: layout.find_rule(key, 1) for key in theirs}
    assert all(rules.values())
    assert sorted(
        re.fullmatch(rule.pattern, key).expand(rule.target)
        for key, rule in rules.items()
        if rule.target
    ) == sorted(f'backbone.{key}' for key in ours)
    assert {key for key, rule in rules.items() if not rule.target} == {
        'fc.weight',
        'fc.bias',
    }


@pytest.mark.parametrize(
    'key',
    [
        'backbone.conv2.weight',
        'backbone.layer5.0.conv1.weight',
        'backbone',
        'backbone.layer1.0.conv2_offset.weight',
        'neck.gfp.weight',
        'roi_head.bbox_head.cls_convs.0.conv.weight',
        'optimizer',
        'roi_head.prompt_learner.ctx',
        'roi_head.projection_for_text.weight',
        'ema_backbone_conv1_weight',
        'module.backbone.conv1.weight',
        'roi_head.bbox_head.shared_convs_for_image.0.conv.scale',
    ],
)
@pytest.mark.parametrize('name', LAYOUTS)
def test_nothing_is_taken_by_part_of_its_name(name, key):
    assert LAYOUTS[name].find_rule(key, 4) is None


@pytest.mark.parametrize('num_convs', [1, 2])
@pytest.mark.parametrize('head', ['rpn_head', 'bbox_head'])
def test_rpns_of_several_convolutions(head, num_convs):
    rpn = MODELS.build(
        dict(
            type='RPNHead', in_channels=4, feat_channels=4, num_convs=num_convs
        )
    )
    for key in rpn.state_dict():
        rule = LAYOUTS['mmdet'].find_rule(f'{head}.{key}', 4)
        found = re.fullmatch(rule.pattern, f'{head}.{key}')
        assert found.expand(rule.target) == f'rpn_head.{key}'


@pytest.mark.parametrize('head', ['bbox_head', '_object_head'])
def test_class_embeddings_are_dropped(head):
    rule = LAYOUTS['oadp'].find_rule(f'roi_head.{head}.fc_cls._embeddings', 4)
    assert rule.target is None and 'class embeddings' in rule.why


def test_box_heads_must_be_whole():
    head = 'roi_head.bbox_head.1.'
    keys = [
        f'{head}{key}'
        for key in (
            'fc_cls.weight',
            'fc_cls.bias',
            'fc_reg.weight',
            'fc_reg.bias',
        )
    ]
    assert find_missing(keys) == [f'{head}classifier.bg_embedding']
    keys.append(f'{head}classifier.bg_embedding')
    assert find_missing(keys) == []
    keys.append(f'{head}image_branch.fc_cls.bias')
    assert find_missing(keys) == [f'{head}image_branch.fc_cls.weight']
    assert find_stages(keys) == ['.1']
    assert find_stages(['roi_head.bbox_head.fc_reg.bias', 'neck']) == ['']
    assert find_stages(['neck']) == find_missing(['neck']) == []
