"""Every config builds, learns and predicts; settings are the published ones.

Models are as wide as their configs say where nothing is computed, and narrow
where something is: 8 channels in place of 64, and images of 64 pixels.
"""

import functools
import json
from pathlib import Path
from typing import Any, Dict, Iterator, Set

import numpy as np
import pytest
import torch
from mmcv import imwrite
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config, ConfigDict
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import HOOKS, DefaultScope
from mmengine.structures import InstanceData
from torch import nn

import ovd.models  # noqa: F401  (registers)
from ovd.clip.class_embedding_recipe import Recipe

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(
    str(path.relative_to(ROOT / 'configs').with_suffix(''))
    for path in (ROOT / 'configs').rglob('*.py')
    if '_base_' not in path.parts
)
OTHERS = [
    name
    for name in CONFIGS
    if any(
        word in name for word in ('clip_rn', 'prompt_', 'feature_extractor')
    )
]
DETECTORS = [name for name in CONFIGS if name not in OTHERS]
PUBLISHED = [
    name
    for name in DETECTORS
    if name.split('/')[0] in ('vild', 'detpro', 'mask_rcnn', 'transfer')
]
NAMES = ['zebra', 'cat', 'dog']  # the first is novel
SIZE = 64


@pytest.fixture(scope='module', autouse=True)
def quiet() -> Iterator[None]:
    """Keep the host from logging how each weight was initialised."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel('ERROR')
    yield
    logger.setLevel(level)


@functools.cache
def read(name: str) -> Config:
    return Config.fromfile(ROOT / 'configs' / f'{name}.py')


def load_config(name: str) -> Config:
    """Return a copy that a test may change."""
    return Config(read(name).to_dict())


def build(cfg: ConfigDict) -> nn.Module:
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(cfg)


def as_list(item: Any) -> list:
    return item if isinstance(item, list) else [item]


def shrink(model: ConfigDict, class_embeddings: Path, clip: str) -> None:
    """Make a detector narrow, in place, with no more layers than an R50."""
    backbone = model.backbone
    backbone.update(
        base_channels=8, init_cfg=None, depth=min(backbone.depth, 50)
    )
    last = 4 if backbone.depth == 50 else 1
    model.neck.update(
        in_channels=[8 * last * 2**i for i in range(backbone.num_stages)],
        out_channels=16,
    )
    model.rpn_head.update(in_channels=16, feat_channels=16)
    for settings in (model.test_cfg.rpn, model.train_cfg.get('rpn_proposal')):
        if settings:
            settings.max_per_img = 30
    for augment in model.data_preprocessor.get('batch_augments') or ():
        augment.size = (SIZE, SIZE)
    if model.type == 'CLIPOnBoxes':
        model.update(teacher=clip, class_embeddings=str(class_embeddings))
    if 'roi_head' not in model:
        return
    model.test_cfg.rcnn.score_thr = 0.0
    roi_head = model.roi_head
    branch = dict(conv_out_channels=16, fc_out_channels=32)
    for head in as_list(roi_head.bbox_head):
        head.update(branch, in_channels=16)
        if 'image_branch' in head:
            head.image_branch.update(branch)
        head.classifier.update(
            class_embeddings=str(class_embeddings), embed_dims=64
        )
    for extractor in ('bbox_roi_extractor', 'mask_roi_extractor'):
        if roi_head.get(extractor):
            roi_head[extractor].out_channels = 16
    if roi_head.get('mask_head'):
        roi_head.mask_head.update(in_channels=16, conv_out_channels=16)


@pytest.fixture(scope='module')
def class_embeddings(
    tmp_path_factory: pytest.TempPathFactory, tiny_clip_path: str
) -> Path:
    path = tmp_path_factory.mktemp('prompt') / 'vild.pth'
    Recipe(tiny_clip_path).make(NAMES).save(path)
    return path


def set_vocabulary(model: nn.Module) -> None:
    for module in model.modules():
        if hasattr(module, 'set_vocabulary'):
            module.set_vocabulary(NAMES, NAMES[:1])


@pytest.fixture(scope='module')
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file that CLIP-on-boxes looks at."""
    path = str(tmp_path_factory.mktemp('images') / '1.png')
    imwrite(np.zeros((SIZE, SIZE, 3), np.uint8), path)
    return path


