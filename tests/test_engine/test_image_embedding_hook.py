"""CLIP embeds boxes during training as an extraction does, to the same end."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Iterator, List, Optional

import cv2
import mmdet.registry
import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.logging import MessageHub
from mmengine.registry import HOOKS, DefaultScope
from PIL import Image
from torch import nn

from ovd.artifacts.embedding_store import EmbeddingStore
from ovd.artifacts.proposals import save_proposals
from ovd.datasets.gzsl_split import describe_annotations, split_file
from ovd.datasets.miniature import write_world
from ovd.engine.hooks import ImageEmbeddingHook, OpenVocabularyHook
from ovd.engine.launch import build_runner

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / 'configs/miniature'
VILD = 'vild-ensemble_mask-rcnn_r18_fpn_miniature'
CLIP = 'pretrained/clip/miniature.pt'
ANNOTATIONS = 'data/miniature/annotations/instances_train_48_17_1.json'
PROPOSALS = 'data/miniature/proposals/rpn_train_48_17.safetensors'
STORE = 'data/miniature/proposal_embeddings/miniature'


@pytest.fixture(scope='module')
def world(
    tmp_path_factory: pytest.TempPathFactory, tiny_clip_path: str
) -> Path:
    """The data tree of the miniature configs, of six images."""
    folder = tmp_path_factory.mktemp('world')
    root = folder / 'data/miniature'
    write_world(root, num_train=6, num_val=1, num_crops=1, num_heldout_crops=1)
    source = root / 'annotations/instances_train.json'
    content = json.loads(source.read_text())
    for image in content['images'][:5]:
        path = root / 'train' / image['file_name']
        image['file_name'] = f'{path.stem}.jpg'
        cv2.imwrite(str(path.with_suffix('.jpg')), cv2.imread(str(path)))
    # mmcv's ways to decode differ in what lies behind a transparent image.
    path = root / 'train' / content['images'][5]['file_name']
    picture = Image.open(path).convert('L')
    picture.putalpha(100)
    picture.save(path)
    source.write_text(json.dumps(content))
    split_file(source, str(root / 'annotations/48_17.json'), 'train')
    (folder / CLIP).parent.mkdir(parents=True)
    shutil.copy(tiny_clip_path, folder / CLIP)
    write_proposals(folder)
    return folder


def write_proposals(folder: Path) -> None:
    """Image i has 3 i proposals, so that the first has none."""
    content = json.loads((folder / ANNOTATIONS).read_text())
    rng = np.random.default_rng(0)
    proposals = {}
    for i, image in enumerate(content['images']):
        corners = rng.uniform(0, image['width'], (3 * i, 2, 2))
        corners.sort(axis=1)
        proposals[f'train/{image["file_name"]}'] = dict(
            bboxes=corners.reshape(-1, 4).astype(np.float32),
            scores=rng.uniform(0, 1, 3 * i).astype(np.float32),
        )
    save_proposals(
        folder / PROPOSALS,
        proposals,
        dict(annotations=describe_annotations(folder / ANNOTATIONS)),
    )


@pytest.fixture(autouse=True)
def inside(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world)


def load_config(name: str, folder: Path) -> Config:
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    cfg.work_dir = str(folder / 'work')
    cfg.log_level = 'ERROR'
    cfg.launcher = 'none'
    # The host keeps visualizers and loggers by their names.
    cfg.experiment_name = cfg.visualizer.name = folder.name
    return cfg


def make_store(folder: Path, store: str = STORE, **settings) -> EmbeddingStore:
    """Run the extraction's own config."""
    cfg = load_config('proposal_feature_extractor', folder)
    boxes = settings.pop('boxes', None)
    cfg.model.update(settings)
    cfg.train_dataloader.num_workers = 0
    cfg.train_cfg.update(store=store, images_per_shard=4)
    if boxes is not None:
        cfg.train_cfg.boxes = boxes
    build_runner(cfg).train()
    return EmbeddingStore(store)


def build(pipeline: List[dict]) -> BaseDataset:
    cfg = Config.fromfile(CONFIGS / f'{VILD}.py').train_dataloader.dataset
    cfg.pipeline = pipeline
    with DefaultScope.overwrite_default_scope('mmdet'):
        return DATASETS.build(cfg)


def pipeline_of(name: str, boxes: Optional[dict] = None) -> List[dict]:
    pipeline = Config.fromfile(CONFIGS / f'{name}.py').train_pipeline
    if boxes is not None:
        pipeline[2].boxes = boxes
    return pipeline


