"""Made fruits, good and bad: six kinds, rotated and lit, on varied ground; a bad one has spots of rot.

The mask of a bad fruit is its rot; the mask of a good one is the whole fruit, since all of its skin is the evidence.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .canvas import Color, Light, blob, cast_shadow, coordinates, curve, draw_line, finish, noise, paint, scene, vary

KINDS = ("apple", "banana", "guava", "lime", "orange", "pomegranate")

CLASSES = tuple(f"{quality} {kind}" for quality in ("bad", "good") for kind in KINDS)

ROT = ((0.24, 0.14, 0.07), (0.15, 0.09, 0.06), (0.33, 0.20, 0.10), (0.10, 0.09, 0.07))
"""Colours of rotten spots, and of the stains on the ground, which are not rot."""

BROWNING = np.array([0.62, 0.5, 0.42], np.float32)[:, None, None]
"""What the colour of the skin around a rotten spot is multiplied by."""

UP = -math.pi / 2
"""Upwards as an angle: y points down."""


@dataclass(frozen=True)
class Body:
    """The solid part of a fruit on the picture's pixels.

    Attributes:
        cover: 0..1 ``(height, width)``.
        normal: of its surface, as x, y, z, each ``(height, width)``.
        along: angle around the fruit, or position along a banana, from -1 to 1.
        center: (x, y) in pixels.
        radius: in pixels.
    """

    cover: np.ndarray
    normal: tuple[np.ndarray, np.ndarray, np.ndarray]
    along: np.ndarray
    center: np.ndarray
    radius: float


def draw_fruit(rng: np.random.Generator, label: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw one fruit of a class of `CLASSES`.

    Returns:
        uint8 picture ``(height, width, 3)`` and uint8 mask ``(height, width)``.
    """
    quality, kind = CLASSES[label].split()
    picture, light = scene(rng, ROT)
    shape = picture.shape[1:]
    turn = rng.uniform(-np.pi, np.pi)
    body = _body(rng, kind, shape, turn)
    cast_shadow(picture, body.cover, light)
    _appendages(rng, kind, picture, body, turn)
    skin = _skin(rng, kind, body)
    rot = np.zeros(shape, np.float32)
    if quality == "bad":
        rot = _rot(rng, skin, body)
    paint(picture, body.cover, _lit(skin, body, light, gloss=0.1 if kind == "guava" else 0.28, dull=rot))
    _stem(rng, kind, picture, body, turn)
    mask = (rot if quality == "bad" else body.cover) > 0.5
    return finish(rng, picture), mask.astype(np.uint8)


def _body(rng: np.random.Generator, kind: str, shape: tuple[int, int], turn: float) -> Body:
    side = min(shape)
    radius = side * rng.uniform(0.27, 0.40)
    center = np.array([shape[1], shape[0]]) / 2 + rng.uniform(-0.5, 0.5, 2) * (0.92 * side - 2 * radius)
    if kind == "banana":
        return _crescent(rng, shape, turn, center, radius)
    x, y = coordinates(shape)
    dx, dy = x - float(center[0]), y - float(center[1])
    angle = np.arctan2(dy, dx) - turn
    top = np.cos(angle - UP)  # 1 at the stem
    narrow = rng.uniform(0.9, 1.0)
    outlines: dict[str, Callable[[], np.ndarray]] = {
        "apple": lambda: 1 - 0.2 * np.exp(7 * (top - 1)) - 0.07 * np.exp(7 * (-top - 1)) + 0.03 * (1 - top**2),
        "guava": lambda: 0.93 - 0.08 * top + 0.05 * top**2,
        "lime": lambda: 0.80 + 0.17 * top**2 + 0.14 * np.exp(14 * (top - 1)) + 0.08 * np.exp(14 * (-top - 1)),
        "orange": lambda: np.ones_like(top),
        "pomegranate": lambda: 0.97 + 0.02 * np.cos(6 * angle),
    }
    outline = outlines[kind]() * (1 - (1 - narrow) * (1 - top**2))
    far = np.hypot(dx, dy)
    share = far / (radius * outline)
    cover = np.clip((1 - share) * radius * 0.9 + 0.5, 0, 1)
    flat = np.minimum(share, 1)
    over = flat / np.maximum(far, 1e-3)
    return Body(cover, (dx * over, dy * over, np.sqrt(1 - flat**2)), angle / np.pi, center, radius)


