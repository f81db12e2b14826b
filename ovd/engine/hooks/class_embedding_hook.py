"""Make the class embeddings that a run needs, or refuse those of others."""

import time
from pathlib import Path
from typing import Dict, Iterator, List, Sequence, Set

import torch
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import BaseLoop, Runner

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.artifacts.files import PathLike
from ovd.clip.class_embedding_recipe import Recipe
from ovd.clip.weights import identify_clip
from ovd.datasets.gzsl_header import load_header
from ovd.spelling import canonical_spelling

from ..first_process import run_on_first
from .agreement import leaf_datasets, read_metainfo

# A network disk may show other machines a new file a minute late.
SECONDS_TO_APPEAR = 120


@HOOKS.register_module()
class ClassEmbeddingHook(Hook):
    """Before a run, make the class embeddings that are not there yet.

    The files are those that parts of the model name as their
    ``class_embeddings_file``. One that is made gets all names of the
    annotation files of the run, as ``tools/class_embeddings.py`` gives it.
    One that is there must have the names of the datasets, and come from the
    same CLIP and sentences; sentences of converted ones are not known. The
    first process works, the others wait; all machines must share the files.

    In mmengine's own registry, so that it is found from every scope.

    Args:
        pretrained (str): CLIP, see :func:`ovd.clip.loading.load_clip`.
        templates (str): See :class:`ovd.clip.class_embedding_recipe.Recipe`.
            Defaults to ``'vild'``.
        prompts (Sequence[PathLike]): Likewise. Defaults to none.
        precision (str): Likewise. Defaults to ``'fp32'``.

    Raises:
        FileNotFoundError: If a learned prompt is missing.
        ValueError: If an option is none of those there are.
    """

    def __init__(
        self,
        pretrained: str,
        templates: str = 'vild',
        prompts: Sequence[PathLike] = (),
        precision: str = 'fp32',
    ) -> None:
        self.recipe = Recipe(
            pretrained, templates, prompts=prompts, precision=precision
        )

    def before_run(self, runner: Runner) -> None:
        """Make or check the files of the model.

        Raises:
            FileNotFoundError: If a file is to be made and CLIP's weights are
                missing.
            ValueError: If the model names no file, or one that is there was
                made in another way or lacks a name.
        """
        files: Dict[Path, Set[int]] = {}
        for module in runner.model.modules():
            if hasattr(module, 'class_embeddings_file'):
                sizes = files.setdefault(
                    Path(module.class_embeddings_file), set()
                )
                if size := getattr(module, 'embed_dims', None):
                    sizes.add(size)
        if not files:
            raise ValueError(
                'ClassEmbeddingHook has nothing to do: no part of the model, '
                f'a {type(runner.model).__name__}, names a file of class '
                'embeddings; take the hook out of the config'
            )

        def provide() -> None:
            for path, sizes in files.items():
                if path.exists():
                    self._check(runner, path)
                else:
                    self._make(runner, path, sizes)

        run_on_first(provide)
        deadline = time.monotonic() + SECONDS_TO_APPEAR
        while not all(map(Path.is_file, files)):
            if time.monotonic() > deadline:
                break  # whoever reads it will say what is missing
            time.sleep(0.5)

    def _make(self, runner: Runner, path: Path, sizes: Set[int]) -> None:
        """Embed the names and write the file, if it suits the model."""
        size = identify_clip(self.recipe.pretrained)[1]
        if sizes - {size}:
            raise ValueError(
                f'{path} is to be made, but the model has embed_dims='
                f'{", ".join(map(str, sorted(sizes)))} and CLIP '
                f'{self.recipe.pretrained} embeddings of the size {size}: '
                'change one of them'
            )
        if path.suffix != '.pth':
            raise ValueError(
                f'{path} is to be made, but class embeddings go '
                'to a file .pth: change it in the config'
            )
        names = _category_names(runner)
        if not names:
            raise ValueError(
                f'{path} is to be made, but the datasets of this run have no '
                'class names: give them metainfo with "classes"'
            )
        runner.logger.info(
            f'{path} does not exist: embedding {len(names)} classes with '
            f'CLIP {self.recipe.pretrained}, templates '
            f'{self.recipe.templates}'
        )
        # Building a CLIP draws weights; what the run draws must not differ.
        with torch.random.fork_rng(devices=[]):
            self.recipe.make(names).save(path)
        runner.logger.info(f'{path} is written')

    def _check(self, runner: Runner, path: Path) -> None:
        """Raise unless a file has the names and is what the recipe makes."""
        found = ClassEmbeddings.load(path)
        differing = []
        if found.templates != 'converted':  # which sentences, is not known
            differing = [
                what
                for what in self.recipe.differences(found)
                if what in ('templates', 'prompts')
            ]
        if (
            self._knows_clip(runner, path, found)
            and self.recipe.clip_sha256 != found.clip['sha256']
        ):
            differing.insert(0, 'CLIP weights')
        if differing:
            clips = (
                'two CLIPs made them: ' if 'CLIP weights' in differing else ''
            )
            raise ValueError(
                f'{path} is not what ClassEmbeddingHook makes, it differs in '
                f'{", ".join(differing)}; {clips}the file is of '
                f'{found.clip["name"]} (sha256 {found.clip["sha256"][:12]}), '
                f'templates {found.templates}, the hook of '
                f'{self.recipe.pretrained}, templates '
                f'{self.recipe.templates}\nchange the options of the hook in '
                f'the config, or move {path} away, and the run makes another'
            )
        try:
            found.select(_class_names(runner))
        except ValueError as error:
            raise ValueError(
                f'{path} does not fit the datasets of this run: {error}\n'
                f'name another file in the config, or move {path} away, and '
                'the run makes another'
            ) from error

    def _knows_clip(
        self, runner: Runner, path: Path, found: ClassEmbeddings
    ) -> bool:
        """Whether the CLIP's digest is known: a test needs no weights."""
        try:
            return bool(self.recipe.clip_sha256)
        except (FileNotFoundError, ModuleNotFoundError) as error:
            runner.logger.warning(
                f'{path} was made by CLIP {found.clip["name"]}, which could '
                f'not be compared with that of the hook ({error})'
            )
            return False


def _datasets(runner: Runner) -> Iterator[BaseDataset]:
    """Yield the datasets of the loops that a run has built."""
    for kind in ('train', 'val', 'test'):
        # The runner's properties would build what this run doesn't need.
        loop = getattr(runner, f'_{kind}_loop')
        if isinstance(loop, BaseLoop):
            yield from leaf_datasets(loop.dataloader.dataset)


def _class_names(runner: Runner) -> List[str]:
    """Return the class names of the datasets of a run, each once."""
    names: Dict[str, str] = {}
    for dataset in _datasets(runner):
        for name in read_metainfo(dataset).get('classes', ()):
            names.setdefault(canonical_spelling(name), name)
    return list(names.values())


def _category_names(runner: Runner) -> List[str]:
    """Return all names of a run's annotation files, those of no box too.

    Files that are split keep every category, so these are the names of the
    whole dataset, in its order. Names of datasets without such a file follow.
    """
    names: Dict[str, str] = {}
    for dataset in _datasets(runner):
        ann_file = getattr(dataset, 'ann_file', None)
        if not isinstance(ann_file, str) or not Path(ann_file).is_file():
            continue
        try:
            categories = load_header(ann_file).categories
        except ValueError:
            continue  # the dataset could read it: it is in another form
        for category in categories:
            names.setdefault(canonical_spelling(category.name), category.name)
    for name in _class_names(runner):
        names.setdefault(canonical_spelling(name), name)
    return list(names.values())
