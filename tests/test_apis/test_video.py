"""A video appears when it is whole, or not at all."""

import numpy as np
import pytest

from ovd.apis import video
from ovd.apis.video import atomic_video, is_video, open_video

FRAME = np.full((48, 64, 3), 90, np.uint8)


def test_frames_come_back(tmp_path):
    path = tmp_path / 'new/a.mp4'
    with atomic_video(path, 12.5) as write:
        for blue in (0, 100, 200):
            write(FRAME + np.array([0, 0, blue // 2], np.uint8))
        assert not path.exists()
    assert [item.name for item in path.parent.iterdir()] == ['a.mp4']
    reader = open_video(path)
    assert is_video(path) and video.frame_rate(reader) == 12.5
    blues = [frame[..., 0].mean() for frame in reader]  # BGR
    assert np.allclose(blues, [90, 140, 190], atol=6)


def test_nothing_is_left_of_half_a_video(tmp_path):
    (tmp_path / 'a.mp4').write_text('an older one')
    with pytest.raises(KeyError), atomic_video(tmp_path / 'a.mp4', 5) as write:
        write(FRAME)
        raise KeyError
    assert (tmp_path / 'a.mp4').read_text() == 'an older one'
    with atomic_video(tmp_path / 'b.mp4', 5):
        pass  # no frame
    assert [item.name for item in tmp_path.iterdir()] == ['a.mp4']


def test_frames_that_got_lost_are_an_error(tmp_path):
    """OpenCV drops a frame of another size, and says nothing."""
    with (
        pytest.raises(OSError, match='only 1 of 2 frames got into'),
        atomic_video(tmp_path / 'a.mp4', 5) as write,
    ):
        write(FRAME)
        write(FRAME[:20])
    assert not list(tmp_path.iterdir())


def test_what_is_no_video(tmp_path):
    (tmp_path / 'a.mp4').write_text('text')
    with pytest.raises(ValueError, match='a.mp4 is damaged or no video'):
        open_video(tmp_path / 'a.mp4')
    assert not is_video(tmp_path) and not is_video(tmp_path / 'b.mp4')