def make_runner(dataset: BaseDataset, *hooks: object) -> SimpleNamespace:
    return SimpleNamespace(
        train_dataloader=SimpleNamespace(dataset=dataset),
        model=nn.Linear(1, 1),
        message_hub=MessageHub.get_instance('image_embedding_hook'),
        hooks=[*hooks],
    )


def embed(dataset: BaseDataset, **settings) -> Iterator[DetDataSample]:
    """Yield what the hook makes of each image, in batches of two."""
    hook = ImageEmbeddingHook(CLIP, **settings)
    runner = make_runner(dataset)
    state = torch.get_rng_state()
    hook.before_train(runner)
    assert torch.equal(torch.get_rng_state(), state)  # weights of the run
    assert hook.extractor.settings == {
        **dict(
            crop_scales=(1.0, 1.5),
            crop_mode='fast',
            batch_size=256,
            precision='fp32',
        ),
        **settings,
    }
    for start in range(0, len(dataset), 2):
        np.random.seed(start)
        batch = dict(
            data_samples=[
                dataset[i]['data_samples']
                for i in range(start, min(start + 2, len(dataset)))
            ]
        )
        hook.before_train_iter(runner, start, batch)
        yield from batch['data_samples']
    assert runner.message_hub.get_scalar('train/embed_time').current() > 0


def assert_within_a_step(actual: torch.Tensor, expected: np.ndarray) -> None:
    """Float16 numbers may be neighbours: batches are composed otherwise."""
    actual = actual.numpy().astype(np.float16)
    expected = np.asarray(expected, np.float16)
    assert actual.shape == expected.shape
    step = np.spacing(np.maximum(np.abs(actual), np.abs(expected)))
    assert (np.abs(actual - expected) <= step).all()


@pytest.mark.parametrize(
    'settings, boxes',
    [
        (dict(), dict(num_max=20)),
        (
            dict(crop_mode='clip', crop_scales=(1.2,), batch_size=3),
            dict(num_max=4, min_size=6, nms_iou=0.6),
        ),
        (dict(batch_size=7), dict(ground_truth=True, jitter=2, seed=5)),
    ],
)
def test_values_are_those_of_a_store(
    tmp_path: Path, settings: dict, boxes: dict
) -> None:
    store = make_store(
        tmp_path, str(tmp_path / 'store'), boxes=boxes, **settings
    )
    dataset = build(pipeline_of(f'{VILD}_online', boxes))
    samples = [*embed(dataset, **settings)]
    assert len(samples) == len(store) == 6
    for sample in samples:
        made, stored = sample.distill_instances, store.get(sample.img_id)
        assert {*made.keys()} == {'bboxes', 'embeddings'}
        assert_within_a_step(made.embeddings, stored['embeddings'])
        assert made.embeddings.dtype == torch.float32
        assert torch.equal(made.embeddings, made.embeddings.half().float())
        moved = stored['bboxes'] * np.tile(sample.scale_factor, 2)
        if sample.flip:
            moved[:, 0::2] = sample.img_shape[1] - moved[:, 2::-2]
        np.testing.assert_allclose(made.bboxes, moved, atol=1e-4)
    assert {sample.flip for sample in samples} == {True, False}
    # One image has no proposals.
    assert 'ground_truth' in boxes or any(
        not len(sample.distill_instances) for sample in samples
    )


def train(cfg: Config) -> List[dict]:
    """Train and return what is logged of each iteration."""
    cfg.load_from = None
    cfg.train_cfg.max_iters = 3
    cfg.train_dataloader.batch_size = 2
    cfg.default_hooks.logger.interval = 1
    runner = build_runner(cfg)
    runner.train()
    (path,) = Path(cfg.work_dir).rglob('scalars.json')
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_training_goes_as_with_a_store(tmp_path: Path) -> None:
    """And logs the time; CLIP ends up in no checkpoint."""
    make_store(tmp_path)
    logs = []
    for name in (VILD, f'{VILD}_online'):
        (tmp_path / name).mkdir()
        logs.append(train(load_config(name, tmp_path / name)))
    stored, online = logs
    assert len(online) == 3
    for a, b in zip(stored, online):
        assert b['embed_time'] > 0 and 'embed_time' not in a
        assert b['time'] > b['embed_time']
        for key in a:
            if 'loss' in key:
                assert a[key] == pytest.approx(b[key], rel=1e-2), key
    states = [
        torch.load(
            next((tmp_path / name).rglob('iter_3.pth')), weights_only=True
        )
        for name in (VILD, f'{VILD}_online')
    ]
    for part in ('state_dict', 'optimizer'):
        sizes = [
            len(state[part]['state'] if part == 'optimizer' else state[part])
            for state in states
        ]
        assert sizes[0] == sizes[1]


