"""evsim.io.events: recordings in the published binary formats, written here, and views of them."""

import math
import os
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evsim.errors import DataError
from evsim.io import datasets
from evsim.io.datasets import load_dataset, parameters_of
from evsim.io.events import EVENT_SETS, EventSet, Recordings, View
from helpers.files import atis

SENSOR = (6, 4, 2)


def random_events(rng, n, sensor=(34, 34, 2), last=330_000):
    width, height, _ = sensor
    x, y = rng.integers(0, width, n), rng.integers(0, height, n)
    return x, y, np.sort(rng.integers(0, last, n)), rng.integers(0, 2, n)


@pytest.fixture
def nmnist(tmp_path):
    """A folder of N-MNIST: five training and two test recordings; returns it and the events by part and index."""
    pytest.importorskip("tonic")
    rng = np.random.default_rng(5)
    events = {}
    for part, digits in (("Train", (7, 0, 3, 7, 9)), ("Test", (2, 1))):
        for k, digit in enumerate(digits, 1):
            folder = tmp_path / "NMNIST" / part / str(digit)
            folder.mkdir(parents=True, exist_ok=True)
            events[part, k] = random_events(rng, 40 + k)
            (folder / f"{k:05}.bin").write_bytes(atis(*events[part, k]))
    return tmp_path, events


def test_recordings_come_in_the_order_of_mnist_with_labels_and_exact_times(nmnist):
    folder, events = nmnist
    data = load_dataset("nmnist", folder)
    assert data.y_train.tolist() == [7, 0, 3, 7, 9]
    assert data.y_test.tolist() == [2, 1]
    assert (data.features, data.n_classes, data.duration, data.grid) == (34 * 34 * 2, 10, 340.0, (34, 34, 2))
    for k, train in enumerate(data.x_train, 1):
        x, y, t, p = events["Train", k]
        inputs = (p * 34 + y) * 34 + x
        order = np.lexsort((inputs, t))
        assert train.times.tolist() == [float(f"{stamp}e-3") for stamp in t[order]]
        assert np.array_equal(train.neurons, inputs[order])


@pytest.mark.parametrize("inside", [False, True])
def test_the_folder_itself_will_do_too(nmnist, inside):
    folder = nmnist[0] / "NMNIST" if inside else nmnist[0]
    assert len(load_dataset("nmnist", str(folder)).x_train) == 5


def test_only_the_recordings_asked_for_are_read(nmnist):
    folder, _ = nmnist
    whole = load_dataset("nmnist", folder)
    for file in (folder / "NMNIST" / "Train").glob("*/0000[345].bin"):
        file.write_bytes(b"damaged")
    part = load_dataset("nmnist", folder, train_size=2, test_size=1)
    assert np.array_equal(part.x_train.times, whole.x_train.take([0, 1]).times)
    assert (part.y_train.tolist(), part.y_test.tolist()) == ([7, 0], [2])
    with pytest.raises(DataError, match=r"00003\.bin is damaged"):
        load_dataset("nmnist", folder, train_size=3)


def test_samples_are_read_in_any_order_and_repeated(nmnist):
    recordings = Recordings(EVENT_SETS["nmnist"], nmnist[0], "train")
    whole, labels = recordings.read(range(5))
    some, their_labels = recordings.read([4, 1, 4])
    assert np.array_equal(some.times, whole.take([4, 1, 4]).times)
    assert np.array_equal(their_labels, labels[[4, 1, 4]])
    none, no_labels = recordings.read([])
    assert (len(none), none.size, no_labels.size) == (0, 2312, 0)


def test_more_recordings_than_there_are_is_refused(nmnist):
    with pytest.raises(DataError, match="train_size is 6, but nmnist has 5 train samples"):
        load_dataset("nmnist", nmnist[0], train_size=6)


def test_an_empty_recording_is_a_silent_sample(nmnist):
    folder, _ = nmnist
    (folder / "NMNIST" / "Train" / "0" / "00002.bin").write_bytes(b"")
    data = load_dataset("nmnist", folder)
    assert [len(train) > 0 for train in data.x_train] == [True, False, True, True, True]