def _crescent(rng: np.random.Generator, shape: tuple[int, int], turn: float, center: np.ndarray, radius: float) -> Body:
    """A banana: an arc that is thick in the middle."""
    radius = max(radius, 0.33 * min(shape))
    bend = radius * rng.uniform(0.95, 1.35)  # radius of the arc
    half = 1.25 * radius / bend  # half of its angle
    away = np.array([np.cos(turn), np.sin(turn)])
    middle = center - away * bend * 0.8
    x, y = coordinates(shape)
    dx, dy = x - float(middle[0]), y - float(middle[1])
    angle = (np.arctan2(dy, dx) - turn + np.pi) % (2 * np.pi) - np.pi
    along = np.clip(angle / half, -1.3, 1.3)
    thick = radius * rng.uniform(0.27, 0.34) * np.sqrt(np.clip(1.02 - np.abs(along) ** 3, 0, 1))
    far = np.hypot(dx, dy)
    across = (far - bend) / np.maximum(thick, 1)
    cover = np.clip((1 - np.abs(across)) * thick + 0.5, 0, 1) * (thick > 0.5)
    flat = np.clip(across, -1, 1)
    over = flat / np.maximum(far, 1)
    return Body(cover, (dx * over, dy * over, np.sqrt(1 - flat**2)), along, center, radius)


def _skin(rng: np.random.Generator, kind: str, body: Body) -> np.ndarray:
    """Colour of the skin before lighting, ``(3, height, width)``."""
    shape = body.cover.shape
    colors: dict[str, tuple[tuple[Color, Color], ...]] = {
        "apple": (((0.74, 0.10, 0.10), (0.88, 0.55, 0.20)), ((0.80, 0.16, 0.14), (0.85, 0.72, 0.30)),
                  ((0.55, 0.70, 0.18), (0.72, 0.76, 0.30)), ((0.62, 0.06, 0.10), (0.75, 0.20, 0.15))),
        "banana": (((0.93, 0.78, 0.16), (0.86, 0.76, 0.22)), ((0.90, 0.80, 0.25), (0.68, 0.74, 0.24))),
        "guava": (((0.68, 0.78, 0.36), (0.80, 0.82, 0.46)), ((0.55, 0.72, 0.32), (0.72, 0.78, 0.40))),
        "lime": (((0.20, 0.48, 0.10), (0.34, 0.58, 0.14)), ((0.28, 0.52, 0.12), (0.46, 0.62, 0.18))),
        "orange": (((0.95, 0.52, 0.06), (0.92, 0.60, 0.12)), ((0.96, 0.45, 0.05), (0.90, 0.55, 0.10))),
        "pomegranate": (((0.70, 0.16, 0.20), (0.82, 0.42, 0.32)), ((0.60, 0.12, 0.20), (0.72, 0.28, 0.24))),
    }  # fmt: skip
    pairs = colors[kind]
    first, second = (vary(rng, color, 0.025) for color in pairs[rng.integers(len(pairs))])
    cloud = noise(rng, shape, "cloud")
    if kind == "apple":
        streaks = np.sin(body.along * rng.integers(26, 40) + 1.5 * cloud)
        mix = 0.35 + 0.25 * cloud + 0.15 * streaks
    elif kind == "banana":
        mix = 0.4 + 0.2 * cloud + 0.5 * np.abs(body.along) ** 4
    else:
        mix = 0.45 + 0.25 * cloud
    skin = first + np.clip(mix, 0, 1).astype(np.float32) * (second - first)
    if kind in ("orange", "lime", "guava"):
        pores = noise(rng, shape, "grain")
        skin *= 1 + {"orange": 0.055, "lime": 0.045, "guava": 0.03}[kind] * pores
    if kind == "banana":
        tips = np.clip((np.abs(body.along) - 0.9) * 8, 0, 1)
        paint(skin, tips, vary(rng, (0.25, 0.18, 0.10), 0.03))
    return skin


