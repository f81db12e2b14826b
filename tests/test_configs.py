"""Every config loads, has types that take it, and its data can be read.

That each builds, learns and predicts is tested in test_detector_configs.py.
"""

import json
import re
from pathlib import Path
from typing import Iterator, Sequence

import numpy as np
import pytest
from mmcv import imwrite
from mmdet import datasets
from mmdet.registry import DATASETS, METRICS, MODELS
from mmengine.config import Config, ConfigDict
from mmengine.dataset import BaseDataset
from mmengine.registry import DefaultScope

import ovd.models  # noqa: F401  (registers)
from ovd.datasets.gzsl_split import split_file
from ovd.engine.config_check import check_types
from ovd.engine.config_names import check_names

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / 'configs').rglob('*.py'))
DATASET_CONFIGS = ROOT / 'configs' / '_base_' / 'datasets'
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
VOC_XML = """<annotation><size><width>64</width><height>48</height></size>
<object><name>cat</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>42</xmax>
<ymax>42</ymax></bndbox></object></annotation>"""
# Dataset config -> (classes, novel ones, split of the files)
SETTINGS = {
    'coco_48_17_detection': (65, 17, '48_17'),
    'coco_48_17_lsj': (65, 17, '48_17'),
    'coco_48_17_proposals': (65, 17, '48_17'),
    'coco_65_15_detection': (80, 15, '65_15'),
    'coco_transfer_detection': (80, 80, None),
    'custom_split_detection': (3, 1, 'data/custom/annotations/split.json'),
    'lvis_v0.5_776_454_instance': (1230, 454, '776_454'),
    'lvis_v1_866_337_detection': (1203, 337, '866_337'),
    'lvis_v1_866_337_instance': (1203, 337, '866_337'),
    'lvis_v1_866_337_lsj': (1203, 337, '866_337'),
    'lvis_v1_866_337_proposals': (1203, 337, '866_337'),
    'objects365v1_detection': (365, 365, None),
    'objects365v2_detection': (365, 365, None),
    'voc07': (20, None, None),
}
# Config whose files are to be split -> its classes
WHOLE = {
    'coco_detection': 80,
    'custom_detection': 3,
    'lvis_v0.5_instance': 1230,
    'lvis_v1_detection': 1203,
    'lvis_v1_instance': 1203,
    'miniature_instance': 3,
}


def innermost(dataset: ConfigDict) -> ConfigDict:
    while 'dataset' in dataset:
        dataset = dataset.dataset
    return dataset


def dataset_settings(cfg: Config) -> Iterator[ConfigDict]:
    """Yield the datasets that a config names."""
    for loader in LOADERS:
        if cfg.get(loader):
            yield innermost(cfg[loader].dataset)


@pytest.mark.parametrize(
    'path', CONFIGS, ids=lambda path: str(path.relative_to(ROOT))
)
def test_config_loads(path: Path, capsys: pytest.CaptureFixture) -> None:
    cfg = Config.fromfile(path)
    check_types(cfg)
    check_names(cfg)
    assert 'warning' not in capsys.readouterr().err
    if 'miniature' in path.parts[-2]:
        assert cfg.custom_imports.imports == ['ovd']
        assert Path(cfg.work_dir).parts[:2] == ('work_dirs', 'miniature')
        assert MODELS.get(cfg.model.type)
    for dataset in dataset_settings(cfg):
        # A base may leave it to the configs which dataset it is.
        if 'type' in dataset or '_base_' not in path.parts:
            assert DATASETS.get(dataset.type)
    for evaluator in ('val_evaluator', 'test_evaluator'):
        metrics = cfg.get(evaluator) or []
        for metric in metrics if isinstance(metrics, list) else [metrics]:
            assert METRICS.get(metric.type)


def test_experiments_are_short() -> None:
    # without those that close brackets
    lines = {
        path.name: len(re.findall(r'^.*\w.*$', path.read_text(), re.M))
        for path in CONFIGS
        if '_base_' not in path.parts
        and any(word in path.name for word in ('rpn', 'vild', 'detpro'))
    }
    assert len(lines) >= 50 and max(lines.values()) <= 60
    assert np.mean(list(lines.values())) < 20


