"""Names in, a file of class embeddings out."""

from pathlib import Path
from typing import Dict, Optional, Sequence

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.artifacts.files import PathLike
from ovd.clip.class_embedding_recipe import Recipe
from ovd.clip.open_clip_models import is_spec
from ovd.clip.openai import OPENAI_URLS

from .class_names import ClassNames

REPLACE = 'replace it with --overwrite, or write elsewhere with --out'


def make_class_embeddings(
    templates: str = 'vild',
    dataset: Optional[str] = None,
    classes: Optional[str] = None,
    classes_file: Optional[PathLike] = None,
    ann_file: Optional[PathLike] = None,
    synonyms: bool = False,
    prompts: Sequence[PathLike] = (),
    pretrained: Optional[str] = None,
    precision: str = 'fp32',
    out: Optional[PathLike] = None,
    overwrite: bool = False,
) -> Path:
    """Embed class names with CLIP and save them, unless that is done.

    A file of the same names, templates, settings and CLIP weights is left as
    it is.

    Args:
        templates (str): A key of ``TEMPLATE_SETS``, or ``'learned'``.
            Defaults to ``'vild'``.
        dataset (str, optional): A key of ``DATASETS``. Gives the names where
            no other argument does, the default CLIP and the default file.
            Defaults to ``'coco'``.
        classes (str, optional): Names with commas between.
        classes_file (PathLike, optional): Text file, one name per line.
        ann_file (PathLike, optional): COCO or LVIS annotation file.
        synonyms (bool): Whether to average each name with its synonyms in
            the annotation file, as LVIS has them.
        prompts (Sequence[PathLike]): Learned prompts, for ``'learned'``.
        pretrained (str, optional): CLIP, by name or path. Defaults to that
            of the dataset.
        precision (str): ``'fp32'``, or ``'bf16'`` or ``'fp16'``, which are
            faster where the machine knows them. Defaults to ``'fp32'``.
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
    names = ClassNames(dataset, classes, classes_file, ann_file)
    recipe = Recipe(
        pretrained or names.pretrained, templates, tuple(prompts), precision
    )
    stem = f'{templates}_synonyms' if synonyms else templates
    path = output_path(out, names, recipe.pretrained, stem)
    others = names.read_synonyms() if synonyms else None
    if path.exists() and not overwrite:
        found = load_reusable(path)
        refuse_other(
            path,
            {
                'classes': found.names == names.names,
                'CLIP weights': found.clip['sha256'] == recipe.clip_sha256,
                **dict.fromkeys(recipe.differences(found, others), False),
            },
        )
        print(f'{path} has these {len(names.names)} classes already: reused')
        return path
    recipe.make(names.names, others).save(path)
    print(
        f'{path}: {len(names.names)} classes, templates {templates}, '
        f'CLIP {recipe.pretrained}'
    )
    return path


def output_path(
    out: Optional[PathLike], names: ClassNames, pretrained: str, stem: str
) -> Path:
    """Return ``data/<dataset>/prompt/<stem>[_<model>].pth``, or ``out``.

    Raises:
        ValueError: If names that are not those of a dataset would be written
            where its own belong.
    """
    if out is not None:
        if Path(out).suffix != '.pth' or Path(out).is_dir():
            raise ValueError(f'expected a file .pth to write, got {out}')
        return Path(out)
    if not names.are_of_dataset:
        raise ValueError(
            'where the classes are not those of the --dataset, say with '
            '--out which file to write'
        )
    if Path(pretrained) != Path(names.pretrained):
        stem += f'_{_model_name(pretrained)}'
    return names.folder / f'{stem}.pth'


def _model_name(pretrained: str) -> str:
    """Return how a file name calls a CLIP."""
    if is_spec(pretrained):
        model, _, weights = pretrained.partition(':')[2].partition('/')
        return f'{model}_{Path(weights).stem}'
    # "ViT-B/32" is known by its file, ViT-B-32.pt
    return Path(OPENAI_URLS.get(pretrained, pretrained)).stem


def load_reusable(path: Path) -> ClassEmbeddings:
    """Read the file that is to be written, which exists already.

    Raises:
        ValueError: If it is no class embeddings, with what to do.
    """
    try:
        return ClassEmbeddings.load(path)
    except ValueError as error:
        raise ValueError(f'{error}\n{REPLACE}') from error


def refuse_other(path: Path, same: Dict[str, bool]) -> None:
    """Raise unless a file is what would be written.

    Args:
        path (Path): The file.
        same (dict[str, bool]): Part of its content -> whether it is the same.
    """
    differs = [what for what, is_same in same.items() if not is_same]
    if differs:
        raise ValueError(
            f'{path} exists with other {" and ".join(differs)}; {REPLACE}'
        )
