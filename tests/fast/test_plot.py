"""Pictures show the pairs and edges they are given, say what they show, and refuse the rest."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

import fast
import reference
from fast import pairwise_distances, rips_persistence, rips_persistence_of_points
from fast.plot import (
    MAX_WIDTH,
    MIN_WIDTH,
    plot_barcode,
    plot_critical_edges,
    plot_curves,
    plot_diagram,
    plot_image,
    plot_matching,
)
from fast.plot_input import COLORS

ROOT = Path(__file__).resolve().parents[2]
SQUARE = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
DIAGONAL = 2**0.5
PLOTS = {"plot_diagram": plot_diagram, "plot_barcode": plot_barcode}


@pytest.fixture
def axes():
    return Figure().add_subplot()


@pytest.fixture
def axes_in_space():
    return Figure().add_subplot(projection="3d")


def lines(axes, label):
    """The data of what was drawn under a label, one array each."""
    return [line.get_xydata() for line in axes.get_lines() if line.get_label() == label]


def bars(axes, label):
    """The segments of a barcode under a label, (K, 2, 2)."""
    (found,) = (c for c in axes.collections if c.get_label() == label)
    return np.array(found.get_segments())


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_a_diagram_has_a_point_per_pair_and_an_endless_component_at_the_top(axes):
    assert plot_diagram(rips_persistence_of_points(SQUARE), axes) is axes
    assert legend(axes) == ["H0 (1 essential)", "H1"]
    (components,), (loops,) = lines(axes, "H0 (1 essential)"), lines(axes, "H1")
    (infinity,) = lines(axes, "_infinity")
    top = infinity[0, 1]
    np.testing.assert_allclose(components, [[0, 1], [0, 1], [0, 1], [0, top]])
    np.testing.assert_allclose(loops, [[1, DIAGONAL]])
    assert DIAGONAL < top < axes.get_ylim()[1]
    assert [text.get_text() for text in axes.texts] == ["$\\infty$"]
    assert axes.get_aspect() == 1  # equal
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("birth (diameter)", "death (diameter)")
    (diagonal,) = lines(axes, "_diagonal")
    assert (diagonal[:, 0] == diagonal[:, 1]).all()


def test_dimensions_differ_in_color_and_marker(axes):
    plot_diagram(rips_persistence_of_points(SQUARE), axes)
    drawn = [line for line in axes.get_lines() if line.get_label().startswith("H")]
    assert [line.get_color() for line in drawn] == list(COLORS[:2])
    assert len({line.get_marker() for line in drawn}) == 2


def test_loops_alone_have_no_line_at_infinity(axes):
    plot_diagram(rips_persistence_of_points(SQUARE)[1], axes)
    assert not lines(axes, "_infinity")
    assert legend(axes) == ["H1"]


def test_a_loop_that_is_alive_at_the_threshold_is_counted(axes):
    plot_diagram(rips_persistence_of_points(SQUARE, threshold=1.2), axes)
    assert legend(axes) == ["H0 (1 essential)", "H1 (1 essential)"]
    (loops,) = lines(axes, "H1 (1 essential)")
    assert loops.shape == (0, 2)
    assert lines(axes, "_infinity")


def test_arrays_take_the_dimension_of_their_place_and_may_have_infinite_deaths(axes):
    first, second = np.array([[0.0, 2.0], [0.0, np.inf]]), torch.tensor([[0.5, np.inf]])
    plot_diagram([first, second], axes)
    assert legend(axes) == ["H0 (1 essential)", "H1 (1 essential)"]
    top = lines(axes, "_infinity")[0][0, 1]
    np.testing.assert_allclose(lines(axes, "H0 (1 essential)")[0], [[0, 2], [0, top]])
    np.testing.assert_allclose(lines(axes, "H1 (1 essential)")[0], [[0.5, top]])


@pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)
def test_every_form_of_a_diagram_gives_the_same_picture(plot):
    rng = np.random.default_rng(0)
    matrices = [reference.pairwise_distances(rng.random((12, 2))) for _ in range(2)]
    batch = rips_persistence(torch.from_numpy(np.stack(matrices)))
    for cloud, matrix in enumerate(matrices):
        drawn = []
        for diagrams, chosen in (
            (batch, cloud),
            (tuple(batch), cloud - 2),
            (reference.rips_persistence(matrix), None),
        ):
            axes = plot(diagrams, Figure().add_subplot(), cloud=chosen)
            drawn.append(
                [
                    *(line.get_xydata() for line in axes.get_lines()),
                    *(np.array(each.get_segments()) for each in axes.collections),
                ]
            )
        for other in drawn[1:]:
            for got, want in zip(other, drawn[0], strict=True):
                np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)
def test_empty_diagrams_are_a_picture(plot, axes):
    plot(rips_persistence(torch.zeros(0, 0)), axes)
    assert legend(axes)
    assert np.isfinite([*axes.get_xlim(), *axes.get_ylim()]).all()


def test_a_barcode_has_a_bar_per_pair_the_longest_last_and_an_arrow_for_the_endless(axes):
    points = torch.tensor([[0.0, 0.0], [3.0, 0.0], [4.0, 0.0], [6.0, 0.0]])
    plot_barcode(rips_persistence_of_points(points), axes)
    found = bars(axes, "H0 (1 essential)")
    right = axes.get_xlim()[1]
    assert right > 3
    np.testing.assert_allclose(found[:, 0, 0], 0)
    np.testing.assert_allclose(found[:, 1, 0], [1, 2, 3, right])
    assert (np.diff(found[:, 0, 1]) == 1).all()
    np.testing.assert_array_equal(lines(axes, "_infinity"), [[[right, found[-1, 0, 1]]]])
    assert axes.get_xlabel() == "diameter"


def test_a_barcodes_loops_are_above_its_components_and_the_legend_in_that_order(axes):
    plot_barcode(rips_persistence_of_points(SQUARE), axes)
    components, loops = bars(axes, "H0 (1 essential)"), bars(axes, "H1")
    np.testing.assert_allclose(loops[:, :, 0], [[1, DIAGONAL]])
    assert loops[:, :, 1].min() > components[:, :, 1].max() + 1
    assert axes.get_ylim()[0] < components[:, :, 1].min()
    assert loops[:, :, 1].max() < axes.get_ylim()[1]
    assert legend(axes) == ["H1", "H0 (1 essential)"]


def test_critical_edges_run_between_the_vertices_in_two_styles(axes):
    diagrams = rips_persistence_of_points(SQUARE)
    plot_critical_edges(SQUARE, diagrams, axes)
    assert [each.get_label() for each in axes.collections] == [
        "_H0 death edges",
        "_H1 death edges",
        "_H1 birth edges",
    ]
    h0_death, h1_death, h1_birth = axes.collections
    for drawn, edges in (
        (h0_death, diagrams[0].death_edges),
        (h1_death, diagrams[1].death_edges),
        (h1_birth, diagrams[1].birth_edges),
    ):
        np.testing.assert_array_equal(drawn.get_segments(), SQUARE[edges[0]].numpy())
    for drawn, is_dashed in ((h0_death, False), (h1_death, False), (h1_birth, True)):
        assert all((dashes is not None) == is_dashed for _, dashes in drawn.get_linestyles())
    assert legend(axes) == ["H0 death edge", "H1 birth edge", "H1 death edge"]
    np.testing.assert_array_equal(lines(axes, "_points"), [SQUARE.numpy()])
    assert axes.get_aspect() == 1


def test_the_longest_lasting_pair_has_the_widest_edges(axes):
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [4.0, 0.0]])
    plot_critical_edges(points, rips_persistence_of_points(points)[0], axes)
    (drawn,) = axes.collections
    np.testing.assert_allclose(
        drawn.get_linewidths(), [MIN_WIDTH + (MAX_WIDTH - MIN_WIDTH) / 3, MAX_WIDTH]
    )


def test_a_cloud_in_space_is_drawn_in_space(axes_in_space):
    points = torch.nn.functional.pad(SQUARE, (0, 1), value=2.0)
    loops = rips_persistence_of_points(points)[1]
    plot_critical_edges(points, loops, axes_in_space)
    death, birth = axes_in_space.collections
    for drawn, edges in ((death, loops.death_edges), (birth, loops.birth_edges)):
        np.testing.assert_allclose(drawn._segments3d, points[edges[0]].numpy())
    assert axes_in_space.get_zlabel() == "z"


def test_one_cloud_of_a_batch_is_drawn(axes):
    clouds = torch.stack([SQUARE, 3 * SQUARE])
    plot_critical_edges(clouds[1], rips_persistence_of_points(clouds)[1], axes, cloud=1)
    np.testing.assert_allclose(np.ptp(axes.collections[0].get_segments()[0], axis=0), [3, 3])


def test_points_without_pairs_are_drawn_alone(axes):
    plot_critical_edges(SQUARE[:1], rips_persistence_of_points(SQUARE[:1]), axes)
    assert not axes.collections
    assert axes.get_legend() is None


def test_a_tensor_with_a_gradient_is_drawn(axes):
    points = SQUARE.clone().requires_grad_()
    diagrams = rips_persistence(pairwise_distances(points))
    plot_diagram([diagrams[0].pairs[0], diagrams[1]], axes)
    plot_critical_edges(points, diagrams, Figure().add_subplot())
    assert len(lines(axes, "H0")[0]) == 3


def test_without_axes_new_ones_are_pyplots(monkeypatch):
    from matplotlib import pyplot

    monkeypatch.setattr(pyplot, "figure", Figure)  # nobody's to close
    flat = plot_diagram(rips_persistence_of_points(SQUARE))
    assert flat.name == "rectilinear"
    points = torch.rand(5, 3, generator=torch.Generator().manual_seed(0))
    assert plot_critical_edges(points, rips_persistence_of_points(points)).name == "3d"


def test_a_figure_is_written_without_a_display(tmp_path):
    code = (
        "import numpy as np; from topodistill.plot import plot_barcode\n"
        "plot_barcode(np.array([[0.0, 1.0]])).figure.savefig('barcode.png')\n"
    )
    display = {"DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND"}
    environment = {name: value for name, value in os.environ.items() if name not in display}
    environment["PYTHONPATH"] = str(ROOT)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "barcode.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("function", "call"),
    [
        ("plot_diagram", lambda: plot_diagram(np.zeros((0, 2)))),
        ("plot_barcode", lambda: plot_barcode(np.zeros((0, 2)))),
        ("plot_matching", lambda: plot_matching(np.zeros((0, 2)), np.zeros((0, 2)))),
        (
            "plot_critical_edges",
            lambda: plot_critical_edges(SQUARE, rips_persistence_of_points(SQUARE)),
        ),
    ],
)
def test_without_matplotlib_one_line_names_the_extra(function, call, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as if it were not installed
    with pytest.raises(ImportError) as caught:
        call()
    assert str(caught.value) == (
        f"{function} needs matplotlib, which is not installed: pip install 'topodistill[plot]'"
    )


BATCH = rips_persistence_of_points(torch.stack([SQUARE, SQUARE]))
LOOPS = rips_persistence_of_points(SQUARE)[1]


@pytest.mark.parametrize(
    ("diagrams", "cloud", "said"),
    [
        pytest.param(BATCH, None, r"diagrams\[0\] has 2 clouds; say which", id="which-cloud"),
        pytest.param(BATCH, 2, r"cloud is 2, but diagrams\[0\] has 2 cloud", id="no-such-cloud"),
        pytest.param([], None, "diagrams is a list without entries; pass a diagram", id="none"),
        pytest.param("H1", None, "diagrams is a str; pass a diagram", id="text"),
        pytest.param({0: LOOPS}, None, "diagrams is a dict; pass a diagram", id="dict"),
        pytest.param(3, None, "diagrams is a int; pass a diagram", id="number"),
        pytest.param([LOOPS, 3], None, r"diagrams\[1\] is a int; pass a Batched", id="not-one"),
        pytest.param([LOOPS, LOOPS], None, "dimension 1 twice; pass one", id="twice"),
        pytest.param(np.ones(3), None, r"diagrams has shape \(3,\); pass \(birth", id="shape"),
        pytest.param(
            np.array([[0.0, 1.0], [2.0, 1.0]]), None, r"the pair \(2, 1\); births", id="dies-early"
        ),
        pytest.param(np.array([[0.0, np.nan]]), None, r"the pair \(0, nan\)", id="nan"),
        pytest.param(np.array([[-np.inf, 0.0]]), None, r"the pair \(-inf, 0\)", id="born-never"),
    ],
)
@pytest.mark.parametrize("name", PLOTS)
def test_what_is_no_diagram_is_refused(name, diagrams, cloud, said, axes):
    with pytest.raises(ValueError, match=f"^{name}: .*{said}"):
        PLOTS[name](diagrams, axes, cloud=cloud)
    assert not axes.get_lines()


@pytest.mark.parametrize(
    ("points", "diagrams", "said"),
    [
        pytest.param(SQUARE[0], LOOPS, r"points has shape \(2,\); pass one cloud", id="one-point"),
        pytest.param(torch.zeros(4, 5), LOOPS, r"points has shape \(4, 5\)", id="five-dimensions"),
        pytest.param(SQUARE[:2], LOOPS, "points has 2 rows, but .* vertex 2; pass", id="too-few"),
        pytest.param(SQUARE, np.array([[0.0, 1.0]]), "without critical edges", id="no-edges"),
        pytest.param(torch.zeros(4, 3), LOOPS, 'projection "rectilinear" and .* 3', id="flat-axes"),
    ],
)
def test_edges_that_cannot_be_drawn_are_refused(points, diagrams, said, axes):
    with pytest.raises(ValueError, match=f"^plot_critical_edges: .*{said}"):
        plot_critical_edges(points, diagrams, axes)
    assert not axes.collections


def test_a_flat_cloud_is_refused_in_space(axes_in_space):
    with pytest.raises(ValueError, match='projection "3d" and points has 2 coordinates'):
        plot_critical_edges(SQUARE, LOOPS, axes_in_space)


# ---- legends, images and curves -----------------------------------------------------------------

PAIRS_OF_TWO = torch.tensor([[1.0, 2.0], [1.5, 4.0]], dtype=torch.float64)
CURVES = torch.tensor([[0.0, 1.0, 2.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.0]])
NAMES = ["one line", "another line", "and a third with a longer name"]


def circle_of_points():
    angles = torch.linspace(0, 6, 40)
    return torch.stack([angles.cos(), angles.sin()], dim=1)


@pytest.mark.parametrize("inches", [(6.4, 4.8), (3.0, 3.0), (2.2, 3.5)], ids=str)
@pytest.mark.parametrize(
    "draw",
    [
        lambda axes: plot_diagram(rips_persistence_of_points(circle_of_points()), axes),
        lambda axes: plot_barcode(rips_persistence_of_points(circle_of_points()), axes),
        lambda axes: plot_critical_edges(
            circle_of_points(), rips_persistence_of_points(circle_of_points()), axes
        ),
        lambda axes: plot_matching(PAIRS_OF_TWO, PAIRS_OF_TWO + 0.1, ax=axes),
        lambda axes: plot_curves(CURVES, torch.arange(3.0), axes),
        lambda axes: plot_curves(CURVES, torch.arange(3.0), axes, names=NAMES),
    ],
    ids=["diagram", "barcode", "edges", "matching", "landscapes", "names"],
)
def test_a_legend_is_inside_the_axes_and_hides_nothing(draw, inches):
    axes = draw(Figure(figsize=inches).add_subplot())
    axes.figure.canvas.draw()
    inner, outer = axes.get_legend().get_window_extent(), axes.get_window_extent()
    assert outer.x0 <= inner.x0 < inner.x1 <= outer.x1
    assert outer.y0 <= inner.y0 < inner.y1 <= outer.y1
    vertices = [line.get_xydata() for line in axes.get_lines() if line.get_label()[0] != "_"]
    vertices += [segment for each in axes.collections for segment in each.get_segments()]
    assert vertices
    for x, y in axes.transData.transform(np.concatenate(vertices)):
        assert not (inner.x0 < x < inner.x1 and inner.y0 < y < inner.y1)


def test_an_image_is_drawn_at_its_scale_with_a_bar_inside(axes):
    scale = fast.fit_persistence_image(
        PAIRS_OF_TWO, weight="linear", resolution=(5, 3), birth_margin=1
    )
    image = fast.persistence_image(PAIRS_OF_TWO, scale)
    assert plot_image(image, axes, scale=scale) is axes
    (drawn,) = axes.images
    np.testing.assert_array_equal(drawn.get_array(), image)
    left, right, bottom, top = drawn.get_extent()
    step = (scale.birth_range[1] - scale.birth_range[0]) / 4
    assert (left + step / 2, right - step / 2) == pytest.approx(scale.birth_range)
    step = (scale.persistence_range[1] - scale.persistence_range[0]) / 2
    assert (bottom + step / 2, top - step / 2) == pytest.approx(scale.persistence_range)
    axes.figure.canvas.draw()
    (bar,) = axes.child_axes
    inner, outer = bar.get_tightbbox(), axes.get_window_extent()
    assert outer.x0 <= inner.x0 < inner.x1 <= outer.x1
    assert axes.transData.transform((left, top))[1] <= inner.y0 < inner.y1 <= outer.y1
    assert drawn.origin == "lower"
    of_pixels = plot_image(np.asarray(image), Figure().add_subplot())
    assert of_pixels.images[0].get_extent() == [-0.5, 4.5, -0.5, 2.5]
    components = fast.ImageScale(
        bandwidth=1.0, birth_range=(0.0, 0.0), persistence_range=(0.0, 1.0), resolution=(1, 4)
    )
    column = plot_image(torch.ones(4, 1), Figure().add_subplot(), scale=components)
    assert column.images[0].get_extent()[:2] == [-0.5, 0.5]


def test_curves_are_drawn_over_their_grid(axes):
    grid = torch.arange(3.0)
    plot_curves(CURVES, grid, axes)
    assert legend(axes) == ["landscape 1", "landscape 2", "landscape 3"]
    for line, want in zip(axes.get_lines(), CURVES, strict=True):
        np.testing.assert_array_equal(line.get_xydata(), torch.stack([grid, want], dim=1))
    one = plot_curves(CURVES[0], grid, Figure().add_subplot(), label="classes alive")
    assert one.get_legend() is None
    assert one.get_ylabel() == "classes alive"


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda axes: plot_image(CURVES[None], axes), r"image has shape \(1, 3, 3\); pass one"),
        (lambda axes: plot_image(CURVES / 0, axes), r"image has shape \(3, 3\); pass one image"),
        (
            lambda axes: plot_image(
                CURVES[:2],
                axes,
                scale=fast.ImageScale(
                    bandwidth=1.0, birth_range=(0.0, 1.0), persistence_range=(0.0, 1.0)
                ),
            ),
            r"image has shape \(2, 3\); scale has the resolution \(20, 20\)",
        ),
        (lambda axes: plot_curves(CURVES, torch.arange(4.0), axes), r"\(3, 3\) and grid \(4,\)"),
        (lambda axes: plot_curves(CURVES / 0, torch.arange(3.0), axes), "pass the finite curves"),
        (
            lambda axes: plot_curves(CURVES, torch.arange(3.0), axes, names=["a"]),
            "names has 1 entries; pass 3",
        ),
    ],
)
def test_images_and_curves_that_cannot_be_drawn_are_refused(draw, said, axes):
    with pytest.raises(ValueError, match=said):
        draw(axes)
    assert not axes.get_lines()
    assert not axes.images