def class_names(dataset: ConfigDict) -> Sequence[str]:
    """Return the names that the real annotation file has."""
    for key, host in (
        ('LVISV05', 'LVISV05Dataset'),
        ('LVISV1', 'LVISV1Dataset'),
        ('365V1', 'Objects365V1Dataset'),
        ('365V2', 'Objects365V2Dataset'),
        ('Coco', 'CocoDataset'),
    ):
        if key in dataset.type and not any(
            own in dataset.data_root for own in ('custom', 'miniature')
        ):
            return getattr(datasets, host).METAINFO['classes']
    return ['cat', 'dog', 'red fox']


def write_data(dataset: ConfigDict) -> Path:
    """Write one image and, below the paths of a config, its annotations."""
    root = Path(dataset.data_root)
    path = root / dataset.ann_file
    path.parent.mkdir(parents=True, exist_ok=True)
    if dataset.type == 'VOCDataset':
        path.write_text('000001')
        folder = root / dataset.data_prefix.sub_data_root
        (folder / 'Annotations').mkdir()
        (folder / 'Annotations' / '000001.xml').write_text(VOC_XML)
        image = folder / 'JPEGImages' / '000001.jpg'
    else:
        names = class_names(dataset)
        num_base = {1203: 866, 1230: 776}.get(len(names), 0)
        name = 'patch1/000001.jpg' if '365' in dataset.type else '000001.jpg'
        folder = dataset.data_prefix.img
        image = root / folder / name
        if not folder:  # LVIS v1
            image = root / 'val2017' / name
        path.write_text(
            json.dumps(
                dict(
                    images=[
                        dict(
                            id=1,
                            file_name=name,
                            coco_url='http://images.cocodataset.org/val2017/'
                            + name,
                            height=48,
                            width=64,
                            neg_category_ids=[],
                            not_exhaustive_category_ids=[],
                        )
                    ],
                    annotations=[
                        dict(
                            id=1,
                            image_id=1,
                            category_id=1,
                            iscrowd=0,
                            area=1600,
                            bbox=[2, 2, 40, 40],
                            segmentation=[[2, 2, 42, 2, 42, 42, 2, 42]],
                        )
                    ],
                    categories=[
                        dict(
                            id=i,
                            name=name,
                            frequency='f' if i <= num_base else 'r',
                        )
                        for i, name in enumerate(names, 1)
                    ],
                )
            )
        )
    imwrite(np.zeros((48, 64, 3), np.uint8), str(image))
    return path


def build(dataset: ConfigDict) -> BaseDataset:
    """Build as the runner does, whose scope default_runtime.py sets."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        return DATASETS.build(dataset)


@pytest.mark.parametrize('name', sorted(SETTINGS))
def test_datasets_yield_samples(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From files as the data tree has them, through the pipelines."""
    monkeypatch.chdir(tmp_path)
    num_classes, num_novel, split = SETTINGS[name]
    cfg = Config.fromfile(DATASET_CONFIGS / f'{name}.py')
    whole = Config.fromfile(
        DATASET_CONFIGS
        / (
            name.replace(f'_{split}_', '_')
            .replace('_split', '')
            .replace('proposals', 'detection')
            .replace('lsj', 'instance' if 'lvis' in name else 'detection')
            + '.py'
        )
    )
    for loader in LOADERS if split else ('val_dataloader', 'test_dataloader'):
        if whole.get(loader):
            path = write_data(innermost(whole[loader].dataset))
            if split and split.endswith('.json'):
                Path(split).write_text(
                    json.dumps(dict(base=['cat', 'dog'], novel=['red fox']))
                )
            if split and loader != 'test_dataloader':
                split_file(path, split, loader.split('_')[0])
    loaders = [
        key
        for key in LOADERS
        if cfg.get(key) and (split or key != 'train_dataloader')
    ]
    assert 'test_dataloader' in loaders
    for loader in loaders:
        dataset = build(cfg[loader].dataset)
        assert len(dataset) == 1
        assert len(dataset.metainfo['classes']) == num_classes
        assert num_novel in (None, sum(dataset.metainfo.get('novel_mask', ())))
        sample = dataset[0]
        height, width = sample['inputs'].shape[1:]
        if loader == 'test_dataloader':
            assert (height, width) == (
                (600, 800)
                if name == 'voc07'
                else (768, 1024)
                if 'lsj' in name
                else (800, 1067)
            )
        assert len(sample['data_samples'].gt_instances) == 1
        assert ('masks' in sample['data_samples'].gt_instances) == (
            'instance' in name
            or name == 'lvis_v1_866_337_lsj'
            or loader != 'train_dataloader'
            and 'lvis' in name
            and 'detection' in name
        )


