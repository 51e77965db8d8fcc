"""What Model Doctor learns of a data set and says of mistakes: equal to one image at a time."""

import math
import warnings

import pytest
import torch
from cases import doctor_networks as nets, networks
from cases.doctor_cases import drawn_for
from cases.images import image
from oracles import model_doctor as oracle
from oracles.weights import seeded
from torch import nn

from captum_paramsal import ModelDoctor, demo
from captum_paramsal.errors import (
    ConstantEvidenceWarning,
    DiagnosisFileError,
    FewSamplesWarning,
    InputError,
    LayerError,
    ParamsalError,
)

few = pytest.mark.filterwarnings("ignore::captum_paramsal.FewSamplesWarning")
THRESHOLDS = [0.2, 0.05, 0.7, "mean"]
NOISE = {"noise_samples": 2, "noise_range": 0.3}


COUNT = 48


class Known:
    """A small network, labelled images of which it gets some wrong, and the slow examination of each."""

    classes = 4
    layer = "layer1"

    def __init__(self, count=COUNT):
        x = image(count, 2, 10, 10, seed=5)
        self.model = seeded(nets.SmallResNet().double(), x)
        self.x = x
        with torch.no_grad():
            # As sure as it can be of some images, of every class about as often.
            fc = self.model.fc
            fc.weight *= 12
            fc.bias -= self.model(x).mean(0)
            self.predicted = self.model(x).argmax(1)
        self.y = self.predicted.clone()
        wrong = torch.arange(0, count, 6)
        self.y[wrong] = (self.y[wrong] + 1 + wrong % 3) % 4
        self.doctor = ModelDoctor(self.model, self.layer, **NOISE)
        self.drawn = drawn_for((4, 5, 5), **NOISE)
        self.samples = oracle.examined(self.model, x, self.y, self.layer, self.drawn)

    def batches(self, size, order=None):
        order = torch.arange(len(self.x)) if order is None else order
        return [(self.x[part], self.y[part]) for part in order.split(size)]

    def fit(self, size=16, order=None, **options):
        options = {"confidence": 0.6, "samples_per_class": 5, "show_progress": False} | options
        return self.doctor.fit(self.batches(size, order), **options)

    def usual(self, number):
        """a(k) of every correct image of a class, ``(n, K)``."""
        rows = [s.correlation for s in self.samples if s.correct and s.label == number]
        return torch.tensor(rows, dtype=torch.float64)


@pytest.fixture(scope="module")
def known():
    return Known()


@pytest.fixture(scope="module")
def diagnosis(known):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FewSamplesWarning)
        return known.fit()


