"""Ten made objects on varied ground, in place of ImageNet's classes. The mask is the object."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .canvas import Light, cast_shadow, finish, noise, paint, scene, vary

_RED, _BLUE, _YELLOW, _GREEN = (0.80, 0.16, 0.14), (0.14, 0.36, 0.70), (0.93, 0.76, 0.15), (0.16, 0.46, 0.20)

_WHITE, _BLACK, _ORANGE, _PURPLE = (0.92, 0.91, 0.88), (0.15, 0.15, 0.18), (0.94, 0.46, 0.10), (0.50, 0.20, 0.58)

_BROWN, _CREAM, _BRASS, _STEEL = (0.40, 0.26, 0.14), (0.88, 0.80, 0.62), (0.72, 0.56, 0.20), (0.58, 0.60, 0.64)

_TEAL, _PINK = (0.12, 0.56, 0.58), (0.88, 0.42, 0.58)

PALETTES = {
    "ball": ((_RED, _WHITE, _BLUE), (_YELLOW, _BLUE, _RED), (_ORANGE, _WHITE, _BLACK)),
    "bottle": ((_GREEN, _CREAM, _BLACK), (_BROWN, _CREAM, _YELLOW), (_TEAL, _WHITE, _STEEL)),
    "cup": ((_WHITE, _BLUE, _BROWN), (_CREAM, _RED, _BROWN), (_BLUE, _WHITE, _BLACK)),
    "fish": ((_ORANGE, _WHITE, _BLACK), (_BLUE, _YELLOW, _BLACK), (_STEEL, _TEAL, _BLACK)),
    "house": ((_WHITE, _RED, _BROWN), (_RED, _BLACK, _WHITE), (_CREAM, _BROWN, _BLUE)),
    "key": ((_BRASS, _BRASS, _BRASS), (_STEEL, _STEEL, _STEEL), (_BROWN, _BROWN, _BROWN)),
    "mushroom": ((_RED, _RED, _WHITE), (_BROWN, _BROWN, _CREAM), (_ORANGE, _ORANGE, _CREAM)),
    "star": ((_YELLOW, _ORANGE, _RED), (_YELLOW, _WHITE, _BLUE), (_RED, _YELLOW, _WHITE)),
    "tree": ((_GREEN, (0.22, 0.55, 0.24), _BROWN), ((0.10, 0.36, 0.22), _GREEN, _BROWN)),
    "umbrella": ((_PURPLE, _PINK, _BLACK), (_BLACK, _PURPLE, _BROWN), (_PINK, _WHITE, _STEEL)),
}
"""The colours of each object, drawn uniformly. Objects share colours, so the shape matters too."""

STAINS = (_RED, _BLUE, _YELLOW, _GREEN, _WHITE, _ORANGE, _PURPLE, _BROWN, _TEAL, _PINK)
"""Colours of the stains on the ground."""

Part = tuple[np.ndarray, int | None]
"""A polygon ``(points, 2)`` in units of half the object's size (y up), and its colour: 0, 1, 2, or None for a hole."""


def _disk(
    x: float, y: float, width: float, height: float | None = None, start: float = 0, stop: float = 360
) -> np.ndarray:
    angle = np.radians(np.linspace(start, stop, 40))
    return np.stack([x + width * np.cos(angle), y + (height or width) * np.sin(angle)], 1)


def _box(left: float, bottom: float, right: float, top: float) -> np.ndarray:
    return np.array([[left, bottom], [right, bottom], [right, top], [left, top]])


def _ball(rng: np.random.Generator) -> list[Part]:
    count = int(rng.choice([6, 8]))
    step = 360 / count
    wedges = [np.concatenate([[[0.12, 0.15]], _disk(0, 0, 0.85, None, i * step, (i + 1) * step)]) for i in range(count)]
    return [(_disk(0, 0, 0.85), 0), *((wedge, i % 2) for i, wedge in enumerate(wedges)), (_disk(0.12, 0.15, 0.12), 2)]


