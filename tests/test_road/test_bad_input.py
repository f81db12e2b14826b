"""What a user can get wrong has a clear error and leaves no half file."""

import json
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.artifacts.proposals import load_proposals, save_proposals
from ovd.engine.launch import build_runner, load_config

CONFIGS = Path(__file__).parents[2] / 'configs/miniature'
DETECTOR = 'vild-ensemble_mask-rcnn_r18_fpn_miniature.py'
SPLIT = Path('data/miniature/annotations/instances_train_48_17_1.json')
EMBEDDINGS = Path('data/miniature/prompt/vild.pth')
STORE = 'proposal_feature_extractor.py'


@pytest.fixture(autouse=True)
def in_road(road: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(road)


def train(config: str, work_dir: Path, *options: str) -> None:
    args = Namespace(
        config=str(CONFIGS / config),
        cfg_options=options,
        launcher='none',
        seed=0,
        deterministic=False,
        work_dir=str(work_dir),
    )
    build_runner(load_config(args)).train()


def test_missing_annotation_file(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match='annotation file .* does not exist'
    ):
        train(
            DETECTOR,
            tmp_path,
            'train_dataloader.dataset.ann_file=annotations/gone.json',
        )
    assert not list(tmp_path.rglob('*.pth'))


def with_embeddings(tmp_path: Path, **changes: object) -> str:
    """Return the override that names changed class embeddings."""
    old = ClassEmbeddings.load(EMBEDDINGS)
    ClassEmbeddings(**dict(vars(old), **changes)).save(tmp_path / 'new.pth')
    return (
        'model.roi_head.bbox_head.classifier.class_embeddings='
        f'{tmp_path / "new.pth"}'
    )


def test_class_without_embedding(tmp_path: Path) -> None:
    old = ClassEmbeddings.load(EMBEDDINGS)
    option = with_embeddings(
        tmp_path, names=old.names[1:], embeddings=old.embeddings[1:]
    )
    with pytest.raises(ValueError, match=f'1 of 65.*\n *"{old.names[0]}"'):
        train(DETECTOR, tmp_path, option)


def test_class_embeddings_of_another_clip(tmp_path: Path) -> None:
    option = with_embeddings(tmp_path, clip=dict(name='RN50', sha256='1' * 64))
    with pytest.raises(ValueError, match='two CLIPs .*RN50'):
        train(DETECTOR, tmp_path, option)


def test_proposals_of_other_images(tmp_path: Path) -> None:
    proposals = dict(
        load_proposals('data/miniature/proposals/rpn_train_48_17.safetensors')
    )
    lost = next(iter(proposals))
    proposals['train/other.png'] = proposals.pop(lost)
    save_proposals(tmp_path / 'other.safetensors', proposals, {})
    with pytest.raises(ValueError, match=lost):
        train(
            STORE,
            tmp_path,
            f'train_cfg.proposals={tmp_path / "other.safetensors"}',
            f'train_cfg.store={tmp_path / "store"}',
        )
    assert not list((tmp_path / 'store').glob('shard-*'))


def test_unknown_key(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='did you mean "train_cfg.max_iters"'):
        train(DETECTOR, tmp_path, 'train_cfg.max_iter=1')


def test_config_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='config .* does not exist'):
        train('vild.py', tmp_path)


def train_on(annotations: dict, tmp_path: Path) -> None:
    """Train the detector on changed annotations."""
    file = tmp_path / 'changed.json'
    file.write_text(json.dumps(annotations))
    train(DETECTOR, tmp_path, f'train_dataloader.dataset.ann_file={file}')


def test_images_without_embeddings(tmp_path: Path) -> None:
    annotations = json.loads(SPLIT.read_text())
    annotations['images'][5]['file_name'] = 'other.png'
    with pytest.raises(
        ValueError, match=r'lacks 1 of the \d+ images .*train/other.png'
    ):
        train_on(annotations, tmp_path)


def test_embeddings_of_another_world(tmp_path: Path) -> None:
    # Every id and file name is the same, only the pictures are others.
    annotations = json.loads(SPLIT.read_text())
    annotations['gzsl']['source']['sha256'] = '1' * 64
    with pytest.raises(ValueError, match='for other images than the training'):
        train_on(annotations, tmp_path)


def test_training_on_novel_boxes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='which training must not see'):
        train(
            DETECTOR,
            tmp_path,
            'train_dataloader.dataset.ann_file='
            'annotations/instances_val_48_17_1.json',
        )


def test_checkpoint_holds_no_clip_and_no_vocabulary() -> None:
    last = Path('work_dirs/miniature/vild-ensemble/last_checkpoint')
    checkpoint = torch.load(
        last.with_name(Path(last.read_text()).name), weights_only=True
    )
    keys = list(checkpoint['state_dict'])
    assert not [key for key in keys if 'clip' in key or 'class_emb' in key]
    assert 'roi_head.bbox_head.classifier.bg_embedding' in keys
