"""Draws a person's face: mouth, brows and eyes follow the shown state, everything else follows the person.

Valence bends the mouth, shows the teeth, reddens the cheeks and slants the brows; arousal opens eyes and mouth and lifts the
brows. Heads move and tilt, eyes blink, mouths move while speaking and light changes, which are no part of the answer. All
shapes of all frames are computed at once; only the filling is done frame by frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from abaw_pipeline.corpus.demo.person import Expression, Floats, generator, smooth

Image = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]  # blue, green, red

CROP = 112
"""Edge of an aligned face image."""
HEIGHT = 144
CELL = 144
"""Width of the picture that one person takes."""
CENTRE = (CELL // 2, 76)
"""Where a face is, on the mean, within its part of the picture."""
SHIFT = 4
"""Bits of the fraction in OpenCV's coordinates."""

SKINS: tuple[Colour, ...] = (
    (196, 214, 246),
    (170, 196, 236),
    (140, 172, 222),
    (110, 144, 200),
    (82, 112, 166),
    (58, 82, 128),
    (48, 64, 98),
)
HAIRS: tuple[Colour, ...] = ((28, 26, 24), (36, 46, 62), (40, 66, 110), (90, 150, 200), (50, 70, 150), (150, 150, 155))
IRISES: tuple[Colour, ...] = ((60, 80, 40), (120, 80, 40), (30, 50, 80), (70, 110, 60))


@dataclass(frozen=True)
class Traits:
    """What does not change about a person (pixels of the 112-pixel face)."""

    skin: Colour
    hair: Colour
    iris: Colour
    shirt: Colour
    backdrop: tuple[Colour, Colour]
    head: tuple[float, float]
    eye_gap: float
    eye_size: float
    eye_opening: float
    brow_height: float
    brow_weight: int
    mouth_width: float
    mouth_height: float
    mouth_bend: float
    lip: float
    fringe: float
    long_hair: bool
    glasses: bool
    beard: bool


@dataclass(frozen=True)
class Shape:
    """One shape over all frames: points (frames, n, 2) in fixed-point pixels."""

    points: npt.NDArray[np.int32]
    colour: Colour
    line: int = 0
    """Thickness of the line; 0 fills the shape."""


def traits(seed: int, subject: str) -> Traits:
    """The looks of a person."""
    draw = generator(seed, "looks", subject)

    def colour(low: int, high: int) -> Colour:
        blue, green, red = (int(value) for value in draw.integers(low, high, 3))
        return blue, green, red

    def of(choices: tuple[Colour, ...]) -> Colour:
        return choices[int(draw.integers(len(choices)))]

    return Traits(
        skin=of(SKINS),
        hair=of(HAIRS),
        iris=of(IRISES),
        shirt=colour(30, 220),
        backdrop=(colour(60, 220), colour(60, 220)),
        head=(float(draw.uniform(33, 38)), float(draw.uniform(43, 48))),
        eye_gap=float(draw.uniform(14.5, 18)),
        eye_size=float(draw.uniform(7.5, 9.5)),
        eye_opening=float(draw.normal(0, 0.35)),
        brow_height=float(draw.normal(0, 0.8)),
        brow_weight=int(draw.integers(2, 5)),
        mouth_width=float(draw.uniform(18, 22)),
        mouth_height=float(draw.uniform(21, 24)),
        mouth_bend=float(draw.normal(0, 0.5)),
        lip=float(draw.uniform(1.6, 3.0)),
        fringe=float(draw.uniform(0.45, 0.8)),
        long_hair=bool(draw.random() < 0.4),
        glasses=bool(draw.random() < 0.3),
        beard=bool(draw.random() < 0.15),
    )


