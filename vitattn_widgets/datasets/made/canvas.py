"""What the drawn pictures share: noise, backdrops, clutter, light. Pictures are float32 ``(3, height, width)``, 0..1.

All randomness comes from the generator that is passed in, so that a picture depends on its seed alone. The order of the
draws is part of the picture: changing it changes every picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from types import EllipsisType

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Color = tuple[float, float, float] | np.ndarray

Window = tuple[EllipsisType, slice, slice]
"""The part of a picture, or of one of its planes, that contains something small."""

SIZES = ((224, 224), (224, 224), (240, 224), (224, 240), (256, 224), (224, 256))
"""(height, width) of drawn pictures, drawn uniformly; the square one is listed twice, so it is the most frequent."""

_BANK_SIDE = 512

_SLOPES = {"cloud": 2.0, "rough": 1.2, "grain": 0.0}
"""How fast the spectrum of each kind of noise falls with frequency."""

GROUNDS = (
    (0.82, 0.79, 0.74),
    (0.60, 0.47, 0.34),
    (0.45, 0.47, 0.50),
    (0.36, 0.29, 0.23),
    (0.70, 0.74, 0.78),
    (0.52, 0.55, 0.44),
    (0.76, 0.67, 0.55),
    (0.30, 0.34, 0.38),
    (0.62, 0.52, 0.52),
)
"""Colours that backdrops start from."""

BARK = (0.30, 0.21, 0.13)


@dataclass(frozen=True)
class Light:
    """Where the light comes from, as a unit vector in picture coordinates (x right, y down, z to the viewer)."""

    x: float
    y: float
    z: float


@lru_cache(maxsize=1)
def _noise_bank() -> dict[str, np.ndarray]:
    """A tile of each kind of noise, ``(512, 512)``, mean 0, std 1, that repeats seamlessly."""
    rng = np.random.default_rng(20231)
    frequency = np.hypot(np.fft.fftfreq(_BANK_SIDE)[:, None], np.fft.rfftfreq(_BANK_SIDE)[None]) * _BANK_SIDE
    frequency[0, 0] = 1
    bank = {}
    for kind, slope in _SLOPES.items():
        spectrum = np.fft.rfft2(rng.standard_normal((_BANK_SIDE, _BANK_SIDE))) / frequency**slope
        if kind == "grain":  # a band around periods of five pixels
            spectrum *= np.exp(-(((frequency - _BANK_SIDE / 5) / 30) ** 2))
        else:
            spectrum *= frequency > 2
        tile = np.fft.irfft2(spectrum, s=(_BANK_SIDE, _BANK_SIDE))
        bank[kind] = ((tile - tile.mean()) / tile.std()).astype(np.float32)
    return bank


def noise(rng: np.random.Generator, shape: tuple[int, int], kind: str = "cloud") -> np.ndarray:
    """Noise of mean about 0 and std about 1: ``"cloud"`` (broad), ``"rough"`` (with detail), ``"grain"`` (fine)."""
    tile = _noise_bank()[kind]
    if rng.random() < 0.5:
        tile = tile.T
    top, left = rng.integers(0, _BANK_SIDE - np.array(shape) + 1)
    return tile[top : top + shape[0], left : left + shape[1]]


@lru_cache(maxsize=16)
def coordinates(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centres: x ``(1, width)`` and y ``(height, 1)``, float32, in pixels."""
    x = np.arange(shape[1], dtype=np.float32)[None] + 0.5
    y = np.arange(shape[0], dtype=np.float32)[:, None] + 0.5
    return x, y


def make_light(rng: np.random.Generator) -> Light:
    """Light from above, from a random side."""
    angle, height = rng.uniform(-np.pi, 0), rng.uniform(0.5, 0.85)
    flat = np.sqrt(1 - height**2)
    return Light(float(np.cos(angle) * flat), float(np.sin(angle) * flat), float(height))


def vary(rng: np.random.Generator, color: Color, amount: float = 0.05) -> np.ndarray:
    """A colour near the given one, float32 ``(3, 1, 1)``."""
    near = np.asarray(color, np.float64).ravel() + rng.normal(0, amount, 3)
    return np.clip(near, 0.02, 0.98).astype(np.float32)[:, None, None]


def pick(rng: np.random.Generator, colors: tuple[Color, ...], amount: float = 0.04) -> np.ndarray:
    """One of several colours, varied."""
    return vary(rng, colors[rng.integers(len(colors))], amount)


