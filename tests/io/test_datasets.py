"""evsim.io.datasets: digits, the idx data sets from folders made here or from real files, and data by formula."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from evsim.errors import DataError
from evsim.io import datasets
from evsim.io.datasets import load_dataset, parameters_of
from evsim.spikes import SpikeBatch

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def write_idx(path, array):
    """Write uint8 ``array`` as idx, gzipped if the name says so."""
    data = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def make(folder, spelling="{}", n_train=7, n_test=4, seed=0, rows=3):
    """The four files of a small data set; returns their arrays."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    arrays = []
    for n in (n_train, n_test):
        arrays += [random.integers(0, 256, (n, rows, 2), "u1"), random.integers(0, 10, n, "u1")]
    for name, array in zip(NAMES, arrays):
        write_idx(folder / spelling.format(name), array)
    return arrays


def test_digits_are_split_by_class_without_overlap_or_loss():
    from sklearn.datasets import load_digits

    data = load_dataset("digits")
    assert data.x_train.shape == (1437, 64)
    assert data.x_test.shape == (360, 64)
    assert data.grid == (8, 8, 1)
    share = np.bincount(data.y_test) / np.bincount(np.concatenate([data.y_train, data.y_test]))
    assert np.all(np.abs(share - 0.2) < 0.01)
    x, y = load_digits(return_X_y=True)
    whole = sorted((*row, label) for row, label in zip(x.tolist(), y.tolist()))
    parts = zip(np.vstack([data.x_train, data.x_test]) * 16, np.concatenate([data.y_train, data.y_test]))
    assert sorted((*row.tolist(), int(label)) for row, label in parts) == whole


def test_digits_come_in_one_fixed_order():
    data = load_dataset("digits")
    # First labels of the documented split, as scikit-learn 1.9 gives them: a change would alter every result.
    assert data.y_train[:10].tolist() == [3, 9, 1, 3, 1, 9, 4, 4, 2, 8]
    assert data.y_test[:10].tolist() == [7, 6, 3, 7, 7, 3, 2, 8, 9, 3]


def test_values_types_and_scale():
    data = load_dataset("digits")
    assert (data.x_train.dtype, data.y_train.dtype, data.n_classes) == (np.float32, np.int64, 10)
    assert (data.x_train.min(), data.x_train.max()) == (0.0, 1.0)
    assert set(data.y_train.tolist()) == set(range(10))


def test_a_part_is_the_first_samples_of_the_whole():
    whole, part = load_dataset("digits"), load_dataset("digits", train_size=100, test_size=30)
    assert np.array_equal(part.x_train, whole.x_train[:100])
    assert np.array_equal(part.y_train, whole.y_train[:100])
    assert np.array_equal(part.x_test, whole.x_test[:30])
    assert np.array_equal(part.y_test, whole.y_test[:30])


@pytest.mark.parametrize("sizes", [{"train_size": 1438}, {"test_size": 361}])
def test_more_samples_than_there_are_is_refused(sizes):
    with pytest.raises(DataError, match="at most that many"):
        load_dataset("digits", **sizes)


@pytest.mark.parametrize("size", [0, -1])
def test_a_size_below_one_is_refused(size):
    with pytest.raises(ValueError, match="train_size must be at least 1"):
        load_dataset("digits", train_size=size)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(DataError, match=r"'mnits'.*digits, dvs-gesture, fashion-mnist, mnist"):
        load_dataset("mnits")


@pytest.mark.parametrize("folder", [".", "mnist", "MNIST/raw"])
@pytest.mark.parametrize("spelling", ["{}", "{}.gz"])
@pytest.mark.parametrize("dot", ["-idx", ".idx"])
def test_every_usual_place_and_spelling_is_found(tmp_path, folder, spelling, dot):
    x_train, y_train, x_test, y_test = make(tmp_path / folder)
    for name in NAMES:
        array = dict(zip(NAMES, (x_train, y_train, x_test, y_test)))[name]
        (tmp_path / folder / name).unlink()
        write_idx(tmp_path / folder / spelling.format(name.replace("-idx", dot)), array)
    data = load_dataset("mnist", tmp_path)
    assert np.array_equal(data.x_train, x_train.reshape(7, 6).astype(np.float32) / np.float32(255))
    assert np.array_equal(data.x_test, x_test.reshape(4, 6).astype(np.float32) / np.float32(255))
    assert np.array_equal(data.y_train, y_train)
    assert np.array_equal(data.y_test, y_test)
    assert data.grid == (2, 3, 1)