def close(found, expected):
    expected = torch.as_tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(found.double(), expected, rtol=1e-9, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("confidence", [0.0, 0.6, 0.9])
@pytest.mark.parametrize("samples_per_class", [1, 3, 100])
@few
def test_class_channel_matrix(known, confidence, samples_per_class):
    found = known.fit(confidence=confidence, samples_per_class=samples_per_class)
    expected, counts = oracle.class_channel(known.samples, 4, confidence, samples_per_class)
    assert found.counts.tolist() == counts
    assert sum(counts) >= 3
    assert found.correlation.dtype == torch.float64
    close(found.correlation, expected)


@pytest.mark.parametrize(
    "way",
    [{"reduce": "relu"}, {"score": "probability"}, {"multiply_by_inputs": True, "noise": "normal", "seed": 3}],
    ids=str,
)
@few
def test_options_of_the_doctor(known, way):
    found = ModelDoctor(known.model, known.layer, **NOISE, **way).fit(
        known.batches(20), confidence=0.5, samples_per_class=4, show_progress=False
    )
    rules = oracle.Rules(**{key: value for key, value in way.items() if key not in {"noise", "seed"}})
    samples = oracle.examined(
        known.model, known.x, known.y, known.layer, drawn_for((4, 5, 5), **NOISE, **way), rules=rules
    )
    expected, counts = oracle.class_channel(samples, 4, 0.5, 4)
    assert found.counts.tolist() == counts
    close(found.correlation, expected)
    expected = {"noise_range": 0.3, "noise_samples": 2, "confidence": 0.5, "samples_per_class": 4} | way
    assert {key: found.settings[key] for key in expected} == expected


BESIDE = {
    "second": lambda: nets.ImagesInOtherDimensions("second"),
    "last": lambda: nets.ImagesInOtherDimensions("last"),
    "folded": lambda: nets.ImagesInOtherDimensions("folded"),
    "around": lambda: networks.Around(nn.Conv2d(2, 4, 3), 4),
    "of sizes": nets.MadeOfSizes,
    "of ones": lambda: nets.MadeOfSizes(of_ones=True),
    "rows": lambda: nets.SizesBefore("rows"),
}


@pytest.mark.parametrize("count", [4, 7])
@pytest.mark.parametrize("name", BESIDE)
@few
def test_images_beside_a_layer_in_a_diagnosis(name, count):
    side = 5 if name == "rows" else 7
    x = image(count, 2, side, side)
    model = seeded(BESIDE[name]().double(), x)
    with torch.no_grad():
        y = model(x).argmax(1)
    y[1::2] = (y[1::2] + 1) % 3
    doctor = ModelDoctor(model, "layer", **NOISE)
    diagnosis = doctor.fit([(x, y)], confidence=0.0, show_progress=False)
    samples = oracle.examined(model, x, y, "layer", drawn_for((4, side - 2, side - 2), **NOISE))
    close(diagnosis.correlation, oracle.class_channel(samples, 3, 0.0)[0])
    findings = doctor.diagnose(x, y, diagnosis)
    wrong = [s.correlation for s in samples if not s.correct]
    close(findings.correlation, torch.tensor(wrong, dtype=torch.float64))


def test_the_settings_are_all_there(diagnosis):
    assert {key: diagnosis.settings[key] for key in diagnosis.settings if key != "usual_per_class"} == {
        "noise_samples": 2, "noise_range": 0.3, "noise": "uniform", "reduce": "abs", "score": "logit",
        "multiply_by_inputs": False, "confidence": 0.6, "samples_per_class": 5, "seed": 0,
    }  # fmt: skip
    assert diagnosis.layer == "layer1"
    assert (diagnosis.classes, diagnosis.channels) == (4, 4)


@pytest.mark.parametrize(
    ("size", "shuffled"), [pytest.param(1, True, marks=pytest.mark.slow), (9, False), (COUNT, True)]
)
@few
def test_batches_and_their_order_do_not_matter(known, diagnosis, size, shuffled):
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(size)) if shuffled else None
    found = known.fit(size, order, internal_batch_size=4)
    assert found.counts.tolist() == diagnosis.counts.tolist()
    close(found.correlation, diagnosis.correlation)
    for number in range(4):
        close(in_order(found.usual_of(number)), in_order(known.usual(number)))


def in_order(rows):
    return rows[rows[:, 0].argsort()]


@few
def test_at_most_so_many_usual_rows(known):
    for order in (None, torch.arange(COUNT).flip(0)):
        found = known.fit(usual_per_class=3, order=order)
        for number in range(4):
            all_of_them = known.usual(number)
            assert len(found.usual_of(number)) == min(3, len(all_of_them))
            for row in found.usual_of(number).double():
                assert float((all_of_them - row).abs().amax(1).min()) < 1e-9


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_relevant_channels_sparsity_and_overlap(diagnosis, threshold):
    table = diagnosis.correlation.tolist()
    sets = [oracle.relevant(row, threshold) for row in table]
    found = diagnosis.relevant(threshold)
    assert found.dtype == torch.bool
    assert [{k for k in range(4) if row[k]} for row in found.tolist()] == sets
    close(diagnosis.sparsity(threshold), [len(s) / 4 for s in sets])
    close(diagnosis.overlap(threshold), [[oracle.jaccard(a, b) for b in sets] for a in sets])
    random = [[oracle.expected_jaccard(len(a), len(b), 4) for b in sets] for a in sets]
    found = diagnosis.overlap_by_chance(threshold)
    others = ~torch.eye(4, dtype=torch.bool)  # a class compared with itself is no comparison
    close(found[others], torch.tensor(random, dtype=torch.float64)[others])


def test_normalized(diagnosis):
    close(diagnosis.normalized, [oracle.normalized(row) for row in diagnosis.correlation.tolist()])
    close(diagnosis.relevant(), diagnosis.relevant(0.2).double())


