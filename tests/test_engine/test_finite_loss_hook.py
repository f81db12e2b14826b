"""A loss that is not finite stops the run and keeps the batch's names."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmdet.structures import DetDataSample

from ovd.engine.hooks import FiniteLossHook

BATCH = dict(
    data_samples=[
        DetDataSample(metainfo=dict(img_path=f'images/{i}.jpg'))
        for i in (7, 8)
    ]
)


def runner(work_dir: Path, **kwargs) -> SimpleNamespace:
    return SimpleNamespace(
        work_dir=str(work_dir),
        iter=41,
        rank=1,
        optim_wrapper=SimpleNamespace(**kwargs),
    )


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_stops_and_names_the_images(tmp_path: Path, value: float) -> None:
    losses = dict(loss=torch.tensor(1.0), loss_cls=torch.tensor(value))
    with pytest.raises(ValueError, match=f'iteration 42: loss_cls is {value}'):
        FiniteLossHook().after_train_iter(runner(tmp_path), 41, BATCH, losses)
    noted = json.loads(
        (tmp_path / 'bad_batch_iter_42_rank_1.json').read_text()
    )
    assert noted['images'] == ['images/7.jpg', 'images/8.jpg']
    assert noted['losses'] == dict(loss=1.0, loss_cls=str(value))


def test_all_processes_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those whose own losses are finite: one may save."""

    def all_reduce(anyone: torch.Tensor, *args: object) -> None:
        anyone.fill_(1)

    monkeypatch.setattr('torch.distributed.all_reduce', all_reduce)
    hook = FiniteLossHook()
    hook._group = object()
    with pytest.raises(ValueError, match='a loss of another process'):
        hook.after_train_iter(
            runner(tmp_path), 41, BATCH, dict(loss=torch.tensor(1.0))
        )


def test_finite_losses_go_on(tmp_path: Path) -> None:
    FiniteLossHook().after_train_iter(
        runner(tmp_path),
        41,
        BATCH,
        dict(loss=torch.tensor(1.0), acc=torch.tensor([3.0, float('nan')])),
    )
    assert not list(tmp_path.iterdir())


def test_a_loss_scaler_may_search(tmp_path: Path) -> None:
    hook, bad = FiniteLossHook(patience=3), dict(loss=torch.tensor(torch.inf))
    scaled = runner(tmp_path, loss_scaler=object())
    hook.after_train_iter(scaled, 0, BATCH, bad)
    hook.after_train_iter(scaled, 1, BATCH, bad)
    hook.after_train_iter(scaled, 2, BATCH, dict(loss=torch.tensor(1.0)))
    hook.after_train_iter(scaled, 3, BATCH, bad)
    hook.after_train_iter(scaled, 4, BATCH, bad)
    with pytest.raises(ValueError, match='loss is inf'):
        hook.after_train_iter(scaled, 5, BATCH, bad)
