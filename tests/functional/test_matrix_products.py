import platform
from types import SimpleNamespace

import pytest
import torch

from captum_paramsal.functional import matrix_products, mean_abs_product, products
from captum_paramsal.functional.matrix_products import FORMED, MULTIPLIED, large_product, pairwise_products

# PyTorch says so whenever the library is switched off or on.
off = pytest.mark.filterwarnings("ignore:TF32 acceleration on top of oneDNN")


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def of_another_maker(monkeypatch):
    monkeypatch.setattr(matrix_products, "_made_by_intel", lambda: False)


@pytest.fixture
def anew():
    matrix_products._onednn.cache_clear()
    yield
    matrix_products._onednn.cache_clear()


def needs_onednn():
    if matrix_products._onednn() is None:
        pytest.skip("PyTorch has no product by oneDNN here")


SHAPES = [(300, 90, 110), (512, 2, 600), (64, 700, 64), (16, 1 << 13, 16)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("layout", ["as they are", "transposed", "strided", "parts", "expanded", "overlapping"])
def test_large_products_are_those_of_float64(shape, layout):
    needs_onednn()
    n, k, m = shape
    left, right = drawn(n, k), drawn(k, m, seed=1)
    if layout == "transposed":
        left, right = left.t().contiguous().t(), right.t().contiguous().t()
    if layout == "strided":
        left, right = drawn(2 * n, 3 * k)[::2, ::3], drawn(2 * k, 3 * m, seed=1)[::2, ::3]
    if layout == "parts":
        left, right = drawn(n + 3, k + 5)[3:, 5:], drawn(k + 1, m + 2, seed=1)[1:, :-2]
    if layout == "expanded":
        left, right = drawn(n, 1).expand(n, k), drawn(1, m, seed=1).expand(k, m)
    if layout == "overlapping":
        left, right = drawn(n + 2 * k).as_strided((n, k), (1, 2)), drawn(3 * k + m, seed=1).as_strided((k, m), (3, 1))
    found = large_product(left, right)(left, right)
    expected = left.double() @ right.double()
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5 * k**0.5)


def test_gaps_between_rows_are_closed_since_the_library_is_slow_with_them():
    closed = [drawn(30, 9), drawn(9, 30).t()]
    assert all(matrix_products._dense(one) is one for one in closed)
    for gaps in (drawn(30, 12)[:, :9], drawn(9, 33).t()[3:], drawn(30, 4, 9)[:, 1], drawn(60, 18)[::2, ::2]):
        assert matrix_products._dense(gaps).is_contiguous()
        assert torch.equal(matrix_products._dense(gaps), gaps)


def test_rows_of_a_large_product_are_the_same_to_the_last_bit():
    needs_onednn()
    left, right = drawn(512, 49), drawn(49, 700, seed=1)
    product = large_product(left, right)
    rows = torch.cat([product(part, right) for part in left.split(70)])
    assert torch.equal(rows, product(left, right))


@pytest.mark.parametrize("shape", [(3, 8, 5, 9), (2, 300, 90, 110), (1, 512, 2, 600), (0, 3, 4, 5), (0, 300, 90, 110)])
def test_pairs_are_multiplied_in_order(shape):
    count, n, k, m = shape
    left, right = drawn(count, n, k), drawn(count, k, m, seed=1)
    torch.testing.assert_close(pairwise_products(left, right), torch.bmm(left, right), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (drawn(2, 3), drawn(3, 2)),
        (drawn(300, 90).double(), drawn(90, 110).double()),
        (drawn(300, 90).bfloat16(), drawn(90, 110).bfloat16()),
        (drawn(300, 90).to("meta"), drawn(90, 110).to("meta")),
    ],
    ids=["small", "float64", "bfloat16", "another device"],
)
def test_what_the_usual_product_is_kept_for(left, right):
    assert large_product(left, right) is None


def test_absolute_values_are_those_of_the_product_to_the_last_bit():
    needs_onednn()
    for n, k, m in SHAPES:
        left, right = drawn(n, k), drawn(k, m, seed=1)
        found = large_product(left, right, absolute=True)(left, right)
        assert torch.equal(found, large_product(left, right)(left, right).abs())


def test_size_decides_by_what_is_formed_or_multiplied():
    needs_onednn()
    side = int(FORMED**0.5)
    assert large_product(drawn(side, 1), drawn(1, side)) is not None
    assert large_product(drawn(side - 1, 1), drawn(1, side)) is None
    assert large_product(drawn(1, MULTIPLIED), drawn(MULTIPLIED, 1)) is not None


@pytest.mark.parametrize("told_by", ["/proc/cpuinfo", "platform.processor"])
@pytest.mark.parametrize(
    ("processor", "intel"),
    [("vendor_id: GenuineIntel", True), ("vendor_id: AuthenticAMD", False), ("Intel64 Family 6, GenuineIntel", True)],
)
def test_processors_that_the_mkl_is_written_for_keep_it(monkeypatch, processor, intel, told_by):
    asked = SimpleNamespace(exists=lambda: told_by == "/proc/cpuinfo", read_text=lambda: processor)
    monkeypatch.undo()
    monkeypatch.setattr(matrix_products, "Path", lambda _: asked)
    monkeypatch.setattr(platform, "processor", lambda: "" if asked.exists() else processor)
    matrix_products._made_by_intel.cache_clear()
    try:
        assert matrix_products._made_by_intel() is intel
        kept = large_product(drawn(300, 90), drawn(90, 110)) is None
        assert kept is (intel or matrix_products._onednn() is None)
    finally:
        matrix_products._made_by_intel.cache_clear()


@off
def test_a_library_that_is_switched_off_is_not_called():
    left, right = drawn(300, 90), drawn(90, 110)
    with torch.backends.mkldnn.flags(enabled=False):
        assert large_product(left, right) is None


def wrong(left, rows, *_):
    return left @ rows.t() + 1


def refusing(*_):
    message = "missing argument"
    raise TypeError(message)


@pytest.mark.usefixtures("anew")
@pytest.mark.parametrize("operation", [wrong, refusing, None], ids=["wrong numbers", "other arguments", "missing"])
def test_without_the_operation_the_usual_product_is_taken(monkeypatch, operation):
    has = {} if operation is None else {"_linear_pointwise": operation}
    monkeypatch.setattr(matrix_products.torch.ops, "mkldnn", SimpleNamespace(**has))
    outputs, columns = drawn(2, 300, 9), drawn(2, 900, 9, seed=1)
    assert large_product(outputs, columns.transpose(1, 2)) is None
    expected = (outputs.double() @ columns.double().transpose(1, 2)).abs().mean(dim=2).float()
    torch.testing.assert_close(mean_abs_product(outputs, columns), expected)


@pytest.mark.usefixtures("anew")
def test_other_processors_keep_the_usual_product(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert large_product(drawn(300, 90), drawn(90, 110)) is None


@off
@pytest.mark.parametrize("sizes", [(3, 128, 576, 64), (2, 512, 4608, 4), (2, 300, 700, 49)])
def test_both_libraries_have_the_same_means(sizes):
    needs_onednn()
    batch, rows, width, positions = sizes
    outputs, columns = drawn(batch, rows, positions), drawn(batch, width, positions, seed=1)
    found = products._in_cache(outputs, columns, products.CACHED_NUMBERS)
    with torch.backends.mkldnn.flags(enabled=False):
        usual = products._in_cache(outputs, columns, products.CACHED_NUMBERS)
    torch.testing.assert_close(found, usual, rtol=2e-6, atol=0.0)