def test_a_class_without_samples_has_no_row(known):
    chosen = (known.y != 2) | (known.y != known.predicted)
    with pytest.warns(FewSamplesWarning) as told:
        found = known.doctor.fit(
            [(known.x[chosen], known.y[chosen])], confidence=0.3, samples_per_class=9, show_progress=False
        )
    (message,) = {str(one.message) for one in told}
    kept = [s for s, there in zip(known.samples, chosen, strict=True) if there]
    expected, counts = oracle.class_channel(kept, 4, 0.3, 9)
    assert counts[2] == 0
    assert "2" in message
    assert found.counts.tolist() == counts
    close(found.correlation, expected)
    assert found.normalized[2].isnan().all()
    assert not found.relevant()[2].any()
    assert not found.relevant("mean")[2].any()
    assert found.sparsity()[2].isnan()
    assert found.overlap()[2].isnan().all()
    assert found.overlap()[:, 2].isnan().all()
    assert found.overlap_by_chance()[2].isnan().all()
    assert len(found.usual_of(2)) == 0


def test_few_samples_are_told_with_class_and_count(known):
    _, counts = oracle.class_channel(known.samples, 4, 0.9, 100)
    scarce = [f"{number} ({count})" for number, count in enumerate(counts) if count < 5]
    assert 0 < len(scarce) < 4
    with pytest.warns(FewSamplesWarning, match="fewer than 5 ") as told:
        known.fit(confidence=0.9)
    (message,) = {str(one.message) for one in told}
    assert all(one in message for one in scarce)
    assert message.count("(") == len(scarce)
    known.fit(samples_per_class=100)  # enough of every class: no warning
    known.fit(confidence=0.9, minimum=min(counts))
    with pytest.warns(FewSamplesWarning, match=f"fewer than {max(counts) + 1} "):
        known.fit(confidence=0.9, samples_per_class=100, minimum=max(counts) + 1)


def test_no_sample_at_all_is_an_error(known):
    wrong = (known.predicted + 1) % 4
    with pytest.raises(InputError, match="probability of at least"):
        known.doctor.fit([(known.x, wrong)], show_progress=False)
    with pytest.raises(InputError, match=r"at least 1\.0, got none"):
        known.doctor.fit([(known.x, known.y)], confidence=1.0, show_progress=False)
    with pytest.raises(InputError, match="got none"):
        known.doctor.fit([], show_progress=False)


@pytest.mark.parametrize(
    "options",
    [{"confidence": 1.5}, {"confidence": -0.1}, {"samples_per_class": 0}, {"confidence": math.nan}],
    ids=str,
)
def test_options_out_of_range(known, options):
    with pytest.raises(ParamsalError, match=f"got .*{next(iter(options.values()))}"):
        known.fit(**options)


def test_one_layer_only(known):
    with pytest.raises(LayerError, match="one of 'layer2', 'layer1'"):
        ModelDoctor(known.model, ["layer2", "layer1"]).fit(known.batches(20), show_progress=False)


@few
def test_training_mode(known, diagnosis):
    state = {key: value.clone() for key, value in known.model.state_dict().items()}
    known.model.train()
    try:
        found = known.fit(7)
        assert known.model.training
    finally:
        known.model.eval()
    close(found.correlation, diagnosis.correlation)
    assert all(torch.equal(value, state[key]) for key, value in known.model.state_dict().items())


def test_saved_and_loaded(known, diagnosis, tmp_path):
    diagnosis.save(tmp_path / "diagnosis.safetensors")
    loaded = type(diagnosis).load(tmp_path / "diagnosis.safetensors")
    assert torch.equal(loaded.correlation.nan_to_num(-1), diagnosis.correlation.nan_to_num(-1))
    assert torch.equal(loaded.counts, diagnosis.counts)
    assert (loaded.layer, loaded.settings) == (diagnosis.layer, diagnosis.settings)
    for number in range(4):
        assert torch.equal(loaded.usual_of(number), diagnosis.usual_of(number))
    loaded.check(known.model)
    first, second = (known.doctor.diagnose(known.x, known.y, one) for one in (diagnosis, loaded))
    assert torch.equal(first.p_values, second.p_values)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other"])
def test_damaged_files(diagnosis, tmp_path, damage):
    path = tmp_path / "diagnosis.safetensors"
    diagnosis.save(path)
    whole = path.read_bytes()
    middle = len(whole) * 3 // 4
    damaged = {
        "cut": whole[:-100],
        "flipped": whole[:middle] + bytes([whole[middle] ^ 16]) + whole[middle + 1 :],
        "empty": b"",
        "other": b"not a diagnosis" * 100,
    }
    path.write_bytes(damaged[damage])
    with pytest.raises(DiagnosisFileError, match=r"diagnosis\.safetensors"):
        type(diagnosis).load(path)
    with pytest.raises((DiagnosisFileError, OSError), match="absent"):
        type(diagnosis).load(tmp_path / "absent")


