"""The job behind ``tools/class_embeddings.py``: names in, a file out."""
from pathlib import Path
from typing import List, Optional

import torch

from ovd.artifacts.class_embeddings import ClassEmbeddings, check_class_names
from ovd.artifacts.files import PathLike, sha256_file
from ovd.clip.loading import load_clip
from ovd.clip.openai import OPENAI_URLS
from ovd.clip.prompt_templates import TEMPLATE_SETS
from ovd.clip.text_encoder import embed_class_names
from ovd.clip.weights import find_weights
from ovd.suggest import check_choice

from .class_names import (
    DATASETS,
    ann_file_class_names,
    dataset_class_names,
    read_class_names,
    split_class_names,
)


def make_class_embeddings(templates: str = 'vild',
                          dataset: Optional[str] = None,
                          classes: Optional[str] = None,
                          classes_file: Optional[PathLike] = None,
                          ann_file: Optional[PathLike] = None,
                          pretrained: Optional[str] = None,
                          out: Optional[PathLike] = None,
                          overwrite: bool = False) -> Path:
    """Embed class names with CLIP and save them, unless that is done.

    A file of the same names, templates and CLIP weights is left as it is.

    Args:
        templates (str): A key of ``TEMPLATE_SETS``. Defaults to ``'vild'``.
        dataset (str, optional): A key of ``DATASETS``. Gives the names where
            no other argument does, the default CLIP and the default file.
            Defaults to ``'coco'``.
        classes (str, optional): Names with commas between.
        classes_file (PathLike, optional): Text file, one name per line.
        ann_file (PathLike, optional): COCO or LVIS annotation file.
        pretrained (str, optional): CLIP, by name or path. Defaults to that
            of the dataset.
        out (PathLike, optional): The file to write. Defaults to
            ``data/<dataset>/prompt/<templates>.pth``, with the CLIP's name
            in it if it is not the default one.
        overwrite (bool): Whether to replace a file of other content.

    Returns:
        Path: The file, written or found.

    Raises:
        ValueError: If arguments contradict each other, a name can't be
            embedded, or the file exists with other content.
        FileNotFoundError: If an input file is missing.
    """
    check_choice(templates, TEMPLATE_SETS, 'templates')
    check_choice(dataset or 'coco', DATASETS, 'dataset')
    names = _read_names(dataset, classes, classes_file, ann_file)
    by_hand = classes is not None or classes_file is not None
    if out is None and (by_hand or (ann_file and not dataset)):
        raise ValueError(
            'where the classes are not those of a --dataset, say with --out '
            'which file to write')
    dataset = dataset or 'coco'
    pretrained = pretrained or DATASETS[dataset].pretrained
    path = Path(out) if out else _default_path(dataset, templates, pretrained)

    sha256 = sha256_file(find_weights(pretrained))
    if path.exists() and not overwrite:
        _check_reusable(path, names, sha256, templates)
        print(f'{path} has these {len(names)} classes already: reused')
        return path
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    clip = load_clip(pretrained, device)
    embeddings = embed_class_names(clip, names, templates)
    ClassEmbeddings(names, embeddings, clip.identity, templates).save(path)
    print(f'{path}: {len(names)} classes, templates {templates}, '
          f'CLIP {clip.name}')
    return path


def _read_names(dataset: Optional[str], classes: Optional[str],
                classes_file: Optional[PathLike],
                ann_file: Optional[PathLike]) -> List[str]:
    """Return the class names of the one source that was given."""
    sources = {
        '--classes': (classes, split_class_names),
        '--classes-file': (classes_file, read_class_names),
        '--ann-file': (ann_file, ann_file_class_names),
    }
    given = [key for key, (value, _) in sources.items() if value is not None]
    if len(given) > 1:
        raise ValueError(f'{" and ".join(given)} each give class names: '
                         'choose one')
    if not given:
        return dataset_class_names(dataset or 'coco')
    value, read = sources[given[0]]
    names = read(value)
    try:
        check_class_names(names)
    except ValueError as error:
        raise ValueError(f'{given[0]} {value}: {error}') from error
    if not names:
        raise ValueError(f'{given[0]} {value} has no class names')
    return names


def _default_path(dataset: str, templates: str, pretrained: str) -> Path:
    """Return ``data/<dataset>/prompt/<templates>[_<model>].pth``."""
    stem = templates
    if Path(pretrained) != Path(DATASETS[dataset].pretrained):
        # "ViT-B/32" is known by its file, ViT-B-32.pt
        stem += '_' + Path(OPENAI_URLS.get(pretrained, pretrained)).stem
    return Path('data') / dataset / 'prompt' / f'{stem}.pth'


def _check_reusable(path: Path, names: List[str], sha256: str,
                    templates: str) -> None:
    """Raise unless the file has these names, CLIP weights and templates."""
    hint = 'replace it with --overwrite, or write elsewhere with --out'
    try:
        found = ClassEmbeddings.load(path)
    except ValueError as error:
        raise ValueError(f'{error}\n{hint}') from error
    differs = [
        what for what, same in (
            ('classes', found.names == names),
            ('CLIP weights', found.clip['sha256'] == sha256),
            ('templates', found.templates == templates),
        ) if not same
    ]
    if differs:
        raise ValueError(
            f'{path} exists with other {" and ".join(differs)}; {hint}')
