"""A dataset round another, which shows all that is not its own."""

from typing import Any, Optional

from mmdet.registry import DATASETS
from torch.utils.data import Dataset


class WrappedDataset(Dataset):
    """Everything but the samples is that of the dataset inside.

    Args:
        dataset (dict | Dataset): The dataset inside.
        broken_file (str, optional): Go on without images that can't be used,
            and have a line of JSON for each in this file. Defaults to None:
            the first one is an error.
    """

    def __init__(
        self, dataset: Any, broken_file: Optional[str] = None
    ) -> None:
        self.dataset = (
            DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        )
        self.broken_file = broken_file

    def __getattr__(self, name: str) -> Any:
        if name == 'dataset':  # not there yet, while it is unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)

    @property
    def pipeline(self) -> Any:
        """That of the dataset inside, which hooks of the host exchange."""
        return self.dataset.pipeline

    @pipeline.setter
    def pipeline(self, pipeline: Any) -> None:
        self.dataset.pipeline = pipeline

    def __len__(self) -> int:
        return len(self.dataset)
