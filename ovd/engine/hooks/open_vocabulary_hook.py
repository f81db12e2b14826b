"""Hand the dataset's class names to the model; refuse what doesn't match."""
from typing import Iterator

from mmdet.registry import HOOKS
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from ovd.artifacts.proposals import image_key
from ovd.artifacts.provenance import check_same_clip
from ovd.datasets.transforms import LoadProposalEmbeddings


@HOOKS.register_module()
class OpenVocabularyHook(Hook):
    """Before a run, make model, dataset and artefacts agree by name.

    Every part of the model that has ``set_vocabulary`` gets the class names
    of the dataset, and which of them are novel. Before training, the store of
    proposal embeddings must cover every image and come from the same CLIP as
    the class embeddings. Models without a vocabulary (an RPN) pass.
    """

    def before_train(self, runner: Runner) -> None:
        """Set the vocabulary, then check the distilled embeddings."""
        dataset = _unwrap(runner.train_dataloader.dataset)
        _set_vocabulary(runner.model, dataset)
        for store in _embedding_stores(dataset):
            infos = map(dataset.get_data_info, range(len(dataset)))
            store.check_covers(
                {info['img_id']: image_key(info['img_path'])
                 for info in infos})
            for module in _open_vocabulary_modules(runner.model):
                check_same_clip(module.clip, store.clip,
                                'the class embeddings',
                                f'the embedding store {store.folder}')

    def before_val(self, runner: Runner) -> None:
        """Set the vocabulary of the validation set."""
        _set_vocabulary(runner.model,
                        _unwrap(runner.val_dataloader.dataset))

    def before_test(self, runner: Runner) -> None:
        """Set the vocabulary of the test set."""
        _set_vocabulary(runner.model,
                        _unwrap(runner.test_dataloader.dataset))


def _unwrap(dataset: BaseDataset) -> BaseDataset:
    """Return the dataset inside wrappers such as ``ClassBalancedDataset``."""
    while hasattr(dataset, 'dataset'):
        dataset = dataset.dataset
    return dataset


def _open_vocabulary_modules(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the parts of a model that have a vocabulary."""
    return (m for m in model.modules() if hasattr(m, 'set_vocabulary'))


def _set_vocabulary(model: nn.Module, dataset: BaseDataset) -> None:
    for module in _open_vocabulary_modules(model):
        module.set_vocabulary(dataset.metainfo['classes'],
                              dataset.metainfo.get('novel_classes', ()))


def _embedding_stores(dataset: BaseDataset) -> Iterator:
    """Yield the stores that a dataset's pipeline reads."""
    pipeline = getattr(dataset, 'pipeline', None)
    for transform in getattr(pipeline, 'transforms', ()):
        if isinstance(transform, LoadProposalEmbeddings):
            yield transform.store