def test_workers_that_stay(tmp_path: Path) -> None:
    cfg = load_config(f'{VILD}_online', tmp_path)
    cfg.train_dataloader.update(num_workers=2, persistent_workers=True)
    logged = train(cfg)
    assert all(np.isfinite(line['loss_distill']) for line in logged)
    assert max(line['loss_distill'] for line in logged) > 0


def test_each_process_has_a_clip(tmp_path: Path) -> None:
    cfg = load_config(f'{VILD}_online', tmp_path)
    cfg.load_from = None
    cfg.log_level = 'INFO'
    cfg.train_cfg.max_iters = 2
    cfg.train_dataloader.batch_size = 2
    cfg.default_hooks.logger.interval = 1
    cfg.dump(tmp_path / 'online.py')
    done = subprocess.run(
        [
            sys.executable,
            '-m',
            'torch.distributed.run',
            '--standalone',
            '--nproc_per_node=2',
            str(ROOT / 'tools/train.py'),
            str(tmp_path / 'online.py'),
            '--launcher',
            'pytorch',
        ],
        env={
            **os.environ,
            'PYTHONPATH': str(ROOT),
            'OMP_NUM_THREADS': '1',
            'CUDA_VISIBLE_DEVICES': '',
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert done.stdout.count('embed_time: ') == 2


def test_it_is_registered_where_every_scope_finds_it() -> None:
    assert HOOKS.module_dict['ImageEmbeddingHook'] is ImageEmbeddingHook
    assert mmdet.registry.HOOKS.get('ImageEmbeddingHook') is ImageEmbeddingHook


@pytest.mark.parametrize(
    'auto', [dict(precision='auto'), dict(batch_size='auto')]
)
def test_nothing_is_measured(auto: dict) -> None:
    with pytest.raises(ValueError, match='give precision and batch_size'):
        ImageEmbeddingHook(CLIP, **auto)


def test_wrong_settings_stop_the_run_before_it_begins() -> None:
    runner = make_runner(build(pipeline_of(f'{VILD}_online')))
    with pytest.raises(ValueError, match='did you mean "fast"'):
        ImageEmbeddingHook(CLIP, crop_mode='fats').before_train(runner)
    hook = ImageEmbeddingHook('none.pt')  # a test run needs no CLIP
    with pytest.raises(FileNotFoundError, match='none.pt'):
        hook.before_train(runner)


def test_a_pipeline_with_a_store_is_refused() -> None:
    runner = make_runner(build(pipeline_of(VILD)))
    with pytest.raises(ValueError, match='takes embeddings from a store'):
        ImageEmbeddingHook(CLIP).before_train(runner)


def test_class_embeddings_of_another_clip_are_refused() -> None:
    runner = make_runner(build(pipeline_of(f'{VILD}_online')))
    runner.model.set_vocabulary = None
    runner.model.clip = dict(name='RN50', sha256='a' * 64)
    with pytest.raises(
        ValueError,
        match='the class embeddings was made by '
        'CLIP RN50 .*, the image embeddings of ImageEmb',
    ):
        ImageEmbeddingHook(CLIP).before_train(runner)


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    hook = ImageEmbeddingHook('unused')
    path = tmp_path / '7.jpg'
    Image.new('RGB', (64, 48), (9, 99, 199)).save(path)
    assert hook._read(str(path)).shape == (48, 64, 3)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(
        ValueError, match="7.jpg can't be embedded: OSError: .*runcated"
    ):
        hook._read(str(path))


def test_a_hook_that_is_missing_is_named() -> None:
    runner = make_runner(build(pipeline_of(f'{VILD}_online')))
    runner.val_loop = runner.logger = None
    with pytest.raises(
        ValueError,
        match='no hook of this run makes them: '
        r"add to the config .*type='ImageEmbeddingHook'",
    ):
        OpenVocabularyHook().before_train(runner)
    runner.hooks.append(ImageEmbeddingHook(CLIP))
    OpenVocabularyHook().before_train(runner)


def test_the_config_takes_the_store_s_place() -> None:
    """Its CLIP and boxes are those of the extraction's config."""
    online, stored = (
        Config.fromfile(CONFIGS / f'{name}.py')
        for name in (f'{VILD}_online', 'proposal_feature_extractor')
    )
    transform = online.train_dataloader.dataset.pipeline[2]
    assert transform.proposals == stored.train_cfg.proposals == PROPOSALS
    hook = dict(online.default_hooks.image_embeddings)
    assert hook.pop('type') == 'ImageEmbeddingHook'
    made = ImageEmbeddingHook(**hook).settings
    for key in ('clip', 'crop_mode', 'batch_size', 'precision'):
        assert made[key] == stored.model[key]
    assert list(made['crop_scales']) == list(stored.model.crop_scales)