def test_a_recording_that_leaves_nothing_in_view_is_a_silent_sample(nmnist):
    data = load_dataset("nmnist", nmnist[0], start=331.0)
    assert (data.x_train.times.size, len(data.x_train), data.duration) == (0, 5, 9.0)


def test_equal_events_are_all_kept_and_ties_are_ordered_by_input(nmnist):
    folder, _ = nmnist
    file = folder / "NMNIST" / "Train" / "0" / "00002.bin"
    file.write_bytes(atis([5, 2, 5, 9], [1, 1, 1, 0], [100, 100, 100, 50], [0, 0, 0, 1]))
    train = load_dataset("nmnist", folder).x_train.sample(1)
    assert train.times.tolist() == [0.05, 0.1, 0.1, 0.1]
    assert train.neurons.tolist() == [34 * 34 + 9, 34 + 2, 34 + 5, 34 + 5]
    merged = load_dataset("nmnist", folder, polarity="merge", refractory=1e-3).x_train.sample(1)
    assert merged.neurons.tolist() == [9, 34 + 2, 34 + 5]


@pytest.mark.parametrize(
    ("bytes_", "message"),
    [
        (atis([1], [2], [3], [1]) + b"\0", r"6 bytes are not a multiple of 5"),
        (atis([1], [2], [3], [1])[:-1], r"4 bytes are not a multiple of 5"),
        (atis([1, 34], [2, 0], [3, 4], [1, 0]), r"x reaches from 1 to 34, allowed are 0 \.\.\. 33"),
        (atis([1, 3], [2, 99], [3, 4], [1, 0]), r"y reaches from 2 to 99, allowed are 0 \.\.\. 33"),
    ],
)
def test_a_damaged_file_is_named(nmnist, bytes_, message):
    folder, _ = nmnist
    (folder / "NMNIST" / "Test" / "1" / "00002.bin").write_bytes(bytes_)
    with pytest.raises(DataError, match=r"Test/1/00002\.bin is damaged or of another kind: .*" + message):
        load_dataset("nmnist", folder)


def test_missing_files_are_named_and_an_archive_is_to_be_unpacked(tmp_path):
    pytest.importorskip("tonic")
    with pytest.raises(DataError, match=r"NMNIST is read from files\. Needed: .*DIR/NMNIST/Train/\*/\*\.bin"):
        load_dataset("nmnist")
    with pytest.raises(DataError, match=r"there is no .*NMNIST/Train.*downloads nothing\.$"):
        load_dataset("nmnist", tmp_path)
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as packed:
        packed.writestr("Train/5/00001.bin", atis([1], [2], [3], [1]))
    with pytest.raises(DataError, match=r"Unpack train\.zip there"):
        load_dataset("nmnist", tmp_path)


def test_without_tonic_the_error_says_what_to_install(nmnist, monkeypatch):
    for module in [name for name in sys.modules if name.split(".")[0] == "tonic"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "tonic", None)
    with pytest.raises(DataError, match=r"cannot be imported.*: pip install tonic"):
        load_dataset("nmnist", nmnist[0])


def test_nothing_is_downloaded(nmnist, monkeypatch):
    import tonic

    def refuse(*_):
        raise AssertionError("a download was tried")

    monkeypatch.setattr(tonic.datasets.NMNIST, "download", refuse)
    assert len(load_dataset("nmnist", nmnist[0]).x_train) == 5


def test_a_views_fields_are_the_data_sets_parameters():
    assert parameters_of("nmnist") == {
        "align": False, "start": 0.0, "stop": None, "crop": None, "downsample": 1, "polarity": "both", "bin": None,
        "refractory": 0.0,
    }  # fmt: skip
    with pytest.raises(DataError, match=r"shd has no parameter pixels\. It takes align, start,"):
        load_dataset("shd", pixels=3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"start": -1.0}, "start must be"),
        ({"start": 5.0, "stop": 5.0}, r"stop must be finite and after start = 5\.0"),
        ({"stop": math.nan}, "stop must be"),
        ({"crop": (0, 0, 3)}, r"crop must be \(left"),
        ({"downsample": 0}, "downsample must be"),
        ({"downsample": 1.5}, "downsample must be"),
        ({"polarity": "red"}, "polarity must be one of both, merge, on, off"),
        ({"bin": 0.0}, "bin must be"),
        ({"refractory": -1.0}, "refractory must be"),
    ],
)
def test_a_view_out_of_range_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        View(**values)