def test_mnist_and_fashion_mnist_side_by_side_are_not_mixed_up(tmp_path):
    make(tmp_path)
    digits, clothes = make(tmp_path / "MNIST/raw", seed=1), make(tmp_path / "FashionMNIST/raw", seed=2)
    assert np.array_equal(load_dataset("mnist", str(tmp_path)).y_train, digits[1])
    assert np.array_equal(load_dataset("fashion-mnist", str(tmp_path)).y_train, clothes[1])


def test_no_folder_says_which_files_are_needed(tmp_path):
    for data_dir in (None, tmp_path / "none"):
        with pytest.raises(DataError) as caught:
            load_dataset("mnist", data_dir)
        assert all(name in str(caught.value) for name in NAMES)


def test_a_missing_file_is_named(tmp_path):
    make(tmp_path)
    (tmp_path / NAMES[3]).unlink()
    with pytest.raises(DataError, match=f"{tmp_path} lacks {NAMES[3]}"):
        load_dataset("mnist", tmp_path)


def test_images_and_labels_of_different_number_are_refused(tmp_path):
    make(tmp_path)
    write_idx(tmp_path / NAMES[1], np.zeros(6, "u1"))
    with pytest.raises(DataError, match="7 train samples, but labels of shape"):
        load_dataset("mnist", tmp_path)


def test_labels_out_of_range_are_refused(tmp_path):
    make(tmp_path)
    write_idx(tmp_path / NAMES[3], np.full(4, 10, "u1"))
    with pytest.raises(DataError, match=r"test labels must be integers 0 \.\.\. 9"):
        load_dataset("mnist", tmp_path)


def test_train_and_test_images_of_different_size_are_refused(tmp_path):
    make(tmp_path)
    write_idx(tmp_path / NAMES[2], np.zeros((4, 5, 5), "u1"))
    with pytest.raises(DataError, match="6 features, test samples 25"):
        load_dataset("mnist", tmp_path)


def test_a_new_data_set_is_one_line_in_the_registry(monkeypatch):
    source = datasets.Source(np.ones((2, 3)), np.array([0, 1]), np.zeros((1, 3)), np.array([1]), 2.0, 2)
    monkeypatch.setitem(datasets.LOADERS, "tiny", lambda request: source)
    data = load_dataset("tiny")
    assert (data.name, data.x_train[0, 0], data.n_classes) == ("tiny", 0.5, 2)


def test_a_loaders_arguments_with_a_default_are_the_data_sets_parameters(monkeypatch):
    def loader(request, value=1.0, scale=None):
        return datasets.Source(np.full((2, 3), value), np.array([0, 1]), np.zeros((1, 3)), np.array([1]), scale, 2)

    monkeypatch.setitem(datasets.LOADERS, "tiny", loader)
    assert parameters_of("tiny") == {"value": 1.0, "scale": None}
    assert load_dataset("tiny", value=0.25).x_train[0, 0] == 0.25
    assert load_dataset("tiny", value=0.25, scale=0.5).x_train[0, 0] == 0.5


def test_yin_yang_comes_in_its_three_published_parts_and_keeps_every_bit():
    data = load_dataset("yin-yang", train_size=100)
    assert (data.x_train.shape, data.x_validation.shape, data.x_test.shape) == ((100, 4), (1000, 4), (1000, 4))
    assert (data.n_classes, data.duration, data.targets) == (3, None, None)
    for seed, x, y in (
        (42, data.x_train, data.y_train),
        (41, data.x_validation, data.y_validation),
        (40, data.x_test, data.y_test),
    ):
        samples, classes = datasets.formula.yin_yang(100, seed)
        assert x.dtype == np.float64
        assert np.array_equal(x[:100], samples)
        assert np.array_equal(y[:100], classes)


SMALL = {
    "randman": ({"classes": 3, "samples_per_class": 11, "units": 4}, 3, 100.0),
    "temporal-xor": ({"samples_per_case": 11}, 4, 50.0),
    "spike-patterns": ({"classes": 3, "samples_per_class": 11, "duration": 60.0}, 3, 60.0),
}