def _cup(rng: np.random.Generator) -> list[Part]:
    low = rng.uniform(0.42, 0.6)
    body = np.array([[-0.62, 0.62], [0.62, 0.62], [low, -0.75], [-low, -0.75]])
    return [
        (_disk(0.62, 0.0, 0.40, 0.42), 0),
        (_disk(0.62, 0.0, 0.24, 0.26), None),
        (body, 0),
        (_disk(0, -0.75, low, 0.12), 0),
        (_box(-0.58, 0.05, 0.58, 0.22), 1),
        (_disk(0, 0.62, 0.62, 0.18), 1),
        (_disk(0, 0.61, 0.52, 0.12), 2),
    ]


def _key(rng: np.random.Generator) -> list[Part]:
    teeth = [_box(x, -0.42, x + 0.13, 0) for x in np.sort(rng.choice(np.arange(0.32, 0.86, 0.18), 2, replace=False))]
    return [
        (_disk(-0.55, 0, 0.42), 0),
        (_disk(-0.62, 0, 0.20), None),
        (_box(-0.2, -0.12, 0.98, 0.12), 0),
        *((tooth, 0) for tooth in teeth),
    ]


def _star(rng: np.random.Generator) -> list[Part]:
    angle = np.pi / 2 + np.arange(10) * np.pi / 5
    radius = np.where(np.arange(10) % 2, rng.uniform(0.36, 0.46), 0.98)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    return [(points, 0), (points * 0.62, 1)]


def _house(rng: np.random.Generator) -> list[Part]:
    left = rng.uniform(-0.45, -0.2)
    return [
        (_box(0.3, 0.2, 0.52, 0.85), 2),
        (_box(-0.68, -0.8, 0.68, 0.25), 0),
        (np.array([[-0.9, 0.2], [0.9, 0.2], [0, 0.92]]), 1),
        (_box(left, -0.8, left + 0.36, -0.15), 2),
        (_box(0.2, -0.35, 0.52, 0.0), 2),
    ]


def _fish(rng: np.random.Generator) -> list[Part]:
    stripes = [_box(x, -0.30, x + 0.1, 0.30) for x in (-0.2, 0.06)]
    return [
        (np.array([[0.45, 0], [0.98, 0.45], [0.86, 0], [0.98, -0.45]]), 1),
        (np.array([[-0.25, 0.3], [0.2, 0.68], [0.3, 0.25]]), 1),
        (_disk(-0.12, 0, 0.78, rng.uniform(0.38, 0.5)), 0),
        *((stripe, 1) for stripe in stripes),
        (_disk(-0.6, 0.1, 0.09), 2),
    ]


def _tree(rng: np.random.Generator) -> list[Part]:
    wide = rng.uniform(0.6, 0.8)
    tiers = [(-0.55, wide, 0.15), (-0.15, 0.8 * wide, 0.55), (0.25, 0.58 * wide, 0.95)]
    return [
        (_box(-0.11, -0.95, 0.11, -0.5), 2),
        *((np.array([[-width, low], [width, low], [0, top]]), i % 2) for i, (low, width, top) in enumerate(tiers)),
    ]


def _bottle(rng: np.random.Generator) -> list[Part]:
    shoulder = rng.uniform(0.15, 0.3)
    half = rng.uniform(0.28, 0.36)
    outline = np.array([[-half, -0.95], [half, -0.95], [half, shoulder], [0.12, 0.5], [0.12, 0.8], [-0.12, 0.8],
                        [-0.12, 0.5], [-half, shoulder]])  # fmt: skip
    return [(outline, 0), (_box(-half, -0.6, half, -0.05), 1), (_box(-0.14, 0.78, 0.14, 0.96), 2)]


def _umbrella(rng: np.random.Generator) -> list[Part]:
    high = rng.uniform(0.7, 0.9)
    dome = np.concatenate([_disk(0, -0.02, 0.95, high, 0, 180), [[-0.95, -0.02]]])
    segments = [
        np.concatenate([[[0, high - 0.03]], _disk(0, -0.02, 0.95, 0.1, 180 - 180 * i / 6, 180 - 180 * (i + 1) / 6)])
        for i in range(1, 6, 2)
    ]
    return [
        (_box(-0.045, -0.85, 0.045, 0.1), 2),
        (_disk(0.13, -0.82, 0.18, 0.16, 180, 360), 2),
        (_disk(0.13, -0.80, 0.09, 0.09), None),
        (dome, 0),
        *((segment, 1) for segment in segments),
    ]


