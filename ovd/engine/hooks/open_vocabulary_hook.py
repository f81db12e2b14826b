"""Hand the dataset's class names to the model; refuse what doesn't match."""
from typing import Iterator, List, Optional, Sequence

from mmdet.registry import HOOKS
from mmengine.dataset import BaseDataset
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from ovd.artifacts.proposals import image_key
from ovd.artifacts.provenance import check_same_clip, check_same_source
from ovd.datasets.gzsl_split import describe_annotations
from ovd.datasets.transforms import LoadProposalEmbeddings

from .agreement import (
    check_evaluator,
    check_num_classes,
    check_parts,
    dataset_name,
    leaf_datasets,
    read_metainfo,
)


@HOOKS.register_module()
class OpenVocabularyHook(Hook):
    """Before a run, make model, dataset and artefacts agree by name.

    Every part of the model that has ``set_vocabulary`` gets the class names
    of the dataset, and which of them are novel. Before training, the store of
    proposal embeddings must cover every image and come from the same CLIP as
    the class embeddings. Models without a vocabulary must have as many
    classes as the dataset, unless they are class-agnostic (an RPN).

    What can be found to disagree is found before the first iteration: before
    training also what validation would meet.
    """

    def __init__(self) -> None:
        self._vocabulary_is_set = False

    def before_train(self, runner: Runner) -> None:
        """Set the vocabulary, then check the distilled embeddings.

        Raises:
            ValueError: If the dataset does not say which classes are novel,
                the embeddings are of other images or another CLIP, or classes
                of datasets, config, metrics and class embeddings differ.
        """
        datasets = leaf_datasets(runner.train_dataloader.dataset)
        modules = _open_vocabulary_modules(runner.model)
        for dataset in datasets if modules else ():
            if 'novel_classes' not in read_metainfo(dataset):
                raise ValueError(
                    f'{type(dataset).__name__} does not say which classes '
                    'are novel, and they would be learned as background: '
                    'train on a split file with GZSLCocoDataset')
        if not self._vocabulary_is_set:
            # From here on, vocabularies and not the config set the number.
            check_num_classes(runner.model, datasets[0], _inside(modules))
        if runner.val_loop is not None:
            self._prepare(runner, runner.val_dataloader.dataset,
                          runner.val_evaluator)
        self._prepare(runner, runner.train_dataloader.dataset)
        for dataset in datasets:
            for store in _embedding_stores(dataset):
                _check_store(store, dataset)
                for module in modules:
                    check_same_clip(module.clip, store.clip,
                                    'the class embeddings',
                                    f'the embedding store {store.folder}')

    def before_val(self, runner: Runner) -> None:
        """Set the vocabulary of the validation set."""
        self._prepare(runner, runner.val_dataloader.dataset,
                      runner.val_evaluator)

    def after_val(self, runner: Runner) -> None:
        """Go back to that of the training set, if this is a training run."""
        if runner.train_loop is not None:
            self._prepare(runner, runner.train_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        """Set the vocabulary of the test set."""
        self._prepare(runner, runner.test_dataloader.dataset,
                      runner.test_evaluator)

    def _prepare(self,
                 runner: Runner,
                 dataset: BaseDataset,
                 evaluator: Optional[Evaluator] = None) -> None:
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
                'novel: all are scored as base classes')
        for module in modules:
            try:
                module.set_vocabulary(meta['classes'],
                                      meta.get('novel_classes', ()))
            except ValueError as error:
                raise ValueError(
                    f'{dataset_name(parts[0])} does not fit the class '
                    f'embeddings: {error}') from error
            self._vocabulary_is_set = True


def _open_vocabulary_modules(model: nn.Module) -> List[nn.Module]:
    """Return the parts of a model that have a vocabulary."""
    return [m for m in model.modules() if hasattr(m, 'set_vocabulary')]


def _inside(modules: Sequence[nn.Module]) -> List[nn.Module]:
    """Return what modules consist of, without themselves."""
    return [
        child for module in modules for child in module.modules()
        if child is not module
    ]


def _embedding_stores(dataset: BaseDataset) -> Iterator:
    """Yield the stores that a dataset's pipeline reads."""
    pipeline = getattr(dataset, 'pipeline', None)
    for transform in getattr(pipeline, 'transforms', ()):
        if isinstance(transform, LoadProposalEmbeddings):
            yield transform.store


def _check_store(store, dataset: BaseDataset) -> None:
    """Raise unless a store holds the images of a dataset."""
    check_same_source(
        describe_annotations(dataset.ann_file), store.manifest.annotations,
        'the training set', f'the embedding store {store.folder}')
    infos = map(dataset.get_data_info, range(len(dataset)))
    store.check_covers(
        {info['img_id']: image_key(info['img_path']) for info in infos})
