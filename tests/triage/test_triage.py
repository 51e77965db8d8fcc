"""Sorting all mistakes of a set, on networks whose fault is known."""

from dataclasses import replace

import pytest
import torch
from metrics.small_cases import small_model, some_images
from torch import nn

from captum_paramsal import Filter, ParameterSaliency, Reference
from captum_paramsal.demo import load_model, load_scenes, normalize
from captum_paramsal.errors import FewSamplesWarning, InputError, ReferenceMismatchError, TriageFileError
from captum_paramsal.filters import FilterIndex
from captum_paramsal.triage import Triage, set_saliency, triage

QUIET = {"show_progress": False}


def answered(model, images):
    """Labels that the model gives."""
    with torch.no_grad():
        return model(images).argmax(dim=1)


def with_mistakes(count=60, share=3):
    """A network, and images every third of which has another label than it says."""
    model, (images, _) = small_model(), some_images(count)
    with torch.no_grad():
        model[-1].bias -= model(images).mean(dim=0)  # so that all classes are predicted
    labels = answered(model, images)
    wrong = torch.arange(count) % share == 0
    return model, images, torch.where(wrong, (labels + 1) % 4, labels), wrong


def batches_of(images, labels, size=16):
    return list(zip(images.split(size), labels.split(size), strict=True))


@pytest.fixture(scope="module")
def sorted_out():
    model, images, labels, wrong = with_mistakes()
    return triage(model, batches_of(images, labels), **QUIET), model, images, labels, wrong


def test_mistakes_and_pairs(sorted_out):
    found, model, images, labels, wrong = sorted_out
    assert found.images.tolist() == wrong.nonzero()[:, 0].tolist()
    assert torch.equal(found.labels, labels[wrong])
    assert torch.equal(found.predicted, answered(model, images)[wrong])
    pairs = found.confusion_pairs()
    assert sum(pair.count for pair in pairs) == len(found) == 20
    assert [pair.count for pair in pairs] == sorted((pair.count for pair in pairs), reverse=True)
    for pair in pairs:
        own = (labels == pair.label) & (answered(model, images) == pair.predicted)
        assert pair.count == own.sum()
        assert pair.share == pair.count / (labels == pair.label).sum().item()


def test_scores_are_those_of_the_sets(sorted_out):
    found, model, images, labels, wrong = sorted_out
    reference = Reference.fit(model, batches_of(images, labels), **QUIET)
    sets = [wrong.nonzero()[:, 0], *(found.images[found.members(g)] for g in range(found.group_count))]
    for row, places in enumerate(sets):
        expected = set_saliency(model, images[places], labels[places], reference)
        for name in ("coherence", "excess", "pull"):
            torch.testing.assert_close(getattr(found, name)[row], getattr(expected, name)[0], rtol=1e-6, atol=1e-9)


def test_pull_is_the_change_of_the_loss_with_the_filters_size():
    model, images, labels, wrong = with_mistakes(24)
    reference = Reference.fit(model, batches_of(images, labels), **QUIET)
    found = set_saliency(model, images[wrong], labels[wrong], reference)
    step = 1e-5

    def loss():
        with torch.no_grad():
            return nn.functional.cross_entropy(model(images[wrong]), labels[wrong])

    for place in (0, 7):
        one = found.filters[place]
        weight = model.get_submodule(one.layer).weight.data
        before = weight[one.index].clone()
        weight[one.index] = (1 + step) * before
        above = loss()
        weight[one.index] = (1 - step) * before
        below = loss()
        weight[one.index] = before
        torch.testing.assert_close(found.pull[0, place], (above - below) / (2 * step), rtol=1e-6, atol=1e-9)


def test_a_broken_filter_is_found_among_all_mistakes():
    """Of the demo, with a reference of the damaged network, and with the mistakes it made before among them."""
    model, scenes = load_model(), load_scenes("test")[:150]
    images = normalize(scenes.images)
    broken = Filter("block1.shortcut.0", 12)
    with torch.no_grad():
        model.get_submodule(broken.layer).weight[broken.index] *= -1
    found = triage(model, batches_of(images, scenes.labels, 60), **QUIET)
    assert len(found) > 25
    assert broken in [one.filter for one in found.guilty(k=3)]
    assert bool(found.significant[found.filters.index(broken)])


