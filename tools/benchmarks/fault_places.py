"""Every place of the project that loads a file, to put a bad one into."""
import shutil
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Sequence, Tuple

import numpy as np
from fault_images import extraction_config
from resumable_job import make_config

from ovd.apis.class_embeddings import make_class_embeddings
from ovd.apis.convert_checkpoint import convert_checkpoint
from ovd.apis.convert_class_embeddings import convert_class_embeddings
from ovd.apis.convert_proposals import convert_proposals
from ovd.apis.inspect_artifact import inspect_artifacts
from ovd.apis.inspect_data import DAMAGED, inspect_entry
from ovd.apis.open_vocabulary_detector import OpenVocabularyDetector
from ovd.apis.run_embedding_store import run_embedding_store
from ovd.apis.tree_entry import Entry
from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.artifacts.embedding_store import EmbeddingStore
from ovd.artifacts.prompt_context import load_prompt_contexts
from ovd.artifacts.proposals import count_proposals, load_proposals
from ovd.artifacts.seen_classes import read_clip, read_seen_classes
from ovd.clip.loading import load_clip
from ovd.clip.weights import identify_clip
from ovd.datasets.captioned_crops import CaptionedCrops
from ovd.datasets.detpro_regions import DetProRegions
from ovd.datasets.gzsl_header import describe_annotations
from ovd.datasets.transforms import LoadProposalsToEmbed
from ovd.engine.backbone_weights import load_from_torchvision
from ovd.engine.launch import build_runner
from ovd.engine.resuming import prepare_training
from ovd.engine.testing import check_weights
from ovd.evaluation.predictions import load_predictions

Reader = Callable[[Path, Path], Any]  # of the file, in the folder of others


def _train(path: Path, files: Path, resume: Any = None,
           **options: Any) -> None:
    cfg = make_config(str(path.parent))
    cfg.merge_from_dict(options)
    prepare_training(cfg, resume)
    build_runner(cfg).train()


def _resume_last(path: Path, files: Path) -> None:
    (path.parent / 'last_checkpoint').write_text(str(path))
    _train(path, files, 'auto')


def _load_from(path: Path, files: Path) -> None:
    _train(path, files, load_from=str(path))


def _init_backbone(path: Path, files: Path) -> None:
    init_cfg = dict(type='Pretrained', checkpoint=str(path))
    _train(path, files, model=_with_backbone(init_cfg=init_cfg))


def _with_backbone(**options: Any) -> dict:
    return dict(type='_ImageModel',
                backbone=dict(type='ResNet', depth=18, **options))


def _test(path: Path, files: Path) -> None:
    cfg = make_config(str(path.parent))
    loader = dict(batch_size=1, num_workers=0,
                  dataset=dict(type='_NoisyPoints'),
                  sampler=dict(type='DefaultSampler', shuffle=False))
    cfg.merge_from_dict(dict(
        load_from=str(path), test_dataloader=loader,
        test_cfg=dict(type='TestLoop'),
        test_evaluator=dict(type='DumpResults', out_file_path='r.pkl')))
    build_runner(cfg).test()


def _check_weights(path: Path, files: Path) -> None:
    cfg = make_config(str(path.parent))
    cfg.load_from = str(path)
    cfg.test_evaluator = dict(provenance={})
    check_weights(cfg, None)


def _detect(path: Path, files: Path) -> None:
    config = path.parent / 'toy.py'
    cfg = make_config(str(path.parent))
    cfg.model = _with_backbone()
    cfg.dump(config)
    OpenVocabularyDetector(config, path, 'cpu')


def _take_torchvision(path: Path, files: Path) -> None:
    load_from_torchvision('torchvision://resnet50')


def _convert_checkpoint(path: Path, files: Path) -> None:
    convert_checkpoint(path, 'out.pth')


def _convert_classes(path: Path, files: Path) -> None:
    convert_class_embeddings(path, classes='cat, dog', pretrained='ViT-B/32',
                             out='out.pth')


def _reuse_classes(path: Path, files: Path) -> None:
    make_class_embeddings(
        classes='cat, dog', pretrained=str(files / 'clip.pt'), out=path)


def _convert_proposals(path: Path, files: Path) -> None:
    convert_proposals(path, 'out.pkl', files / 'embed.json', folder='images')


def _load_to_embed(path: Path, files: Path) -> None:
    _ = LoadProposalsToEmbed(str(path)).proposals


def _extract(path: Path, files: Path) -> None:
    cfg = extraction_config(files, path.parent / 'store', path.parent)
    cfg.train_cfg.proposals = str(path)
    prepare_training(cfg)
    build_runner(cfg).train()


