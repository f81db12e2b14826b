"""What other projects call the weights of a detector, and what ovd does.

Tables alone, read off the code that writes those files; nothing here opens
one. :mod:`ovd.apis.convert_checkpoint` applies them.
"""

import re
from typing import Collection, Iterable, List, Tuple

from ovd.suggest import check_choice

from .key_rules import STAGE, Layout, Rule, list_some

# Parts of keys, which mmdet 2.x and 3.x have in common
LINEAR = r'(?:weight|bias)'
NORM = r'(?:weight|bias|running_mean|running_var|num_batches_tracked)'
CONV = rf'(?:conv\.{LINEAR}|bn\.{NORM})'  # mmcv's ConvModule
RESNET = (
    rf'(?:conv1\.weight|bn1\.{NORM}|layer[1-4]\.\d+\.'
    rf'(?:conv[1-3]\.weight|bn[1-3]\.{NORM}|'
    rf'downsample\.0\.weight|downsample\.1\.{NORM}))'
)
# One convolution, or several of them: num_convs
RPN_LAYER = (
    rf'(?:rpn_conv(?:\.\d+\.conv)?|rpn_cls|rpn_reg)'
    rf'\.{LINEAR}'
)
SHARED_CONV = rf'\d+\.{CONV}'
SHARED_FC = rf'\d+\.{LINEAR}'
SHARED = rf'(?:shared_convs\.{SHARED_CONV}|shared_fcs\.{SHARED_FC})'
BOX_HEAD = rf'roi_head\.bbox_head{STAGE}\.'

# What a box head of ovd has, and its second branch if it has one
HEAD_KEYS = (
    'fc_cls.weight',
    'fc_cls.bias',
    'fc_reg.weight',
    'fc_reg.bias',
    'classifier.bg_embedding',
)
BRANCH_KEYS = ('image_branch.fc_cls.weight', 'image_branch.fc_cls.bias')


# torchvision.models.resnet
TORCHVISION = Layout(
    'torchvision',
    'a ResNet of torchvision',
    needs=(r'conv1\.weight', r'layer1\.0\.conv1\.weight'),
    rules=(
        Rule(RESNET, r'backbone.\g<0>'),
        Rule(rf'fc\.{LINEAR}', None, "ImageNet's classes"),
    ),
)

BACKBONE = (Rule(rf'backbone\.{RESNET}'),)
NECK = (Rule(rf'neck\.(?:lateral_convs|fpn_convs)\.\d+\.{CONV}'),)
RPN = (Rule(rf'rpn_head\.{RPN_LAYER}'),)
BOX = (Rule(rf'{BOX_HEAD}(?:{SHARED}|fc_reg\.{LINEAR})'),)
MASK = (
    Rule(
        rf'roi_head\.mask_head{STAGE}\.(?:convs\.\d+\.{CONV}|'
        rf'(?:upsample|conv_logits)\.{LINEAR})'
    ),
)
DETECTOR = BACKBONE + NECK + RPN + BOX + MASK

# dyabel/detpro: mmdet/models/roi_heads/{standard,cascade}_roi_head.py and
# bbox_heads/convfc_bbox_head.py. The cascade has lists of projections, one
# per stage, and a single background for all of them.
DETPRO = Layout(
    'detpro',
    "a detector of DetPro's code: ViLD* or DetPro",
    needs=(rf'roi_head\.projection{STAGE}\.weight',),
    background=('roi_head.bg_embedding.weight', 'roi_head.bg_embedding.bias'),
    rules=(
        *DETECTOR,
        Rule(
            rf'roi_head\.projection{STAGE}\.({LINEAR})',
            r'roi_head.bbox_head\1.fc_cls.\2',
        ),
        Rule(
            rf'roi_head\.projection_for_image{STAGE}\.({LINEAR})',
            r'roi_head.bbox_head\1.image_branch.fc_cls.\2',
        ),
        Rule(
            rf'{BOX_HEAD}shared_convs_for_image\.({SHARED_CONV})',
            r'roi_head.bbox_head\1.image_branch.shared_convs.\2',
        ),
        Rule(
            rf'{BOX_HEAD}shared_fcs_for_image\.({SHARED_FC})',
            r'roi_head.bbox_head\1.image_branch.shared_fcs.\2',
        ),
        Rule(
            r'roi_head\.clip_model\..+',
            None,
            'the CLIP whose embeddings it learned',
        ),
    ),
    clip='ViT-B/32',
    note='class embeddings are a file of their own (python '
    'tools/class_embeddings.py convert), and temperatures are in no file: '
    'DetPro trains with 0.01 and tests with 0.007',
)

