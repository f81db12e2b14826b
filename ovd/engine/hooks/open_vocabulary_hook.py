"""Hand the dataset's class names to the model; refuse what doesn't match."""

from typing import Dict, List, Optional, Sequence

from mmdet.registry import HOOKS
from mmengine.dataset import BaseDataset
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from ovd.artifacts.provenance import check_same_clip
from ovd.datasets.transforms import LoadProposalsToEmbed

from .agreement import (
    check_evaluator,
    check_num_classes,
    check_parts,
    dataset_name,
    leaf_datasets,
    read_metainfo,
)
from .distilled_boxes import check_stores, find_transforms
from .image_embedding_hook import ImageEmbeddingHook


@HOOKS.register_module()
class OpenVocabularyHook(Hook):
    """Before a run, make model, dataset and artefacts agree by name.

    Every part of the model that has ``set_vocabulary`` gets the class names
    of the dataset, and which of them are novel. Before training, the store of
    proposal embeddings must cover every image and come from the same CLIP as
    the class embeddings; where there is none, a hook must make them. Models
    without a vocabulary must have as many classes as the dataset, unless they
    are class-agnostic (an RPN).

    What can be found to disagree is found before the first iteration: before
    training also what validation would meet.
    """

    def __init__(self) -> None:
        self._vocabulary_is_set = False
        self._trained_with: Optional[Dict[str, str]] = None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Note whose class embeddings the weights belong to."""
        for module in _open_vocabulary_modules(runner.model):
            checkpoint['meta']['clip'] = dict(module.clip)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Read that note, where there is one."""
        meta = checkpoint.get('meta') or {}
        self._trained_with = meta.get('clip')

    def before_train(self, runner: Runner) -> None:
        """Set the vocabulary, then check the distilled embeddings.

        Raises:
            ValueError: If the dataset does not say which classes are novel,
                the embeddings are of other images or another CLIP, or are
                made by nobody, or classes of datasets, config, metrics and
                class embeddings differ.
        """
        datasets = leaf_datasets(runner.train_dataloader.dataset)
        modules = _open_vocabulary_modules(runner.model)
        for dataset in datasets if modules else ():
            if 'novel_classes' not in read_metainfo(dataset):
                raise ValueError(
                    f'{type(dataset).__name__} does not say which classes '
                    'are novel, and they would be learned as background: '
                    'train on a split file with GZSLCocoDataset'
                )
        if not self._vocabulary_is_set:
            # From here on, vocabularies and not the config set the number.
            check_num_classes(runner.model, datasets[0], _inside(modules))
        if runner.val_loop is not None:
            self._prepare(
                runner, runner.val_dataloader.dataset, runner.val_evaluator
            )
        dataset = runner.train_dataloader.dataset
        self._prepare(runner, dataset)
        check_stores(dataset, modules, runner.logger)
        if any(find_transforms(dataset, LoadProposalsToEmbed)):
            _require_image_embedding_hook(runner)

    def before_val(self, runner: Runner) -> None:
        """Set the vocabulary of the validation set."""
        self._prepare(
            runner, runner.val_dataloader.dataset, runner.val_evaluator
        )

    def after_val(self, runner: Runner) -> None:
        """Go back to that of the training set, if this is a training run."""
        if runner.train_loop is not None:
            self._prepare(runner, runner.train_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        """Set the vocabulary of the test set.

        Raises:
            ValueError: As :meth:`before_train`, or if the class embeddings
                are of another CLIP than those of the detector's training.
        """
        for module in _open_vocabulary_modules(runner.model):
            if self._trained_with is not None:
                check_same_clip(
                    self._trained_with,
                    module.clip,
                    'the checkpoint',
                    'the class embeddings',
                )
        self._prepare(
            runner, runner.test_dataloader.dataset, runner.test_evaluator
        )

    def _prepare(
        self,
        runner: Runner,
        dataset: BaseDataset,
        evaluator: Optional[Evaluator] = None,
    ) -> None:
        """Set the vocabulary of a dataset; refuse what differs from it."""
        parts = leaf_datasets(dataset)
        modules = _open_vocabulary_modules(runner.model)
        check_parts(parts)
        check_num_classes(runner.model, parts[0], modules + _inside(modules))
        if evaluator is not None:
            check_evaluator(evaluator, parts[0])
        meta = read_metainfo(parts[0])
        if modules and 'novel_classes' not in meta:
            runner.logger.warning(
                f'{type(parts[0]).__name__} does not say which classes are '
                'novel: all are scored as base classes'
            )
        for module in modules:
            try:
                module.set_vocabulary(
                    meta['classes'], meta.get('novel_classes', ())
                )
            except ValueError as error:
                raise ValueError(
                    f'{dataset_name(parts[0])} does not fit the class '
                    f'embeddings: {error}'
                ) from error
            self._vocabulary_is_set = True


def _open_vocabulary_modules(model: nn.Module) -> List[nn.Module]:
    """Return the parts of a model that have a vocabulary."""
    return [m for m in model.modules() if hasattr(m, 'set_vocabulary')]


def _inside(modules: Sequence[nn.Module]) -> List[nn.Module]:
    """Return what modules consist of, without themselves."""
    return [
        child
        for module in modules
        for child in module.modules()
        if child is not module
    ]


def _require_image_embedding_hook(runner: Runner) -> None:
    """Raise unless something embeds the boxes that have no embeddings."""
    if not any(isinstance(hook, ImageEmbeddingHook) for hook in runner.hooks):
        raise ValueError(
            'LoadProposalsToEmbed gives boxes without embeddings, and no hook '
            'of this run makes them: add to the config default_hooks = '
            "dict(image_embeddings=dict(type='ImageEmbeddingHook', "
            "clip='CLIP')), or take LoadProposalEmbeddings and a store"
        )
