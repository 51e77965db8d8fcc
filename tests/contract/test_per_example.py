"""A batch gives exactly what its images give one by one."""

import torch
from contract.closeness import assert_same
from contract.samples import noise


def test_a_batch_equals_its_examples(any_sample, attribute):
    batch = attribute(any_sample)
    for n in range(any_sample.count):
        alone = attribute_rows(attribute, any_sample, [n])
        assert_same(batch[n : n + 1], alone, f"example {n} of {any_sample.name}")


def attribute_rows(attribute, sample, rows):
    """Some examples of a sample, with an attribution built on the whole of it."""
    part = sample.rows(rows)
    return attribute(sample, **part.arguments())


def test_permuted_examples_give_permuted_results(any_sample, attribute):
    order = [3, 0, 5, 1, 4, 2]
    expected = attribute(any_sample)[order]
    assert_same(attribute_rows(attribute, any_sample, order), expected, any_sample.name)


def test_repeated_examples_give_repeated_results(any_sample, attribute):
    expected = attribute(any_sample)[[2, 2, 2]]
    assert_same(attribute_rows(attribute, any_sample, [2, 2, 2]), expected, any_sample.name)


def test_internal_batch_size_changes_nothing(any_sample, attribute):
    expected = attribute(any_sample)
    for size in (1, 2, 4, 5, 6, 100):
        result = attribute(any_sample, internal_batch_size=size)
        assert_same(result, expected, f"{any_sample.name} in internal batches of {size}")


def test_internal_batches_bound_what_the_model_sees(entry, sample):
    attribution = entry.build(sample)
    sizes = []
    with_hook = sample.model.conv1.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    attribution.attribute(**sample.arguments(), internal_batch_size=2)
    with_hook.remove()
    assert sizes
    assert max(sizes) <= 2, sizes


def test_images_of_another_size(entry, sample):
    attribution = entry.build(sample)
    first = attribution.attribute(**sample.arguments()).flatten(1)
    larger = noise(6, 3, 12, 10, seed=23)
    together = attribution.attribute(larger, target=sample.target).flatten(1)
    for n in range(6):
        alone = attribution.attribute(larger[n : n + 1], target=int(sample.target[n])).flatten(1)
        assert_same(together[n : n + 1], alone, f"larger image {n}")
    assert_same(attribution.attribute(**sample.arguments()).flatten(1), first, "the first size again")


def test_one_image_changes_no_other(kept, attribute):
    expected = attribute(kept)
    inputs = kept.inputs.clone()
    inputs[2] = 1e3 * inputs[2].flip(2)
    result = attribute(kept, inputs=inputs)
    others = [0, 1, 3, 4, 5]
    assert_same(result[others], expected[others], "the other five images")
    assert not torch.allclose(result[2], expected[2])


def test_one_target_changes_no_other(kept, attribute):
    expected = attribute(kept)
    target = kept.target.clone()
    target[2] = (target[2] + 1) % 5
    others = [0, 1, 3, 4, 5]
    assert_same(attribute(kept, target=target)[others], expected[others], "the other five images")
