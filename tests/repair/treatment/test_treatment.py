import json

import pytest
import torch
from repair.small_models import Small, batches, relevant, same, state
from scipy.stats import binom

from captum_paramsal.errors import PatchError, TreatmentError
from captum_paramsal.repair import Constraints, HeldOutPredictions, Patch, Treatment, treat


@pytest.fixture(scope="module")
def treatment():
    return treat(
        Small(),
        batches(),
        batches(seed=1),
        Constraints("features.3", relevant()),
        epochs=3,
        learning_rate=0.2,
        show_progress=False,
    )


def of(before, after, labels):
    def tally(predictions):
        return HeldOutPredictions(torch.tensor(labels), torch.tensor(predictions), torch.ones(len(labels)), 0.0, 3)

    model = Small()
    return Treatment(model, Patch.between(model, model), tally(before), tally(after), [], {}, 0, "validation")


def test_cured_broken_and_classes():
    found = of(before=[0, 1, 1, 0, 0, 1], after=[0, 0, 1, 1, 2, 0], labels=[0, 0, 1, 1, 1, 0])
    assert found.cured.tolist() == [1, 3, 5]
    assert found.broken.tolist() == []
    assert found.p_value == pytest.approx(2 * binom.cdf(0, 3, 0.5))
    first, second, third = found.to_table()
    assert first == {"class": 0, "images": 3, "before": pytest.approx(1 / 3), "after": 1.0, "cured": 2, "broken": 0}
    assert (second["images"], second["cured"], second["broken"]) == (3, 1, 0)
    assert third["images"] == 0
    assert third["before"] != third["before"]


def test_the_p_value_is_that_of_as_many_cured_as_broken():
    found = of(before=[0] * 9 + [1] * 6, after=[1] * 9 + [0] * 6, labels=[1] * 8 + [0] + [0] * 6)
    assert (len(found.cured), len(found.broken)) == (14, 1)
    assert found.p_value == pytest.approx(2 * (binom.pmf(0, 15, 0.5) + binom.pmf(1, 15, 0.5)))


def test_in_a_line(treatment):
    text = str(treatment)
    assert f"-> {treatment.after.accuracy:.2%} on 24 held-out images" in text
    assert f"epoch {treatment.best_epoch} of 3" in text


def test_saved_and_loaded(treatment, tmp_path):
    path = tmp_path / "treatment.json"
    treatment.save(path)
    assert {file.name for file in tmp_path.iterdir()} == {"treatment.json", "treatment.safetensors"}
    base = Small()
    before = state(base)
    loaded, bare = Treatment.load(path, base), Treatment.load(path)
    assert same(state(base), before)
    assert bare.model is None
    assert same(state(loaded.model)[0], state(treatment.model)[0])
    for name in ("before", "after"):
        assert same(vars(getattr(loaded, name)), vars(getattr(treatment, name)))
    for name in ("history", "weights", "best_epoch", "selected_on"):
        assert getattr(loaded, name) == getattr(treatment, name)
    assert loaded.to_table() == treatment.to_table()
    with pytest.raises(PatchError, match="tensors differ"):
        Treatment.load(path, Small(seed=1))


def test_files_that_are_none(treatment, tmp_path):
    path = tmp_path / "treatment.json"
    treatment.save(path)
    whole = path.read_text()
    content = json.loads(whole)
    content["best_epoch"] += 1
    old = json.loads(whole)
    old["version"] = 0
    for text, said in [
        ("", "Expected a treatment file"),
        (whole[:-9], "Expected a treatment file"),
        (json.dumps(content), "does not match its checksum"),
        (json.dumps(old), "'captum_paramsal.treatment' in version 0"),
        ("{}", "'captum_paramsal.treatment' in version 1 or 2, got one that names no format"),
    ]:
        path.write_text(text)
        with pytest.raises(TreatmentError, match=said):
            Treatment.load(path)
    with pytest.raises(TreatmentError, match="No such file"):
        Treatment.load(tmp_path / "other.json")
    path.write_text(whole)
    of([0], [0], [0]).patch.save(tmp_path / "treatment.safetensors")
    with pytest.raises(PatchError, match="got that of another treatment"):
        Treatment.load(path)
    (tmp_path / "treatment.safetensors").unlink()
    with pytest.raises(PatchError, match="cannot be read"):
        Treatment.load(path)


def test_a_place_that_cannot_be_written_to(treatment, tmp_path):
    with pytest.raises(PatchError, match="cannot be written"):
        treatment.save(tmp_path / "nowhere" / "treatment.json")
    with pytest.raises(TreatmentError, match=r"JSON file of the treatment, such as '.*kept\.json'"):
        treatment.save(tmp_path / "kept.safetensors")
    assert not (tmp_path / "kept.safetensors").exists()
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(TreatmentError, match="cannot be written"):
        treatment.save(tmp_path / "folder.json")