def batch(with_mask: bool, image: str) -> dict:
    """Two images with objects of base classes and boxes to distil."""
    data = demo_mm_inputs(
        2,
        [(3, SIZE, SIZE)] * 2,
        num_items=[2, 1],
        num_classes=3,
        with_mask=with_mask,
    )
    for sample, count in zip(data['data_samples'], (3, 1)):
        sample.set_metainfo(dict(img_path=image))
        corners = torch.rand(count, 2) * 30
        sample.distill_instances = InstanceData(
            bboxes=torch.cat([corners, corners + 20], 1),
            embeddings=nn.functional.normalize(torch.randn(count, 64)),
        )
    return data


def expected_losses(name: str) -> Set[str]:
    """What a detector learns from, by the name of its config."""
    method = Path(name).stem.split('_')[0]
    losses = {'loss', 'loss_rpn_cls', 'loss_rpn_bbox'}
    if '/rpn_' in name:
        return losses
    of_stage = {'loss_cls', 'loss_bbox', 'acc'}
    if 'mask' in name:
        of_stage.add('loss_mask')
    if method != 'vild-text':
        of_stage.add('loss_distill')
    stages = ('s0.', 's1.', 's2.') if 'cascade' in name else ('',)
    return losses | {stage + loss for stage in stages for loss in of_stage}


@pytest.mark.parametrize('name', DETECTORS)
def test_detectors_learn_and_predict(
    name: str, class_embeddings: Path, tiny_clip_path: str, image: str
) -> None:
    torch.manual_seed(0)
    cfg = load_config(name)
    shrink(cfg.model, class_embeddings, tiny_clip_path)
    model = build(cfg.model)
    set_vocabulary(model)
    data = batch('mask' in name, image)
    check_predictions(name, model, data)
    if cfg.get('train_cfg') and cfg.model.type != 'CLIPOnBoxes':
        with DefaultScope.overwrite_default_scope('mmdet'):
            optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
        losses = model.train().train_step(data, optim_wrapper)
        assert set(losses) == expected_losses(name)
        assert all(torch.isfinite(value).all() for value in losses.values())


@torch.no_grad()
def check_predictions(name: str, model: nn.Module, data: dict) -> None:
    found = model.eval().test_step(data)[0].pred_instances
    assert len(found) and torch.isfinite(found.bboxes).all()
    assert ((0 <= found.scores) & (found.scores <= 1)).all()
    if '/rpn_' not in name:
        assert found.labels.max() < len(NAMES)
        assert len(found) <= model.roi_head.test_cfg.max_per_img
        assert ('masks' in found) == ('mask' in name)


@pytest.mark.parametrize(
    'name', [name for name in PUBLISHED if not name.startswith('transfer/')]
)
def test_detectors_of_full_width(name: str, monkeypatch) -> None:
    """No file is needed to build one, and no weight is computed."""
    monkeypatch.chdir('/')
    with torch.device('meta'):
        model = build(load_config(name).model)
    shapes = {
        key: tuple(value.shape) for key, value in model.state_dict().items()
    }
    assert shapes['backbone.layer4.2.conv3.weight'] == (2048, 512, 1, 1)
    projections = [key for key in shapes if key.endswith('fc_cls.weight')]
    assert {shapes[key] for key in projections} == {(512, 1024)}
    stages = 3 if 'cascade' in name else 1
    branches = (
        1
        if Path(name).stem.split('_')[0] in ('vild', 'vild-text', 'vild-image')
        else 2
    )
    assert len(projections) == stages * branches
    for key in projections:
        prefix = key[: -len('fc_cls.weight')]
        convs = {
            key
            for key in shapes
            if key.startswith(f'{prefix}shared_convs.')
            and key.endswith('conv.weight')
        }
        fcs = {
            key
            for key, shape in shapes.items()
            if key.startswith(f'{prefix}shared_fcs.') and len(shape) == 2
        }
        assert len(convs) == 4
        assert len(fcs) == (2 if 'vild/' in name or 'vild-ens' in name else 1)
    boxes = {
        shape for key, shape in shapes.items() if key.endswith('fc_reg.weight')
    }
    masks = {
        shape[0]
        for key, shape in shapes.items()
        if key.endswith('conv_logits.weight')
    }
    assert boxes == {(4, 1024)} and masks <= {1}


# --- what is no detector ---------------------------------------------------