def test_significance_is_that_of_relative_ranks_within_classes(sorted_out):
    found, model, images, labels, wrong = sorted_out
    assert found.context["compared_within"] == "classes"
    profile = ParameterSaliency(model).attribute(images, labels)
    relative = profile / profile.mean(dim=1, keepdim=True)
    place, wins, pairs = 3, 0.0, 0
    for label in range(4):
        here = labels == label
        own, others = relative[here & wrong, place], relative[here & ~wrong, place]
        wins += float((own[:, None] > others).sum())
        pairs += len(own) * len(others)
    assert found.superiority[place].item() == pytest.approx(wins / pairs)
    assert ((found.q_values >= 0) & (found.q_values <= 1)).all()
    assert torch.equal(found.significant, found.q_values <= 0.05)


def test_saved_and_loaded(sorted_out, tmp_path):
    found = sorted_out[0]
    found.save(tmp_path / "triage.safetensors")
    again = Triage.load(tmp_path / "triage.safetensors")
    assert again.to_table() == found.to_table()
    assert again.confusion_pairs() == found.confusion_pairs()
    assert (again.filters, again.context) == (found.filters, found.context)
    assert torch.equal(again.neighbors, found.neighbors)
    assert torch.equal(again.neighbor_similarity, found.neighbor_similarity)
    (tmp_path / "damaged.safetensors").write_bytes((tmp_path / "triage.safetensors").read_bytes()[:-7])
    with pytest.raises(TriageFileError, match="damaged"):
        Triage.load(tmp_path / "damaged.safetensors")
    with pytest.raises(TriageFileError, match="nowhere"):
        found.save(tmp_path / "nowhere" / "triage.safetensors")


def test_filters_with_biases_stay_those_with_biases(sorted_out, tmp_path):
    filters = FilterIndex(sorted_out[0].filters.counts, bias=True)
    replace(sorted_out[0], filters=filters).save(tmp_path / "triage.safetensors")
    assert Triage.load(tmp_path / "triage.safetensors").filters == filters


def test_the_table_has_the_guiltiest_filters_of_every_group(sorted_out):
    found = sorted_out[0]
    table = found.to_table(k=4)
    assert len(table) == 4 * (1 + found.group_count)
    assert table[0]["filter"] == str(found.guilty(k=1)[0].filter)
    assert 0 < table[0]["score"] <= 3 / 11
    assert [row["score"] for row in table[:4]] == sorted((row["score"] for row in table[:4]), reverse=True)


def test_batch_sizes_change_nothing(sorted_out):
    found, model, images, labels, _ = sorted_out
    again = triage(model, batches_of(images, labels, 7), internal_batch_size=2, **QUIET)
    torch.testing.assert_close(again.coherence, found.coherence, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(again.q_values, found.q_values)
    assert torch.equal(again.groups, found.groups)


def test_classes_without_right_images_are_compared_with_all():
    model, images, labels, wrong = with_mistakes()
    # Class 3 alone is right, the mistakes are of others.
    lonely = torch.where(wrong, labels, 3)
    images = torch.where((~wrong & (answered(model, images) != 3))[:, None, None, None], images[:1], images)
    keep = wrong | (answered(model, images) == 3)
    keep &= ~wrong | (labels != 3)
    with pytest.warns(FewSamplesWarning, match="right images of all classes"):
        found = triage(model, batches_of(images[keep], lonely[keep]), **QUIET)
    assert found.context["compared_within"] == "all images"


def test_what_cannot_be_sorted(sorted_out):
    found, model, images, labels, _ = sorted_out
    right = answered(model, images)
    with pytest.raises(InputError, match="gets all 60 images right"):
        triage(model, batches_of(images, right), **QUIET)
    with pytest.raises(InputError, match="check labels and classes"):
        triage(model, batches_of(images, (right + 1) % 4), **QUIET)
    with pytest.raises(InputError, match="no batches"):
        triage(model, [], **QUIET)
    with pytest.raises(InputError, match="without labels"):
        triage(model, [images], **QUIET)
    with pytest.raises(InputError, match="`level`"):
        triage(model, batches_of(images, labels), level=0.0, **QUIET)
    narrow = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 4)).double()
    other = Reference.fit(narrow, [(images, labels)], **QUIET)
    with pytest.raises(ReferenceMismatchError, match=r"of th(e|is) reference"):
        triage(model, batches_of(images, labels), other, **QUIET)
    with pytest.raises(InputError, match="two images"):
        set_saliency(model, images[:1], labels[:1], other)
    with pytest.raises(InputError, match="Expected a group"):
        found.guilty(99)


