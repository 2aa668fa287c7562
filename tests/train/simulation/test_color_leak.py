"""The leak test finds a leak that is there, and none that is not."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from train.simulation import color_leak
from train.simulation.color_leak import ColorTable, main, measure, scores
from train.simulation.color_leak_page import network_block, page

NAMES = ("road", "car", "tree", "bus")
COLORS = np.array([[10, 10, 10], [200, 30, 30], [30, 200, 30], [0, 0, 0]], dtype=np.uint8)


def dataset(monkeypatch, paint) -> SimpleNamespace:
    """Return a dataset whose images `paint` colors, given their labels and chance."""

    def images(source, root):
        rng = np.random.default_rng([len(source), *map(ord, source)])
        for number in range(8):
            labels = rng.choice(3, size=(24, 40), p=[0.6, 0.3, 0.1]).astype(np.uint8)
            labels[:2] = 255
            pixels = paint(labels, rng)
            image = SimpleNamespace(read=lambda pixels=pixels: pixels)
            yield f"{source}/{number // 2}", image, labels

    monkeypatch.setattr(color_leak, "labeled_images", images)
    made = SimpleNamespace(training_sequences=("a",), validation_sequences=("b",))
    return SimpleNamespace(
        name="toy",
        class_names=NAMES,
        simulate=lambda *_, **__: made,
        open=lambda *_, sequences, **__: sequences[0],
    )


def test_a_color_for_each_class_is_found(monkeypatch):
    spec = dataset(monkeypatch, lambda labels, _: COLORS[labels % 4])
    leak = measure(spec, Path("nowhere"), streets=2, test_streets=1, seed=0)
    assert leak.miou["color"] == pytest.approx(1.0)
    assert leak.accuracy["color"] == pytest.approx(1.0)
    # By hand: the majority class alone, and guesses by frequency.
    assert leak.accuracy["majority"] == pytest.approx(0.6, abs=0.02)
    assert leak.miou["majority"] == pytest.approx(0.2, abs=0.01)
    guess = [p * p / (2 * p - p * p) for p in (0.6, 0.3, 0.1)]
    assert leak.miou["chance"] == pytest.approx(np.mean(guess), abs=0.01)
    # Pixels without a class and classes that are not there count for nothing.
    assert leak.test_pixels == 8 * 22 * 40
    assert leak.classes == ["road", "car", "tree"]


def test_colors_that_say_nothing_give_chance(monkeypatch):
    spec = dataset(monkeypatch, lambda labels, rng: COLORS[rng.integers(0, 3, labels.shape)])
    leak = measure(spec, Path("nowhere"), streets=2, test_streets=1, seed=0)
    assert leak.miou["color"] == pytest.approx(leak.miou["majority"], abs=0.01)
    assert leak.iou["color"]["tree"] == 0.0


def test_a_color_that_an_object_keeps_is_found_within_its_street_alone(monkeypatch):
    def paint(labels, rng):
        # The two parts of the data have different colors for the same classes.
        swap = rng.bit_generator.seed_seq.entropy[-1] == ord("b")
        return COLORS[(labels % 4 + swap) % 3]

    spec = dataset(monkeypatch, paint)
    leak = measure(spec, Path("nowhere"), streets=2, test_streets=1, seed=0)
    assert leak.miou["color, same streets"] == pytest.approx(1.0)
    assert leak.miou["color"] < 0.2


def test_scores_are_those_of_the_definition():
    matrix = np.array([[3.0, 1.0, 0.0], [2.0, 4.0, 0.0], [0.0, 0.0, 0.0]])
    iou, accuracy = scores(matrix)
    np.testing.assert_allclose(iou[:2], [3 / 6, 4 / 7])
    assert np.isnan(iou[2])
    assert accuracy == 0.7


def test_rows_are_counted_apart_from_colors():
    table = ColorTable(2)
    labels = np.repeat(np.array([[0], [1]], dtype=np.uint8), 5, axis=1)
    table.add(np.zeros((2, 5, 3), dtype=np.uint8), labels)
    assert table.classes_of_rows().tolist() == [0, 1]
    assert table.by_row.tolist() == [[5, 0], [0, 5]]


def test_the_page_says_the_numbers_and_keeps_what_others_wrote(monkeypatch):
    spec = dataset(monkeypatch, lambda labels, _: COLORS[labels % 4])
    leak = measure(spec, Path("nowhere"), streets=2, test_streets=1, seed=3)
    text = page(leak, "x.jpg", "a network reaches 40")
    assert "| the pixel's color | 100.0 | 100.0 |" in text
    assert "--streets 2 --test-streets 1 --seed 3" in text
    assert network_block(text) == "a network reaches 40"
    assert network_block("nothing") == ""
    assert page(leak, "x.jpg", network_block(text)) == text


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--streets", "0"], "--streets must be at least 1"),
        (["--seed", "-1"], "--seed must be at least 0"),
        (["--dataset", "kitti-layout"], "without camera images"),
        (["--dataset", "none"], "unknown dataset"),
    ],
)
def test_mistakes_are_one_line(flags, said, tmp_path, capsys):
    assert main([*flags, "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