def shapes(person: Traits, shown: Expression, speaking: Floats, draw: np.random.Generator, left: int) -> list[Shape]:
    """The person's shapes, from back to front, at each of the expression's times.

    `speaking` (frames,) is 0 to 1 while the person talks; `left` is where the person's part of the picture begins.
    """
    valence, arousal = shown.valence[:, None], shown.arousal[:, None]
    frames = len(shown.times)
    skin, hair = person.skin, person.hair
    width, height = person.head
    found: list[Shape] = []

    # Pose: the head drifts, tilts and comes nearer, smoothly.
    drift = np.stack([smooth(shown.times, draw), smooth(shown.times, draw)], axis=1) * 1.5
    tilt = np.radians(3.5) * smooth(shown.times, draw)
    scale = 1 + 0.025 * smooth(shown.times, draw)
    turn = np.stack([np.stack([np.cos(tilt), -np.sin(tilt)], 1), np.stack([np.sin(tilt), np.cos(tilt)], 1)], axis=1) * scale[:, None, None]
    place = np.array([left + CENTRE[0], CENTRE[1]]) + drift

    def add(x: Floats, y: Floats, colour: Colour, line: int = 0, moving: bool = True) -> None:
        points = np.stack(np.broadcast_arrays(x, y), axis=-1)
        points = np.broadcast_to(points, (frames, *points.shape[-2:]))
        if moving:
            points = points @ turn.transpose(0, 2, 1) + place[:, None]
        else:
            points = points + np.array([left + CENTRE[0], CENTRE[1]])
        found.append(Shape(np.round(points * (1 << SHIFT)).astype(np.int32), colour, line))

    def ellipse(x: float, y: float, rx: float | Floats, ry: float | Floats, n: int = 20) -> tuple[Floats, Floats]:
        angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
        return x + rx * np.cos(angle), y + ry * np.sin(angle)

    # Body, hair behind, ears, head.
    add(np.array([-40.0, -34, -14, 14, 34, 40]), np.array([80.0, 52, 42, 42, 52, 80]), person.shirt, moving=False)
    if person.long_hair:
        add(*ellipse(0, 12, width + 7, height + 6, 24), hair)
    add(np.array([-11.0, 11, 12, -12]), np.array([28.0, 28, 54, 54]), _shade(skin, 0.82))
    for side in (-1, 1):
        add(*ellipse(side * width, 2, 4.5, 8, 12), _shade(skin, 0.9))
    add(*ellipse(0, 0, width + 2, height + 2, 28), hair)
    add(*ellipse(0, 1.5, width, height, 28), skin)
    if person.beard:
        angle = np.linspace(0.1, np.pi - 0.1, 14)
        outer = np.stack([width * np.cos(angle), 1.5 + height * np.sin(angle)])
        inner = np.stack([0.72 * width * np.cos(angle[::-1]), 14 + 0.45 * height * np.sin(angle[::-1])])
        add(*_ring(outer, inner), hair)
    angle = np.linspace(np.pi * 1.03, np.pi * 1.97, 14)
    outer = np.stack([(width + 2) * np.cos(angle), (height + 3) * np.sin(angle)])
    inner = np.stack([(width + 1) * np.cos(angle[::-1]), person.fringe * height * np.sin(angle[::-1])])
    add(*_ring(outer, inner), hair)

    # Eyes: arousal opens them, blinks close them.
    opening = np.clip(4.2 + person.eye_opening + 1.7 * arousal, 0.7, 8.5) * (1 - _blinks(shown.times, draw))[:, None]
    gaze = 1.2 * smooth(shown.times, draw)[:, None]
    for side in (-1, 1):
        middle = side * person.eye_gap
        add(*ellipse(middle, -7, person.eye_size, opening, 16), (245, 245, 245))
        seen = np.minimum(4.0, opening)
        add(middle + gaze + 4.0 * _COS, -7 + seen * _SIN, person.iris)
        add(middle + gaze + 2.0 * _COS, -7 + np.minimum(2.0, opening) * _SIN, (15, 15, 15))
        lid = np.linspace(np.pi, 2 * np.pi, 9)
        add(middle + person.eye_size * np.cos(lid), -7 + opening * np.sin(lid), _shade(skin, 0.45), line=1)
        # Brows: arousal lifts them; bad feelings press the inner ends down.
        along = np.linspace(-1, 1, 6)
        lift = -18.5 - person.brow_height - 1.6 * arousal
        slant = -side * along * 3.2 * np.clip(valence, -2, 2)
        add(middle + along * (person.eye_size + 1.5), lift - slant - 1.5 * (1 - along**2), _shade(hair, 0.8), line=person.brow_weight)
    if person.glasses:
        for side in (-1, 1):
            add(*ellipse(side * person.eye_gap, -6, person.eye_size + 4, 9.5, 18), (40, 40, 45), line=1)
        add(np.array([-4.0, 4]), np.array([-7.0, -7]), (40, 40, 45), line=1)

    # Nose and mouth: valence bends the mouth, arousal and speech open it.
    cheek = (int(skin[0] * 0.8), int(skin[1] * 0.82), skin[2])
    add(np.array([-1.0, -3.5, -4.5, 0, 4.5]), np.array([-2.0, 9, 11, 12.5, 11]), _shade(skin, 0.7), line=1)
    along = np.linspace(-1, 1, 13)
    bend = person.mouth_bend + 6.5 * np.clip(valence, -2.2, 2.2)
    corners = person.mouth_width * (1 + 0.06 * np.clip(valence, -2, 2))
    open_by = np.clip(1.2 + 1.5 * arousal + 2.0 * speaking[:, None], 0, 7)
    line = person.mouth_height + bend * (0.5 - along**2)
    arch = 1 - along**2
    upper, lower = line - (0.35 * open_by + person.lip) * arch, line + (0.65 * open_by + person.lip) * arch
    x = corners * along
    lips = (int(skin[0] * 0.55), int(skin[1] * 0.5), int(min(255, skin[2] * 0.85 + 20)))
    add(np.concatenate([x, x[:, ::-1]], axis=1), np.concatenate([upper, lower[:, ::-1]], axis=1), lips)
    gap_top, gap_low = line - 0.35 * open_by * arch, line + 0.65 * open_by * arch
    x = 0.9 * x
    add(np.concatenate([x, x[:, ::-1]], axis=1), np.concatenate([gap_top, gap_low[:, ::-1]], axis=1), (30, 20, 50))
    # Who smiles shows teeth, and cheeks.
    teeth = np.clip(1.0 + 2.4 * valence, 0, 6) * arch
    inside = 0.8 * corners * along
    add(
        np.concatenate([inside, inside[:, ::-1]], axis=1),
        np.concatenate([line - 0.4 * teeth, (line + 0.6 * teeth)[:, ::-1]], axis=1),
        (235, 240, 240),
    )
    add(x, np.where(teeth > 0, line - 0.4 * teeth, line), (30, 20, 50), line=1)
    for side in (-1, 1):
        lifted = np.clip(3.5 + 2.5 * valence, 0, 9)
        add(*ellipse(side * 0.68 * width, 9, lifted, 0.7 * lifted, 12), cheek)
    return found


