import pytest
import torch
from torch import nn

from captum_paramsal.demo import load_model, make_scenes, normalize
from captum_paramsal.errors import InputError, ModelError, TargetError
from captum_paramsal.triage import label_doubts, prediction_doubts

CLASSES = 3


def network():
    """Features are the mean over places of a convolution's maps."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, CLASSES)]
    return nn.Sequential(*layers).eval()


def some(count=14):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, 2, 6, 6, generator=generator), torch.arange(count) % CLASSES


def literal(model, inputs, labels, k):
    """Image by image, in double precision."""
    model = model.double()
    inputs = inputs.double()
    features = [model[:4](image[None])[0] for image in inputs]
    mean = sum(features) / len(features)
    found = []
    for i, image in enumerate(inputs):
        probability = model(image[None])[0].softmax(dim=0)
        alike = []
        for j, other in enumerate(features):
            a, b = features[i] - mean, other - mean
            alike.append(-2.0 if i == j else float(a @ b / (a.norm() * b.norm())))
        near = sorted(range(len(inputs)), key=lambda j: -alike[j])[:k]
        share = [sum(int(labels[j]) == c for j in near) / k for c in range(CLASSES)]
        own = int(labels[i])
        mean_of_both = [(float(probability[c]) + share[c]) / 2 for c in range(CLASSES)]
        found.append((near, 1 - mean_of_both[own], mean_of_both.index(max(mean_of_both))))
    return found


@pytest.mark.parametrize("size", [3, 14])
def test_doubts_are_those_of_a_loop_over_images(size):
    inputs, labels = some()
    batches = list(zip(inputs.split(size), labels.split(size), strict=True))
    found = label_doubts(network(), batches, neighbors=4, show_progress=False)
    with torch.no_grad():
        expected = literal(network(), inputs, labels, 4)
    assert found.neighbors.tolist() == [near for near, _, _ in expected]
    torch.testing.assert_close(
        found.doubt, torch.tensor([doubt for _, doubt, _ in expected]).double(), rtol=0, atol=1e-6
    )
    assert found.suggested.tolist() == [suggested for _, _, suggested in expected]


def test_planted_labels_come_first():
    scenes = make_scenes(400, seed=5, cue_agreement=0.9)
    labels = scenes.labels.clone()
    wrong = torch.randperm(400, generator=torch.Generator().manual_seed(0))[:20]
    labels[wrong] = (labels[wrong] + 3) % 8
    found = label_doubts(load_model(), [(normalize(scenes.images), labels)], show_progress=False)
    first = {row["image"] for row in found.to_table(20)}
    assert len(first & {*wrong.tolist()}) >= 16
    named = found.likely_wrong.nonzero()[:, 0].tolist()
    hits = len({*named} & {*wrong.tolist()})
    assert hits >= 18
    assert hits >= 0.6 * len(named)
    assert "likely wrong" in repr(found)


def test_maps_before_a_last_convolution_are_averaged():
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 5, 3), nn.ReLU(), nn.Conv2d(5, CLASSES, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    inputs, labels = some()
    model = nn.Sequential(*layers).eval()
    found = label_doubts(model, [(inputs, labels)], neighbors=2, show_progress=False)
    with torch.no_grad():
        features = model[:2](inputs).mean(dim=(2, 3)).double()
    rows = nn.functional.normalize(features - features.mean(dim=0), dim=1)
    assert found.neighbors[:, 0].tolist() == (rows @ rows.T).fill_diagonal_(-2).argmax(dim=1).tolist()


def test_inputs_by_name():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network()

        def forward(self, *, pixels):
            return {"logits": self.inner(pixels)}

    inputs, labels = some()
    one = label_doubts(network(), [(inputs, labels)], neighbors=3, show_progress=False)
    other = label_doubts(Named().eval(), [({"pixels": inputs}, labels)], neighbors=3, show_progress=False)
    assert torch.equal(one.neighbors, other.neighbors)
    torch.testing.assert_close(one.doubt, other.doubt)


def test_the_model_is_left_as_it_was():
    model = network().train()
    inputs, labels = some()
    label_doubts(model, [(inputs, labels)], neighbors=3, show_progress=False)
    assert model.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_what_cannot_be_doubted_is_refused():
    inputs, labels = some()
    with pytest.raises(InputError, match=r"at least 14 other images with labels, .* got 13"):
        label_doubts(network(), [(inputs, labels)], neighbors=14, show_progress=False)
    with pytest.raises(InputError, match="`neighbors` of at least 1, got 0"):
        label_doubts(network(), [(inputs, labels)], neighbors=0)
    with pytest.raises(InputError, match="without labels, batch 0"):
        label_doubts(network(), [(inputs,)], show_progress=False)
    with pytest.raises(InputError, match="got no batches"):
        label_doubts(network(), [], show_progress=False)
    with pytest.raises(TargetError):
        label_doubts(network(), [(inputs, labels + 3)], neighbors=3, show_progress=False)


def test_a_last_layer_that_runs_twice_is_refused():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Flatten(), nn.Linear(72, CLASSES)

        def forward(self, images):
            return self.head(self.body(images)) + self.head(self.body(images).flip(1))

    inputs, labels = some()
    with pytest.raises(ModelError, match="'head', to run once for each image, got 28 rows for 14 images"):
        label_doubts(Twice().eval(), [(inputs, labels)], neighbors=3, show_progress=False)


def test_answers_are_doubted_by_other_images():
    inputs, labels = some(20)
    asked, known = inputs[:6], (inputs[6:], labels[6:])
    found = prediction_doubts(network(), [asked[:4], asked[4:]], [known], neighbors=4, show_progress=False)
    model = network().double()
    with torch.no_grad():
        probability = model(asked.double()).softmax(dim=1)
        features, others = (model[:4](part.double()) for part in (asked, known[0]))
    mean = others.mean(dim=0)
    for row in range(6):
        alike = nn.functional.cosine_similarity((features[row] - mean)[None], others - mean)
        near = alike.argsort(descending=True)[:4]
        answer = int(probability[row].argmax())
        share = (known[1][near] == answer).double().mean()
        assert int(found.classes[row]) == answer
        assert found.neighbors[row].tolist() == near.tolist()
        assert float(found.doubt[row]) == pytest.approx(float(1 - (probability[row, answer] + share) / 2), abs=1e-6)
    assert not found.likely_wrong.any()


def test_labels_of_what_is_asked_do_not_matter():
    inputs, labels = some(20)
    known = [(inputs[6:], labels[6:])]
    one, other = (
        prediction_doubts(network(), batches, known, neighbors=4, show_progress=False)
        for batches in ([inputs[:6]], [(inputs[:6], labels[:6] + 40)])
    )
    assert torch.equal(one.doubt, other.doubt)