def step_clip(cfg: Config, names_file: str) -> Dict[str, torch.Tensor]:
    cfg.model.update(names_file=names_file)
    cfg.model.clip.update(vision_width=8)
    model = build(cfg.model)
    data = dict(
        inputs=torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8),
        labels=torch.tensor([0, 1, 2, 1]),
    )
    losses = model.train_step(
        data, build_optim_wrapper(model, cfg.optim_wrapper)
    )
    assert len(model.eval().test_step(data)) == 4
    return losses


def step_prompts(cfg: Config, clip: str) -> Dict[str, torch.Tensor]:
    cfg.model.update(clip=clip)
    model = build(cfg.model)
    model.set_vocabulary(NAMES, NAMES[:1])
    losses = model.train_step(
        dict(
            embeddings=torch.randn(3, 64),
            labels=torch.tensor([0, 1, -1]),
            weights=torch.ones(3),
            group=4,
        ),
        build_optim_wrapper(model, cfg.optim_wrapper),
    )
    with torch.no_grad():
        found = model.eval().test_step(
            dict(embeddings=torch.randn(2, 64), labels=torch.tensor([0, 2]))
        )
    assert len(found) == 2
    return losses


def embed(cfg: Config, clip: str) -> Dict[str, torch.Tensor]:
    cfg.model.update(clip=clip, batch_size=4, precision='fp32')
    image = np.zeros((32, 32, 3), np.uint8)
    (found,) = build(cfg.model)([image], [np.float32([[2, 2, 20, 20]])])
    return dict(norm=found.norm(dim=1) - 1)


@pytest.mark.parametrize('name', OTHERS)
def test_other_models_learn_and_predict(
    name: str, tmp_path: Path, tiny_clip_path: str
) -> None:
    cfg = load_config(name)
    if cfg.model.type == 'CLIPPretrainer':
        (tmp_path / 'names.json').write_text(json.dumps(NAMES))
        values = step_clip(cfg, str(tmp_path / 'names.json'))
        assert {'loss_image_text', 'loss_text_text'} <= set(values)
    elif cfg.model.type == 'PromptLearner':
        values = step_prompts(cfg, tiny_clip_path)
        assert set(values) == {'loss', 'loss_prompt', 'acc'}
    else:
        assert cfg.model.type == 'ProposalFeatureExtractor'
        values = embed(cfg, tiny_clip_path)
    assert all(torch.isfinite(value).all() for value in values.values())


# --- settings --------------------------------------------------------------


def entry(cfg: Config, path: str) -> Any:
    """Return what ``'a.0.b'`` names."""
    item = cfg
    for key in path.split('.'):
        item = item[int(key) if isinstance(item, list) else key]
    return item