# LutingWang/OADP: oadp/dp/{classifiers,bbox_heads,roi_heads,detectors}.py;
# its todd counts the steps of losses that warm up in buffers.
OADP = Layout(
    'oadp',
    "a detector of OADP's code: ViLD or OADP",
    needs=(r'roi_head\.bbox_head\.fc_cls\._linear\.weight',),
    rules=(
        *DETECTOR,
        Rule(
            rf'roi_head\.bbox_head\.fc_cls\._linear\.({LINEAR})',
            r'roi_head.bbox_head.fc_cls.\1',
        ),
        Rule(
            r'roi_head\.bbox_head\.fc_cls\._bg_embedding',
            'roi_head.bbox_head.classifier.bg_embedding',
        ),
        Rule(
            rf'roi_head\._object_head\.({SHARED})',
            r'roi_head.bbox_head.image_branch.\1',
        ),
        Rule(
            rf'roi_head\._object_head\.fc_cls\._linear\.({LINEAR})',
            r'roi_head.bbox_head.image_branch.fc_cls.\1',
        ),
        Rule(
            r'roi_head\._object_head\.fc_cls\._bg_embedding',
            None,
            'a background that is neither trained nor used',
        ),
        Rule(
            r'roi_head\.(?:bbox|_object)_head\.fc_cls\._embeddings',
            None,
            'class embeddings, which are a file of their own',
        ),
        Rule(
            r'roi_head\._block_head\..+',
            None,
            'the head for blocks, which serves training alone',
        ),
        Rule(
            r'_global_head\..+',
            None,
            'the head for whole images, which serves training alone',
        ),
        Rule(r'_distiller\..+', None, 'the state of losses'),
    ),
    clip='ViT-B/32',
    note='class embeddings are a file of their own (python '
    'tools/class_embeddings.py convert), and temperatures are in no file: its '
    'ViLD tests with 0.01 on COCO, with 0.007 on LVIS; OADP does not '
    'normalise its class embeddings and ovd does, which shifts scores '
    "slightly; where the image branch scores by a file of its own (OADP's "
    'ml_coco.pth), ovd takes the same one for both branches',
)

# hologerry/SoCo: converter_mmdetection/convert_mmdetection_Head.py. Its box
# head is the text branch of a ViLD head.
SOCO = Layout(
    'soco',
    'SoCo: backbone, neck and layers of the box head, none of it detects yet',
    needs=(
        r'backbone\.conv1\.weight',
        r'neck\.lateral_convs\.0\.bn\.weight',
        r'roi_head\.bbox_head\.shared_fcs\.0\.weight',
    ),
    lacks=(
        r'rpn_head\..+',
        r'roi_head\.projection.*',
        r'roi_head\.bbox_head\.fc_.+',
    ),
    rules=(*BACKBONE, *NECK, Rule(rf'roi_head\.bbox_head\.{SHARED}')),
    note='its neck has batch norm: neck=dict(norm_cfg=...)',
)

