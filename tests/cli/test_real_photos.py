import csv
import json

import pytest

from captum_paramsal.cli import main

pytestmark = pytest.mark.data


def _photos(paramsal_data, tmp_path, first, last, name):
    """Some of the photos as a folder of links, and the options that name them."""
    photos = paramsal_data / "imagenet_val900"
    with (photos / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[first:last]
    with (tmp_path / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    images = tmp_path / name
    images.mkdir()
    for row in rows:
        (images / row["file"]).symlink_to(photos / "images" / row["file"])
    source = ["--model", "squeezenet1_1", "--weights", str(paramsal_data / "models" / "squeezenet1_1.safetensors")]
    source += ["--labels", str(tmp_path / f"{name}.csv"), "--image-size", "227", "--resize", "squash", str(images)]
    return rows, source


@pytest.mark.slow
def test_squeezenet_on_a_handful_of_imagenet(paramsal_data, tmp_path, capsys):
    rows, source = _photos(paramsal_data, tmp_path, 0, 24, "labels")
    reference = str(tmp_path / "reference.safetensors")

    assert main(["reference", *source, "--out", reference]) == 0
    assert main(["explain", *source, "--reference", reference, "--out", str(tmp_path / "report")]) == 0

    assert "24 images, 2944 filters in 25 layers" in capsys.readouterr().out
    content = json.loads((tmp_path / "report" / "explanation.json").read_text())
    assert content["summary"]["images"] == 24
    assert 0.5 < content["summary"]["accuracy"] < 1
    names = {row["label"]: row["name"] for row in rows}
    for mistake in content["mistakes"]:
        assert names[str(mistake["label"])].split(",")[0] == mistake["label_name"]
        assert mistake["predicted_name"]
        # With n images no score lies further than (n - 1) / sqrt(n) deviations from their mean.
        assert 0 < mistake["filters"][0]["score"] <= 23 / 24**0.5 + 1e-3


@pytest.mark.slow
def test_doctor_with_boxes_of_imagenet(paramsal_data, tmp_path, capsys):
    _, source = _photos(paramsal_data, tmp_path, 0, 24, "few")
    command = [
        "doctor",
        *source,
        "--boxes",
        "boxes_227_xyxy",
        "--noise-samples",
        "2",
        "--out",
        str(tmp_path / "report"),
    ]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "layer features, 512 channels" in printed
    assert "fewer than 19 images of the predicted class are known" in printed
    content = json.loads((tmp_path / "report" / "doctor.json").read_text())
    assert 0.5 < content["summary"]["accuracy"] < 1
    for mistake in content["mistakes"]:
        assert 0 <= mistake["background"] <= 1
        assert 0 <= mistake["background_area"] < 1
        assert len(mistake["channels"]) == 5
        assert all(0 < channel["share"] <= 1 for channel in mistake["channels"])
    # Objects fill about half of these photos, and most of the evidence lies on them.
    right = content["groups"]["correct"]
    assert right["background"]["value"] < right["background_area"]["value"]
