"""Class embeddings that the tests of ViLD's heads share."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from ovd.artifacts.class_embeddings import ClassEmbeddings


@pytest.fixture
def file(tmp_path: Path) -> str:
    """File of four class embeddings of the size 8, 'a' to 'd'."""
    rows = F.normalize(
        torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    )
    path = tmp_path / 'vild.pth'
    ClassEmbeddings(
        [*'abcd'], rows, dict(name='tiny', sha256='0' * 64), 'vild'
    ).save(path)
    return str(path)
