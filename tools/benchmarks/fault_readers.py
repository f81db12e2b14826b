"""What loads files, for the benchmark of faults: one function each.

Each takes the file, and the folder of all others that it may need.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from fault_images import extraction_config
from resumable_job import make_config

from ovd.apis.class_embeddings import make_class_embeddings
from ovd.apis.convert_checkpoint import convert_checkpoint
from ovd.apis.convert_class_embeddings import convert_class_embeddings
from ovd.apis.convert_proposals import convert_proposals
from ovd.apis.export_weights import export_weights
from ovd.apis.inspect_artifact import inspect_artifacts
from ovd.apis.inspect_data import DAMAGED, inspect_entry
from ovd.apis.open_vocabulary_detector import OpenVocabularyDetector
from ovd.apis.run_embedding_store import run_embedding_store
from ovd.apis.tree_entry import Entry
from ovd.artifacts.embedding_store import EmbeddingStore
from ovd.datasets.captioned_crops import CaptionedCrops
from ovd.datasets.transforms import LoadProposalsToEmbed
from ovd.engine.backbone_weights import load_from_torchvision
from ovd.engine.launch import build_runner
from ovd.engine.resuming import prepare_training
from ovd.engine.testing import check_weights


def train(path: Path, files: Path, resume: Any = None, **options: Any) -> None:
    cfg = make_config(str(path.parent))
    cfg.merge_from_dict(options)
    prepare_training(cfg, resume)
    build_runner(cfg).train()


def resume_last(path: Path, files: Path) -> None:
    (path.parent / 'last_checkpoint').write_text(str(path))
    train(path, files, 'auto')


def load_from(path: Path, files: Path) -> None:
    train(path, files, load_from=str(path))


def init_backbone(path: Path, files: Path) -> None:
    init_cfg = dict(type='Pretrained', checkpoint=str(path))
    train(path, files, model=_with_backbone(init_cfg=init_cfg))


def _with_backbone(**options: Any) -> dict:
    return dict(
        type='_ImageModel', backbone=dict(type='ResNet', depth=18, **options)
    )


def test(path: Path, files: Path) -> None:
    cfg = make_config(str(path.parent))
    loader = dict(
        batch_size=1,
        num_workers=0,
        dataset=dict(type='_NoisyPoints'),
        sampler=dict(type='DefaultSampler', shuffle=False),
    )
    cfg.merge_from_dict(
        dict(
            load_from=str(path),
            test_dataloader=loader,
            test_cfg=dict(type='TestLoop'),
            test_evaluator=dict(type='DumpResults', out_file_path='r.pkl'),
        )
    )
    build_runner(cfg).test()


def check_weights_of(path: Path, files: Path) -> None:
    cfg = make_config(str(path.parent))
    cfg.load_from = str(path)
    cfg.test_evaluator = dict(provenance={})
    check_weights(cfg, None)


def detect(path: Path, files: Path) -> None:
    config = path.parent / 'toy.py'
    cfg = make_config(str(path.parent))
    cfg.model = _with_backbone()
    cfg.dump(config)
    OpenVocabularyDetector(config, path, 'cpu')


def take_torchvision(path: Path, files: Path) -> None:
    load_from_torchvision('torchvision://resnet50')


def convert_weights(path: Path, files: Path) -> None:
    convert_checkpoint(path, 'out.pth')


def export(path: Path, files: Path) -> None:
    export_weights(path, 'out.safetensors')


def convert_classes(path: Path, files: Path) -> None:
    convert_class_embeddings(
        path, classes='cat, dog', pretrained='ViT-B/32', out='out.pth'
    )


def reuse_classes(path: Path, files: Path) -> None:
    make_class_embeddings(
        classes='cat, dog', pretrained=str(files / 'clip.pt'), out=path
    )


def convert_boxes(path: Path, files: Path) -> None:
    convert_proposals(path, 'out.pkl', files / 'embed.json', folder='images')


def load_to_embed(path: Path, files: Path) -> None:
    _ = LoadProposalsToEmbed(str(path)).proposals


def extract(path: Path, files: Path) -> None:
    cfg = extraction_config(files, path.parent / 'store', path.parent)
    cfg.train_cfg.proposals = str(path)
    prepare_training(cfg)
    build_runner(cfg).train()


def read_crops(path: Path, files: Path) -> None:
    Path('names.json').write_text('["a"]')
    for name in ('crops.npy', 'crops_labels.npy'):
        if name != path.name:
            np.save(name, np.zeros(1, np.uint8))
    CaptionedCrops(
        'names.json', 'crops.npy', data_root=str(path.parent), pipeline=[]
    )


def open_store(path: Path, files: Path) -> None:
    """Of a whole store, whose file is replaced by the one to try."""
    shutil.copytree(files / 'store', 'whole')
    shutil.copy(path, f'whole/{path.name}')
    if not run_embedding_store('verify', 'whole'):
        raise SystemExit(2)
    EmbeddingStore('whole').check_covers({})


def inspect(path: Path, files: Path) -> None:
    """Refusing is a fault in the report, and exit code 1."""
    if not inspect_artifacts([path]):
        raise SystemExit(2)


def check_data(kind: str, path: Path, files: Path) -> None:
    found = inspect_entry(path.parent, '', Entry(path.name, kind, ''))
    if found.state == DAMAGED:
        print(found.text)
        raise SystemExit(2)
