"""Learning prompts: the loss, its gradients, predictions, what is saved."""

import copy
import math
from types import SimpleNamespace
from typing import Dict, List

import pytest
import torch
import torch.nn.functional as F
from mmengine.dataset import DefaultSampler
from mmengine.optim import build_optim_wrapper
from torch import Tensor

from ovd.clip.text_encoder import embed_class_names
from ovd.datasets.group_batch_sampler import GroupBatchSampler
from ovd.models.losses import soft_background_loss
from ovd.models.prompt_learner import PromptLearner

NAMES = ['bow_(weapon)', 'dog', 'red fox']
SGD = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.5))


@pytest.fixture
def model(tiny_clip_path: str) -> PromptLearner:
    torch.manual_seed(0)
    model = PromptLearner(tiny_clip_path, num_groups=2, context_length=3)
    model.set_vocabulary(NAMES, ['dog'])
    return model


def batch(count: int = 6, group: int = 1, seed: int = 1) -> Dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return dict(
        embeddings=torch.randn(count, 64, generator=generator).half(),
        labels=torch.randint(-1, 2, (count,), generator=generator),
        weights=torch.rand(count, generator=generator) + 0.1,
        group=group,
    )


# --- loss ------------------------------------------------------------------


def test_loss_by_hand() -> None:
    """Two classes; a region of each, and one of background."""
    logits = torch.tensor([[2.0, 0], [1, 1], [0, 3]])
    found = soft_background_loss(
        logits,
        torch.tensor([0, 1, -1]),
        torch.tensor([1.0, 2, 3]),
        torch.tensor(6.0),
    )
    losses = [
        -math.log(math.exp(2) / (math.exp(2) + 1)),
        math.log(2),
        -(-math.log(1 + math.exp(3)) * 2 + 3) / 2,
    ]
    assert found.item() == pytest.approx(
        (losses[0] + 2 * losses[1] + 3 * losses[2]) / 6, rel=1e-6
    )


def test_background_is_cross_entropy_to_the_uniform_target() -> None:
    torch.manual_seed(0)
    logits = torch.randn(5, 7, requires_grad=True)
    ones = torch.ones(5)
    found = soft_background_loss(
        logits, torch.full((5,), -1), ones, ones.sum()
    )
    expected = F.cross_entropy(logits, torch.full((5, 7), 1 / 7))
    torch.testing.assert_close(found, expected)
    even = soft_background_loss(
        torch.zeros(5, 7), torch.full((5,), -1), ones, ones.sum()
    )
    assert even.item() == pytest.approx(math.log(7)) and even < found


def test_classes_weigh_as_in_torch() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(8, 3), torch.randint(3, (8,))
    weight = torch.tensor([0.5, 2, 1])
    found = soft_background_loss(
        logits, labels, weight[labels], weight[labels].sum()
    )
    torch.testing.assert_close(found, F.cross_entropy(logits, labels, weight))


def test_no_regions() -> None:
    logits = torch.zeros(0, 3, requires_grad=True)
    loss = soft_background_loss(
        logits, torch.zeros(0).long(), torch.zeros(0), torch.tensor(1.0)
    )
    loss.backward()
    assert loss == 0 and logits.grad.shape == (0, 3)


# --- model -----------------------------------------------------------------


def test_class_embeddings_are_those_of_the_tool(model: PromptLearner) -> None:
    for group in range(2):
        expected = embed_class_names(
            model.teacher,
            ['bow_(weapon)', 'red fox'],
            'learned',
            contexts=model.context[group : group + 1].detach(),
        )
        torch.testing.assert_close(
            model.embed_base_classes(group).detach(), expected
        )


def test_loss_and_gradient_are_those_of_plain_code(
    model: PromptLearner,
) -> None:
    """The text tower of openai-clip, over all of its 77 tokens."""
    data = batch()
    found = model(**data, mode='loss')
    found['loss_prompt'].backward()
    clip, context = model.teacher.model, model.context.detach()[1].clone()
    context.requires_grad_()
    from ovd.clip.tokenizer import tokenize

    tokens = tokenize(['X X X bow weapon.', 'X X X red fox.'])
    x = clip.token_embedding(tokens)
    x = torch.cat([x[:, :1], context.expand(2, -1, -1), x[:, 4:]], dim=1)
    x = (x + clip.positional_embedding).transpose(0, 1)
    x = clip.ln_final(clip.transformer(x).transpose(0, 1))
    texts = x[torch.arange(2), tokens.argmax(1)] @ clip.text_projection
    logits = (
        F.normalize(data['embeddings'].float(), dim=1)
        @ F.normalize(texts, dim=1).T
        / 0.01
    )
    total = 0
    for row, label, weight in zip(logits, data['labels'], data['weights']):
        target = (
            torch.full((2,), 0.5) if label < 0 else F.one_hot(label, 2).float()
        )
        total = total - weight * (target * row.log_softmax(0)).sum()
    loss = total / data['weights'].sum()
    loss.backward()
    torch.testing.assert_close(found['loss_prompt'], loss)
    scale = context.grad.abs().max()
    assert (model.context.grad[1] - context.grad).abs().max() < 1e-4 * scale
    assert not model.context.grad[0].any()
    classes = data['labels'] >= 0
    correct = (logits.argmax(1) == data['labels'])[classes]
    assert found['acc'].item() == pytest.approx(
        100 * correct.float().mean().item()
    )