def backdrop(people: list[Traits]) -> Image:
    """The picture behind the people: (HEIGHT, CELL per person, 3)."""
    cells = []
    across = np.linspace(0, 1, CELL)[None, :, None]
    down = np.linspace(0, 1, HEIGHT)[:, None, None]
    for person in people:
        first, second = (np.array(colour, dtype=np.float64) for colour in person.backdrop)
        blend = (across + down) / 2
        cells.append(first * (1 - blend) + second * blend)
    return np.concatenate(cells, axis=1).astype(np.uint8)


def picture(behind: Image, drawn: list[Shape], frame: int, light: float) -> Image:
    """One frame of the video, `light` around 1."""
    canvas = behind.copy()
    for shape in drawn:
        points = shape.points[frame]
        if shape.line:
            cv2.polylines(canvas, [points], False, shape.colour, shape.line, cv2.LINE_AA, SHIFT)
        else:
            cv2.fillPoly(canvas, [points], shape.colour, cv2.LINE_AA, SHIFT)
    return np.asarray(cv2.convertScaleAbs(canvas, alpha=light, beta=0), dtype=np.uint8)


def crop(canvas: Image, number: int, jitter: tuple[int, int]) -> Image:
    """The face image (112, 112, 3) of person `number`, its place off by `jitter` pixels."""
    top = CENTRE[1] - CROP // 2 + jitter[1]
    left = number * CELL + CENTRE[0] - CROP // 2 + jitter[0]
    top = min(max(top, 0), HEIGHT - CROP)
    return canvas[top : top + CROP, left : left + CROP]


_ANGLE = np.linspace(0, 2 * np.pi, 12, endpoint=False)
_COS, _SIN = np.cos(_ANGLE), np.sin(_ANGLE)


def _ring(outer: Floats, inner: Floats) -> tuple[Floats, Floats]:
    """x and y of the area between two curves (2, n) that run in opposite directions."""
    x, y = np.concatenate([outer, inner], axis=1)
    return x, y


def _shade(colour: Colour, factor: float) -> Colour:
    blue, green, red = (int(min(255, value * factor)) for value in colour)
    return blue, green, red


def _blinks(times: Floats, draw: np.random.Generator) -> Floats:
    """How far the eyes are closed, 0 to 1: a blink of about 0.15 s every few seconds."""
    closed = np.zeros_like(times)
    at = draw.uniform(0.5, 3.0)
    while at < times[-1]:
        closed = np.maximum(closed, 1 - np.abs(times - at) / 0.09)
        at += draw.uniform(2.0, 5.0)
    return np.clip(closed, 0, 0.9)