def paint(picture: np.ndarray, cover: np.ndarray, color: np.ndarray | float) -> None:
    """Paint a colour ``(3, 1, 1)``, a picture or a grey over a picture in place; `cover` ``(height, width)``, 0..1."""
    picture += cover * (color - picture)


def backdrop(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """A ground for things to lie on: cloth, planks, soil, checks, or a table in front of a wall."""
    x, y = coordinates(shape)
    base = pick(rng, GROUNDS, 0.06)
    other = np.clip(base * rng.uniform(0.6, 1.25), 0, 1)
    rough = noise(rng, shape, "rough")
    kind = rng.integers(5)
    if kind == 0:
        mix = 0.5 + 0.18 * rough
    elif kind == 1:
        turned = (x, y) if rng.random() < 0.5 else (y, x)
        plank = np.floor(turned[0] / rng.uniform(28, 60))
        rings = np.sin(turned[0] * 0.5 + 3 * noise(rng, shape, "cloud") + turned[1] * 0.02)
        mix = 0.5 + 0.22 * rings + 0.25 * np.sin(plank * 37.7) + 0.05 * rough
    elif kind == 2:
        mix = 0.5 + 0.22 * rough + 0.16 * noise(rng, shape, "grain")
    elif kind == 3:
        side = rng.uniform(16, 36)
        angle = rng.uniform(0, np.pi)
        cosine, sine = math.cos(angle), math.sin(angle)
        across, along = cosine * x + sine * y, cosine * y - sine * x
        mix = 0.5 + 0.18 * (np.sign(np.sin(np.pi * across / side)) + np.sign(np.sin(np.pi * along / side)))
        mix += 0.05 * rough
    else:
        edge = shape[0] * rng.uniform(0.15, 0.4)
        mix = np.where(y < edge, 0.1 + 0.05 * rough, 0.85 + 0.12 * rough)
        other = pick(rng, GROUNDS, 0.06)
    return base + np.clip(mix, 0, 1).astype(np.float32) * (other - base)


def blob(
    rng: np.random.Generator, shape: tuple[int, int], center: tuple[float, float], radius: float, soft: float = 1.5
) -> tuple[Window, np.ndarray]:
    """An uneven round patch.

    Args:
        rng: draws the outline.
        shape: of the picture.
        center: (x, y) in pixels.
        radius: mean radius in pixels.
        soft: width of its edge in pixels.

    Returns:
        The window of the picture that contains it, and its depth there: 0 outside, rising to 1 within `soft` pixels.
    """
    window = _window(shape, np.array([center]), radius * 1.5 + soft)
    x, y = coordinates(shape)
    dx, dy = x[:, window[2]] - float(center[0]), y[window[1]] - float(center[1])
    angle = np.arctan2(dy, dx)
    phases = rng.uniform(0, 2 * np.pi, 3).tolist()
    outline = 1 + 0.16 * np.cos(2 * angle + phases[0]) + 0.1 * np.cos(3 * angle + phases[1])
    outline += 0.06 * np.cos(5 * angle + phases[2])
    return window, np.clip((radius * outline - np.hypot(dx, dy)) / soft + 0.5, 0, 1).astype(np.float32)


def curve(
    rng: np.random.Generator, start: np.ndarray, angle: float, length: float, bend: float = 1.0, steps: int = 12
) -> np.ndarray:
    """A wandering line as points ``(steps + 1, 2)``, in pixels."""
    angles = angle + np.cumsum(rng.normal(0, 0.12 * bend, steps)) + np.linspace(0, rng.normal(0, 0.5 * bend), steps)
    moves = np.stack([np.cos(angles), np.sin(angles)], 1) * length / steps
    return np.concatenate([start[None], start + np.cumsum(moves, 0)])


def stroke(shape: tuple[int, int], points: np.ndarray, width: float) -> tuple[Window, np.ndarray]:
    """A line through points with smooth edges: the window that contains it, and its cover 0..1 there."""
    window = _window(shape, points, width + 2)
    top, left = window[1].start, window[2].start
    sheet = Image.new("L", (window[2].stop - left, window[1].stop - top))
    if 0 in sheet.size:
        return window, np.zeros(sheet.size[::-1], np.float32)
    flat = [tuple(point) for point in (points - (left, top)).tolist()]
    ImageDraw.Draw(sheet).line(flat, fill=255, width=max(1, round(width)), joint="curve")
    return window, np.asarray(sheet.filter(ImageFilter.BoxBlur(0.7)), np.float32) / 255


def draw_line(
    picture: np.ndarray, points: np.ndarray, width: float, color: np.ndarray | float, opacity: float = 1
) -> None:
    """Draw a line through points in place."""
    window, cover = stroke(picture.shape[1:], points, width)
    paint(picture[window], cover * opacity, color)


def _window(shape: tuple[int, int], points: np.ndarray, reach: float) -> Window:
    """The part of a picture within `reach` pixels of some of the points (x, y)."""
    low, high = points.min(0) - reach, points.max(0) + reach + 2
    left, top = (int(np.clip(low[axis], 0, shape[1 - axis])) for axis in (0, 1))
    right, bottom = (int(np.clip(high[axis], 0, shape[1 - axis])) for axis in (0, 1))
    return ..., slice(top, bottom), slice(left, right)


def clutter(rng: np.random.Generator, picture: np.ndarray, mark: Color) -> None:
    """Put distractions on a backdrop: twigs, stains in the colour `mark`, pebbles, soft shadows."""
    shape = picture.shape[1:]
    size = np.array([shape[1], shape[0]])
    for _ in range(rng.integers(0, 3)):
        window, depth = blob(rng, shape, tuple(rng.uniform(0, 1, 2) * size), rng.uniform(18, 45), soft=25)
        picture[window] *= 1 - 0.45 * depth
    for _ in range(rng.integers(0, 3)):
        points = curve(rng, rng.uniform(0, 1, 2) * size, rng.uniform(0, 2 * np.pi), rng.uniform(40, 160))
        draw_line(picture, points + 2, 4, 0.05, opacity=0.35)
        draw_line(picture, points, rng.uniform(2, 5), vary(rng, BARK, 0.06))
    for _ in range(rng.integers(0, 5)):
        window, depth = blob(rng, shape, _near_edge(rng, shape), rng.uniform(4, 16), soft=2)
        paint(picture[window], depth * rng.uniform(0.5, 0.95), vary(rng, mark, 0.04))
    for _ in range(rng.integers(0, 3)):
        window, depth = blob(rng, shape, _near_edge(rng, shape), rng.uniform(4, 10), soft=5)
        paint(picture[window], np.clip(depth * 2, 0, 1), pick(rng, GROUNDS) * (0.6 + 0.5 * depth))


def _near_edge(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[float, float]:
    """A place in the outer part of the picture, which the object itself seldom reaches."""
    angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.62, 1.3)
    return shape[1] * (0.5 + 0.5 * far * np.cos(angle)), shape[0] * (0.5 + 0.5 * far * np.sin(angle))


def scene(rng: np.random.Generator, stains: tuple[Color, ...]) -> tuple[np.ndarray, Light]:
    """What every drawn picture starts with: a cluttered ground, stained in one of some colours, and the light."""
    picture = backdrop(rng, SIZES[rng.integers(len(SIZES))])
    clutter(rng, picture, stains[rng.integers(len(stains))])
    return picture, make_light(rng)


def cast_shadow(picture: np.ndarray, cover: np.ndarray, light: Light, height: float = 14) -> None:
    """Darken the ground behind an object, away from the light."""
    sheet = Image.fromarray((cover * 255).astype(np.uint8))
    moved = sheet.transform(sheet.size, Image.Transform.AFFINE, (1, 0, light.x * height, 0, 1, light.y * height))
    shade = np.asarray(moved.filter(ImageFilter.BoxBlur(5)), np.float32) / 255
    picture *= 1 - 0.5 * shade


def finish(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Add exposure, tint, a falloff to one side and sensor noise; returns uint8 ``(height, width, 3)``."""
    shape = picture.shape[1:]
    x, y = coordinates(shape)
    angle = rng.uniform(0, 2 * np.pi)
    slope = rng.uniform(0, 0.16)
    slope_x, slope_y = slope * math.cos(angle), slope * math.sin(angle)
    exposure = rng.uniform(0.8, 1.12) + slope_x * (x / shape[1] - 0.5) + slope_y * (y / shape[0] - 0.5)
    picture = picture * exposure * rng.normal(1, 0.025, (3, 1, 1)).astype(np.float32)
    picture += rng.uniform(0.004, 0.02) * noise(rng, shape, "grain")
    pixels = (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))