def _mushroom(rng: np.random.Generator) -> list[Part]:
    spots = [_disk(x, y, rng.uniform(0.08, 0.13)) for x, y in ((-0.45, 0.25), (0.05, 0.5), (0.48, 0.22), (-0.05, 0.15))]
    stem = np.array([[-0.2, 0.1], [0.2, 0.1], [0.28, -0.85], [-0.28, -0.85]])
    return [
        (stem, 2),
        (_disk(0, -0.85, 0.28, 0.08), 2),
        (_disk(0, 0.0, 0.88, 0.78, 0, 180), 0),
        *((s, 2) for s in spots),
    ]


SHAPES: dict[str, Callable[[np.random.Generator], list[Part]]] = {
    "ball": _ball,
    "bottle": _bottle,
    "cup": _cup,
    "fish": _fish,
    "house": _house,
    "key": _key,
    "mushroom": _mushroom,
    "star": _star,
    "tree": _tree,
    "umbrella": _umbrella,
}

CLASSES = tuple(SHAPES)

UPRIGHT = {"cup", "house", "tree", "bottle", "mushroom", "umbrella"}
"""Objects that stand more or less upright."""


def draw_object(rng: np.random.Generator, label: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw one object of a class of `CLASSES`.

    Returns:
        uint8 picture ``(height, width, 3)`` and uint8 mask ``(height, width)``.
    """
    name = CLASSES[label]
    picture, light = scene(rng, STAINS)
    shape = picture.shape[1:]
    radius = min(shape) * rng.uniform(0.27, 0.42)
    center = np.array([shape[1], shape[0]]) / 2 + rng.uniform(-0.5, 0.5, 2) * (min(shape) - 2 * radius)
    turn = rng.normal(0, 0.25) if name in UPRIGHT else rng.uniform(-np.pi, np.pi)
    palette = PALETTES[name][rng.integers(len(PALETTES[name]))]
    colors = [vary(rng, color, 0.05) for color in palette]
    color, cover = _rasterise(SHAPES[name](rng), colors, shape, center, radius, turn)
    cast_shadow(picture, cover, light)
    paint(picture, cover, _shaded(rng, color, cover, light, radius))
    return finish(rng, picture), (cover > 0.5).astype(np.uint8)


def _rasterise(
    parts: list[Part], colors: list[np.ndarray], shape: tuple[int, int], center: np.ndarray, radius: float, turn: float
) -> tuple[np.ndarray, np.ndarray]:
    """Colour ``(3, height, width)`` and cover ``(height, width)`` of polygons; each pixel averages four samples."""
    size = (2 * shape[1], 2 * shape[0])
    inks = [tuple((color.ravel() * 255).astype(int).tolist()) for color in colors]
    body, cover = Image.new("RGB", size, inks[0]), Image.new("L", size)
    on_body, on_cover = ImageDraw.Draw(body), ImageDraw.Draw(cover)
    axes = radius * np.array([[np.cos(turn), np.sin(turn)], [np.sin(turn), -np.cos(turn)]])  # y up to y down
    for points, number in parts:
        places = [tuple(place) for place in (2 * (center + points @ axes)).tolist()]
        on_cover.polygon(places, fill=0 if number is None else 255)
        if number is not None:
            on_body.polygon(places, fill=inks[number])
    color = np.asarray(body.reduce(2), np.float32).transpose(2, 0, 1) / 255
    return color, np.asarray(cover.reduce(2), np.float32) / 255


def _shaded(rng: np.random.Generator, color: np.ndarray, cover: np.ndarray, light: Light, radius: float) -> np.ndarray:
    """The object's colour, rounded at the edges and lit, with a worn surface."""
    sheet = Image.fromarray((cover * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(radius * 0.12))
    height = np.asarray(sheet, np.float32) / 255
    slope_y, slope_x = np.gradient(height)
    relief = -(slope_x * light.x + slope_y * light.y) * radius * 0.28
    worn = 0.05 * noise(rng, cover.shape, "rough")
    return color * (0.92 + relief + worn) + 0.25 * np.clip(relief, 0, 1)