@pytest.mark.parametrize("crop", [(0, 0, 7, 4), (2, 0, 2, 4), (-1, 0, 3, 3), (0, 0, 6, 5)])
def test_a_crop_that_is_not_within_the_sensor_is_refused(crop):
    with pytest.raises(ValueError, match="within 6 x 4 pixels"):
        View(crop=crop).grid(SENSOR)


def slow_view(view, events, sensor, duration):
    """What ``View.apply`` gives, event by event in plain words."""
    left, top, right, bottom = view.crop or (0, 0, *sensor[:2])
    width, height, polarities = view.grid(sensor)
    stop = duration if view.stop is None else view.stop
    zero = min((t for _, _, t, _ in events), default=0) if view.align else 0
    out = []
    for x, y, stamp, p in events:
        t = stamp - zero
        if not view.start * 1000 <= t < stop * 1000 or not (left <= x < right and top <= y < bottom):
            continue
        if view.polarity in ("on", "off") and p != (view.polarity == "on"):
            continue
        channel = p if polarities == 2 else 0
        pixel = ((y - top) // view.downsample) * width + (x - left) // view.downsample
        time = (t - view.start * 1000) / 1000
        if view.bin is not None:
            begin = math.floor((t - view.start * 1000) / (view.bin * 1000)) * view.bin
            time = (begin + min(begin + view.bin, stop - view.start)) / 2
        out.append((time, channel * width * height + pixel))
    kept, last = [], {}
    for time, unit in sorted(out):
        if view.refractory > 0 and time < last.get(unit, -math.inf) + view.refractory:
            continue
        last[unit] = time
        kept.append((time, unit))
    return kept


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 12_000), st.integers(0, 1)), max_size=40),
    st.builds(
        View,
        align=st.booleans(),
        start=st.sampled_from([0.0, 2.0]),
        stop=st.sampled_from([None, 9.0]),
        crop=st.sampled_from([None, (1, 0, 6, 3), (2, 1, 3, 2)]),
        downsample=st.integers(1, 3),
        polarity=st.sampled_from(["both", "merge", "on", "off"]),
        bin=st.sampled_from([None, 0.5, 4.0]),
        refractory=st.sampled_from([0.0, 0.25, 3.0, math.inf]),
    ),
)
@example([(2, 1, 11_999, 0), (2, 1, 12_000, 0)], View())  # the end itself is out
@example([(2, 1, 2_000, 0), (2, 1, 5_000, 0)], View(refractory=3.0))  # just no longer refractory
def test_a_view_is_what_its_plain_words_say(events, view):
    columns = np.array(events, np.int64).reshape(-1, 4).T
    times, inputs = view.apply(*columns, SENSOR, 12.0)
    assert list(zip(times.tolist(), inputs.tolist())) == slow_view(view, events, SENSOR, 12.0)
    assert times.size == 0 or (times.min() >= 0 and times.max() < (view.stop or 12.0) - view.start)
    assert inputs.size == 0 or inputs.max() < math.prod(view.grid(SENSOR))


