"""A dataset to evaluate on, of which some images may be broken."""

from typing import Any

from mmdet.registry import DATASETS

from .broken_images import BrokenImageError, record_broken
from .wrapped_dataset import WrappedDataset


@DATASETS.register_module()
class EvaluatedDataset(WrappedDataset):
    """Give a black sample where an image can't be used, and mark it.

    No other image may take its place, which would count twice. Its objects
    still count, as missed ones: :class:`~ovd.evaluation.BrokenImageEvaluator`
    takes away what a model sees in the black.

    Args:
        dataset (dict | BaseDataset): One that loads images itself.
        broken_file (str, optional): As of :class:`WrappedDataset`.
    """

    def __getitem__(self, index: int) -> Any:
        """Return the sample; ``broken_image`` of its data sample marks it.

        Raises:
            BrokenImageError: If its image can't be used, and ``broken_file``
                is None or nothing says how large it should be.
        """
        try:
            return self.dataset[index]
        except BrokenImageError as error:
            if self.broken_file is None:
                raise
            info = self.dataset.get_data_info(index)
            if not (info.get('height') and info.get('width')):
                raise
            record_broken(self.broken_file, error.path, error.reason)
        sample = self.dataset.pipeline(dict(info, blank=True))
        sample['data_samples'].set_metainfo(dict(broken_image=True))
        return sample