def _read_crops(path: Path, files: Path) -> None:
    Path('names.json').write_text('["a"]')
    for name in ('crops.npy', 'crops_labels.npy'):
        if name != path.name:
            np.save(name, np.zeros(1, np.uint8))
    CaptionedCrops('names.json', 'crops.npy', data_root=str(path.parent),
                   pipeline=[])


def _open_store(path: Path, files: Path) -> None:
    """Of a whole store, whose file is replaced by the one to try."""
    shutil.copytree(files / 'store', 'whole')
    shutil.copy(path, f'whole/{path.name}')
    if not run_embedding_store('verify', 'whole'):
        raise SystemExit(2)
    EmbeddingStore('whole').check_covers({})


def _inspect(path: Path, files: Path) -> None:
    """Refusing is a fault in the report, and exit code 1."""
    if not inspect_artifacts([path]):
        raise SystemExit(2)


def _check_data(kind: str, path: Path, files: Path) -> None:
    found = inspect_entry(path.parent, '', Entry(path.name, kind, ''))
    if found.state == DAMAGED:
        print(found.text)
        raise SystemExit(2)


TORCH = ('a.pth', 'a.pt')
PROPOSALS = ('p.pkl', 'p.safetensors')
# What is loaded -> names that its file may have, and what loads it
PLACES: Dict[str, Tuple[Sequence[str], Reader]] = {
    '--resume CHECKPOINT': (
        TORCH, lambda path, files: _train(path, files, str(path))),
    '--resume': (('iter_5.pth', ), _resume_last),
    'load_from': (TORCH, _load_from),
    'weights of a backbone': (TORCH, _init_backbone),
    'torchvision://': (
        ('pretrained/torchvision/resnet50-0676ba61.pth', ),
        _take_torchvision),
    'tools/test.py': (TORCH, _test),
    'weights of proposals': (TORCH, _check_weights),
    'classes of a checkpoint': (
        TORCH, lambda path, files: read_seen_classes(path)),
    'CLIP of a checkpoint': (TORCH, lambda path, files: read_clip(path)),
    'OpenVocabularyDetector': (TORCH, _detect),
    'convert_checkpoint': (TORCH, _convert_checkpoint),
    'class embeddings': (
        TORCH, lambda path, files: ClassEmbeddings.load(path)),
    'class embeddings to reuse': (('out.pth', ), _reuse_classes),
    'class embeddings of others': (TORCH, _convert_classes),
    'arrays of class embeddings': (('a.npy', ), _convert_classes),
    'learned prompt': (TORCH, lambda path, files: load_prompt_contexts(path)),
    'CLIP': (('a.pt', 'a.pth', 'a.bin'),
             lambda path, files: load_clip(str(path))),
    'identity of a CLIP': (TORCH,
                           lambda path, files: identify_clip(str(path))),
    'CLIP in safetensors': (('a.safetensors', ),
                            lambda path, files: load_clip(str(path))),
    'open_clip': (TORCH, lambda path, files: load_clip(
        f'open_clip:ViT-S-32-alt/{path}')),
    "DetPro's training data": (TORCH,
                               lambda path, files: DetProRegions(path, 3)),
    'proposals': (PROPOSALS, lambda path, files: load_proposals(path)),
    'number of proposals': (PROPOSALS,
                            lambda path, files: count_proposals(path)),
    'convert_proposals': (PROPOSALS, _convert_proposals),
    'proposals to embed': (PROPOSALS, _load_to_embed),
    'proposals of an extraction': (PROPOSALS, _extract),
    'crops': (('crops.npy', 'crops_labels.npy'), _read_crops),
    'embedding store': (('shard-00000.safetensors', 'manifest.json'),
                        _open_store),
    'predictions': (('a.json', ), lambda path, files: load_predictions(path)),
    'annotations': (('a.json', ),
                    lambda path, files: describe_annotations(path)),
    'inspect_artifact': (TORCH, _inspect),
    'inspect_artifact of arrays': (('a.npy', ), _inspect),
    'inspect_artifact of others': ((*PROPOSALS, 'a.json'), _inspect),
    'check_data of weights': (TORCH, partial(_check_data, 'weights')),
    'check_data of classes': (TORCH,
                              partial(_check_data, 'class_embeddings')),
    'check_data of arrays': (('a.npy', ), partial(_check_data, 'array')),
    'check_data of proposals': (PROPOSALS,
                                partial(_check_data, 'proposals')),
}