def _rot(rng: np.random.Generator, skin: np.ndarray, body: Body) -> np.ndarray:
    """Put spots of rot on the skin; returns where they are, 0..1."""
    shape = body.cover.shape
    rot = np.zeros(shape, np.float32)
    depth_of_fruit = body.normal[2] * body.cover
    inside = np.argwhere(depth_of_fruit > 0.55)
    least = rng.uniform(0.035, 0.16) * body.cover.sum() + 300  # pixels of rot
    colors = ROT[rng.integers(len(ROT))]
    mould = rng.random() < 0.3
    spotted = rng.random() < 0.4  # many small spots instead of few large ones
    for _ in range(24):
        y, x = inside[rng.integers(len(inside))]
        radius = rng.uniform(5, 9) if spotted else rng.uniform(9, 20)
        window, depth = blob(rng, shape, (float(x), float(y)), radius, soft=max(3.0, radius * 0.35))
        depth = depth * body.cover[window]
        rough = 1 + 0.16 * noise(rng, depth.shape, "rough")
        halo = np.clip(depth * 2, 0, 1)
        paint(skin[window], halo * 0.75, skin[window] * BROWNING)
        paint(skin[window], np.clip(depth * 2 - 0.6, 0, 1), vary(rng, colors, 0.02) * rough)
        if mould and radius > 11:
            mouldy = vary(rng, (0.72, 0.76, 0.70), 0.04) * rough
            paint(skin[window], np.clip(depth * 3 - 2.2, 0, 1) * 0.8, mouldy)
        rot[window] = np.maximum(rot[window], np.clip(depth * 2.2 - 0.1, 0, 1))
        if (rot > 0.5).sum() > least:
            break
    return rot


def _lit(skin: np.ndarray, body: Body, light: Light, gloss: float, dull: np.ndarray) -> np.ndarray:
    """The skin under the light: diffuse, with a highlight where it is not rotten."""
    nx, ny, nz = body.normal
    facing = np.clip(nx * light.x + ny * light.y + nz * light.z, 0, 1)
    half = np.array([light.x, light.y, light.z + 1])
    half = (half / np.linalg.norm(half)).tolist()
    mirror = np.clip(nx * half[0] + ny * half[1] + nz * half[2], 0, 1)
    mirror = mirror**4
    mirror = mirror * mirror * mirror  # with the square below the 24th power, much faster than pow
    return skin * (0.36 + 0.74 * facing) + gloss * (1 - 0.8 * dull) * mirror * mirror


def _direction(turn: float, angle: float = UP) -> np.ndarray:
    return np.array([np.cos(turn + angle), np.sin(turn + angle)])


def _appendages(rng: np.random.Generator, kind: str, picture: np.ndarray, body: Body, turn: float) -> None:
    """What sticks out behind the fruit: a pomegranate's crown."""
    if kind == "pomegranate":
        for spread in (-0.34, -0.12, 0.12, 0.34):
            foot = body.center + body.radius * 0.85 * _direction(turn, UP + 0.6 * spread)
            tip = body.center + body.radius * 1.34 * _direction(turn, UP + 0.75 * spread)
            points = foot + np.linspace(0, 1, 5)[:, None] * (tip - foot)
            for step, width in enumerate((9, 7, 5, 3)):
                tooth = points[step : step + 2]
                draw_line(picture, tooth, width * body.radius / 60, vary(rng, (0.62, 0.28, 0.20), 0.02))


def _stem(rng: np.random.Generator, kind: str, picture: np.ndarray, body: Body, turn: float) -> None:
    """What is in front of the fruit: stem, leaf, calyx."""
    shape = picture.shape[1:]
    if kind == "apple":
        foot = body.center + body.radius * 0.72 * _direction(turn)
        points = curve(rng, foot, turn + UP, body.radius * 0.42, bend=0.5, steps=6)
        draw_line(picture, points, body.radius * 0.07, vary(rng, (0.30, 0.20, 0.10), 0.03))
        if rng.random() < 0.4:
            place = points[4] + body.radius * 0.16 * _direction(turn, 0)
            window, depth = blob(rng, shape, tuple(place), body.radius * 0.15)
            paint(picture[window], depth, vary(rng, (0.25, 0.48, 0.16), 0.04))
    elif kind in ("orange", "guava", "lime"):
        far = {"orange": rng.uniform(0.1, 0.6), "guava": 0.88, "lime": 0.98}[kind]
        small = {"orange": 0.07, "guava": 0.12, "lime": 0.06}[kind]
        color = {"orange": (0.36, 0.42, 0.16), "guava": (0.36, 0.34, 0.18), "lime": (0.45, 0.50, 0.22)}[kind]
        window, depth = blob(rng, shape, tuple(body.center + body.radius * far * _direction(turn)), body.radius * small)
        paint(picture[window], depth, vary(rng, color, 0.03))
