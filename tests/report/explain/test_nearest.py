"""The nearest mistakes of each, in data and page."""

import json

import pytest
import torch
from report.explain.small_jobs import tiny_images, tiny_net, untraced_explanation
from report.pages import Page

from captum_paramsal import ParameterSaliency
from captum_paramsal.repair import neighbors
from captum_paramsal.report import Explanation, fit_reference
from captum_paramsal.report.explain.data import NearMistake
from captum_paramsal.report.explain.mistakes import ScoredBatch
from captum_paramsal.report.explain.nearest import MistakeProfiles
from captum_paramsal.report.explain.page import explain_page

pytestmark = pytest.mark.usefixtures("undrawn")


def test_neighbours_are_those_of_the_profiles(tmp_path):
    found = untraced_explanation(pixels=False)
    images = tiny_images()
    positions = [mistake.position for mistake in found.mistakes]
    reference = fit_reference(tiny_net(), images, tail=None, show_progress=False)
    (batch,) = images.batches(32, positions)
    scores = ParameterSaliency(tiny_net(), reference).attribute(
        batch.inputs, target=[mistake.label for mistake in found.mistakes]
    )
    near = neighbors(scores[:, ~reference.dead], range(len(positions)), 5)
    assert list(found.neighbors) == positions
    for position, places, values in zip(positions, near.images.tolist(), near.similarity, strict=True):
        listed = found.neighbors[position]
        assert [other.position for other in listed] == [positions[place] for place in places]
        torch.testing.assert_close(
            torch.tensor([other.similarity for other in listed]), values.float(), atol=1e-3, rtol=0
        )
    found.write(tmp_path)
    assert Explanation.load(tmp_path).neighbors == found.neighbors
    content = json.loads((tmp_path / "explanation.json").read_text())
    first = content["neighbors"][str(positions[0])][0]
    assert first["position"] == found.neighbors[positions[0]][0].position


def test_each_card_links_to_its_nearest_and_the_first_ones_are_pictured():
    found = untraced_explanation(pixels=False)
    page = Page(explain_page(found))
    links = [
        attributes for tag, attributes in page.elements if tag == "a" and "taken for" in attributes.get("title", "")
    ]
    assert len(links) == 6 * 5
    assert all(link["href"].startswith("#mistake-") for link in links)
    rows = [attributes["aria-label"] for attributes in page.all("ol") if "aria-label" in attributes]
    assert rows == [f"mistake {number} and the most similar ones" for number in range(1, 6)]


def test_only_mistakes_with_a_card_are_neighbours():
    found = untraced_explanation(pixels=False, cards=3)
    shown = {mistake.position for mistake in found.mistakes if mistake.curve}
    assert set(found.neighbors) == shown
    assert {other.position for others in found.neighbors.values() for other in others} == shown
    assert {len(others) for others in found.neighbors.values()} == {2}


def test_a_single_card_has_no_neighbours():
    found = untraced_explanation(pixels=False, cards=1)
    assert found.neighbors == {}
    assert "Similar mistakes" not in explain_page(found)


def test_tails_have_a_ceiling_and_what_is_0_everywhere_no_neighbour():
    profiles = MistakeProfiles({3, 5, 8, 9}, [0, 1], ceiling=50.0)
    scores = torch.tensor([[1e9, 50.0, 7.0], [0.0, 0.0, 9.0], [2.0, 2.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    for positions, part in (((3, 5), scores[:2]), ((8, 9, 11), scores[2:])):
        profiles.add(ScoredBatch(positions, part, part > 3, None, []))
    near = profiles.nearest(k=1)
    assert near == {3: (NearMistake(8, 1.0),), 8: (NearMistake(3, 1.0),), 9: (NearMistake(3, 0.70711),)}
    assert not MistakeProfiles({3}, [0], 50.0).nearest()
