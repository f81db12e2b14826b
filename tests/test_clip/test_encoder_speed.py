"""Choice of precision and batch size by measurement."""

import pytest
import torch

from ovd.clip import encoder_speed
from ovd.clip.encoder_speed import (
    measure_encoder,
    time_encoder,
    with_precision,
)
from ovd.clip.loading import load_clip


def test_fastest_comes_first(tiny_vit_path):
    clip = load_clip(tiny_vit_path)
    found = measure_encoder(clip, seconds=0.01, batch_sizes=(2, 4))
    assert {speed.precision for speed in found} <= {'fp32', 'bf16'}
    rates = [speed.crops_per_second for speed in found]
    assert rates == sorted(rates, reverse=True) and min(rates) > 0
    assert all(speed.cosine >= 0.999 for speed in found)
    assert clip.precision == 'fp32'
    assert clip.model.visual.proj.dtype == torch.float32


def _pretend(monkeypatch, rates):
    monkeypatch.setattr(
        encoder_speed,
        '_time',
        lambda clip, images, seconds: rates[clip.precision, len(images)],
    )


@pytest.mark.parametrize(
    'rates, expected',
    [
        ({('bf16', 2): 50, ('bf16', 4): 60, ('fp32', 2): 20}, ('bf16', 4)),
        (
            {('bf16', 2): 5, ('bf16', 4): 6, ('fp32', 2): 20, ('fp32', 4): 19},
            ('fp32', 2),
        ),
    ],
)
def test_choice(tiny_vit_path, monkeypatch, rates, expected):
    # What is much slower at the first size is not measured at the next
    _pretend(monkeypatch, rates)
    best = measure_encoder(load_clip(tiny_vit_path), batch_sizes=(2, 4))[0]
    assert (best.precision, best.batch_size) == expected


def test_what_is_not_exact_enough_is_not_chosen(tiny_vit_path, monkeypatch):
    _pretend(monkeypatch, {('bf16', 2): 50, ('fp32', 2): 20})
    monkeypatch.setattr(encoder_speed, 'MIN_COSINE', 1 - 1e-7)
    best = measure_encoder(load_clip(tiny_vit_path), batch_sizes=(2,))[0]
    assert best.precision == 'fp32'


def test_a_precision_that_was_asked_for_is_kept(tiny_vit_path):
    clip = load_clip(tiny_vit_path, precision='bf16')
    best = measure_encoder(
        clip, precisions=['bf16'], batch_sizes=(2,), seconds=0.01
    )[0]
    assert best.precision == 'bf16'
    assert time_encoder(clip, 3, seconds=0.01).batch_size == 3
    with pytest.raises(ValueError, match='is in bf16, not fp32'):
        with_precision(clip, 'fp32')