def test_other_weights_are_refused(known, diagnosis):
    other = seeded(nets.SmallResNet().double(), known.x, seed=9)
    with pytest.raises(ParamsalError, match="weights this diagnosis was made of"):
        diagnosis.check(other)
    with pytest.raises(ParamsalError, match="weights this diagnosis was made of"):
        ModelDoctor(other, "layer1", **NOISE).diagnose(known.x, known.y, diagnosis)
    with pytest.raises(ParamsalError, match="layer 'layer2', got one of 'layer1'"):
        ModelDoctor(known.model, "layer2", **NOISE).diagnose(known.x, known.y, diagnosis)
    with pytest.raises(ParamsalError, match=r"'relu'.*'abs'"):
        ModelDoctor(known.model, "layer1", reduce="relu", **NOISE).diagnose(known.x, known.y, diagnosis)


def test_the_table(diagnosis):
    table = diagnosis.to_table()
    assert len(table) == 4 * 4
    for row in table:
        n, k = row["class"], row["channel"]
        assert row["samples"] == int(diagnosis.counts[n])
        for name in ("correlation", "normalized"):
            expected = float(getattr(diagnosis, name)[n, k])
            assert row[name] == expected or (math.isnan(expected) and (row[name] is None or math.isnan(row[name])))


@pytest.fixture(scope="module")
def masks():
    return torch.rand(COUNT, 10, 10, generator=torch.Generator().manual_seed(1)) > 0.6


@pytest.fixture(scope="module")
def findings(known, diagnosis, masks):
    return known.doctor.diagnose(known.x, known.y, diagnosis, masks=masks)


def test_images_that_are_right_are_left_out(known, findings):
    wrong = (known.y != known.predicted).nonzero()[:, 0]
    assert findings.images.tolist() == wrong.tolist()
    assert findings.labels.tolist() == known.y[wrong].tolist()
    assert findings.predicted.tolist() == known.predicted[wrong].tolist()
    close(findings.confidence, [known.samples[n].confidence for n in wrong.tolist()])