@pytest.mark.parametrize("name", SMALL)
def test_of_spikes_by_formula_the_last_fifth_of_every_class_is_for_test(name):
    parameters, cases, duration = SMALL[name]
    data = load_dataset(name, **parameters)
    whole = getattr(datasets.formula, name.replace("-", "_"))(**parameters)
    assert (len(data.x_train), len(data.x_test)) == (9 * cases, 2 * cases)
    assert np.array_equal(np.append(data.x_train.times, data.x_test.times), whole.x.times)
    assert np.array_equal(np.append(data.x_train.neurons, data.x_test.neurons), whole.x.neurons)
    assert np.array_equal(np.append(data.y_train, data.y_test), whole.y)
    assert (data.features, data.duration, data.y_validation) == (whole.x.size, duration, None)
    assert data.n_classes == len(set(data.y_train)) == len(set(data.y_test))


def test_a_part_of_spikes_is_the_first_samples_and_holds_the_classes_evenly():
    whole, part = load_dataset("randman"), load_dataset("randman", train_size=50, test_size=20)
    assert isinstance(part.x_train, SpikeBatch)
    assert np.array_equal(part.x_train.times, whole.x_train.times[: 50 * 20])
    assert np.array_equal(part.x_test.times, whole.x_test.times[: 20 * 20])
    assert np.bincount(part.y_train).tolist() == [5] * 10


def test_two_samples_of_a_class_are_split_and_one_is_refused():
    data = load_dataset("spike-patterns", samples_per_class=2, jitter=0.0)
    assert np.array_equal(data.x_train.times, data.x_test.times)
    with pytest.raises(DataError, match="spike_patterns must make at least 2 samples of each case"):
        load_dataset("spike-patterns", samples_per_class=1)


def test_targets_are_one_train_for_each_class():
    data = load_dataset("spike-patterns", classes=4, outputs=2, target_spikes=5, duration=200.0)
    assert (len(data.targets), data.targets.size, data.n_classes) == (4, 2, 4)
    assert np.all(data.targets.counts() == 5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("randman", r"randman has no parameter colour, n\. It takes classes, units, dimension, .*jitter, seed\."),
        ("temporal-xor", r"temporal-xor has no parameter colour, n\. It takes samples_per_case, copies, window, gap"),
        ("digits", r"digits has no parameter colour, n\. It takes none\."),
        ("mnist", r"mnist has no parameter colour, n\. It takes none\."),
    ],
)
def test_unknown_parameters_are_refused_with_the_known_ones(name, message):
    with pytest.raises(DataError, match=message):
        load_dataset(name, colour=1, n=2, **({"seed": 1} if name == "randman" else {}))


def test_a_mistake_inside_a_loader_is_not_taken_for_an_unknown_parameter(monkeypatch):
    monkeypatch.setitem(datasets.LOADERS, "broken", lambda request, n=1: n + "1")
    with pytest.raises(TypeError, match="unsupported operand"):
        load_dataset("broken", n=2)


@pytest.mark.data
def test_yin_yang_is_the_published_arrays():
    root = Path(os.environ.get("EVSIM_DATA", "absent")) / "yin-yang"
    if not root.is_dir():
        pytest.skip("EVSIM_DATA does not name a folder that contains yin-yang/")
    data = load_dataset("yin-yang")
    for part in ("train", "validation", "test"):
        assert np.array_equal(getattr(data, f"x_{part}"), np.load(root / f"{part}_samples.npy"))
        assert np.array_equal(getattr(data, f"y_{part}"), np.load(root / f"{part}_labels.npy"))


@pytest.mark.data
def test_real_mnist_has_its_published_shape_and_label_counts():
    root = Path(os.environ.get("EVSIM_DATA", "absent"))
    if not (root / "mnist").is_dir():
        pytest.skip("EVSIM_DATA does not name a folder that contains mnist/")
    data = load_dataset("mnist", root)
    assert (data.x_train.shape, data.x_test.shape) == ((60000, 784), (10000, 784))
    assert np.bincount(data.y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(data.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert (data.x_train.min(), data.x_train.max()) == (0.0, 1.0)
    # The mean grey level that is commonly quoted for the training images.
    assert abs(float(data.x_train.mean(dtype=np.float64)) - 0.1307) < 1e-4
