"""Draws scenes and digits with OpenCV and the fonts of matplotlib, large and then shrunk as the vision service does."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from training.captions import Scene

Picture = NDArray[np.uint8]  # (h, w, 3) RGB

# Base colours in the order of captions.COLOURS.
_RGB = ((215, 30, 35), (35, 165, 50), (35, 70, 215), (245, 220, 40), (130, 45, 165), (245, 135, 20), (15, 15, 15),
        (245, 245, 245))  # fmt: skip
_CV_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX,
             cv2.FONT_HERSHEY_PLAIN, cv2.FONT_HERSHEY_SCRIPT_SIMPLEX)  # fmt: skip
_SHIFT = 4  # OpenCV draws polygons with 4 fractional bits here


def draw_scene(scene: Scene, rng: np.random.Generator) -> Picture:
    """Returns a picture of the scene on a canvas of random size, shape and background."""
    short = int(rng.integers(64, 257))
    stretch = float(rng.choice([1.0, 1.0, rng.uniform(1.0, 1.4)]))
    height, width = (short, round(short * stretch)) if rng.random() < 0.6 else (round(short * stretch), short)
    colour = _vary(_RGB[scene.colour], rng)
    canvas = _background(height, width, colour, rng)
    for centre, radius in _places(scene, height, width, rng):
        _draw_shape(canvas, scene.shape, centre, radius, colour, rng)
    if rng.random() < 0.2:
        canvas = _noisy(canvas, float(rng.uniform(2, 10)), rng)
    return canvas


def draw_digit(digit: int, rng: np.random.Generator, held_out_fonts: bool = False) -> Picture:
    """Returns a picture of a typed digit: light on dark, dark on light, or in colours; never too faint to read."""
    return draw_character(str(digit), rng, held_out_fonts)


def draw_character(character: str, rng: np.random.Generator, held_out_fonts: bool = False) -> Picture:
    """Returns a picture of a typed character, in the manner of `draw_digit`."""
    side = int(rng.integers(64, 161))
    mask = _character_mask(character, side, rng, held_out_fonts)[:, :, None].astype(np.float32) / 255
    ink, paper = _ink_and_paper(rng)
    canvas = (mask * ink + (1 - mask) * paper).astype(np.uint8)
    return _noisy(canvas, float(rng.uniform(2, 12)), rng) if rng.random() < 0.3 else canvas


def _character_mask(character: str, side: int, rng: np.random.Generator, held_out_fonts: bool) -> Picture:
    mask = np.zeros((side, side), np.uint8)
    if not held_out_fonts and rng.random() < 0.6:
        _put_cv(mask, character, rng)
    else:
        _put_truetype(mask, character, rng, held_out_fonts)
    turn = float(rng.normal(0, 7))
    scale = float(rng.uniform(0.75, 1.1))
    matrix = np.asarray(cv2.getRotationMatrix2D((side / 2, side / 2), turn, scale), np.float64)
    matrix[:, 2] += rng.uniform(-0.1, 0.1, 2) * side
    matrix[0, 1] += float(rng.normal(0, 0.1))  # a slant
    matrix[0, 2] -= matrix[0, 1] * side / 2 * 0.5
    return np.asarray(cv2.warpAffine(mask, matrix, (side, side), flags=cv2.INTER_LINEAR), np.uint8)


def _put_cv(mask: Picture, text: str, rng: np.random.Generator) -> None:
    side = mask.shape[0]
    font = int(rng.choice(_CV_FONTS))
    thickness = max(1, round(side * float(rng.uniform(0.015, 0.12))))
    (_, unit), _ = cv2.getTextSize(text, font, 1.0, 1)
    scale = side * float(rng.uniform(0.45, 0.8)) / unit
    (width, height), _ = cv2.getTextSize(text, font, scale, thickness)
    cv2.putText(mask, text, ((side - width) // 2, (side + height) // 2), font, scale, (255,), thickness, cv2.LINE_AA)


def _put_truetype(mask: Picture, text: str, rng: np.random.Generator, held_out: bool) -> None:
    side = mask.shape[0]
    fonts = _fonts(held_out)
    font = ImageFont.truetype(fonts[int(rng.integers(len(fonts)))], round(side * float(rng.uniform(0.65, 1.0))))
    page = Image.new("L", (side, side))
    ImageDraw.Draw(page).text((side / 2, side / 2), text, fill=255, font=font, anchor="mm")
    mask[:] = np.asarray(page)


@lru_cache(maxsize=2)
def _fonts(held_out: bool) -> Sequence[str]:
    """Returns matplotlib's own fonts: DejaVu for training, STIX for the check (italics and symbols left out)."""
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    pattern = "STIXGeneral*.ttf" if held_out else "DejaVuS*.ttf"
    return [str(file) for file in sorted(folder.glob(pattern)) if "Display" not in file.name]