def test_what_a_finding_says(known, diagnosis, findings, masks):
    rows = diagnosis.correlation.tolist()
    for i, n in enumerate(findings.images.tolist()):
        sample = known.samples[n]
        close(findings.correlation[i], sample.correlation)
        usual = known.usual(sample.predicted)
        middle = usual.sort(dim=0).values[[(len(usual) - 1) // 2, len(usual) // 2]]
        assert ((middle[0] - 1e-12 <= findings.usual[i]) & (findings.usual[i] <= middle[1] + 1e-12)).all()
        predicted, label = (oracle.relevant(rows[number]) for number in (sample.predicted, sample.label))
        assert set(findings.for_predicted[i].nonzero()[:, 0].tolist()) == predicted
        assert set(findings.for_label[i].nonzero()[:, 0].tolist()) == label
        assert float(findings.deviation[i]) == pytest.approx(
            oracle.deviation(sample.correlation, rows[sample.predicted]), rel=1e-9
        )
        maps = oracle.evidence(known.model, known.x[n : n + 1], [sample.predicted], known.layer, known.drawn)[0]
        close(findings.evidence[i], maps.sum(0))
        wrong = (findings.p_values[i] <= 0.05).nonzero()[:, 0]
        close(findings.wrong_evidence[i], maps[wrong].sum(0))
        share = oracle.background_share(maps.sum(0), masks[n])
        assert float(findings.background[i]) == pytest.approx(share, rel=1e-6)
        assert float(findings.background_area[i]) == pytest.approx(float((~masks[n]).double().mean()), rel=1e-6)


def test_p_values_are_shares_of_the_usual_in_the_body(known, findings):
    for i, n in enumerate(findings.images.tolist()):
        usual = known.usual(known.samples[n].predicted)
        for k in range(4):
            p, a = float(findings.p_values[i, k]), known.samples[n].correlation[k]
            assert 0 <= p <= 1
            share = float((usual[:, k] >= a).double().mean())
            if share > 0.3:
                assert abs(p - share) <= 2 / len(usual), "counting itself or not"


def test_the_top_channels(findings):
    top = findings.top(3)
    assert len(top) == len(findings.images)
    for i, row in enumerate(top):
        assert len(row) <= 3
        assert all(p == float(findings.p_values[i, k]) for k, p in row)
        assert [p for _, p in row] == sorted(p for _, p in row)


def test_without_masks_there_is_no_background(known, diagnosis):
    findings = known.doctor.diagnose(known.x, known.y, diagnosis)
    assert findings.background.isnan().all()
    assert findings.background_area.isnan().all()


def test_nothing_wrong_nothing_found(known, diagnosis):
    findings = known.doctor.diagnose(known.x, known.predicted, diagnosis)
    assert findings.images.tolist() == []
    assert findings.p_values.shape == (0, 4)
    assert findings.evidence.shape[0] == 0
    assert findings.top() == []
    assert findings.to_table() == []


@pytest.mark.parametrize("size", [pytest.param(1, marks=pytest.mark.slow), 5, 64])
def test_internal_batch_size_of_a_diagnosis(known, diagnosis, findings, masks, size):
    found = known.doctor.diagnose(known.x, known.y, diagnosis, masks=masks, internal_batch_size=size)
    for name in ("correlation", "p_values", "evidence", "wrong_evidence", "background", "deviation"):
        close(getattr(found, name), getattr(findings, name))


@pytest.mark.parametrize("shape", [(COUNT - 1, 10, 10), (COUNT, 10), (COUNT, 1, 10, 10), (COUNT, 9, 10)], ids=str)
def test_masks_of_other_shapes_are_refused(known, diagnosis, shape):
    with pytest.raises(InputError, match=r"`masks` of shape \(48, 10, 10\)"):
        known.doctor.diagnose(known.x, known.y, diagnosis, masks=torch.zeros(shape, dtype=torch.bool))


def test_findings_are_saved_and_loaded(findings, tmp_path):
    findings.save(tmp_path / "findings")
    loaded = type(findings).load(tmp_path / "findings")
    for name in ("images", "labels", "predicted", "p_values", "evidence", "background"):
        assert torch.equal(getattr(loaded, name), getattr(findings, name))


class RandomChannels(nn.Module):
    """Six maps that hardly matter, and three more channels that say which class it is and how surely.

    a(k) for class n is ``|w_nk|`` times the mean of map k: a number as random as the picture's maps.
    """

    def __init__(self):
        super().__init__()
        self.maps = nn.Identity()
        self.register_buffer("weight", torch.randn(3, 6, generator=torch.Generator().manual_seed(0)).abs() * 1e-4)

    def forward(self, x):
        return self.maps(x[:, :6]).square().mean((2, 3)) @ self.weight.T / 2 + x[:, 6:].mean((2, 3))


LAWS = {
    "lognormal": torch.exp,
    "even": torch.special.ndtr,
    "heaped at its end": lambda z: 1.01 - torch.special.ndtr(z) ** 2,
    "nine values": lambda z: (9 * torch.special.ndtr(z)).ceil(),
    "mostly the largest value": lambda z: (z + 3).clamp(0.1, 1.5),
}


def pictures(count, seed, law="lognormal"):
    """Maps of random size, the larger the surer the network is of the class; it is always right."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (count,), generator=generator)
    z = torch.randn(count, 7, generator=generator, dtype=torch.float64)
    sizes = LAWS[law](0.6 * z[:, :6] + 0.8 * z[:, 6:])
    says = torch.nn.functional.one_hot(labels, 3) * (0.5 + 8 * torch.special.ndtr(z[:, 6:]))
    return torch.cat([sizes, says], 1)[:, :, None, None].expand(-1, -1, 2, 2).contiguous(), labels


def p_values_of_right_images(x, y, count, law="lognormal", **options):
    """P-values of other images that the network gets right, each called wrong to be looked at."""
    doctor = ModelDoctor(RandomChannels().double(), "maps", noise_samples=options.pop("noise_samples", 0))
    diagnosis = doctor.fit(zip(x.split(100), y.split(100), strict=True), show_progress=False, **options)
    held_out, labels = pictures(count, seed=2, law=law)
    findings = doctor.diagnose(held_out, (labels + 1) % 3, diagnosis)
    assert len(findings.images) == count
    assert findings.predicted.tolist() == labels.tolist()
    return findings.p_values


def require_uniform(p_values, usual):
    """The share below each level is the level, within four standard errors of this sample and of the reference's."""
    for level in (0.9, 0.5, 0.2, 0.1, 0.05, 0.01):
        share = float((p_values <= level).double().mean())
        error = math.sqrt(level * (1 - level) * (1 / len(p_values) + 1 / usual))
        assert abs(share - level) < 4 * error + 3 / usual, f"{share:.4f} of the p-values are at most {level}"


@pytest.mark.parametrize("noise_samples", [0, 3])
def test_p_values_are_uniform_on_other_images_that_are_right(noise_samples):
    x, y = pictures(1400, seed=1)
    require_uniform(p_values_of_right_images(x, y, 1000, noise_samples=noise_samples), usual=1400)


@pytest.mark.parametrize("order", ["surest first", "surest last", "drawn"])
def test_p_values_are_uniform_where_not_every_image_is_kept(order):
    x, y = pictures(3000, seed=1)
    sure = x[:, 6:].amax((1, 2, 3))
    orders = {"surest first": sure.argsort(descending=True), "surest last": sure.argsort(), "drawn": torch.arange(3000)}
    x, y = x[orders[order]], y[orders[order]]
    require_uniform(p_values_of_right_images(x, y, 1000, usual_per_class=300), usual=900)


MOST = ("lognormal", "even", "mostly the largest value")


@pytest.mark.parametrize("law", [pytest.param(law, marks=[pytest.mark.slow] * (law in MOST)) for law in LAWS])
@pytest.mark.parametrize("per_class", [20, *(pytest.param(n, marks=pytest.mark.slow) for n in (50, 130, 480))])
@few
def test_p_values_are_not_too_small_whatever_the_law(law, per_class):
    repeats = min(12, 1500 // per_class)
    p_values = []
    for seed in range(repeats):
        x, y = pictures(3 * per_class, 100 + seed, law)
        p_values.append(p_values_of_right_images(x, y, 300, law))
    assert min(float(p.min()) for p in p_values) > 1e-6
    for level in (0.5, 0.2, 0.1, 0.05, 0.01, 0.001):
        share = float((torch.cat(p_values) <= level).double().mean())
        error = math.sqrt(level * (1 - level) * (1 / 300 + 1 / (3 * per_class * repeats)))
        # Beyond the largest of n usual values, which happens once in n + 1 times, probabilities are extrapolated.
        allowed = max(level, min(10 * level, 1 / (per_class + 1))) + 4 * error
        assert share < allowed, f"{share:.4f} of the p-values are at most {level}"


def demo_scenes(count):
    scenes = demo.load_scenes("test")[:count]
    return demo.load_model().double(), demo.normalize(scenes.images).double(), scenes


@few
def test_evidence_in_front_of_a_linear_head_is_the_same_in_every_image():
    model, x, scenes = demo_scenes(24)
    doctor = ModelDoctor(model, noise_samples=0)
    diagnosis = doctor.fit([(x, scenes.labels)], show_progress=False)
    with pytest.warns(ConstantEvidenceWarning, match="block2"):
        doctor.diagnose(x, scenes.labels, diagnosis)
    weights = model.classifier.weight.detach().abs()
    there = diagnosis.counts > 0
    close(diagnosis.correlation[there], weights[there])


@pytest.mark.slow
@few
def test_the_demo():
    model, x, scenes = demo_scenes(100)
    layer, noise = "block2.conv2", {"noise_samples": 3}
    samples = oracle.examined(model, x, scenes.labels, layer, drawn_for((64, 8, 8), 3))
    expected, counts = oracle.class_channel(samples, 8, 0.9, 6)
    doctor = ModelDoctor(model, layer, **noise)
    diagnosis = doctor.fit([(x, scenes.labels)], samples_per_class=6, show_progress=False)
    assert diagnosis.counts.tolist() == counts
    close(diagnosis.correlation, expected)
    findings = doctor.diagnose(x, scenes.labels, diagnosis, masks=scenes.masks)
    wrong = [n for n, s in enumerate(samples) if not s.correct]
    assert findings.images.tolist() == wrong
    assert len(wrong) > 5
    for i, n in enumerate(wrong):
        close(findings.correlation[i], samples[n].correlation)
        maps = oracle.evidence(model, x[n : n + 1], [samples[n].predicted], layer, drawn_for((64, 8, 8), 3))[0]
        share = oracle.background_share(maps.sum(0), scenes.masks[n])
        assert float(findings.background[i]) == pytest.approx(share, rel=1e-6)