# open-mmlab/mmdetection 2.x and 3.x
MMDET = Layout(
    'mmdet',
    'a detector or an RPN of mmdet',
    needs=(r'backbone\.conv1\.weight', r'(?:rpn|bbox)_head\.rpn_cls\.weight'),
    lacks=(
        r'roi_head\.projection.*',
        r'.+\.fc_cls\._.+',
        r'.+\.classifier\..+',
    ),
    rules=(
        Rule(
            rf'{BOX_HEAD}fc_cls\.{LINEAR}',
            None,
            'scores of a closed set of classes',
        ),
        Rule(
            rf'{BOX_HEAD}fc_reg\.{LINEAR}',
            None,
            'box deltas of each class',
            unless_rows=4,
        ),
        Rule(
            rf'roi_head\.mask_head{STAGE}\.conv_logits\.{LINEAR}',
            None,
            'masks of each class',
            unless_rows=1,
        ),
        *DETECTOR,
        # mmdet 3.x's RPN calls its own head so
        Rule(rf'bbox_head\.({RPN_LAYER})', r'rpn_head.\1'),
    ),
    note='layers to start from; where it was trained on all classes, it has '
    'seen the boxes of novel ones',
    keep_meta=('dataset_meta', 'CLASSES'),
)

LAYOUTS = {
    layout.name: layout for layout in (DETPRO, OADP, SOCO, MMDET, TORCHVISION)
}


def find_layout(keys: Collection[str], name: str = 'auto') -> Layout:
    """Return the layout that keys are in.

    Args:
        keys (Collection[str]): Of a state dict.
        name (str): A key of ``LAYOUTS``, or ``'auto'``.

    Raises:
        ValueError: If ``name`` is none, or the keys are in another layout, in
            none of these or in several.
    """
    check_choice(name, ('auto', *LAYOUTS), '--form')
    if any(
        re.fullmatch(rf'{BOX_HEAD}classifier\.bg_embedding', key)
        for key in keys
    ):
        raise ValueError("it is in ovd's own form already: use it as it is")
    fitting = [
        layout for layout in LAYOUTS.values() if not layout.find_misfit(keys)
    ]
    if name == 'auto':
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise ValueError(
                'its keys are those of several forms at once: '
                f'{_list_marks(fitting, keys)}; say with --form which one it '
                'is'
            )
        known = ''.join(
            f'\n  {layout.name}: {layout.title}' for layout in LAYOUTS.values()
        )
        raise ValueError(
            f'its keys ({list_some(keys)}) are those of none of\n{known[1:]}'
        )
    misfit = LAYOUTS[name].find_misfit(keys)
    if misfit:
        other = f'; it looks like {fitting[0].name}' if fitting else ''
        raise ValueError(f'it is not of the form {name}: {misfit}{other}')
    return LAYOUTS[name]


def _list_marks(layouts: List[Layout], keys: Collection[str]) -> str:
    """Return layouts in words, each with a key that speaks for it."""
    marks = (
        next(key for key in keys if re.fullmatch(layout.needs[-1], key))
        for layout in layouts
    )
    return ', '.join(
        f'{layout.name} ({mark})' for layout, mark in zip(layouts, marks)
    )


def find_missing(keys: Collection[str]) -> List[str]:
    """Return the keys that open-vocabulary box heads lack to be whole.

    Args:
        keys (Collection[str]): Those of ovd.
    """
    heads = {
        match[0]
        for match in (re.match(BOX_HEAD, key) for key in keys)
        if match
    }
    missing = []
    for head in sorted(heads):
        needed: Tuple[str, ...] = HEAD_KEYS
        if any(key.startswith(f'{head}image_branch.') for key in keys):
            needed += BRANCH_KEYS
        missing += [
            f'{head}{key}' for key in needed if f'{head}{key}' not in keys
        ]
    return missing


def find_stages(keys: Iterable[str]) -> List[str]:
    """Return ``['.0', '.1', ...]`` of a cascade, ``['']`` of other heads."""
    matches = (re.match(BOX_HEAD, key) for key in keys)
    return sorted({match[1] or '' for match in matches if match})