def test_one_event_an_input_and_bin_is_a_refractory_time_of_half_a_bin():
    rng = np.random.default_rng(3)
    events = random_events(rng, 400, SENSOR, 12_000)
    times, inputs = View(bin=0.6, refractory=0.3).apply(*events, SENSOR, 12.0)
    x, y, t, p = events
    wanted = set(zip(((t / 1000) // 0.6).tolist(), ((p * 4 + y) * 6 + x).tolist()))
    assert len(times) == len(wanted) == len(set(zip(times.tolist(), inputs.tolist()))) < 400
    assert {(time // 0.6, unit) for time, unit in zip(times.tolist(), inputs.tolist())} == wanted


def write_hsd(path, trains, labels):
    """The HDF5 layout of SHD and SSC: times in seconds as float16, units uint16, of variable length."""
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, column, kind in (("times", 0, np.float16), ("units", 1, np.uint16)):
            rows = file.create_dataset(f"spikes/{name}", (len(trains),), h5py.vlen_dtype(kind))
            for k, train in enumerate(trains):
                rows[k] = np.asarray(train[column], kind)
        file["labels"] = np.asarray(labels, np.uint16)
        file["extra/speaker"] = np.zeros(len(trains), np.uint16)
        file["extra/keys"] = np.array([b"zero", b"one"])


def test_shd_is_read_in_the_order_of_the_file(tmp_path):
    pytest.importorskip("tonic")
    trains = [([0.25, 0.5], [699, 3]), ([], []), ([0.125], [7])]
    write_hsd(tmp_path / "SHD" / "shd_train.h5", trains, [19, 0, 4])
    write_hsd(tmp_path / "SHD" / "shd_test.h5", trains[:1], [1])
    data = load_dataset("shd", tmp_path)
    assert (data.features, data.n_classes, data.y_train.tolist(), data.y_test.tolist()) == (700, 20, [19, 0, 4], [1])
    assert data.x_train.times.tolist() == [250.0, 500.0, 125.0]
    assert data.x_train.neurons.tolist() == [699, 3, 7]
    assert data.x_train.offsets.tolist() == [0, 2, 2, 3]


def test_shd_is_read_in_blocks_where_it_is_read_in_order(tmp_path, monkeypatch):
    """h5py takes ten times as long to read each recording by itself."""
    pytest.importorskip("tonic")
    import h5py

    n = 200
    trains = [(np.arange(k % 5) / 8.0, np.arange(k % 5) + k) for k in range(n)]
    for part in ("train", "test"):
        write_hsd(tmp_path / "SHD" / f"shd_{part}.h5", trains, np.arange(n) % 20)
    reads, read = [], h5py.Dataset.__getitem__
    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda *args: reads.append(args) or read(*args))
    recordings = Recordings(EVENT_SETS["shd"], tmp_path, "train")
    in_order, _ = recordings.read(range(n))
    assert len(reads) < n // 5
    mixed = np.random.default_rng(0).permutation(n)
    shuffled, labels = recordings.read(mixed)
    assert labels.tolist() == (mixed % 20).tolist()
    for batch, which in ((in_order, range(n)), (shuffled, mixed.tolist())):
        for k, sample in enumerate(which):
            assert batch.sample(k).neurons.tolist() == [j + sample for j in range(sample % 5)]


def test_a_time_that_is_no_number_is_damage(tmp_path):
    pytest.importorskip("tonic")
    for part in ("train", "test"):
        write_hsd(tmp_path / "SHD" / f"shd_{part}.h5", [([np.nan], [3])], [2])
    with pytest.raises(DataError, match=r"recording 0 of SHD is damaged"), np.errstate(invalid="ignore"):
        load_dataset("shd", tmp_path)


def test_a_file_that_is_no_hdf5_is_damage(tmp_path):
    pytest.importorskip("tonic")
    for part in ("train", "test"):
        (tmp_path / "SHD").mkdir(exist_ok=True)
        (tmp_path / "SHD" / f"shd_{part}.h5").write_bytes(b"not HDF5")
    with pytest.raises(DataError, match=r"shd_test\.h5 is damaged or no HDF5 file"):
        load_dataset("shd", tmp_path)


def test_ssc_comes_with_its_validation_part(tmp_path):
    pytest.importorskip("tonic")
    for part, label in (("train", 34), ("valid", 5), ("test", 6)):
        write_hsd(tmp_path / "SSC" / f"ssc_{part}.h5", [([0.5], [label])], [label])
    data = load_dataset("ssc", tmp_path)
    assert [y.tolist() for y in (data.y_train, data.y_validation, data.y_test)] == [[34], [5], [6]]
    assert data.x_validation.neurons.tolist() == [5]


def write_gestures(folder, columns, names=("user02_led/3", "user02_led/10", "user01_lab/0")):
    """The layout of DVS Gesture in tonic: arrays (n, 4) of x, y, p and t in ms, named after user, light and class."""
    for part in ("Train", "Test"):
        for name in names:
            file = folder / "DVSGesture" / f"ibmGesture{part}" / f"{name}.npy"
            file.parent.mkdir(parents=True, exist_ok=True)
            x, y, t, p = columns
            np.save(file, np.stack([x, y, p, np.asarray(t) / 1000.0], 1))


def test_gestures_are_sorted_by_person_and_class(tmp_path):
    pytest.importorskip("tonic")
    write_gestures(tmp_path, ([127, 0], [0, 127], [1_000, 1_499_000], [1, 0]))
    data = load_dataset("dvs-gesture", tmp_path)
    assert data.y_train.tolist() == data.y_test.tolist() == [0, 3, 10]
    assert (data.features, data.n_classes, data.duration) == (128 * 128 * 2, 11, 1500.0)
    assert data.x_train.sample(0).times.tolist() == [1.0, 1499.0]
    assert data.x_train.sample(0).neurons.tolist() == [128 * 128 + 127, 127 * 128]


def test_a_label_out_of_range_is_damage(tmp_path):
    pytest.importorskip("tonic")
    write_gestures(tmp_path, ([1], [1], [1], [1]), ["user01_led/11"])
    with pytest.raises(DataError, match=r"11\.npy is damaged .*label is 11, allowed are 0 \.\.\. 10"):
        load_dataset("dvs-gesture", tmp_path)


def test_another_set_of_tonic_takes_a_few_lines(tmp_path, monkeypatch):
    """The example of docs/events.md: N-Caltech101, two of its classes, in the same 40-bit format."""
    pytest.importorskip("tonic")
    for name, stamp in (("airplanes", 5), ("zebra", 7)):
        folder = tmp_path / "NCALTECH101" / "Caltech101" / name
        folder.mkdir(parents=True)
        (folder / "image_0001.bin").write_bytes(atis([1], [2], [stamp], [1]))
    names = ["airplanes", "zebra"]
    files = ("Caltech101/*/*.bin", {})
    kind = EventSet("NCALTECH101", (240, 180, 2), 2, 310.0, {"train": files, "test": files}, label=names.index)
    monkeypatch.setitem(datasets.LOADERS, "n-caltech101", datasets.from_events(kind))
    data = load_dataset("n-caltech101", tmp_path)
    assert (sorted(data.y_train.tolist()), sorted(data.x_train.times.tolist())) == ([0, 1], [0.005, 0.007])


@pytest.mark.data
def test_the_real_recordings_of_nmnist(tmp_path):
    pytest.importorskip("tonic")
    root = Path(os.environ.get("EVSIM_DATA", "absent")) / "nmnist-small"
    if not root.is_dir():
        pytest.skip("EVSIM_DATA does not name a folder that contains nmnist-small/")
    for packed in root.glob("*.zip"):
        with zipfile.ZipFile(packed) as archive:
            archive.extractall(tmp_path / "NMNIST")
    data = load_dataset("nmnist", tmp_path)
    # Counts and the first recording as the data's description has them.
    assert np.bincount(data.y_train).tolist() == [97, 116, 99, 93, 105, 92, 94, 117, 87, 100]
    assert np.bincount(data.y_test).tolist() == [8, 14, 8, 11, 14, 7, 10, 15, 2, 11]
    assert data.x_train.offsets[1] == 4681
    events = np.append(np.diff(data.x_train.offsets), np.diff(data.x_test.offsets))
    assert (events.min(), events.max(), events.sum()) == (1069, 7152, 4_518_827)
    raw = np.frombuffer((tmp_path / "NMNIST/Train/5/00001.bin").read_bytes(), np.uint8).reshape(-1, 5).astype(int)
    stamps = ((raw[:, 2] & 127) << 16) | (raw[:, 3] << 8) | raw[:, 4]
    assert np.array_equal(data.x_train.sample(0).times, stamps / 1000)
    if (root.parent / "mnist").is_dir():
        assert np.array_equal(data.y_train, load_dataset("mnist", root.parent, train_size=1000).y_train)


@pytest.mark.data
def test_real_recordings_of_a_large_sensor_in_the_layout_of_gestures(tmp_path):
    pytest.importorskip("tonic")
    root = Path(os.environ.get("EVSIM_DATA", "absent")) / "dvs128-slayer10"
    if not root.is_dir():
        pytest.skip("EVSIM_DATA does not name a folder that contains dvs128-slayer10/")
    with zipfile.ZipFile(next(root.glob("*.zip"))) as archive:
        first = next(name for name in archive.namelist() if Path(name).name == "1.bs2")
        raw = np.frombuffer(archive.read(first), np.uint8).reshape(-1, 5).astype(int)
    t = ((raw[:, 2] & 127) << 16) | (raw[:, 3] << 8) | raw[:, 4]
    write_gestures(tmp_path, (raw[:, 0], raw[:, 1], t, raw[:, 2] >> 7), ["user01_led/0"])
    data = load_dataset("dvs-gesture", tmp_path, downsample=4)
    assert (data.x_train.times.size, data.features) == (63471, 32 * 32 * 2)
    # The layout holds ms as float64; tonic turns them into whole us.
    assert np.all(np.abs(data.x_train.times - np.sort(t) / 1000) <= 1.0000001e-3)


def test_a_set_without_order_keeps_the_stored_one(nmnist):
    kind = replace(EVENT_SETS["nmnist"], order=None)
    _, labels = Recordings(kind, nmnist[0], "train").read(range(5))
    assert labels.tolist() == [0, 3, 7, 7, 9]


# ------------------------------------------------------------------------------------------- events of one's own


def of(*values):
    return np.array(values)


@pytest.mark.parametrize("view", [View(), View(polarity="off"), View(polarity="on"), View(polarity="merge")])
@pytest.mark.parametrize(
    ("events", "message"),
    [
        ((of(1, 1), of(1, 1), of(5, 6), of(-1, 1)), r"polarities must be 0 .* from -1 to 1\. Map them"),
        ((of(1, 1), of(1, 1), of(5, 6), of(1, 2)), "from 1 to 2"),
        ((of(1, 1), of(1, 1), of(5, 6), of(0.5, 1.0)), "p must hold whole numbers"),
        ((of(1, 9), of(1, 1), of(5, 6), of(1, 1)), r"x reaches from 1 to 9, allowed are 0 \.\.\. 5"),
        ((of(1, 1), of(1, -1), of(5, 6), of(1, 1)), "y reaches from -1 to 1"),
        ((of(1.5, 1.0), of(1, 1), of(5, 6), of(1, 1)), "x must hold whole numbers"),
        ((of(1, 1), of(1, 1), of(-5, 6), of(1, 1)), "time stamp below 0, -5"),
        ((of(1, 1), of(1, 1), of(np.nan, 6.0), of(1, 1)), "no finite number"),
        ((of(1, 1), of(1, 1), of(np.inf, 6.0), of(1, 1)), "no finite number"),
        ((of(1, 1), of(1, 1), of("5", "6"), of(1, 1)), "must be numbers"),
        ((of(1, 1), of(1), of(5, 6), of(1, 1)), "equally long"),
        ((of([1, 1]), of([1, 1]), of([5, 6]), of([1, 1])), "1-D"),
    ],
)
def test_events_of_ones_own_are_checked_as_those_of_files(view, events, message):
    with pytest.raises(ValueError, match=message):
        view.apply(*events, SENSOR, 1.0)


@pytest.mark.parametrize(
    ("sensor", "duration", "ticks"),
    [((6, 4), 1.0, 1.0), ((6, 4, 0), 1.0, 1.0), (SENSOR, math.nan, 1.0), (SENSOR, 1.0, 0.0)],
)
def test_a_sensor_or_a_duration_that_is_none_is_refused(sensor, duration, ticks):
    with pytest.raises(ValueError, match=r"sensor|duration|ticks"):
        View().apply(of(1), of(1), of(5), of(1), sensor, duration, ticks)


def test_a_sensor_without_polarities_takes_any_p():
    times, inputs = View().apply(of(1, 2), of(0, 0), of(5, 6), of(-1, 7), (6, 4, 1), 1.0)
    assert times.tolist() == [0.005, 0.006] and inputs.tolist() == [1, 2]


@pytest.mark.parametrize(("unit", "ticks"), [(1.0, 1000.0), (1e3, 1.0), (1e6, 1e-3)])
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_stamps_with_fractions_keep_them(unit, ticks, kind):
    stamps = (of(828.0, 1557.25, 3983.5) / unit).astype(kind)
    times, _ = View().apply(of(1, 2, 3), of(0, 0, 0), stamps, of(0, 1, 0), SENSOR, 12.0, ticks)
    np.testing.assert_array_equal(times, stamps.astype(np.float64) / ticks)


def test_stamps_of_any_integer_type_are_exact():
    for kind in (np.uint16, np.int32, np.uint32, np.uint64):
        stamps = of(3, 60_000).astype(kind)
        times, _ = View(start=0.001).apply(of(1, 2), of(0, 0), stamps, of(False, True), SENSOR, 99.0)
        assert times.tolist() == [0.002, 59.999]


def with_transform(folder, transform, **changes):
    kind = EVENT_SETS["nmnist"]
    parts = {"test": ("Test/*/*.bin", {"train": False, "transform": transform})}
    return Recordings(replace(kind, parts=parts, **changes), folder, "test")


def signed(events):
    events = events.copy()
    events["p"] = 2 * events["p"] - 1
    return events


@pytest.mark.parametrize(
    ("transform", "changes", "message"),
    [
        (signed, {}, r"\d\.bin: polarities must be 0 .* Map them"),
        (lambda events: events["no such field"], {}, r"transform given for NMNIST failed on .*\d\.bin: ValueError"),
        (None, {"label": ["a"].index}, r"label function of NMNIST failed on .*\d\.bin.*not in list"),
    ],
)
def test_what_is_no_damage_is_not_called_damage(nmnist, transform, changes, message):
    with pytest.raises(DataError, match=message) as error:
        with_transform(nmnist[0], transform, **changes).read([0])
    assert "damaged" not in str(error.value) and "download" not in str(error.value)


def test_a_missing_package_of_a_reader_is_named(nmnist, monkeypatch):
    import tonic.datasets

    def needs_it(self, index):
        raise ModuleNotFoundError("No module named 'aedat'", name="aedat")

    monkeypatch.setattr(tonic.datasets.NMNIST, "__getitem__", needs_it)
    with pytest.raises(DataError, match=r"package aedat, which cannot be imported: pip install aedat\."):
        Recordings(EVENT_SETS["nmnist"], nmnist[0], "test").read([0])


def test_times_of_a_cochlea_are_as_exact_as_they_are_stored_and_its_file_is_closed(tmp_path):
    h5py = pytest.importorskip("h5py")
    pytest.importorskip("tonic")
    stored = np.float16([0.1, 0.1, 0.3])
    for part in ("train", "test"):
        write_hsd(tmp_path / "SHD" / f"shd_{part}.h5", [(stored, [9, 3, 7])], [2])
    train = load_dataset("shd", tmp_path).x_train.sample(0)
    assert train.times.tolist() == (stored.astype(float) * 1000.0).tolist() and train.neurons.tolist() == [3, 9, 7]
    with h5py.File(tmp_path / "SHD" / "shd_train.h5", "r+"):
        pass  # refused while another handle has it open for reading


@pytest.mark.parametrize("trick", ["external link", "soft link", "external storage", "virtual", "twice", "announced"])
def test_a_cochlea_file_does_not_make_its_reader_open_other_files(tmp_path, trick):
    """Nor fill the memory: a few kilobytes that announce gigabytes."""
    import h5py

    pytest.importorskip("tonic")
    for part in ("train", "test"):
        write_hsd(tmp_path / "SHD" / f"shd_{part}.h5", [([0.25], [3])], [1])
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["labels"] = np.zeros(1, np.uint16)
    (tmp_path / "secret").write_bytes(b"\1\0")
    with h5py.File(tmp_path / "SHD" / "shd_train.h5", "a") as file:
        del file["labels"]
        if trick == "external link":
            file["labels"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/labels")
        elif trick == "soft link":
            file["labels"] = h5py.SoftLink("/extra/speaker")
        elif trick == "external storage":
            file.create_dataset("labels", (1,), np.uint16, external=[(str(tmp_path / "secret"), 0, 2)])
        elif trick == "virtual":
            layout = h5py.VirtualLayout((1,), np.uint16)
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "labels", (1,))
            file.create_virtual_dataset("labels", layout)
        elif trick == "twice":
            file["labels"] = file["extra/speaker"]
        else:
            file.create_dataset("labels", (10**10,), np.uint16, compression="gzip")
    with pytest.raises(DataError, match=r"shd_train\.h5"):
        load_dataset("shd", tmp_path)