@pytest.mark.parametrize('name', sorted(WHOLE))
def test_whole_training_files_are_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The configs that the splitter takes are not for training."""
    monkeypatch.chdir(tmp_path)
    cfg = Config.fromfile(DATASET_CONFIGS / f'{name}.py')
    dataset = innermost(cfg.train_dataloader.dataset)
    assert len(class_names(dataset)) == WHOLE[name]
    write_data(dataset)
    with pytest.raises(ValueError, match='build_zsl_dataset.py .*--split'):
        build(cfg.train_dataloader.dataset)


def test_each_dataset_config_is_tested() -> None:
    assert {*SETTINGS, *WHOLE} == {
        p.stem for p in DATASET_CONFIGS.iterdir() if p.suffix == '.py'
    }


TRAINED_RPNS = [
    f'rpn_r{depth}_fpn_{schedule}_{data}'
    for depth in (50, 101)
    for schedule in ('1x', '20e')
    for data in ('coco_48_17', 'lvis_v1_866_337')
]
DUMPS = {
    f'rpn_r101_fpn_1x_{data}_{subset}': f'rpn_r101_fpn_1x_{data}_{split}'
    for data, split in (('coco', '48_17'), ('lvis_v1', '866_337'))
    for subset in ('train', 'val')
}


def load_rpn(name: str) -> Config:
    return Config.fromfile(ROOT / 'configs' / 'rpn' / f'{name}.py')


@pytest.mark.parametrize('name', TRAINED_RPNS)
def test_settings_of_rpns(name: str) -> None:
    cfg = load_rpn(name)
    assert cfg.train_cfg.max_epochs == (12 if '_1x_' in name else 20)
    assert cfg.model.backbone.depth == (50 if '_r50_' in name else 101)
    assert cfg.model.backbone.init_cfg.checkpoint.endswith(
        f'resnet{cfg.model.backbone.depth}'
    )
    assert cfg.model.test_cfg.rpn.max_per_img == 1000
    assert cfg.val_evaluator.type == 'ProposalRecall'


@pytest.mark.parametrize('name', sorted(DUMPS))
def test_rpns_dump_the_images_of_their_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cfg, trained = load_rpn(name), load_rpn(DUMPS[name])
    assert cfg.model == trained.model
    assert cfg.train_dataloader == trained.train_dataloader
    dataset, evaluator = cfg.test_dataloader.dataset, cfg.test_evaluator
    assert dataset.test_mode
    metric = METRICS.build(evaluator)
    assert type(metric).__name__ == 'ProposalDump'
    assert metric.ann_file == dataset.data_root + dataset.ann_file
    if name.endswith('train'):
        trained_on = innermost(trained.train_dataloader.dataset)
        assert dataset.ann_file == trained_on.ann_file
        assert dataset.data_prefix == trained_on.data_prefix
        assert evaluator.recall_ann_file == re.sub(
            r'_\d+_\d+_1', '', metric.ann_file
        )
    else:
        assert cfg.val_dataloader == cfg.test_dataloader


def test_each_rpn_config_is_tested() -> None:
    assert {*TRAINED_RPNS, *DUMPS} == {
        path.stem for path in (ROOT / 'configs' / 'rpn').glob('*.py')
    }