HEAD = 'model.roi_head.bbox_head'
DATA = 'train_dataloader.dataset'
GOOGLE = {  # tensorflow/tpu, projects/vild
    'train_cfg.type': 'IterBasedTrainLoop',
    'optim_wrapper.optimizer.type': 'SGD',
    'optim_wrapper.optimizer.lr': 0.32,
    'optim_wrapper.optimizer.momentum': 0.9,
    'optim_wrapper.optimizer.weight_decay': 4e-5,
    'param_scheduler.0.start_factor': 0.0032 / 0.32,
    'param_scheduler.0.end': 1000,
    'param_scheduler.1.gamma': 0.1,
    'param_scheduler.1.by_epoch': False,
    'auto_scale_lr.base_batch_size': 256,
    'train_dataloader.batch_size': 256 // 64,
    'train_dataloader.sampler.type': 'InfiniteSampler',
    'model.backbone.init_cfg': None,
    'model.backbone.frozen_stages': -1,
    'model.backbone.norm_eval': False,
    'model.backbone.norm_cfg.type': 'SyncBN',
    'model.neck.norm_cfg.type': 'SyncBN',
    f'{HEAD}.norm_cfg.type': 'SyncBN',
    f'{HEAD}.fc_norm_cfg.type': 'SyncBN',
    'model.rpn_head.num_convs': 2,
    'model.rpn_head.loss_bbox.type': 'SmoothL1Loss',
    'model.rpn_head.loss_bbox.beta': 1 / 9,
    f'{HEAD}.loss_bbox.type': 'SmoothL1Loss',
    f'{HEAD}.loss_bbox.beta': 1.0,
    f'{HEAD}.num_shared_convs': 4,
    f'{HEAD}.num_shared_fcs': 2,
    f'{HEAD}.classifier.temperature': 0.01,
    'model.train_cfg.rpn_proposal.nms_pre': 2000,
    'model.train_cfg.rpn_proposal.max_per_img': 1000,
    'model.train_cfg.rcnn.sampler.num': 512,
    'model.train_cfg.rcnn.sampler.pos_fraction': 0.25,
    'model.train_cfg.rcnn.assigner.match_low_quality': False,
    'model.test_cfg.rpn.nms_pre': 1000,
    'model.test_cfg.rpn.max_per_img': 1000,
    'model.test_cfg.rcnn.score_thr': 0.0,
    'model.test_cfg.rcnn.nms.iou_threshold': 0.5,
    'model.test_cfg.rcnn.max_per_img': 300,
}
GOOGLE_LVIS = {
    'train_cfg.max_iters': 180000,
    'param_scheduler.1.milestones': [162000, 171000, 175500],
    f'{HEAD}.num_classes': 1203,
    'model.roi_head.mask_head.norm_cfg.type': 'SyncBN',
    f'{DATA}.type': 'GZSLLVISV1Dataset',  # no ClassBalancedDataset
}
GOOGLE_COCO = {
    'train_cfg.max_iters': 90000,
    'param_scheduler.1.milestones': [81000, 85500, 87750],
    f'{HEAD}.num_classes': 65,
    'model.roi_head.mask_head': None,
}
STAR_SCHEDULE = {  # dyabel/detpro
    'train_cfg.max_epochs': 20,
    'train_dataloader.batch_size': 2,
    'auto_scale_lr.base_batch_size': 16,
    'optim_wrapper.optimizer.type': 'SGD',
    'optim_wrapper.optimizer.lr': 0.02,
    'optim_wrapper.optimizer.momentum': 0.9,
    'optim_wrapper.optimizer.weight_decay': 2.5e-5,
    'param_scheduler.0.start_factor': 1e-3,
    'param_scheduler.0.end': 500,
    'param_scheduler.1.milestones': [16],
    'load_from': 'pretrained/soco/soco_star_mask_rcnn_r50_fpn_400e.pth',
    'model.backbone.init_cfg': None,
    'model.backbone.style': 'caffe',
    'model.backbone.frozen_stages': -1,
    'model.backbone.norm_cfg.type': 'SyncBN',
    'model.backbone.norm_eval': True,
}
STAR_MODEL = {
    'model.neck.norm_cfg.type': 'SyncBN',
    'model.roi_head.loss_distill.loss_weight': 256 / 512,
    'model.test_cfg.rpn.max_per_img': 1000,
    'model.test_cfg.rcnn.nms.iou_threshold': 0.5,
    'model.test_cfg.rcnn.max_per_img': 300,
}
STAR_HEAD = {
    'norm_cfg.type': 'SyncBN',
    'num_shared_convs': 4,
    'num_shared_fcs': 1,
    'image_branch.norm_cfg.type': 'SyncBN',
    'image_branch.num_shared_convs': 4,
    'image_branch.num_shared_fcs': 1,
    'classifier.temperature': 0.01,
    'classifier.test_temperature': 0.007,
    'loss_cls.loss_weight': 1.0,
    'loss_bbox.loss_weight': 1.0,
}
STAR_LVIS = {
    f'{DATA}.type': 'ClassBalancedDataset',
    f'{DATA}.oversample_thr': 1e-3,
}
ONE_STAGE = {
    f'{HEAD}.loss_bbox.type': 'L1Loss',
    'model.train_cfg.rpn_proposal.max_per_img': 1000,
    'model.train_cfg.rcnn.assigner.pos_iou_thr': 0.5,
    'model.train_cfg.rcnn.assigner.match_low_quality': True,
    'model.train_cfg.rcnn.sampler.num': 512,
    'model.test_cfg.rcnn.score_thr': 1e-4,
}
CASCADE = {
    'model.roi_head.stage_loss_weights': [1, 0.5, 0.25],
    'model.train_cfg.rpn_proposal.max_per_img': 2000,
    'model.test_cfg.rcnn.score_thr': 1e-3,
    **{f'{HEAD}.{i}.loss_bbox.type': 'SmoothL1Loss' for i in range(3)},
    **{f'{HEAD}.{i}.loss_bbox.beta': 1.0 for i in range(3)},
    **{
        f'{HEAD}.{i}.bbox_coder.target_stds.0': std
        for i, std in enumerate((0.1, 0.05, 0.033))
    },
    **{
        f'model.train_cfg.rcnn.{i}.assigner.{key}': value
        for i, iou in enumerate((0.5, 0.6, 0.7))
        for key, value in dict(
            pos_iou_thr=iou,
            neg_iou_thr=iou,
            min_pos_iou=iou,
            match_low_quality=False,
        ).items()
    },
}
IMAGENET = {
    'train_cfg.max_epochs': 12,
    'optim_wrapper.optimizer.lr': 0.02,
    'optim_wrapper.optimizer.weight_decay': 1e-4,
    'param_scheduler.1.milestones': [8, 11],
    'load_from': None,
    'model.backbone.init_cfg': dict(
        type='Pretrained', checkpoint='torchvision://resnet50'
    ),
    'model.backbone.style': 'pytorch',
}
OADP = {  # LutingWang/OADP, ViLD
    'train_cfg.max_iters': 40000,
    'train_dataloader.sampler.type': 'InfiniteSampler',
    'optim_wrapper.paramwise_cfg.custom_keys': {
        'roi_head.bbox_head': dict(lr_mult=0.5),
        'roi_head.bbox_head.image_branch': dict(lr_mult=1.0),
    },
    'param_scheduler.1.milestones': [30000],
    'param_scheduler.1.by_epoch': False,
    f'{HEAD}.classifier.temperature': 0.007,
    f'{HEAD}.classifier.test_temperature': 0.01,
    'model.train_cfg.rcnn.assigner.match_low_quality': False,
    'model.test_cfg.rcnn.score_thr': 0.0,
}
TRANSFER = {  # set: score_thr, max_per_img, scale of DetPro's tests
    'voc07': (0.05, 100, (1000, 600)),
    'coco': (0.01, 100, (1333, 800)),
    'objects365v2': (0.003, 300, (1333, 800)),
}


