"""The rotation by its definition, pair by pair, and what it must leave as it is."""

import math

import pytest
import torch

from train.networks.litept.rotary import point_rotation


def turned_by_hand(head, place, base):
    """Turn one head's channels, a pair at a time."""
    out, third = list(head), len(head) // 3
    for axis in range(3):
        for j in range(third // 2):
            u, v = axis * third + j, axis * third + third // 2 + j
            angle = place[axis] * base ** (-j / (third // 2))
            out[u] = head[u] * math.cos(angle) - head[v] * math.sin(angle)
            out[v] = head[v] * math.cos(angle) + head[u] * math.sin(angle)
    return out


@pytest.mark.parametrize("width", [6, 18, 24])
def test_each_pair_of_channels_is_turned_by_its_axis_and_frequency(width):
    generator = torch.Generator().manual_seed(0)
    heads = torch.randn(7, 2, width, generator=generator, dtype=torch.float64)
    places = torch.randint(0, 900, (7, 3), generator=generator)
    places[0] = 0
    got = point_rotation(places, width, 100.0, heads.dtype)(heads)
    want = [
        [turned_by_hand(head.tolist(), place.tolist(), 100.0) for head in row]
        for row, place in zip(heads, places, strict=True)
    ]
    torch.testing.assert_close(got, torch.tensor(want, dtype=torch.float64), rtol=1e-12, atol=1e-11)
    assert torch.equal(got[0], heads[0]), "nothing turns at the origin"


def test_scores_depend_on_differences_of_places_alone():
    generator = torch.Generator().manual_seed(1)
    query, key = torch.randn(2, 5, 1, 18, generator=generator, dtype=torch.float64)
    places = torch.randint(0, 200, (2, 5, 3), generator=generator)
    scores = []
    for shift in (0, 37):
        turned = [
            point_rotation(place + shift, 18, 100.0, query.dtype)(head)
            for place, head in zip(places, (query, key), strict=True)
        ]
        scores.append((turned[0] * turned[1]).sum(-1))
    torch.testing.assert_close(*scores)


def test_angles_of_16_bit_heads_are_those_of_32_bits():
    places = torch.tensor([[257, 301, 999]])  # bfloat16 would make 256, 302 and 1000 of these
    heads = torch.randn(1, 3, 18, generator=torch.Generator().manual_seed(2))
    short = heads.to(torch.bfloat16)
    got = point_rotation(places, 18, 100.0, torch.bfloat16)(short)
    want = point_rotation(places, 18, 100.0, torch.float32)(short.float())
    assert got.dtype == torch.bfloat16
    assert torch.equal(got, want.to(torch.bfloat16))


def test_a_width_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="head_width is 16, must be a multiple of 6"):
        point_rotation(torch.zeros(1, 3), 16, 100.0, torch.float32)
