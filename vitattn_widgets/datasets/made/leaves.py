"""Made cassava leaves: palmate, on varied ground, healthy or with one of four kinds of damage.

The damage follows the diseases that the classes are named after: bacterial blight (angular, dark, water-soaked spots
between veins), brown streak disease (yellow along the veins, browning), green mite (fine pale mottling) and mosaic
disease (patches of yellow and a bent leaf). The mask is the damage, or the whole leaf if it is healthy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from .canvas import cast_shadow, coordinates, draw_line, finish, noise, paint, scene, vary

CLASSES = ("cbb", "cbsd", "cgm", "cmd", "healthy")

LITTER = ((0.40, 0.30, 0.14), (0.62, 0.52, 0.18), (0.24, 0.22, 0.10))
"""Colours of the stains on the ground, near those of the damage."""


@dataclass(frozen=True)
class Leaf:
    """A palmate leaf on the picture's pixels; arrays are ``(height, width)``.

    Attributes:
        cover: 0..1.
        lobe: number of the lobe that a pixel belongs to.
        along: position along the lobe's midrib, 0 at the stalk, 1 at the tip.
        across: signed distance from it, in pixels.
        vein: how much of a pixel is midrib or side vein, 0..1.
        side_vein: position between side veins; whole numbers are on a vein.
        length: of the longest lobe in pixels.
    """

    cover: np.ndarray
    lobe: np.ndarray
    along: np.ndarray
    across: np.ndarray
    vein: np.ndarray
    side_vein: np.ndarray
    length: float


def draw_leaf(rng: np.random.Generator, label: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw one leaf of a class of `CLASSES`.

    Returns:
        uint8 picture ``(height, width, 3)`` and uint8 mask ``(height, width)``.
    """
    name = CLASSES[label]
    picture, light = scene(rng, LITTER)
    shape = picture.shape[1:]
    if rng.random() < 0.5:
        _leaf_behind(rng, picture)
    center = np.array([shape[1], shape[0]]) * rng.uniform(0.38, 0.62, 2)
    turn = rng.uniform(-np.pi, np.pi)
    leaf = make_leaf(rng, shape, center, turn, min(shape) * rng.uniform(0.46, 0.62), bent=name == "cmd")
    cast_shadow(picture, leaf.cover, light, height=7)
    stalk = center + np.stack([np.linspace(0, -1, 6) * np.cos(turn), np.linspace(0, -1, 6) * np.sin(turn)], 1) * 90
    draw_line(picture, stalk, 4, vary(rng, (0.55, 0.36, 0.28), 0.08))

    skin = _blade(rng, leaf)
    damage = {"cbb": _spots, "cbsd": _streaks, "cgm": _mottling, "cmd": _mosaic}.get(name)
    hurt = damage(rng, skin, leaf) * leaf.cover if damage else leaf.cover
    tilt = (0.09 * np.cos(np.arange(7) * 1.7 + turn)).astype(np.float32)
    fold = np.sign(leaf.across) * tilt[leaf.lobe] + 0.05 * noise(rng, shape, "cloud")
    paint(picture, leaf.cover, skin * (1 + fold))
    return finish(rng, picture), (hurt > 0.5).astype(np.uint8)


def make_leaf(
    rng: np.random.Generator,
    shape: tuple[int, int],
    center: np.ndarray,
    turn: float,
    length: float,
    bent: bool,
) -> Leaf:
    """Lay out a leaf of five or seven lobes around `center`, with the middle one in the direction `turn`."""
    count = int(rng.choice([5, 7]))
    spread = rng.uniform(0.78, 0.92) * np.pi
    directions: np.ndarray = np.linspace(-spread, spread, count) + rng.normal(0, 0.05, count)
    lengths: np.ndarray = (
        length * (1 - 0.42 * (directions / np.pi) ** 2) * rng.normal(1, 0.05 if not bent else 0.16, count)
    )
    widths: np.ndarray = lengths * rng.uniform(0.17, 0.24) * rng.normal(1, 0.04 if not bent else 0.18, count)
    x, y = coordinates(shape)
    dx, dy = x - float(center[0]), y - float(center[1])
    far = np.hypot(dx, dy)
    angle = (np.arctan2(dy, dx) - turn + np.pi) % (2 * np.pi) - np.pi
    if bent:
        angle = angle + rng.uniform(0.25, 0.5) * np.sin(far / length * rng.uniform(5, 8) + rng.uniform(0, 6)) * (
            far / length
        )
    else:
        angle = angle + rng.uniform(-0.15, 0.15) * far / length
    lobe = np.searchsorted((directions[1:] + directions[:-1]) / 2, angle.ravel()).reshape(shape)
    directions, lengths, widths = (values.astype(np.float32) for values in (directions, lengths, widths))
    own = angle - directions[lobe]
    size = lengths[lobe]
    along, across = far * np.cos(own) / size, far * np.sin(own)
    inside = np.clip(along, 0, 1)
    profile = widths[lobe] * np.maximum(np.sin(np.pi * inside**0.72), 0) ** 0.85
    base = 0.16 * length * np.clip(1 - far / (0.3 * length), 0, 1)  # the lobes grow together at the stalk
    edge = profile + base - np.abs(across)
    cover = np.clip(edge + 0.5, 0, 1) * ((along > 0) | (far < 0.06 * length)) * (along < 1.02)
    side_vein = along * rng.uniform(9, 12) - np.abs(across) / length * rng.uniform(9, 14)
    from_vein = np.abs(side_vein - np.round(side_vein))
    midrib = np.clip(1.6 - np.abs(across) / (0.4 + 1.6 * (1 - inside)), 0, 1)
    vein = np.maximum(midrib, 0.45 * np.clip(1 - from_vein / 0.09, 0, 1))
    return Leaf(cover.astype(np.float32), lobe, along, across, vein.astype(np.float32), side_vein, length)