def settings(name: str) -> Dict[str, Any]:
    """Return what a config is to say, by its name."""
    folder, stem = name.split('/')
    if folder == 'vild':
        own = GOOGLE_LVIS if 'lvis' in stem else GOOGLE_COCO
        branch = (
            {
                f'{HEAD}.image_branch.{key}': GOOGLE[f'{HEAD}.{key}']
                for key in (
                    'num_shared_convs',
                    'num_shared_fcs',
                    'norm_cfg.type',
                    'fc_norm_cfg.type',
                )
            }
            if 'ensemble' in stem
            else {}
        )
        scoring = {f'{HEAD}.scoring': 'image'} if 'image' in stem else {}
        weight = {f'{HEAD}.loss_cls.loss_weight': float('image' not in stem)}
        distil = (
            {}
            if 'text' in stem
            else {'model.roi_head.loss_distill.loss_weight': 0.5}
        )
        return {**GOOGLE, **own, **branch, **scoring, **weight, **distil}
    if folder == 'transfer':
        score_thr, max_per_img, scale = TRANSFER[stem.split('-to-')[1]]
        method = stem.split('_')[0]
        if method in ('vild', 'vild-text', 'vild-ensemble'):  # Google's
            score_thr, max_per_img, scale = 0.0, 300, (1024, 1024)
        weight = {'vild-ensemble': 2 / 3, 'vild-star': 0.6, 'detpro': 0.6}
        return {
            'model.test_cfg.rcnn.score_thr': score_thr,
            'model.test_cfg.rcnn.max_per_img': max_per_img,
            **{
                f'{HEAD}.{key}_weight': weight[method]
                for key in ('base', 'novel')
                if method in weight
            },
            f'{HEAD}.classifier.temperature': 0.01,
            'test_dataloader.dataset.pipeline.1.scale': scale,
        }
    own = CASCADE if 'cascade' in stem else ONE_STAGE
    schedule = IMAGENET if 'imagenet' in stem else STAR_SCHEDULE
    if 'soco-40k' in stem:
        schedule = {
            key: value
            for key, value in schedule.items()
            if key != 'train_cfg.max_epochs'
        }
        own = {**own, **OADP}
    heads = [f'{HEAD}.{i}' for i in range(3)] if 'cascade' in stem else [HEAD]
    return {
        **schedule,
        **STAR_MODEL,
        **{
            f'{head}.{key}': value
            for head in heads
            for key, value in STAR_HEAD.items()
        },
        **{
            f'{head}.num_classes': 1203 if 'lvis' in stem else 65
            for head in heads
        },
        **(STAR_LVIS if 'lvis' in stem else {}),
        **own,
    }


