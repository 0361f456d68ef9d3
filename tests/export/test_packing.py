"""Packed maps against scipy's splines, zlib and plain sums; their stated error against the real one."""

import zlib

import numpy as np
import pytest
from scipy import ndimage
from scipy.interpolate import BSpline

from vitattn_widgets.errors import SettingsError
from vitattn_widgets.export.packing import Sheet, differences, pack_sheets, spline_basis, value_bytes

SIZE, GRID = (48, 64), (6, 8)


def smooth_sheet(maps=3, seed=0):
    """Maps like smoothed ones: no detail finer than a sigma of two pixels."""
    noise = np.random.default_rng(seed).random((maps, *SIZE))
    heat = ndimage.gaussian_filter(noise, (0, 2, 2))
    heat -= heat.min((1, 2), keepdims=True)
    heat /= heat.max((1, 2), keepdims=True)
    values = np.random.default_rng(seed + 1).lognormal(-6, 3, (maps, *GRID)).astype(np.float32)
    return Sheet((heat * 255 + 0.5).astype(np.uint8), values)


def unpack(packed, index, maps, grid=GRID):
    """A block's coefficients or pixels, in levels of heat, and its raw values; read by the documented format alone."""
    content = zlib.decompress(packed.blocks[index], -15)
    height, width = packed.samples
    scales = np.frombuffer(content, "<f4", 2 * maps).reshape(maps, 2).astype(float)
    stored = np.frombuffer(content, np.uint8, maps * height * width, 8 * maps).reshape(maps, height, width)
    codes = stored.astype(int).cumsum(1).cumsum(2) % 256
    rest = content[maps * (8 + height * width) :]
    count = maps * grid[0] * grid[1]
    assert len(rest) == count * packed.value_digits
    planes = np.zeros((4, count), np.uint8)
    planes[: packed.value_digits] = np.frombuffer(rest, np.uint8).reshape(-1, count)
    values = np.ascontiguousarray(planes.T).view(">f4").reshape(maps, *grid)
    return scales[:, 0, None, None] + codes * scales[:, 1, None, None], values


def splined(coefficients, size):
    """The spline of some coefficients at half-pixel centres, by scipy."""
    for axis, pixels in enumerate(size, 1):
        count = coefficients.shape[axis]
        padded = np.pad(coefficients, [(2, 2) if at == axis else (0, 0) for at in range(3)], mode="edge")
        knots = np.arange(-4, count + 4)  # coefficient i peaks at i
        where = (np.arange(pixels) + 0.5) * count / pixels - 0.5
        coefficients = BSpline(knots, padded, 3, axis=axis)(where)
    return coefficients


@pytest.mark.parametrize(("pixels", "count"), [(48, 12), (50, 7), (9, 2), (224, 149)])
def test_the_basis_is_scipys_cubic_b_spline(pixels, count):
    expected = splined(np.eye(count)[:, :, None] * np.ones(3), (pixels, 3))[:, :, 1]
    np.testing.assert_allclose(spline_basis(pixels, count).T, expected, atol=1e-12)


def test_sums_undo_differences():
    codes = np.random.default_rng(0).integers(0, 256, (2, 5, 7), dtype=np.uint8)
    stored = differences(codes)
    assert stored.dtype == np.uint8
    np.testing.assert_array_equal(stored.astype(int).cumsum(1).cumsum(2) % 256, codes)


def test_with_room_for_it_every_pixel_is_kept():
    sheets = [smooth_sheet(3, 0), smooth_sheet(2, 5)]
    packed = pack_sheets(sheets, 100_000)
    assert (packed.exact, packed.error, packed.samples, packed.value_digits) == (True, 0, SIZE, 3)
    for index, sheet in enumerate(sheets):
        levels, values = unpack(packed, index, len(sheet.codes))
        np.testing.assert_array_equal(levels, sheet.codes)
        np.testing.assert_allclose(values, sheet.values, rtol=2**-12)


def test_with_less_room_no_pixel_is_off_by_more_than_a_level():
    sheets = [smooth_sheet(12, 0), smooth_sheet(8, 5)]
    whole = sum(map(len, pack_sheets(sheets, 1_000_000).blocks)) * 4 / 3
    room = int(0.7 * whole)
    packed = pack_sheets(sheets, room)
    assert not packed.exact
    assert packed.samples < SIZE
    assert packed.error == 1
    assert sum(-(-len(block) // 3) * 4 for block in packed.blocks) <= room
    off = 0
    for index, sheet in enumerate(sheets):
        levels, _ = unpack(packed, index, len(sheet.codes))
        again = np.floor((splined(levels, SIZE) + 0.5).clip(0, 255))
        off = max(off, np.abs(again - sheet.codes).max())
    assert off == packed.error


def test_with_little_room_the_error_is_what_it_says():
    sheets = [smooth_sheet(12, 0)]
    packed = pack_sheets(sheets, 3_000)
    assert packed.error > 1
    assert sum(-(-len(block) // 3) * 4 for block in packed.blocks) <= 3_000
    levels, _ = unpack(packed, 0, 12)
    again = np.floor((splined(levels, SIZE) + 0.5).clip(0, 255))
    assert np.abs(again - sheets[0].codes).max() == packed.error


def test_more_room_never_makes_maps_worse():
    sheets = [smooth_sheet(12, 0)]
    errors = [pack_sheets(sheets, room).error for room in (2_000, 4_000, 8_000, 16_000, 100_000)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > errors[-1] == 0


def test_maps_that_no_spline_follows_are_not_called_close():
    codes = np.random.default_rng(0).integers(0, 256, (4, *SIZE), dtype=np.uint8)
    packed = pack_sheets([Sheet(codes, np.ones((4, *GRID), np.float32))], 8_000)
    assert not packed.exact
    assert packed.error > 100


def test_constant_maps_come_back():
    codes = np.zeros((40, *SIZE), np.uint8)
    codes[1] = 255
    packed = pack_sheets([Sheet(codes, np.zeros((40, *GRID), np.float32))], 1_000)
    assert packed.error == 0


def test_maps_for_which_there_is_no_room_at_all_are_one_clear_error():
    with pytest.raises(SettingsError, match="12 maps of 48 x 64 pixels do not fit one page; export fewer sources"):
        pack_sheets([smooth_sheet(12)], 200)


@pytest.mark.parametrize(("digits", "relative"), [(3, 2**-12), (2, 2**-8)])
def test_raw_values_keep_their_digits(digits, relative):
    values = np.concatenate([[0.0, 1.0, 0.999999, 65504.0, 1e-12], -smooth_sheet().values.ravel()]).astype(np.float32)
    planes = np.frombuffer(value_bytes(values[None, None], digits), np.uint8).reshape(digits, -1)
    bits = np.zeros((len(values), 4), np.uint8)
    bits[:, :digits] = planes.T
    np.testing.assert_allclose(bits.view(">f4")[:, 0], values, rtol=relative)
    assert [f"{value:.{digits}g}" for value in bits.view(">f4")[:5, 0]] == [
        f"{value:.{digits}g}" for value in values[:5]
    ]


def test_raw_values_give_way_before_maps_do():
    sheets = [smooth_sheet(12, 0)]
    digits = [pack_sheets(sheets, room).value_digits for room in (100_000, 6_500, 3_000)]
    assert digits == sorted(digits, reverse=True)
    assert digits[0] == 3
    assert digits[-1] == 0
