"""Deliberately broken implementations: each must turn the named test red.

A case changes one piece of one file of the reference, puts the functions of the changed file
wherever the reference uses them, and runs a test of this folder, which must then fail.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FunctionType

import pytest
from hypothesis import Phase, settings

import reference
from tests.reference import test_chamfer as chamfer
from tests.reference import test_critical_edges as critical_edges
from tests.reference import test_distances as distances
from tests.reference import test_distillation as distillation
from tests.reference import test_normalisation as normalisation
from tests.reference import test_persistence_curves as curves
from tests.reference import test_persistence_image as images
from tests.reference import test_persistence_summaries as summaries
from tests.reference import test_rips as rips
from tests.reference import test_rips_oracles as oracles
from tests.reference import test_rips_properties as properties
from tests.reference import test_routing as routing
from tests.reference import test_saliency as saliency
from tests.reference import test_sampling as sampling
from tests.reference import test_signature_loss as signature
from tests.reference import test_sliced_wasserstein as sliced
from tests.reference import test_transport as transport
from tests.reference import test_wasserstein as wasserstein
from tests.reference import test_wasserstein_distance as exact

# By file, and by the test that must notice: the text that is there, the text instead.
BROKEN = {
    "rips.py": {
        oracles.test_diagrams_of_tied_matrices_equal_ripser: [
            ("np.lexsort((j, i, distances[i, j]))", "np.lexsort((j, i, -distances[i, j]))"),
            ("rows.sort()", "rows.sort(); rows += rows[:1]"),
        ],
        properties.test_components_die_along_a_minimum_spanning_tree: [
            ("np.lexsort((j, i, distances[i, j]))", "np.lexsort((j, i, -distances[i, j]))"),
        ],
        oracles.test_critical_edges_equal_gudhi_on_the_ranks_of_the_edges: [
            ("np.lexsort((j, i, distances[i, j]))", "np.lexsort((-j, -i, distances[i, j]))"),
            ("rows.sort()", "rows.sort(reverse=True)"),
        ],
        oracles.test_every_pair_follows_from_the_ranks_of_corners: [
            ("len(simplex), simplex", "len(simplex), [-vertex for vertex in simplex]"),
        ],
        partial(oracles.test_diagrams_of_clouds_equal_gudhi_to_the_last_bit, "normal", 20): [
            (
                "[row[2] for row in rows]",
                "[row[2] for row in rows[::-1]]",
            ),
        ],
        oracles.test_diagrams_of_tied_matrices_equal_gudhi: [
            ("rows.sort()", "rows.sort(); del rows[:1]"),
        ],
        properties.test_every_birth_and_death_is_the_length_of_its_edge: [
            ("death_edges=integers(4, 2)", "death_edges=integers(4, 2) - 1"),
            ("birth_edges=integers(3, 2)", "birth_edges=integers(4, 2)"),
        ],
        rips.test_two_points_at_distance_3_merge_at_3: [
            ("float(distances[death_edge])\n", "float(distances[death_edge]) / 2\n"),
        ],
        rips.test_zero_persistence_is_left_out_in_every_dimension: [
            ("if died > born:", "if died >= born:"),
        ],
        properties.test_nothing_lives_past_the_enclosing_radius: [
            ("distances <= threshold", "distances < threshold"),
        ],
        rips.test_infinite_distances_are_never_joined: [
            ("np.isfinite(distances) & (distances <= threshold)", "distances <= threshold"),
        ],
        oracles.test_betti_numbers_equal_ranks_of_boundary_matrices: [
            ("if len(simplex) < max_size:", "if len(simplex) < max_size - 1:"),
        ],
        properties.test_one_component_never_dies_and_nothing_else: [
            ("num_essential=sum(", "num_essential=0 * sum("),
        ],
        partial(rips.test_the_limit_counts_the_simplices_that_are_needed, 1, 25): [
            ("limit, None), None)", "limit + 1, None), None)"),
        ],
    },
    "distances.py": {
        distances.test_distances_equal_scipy: [("np.sqrt(squares)", "squares")],
        distances.test_near_points_far_from_the_origin_keep_their_distance: [
            (
                "np.subtract.outer(channel, channel) ** 2",
                "np.abs(np.add.outer(channel**2, channel**2) - 2 * np.outer(channel, channel))",
            ),
        ],
        partial(
            distances.test_the_enclosing_radius_is_that_of_the_best_center,
            [[0.0, 1.0, 4.0], [1.0, 0.0, 3.0], [4.0, 3.0, 0.0]],
            3.0,
        ): [
            (".max(axis=1).min()", ".max(axis=1).max()"),
        ],
    },
    "routing.py": {
        routing.test_routing_to_distances_is_the_derivative: [
            ("[i, j] += grad_births[k]", "[i, j] += 0 * grad_births[k]"),
            ("longest - distances[edge] <= tie_tolerance]", "True]"),
            ("return grad_distances + grad_distances.T", "return grad_distances"),
        ],
        routing.test_euler_identity_for_total_persistence: [
            ("grad_distances[i, j] += grad_births[k]", "grad_distances[i, j] -= grad_births[k]"),
            ("np.argwhere(np.triu(grad_distances, k=1))", "np.argwhere(grad_distances)"),
        ],
        partial(routing.test_pairs_on_one_edge_add_up, 0): [
            ("grad_distances[edge] += grad_deaths[k]", "grad_distances[edge] = grad_deaths[k]"),
        ],
        routing.test_a_tie_within_a_lasting_death_triangle_averages_its_two_sides: [
            ("grad_deaths[k] / len(tied)", "grad_deaths[k]"),
        ],
        routing.test_equal_longest_edges_of_the_death_triangle_share_alike: [
            ("distances[edge] <= tie_tolerance]", "distances[edge] <= tie_tolerance][:1]"),
        ],
        partial(routing.test_the_tie_tolerance_is_inclusive, 1.0, {(0, 2): 3.0, (0, 3): 3.0}): [
            ("[edge] <= tie_tolerance", "[edge] < max(tie_tolerance, 1e-9)"),
        ],
        routing.test_routing_to_points_is_the_derivative: [
            ("difference = points[i] - points[j]", "difference = points[j] - points[i]"),
            ("/ (distance + eps)", "/ (distance**2 + eps)"),
        ],
        routing.test_gradients_of_points_sum_to_zero_and_leave_uncritical_points_alone: [
            ("grad_points[j] -= pull", "grad_points[j] -= 0 * pull"),
        ],
    },
    "chamfer.py": {
        chamfer.test_the_value_is_that_of_algorithm_2: [
            (
                "    cost = cost_scale * squared_distances(teacher, student)\n    recall",
                "    cost = 0.5 * cost_scale * squared_distances(teacher, student)\n    recall",
            ),
            (
                "[cost, squared_distance_to_diagonal(pairs)]",
                "[cost, np.full(len(pairs), 1e9)]",
            ),
            ("(pairs[:, 1] - pairs[:, 0]) ** 2 / 2", "(pairs[:, 1] - pairs[:, 0]) ** 2"),
            ("return weights / (weights.sum() + eps)", "return weights"),
            ("np.log1p(np.maximum(pairs", "(np.maximum(pairs"),
            ("1 / max(len(student), 1)", "1.0"),
            ("np.sum((teacher[:, None] - student)", "np.max((teacher[:, None] - student)"),
        ],
        chamfer.test_the_gradient_is_that_of_algorithm_4_ties_included: [
            (
                "nearest = _assign(_candidates(cost, teacher), ties)[:, :-1]",
                "nearest = _assign(np.column_stack([cost, cost.sum(axis=1) + 9]), ties)[:, :-1]",
            ),
            ("[-persistence, persistence]", "[persistence, -persistence]"),
            (
                "candidates.argmin(axis=1)",
                "candidates.shape[1] - 1 - candidates[:, ::-1].argmin(axis=1)",
            ),
        ],
        chamfer.test_the_gradient_is_the_derivative: [
            (
                "cost_scale * (student - teacher[:, None])",
                "cost_scale * (teacher[:, None] - student)",
            ),
            ("2 * cost_scale * (student - teacher", "cost_scale * (student - teacher"),
            ("grad += _weights_gradient(", "grad += 0 * _weights_gradient("),
        ],
        chamfer.test_averaged_ties_are_the_mean_over_the_two_extreme_choices_of_index: [
            ("return cheapest / cheapest.sum(axis=1, keepdims=True)", "return 1.0 * cheapest"),
        ],
    },
    "sampling.py": {
        sampling.test_the_radius_is_within_twice_the_optimum: [
            ("nearest.argmax()", "nearest.argmin()"),
        ],
        sampling.test_of_equally_far_points_the_first_is_taken: [
            ("int(nearest.argmax())", "len(nearest) - 1 - int(nearest[::-1].argmax())"),
        ],
        sampling.test_radii_never_increase_and_are_covering_radii: [
            ("np.minimum(nearest, _distances_to(", "(_distances_to("),
        ],
        sampling.test_duplicates_stop_the_sampling_early: [(" and radii[-1] > 0", "")],
        sampling.test_the_covering_radius_by_definition: [
            ("indices.tolist()], axis=0).max()", "indices.tolist()], axis=0).mean()"),
        ],
        sampling.test_random_points_are_different_and_do_not_depend_on_the_cloud: [
            ("left = drawn[~np.isin(drawn, farthest)]", "left = drawn"),
        ],
    },
    "saliency.py": {
        saliency.test_channel_weights_by_hand: [
            ("np.abs(feature_gradients).mean(axis=0)", "np.abs(feature_gradients.mean(axis=0))"),
        ],
        saliency.test_a_map_by_hand: [
            ("np.sum(np.abs(channel_weights(", "np.sum((channel_weights("),
        ],
        saliency.test_channels_count_by_their_weight: [
            ("np.abs(channel_weights(feature_gradients) * features)", "np.abs(features)"),
        ],
        saliency.test_a_map_lies_in_0_to_1_and_does_not_move_with_scale: [
            ("(saliency - saliency.min()) / (spread + eps)", "saliency / (saliency.max() + eps)"),
            ("(spread + eps)", "(spread + eps + 1e-6)"),
        ],
        saliency.test_layers_apart_add_up_to_the_sum: [
            ("return np.array(means)", "return np.array(means) / max(len(means), 1)"),
        ],
        saliency.test_the_loss_by_hand: [
            ("np.abs(teacher - student).mean()", "((teacher - student) ** 2).mean()"),
        ],
    },
    "normalisation.py": {
        partial(normalisation.test_the_gradient_has_no_part_along_scaling_or_moving, "l2"): [
            ("(grad - unit * np.sum(grad * unit, axis=1, keepdims=True))", "grad"),
        ],
        partial(
            normalisation.test_the_gradient_has_no_part_along_scaling_or_moving, "center_maxnorm"
        ): [
            ("return grad_centered - grad_centered.mean(axis=0)", "return grad_centered"),
        ],
        partial(normalisation.test_the_gradient_is_the_derivative, "diameter"): [
            ("grad_features[j] += pull", "grad_features[j] += 0 * pull"),
        ],
        partial(normalisation.test_the_gradient_has_no_part_along_scaling_or_moving, "rms"): [
            ("grad_centered - unit * np.sum(grad * unit) / len(unit)", "grad_centered"),
        ],
        partial(normalisation.test_the_gradient_is_the_derivative, "rms"): [
            ("grad_centered = grad - grad.mean(axis=0)", "grad_centered = grad"),
        ],
        normalisation.test_rms_makes_the_mean_0_and_the_mean_square_length_1: [
            (" / np.sqrt(len(centered))", ""),
        ],
        partial(
            normalisation.test_rms_of_a_cloud_without_spread_is_0_and_so_is_its_gradient, 0.1
        ): [
            ("_centered(features - features[0])", "_centered(features)"),
        ],
    },
    "critical_edges.py": {
        critical_edges.test_components_are_matched_along_scipys_spanning_trees: [
            ("total += np.sum(gaps**2)", "total = total or np.sum(gaps**2)"),
        ],
        critical_edges.test_two_rectangles_by_hand: [
            ("named[: 1 if diagram.dim == 0 else 2]", "named[:1]"),
        ],
        critical_edges.test_only_critical_edges_have_a_gradient_and_it_is_the_derivative: [
            ("2 * gap / len(edges)", "gap / len(edges)"),
        ],
    },
    "wasserstein.py": {
        wasserstein.test_it_equals_scipys_assignment_and_gudhi: [
            ("most[i, j + 1], most[i + 1, j], most[i, j]", "most[i, j], most[i, j]"),
            ("saved = 2 * a * b - (a**2 + b**2) / 2", "saved = 2 * a * b"),
        ],
        wasserstein.test_order_does_not_matter_sides_are_alike_and_units_are_squared: [
            ('np.argsort(student, kind="stable")', "np.arange(len(student))"),
        ],
        wasserstein.test_the_gradient_is_the_derivative: [
            ("grad = student.copy()", "grad = student / 2"),
        ],
    },
    "distillation.py": {
        partial(distillation.test_the_gradient_is_the_derivative_of_the_whole_chain, "l2"): [
            ("normalise_grad(student_features, grad_student, normalisation)", "grad_student"),
        ],
        partial(distillation.test_the_gradient_is_the_derivative_of_the_whole_chain, "none"): [
            ("grad_student[indices] = ", "grad_student[: len(indices)] = "),
        ],
        distillation.test_sampling_keeps_the_samples_of_the_teacher_and_moves_only_them: [
            ("sampled[sample_on]", 'sampled["student"]'),
        ],
        distillation.test_the_weights_of_dimensions_multiply_value_and_gradient: [
            ("total += weight * ", "total += "),
        ],
        distillation.test_two_rectangles_by_hand: [
            ("grad_distances += weight", "grad_distances = weight"),
        ],
        partial(
            distillation.test_the_gradient_is_the_derivative_with_the_options_of_the_distance,
            {"precision_weight": "persistence"},
        ): [
            ("chamfer_grad(*pairs, **options)", "chamfer_grad(*pairs)"),
        ],
        distillation.test_options_reach_the_parts_they_belong_to: [
            (
                "chamfer(*pairs, **options)",
                'chamfer(*pairs, **(options | {"min_persistence": 0.0}))',
            ),
        ],
        distillation.test_the_divergence_equals_scipy: [
            (
                "np.exp(log_teacher) * (log_teacher - log_student)",
                "np.exp(log_student) * (log_student - log_teacher)",
            ),
            ("temperature**2 * divergence.mean()", "divergence.mean()"),
            ("_log_softmax(student_logits / temperature)", "_log_softmax(student_logits)"),
        ],
        distillation.test_huge_logits_do_not_overflow: [
            ("logits - logits.max(axis=1, keepdims=True)", "np.minimum(logits, 700.0)"),
        ],
        distillation.test_the_total_is_equation_8: [
            ("[segmentation, topology, saliency,", "[segmentation, saliency, topology,"),
        ],
    },
    "transport.py": {
        partial(transport.test_plan_and_value_equal_pot, 0.1): [
            ("np.zeros((k, m))", "np.ones((k, m))"),
        ],
        transport.test_the_gradient_is_the_derivative: [
            ("grad += to_diagonal", "grad += 0 * to_diagonal"),
            ("plan * (cost + weight * log_density)", "plan * cost"),
        ],
        transport.test_the_plan_is_a_coupling_with_positive_mass: [
            ("if largest_error <= tolerance and weight == last_weight:", "if True:"),
        ],
        partial(transport.test_entropies_by_hand, [3.0, 0.0, -3.0], [0.0, 3.0, 0.0], 1.0): [
            (" / np.log(len(sizes))", ""),
        ],
    },
    "persistence_image.py": {
        images.test_one_pair_by_hand: [
            ("rows[:, :, None] * columns[:, None, :]", "columns[:, :, None] * rows[:, None, :]"),
            ("bandwidth**2 * scale.maximum", "bandwidth**2"),
        ],
        images.test_it_equals_gudhi: [
            ("2 * np.pi * scale.bandwidth**2 * scale.maximum", "scale.maximum"),
            ("(np.tanh(persistence) + np.log1p(100 * births))", "np.tanh(persistence)"),
        ],
        images.test_many_pairs_in_another_order_are_the_same_image_to_the_last_bit: [
            ("order = np.lexsort((births, persistence))", "order = np.arange(len(births))"),
        ],
        images.test_the_gradient_is_the_derivative: [
            ("return grad_births - grad_persistence,", "return grad_births,"),
            ("slope_births * along_weight + ", ""),
        ],
        partial(images.test_the_scale_of_clouds_follows_the_rules_and_images_reach_1, 0, "one"): [
            ("points[:BANDWIDTH_PAIRS]", "points"),
        ],
        partial(images.test_the_scale_of_clouds_follows_the_rules_and_images_reach_1, 1, "one"): [
            ("np.column_stack([pairs[:, 0], pairs[:, 1] - pairs[:, 0]])", "pairs"),
            ("replace(scale, maximum=maximum)", "scale"),
        ],
        images.test_pairs_that_nearly_coincide_do_not_make_the_bandwidth: [
            ("distances > LEAST_DISTANCE", "distances > 0"),
        ],
        images.test_dimension_0_has_twenty_numbers_and_the_mended_images_have_no_more: [
            ("lowest[0] - margin", "lowest[0]"),
        ],
    },
    "wasserstein_distance.py": {
        exact.test_it_equals_scipys_assignment_gudhi_and_pot: [
            ("column_prices[reached] -= step", "pass"),
            ("persistence / (2 if ground == np.inf else np.sqrt(2))", "persistence / 2"),
            ("/ unit) ** order) ** (1 / order)", "/ unit) ** order)"),
        ],
        exact.test_the_gradient_is_the_derivative: [
            ("** (order - 1)\n", "** 1\n"),
            ("np.sign(gap) * largest / np.sum(largest)", "np.sign(gap)"),
        ],
    },
    "sliced_wasserstein.py": {
        sliced.test_it_equals_persim: [
            ("math.pi * i / num_directions - math.pi / 2", "2 * math.pi * i / num_directions"),
            ("np.mean(each, axis=1)[:, None]", "each[:, :1]"),
        ],
        sliced.test_the_gradient_is_the_derivative: [
            ("grads[1 - side][k - own[side]] += sign * slope * along_diagonal", "pass"),
        ],
    },
    "persistence_summaries.py": {
        summaries.test_the_entropy_equals_gudhis: [("np.log(np.where", "np.log2(np.where")],
        summaries.test_total_persistence_is_numpys_norm_and_the_way_to_the_diagonal: [
            (
                'float(np.sum((deaths - births) ** as_order("total_persistence", "order", order)))',
                "float(np.sum((deaths - births) ** order) ** (1 / order))",
            ),
        ],
        summaries.test_the_gradients_are_the_derivatives: [
            ("-(logarithms + entropy) / (total or 1.0)", "-(logarithms + 1) / (total or 1.0)"),
        ],
    },
    "persistence_curves.py": {
        curves.test_landscapes_equal_gudhis_over_the_root_of_2: [
            ("np.argsort(-tents", "np.argsort(tents"),
        ],
        curves.test_the_gradient_of_landscapes_by_hand: [
            (
                'np.argsort(-tents, axis=0, kind="stable")',
                'np.argsort(tents, axis=0, kind="stable")[::-1]',
            ),
        ],
        curves.test_betti_curves_equal_gudhis: [
            ("(births <= grid) & (grid < deaths)", "(births <= grid) & (grid <= deaths)"),
        ],
        curves.test_a_smooth_curve_is_the_mean_of_moved_ones: [
            ("(grid - ends) / bandwidth) for", "(grid - ends) / bandwidth**0.5) for"),
        ],
    },
    "signature_loss.py": {
        signature.test_values_and_gradients_by_hand: [
            (
                "weight * critical_edge_matching(*pair, *matrices)",
                "weight * critical_edge_matching(*pair, matrices[0], matrices[0])",
            ),
        ],
        signature.test_dimensions_are_weighed_and_added: [("total += weight * ", "total += ")],
    },
}


def break_the_reference(
    monkeypatch: pytest.MonkeyPatch, file: str, present: str, instead: str
) -> None:
    """Use the functions of the changed file wherever the reference uses those of `file`."""
    path = Path(reference.__file__).parent / file
    source = path.read_text()
    assert source.count(present) == 1, f"{file} has {present!r} {source.count(present)} times"
    broken = {"__name__": f"reference.{path.stem}"}
    exec(compile(source.replace(present, instead), f"<broken {file}>", "exec"), broken)

    original = vars(sys.modules[f"reference.{path.stem}"])
    changed = {
        function: broken[name]
        for name, function in original.items()
        if isinstance(function, FunctionType) and function.__module__ == broken["__name__"]
    }
    for module_name, module in list(sys.modules.items()):
        if module_name.split(".")[0] == "reference":
            for name, value in list(vars(module).items()):
                if isinstance(value, FunctionType) and value in changed:
                    monkeypatch.setattr(module, name, changed[value])


ENOUGH_EXAMPLES = settings(
    deadline=None,
    max_examples=200,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    report_multiple_bugs=False,
)
"""Look long enough for the fault, always in the same places, without shrinking it."""


@pytest.mark.parametrize(
    ("file", "present", "instead", "test"),
    [
        pytest.param(file, *change, test, id=f"{file}: {change[1]}")
        for file, tests in BROKEN.items()
        for test, changes in tests.items()
        for change in changes
    ],
)
def test_a_broken_implementation_is_caught(
    file: str, present: str, instead: str, test: Callable[[], None], monkeypatch
):
    break_the_reference(monkeypatch, file, present, instead)
    function = getattr(test, "func", test)
    if hasattr(function, "hypothesis"):
        # hypothesis reads a test's settings from here and offers no door to change them later.
        monkeypatch.setattr(function, "_hypothesis_internal_use_settings", ENOUGH_EXAMPLES)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test()


def test_a_reference_that_is_not_broken_is_not_caught(monkeypatch):
    """The machinery itself: the same replacement, with the same text, changes nothing."""
    text = "np.lexsort((j, i, distances[i, j]))"
    break_the_reference(monkeypatch, "rips.py", text, text)
    properties.test_components_die_along_a_minimum_spanning_tree()