def test_the_model_is_left_as_it_was(sorted_out):
    _, model, images, labels, _ = sorted_out
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    triage(model, batches_of(images, labels), **QUIET)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(parameter.grad is not None for parameter in model.parameters())


def test_similarity_by_its_old_name(sorted_out):
    found = sorted_out[0]
    with pytest.warns(DeprecationWarning, match=r"`Triage\.likeness` is now `Triage\.similarity`"):
        assert found.likeness is found.similarity


class Named(nn.Module):
    """Inputs by name in an order of its own, as tokenizers give them, and a factor."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.word, self.kind, self.mix, self.head = nn.Linear(3, 6), nn.Linear(3, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, words, mask=None, kinds=None, scale=1.0):
        mixed = self.word(words) + (0 if kinds is None else self.kind(kinds))
        mixed = mixed if mask is None else mixed * mask.mean(2, keepdim=True)
        return scale * self.head(self.mix(mixed.relu()).relu().mean(1))


@pytest.mark.filterwarnings("ignore::captum_paramsal.FewSamplesWarning")
def test_names_of_inputs_and_arguments_reach_every_pass():
    drawn = torch.Generator().manual_seed(1)
    words, mask, kinds = (torch.rand(40, 5, 3, generator=drawn) for _ in range(3))
    labels = torch.randint(3, (40,), generator=drawn)
    model = Named().eval()

    def sorted_by(batch):
        return triage(model, [batch], layers=["word", "mix"], show_progress=False)

    expected = sorted_by((words, labels, (mask, kinds, 3.0)))
    named = {"words": words, "kinds": kinds, "mask": mask}
    for batch in ((words, labels, {"mask": mask, "kinds": kinds, "scale": 3.0}), (named, labels, {"scale": 3.0})):
        found = sorted_by(batch)
        assert torch.equal(found.images, expected.images)
        torch.testing.assert_close(found.pull, expected.pull)
        torch.testing.assert_close(found.excess, expected.excess)


class Certain(nn.Module):
    """The same answers, with scores so far apart that most right images have no gradient left."""

    def __init__(self, model, factor):
        super().__init__()
        self.net, self.factor = model, factor

    def forward(self, images):
        return self.net(images) * self.factor


@pytest.mark.filterwarnings("ignore:.* mistakes have a right image of their class")
def test_images_without_a_gradient_make_no_filter_stand_out():
    model, images, labels, _ = with_mistakes(count=240)
    model, images = model.float(), images.float()
    with torch.no_grad():
        spread = model(images).std()
    usual = triage(model, [(images, labels)], **QUIET)
    certain = Certain(model, float(150 / spread))
    profile = ParameterSaliency(certain).attribute(images, target=labels)
    lost = int((profile == 0).all(dim=1).sum())
    assert 20 < lost < 160
    with pytest.warns(FewSamplesWarning, match=f"{lost} of 240 images have a gradient of 0"):
        found = triage(certain, [(images, labels)], **QUIET)
    assert found.context["without_gradient"] == lost
    assert usual.context["without_gradient"] == 0
    # A share of a whole cannot be larger in every filter.
    assert float(found.superiority.mean()) == pytest.approx(0.5, abs=0.1)
    assert not found.significant.all()


def test_right_images_of_which_none_has_a_gradient_are_nothing_to_compare_with():
    model, images, labels, _ = with_mistakes()
    with pytest.warns(FewSamplesWarning, match="gradient of 0"), pytest.raises(InputError, match="gradient is above 0"):
        triage(Certain(model, 1e6), [(images, labels)], **QUIET)


def test_the_guilty_of_a_group_are_those_of_all_scores(sorted_out):
    found = sorted_out[0]
    every = found.saliency.score
    for row, group in enumerate([None, *range(found.group_count)]):
        places = every[row].argsort(descending=True, stable=True)[:5]
        assert [one.filter for one in found.guilty(group, 5)] == [found.filters[place] for place in places.tolist()]
        assert [one.score for one in found.guilty(group, 5)] == every[row][places].tolist()