def test_only_the_context_is_trained_and_saved(model: PromptLearner) -> None:
    assert list(model.state_dict()) == ['context']
    assert [name for name, _ in model.named_parameters()] == ['context']
    assert model.context.shape == (2, 3, 64)
    assert model.context.std().item() == pytest.approx(0.02, rel=0.2)
    model.train_step(batch(), build_optim_wrapper(model, SGD))
    assert not any(p.requires_grad for p in model.teacher.model.parameters())


def regions(groups: List[int]) -> SimpleNamespace:
    """A dataset of 20 regions of each group, the same in every one."""
    parts = [batch(20, seed=group) for group in groups]

    def getitems(indices: List[int]) -> dict:
        place, rows = indices[0] // 20, [i % 20 for i in indices]
        return dict(
            {
                key: value[rows]
                for key, value in parts[place].items()
                if key != 'group'
            },
            group=place,
        )

    class Regions:
        group_sizes = [20] * len(groups)
        group_seeds = [[group] for group in groups]

        def __len__(self) -> int:
            return 20 * len(groups)

    dataset = Regions()
    dataset.getitems = getitems
    return dataset


def learn(model: PromptLearner, groups: List[int]) -> Tensor:
    """Train two epochs; return the contexts."""
    dataset = regions(groups)
    batches = GroupBatchSampler(DefaultSampler(dataset, seed=0), 6)
    optim_wrapper = build_optim_wrapper(model, SGD)
    for epoch in range(2):
        batches.sampler.set_epoch(epoch)
        for indices in batches:
            model.train_step(dataset.getitems(indices), optim_wrapper)
    return model.context.detach()


def test_groups_learn_together_as_they_do_alone(
    model: PromptLearner, tiny_clip_path: str
) -> None:
    start = model.context.detach().clone()
    alone = []
    for group in range(2):
        single = PromptLearner(tiny_clip_path, num_groups=1, context_length=3)
        single.set_vocabulary(NAMES, ['dog'])
        with torch.no_grad():
            single.context.copy_(start[group : group + 1])
        alone.append(learn(single, [group]))
    together = learn(model, [0, 1])
    assert torch.equal(together, torch.cat(alone))
    assert (together - start).abs().amax(dim=(1, 2)).min() > 1e-3


def test_novel_classes_are_some_of_the_names(model: PromptLearner) -> None:
    with pytest.raises(
        ValueError, match='1 of 1 novel .*\n  "Dog"; did you mean "dog"'
    ):
        model.set_vocabulary(NAMES, ['Dog'])


def test_prediction_is_by_the_ensemble(model: PromptLearner) -> None:
    embeddings = batch(9)['embeddings']
    labels = torch.arange(9) % 3
    found = model.eval()(labels, embeddings=embeddings, mode='predict')
    groups = []
    for context in model.context.detach():
        model.set_vocabulary(NAMES)
        groups.append(
            embed_class_names(
                model.teacher, NAMES, 'learned', contexts=context[None]
            )
        )
    ensemble = F.normalize(sum(groups), dim=1)
    vild, detpro = (
        embed_class_names(model.teacher, NAMES, templates)
        for templates in ('vild', 'detpro')
    )
    for key, classes in (
        ('pred_label', ensemble),
        ('pred_label_vild', vild),
        ('pred_label_detpro', detpro),
    ):
        assert [item[key] for item in found] == (
            embeddings.float() @ classes.T
        ).argmax(1).tolist()
    assert [item['label'] for item in found] == labels.tolist()


def test_crops_are_embedded(model: PromptLearner) -> None:
    crops = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    found = model(torch.zeros(2).long(), inputs=crops)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))
    assert len(model(torch.zeros(2).long(), inputs=crops, mode='predict')) == 2


def test_training_renews_the_predictions(model: PromptLearner) -> None:
    data = dict(
        labels=torch.zeros(1).long(), embeddings=batch(1)['embeddings']
    )
    model.eval()(**data, mode='predict')
    before = dict(model._class_embeddings)
    model.train()
    model.context.data += torch.randn_like(model.context)
    model.eval()(**data, mode='predict')
    after = model._class_embeddings
    assert not torch.equal(before['pred_label'], after['pred_label'])
    assert before['pred_label_vild'] is after['pred_label_vild']
    model.set_vocabulary(['cat'])
    assert len(model(**data, mode='predict')) == 1
    assert len(model._class_embeddings['pred_label_vild']) == 1


def test_copies_learn_alike(model: PromptLearner) -> None:
    twin = copy.deepcopy(model)
    for one in (model, twin):
        one.train_step(batch(), build_optim_wrapper(one, SGD))
    assert torch.equal(model.context, twin.context)


# --- refusals --------------------------------------------------------------


@pytest.mark.parametrize(
    'option',
    ['num_groups', 'context_length', 'temperature', 'text_batch_size'],
)
def test_wrong_options(tiny_clip_path: str, option: str) -> None:
    with pytest.raises(ValueError, match=f'{option} must be positive, got 0'):
        PromptLearner(tiny_clip_path, **{option: 0})


def test_other_regions_are_refused(model: PromptLearner) -> None:
    model.check_regions(model.clip, 64, 2)
    model.check_regions(None, 64, 2)
    with pytest.raises(ValueError, match="two CLIPs can't be compared"):
        model.check_regions(dict(name='a', sha256='b' * 64), 64, 2)
    with pytest.raises(ValueError, match='of the size 512, CLIP .* has 64'):
        model.check_regions(None, 512, 2)
    with pytest.raises(ValueError, match='set num_groups=5'):
        model.check_regions(None, 64, 5)
