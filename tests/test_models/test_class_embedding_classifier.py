"""Cosine classifier: logits, hidden novel columns, vocabulary."""

from pathlib import Path

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from torch import nn

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.models import ClassEmbeddingClassifier

NAMES = ['red circle', 'blue star', 'green ring']
CLIP = dict(name='tiny', sha256='0' * 64)


def make_embeddings(names=NAMES, dims=8, clip=CLIP, seed=0) -> ClassEmbeddings:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(len(names), dims, generator=generator)
    return ClassEmbeddings(
        list(names), rows / rows.norm(dim=1, keepdim=True), clip, 'vild'
    )


@pytest.fixture
def file(tmp_path: Path) -> str:
    make_embeddings().save(tmp_path / 'vild.pth')
    return str(tmp_path / 'vild.pth')


def test_logits_are_cosines_over_temperature(file: str) -> None:
    classifier = ClassEmbeddingClassifier(file, temperature=0.05).eval()
    classifier.set_classes(NAMES[::-1], [NAMES[0]])
    x = torch.randn(4, 8)
    logits = classifier(x)
    rows = make_embeddings().embeddings.flip(0)
    rows = torch.cat([rows, classifier.bg_embedding])
    for r in range(4):
        for c in range(4):
            expected = torch.cosine_similarity(x[r], rows[c], dim=0) / 0.05
            assert logits[r, c].item() == pytest.approx(
                expected.item(), abs=1e-4
            )


def test_novel_columns_are_hidden_in_training_only(file: str) -> None:
    classifier = ClassEmbeddingClassifier(file)
    classifier.set_classes(NAMES, ['blue star'])
    x = torch.randn(5, 8, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(
        classifier(x), torch.tensor([0, 2, 3, 3, 0])
    )
    loss.backward()
    assert torch.isinf(classifier(x)[:, 1]).all()
    assert torch.isfinite(x.grad).all() and x.grad.abs().sum() > 0
    assert torch.isfinite(classifier.eval()(x)).all()


def test_what_is_learned_and_what_is_saved(file: str) -> None:
    classifier = ClassEmbeddingClassifier(file)
    assert [name for name, _ in classifier.named_parameters()] == [
        'bg_embedding'
    ]
    assert list(classifier.state_dict()) == ['bg_embedding']


def test_empty_input_keeps_a_gradient(file: str) -> None:
    classifier = ClassEmbeddingClassifier(file)
    classifier.set_classes(NAMES)
    logits = classifier(torch.zeros(0, 8, requires_grad=True))
    logits.sum().backward()
    assert logits.shape == (0, 4)
    assert classifier.bg_embedding.grad.abs().sum() == 0


def test_the_vocabulary_can_be_replaced(file: str) -> None:
    classifier = ClassEmbeddingClassifier(file).eval()
    other = make_embeddings(['a', 'b', 'c', 'd', 'e'], seed=1)
    classifier.set_classes(other.names, (), other)
    assert classifier(torch.randn(2, 8)).shape == (2, 6)


def test_a_file_that_is_made_later(tmp_path: Path) -> None:
    path = tmp_path / 'vild.pth'
    with pytest.raises(FileNotFoundError, match='make it with: python tools'):
        ClassEmbeddingClassifier(str(path))
    classifier = ClassEmbeddingClassifier(str(path), embed_dims=8).eval()
    assert classifier.bg_embedding.shape == (1, 8)
    assert list(classifier.state_dict()) == ['bg_embedding']
    for need in (
        lambda: classifier.source,
        lambda: classifier.set_classes(NAMES),
    ):
        with pytest.raises(FileNotFoundError, match='make it with: python t'):
            need()
    make_embeddings().save(path)
    classifier.set_classes(NAMES)
    assert classifier.source.names == NAMES
    assert classifier(torch.randn(2, 8)).shape == (2, 4)


def test_the_size_that_the_config_says_is_checked(
    file: str, tmp_path: Path
) -> None:
    assert ClassEmbeddingClassifier(file, embed_dims=8).embed_dims == 8
    with pytest.raises(ValueError, match='size 8, .* embed_dims=64'):
        ClassEmbeddingClassifier(file, embed_dims=64)
    later = tmp_path / 'later.pth'
    classifier = ClassEmbeddingClassifier(str(later), embed_dims=64)
    make_embeddings().save(later)
    with pytest.raises(ValueError, match='size 8, .* embed_dims=64'):
        classifier.set_classes(NAMES)


def test_the_vocabulary_follows_the_weights(file: str) -> None:
    classifier = ClassEmbeddingClassifier(file)
    classifier.double().to('meta')
    classifier.set_classes(NAMES)
    assert classifier.class_embeddings.device.type == 'meta'
    assert classifier.class_embeddings.dtype == torch.float64
    classifier = ClassEmbeddingClassifier(file)
    classifier.set_classes(NAMES)
    classifier.double().to('meta')
    assert classifier.class_embeddings.device.type == 'meta'
    assert classifier.class_embeddings.dtype == torch.float64
    assert classifier.novel_mask.device.type == 'meta'
    assert classifier.novel_mask.dtype == torch.bool


def test_a_moving_average_that_began_before_the_vocabulary(file: str) -> None:
    """The host's pairs buffers by their place; a vocabulary is none."""
    model = nn.Sequential(ClassEmbeddingClassifier(file), nn.BatchNorm1d(3))
    average = ExponentialMovingAverage(model, momentum=0.5)
    model[0].set_classes(NAMES[:2])
    model[1].running_mean.fill_(7.0)
    average.update_parameters(model)
    average.update_parameters(model)
    assert average.module[1].running_mean.tolist() == [7.0] * 3
    assert set(average.module.state_dict()) == set(model.state_dict())


def test_wrong_input_says_what_is_wrong(file: str) -> None:
    with pytest.raises(ValueError, match='temperature must be positive'):
        ClassEmbeddingClassifier(file, temperature=0)
    classifier = ClassEmbeddingClassifier(file)
    with pytest.raises(RuntimeError, match='set_classes.* must come first'):
        classifier(torch.randn(2, 8))
    with pytest.raises(ValueError, match='"red circel"; did you mean'):
        classifier.set_classes(['red circel'])
    with pytest.raises(
        ValueError,
        match='1 of 2 novel classes .* 3 names of '
        'the vocabulary:\n  "blue stars"; did you mean "blue',
    ):
        classifier.set_classes(NAMES, ['red circle', 'blue stars'])
    assert classifier.novel_mask is None  # nothing is half set
    other = make_embeddings(clip=dict(name='other', sha256='1' * 64))
    with pytest.raises(ValueError, match='two CLIPs'):
        classifier.set_classes(NAMES, (), other)


def test_a_missing_file_without_its_size_names_both_ways(tmp_path):
    with pytest.raises(
        FileNotFoundError,
        match='make it with: python tools/'
        '.*\nor give the classifier embed_dims, and ClassEmb',
    ):
        ClassEmbeddingClassifier(str(tmp_path / 'no.pth'))
