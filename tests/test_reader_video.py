"""Videos: which frames, at what rate, of whole, short, variable-rate and truncated files, synthetic and real."""

from fractions import Fraction

import av
import numpy as np
import pytest

from climb_hf.errors import CorruptFileError, OptionError
from climb_hf.readers import video
from climb_hf.readers.video import check_frames, frame_indices, probe_video, read_clip, read_frames


def write_video(path, *, codec="libx264", n_frames=60, rate=25, times=None, options=None, container_options=None):
    """Write a synthetic video whose grey level tells the frame: frame k is 20 + 3 k (up to 75 frames)."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height = 64, 48
        stream.pix_fmt = {"mjpeg": "yuvj420p", "gif": "rgb8"}.get(codec, "yuv420p")
        stream.bit_rate = 4_000_000
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if not n_frames:
            container.start_encoding()
        for index in range(n_frames):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 + 3 * (index % 75), np.uint8), "rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[index], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def indices_of(frames):
    return [round((float(frame.mean()) - 20) / 3) for frame in frames]


CONTAINERS = {
    "a.mp4": ("libx264", {"g": "10"}),
    "one_keyframe.mp4": ("libx264", {"g": "1000"}),
    "open_gop.mp4": ("libx264", {"g": "12", "x264-params": "open-gop=1:bframes=3"}),
    "b.avi": ("mpeg4", {"bf": "2", "g": "12"}),
    "c.avi": ("mjpeg", {}),
    "d.mov": ("mpeg4", {"g": "5"}),
    "e.wmv": ("wmv2", {"g": "9"}),
    "f.mkv": ("libx264", {"g": "10"}),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_frames_are_the_right_ones(tmp_path, name):
    codec, options = CONTAINERS[name]
    path = write_video(tmp_path / name, codec=codec, options=options)
    for n_out in (1, 2, 4, 16, 59, 60, 100):
        frames, rate = read_frames(path, n_out)
        expected = frame_indices(60, n_out)
        assert indices_of(frames) == expected
        assert all(frame.shape == (48, 64, 3) and frame.dtype == np.uint8 for frame in frames)
        assert rate == pytest.approx(25 if n_out == 1 else 25 * (len(expected) - 1) / 59, rel=1e-6)
    assert indices_of(read_frames(path, "all")[0]) == list(range(60))
    assert read_frames(path, "all")[1] == pytest.approx(25)


def test_gif_with_its_own_delays(tmp_path):
    path = write_video(tmp_path / "a.gif", codec="gif", n_frames=30, rate=10)
    frames, rate = read_frames(path, 4)
    assert len(frames) == 4
    assert rate == pytest.approx(10 * 3 / 29)
    assert np.all(np.diff([frame.mean() for frame in frames]) > 0)


def test_frame_indices():
    assert frame_indices(10, 4) == [0, 3, 6, 9]
    assert frame_indices(10, 1) == [4]
    assert frame_indices(7, 16) == list(range(7))
    assert frame_indices(0, 4) == []
    for n_total in range(1, 60):
        for n_out in range(2, n_total + 1):
            chosen = frame_indices(n_total, n_out)
            exact = np.linspace(0, n_total - 1, n_out)
            assert len(set(chosen)) == n_out
            assert (chosen[0], chosen[-1]) == (0, n_total - 1)
            assert np.abs(np.array(chosen) - exact).max() <= 0.5 + 1e-9
    with pytest.raises(OptionError, match="at least 1 or 'all'"):
        frame_indices(4, 0)


def test_variable_frame_rate(tmp_path):
    gaps = np.where(np.arange(60) % 3 == 0, 100, 20)
    times = np.concatenate([[0], np.cumsum(gaps)[:-1]]).tolist()
    path = write_video(tmp_path / "a.mkv", times=times, rate=1000, options={"g": "10"})
    frames, rate = read_frames(path, 7)
    assert indices_of(frames) == frame_indices(60, 7)
    assert rate == pytest.approx(6 / (times[-1] / 1000), rel=1e-3)


def test_parts_of_a_video(tmp_path):
    path = write_video(tmp_path / "a.mp4", options={"g": "10"})
    seen = []
    for part in range(6):  # ten frames each, nothing lost at the borders
        frames, rate = read_frames(path, "all", start_seconds=part * 0.4, end_seconds=(part + 1) * 0.4)
        seen += indices_of(frames)
        assert rate == pytest.approx(25)
    assert seen == list(range(60))
    assert indices_of(read_frames(path, 3, start_seconds=1.0)[0]) == [25, 42, 59]
    with pytest.raises(OptionError, match="no frame between"):
        read_frames(path, start_seconds=10)


def test_seeking_skips_most_of_a_long_video(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", n_frames=300, options={"g": "10", "bf": "0"})
    decoded = counted(monkeypatch)
    assert indices_of(read_frames(path, 3)[0]) == [0, 150 % 75, 299 % 75]
    assert len(decoded) < 30
    decoded.clear()
    read_frames(path, "all")
    assert len(decoded) == 300


def counted(monkeypatch):
    """Collect the times of all frames that are decoded from here on."""
    decoded, pictures = [], video._pictures
    monkeypatch.setattr(
        video, "_pictures", lambda *args, **kw: (decoded.append(frame.pts) or frame for frame in pictures(*args, **kw))
    )
    return decoded


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_clip_tells_which_frames_it_holds(tmp_path, name):
    codec, options = CONTAINERS[name]
    path = write_video(tmp_path / name, codec=codec, options=options)
    for indices in ([0], [59], [3, 4], [57, 11, 30, 11], list(range(0, 60, 7))):
        clip = read_clip(path, indices=indices)
        assert clip.indices == indices_of(clip.frames) == sorted(set(indices))
        assert clip.seconds == pytest.approx([index / 25 for index in clip.indices], abs=1e-3)
    clip = read_clip(path, 5, start_seconds=0.8, end_seconds=2.0)
    assert clip.indices == indices_of(clip.frames) == [20 + index for index in frame_indices(30, 5)]
    assert clip.fps == pytest.approx(25 * 4 / 29, rel=1e-6)
    for wrong in ([60], [-1], []):
        with pytest.raises(OptionError, match="has frames 0 to 59"):
            read_clip(path, indices=wrong)


def test_a_part_decodes_neither_what_is_before_nor_what_is_after(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", n_frames=300, options={"g": "10", "bf": "0"})
    decoded = counted(monkeypatch)
    clip = read_clip(path, "all", start_seconds=4.2, end_seconds=4.6)
    assert clip.indices == list(range(105, 115))
    assert len(decoded) <= 16  # from the keyframe at 100 to frame 114


def test_frames_that_nothing_refers_to_are_passed_over(tmp_path, monkeypatch):
    path = write_video(
        tmp_path / "a.mp4", n_frames=75, options={"g": "1000", "bf": "3", "x264-params": "b-pyramid=none"}
    )
    everything = read_clip(path, "all")
    decoded = counted(monkeypatch)
    for index in (70, 71, 72, 73):  # B frames and others
        decoded.clear()
        clip = read_clip(path, indices=[0, index])
        np.testing.assert_array_equal(clip.frames[1], everything.frames[index])
    line = video._timeline(path)
    decoded.clear()
    pictures = dict(video._walk_by_seeking(path, line, line.times[[74]]))
    assert [int(time) for time in pictures] == [int(line.times[74])]
    assert len(decoded) < 45  # of 75


def test_variable_rate_in_parts(tmp_path):
    times = [0, 100, 120, 140, 1000, 1020, 2000, 2500]
    path = write_video(tmp_path / "a.mkv", n_frames=8, times=times, rate=1000)
    clip = read_clip(path, "all", start_seconds=0.1, end_seconds=1.01)
    assert clip.indices == indices_of(clip.frames) == [1, 2, 3, 4]
    assert clip.seconds == pytest.approx([0.1, 0.12, 0.14, 1.0], abs=2e-3)
    assert clip.fps == pytest.approx(3 / 0.9, rel=5e-3)
    with pytest.raises(OptionError, match="no frame between"):
        read_clip(path, start_seconds=1.1, end_seconds=1.9)


@pytest.mark.parametrize("name", ["a.mp4", "c.avi"])
def test_a_video_without_frames(tmp_path, name):
    codec, options = CONTAINERS[name]
    path = write_video(tmp_path / name, codec=codec, options=options, n_frames=0)
    for function in (read_clip, check_frames):
        with pytest.raises(CorruptFileError, match=f"{name}` holds no"):
            function(path)
    single = write_video(tmp_path / f"one_{name}", codec=codec, options=options, n_frames=1)
    clip = read_clip(single)
    assert (clip.indices, clip.fps) == ([0], 25.0)


def test_a_seek_that_overshoots_starts_over(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", options={"g": "10"})
    line = video._timeline(path)
    late = video._Timeline(line.times, line.times[[0, 35]], line.time_base, True, False)
    opened = video._opened

    class Late:
        def __init__(self, container):
            self.container = container

        def __getattr__(self, name):
            return getattr(self.container, name)

        def seek(self, offset, stream):
            self.container.seek(int(line.times[50]), stream=stream)

    @video.contextlib.contextmanager
    def opened_late(path):
        with opened(path) as (container, stream):
            yield Late(container), stream

    monkeypatch.setattr(video, "_opened", opened_late)
    frames = video._decode(path, late, line.times[[5, 40]], line.times[[5, 40]])
    assert indices_of(frames[key] for key in sorted(frames)) == [5, 40]


def test_probe(tmp_path):
    path = write_video(tmp_path / "a.mp4")
    info = probe_video(path)
    assert (info.width, info.height, info.fps, info.n_frames, info.codec) == (64, 48, 25.0, 60, "h264")
    assert info.duration_seconds == pytest.approx(2.4)
    assert (info.is_exact, info.is_truncated) == (False, False)
    assert probe_video(path, count_frames=True).is_exact
    film = write_video(tmp_path / "a.wmv", codec="wmv2")
    assert probe_video(film).n_frames == 60  # estimated: the container stores no count
    assert probe_video(film, count_frames=True).n_frames == 60


@pytest.mark.parametrize("name", ["a.mp4", "b.avi", "c.avi", "e.wmv"])
def test_truncated_videos_give_what_they_have(tmp_path, name, caplog):
    codec, options = CONTAINERS[name]
    front = {"movflags": "faststart"} if name == "a.mp4" else None
    path = write_video(tmp_path / name, codec=codec, options=options, container_options=front)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.7)])
    info = probe_video(path, count_frames=True)
    assert info.is_truncated
    assert probe_video(path).is_truncated
    frames, rate = read_frames(path, 8)
    assert "truncated" in caplog.text or "can be decoded" in caplog.text
    shown = indices_of(frames)
    assert len(frames) == 8
    assert shown == sorted(shown)
    assert shown[0] == 0
    assert 5 < shown[-1] < 59
    assert rate == pytest.approx(25 * 7 / shown[-1], rel=0.05)  # AVI: the last times are the decoder's guess
    with pytest.raises(CorruptFileError, match=name):
        check_frames(path)


def test_nothing_usable_is_an_error(tmp_path):
    path = write_video(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes()[:600])
    text = tmp_path / "b.mp4"
    text.write_text("#EXTM3U\n#EXTINF:1,\na.mp4\n")  # a play list is not a video
    for broken in (path, text, tmp_path / "missing.mp4"):
        for function in (read_frames, probe_video, check_frames):
            with pytest.raises(CorruptFileError, match=broken.name):
                function(broken)


def test_packets_without_a_picture_are_passed_over(tmp_path, caplog):
    path = write_video(tmp_path / "a.avi", codec="mjpeg", n_frames=40)
    data = bytearray(path.read_bytes())
    start = data.index(b"movi")
    for index in range(40):
        start = data.index(b"00dc", start + 1)
        if index in (0, 20, 39):
            size = int.from_bytes(data[start + 4 : start + 8], "little")
            data[start + 8 : start + 8 + size] = bytes(size)
    path.write_bytes(data)
    frames, _ = read_frames(path, 8)
    usable = [index for index in range(40) if index not in (0, 20, 39)]
    assert indices_of(frames) == [usable[i] for i in frame_indices(37, 8)]
    assert "37 of 40 frames can be decoded" in caplog.text
    clip = read_clip(path, "all", start_seconds=0.72, end_seconds=0.88)  # 18, 19, (20), 21
    assert clip.indices == indices_of(clip.frames) == [18, 19, 21]
    assert read_clip(path, indices=[1, 38]).indices == [1, 38]
    with pytest.raises(CorruptFileError, match=r"not all of the frames \[1, 20\]"):
        read_clip(path, indices=[1, 20])
    with pytest.raises(CorruptFileError, match="3 packets or frames are damaged"):
        check_frames(path)


def test_real_clips(real_dir):
    folder = real_dir / "covid_blues" / "lus_videos"
    for name, count in (("patient_5_R3", 7), ("patient_3_R2", 8), ("patient_61_R2", 26)):
        frames, rate = read_frames(folder / f"{name}.mp4")
        assert len(frames) == min(16, count)
        assert frames[0].shape == (350, 350, 3)
        assert probe_video(folder / f"{name}.mp4", count_frames=True).n_frames == count
        assert rate == pytest.approx(25 * (len(frames) - 1) / (count - 1))
    with av.open(str(folder / "patient_3_L1.mp4")) as container:
        every = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    frames, _ = read_frames(folder / "patient_3_L1.mp4", 5)
    np.testing.assert_array_equal(frames, [every[index] for index in frame_indices(len(every), 5)])


def test_real_frame_counts(real_dir):
    paths = sorted((real_dir / "covid_blues" / "lus_videos").glob("*.mp4"))
    counts = [probe_video(path, count_frames=True).n_frames for path in paths]
    assert (len(counts), sum(counts), min(counts)) == (111, 8793, 7)
    assert [probe_video(path).n_frames for path in paths] == counts


@pytest.mark.slow
def test_every_real_frame_decodes(real_dir):
    paths = sorted((real_dir / "covid_blues" / "lus_videos").glob("*.mp4"))
    assert sum(len(read_frames(path, "all")[0]) for path in paths) == 8793
