"""A dataset of one's own: checked, split, with configs and what to do next."""

import os
import re
import shlex
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from ovd.artifacts.files import PathLike, atomic_write
from ovd.clip.weights import identify_clip
from ovd.datasets.gzsl_split import split_file, write_kept
from ovd.datasets.gzsl_splits import Split
from ovd.datasets.gzsl_verify import verify_split

from .data_tree import DATA_TREES
from .dataset_configs import DatasetConfigs
from .dataset_parts import SUBSETS, Part, check_files, check_parts, read_parts
from .own_split import check_split, choose_names, split_path, split_text

PRETRAINED = 'ViT-B/32'
# Folders that say nothing of whose annotations are in them
GENERIC = ('annotations', 'annotation', 'labels', 'data', 'json', '')


def new_dataset(
    annotations: PathLike,
    novel: Optional[str] = None,
    split: Optional[str] = None,
    val: Optional[PathLike] = None,
    val_fraction: Optional[float] = None,
    images: Optional[PathLike] = None,
    name: Optional[str] = None,
    out_dir: Optional[PathLike] = None,
    pretrained: str = PRETRAINED,
    check_images: int = 1000,
    force: bool = False,
    tools: PathLike = 'tools',
) -> None:
    """Check COCO-format files, split them, write configs, say what is next.

    Nothing is written before all checks are done.

    Args:
        annotations (PathLike): The annotation file to train on.
        novel (str, optional): Names with commas between; the other
            categories are base. Either this or ``split``.
        split (str, optional): See
            :func:`ovd.datasets.gzsl_splits.load_split`; LVIS's are not for
            own files.
        val (PathLike, optional): The annotation file to validate on. Without
            one, it is ``annotations``, too.
        val_fraction (float, optional): In place of ``val``, the share of the
            images that is taken off for validation.
        images (PathLike, optional): See
            :func:`ovd.apis.image_folders.find_image_folder`.
        name (str, optional): Of the dataset. Defaults to that of its folder.
        out_dir (PathLike, optional): Folder of the configs. Defaults to
            ``configs/<name>``.
        pretrained (str): CLIP. Defaults to ``'ViT-B/32'``.
        check_images (int): How many images are opened; 0 for all. Defaults
            to 1000.
        force (bool): Replace files that are there. Defaults to False.
        tools (PathLike): Folder of the tools, for the commands.

    Raises:
        FileNotFoundError: If a file, the images or CLIP are missing.
        FileExistsError: If a file that is there would be replaced.
        ValueError: If something is not as it should be, with what to do.
    """
    name = name or _name_of(Path(annotations))
    _check_options(name, val, val_fraction, check_images)
    _, embed_dims = identify_clip(pretrained)
    parts = read_parts(Path(annotations), val, val_fraction, images, name)
    warnings = [*check_parts(parts)]
    chosen = choose_names(novel, split, parts[0].data, name)
    warnings += check_split(chosen, parts)
    configs = DatasetConfigs(
        name,
        Path(out_dir or f'configs/{name}'),
        _both(part.ann_file for part in parts),
        _both(
            part.ann_file.with_name(
                f'{part.ann_file.stem}_{chosen.name}_1.json'
            )
            for part in parts
        ),
        _both(part.folder for part in parts),
        len(chosen.base) + len(chosen.novel),
        pretrained,
        embed_dims,
    )
    texts = configs.texts()
    if novel is not None:
        split = str(split_path(name))
        texts[split_path(name)] = split_text(chosen)
    assert split is not None  # else the names are novel
    _check_outputs(texts, parts, configs, force)
    for line in _describe(parts, chosen, check_files(parts, check_images)):
        print(line)
    for warning in warnings:
        print(f'warning: {warning}')
    _write(texts, parts, split, force)
    print('next:')
    for command in next_commands(configs, parts, chosen, Path(tools)):
        print(f'  {shlex.join(command)}')


def _both(items: Iterator[Path]) -> Tuple[Path, Path]:
    train, val = items
    return train, val


def _name_of(ann_file: Path) -> str:
    """Return a name for a dataset: that of the folder it is in."""
    for folder in ann_file.absolute().parents:
        if folder.name.lower() not in GENERIC:
            return re.sub(r'\W+', '_', folder.name)
    return 'custom'


def _check_options(
    name: str,
    val: Optional[PathLike],
    val_fraction: Optional[float],
    check_images: int,
) -> None:
    if not re.fullmatch(r'[A-Za-z][\w-]*', name, re.ASCII):
        raise ValueError(
            f'the name of the dataset must begin with a letter and have '
            f'letters, digits, "_" and "-" alone, got "{name}": give one '
            'with --name'
        )
    if name in DATA_TREES:
        raise ValueError(
            f'"{name}" is what a dataset with configs of its own is called, '
            f'and data/{name} is its folder: give another --name'
        )
    if val is not None and val_fraction is not None:
        raise ValueError('--val and --val-fraction exclude each other')
    if val_fraction is not None and not 0 < val_fraction < 1:
        raise ValueError(
            f'--val-fraction must be between 0 and 1, got {val_fraction:g}'
        )
    if check_images < 0:
        raise ValueError(
            f'--check-images must not be negative, got {check_images}'
        )


