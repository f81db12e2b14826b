"""Every place of the project that loads a file, to put a bad one into."""

from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Sequence, Tuple

import fault_readers as readers

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.artifacts.prompt_context import load_prompt_contexts
from ovd.artifacts.proposals import count_proposals, load_proposals
from ovd.artifacts.seen_classes import read_clip, read_seen_classes
from ovd.clip.loading import load_clip
from ovd.clip.weights import identify_clip
from ovd.datasets.detpro_regions import DetProRegions
from ovd.datasets.gzsl_header import describe_annotations
from ovd.evaluation.predictions import load_predictions

Reader = Callable[[Path, Path], Any]  # of the file, in the folder of others


def _alone(read: Callable[[str], Any]) -> Reader:
    return lambda path, files: read(str(path))


TORCH = ('a.pth', 'a.pt')
PROPOSALS = ('p.pkl', 'p.safetensors')
# What is loaded -> names that its file may have, and what loads it
PLACES: Dict[str, Tuple[Sequence[str], Reader]] = {
    '--resume CHECKPOINT': (
        TORCH,
        lambda path, files: readers.train(path, files, str(path)),
    ),
    '--resume': (('iter_5.pth',), readers.resume_last),
    'load_from': (TORCH, readers.load_from),
    'weights of a backbone': (TORCH, readers.init_backbone),
    'torchvision://': (
        ('pretrained/torchvision/resnet50-0676ba61.pth',),
        readers.take_torchvision,
    ),
    'tools/test.py': (TORCH, readers.test),
    'weights of proposals': (TORCH, readers.check_weights_of),
    'classes of a checkpoint': (TORCH, _alone(read_seen_classes)),
    'CLIP of a checkpoint': (TORCH, _alone(read_clip)),
    'OpenVocabularyDetector': (TORCH, readers.detect),
    'convert_checkpoint': (TORCH, readers.convert_weights),
    'class embeddings': (TORCH, _alone(ClassEmbeddings.load)),
    'class embeddings to reuse': (('out.pth',), readers.reuse_classes),
    'class embeddings of others': (TORCH, readers.convert_classes),
    'arrays of class embeddings': (('a.npy',), readers.convert_classes),
    'learned prompt': (TORCH, _alone(load_prompt_contexts)),
    'CLIP': (('a.pt', 'a.pth', 'a.bin'), _alone(load_clip)),
    'identity of a CLIP': (TORCH, _alone(identify_clip)),
    'CLIP in safetensors': (('a.safetensors',), _alone(load_clip)),
    'open_clip': (
        TORCH,
        lambda path, files: load_clip(f'open_clip:ViT-S-32-alt/{path}'),
    ),
    "DetPro's training data": (
        TORCH,
        lambda path, files: DetProRegions(path, 3),
    ),
    'proposals': (PROPOSALS, _alone(load_proposals)),
    'number of proposals': (PROPOSALS, _alone(count_proposals)),
    'exported weights': (('a.safetensors',), readers.load_from),
    'export_weights': (TORCH, readers.export),
    'convert_proposals': (PROPOSALS, readers.convert_boxes),
    'proposals to embed': (PROPOSALS, readers.load_to_embed),
    'proposals of an extraction': (PROPOSALS, readers.extract),
    'crops': (('crops.npy', 'crops_labels.npy'), readers.read_crops),
    'embedding store': (
        ('shard-00000.safetensors', 'manifest.json'),
        readers.open_store,
    ),
    'predictions': (('a.json',), _alone(load_predictions)),
    'annotations': (('a.json',), _alone(describe_annotations)),
    'inspect_artifact': (TORCH, readers.inspect),
    'inspect_artifact of arrays': (('a.npy',), readers.inspect),
    'inspect_artifact of others': ((*PROPOSALS, 'a.json'), readers.inspect),
    'check_data of weights': (TORCH, partial(readers.check_data, 'weights')),
    'check_data of classes': (
        TORCH,
        partial(readers.check_data, 'class_embeddings'),
    ),
    'check_data of arrays': (('a.npy',), partial(readers.check_data, 'array')),
    'check_data of proposals': (
        PROPOSALS,
        partial(readers.check_data, 'proposals'),
    ),
}