def _ink_and_paper(rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    if rng.random() < 0.6:
        dark, light = rng.uniform(0, 60, (1, 1)), rng.uniform(190, 255, (1, 1))
        pair = (light, dark) if rng.random() < 0.5 else (dark, light)
        return np.repeat(pair[0], 3, 1).astype(np.float32), np.repeat(pair[1], 3, 1).astype(np.float32)
    while True:
        ink, paper = rng.uniform(0, 255, (2, 3)).astype(np.float32)
        if abs(float(ink.mean() - paper.mean())) > 70:
            return ink, paper


def _vary(rgb: tuple[int, int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    return np.clip(np.array(rgb) + rng.normal(0, 9, 3), 0, 255).astype(np.float32)


def _background(height: int, width: int, colour: NDArray[np.float32], rng: np.random.Generator) -> Picture:
    """Returns a plain, shaded or grainy canvas that the colour stands out from."""
    while True:
        paper = _paper(rng)
        if float(np.abs(paper - colour).max()) > 90:
            break
    canvas = np.broadcast_to(paper, (height, width, 3)).copy()
    kind = rng.random()
    if kind < 0.3:
        ramp = np.linspace(-1, 1, height if rng.random() < 0.5 else width) * float(rng.uniform(5, 30))
        canvas += ramp[:, None, None] if len(ramp) == height else ramp[None, :, None]
    elif kind < 0.5:
        grain = rng.normal(0, float(rng.uniform(3, 14)), (height // 4 + 1, width // 4 + 1, 1)).astype(np.float32)
        canvas += cv2.resize(grain, (width, height))[:, :, None]
    return np.ascontiguousarray(np.clip(canvas, 0, 255).astype(np.uint8))


def _paper(rng: np.random.Generator) -> NDArray[np.float32]:
    draw = rng.random()
    if draw < 0.35:
        return np.clip(rng.uniform(225, 255) + rng.normal(0, 3, 3), 0, 255).astype(np.float32)
    if draw < 0.6:
        return np.clip(rng.uniform(0, 45) + rng.normal(0, 3, 3), 0, 255).astype(np.float32)
    return np.clip(rng.uniform(30, 230) + rng.normal(0, 18, 3), 0, 255).astype(np.float32)


def _places(scene: Scene, height: int, width: int, rng: np.random.Generator) -> list[tuple[NDArray[np.float64], float]]:
    """Returns centres (x, y) and radii of shapes that do not touch each other."""
    short, count = min(height, width), scene.count + 1
    low, high = (0.105, 0.14) if scene.size == 0 else (0.185, 0.215) if count == 3 else (0.2, 0.27)
    while True:
        radius = short * float(rng.uniform(low, high))
        margin = radius * 1.08
        centres = rng.uniform((margin, margin), (width - margin, height - margin), (count, 2))
        gaps = np.linalg.norm(centres[:, None] - centres[None], axis=2) + np.eye(count) * 1e9
        if gaps.min() > 2.25 * radius:
            return [(centre, radius * float(rng.uniform(0.95, 1.05))) for centre in centres]


def _draw_shape(
    canvas: Picture,
    shape: int,
    centre: NDArray[np.float64],
    radius: float,
    colour: NDArray[np.float32],
    rng: np.random.Generator,
) -> None:
    ink = tuple(int(channel) for channel in colour)
    turn = float(rng.uniform(-0.3, 0.3))
    if shape == 0:
        middle = (round(centre[0] * (1 << _SHIFT)), round(centre[1] * (1 << _SHIFT)))
        cv2.circle(canvas, middle, round(radius * (1 << _SHIFT)), ink, -1, cv2.LINE_AA, _SHIFT)
        return
    outline = _outline(shape)
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = centre + radius * outline @ spin.T
    cv2.fillPoly(canvas, [np.round(points * (1 << _SHIFT)).astype(np.int32)], ink, cv2.LINE_AA, _SHIFT)


@lru_cache(maxsize=8)
def _outline(shape: int) -> NDArray[np.float64]:
    """Returns (points, 2) around the origin, for a radius of 1; y points down."""
    if shape == 1:
        return np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * 0.85
    if shape == 2:
        return _ring([1.1] * 3)
    if shape == 3:
        return _ring([1.15, 0.47] * 5)
    arm = 0.3
    return np.array([[-arm, -1], [arm, -1], [arm, -arm], [1, -arm], [1, arm], [arm, arm], [arm, 1], [-arm, 1],
                     [-arm, arm], [-1, arm], [-1, -arm], [-arm, -arm]])  # fmt: skip


def _ring(radii: list[float]) -> NDArray[np.float64]:
    angles = np.arange(len(radii)) * 2 * np.pi / len(radii)
    return np.asarray(np.stack([np.sin(angles), -np.cos(angles)], 1) * np.array(radii)[:, None], np.float64)


def _noisy(canvas: Picture, deviation: float, rng: np.random.Generator) -> Picture:
    return np.clip(canvas + rng.normal(0, deviation, canvas.shape), 0, 255).astype(np.uint8)