def _check_outputs(
    texts: Dict[Path, str],
    parts: Sequence[Part],
    configs: DatasetConfigs,
    force: bool,
) -> None:
    """Raise if something would be replaced that the user has not said."""
    taken = [
        path
        for path, text in texts.items()
        if path.exists()
        and (not path.is_file() or path.read_bytes() != text.encode())
    ]
    taken += [
        part.ann_file
        for part in parts
        if part.is_written and part.ann_file.exists()
    ]
    taken += [path for path in configs.split_files if path.exists()]
    if taken and not force:
        more = f', and {len(taken) - 1} more' if len(taken) > 1 else ''
        raise FileExistsError(
            f'{taken[0]} exists{more}: give another --name or --out-dir, or '
            'replace with --force'
        )
    for path in (path.parent for path in configs.split_files):
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(
                f'{path} can not be written to, and split files go beside '
                'the annotations: copy those to a folder of yours, and name '
                'that of the images with --images'
            )


def _describe(
    parts: Sequence[Part], chosen: Split, opened: int
) -> Iterator[str]:
    """Yield what was found."""
    for subset, part in zip(SUBSETS, parts):
        annotations = int(part.kept[part.data.image_index].sum())
        of = (
            f', {int(part.kept.sum()):,} of its {len(part.kept):,} images'
            if not part.kept.all()
            else f', {len(part.kept):,} images'
        )
        yield (
            f'{subset}: {part.data.path}{of}, {annotations:,} annotations, '
            f'images in {part.folder}'
        )
    if parts[0].is_written and parts[0].kept.all():
        yield (
            'train and val are one file: AP is that of images seen in '
            'training; --val or --val-fraction 0.2 gives others'
        )
    yield (
        f'{len(chosen.base)} base classes, {len(chosen.novel)} novel: '
        f'{", ".join(chosen.novel)}'
    )
    yield (
        f'all images are there, {opened:,} were opened and have the size '
        'that the annotations say; all names fit into CLIP'
    )


def _write(
    texts: Dict[Path, str], parts: Sequence[Part], split: str, force: bool
) -> None:
    """Write all files, and verify those of the split."""
    for part in parts:
        if part.is_written:
            with atomic_write(part.ann_file) as file:
                write_kept(
                    file,
                    part.data,
                    part.kept,
                    part.kept[part.data.image_index],
                )
            print(f'{part.ann_file} written')
    if Path(split) in texts:
        _write_text(Path(split), texts.pop(Path(split)))
    # Before the configs: what the splitter refuses leaves none.
    for subset, part in zip(SUBSETS, parts):
        report = split_file(part.ann_file, split, subset, overwrite=force)
        print(f'{report.output} written')
        assert report.output is not None  # as of LVIS alone
        print(verify_split(report.output))
    for path, text in texts.items():
        _write_text(path, text)


def _write_text(path: Path, text: str) -> None:
    with atomic_write(path, 'w') as file:
        file.write(text)
    print(f'{path} written')


def next_commands(
    configs: DatasetConfigs, parts: Sequence[Part], chosen: Split, tools: Path
) -> Iterator[List[str]]:
    """Yield the commands from here to pictures."""

    def run(tool: str, *options: object) -> List[str]:
        return ['python', str(tools / tool), *map(str, options)]

    work, dump = configs.work_dir, configs.path('dump')
    clip = (
        []
        if configs.pretrained == PRETRAINED
        else ['--pretrained', configs.pretrained]
    )
    vild = configs.path('vild')
    yield run(
        'class_embeddings.py',
        'vild',
        '--ann-file',
        configs.ann_files[0],
        *clip,
        '--out',
        configs.class_embeddings,
    )
    yield run('train.py', configs.path('rpn'), '--auto-scale-lr')
    yield run('test.py', dump, f'{work}/rpn', '--out', configs.proposals)
    yield run('train.py', configs.path('extract'))
    yield run('train.py', vild, '--auto-scale-lr')
    yield run('test.py', vild, f'{work}/vild')
    yield run(
        'image_demo.py',
        _picture(parts[1], chosen),
        vild,
        f'{work}/vild',
        '--out-dir',
        f'{work}/pictures',
    )


def _picture(val: Part, chosen: Split) -> Path:
    """Return a val image to draw, one with novel objects if there is one."""
    novel = np.array(
        [category.name in chosen.novel for category in val.data.categories]
    )
    counts = np.bincount(
        val.data.image_index,
        novel[val.data.category_index],
        minlength=len(val.images),
    )
    best = int(np.argmax(np.where(val.kept, counts, -1)))
    return val.folder / val.images[best].file_name
