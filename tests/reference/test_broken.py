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

# What is broken, by file: the text that is there, the text instead, the test that must notice.
BROKEN = {
    "rips.py": {
        "maximum instead of minimum spanning tree": (
            "np.lexsort((j, i, distances[i, j]))",
            "np.lexsort((j, i, -distances[i, j]))",
            oracles.test_diagrams_of_tied_matrices_equal_ripser,
        ),
        "the same, against Prim": (
            "np.lexsort((j, i, distances[i, j]))",
            "np.lexsort((j, i, -distances[i, j]))",
            properties.test_components_die_along_a_minimum_spanning_tree,
        ),
        "equal lengths in another order": (
            "np.lexsort((j, i, distances[i, j]))",
            "np.lexsort((-j, -i, distances[i, j]))",
            oracles.test_critical_edges_equal_gudhi_on_the_ranks_of_the_edges,
        ),
        "equal longest edges in another order of simplices": (
            "len(simplex), simplex",
            "len(simplex), [-vertex for vertex in simplex]",
            oracles.test_every_pair_follows_from_the_ranks_of_corners,
        ),
        "deaths swapped": (
            "deaths=np.array([row[2] for row in rows]",
            "deaths=np.array([row[2] for row in rows[::-1]]",
            partial(oracles.test_diagrams_of_clouds_equal_gudhi_to_the_last_bit, "normal", 20),
        ),
        "a pair dropped": (
            "rows.sort()",
            "rows.sort(); del rows[:1]",
            oracles.test_diagrams_of_tied_matrices_equal_gudhi,
        ),
        "a pair twice": (
            "rows.sort()",
            "rows.sort(); rows += rows[:1]",
            oracles.test_diagrams_of_tied_matrices_equal_ripser,
        ),
        "pairs in another order": (
            "rows.sort()",
            "rows.sort(reverse=True)",
            oracles.test_critical_edges_equal_gudhi_on_the_ranks_of_the_edges,
        ),
        "death edges off by one": (
            "death_edges=integers(4, 2)",
            "death_edges=integers(4, 2) - 1",
            properties.test_every_birth_and_death_is_the_length_of_its_edge,
        ),
        "birth edges of the wrong column": (
            "birth_edges=integers(3, 2)",
            "birth_edges=integers(4, 2)",
            properties.test_every_birth_and_death_is_the_length_of_its_edge,
        ),
        "radius for diameter": (
            "float(distances[death_edge])\n",
            "float(distances[death_edge]) / 2\n",
            rips.test_two_points_at_distance_3_merge_at_3,
        ),
        "pairs of zero persistence kept": (
            "if died > born:",
            "if died >= born:",
            rips.test_zero_persistence_is_left_out_in_every_dimension,
        ),
        "threshold exclusive": (
            "distances <= threshold",
            "distances < threshold",
            properties.test_nothing_lives_past_the_enclosing_radius,
        ),
        "infinite distances joined": (
            "np.isfinite(distances) & (distances <= threshold)",
            "distances <= threshold",
            rips.test_infinite_distances_are_never_joined,
        ),
        "the highest simplices missing": (
            "if len(simplex) < max_size:",
            "if len(simplex) < max_size - 1:",
            oracles.test_betti_numbers_equal_ranks_of_boundary_matrices,
        ),
        "classes that never die not counted": (
            "num_essential=sum(",
            "num_essential=0 * sum(",
            properties.test_one_component_never_dies_and_nothing_else,
        ),
        "one simplex more than the limit": (
            "limit, None), None)",
            "limit + 1, None), None)",
            partial(rips.test_the_limit_counts_the_simplices_that_are_needed, 1, 25),
        ),
    },
    "distances.py": {
        "squared distances": ("np.sqrt(squares)", "squares", distances.test_distances_equal_scipy),
        "distances by expansion of the square": (
            "np.subtract.outer(channel, channel) ** 2",
            "np.abs(np.add.outer(channel**2, channel**2) - 2 * np.outer(channel, channel))",
            distances.test_near_points_far_from_the_origin_keep_their_distance,
        ),
        "the worst center": (
            ".max(axis=1).min()",
            ".max(axis=1).max()",
            partial(
                distances.test_the_enclosing_radius_is_that_of_the_best_center,
                [[0.0, 1.0, 4.0], [1.0, 0.0, 3.0], [4.0, 3.0, 0.0]],
                3.0,
            ),
        ),
    },
    "routing.py": {
        "births not routed": (
            "grad_distances[i, j] += grad_births[k]",
            "grad_distances[i, j] += 0 * grad_births[k]",
            routing.test_routing_to_distances_is_the_derivative,
        ),
        "births with the wrong sign": (
            "grad_distances[i, j] += grad_births[k]",
            "grad_distances[i, j] -= grad_births[k]",
            routing.test_euler_identity_for_total_persistence,
        ),
        "pairs on one edge overwrite each other": (
            "grad_distances[edge] += grad_deaths[k]",
            "grad_distances[edge] = grad_deaths[k]",
            partial(routing.test_pairs_on_one_edge_add_up, 0),
        ),
        "every tied edge gets all": (
            "grad_deaths[k] / len(tied)",
            "grad_deaths[k]",
            routing.test_a_tie_within_a_lasting_death_triangle_averages_its_two_sides,
        ),
        "the first tied edge gets all": (
            "longest - distances[edge] <= tie_tolerance]",
            "longest - distances[edge] <= tie_tolerance][:1]",
            routing.test_equal_longest_edges_of_the_death_triangle_share_alike,
        ),
        "all edges of the death triangle share": (
            "longest - distances[edge] <= tie_tolerance]",
            "True]",
            routing.test_routing_to_distances_is_the_derivative,
        ),
        "tolerance exclusive": (
            "longest - distances[edge] <= tie_tolerance",
            "longest - distances[edge] < max(tie_tolerance, 1e-9)",
            partial(routing.test_the_tie_tolerance_is_inclusive, 1.0, {(0, 2): 3.0, (0, 3): 3.0}),
        ),
        "a gradient for one triangle only": (
            "return grad_distances + grad_distances.T",
            "return grad_distances",
            routing.test_routing_to_distances_is_the_derivative,
        ),
        "points pulled the wrong way": (
            "difference = points[i] - points[j]",
            "difference = points[j] - points[i]",
            routing.test_routing_to_points_is_the_derivative,
        ),
        "one end of each edge pulled": (
            "grad_points[j] -= pull",
            "grad_points[j] -= 0 * pull",
            routing.test_gradients_of_points_sum_to_zero_and_leave_uncritical_points_alone,
        ),
        "every edge twice": (
            "np.argwhere(np.triu(grad_distances, k=1))",
            "np.argwhere(grad_distances)",
            routing.test_euler_identity_for_total_persistence,
        ),
        "divided by the squared distance": (
            "/ (distance + eps)",
            "/ (distance**2 + eps)",
            routing.test_routing_to_points_is_the_derivative,
        ),
    },
    "chamfer.py": {
        "half the cost": (
            "    cost = cost_scale * squared_distances(teacher, student)\n    recall",
            "    cost = 0.5 * cost_scale * squared_distances(teacher, student)\n    recall",
            chamfer.test_the_value_is_that_of_algorithm_2,
        ),
        "no diagonal": (
            "return np.column_stack([cost, squared_distance_to_diagonal(pairs)])",
            "return np.column_stack([cost, np.full(len(pairs), 1e9)])",
            chamfer.test_the_value_is_that_of_algorithm_2,
        ),
        "no diagonal for recall's gradient": (
            "nearest = _assign(_candidates(cost, teacher), ties)[:, :-1]",
            "nearest = _assign(np.column_stack([cost, cost.sum(axis=1) + 9]), ties)[:, :-1]",
            chamfer.test_the_gradient_is_that_of_algorithm_4_ties_included,
        ),
        "the whole squared persistence to the diagonal": (
            "(pairs[:, 1] - pairs[:, 0]) ** 2 / 2",
            "(pairs[:, 1] - pairs[:, 0]) ** 2",
            chamfer.test_the_value_is_that_of_algorithm_2,
        ),
        "weights without their sum": (
            "return weights / (weights.sum() + eps)",
            "return weights",
            chamfer.test_the_value_is_that_of_algorithm_2,
        ),
        "weights without logarithm": (
            "np.log1p(np.maximum(pairs[:, 1] - pairs[:, 0], 0.0))",
            "np.maximum(pairs[:, 1] - pairs[:, 0], 0.0)",
            chamfer.test_the_value_is_that_of_algorithm_2,
        ),
        "precision summed": (
            "1 / max(len(student), 1)",
            "1.0",
            chamfer.test_the_value_is_that_of_algorithm_2,
        ),
        "largest difference for squared distance": (
            "np.sum((teacher[:, None] - student) ** 2, axis=2)",
            "np.max((teacher[:, None] - student) ** 2, axis=2)",
            chamfer.test_the_value_is_that_of_algorithm_2,
        ),
        "matches pushed apart": (
            "2 * cost_scale * (student - teacher[:, None])",
            "2 * cost_scale * (teacher[:, None] - student)",
            chamfer.test_the_gradient_is_the_derivative,
        ),
        "the factor 2 of the gradient forgotten": (
            "2 * cost_scale * (student - teacher[:, None])",
            "cost_scale * (student - teacher[:, None])",
            chamfer.test_the_gradient_is_the_derivative,
        ),
        "pushed away from the diagonal": (
            "np.column_stack([-persistence, persistence])",
            "np.column_stack([persistence, -persistence])",
            chamfer.test_the_gradient_is_that_of_algorithm_4_ties_included,
        ),
        "the last of equally near pairs": (
            "candidates.argmin(axis=1)",
            "candidates.shape[1] - 1 - candidates[:, ::-1].argmin(axis=1)",
            chamfer.test_the_gradient_is_that_of_algorithm_4_ties_included,
        ),
        "averaged ties that add up to more than 1": (
            "return cheapest / cheapest.sum(axis=1, keepdims=True)",
            "return cheapest.astype(float)",
            chamfer.test_averaged_ties_are_the_mean_over_the_two_extreme_choices_of_index,
        ),
        "weights of precision not differentiated": (
            "grad += _weights_gradient(",
            "grad += 0 * _weights_gradient(",
            chamfer.test_the_gradient_is_the_derivative,
        ),
    },
    "sampling.py": {
        "nearest point sampled": (
            "nearest.argmax()",
            "nearest.argmin()",
            sampling.test_the_radius_is_within_twice_the_optimum,
        ),
        "the last of equally far points sampled": (
            "int(nearest.argmax())",
            "len(nearest) - 1 - int(nearest[::-1].argmax())",
            sampling.test_of_equally_far_points_the_first_is_taken,
        ),
        "earlier samples forgotten": (
            "np.minimum(nearest, _distances_to(points, indices[-1]))",
            "_distances_to(points, indices[-1])",
            sampling.test_radii_never_increase_and_are_covering_radii,
        ),
        "duplicates sampled": (
            " and radii[-1] > 0",
            "",
            sampling.test_duplicates_stop_the_sampling_early,
        ),
        "mean for covering radius": (
            "for index in indices.tolist()], axis=0).max()",
            "for index in indices.tolist()], axis=0).mean()",
            sampling.test_the_covering_radius_by_definition,
        ),
        "drawn points that are taken already": (
            "left = drawn[~np.isin(drawn, farthest)]",
            "left = drawn",
            sampling.test_random_points_are_different_and_do_not_depend_on_the_cloud,
        ),
    },
    "saliency.py": {
        "gradients of both signs cancel": (
            "np.abs(feature_gradients).mean(axis=0)",
            "np.abs(feature_gradients.mean(axis=0))",
            saliency.test_channel_weights_by_hand,
        ),
        "channels of both signs cancel": (
            "np.sum(np.abs(channel_weights(feature_gradients) * features), axis=1)",
            "np.sum(channel_weights(feature_gradients) * features, axis=1)",
            saliency.test_a_map_by_hand,
        ),
        "unweighted channels": (
            "np.abs(channel_weights(feature_gradients) * features)",
            "np.abs(features)",
            saliency.test_channels_count_by_their_weight,
        ),
        "maps not from 0": (
            "(saliency - saliency.min()) / (spread + eps)",
            "saliency / (saliency.max() + eps)",
            saliency.test_a_map_lies_in_0_to_1_and_does_not_move_with_scale,
        ),
        "maps that shrink with the scale": (
            "(spread + eps)",
            "(spread + eps + 1e-6)",
            saliency.test_a_map_lies_in_0_to_1_and_does_not_move_with_scale,
        ),
        "layers apart divided by their number": (
            "return np.array(means)",
            "return np.array(means) / max(len(means), 1)",
            saliency.test_layers_apart_add_up_to_the_sum,
        ),
        "squared difference of maps": (
            "np.abs(teacher - student).mean()",
            "((teacher - student) ** 2).mean()",
            saliency.test_the_loss_by_hand,
        ),
    },
    "normalisation.py": {
        "the length of a row not differentiated": (
            "(grad - unit * np.sum(grad * unit, axis=1, keepdims=True)) / divisor",
            "grad / divisor",
            partial(normalisation.test_the_gradient_has_no_part_along_scaling_or_moving, "l2"),
        ),
        "the mean not differentiated": (
            "return grad_centered - grad_centered.mean(axis=0)",
            "return grad_centered",
            partial(
                normalisation.test_the_gradient_has_no_part_along_scaling_or_moving,
                "center_maxnorm",
            ),
        ),
        "one end of the diameter": (
            "grad_features[j] += pull",
            "grad_features[j] += 0 * pull",
            partial(normalisation.test_the_gradient_is_the_derivative, "diameter"),
        ),
        "the spread not differentiated": (
            "grad_centered - unit * np.sum(grad * unit) / len(unit)",
            "grad_centered",
            partial(normalisation.test_the_gradient_has_no_part_along_scaling_or_moving, "rms"),
        ),
        "the mean of the rows not differentiated": (
            "grad_centered = grad - grad.mean(axis=0)",
            "grad_centered = grad",
            partial(normalisation.test_the_gradient_is_the_derivative, "rms"),
        ),
        "the root of the sum of squares": (
            " / np.sqrt(len(centered))",
            "",
            normalisation.test_rms_makes_the_mean_0_and_the_mean_square_length_1,
        ),
        "equal rows centered by a rounded mean": (
            "_centered(features - features[0])",
            "_centered(features)",
            partial(
                normalisation.test_rms_of_a_cloud_without_spread_is_0_and_so_is_its_gradient, 0.1
            ),
        ),
    },
    "critical_edges.py": {
        "only the teacher's critical edges": (
            "total += np.sum(gaps**2) / max(len(edges), 1)",
            "total = total or np.sum(gaps**2) / max(len(edges), 1)",
            critical_edges.test_components_are_matched_along_scipys_spanning_trees,
        ),
        "the births of loops left out": (
            "named[: 1 if diagram.dim == 0 else 2]",
            "named[:1]",
            critical_edges.test_two_rectangles_by_hand,
        ),
        "half the slope of a square": (
            "2 * gap / len(edges)",
            "gap / len(edges)",
            critical_edges.test_only_critical_edges_have_a_gradient_and_it_is_the_derivative,
        ),
    },
    "wasserstein.py": {
        "no death left to the diagonal": (
            "most[i, j + 1], most[i + 1, j], most[i, j] + saved[i, j]",
            "most[i, j] + saved[i, j], most[i, j] + saved[i, j]",
            wasserstein.test_it_equals_scipys_assignment_and_gudhi,
        ),
        "the diagonal at full cost": (
            "saved = 2 * a * b - (a**2 + b**2) / 2",
            "saved = 2 * a * b",
            wasserstein.test_it_equals_scipys_assignment_and_gudhi,
        ),
        "deaths matched unsorted": (
            'np.argsort(student, kind="stable")',
            "np.arange(len(student))",
            wasserstein.test_order_does_not_matter_sides_are_alike_and_units_are_squared,
        ),
        "half the slope to the diagonal": (
            "grad = student.copy()",
            "grad = student / 2",
            wasserstein.test_the_gradient_is_the_derivative,
        ),
    },
    "distillation.py": {
        "the gradient not led back through the normalization": (
            "normalise_grad(student_features, grad_student, normalisation)",
            "grad_student",
            partial(distillation.test_the_gradient_is_the_derivative_of_the_whole_chain, "l2"),
        ),
        "the first points taken for the samples": (
            "grad_student[indices] = route_to_points",
            "grad_student[: len(indices)] = route_to_points",
            partial(distillation.test_the_gradient_is_the_derivative_of_the_whole_chain, "none"),
        ),
        "sampled on the student": (
            "sampled[sample_on]",
            'sampled["student"]',
            distillation.test_sampling_keeps_the_samples_of_the_teacher_and_moves_only_them,
        ),
        "dimensions not weighted": (
            "total += weight * ",
            "total += ",
            distillation.test_the_weights_of_dimensions_multiply_value_and_gradient,
        ),
        "gradients of dimensions overwrite each other": (
            "grad_distances += weight",
            "grad_distances = weight",
            distillation.test_two_rectangles_by_hand,
        ),
        "gradient with other weights of precision than the value": (
            "chamfer_grad(*pairs, **options)",
            'chamfer_grad(*pairs, **(options | {"precision_weight": "uniform"}))',
            partial(
                distillation.test_the_gradient_is_the_derivative_with_the_options_of_the_distance,
                {"precision_weight": "persistence"},
            ),
        ),
        "value without the least persistence": (
            "chamfer(*pairs, **options)",
            'chamfer(*pairs, **(options | {"min_persistence": 0.0}))',
            distillation.test_options_reach_the_parts_they_belong_to,
        ),
        "divergence in the other direction": (
            "np.exp(log_teacher) * (log_teacher - log_student)",
            "np.exp(log_student) * (log_student - log_teacher)",
            distillation.test_the_divergence_equals_scipy,
        ),
        "without the squared temperature": (
            "temperature**2 * divergence.mean()",
            "divergence.mean()",
            distillation.test_the_divergence_equals_scipy,
        ),
        "temperature on the teacher only": (
            "_log_softmax(student_logits / temperature)",
            "_log_softmax(student_logits)",
            distillation.test_the_divergence_equals_scipy,
        ),
        "logits that overflow": (
            "shifted = logits - logits.max(axis=1, keepdims=True)",
            "shifted = np.minimum(logits, 700.0)",
            distillation.test_huge_logits_do_not_overflow,
        ),
        "weights of the total in another order": (
            "[segmentation, topology, saliency, distillation], 4",
            "[segmentation, saliency, topology, distillation], 4",
            distillation.test_the_total_is_equation_8,
        ),
    },
    "transport.py": {
        "a price between diagonal points": (
            "np.zeros((k, m))",
            "np.ones((k, m))",
            partial(transport.test_plan_and_value_equal_pot, 0.1),
        ),
        "the diagonal not pulled at": (
            "grad += to_diagonal",
            "grad += 0 * to_diagonal",
            transport.test_the_gradient_is_the_derivative,
        ),
        "the value without its entropy": (
            "plan * (cost + weight * log_density)",
            "plan * cost",
            transport.test_the_gradient_is_the_derivative,
        ),
        "columns never fitted": (
            "if largest_error <= tolerance and weight == last_weight:",
            "if True:",
            transport.test_the_plan_is_a_coupling_with_positive_mass,
        ),
        "entropy that is not between 0 and 1": (
            " / np.log(len(sizes))",
            "",
            partial(transport.test_entropies_by_hand, [3.0, 0.0, -3.0], [0.0, 3.0, 0.0], 1.0),
        ),
    },
    "persistence_image.py": {
        "rows and columns of an image swapped": (
            "rows[:, :, None] * columns[:, None, :]",
            "columns[:, :, None] * rows[:, None, :]",
            images.test_one_pair_by_hand,
        ),
        "Gaussians that are not normalized": (
            "2 * np.pi * scale.bandwidth**2 * scale.maximum",
            "scale.maximum",
            images.test_it_equals_gudhi,
        ),
        "images over nothing": (
            "bandwidth**2 * scale.maximum",
            "bandwidth**2",
            images.test_one_pair_by_hand,
        ),
        "births without a weight": (
            "(np.tanh(persistence) + np.log1p(100 * births))",
            "np.tanh(persistence)",
            images.test_it_equals_gudhi,
        ),
        "pairs added as they are listed": (
            "order = np.lexsort((births, persistence))",
            "order = np.arange(len(births))",
            images.test_many_pairs_in_another_order_are_the_same_image_to_the_last_bit,
        ),
        "births that move with their deaths": (
            "return grad_births - grad_persistence,",
            "return grad_births,",
            images.test_the_gradient_is_the_derivative,
        ),
        "weights that do not move": (
            "slope_births * along_weight + ",
            "",
            images.test_the_gradient_is_the_derivative,
        ),
        "a bandwidth of all pairs": (
            "points[:BANDWIDTH_PAIRS]",
            "points",
            partial(images.test_the_scale_of_clouds_follows_the_rules_and_images_reach_1, 0, "one"),
        ),
        "a bandwidth and ranges of deaths": (
            "np.column_stack([pairs[:, 0], pairs[:, 1] - pairs[:, 0]])",
            "pairs",
            partial(images.test_the_scale_of_clouds_follows_the_rules_and_images_reach_1, 1, "one"),
        ),
        "pairs that coincide in the bandwidth": (
            "distances > LEAST_DISTANCE",
            "distances > 0",
            images.test_pairs_that_nearly_coincide_do_not_make_the_bandwidth,
        ),
        "the maximum not kept": (
            "replace(scale, maximum=maximum)",
            "scale",
            partial(images.test_the_scale_of_clouds_follows_the_rules_and_images_reach_1, 1, "one"),
        ),
        "a margin above the births alone": (
            "lowest[0] - margin",
            "lowest[0]",
            images.test_dimension_0_has_twenty_numbers_and_the_mended_images_have_no_more,
        ),
    },
    "wasserstein_distance.py": {
        "a matching of whoever comes first": (
            "column_prices[reached] -= step",
            "pass",
            exact.test_it_equals_scipys_assignment_gudhi_and_pot,
        ),
        "a diagonal as far as in the other norm": (
            "return float(persistence / (2 if ground == np.inf else np.sqrt(2)))",
            "return float(persistence / 2)",
            exact.test_it_equals_scipys_assignment_gudhi_and_pot,
        ),
        "a distance without its root": (
            "np.sum((np.array(lengths) / unit) ** order) ** (1 / order)",
            "np.sum((np.array(lengths) / unit) ** order)",
            exact.test_it_equals_scipys_assignment_gudhi_and_pot,
        ),
        "a gradient that forgets the other lengths": (
            "** (order - 1)\n",
            "** 1\n",
            exact.test_the_gradient_is_the_derivative,
        ),
        "both coordinates in the norm of the largest": (
            "np.sign(gap) * largest / np.sum(largest)",
            "np.sign(gap)",
            exact.test_the_gradient_is_the_derivative,
        ),
    },
    "sliced_wasserstein.py": {
        "lines over a whole turn": (
            "math.pi * i / num_directions - math.pi / 2",
            "2 * math.pi * i / num_directions",
            sliced.test_it_equals_persim,
        ),
        "diagrams completed at their births": (
            "np.mean(each, axis=1)[:, None]",
            "each[:, :1]",
            sliced.test_it_equals_persim,
        ),
        "diagonal points that do not move": (
            "grads[1 - side][k - own[side]] += sign * slope * along_diagonal",
            "pass",
            sliced.test_the_gradient_is_the_derivative,
        ),
    },
    "persistence_summaries.py": {
        "an entropy in bits": (
            "np.log(np.where",
            "np.log2(np.where",
            summaries.test_the_entropy_equals_gudhis,
        ),
        "a total with a root": (
            'float(np.sum((deaths - births) ** as_order("total_persistence", "order", order)))',
            "float(np.sum((deaths - births) ** order) ** (1 / order))",
            summaries.test_total_persistence_is_numpys_norm_and_the_way_to_the_diagonal,
        ),
        "an entropy whose total does not move": (
            "-(logarithms + entropy) / (total or 1.0)",
            "-(logarithms + 1) / (total or 1.0)",
            summaries.test_the_gradients_are_the_derivatives,
        ),
    },
    "persistence_curves.py": {
        "landscapes from the lowest": (
            "np.argsort(-tents",
            "np.argsort(tents",
            curves.test_landscapes_equal_gudhis_over_the_root_of_2,
        ),
        "the last of equal tents": (
            'np.argsort(-tents, axis=0, kind="stable")',
            'np.argsort(tents, axis=0, kind="stable")[::-1]',
            curves.test_the_gradient_of_landscapes_by_hand,
        ),
        "classes alive at their death": (
            "(births <= grid) & (grid < deaths)",
            "(births <= grid) & (grid <= deaths)",
            curves.test_betti_curves_equal_gudhis,
        ),
        "a bandwidth that is a variance": (
            "(grid - ends) / bandwidth) for",
            "(grid - ends) / bandwidth**0.5) for",
            curves.test_a_smooth_curve_is_the_mean_of_moved_ones,
        ),
    },
    "signature_loss.py": {
        "one side of a signature": (
            "weight * critical_edge_matching(*pair, *matrices)",
            "weight * critical_edge_matching(*pair, matrices[0], matrices[0])",
            signature.test_values_and_gradients_by_hand,
        ),
        "every dimension alike": (
            "total += weight * ",
            "total += ",
            signature.test_dimensions_are_weighed_and_added,
        ),
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
        pytest.param(file, *case, id=description)
        for file, cases in BROKEN.items()
        for description, case in cases.items()
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
