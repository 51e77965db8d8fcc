"""Reports that are shown elsewhere, with the images that they were made of."""

from functools import cache

from report.compare.small_comparisons import small_comparison, small_images
from report.explain.small_jobs import tiny_explanation, tiny_images
from report.triage.test_page import fair_images, made_up, tiny_triage

from captum_paramsal.sources import LabelledTensors


@cache
def explained():
    """With pixel maps and traces."""
    return tiny_explanation(keep_pixels=True), tiny_images()


@cache
def sorted_out():
    """Without a group."""
    return tiny_triage(), fair_images()


@cache
def grouped():
    """With groups; the images are only those that it names."""
    report = made_up()
    count = len(report.items)
    pixels = small_images(count)._images
    names = [item.name for item in report.items][::-1]
    return report, LabelledTensors(pixels, [0] * count, names=names)


@cache
def compared():
    """Of whose images three have maps."""
    return small_comparison(), small_images()


RESULTS = {"explanation": explained, "triage": sorted_out, "groups": grouped, "comparison": compared}