@pytest.mark.parametrize('name', PUBLISHED)
def test_settings_are_the_published_ones(name: str) -> None:
    cfg = read(name)
    for path, value in settings(name).items():
        assert entry(cfg, path) == value, path
    assert (
        cfg.optim_wrapper.get('clip_grad') is None
        if 'optim_wrapper' in cfg
        else name.startswith('transfer/')
    )
    for head in as_list(cfg.model.roi_head.bbox_head):
        assert head.reg_class_agnostic
        if not name.startswith('transfer/'):  # 2/3 and 1/3, the defaults
            assert not {'base_weight', 'novel_weight'} & set(head)
    mask_head = cfg.model.roi_head.mask_head
    assert mask_head is None or mask_head.class_agnostic


@pytest.mark.parametrize(
    'name', [name for name in DETECTORS if '/rpn_' not in name]
)
def test_class_embeddings_are_those_of_the_hook(name: str) -> None:
    """What a config names is what its hook makes, or no hook's at all."""
    cfg = read(name)
    files = {
        head.classifier.class_embeddings
        for head in as_list(cfg.model.roi_head.bbox_head)
    }
    (file,) = files
    stem, method = Path(file).stem, Path(name).stem.split('_')[0]
    assert stem == {'vild-star': 'detpro', 'detpro': 'learned'}.get(
        method, 'vild'
    )
    assert stem in ('vild', 'detpro', 'learned')
    if stem == 'learned':
        assert 'class_embeddings' not in cfg.default_hooks
    else:
        hook = HOOKS.build(cfg.default_hooks.class_embeddings)
        assert hook.recipe.templates == stem
    for head in as_list(cfg.model.roi_head.bbox_head):
        assert head.classifier.embed_dims == (
            64 if name.startswith('miniature/') else 512
        )


def bounds(module: nn.Linear) -> Dict[str, float]:
    """Return the largest weight that two initialisations can give."""
    outputs, inputs = module.weight.shape
    return dict(xavier=(6 / (inputs + outputs)) ** 0.5, default=inputs**-0.5)


@pytest.mark.parametrize(
    'detector, text, image',
    [
        ('mask', ('xavier', 'xavier'), ('default', 'xavier')),
        ('cascade-mask', ('xavier', 'default'), ('default', 'default')),
    ],
)
def test_initial_weights_of_detpro(
    detector: str,
    text: tuple,
    image: tuple,
    class_embeddings: Path,
    tiny_clip_path: str,
) -> None:
    """Those of (fully connected layer, projection) in both branches."""
    cfg = load_config(
        f'detpro/detpro_{detector}-rcnn_r50_fpn_soco-20e_lvis_v1_866_337'
    )
    shrink(cfg.model, class_embeddings, tiny_clip_path)
    model = build(cfg.model)
    model.init_weights()
    head = model.roi_head.bbox_head
    head = head[0] if detector.startswith('cascade') else head
    for branch, kinds in ((head, text), (head.image_branch, image)):
        for layer, kind in zip((branch.shared_fcs[0], branch.fc_cls), kinds):
            bound = bounds(layer)[kind]
            assert 0.97 * bound < layer.weight.abs().max() <= 1.0001 * bound
            assert (layer.bias == 0).all() == (kind == 'xavier')
    assert head.fc_reg.weight.std() < 0.0015


@pytest.mark.parametrize('stem', ['vild', 'vild-ensemble', 'vild-image'])
def test_initial_weights_of_vild(
    stem: str, class_embeddings: Path, tiny_clip_path: str
) -> None:
    """Google's: Glorot's for all layers but the one that predicts boxes."""
    cfg = load_config(
        f'vild/{stem}_mask-rcnn_r50_fpn_lsj-180k_lvis_v1_866_337'
    )
    shrink(cfg.model, class_embeddings, tiny_clip_path)
    model = build(cfg.model)
    model.init_weights()
    head = model.roi_head.bbox_head
    layer = head.shared_fcs[0][0]
    bound = bounds(layer)['xavier']
    assert 0.97 * bound < layer.weight.abs().max() <= 1.0001 * bound
    assert 0.0005 < head.fc_reg.weight.std() < 0.0015


def test_other_names_of_a_config() -> None:
    """One config under the name that it has elsewhere."""
    other = read('mask_rcnn/detpro_lvis_mask_rcnn_r50_fpn_20e_lvis_v1')
    own = read('detpro/detpro_mask-rcnn_r50_fpn_soco-20e_lvis_v1_866_337')
    assert other.to_dict() == own.to_dict()
