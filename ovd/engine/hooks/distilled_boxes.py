"""Where training takes the boxes that it distils from, and if they fit it."""

from typing import Any, Dict, Iterator, Sequence, Tuple, Union

from mmcv.transforms import BaseTransform
from mmengine.dataset import BaseDataset
from mmengine.logging import MMLogger
from torch import nn

from ovd.artifacts.embedding_store import EmbeddingStore
from ovd.artifacts.proposals import image_key
from ovd.artifacts.provenance import check_same_clip, check_same_source
from ovd.datasets.gzsl_split import describe_annotations
from ovd.datasets.transforms import (
    LoadProposalEmbeddings,
    LoadProposalsToEmbed,
    PackDistillInputs,
)

from .agreement import dataset_name, inner_datasets, leaf_datasets

Kinds = Union[type, Tuple[type, ...]]


def find_transforms(
    dataset: BaseDataset, kinds: Kinds
) -> Iterator[Tuple[BaseDataset, BaseTransform]]:
    """Yield transforms of a kind, each with a dataset whose images take it.

    Args:
        dataset (BaseDataset): Its pipeline counts, and those of the datasets
            that it wraps. Only innermost datasets are yielded.
        kinds (type | tuple[type]): Class or classes of transforms.
    """
    parts = inner_datasets(dataset)
    pipeline = getattr(dataset, 'pipeline', ())
    # SeededDataset shows that of the dataset inside as its own.
    if not any(getattr(part, 'pipeline', None) is pipeline for part in parts):
        for transform in _flatten(pipeline):
            if isinstance(transform, kinds):
                for leaf in leaf_datasets(dataset):
                    yield leaf, transform
    for inner in parts:
        yield from find_transforms(inner, kinds)


def _flatten(pipeline: Any) -> Iterator[Any]:
    """Yield what a pipeline consists of, also inside of wrappers."""
    yield pipeline
    parts = getattr(pipeline, 'transforms', pipeline)
    if isinstance(parts, (list, tuple)):
        for part in parts:
            yield from _flatten(part)
    elif parts is not pipeline:
        yield from _flatten(parts)


def check_stores(
    dataset: BaseDataset, modules: Sequence[nn.Module], logger: MMLogger
) -> None:
    """Check the stores of embeddings that a training set reads.

    It takes seconds for the 118,287 images of COCO. How many images have no
    boxes because they were broken is logged.

    Args:
        dataset (BaseDataset): The training set, wrapped or not.
        modules (Sequence[nn.Module]): Parts of the model that say whose class
            embeddings they use (``clip``).
        logger (MMLogger): Of the run.

    Raises:
        FileNotFoundError: If there is no store.
        ValueError: If a store is incomplete, lacks images of the dataset, is
            of other ones, or of another CLIP than the class embeddings.
    """
    found = [*find_transforms(dataset, LoadProposalEmbeddings)]
    for leaf in leaf_datasets(dataset):
        stores = {
            transform.store_path: transform.store
            for where, transform in found
            if where is leaf
        }
        if not stores:
            continue
        source, keys = describe_annotations(leaf.ann_file), image_keys(leaf)
        for store in stores.values():
            check_same_source(
                source,
                store.manifest.annotations,
                'the training set',
                f'the embedding store {store.folder}',
            )
            store.check_covers(keys)
            for module in modules:
                check_same_clip(
                    module.clip,
                    store.clip,
                    'the class embeddings',
                    f'the embedding store {store.folder}',
                )
            _report_broken(store, keys, leaf, logger)
        for where, transform in found:
            if where is leaf:
                _report_fewer(transform, logger)


def _report_broken(
    store: EmbeddingStore,
    keys: Dict[int, str],
    dataset: BaseDataset,
    logger: MMLogger,
) -> None:
    """Log how many images of a dataset the extraction could not read."""
    broken = [image_id for image_id in store.broken if image_id in keys]
    if broken:
        logger.warning(
            f'{len(broken)} of the {len(keys)} training images of '
            f'{dataset.ann_file} have no boxes to distil, because they were '
            f'broken when {store.folder} was made; training goes on without '
            f'their boxes; the first is {keys[broken[0]]}: '
            f'{store.broken[broken[0]]}'
        )


def _report_fewer(transform: LoadProposalEmbeddings, logger: MMLogger) -> None:
    """Log it if a store has fewer proposals than training asks for."""
    asked = transform.num_max
    there = transform.store.manifest.settings.get('num_max')
    if asked is not None and there is not None and there < asked:
        logger.warning(
            f'{transform.store.folder} has at most {there} proposals of an '
            f'image, and training asks for num_max={asked}: it gets {there}. '
            'Make the store again, into another folder, with --cfg-options '
            f'train_cfg.boxes.num_max={asked}, if that is not meant'
        )


def check_boxes_to_embed(dataset: BaseDataset) -> None:
    """Check that training gets boxes without embeddings, and which.

    Args:
        dataset (BaseDataset): The training set, wrapped or not.

    Raises:
        FileNotFoundError: If a proposals file does not exist.
        ValueError: If a pipeline gives other boxes or none, or proposals are
            of other images.
    """
    for leaf, _ in find_transforms(dataset, LoadProposalEmbeddings):
        raise ValueError(
            f'{dataset_name(leaf)} takes embeddings from a store '
            '(LoadProposalEmbeddings), and ImageEmbeddingHook is to make '
            'them: take the hook out of the config, or put '
            'LoadProposalsToEmbed into the pipelines of all training sets '
            'instead'
        )
    found = [*find_transforms(dataset, LoadProposalsToEmbed)]
    packed = [*find_transforms(dataset, PackDistillInputs)]
    for leaf in leaf_datasets(dataset):
        for name, pairs in (
            ('LoadProposalsToEmbed', found),
            ('PackDistillInputs', packed),
        ):
            if not any(where is leaf for where, _ in pairs):
                raise ValueError(
                    'ImageEmbeddingHook embeds what LoadProposalsToEmbed '
                    'selects and PackDistillInputs packs, but the pipeline '
                    f'of {dataset_name(leaf)} has no {name}'
                )
        files = {
            transform.proposals_file: transform.proposals
            for where, transform in found
            if where is leaf and transform.proposals_file
        }
        for file, proposals in files.items():
            check_same_source(
                describe_annotations(leaf.ann_file),
                proposals.provenance.get('annotations', {}),
                'the training set',
                f'the proposals file {file}',
            )
            proposals.check_covers(image_keys(leaf).values(), leaf.ann_file)


def image_keys(dataset: BaseDataset) -> Dict[int, str]:
    """Return the ids of a dataset's images -> ``<folder>/<file>``."""
    dataset.full_init()
    if dataset.serialize_data:
        infos = map(dataset.get_data_info, range(len(dataset)))
    else:
        infos = dataset.data_list  # get_data_info would copy every polygon
    return {info['img_id']: image_key(info['img_path']) for info in infos}
