import pytest
import torch
from hypothesis import given, settings, strategies as st

from captum_paramsal.functional import fused_products, mean_abs_product, products
from captum_paramsal.hooks.state import uncompiled


def literal(outputs, columns):
    return torch.einsum("bop,bmp->bom", outputs.double(), columns.double()).abs().mean(dim=2)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(deadline=None)
@given(*(st.integers(1, 7) for _ in range(4)))
def test_equals_the_literal_mean(batch, rows, width, positions):
    outputs, columns = drawn(batch, rows, positions), drawn(batch, width, positions, seed=1)
    torch.testing.assert_close(mean_abs_product(outputs, columns), literal(outputs, columns))


@pytest.mark.parametrize("numbers", [1, 5, 12, 1000])
def test_pieces_of_any_size_give_the_same(numbers):
    outputs, columns = drawn(2, 7, 3), drawn(2, 5, 3, seed=1)
    torch.testing.assert_close(products._in_cache(outputs, columns, numbers), literal(outputs, columns))


@pytest.mark.parametrize("sizes", [(3, 128, 576, 64), (2, 512, 4608, 4), (5, 17, 9, 49)])
def test_no_size_changes_a_bit_of_the_result(sizes):
    batch, rows, width, positions = sizes
    outputs, columns = drawn(batch, rows, positions).float(), drawn(batch, width, positions, seed=1).float()
    usual = products._in_cache(outputs, columns, products.CACHED_NUMBERS)
    for numbers in products.CACHED_SIZES:
        assert torch.equal(products._in_cache(outputs, columns, numbers), usual)
    # One thread may sum in another order; such a way does not compete where it does.
    for way in products._ways.others:
        torch.testing.assert_close(products._formed(outputs, columns, way), usual, rtol=2e-6, atol=0.0)


def test_no_examples_have_no_means():
    assert mean_abs_product(drawn(0, 3, 4), drawn(0, 5, 4)).shape == (0, 3)


def test_the_product_of_a_graph_can_be_differentiated():
    outputs, columns = drawn(2, 700, 3).requires_grad_(), drawn(2, 900, 3, seed=1)
    (gradient,) = torch.autograd.grad(mean_abs_product(outputs, columns).sum(), outputs)
    (expected,) = torch.autograd.grad(literal(outputs, columns).sum(), outputs)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("numbers", [1, 40, 1000])
def test_blocks_of_any_size_give_the_same(numbers):
    outputs, columns = drawn(5, 7, 3), drawn(5, 5, 3, seed=1)
    torch.testing.assert_close(products._in_blocks(outputs, columns, numbers), literal(outputs, columns))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("positions", [1, 9])
def test_half_precision_is_summed_in_float32(dtype, positions):
    outputs, columns = drawn(2, 4, positions).to(dtype), drawn(2, 3000, positions, seed=1).to(dtype)
    means = mean_abs_product(outputs, columns)
    assert means.dtype == torch.float32
    torch.testing.assert_close(means.double(), literal(outputs, columns), rtol=4 * torch.finfo(dtype).eps, atol=0)


@pytest.mark.skipif(not products.compiler_found(), reason="no C++ compiler on this machine")
@pytest.mark.parametrize(
    "sizes",
    # Of those that are slow, each is compiled anew.
    [
        pytest.param([(2, 5, 7, 4), (3, 8, 6, 4)], marks=pytest.mark.slow),
        pytest.param([(1, 5, 7, 4), (2, 5, 7, 9)], marks=pytest.mark.slow),
    ],
    ids=["one kernel for all", "one kernel for each"],
)
def test_fused_equals_plain_for_many_sizes(sizes):
    with fused_products():
        assert products.fusion_pays(4)
        for batch, rows, width, positions in sizes:
            outputs = drawn(batch, rows, positions).float()
            columns = drawn(batch, width, positions, seed=1).float()
            fused = products._fused_mean(outputs, columns)
            assert fused is not None, "the kernel was not built, so the plain path would have been compared with itself"
            torch.testing.assert_close(fused.double(), literal(outputs, columns), rtol=1e-5, atol=0)


@pytest.mark.parametrize("numbers", [1, 8, 30, 1000])
def test_the_compiled_loop_may_read_columns_in_parts(monkeypatch, numbers):
    monkeypatch.setattr(products, "FUSED_NUMBERS", numbers)
    monkeypatch.setattr(products, "_fused_kernel", lambda: products._sum_of_outer_products)
    outputs, columns = drawn(3, 5, 4).float(), drawn(3, 7, 4, seed=1).float()
    means = products._fused_mean(outputs, columns)
    torch.testing.assert_close(means.double(), literal(outputs, columns), rtol=1e-5, atol=0)


@pytest.mark.slow
@pytest.mark.skipif(not products.compiler_found(), reason="no C++ compiler on this machine")
def test_the_kernel_is_compiled_also_inside_a_pass_that_keeps_the_models_parts_from_it(monkeypatch):
    seen = []

    def observed(outputs, columns):
        seen.append(torch.compiler.is_compiling())
        return products._sum_of_outer_products(outputs, columns)

    monkeypatch.setattr(products, "_fused_kernel", lambda: torch.compile(observed))
    outputs, columns = drawn(2, 5, 4).float(), drawn(2, 7, 4, seed=1).float()
    import torch._dynamo  # noqa: PLC0415 -- what makes the pass take care of compiled parts

    with fused_products(), uncompiled():
        means = products._fused_mean(outputs, columns)
    assert True in seen
    torch.testing.assert_close(means.double(), literal(outputs, columns), rtol=1e-5, atol=0)


def test_a_compiler_that_fails_leaves_the_plain_path(monkeypatch):
    def broken(*_):
        message = "no such compiler"
        raise OSError(message)

    monkeypatch.setattr(products, "_fused_kernel", lambda: broken)
    monkeypatch.setattr(products, "compiler_found", lambda: True)
    outputs, columns = drawn(2, 5, 4).float(), drawn(2, 7, 4, seed=1).float()
    with fused_products():
        assert products.fusion_pays(4)
        means = mean_abs_product(outputs, columns)
    torch.testing.assert_close(means.double(), literal(outputs, columns), rtol=1e-5, atol=0)


def test_fusion_ends_with_its_context(monkeypatch):
    monkeypatch.setattr(products, "compiler_found", lambda: True)
    assert not products.fusion_pays(4)
    with fused_products():
        assert products.fusion_pays(4)
        assert not products.fusion_pays(1)
        assert not products.fusion_pays(products.FUSED_POSITIONS + 1)
        with fused_products(enabled=False):
            assert not products.fusion_pays(4)
    assert not products.fusion_pays(4)


def test_threads_are_as_they_were_after_one_worked_alone():
    threads = torch.get_num_threads()

    def failing():
        assert torch.get_num_threads() == 1
        with products.on_one_thread():
            message = "inside"
            raise RuntimeError(message)

    with products.on_one_thread(), pytest.raises(RuntimeError, match="inside"):
        failing()
    assert torch.get_num_threads() == threads