def _leaf_behind(rng: np.random.Generator, picture: np.ndarray) -> None:
    """A darker, undamaged leaf behind the one that counts."""
    shape = picture.shape[1:]
    center = np.array([shape[1], shape[0]]) * rng.uniform(0, 1, 2)
    leaf = make_leaf(rng, shape, center, rng.uniform(-np.pi, np.pi), min(shape) * rng.uniform(0.4, 0.6), bent=False)
    dark = vary(rng, (0.16, 0.30, 0.12), 0.03) * (1 + 0.4 * leaf.vein)
    paint(picture, leaf.cover, dark)


def _blade(rng: np.random.Generator, leaf: Leaf) -> np.ndarray:
    """The green of the leaf with its veins, ``(3, height, width)``."""
    greens = ((0.20, 0.44, 0.13), (0.28, 0.52, 0.16), (0.15, 0.38, 0.14), (0.33, 0.54, 0.20))
    green = vary(rng, greens[rng.integers(len(greens))], 0.025)
    skin = green * (1 + 0.08 * noise(rng, leaf.cover.shape, "rough"))
    paint(skin, leaf.vein * 0.6, np.clip(green * 1.35 + 0.14, 0, 1))
    return skin


def _spots(rng: np.random.Generator, skin: np.ndarray, leaf: Leaf) -> np.ndarray:
    """Bacterial blight: dark angular spots bounded by veins, each with a yellow halo."""
    field = np.floor(leaf.side_vein).astype(np.int64)
    strip = np.floor(leaf.across / rng.uniform(7, 10) + 0.5).astype(np.int64)
    chance = rng.random(4096).astype(np.float32)
    # hashing the cell between two veins gives all of its pixels the same chance
    number = (field * 73 + strip * 131 + leaf.lobe * 977) % 4096
    ill = chance[number] < np.clip(rng.uniform(0.2, 0.34) + 0.12 * noise(rng, leaf.cover.shape, "cloud"), 0.12, 0.6)
    ill = ill & (np.abs(leaf.side_vein - np.round(leaf.side_vein)) > 0.07) & (leaf.along < 0.97)
    ill = ill.astype(np.float32)
    halo = _blur(ill, 4)
    paint(skin, np.clip(halo * 1.6, 0, 0.75), vary(rng, (0.70, 0.66, 0.20), 0.04))
    color = vary(rng, (0.17, 0.15, 0.08) if rng.random() < 0.6 else (0.26, 0.18, 0.09), 0.02)
    paint(skin, ill * 0.95, color * (1 + 0.2 * noise(rng, leaf.cover.shape, "rough")))
    return np.clip(halo * 2.2, 0, 1)


def _streaks(rng: np.random.Generator, skin: np.ndarray, leaf: Leaf) -> np.ndarray:
    """Brown streak disease: feathery yellow beside the veins, brown on them."""
    from_vein = np.abs(leaf.side_vein - np.round(leaf.side_vein))
    where = np.clip(0.75 + 0.9 * noise(rng, leaf.cover.shape, "cloud"), 0, 1)
    beside = np.maximum(np.clip(1.25 - from_vein / 0.24, 0, 1), np.clip(1.7 - np.abs(leaf.across) / 5, 0, 1)) * where
    feather = np.clip(beside + 0.14 * noise(rng, leaf.cover.shape, "grain") * beside, 0, 1)
    paint(skin, feather * 0.95, vary(rng, (0.86, 0.78, 0.20), 0.03))
    brown = np.maximum(np.clip(1 - from_vein / 0.10, 0, 1), np.clip(1.4 - np.abs(leaf.across) / 3, 0, 1)) * where
    paint(skin, brown * 0.85, vary(rng, (0.48, 0.28, 0.10), 0.03))
    return feather


def _mottling(rng: np.random.Generator, skin: np.ndarray, leaf: Leaf) -> np.ndarray:
    """Green mite: many fine pale dots over parts of the leaf."""
    grain, cloud = noise(rng, leaf.cover.shape, "grain"), noise(rng, leaf.cover.shape, "cloud")
    region = np.clip(0.8 + 0.8 * cloud, 0, 1)
    dots = np.clip((grain - 0.1) * 1.8, 0, 1) * region
    paint(skin, region * 0.3, vary(rng, (0.62, 0.68, 0.36), 0.02))
    paint(skin, dots * 0.9, vary(rng, (0.88, 0.88, 0.62), 0.03))
    return region


def _mosaic(rng: np.random.Generator, skin: np.ndarray, leaf: Leaf) -> np.ndarray:
    """Mosaic disease: yellow and pale green patches with sharp edges."""
    rough = noise(rng, leaf.cover.shape, "cloud") + 0.35 * noise(rng, leaf.cover.shape, "rough")
    patches = np.clip((rough - rng.uniform(-0.25, 0.2)) * 5, 0, 1) * (1 - 0.5 * leaf.vein)
    paint(skin, patches * 0.92, vary(rng, (0.82, 0.80, 0.28), 0.04))
    return patches


def _blur(values: np.ndarray, radius: int) -> np.ndarray:
    sheet = Image.fromarray((values * 255).astype(np.uint8)).filter(ImageFilter.BoxBlur(radius))
    return np.asarray(sheet, np.float32) / 255
