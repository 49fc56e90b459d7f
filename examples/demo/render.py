#!/usr/bin/env python3
"""Draw the pictures that the demo reads: lines of text, or pages of twelve lines.

    render.py lines|pages --count N --seed S --out DIR

Writes DIR/truth.json and the pictures beside it. For lines, truth.json is a list of {"file", "text", "level"}; for
pages, of {"file", "width", "height", "level", "upside_down", "lines": [{"text", "box": [x0, y0, x1, y1]}]}, with boxes
in pixels of the picture as it lies in the file.

Picture i of a seed is the same whatever the count: each draws from a generator of its own. (Another Pillow or FreeType
may differ by pixels; both come with the pinned packages.)

There are four levels of difficulty, so that a small model reads much, a larger one reads more, and it pays to ask the
larger one only where the small one is unsure. Absolute accuracies on such pictures say nothing about real scans.
"""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

FONTS_ROOT = Path("/usr/share/fonts/truetype")
FONTS = [
    "dejavu/DejaVuSans.ttf",
    "dejavu/DejaVuSerif.ttf",
    "dejavu/DejaVuSansMono.ttf",
    "liberation/LiberationSans-Regular.ttf",
    "liberation/LiberationSerif-Regular.ttf",
    "liberation/LiberationSerif-Italic.ttf",
    "liberation/LiberationMono-Regular.ttf",
    "liberation/LiberationSansNarrow-Bold.ttf",
    "lato/Lato-Regular.ttf",
    "lato/Lato-Light.ttf",
    "open-sans/OpenSans-Regular.ttf",
    "roboto/unhinted/RobotoTTF/Roboto-Medium.ttf",
    "hack/Hack-Regular.ttf",
    "crosextra/Carlito-Italic.ttf",
    "crosextra/Caladea-Regular.ttf",
    "gentium-basic/GenBasR.ttf",
    "quicksand/Quicksand-Medium.ttf",
]

WORDS = """
able account address after again agent air amount animal answer apple april archive arrive art august autumn balance
bank basic before begin below bird black blue board book border bottle bread bridge bright broken brother budget build
burden butter button cable camera candle capital carbon careful carry castle center chair change charge cheap check
chief choose circle city clear clerk client clock close cloud coast coffee cold color common copper copy corner cost
country courage cover credit cross crowd current custom daily danger daughter deal december degree deliver demand
depart desk detail diary dinner direct distance doctor double dozen draft drive during eager early earth east easy
edge effect eight either electric eleven empty engine enough enter equal evening every exact example express factory
fair family famous farm father february field figure final finger finish fire first fish five flight floor flower
follow forest form forward four fresh friday friend front fruit future garden gather general gentle glass gold grand
green ground group guest half hammer handle happy harbor hard heart heavy height hidden history hold hollow honest
hotel hour house human hundred hurry island january journey judge juice july jump june keep kettle kitchen ladder
lake language large later laugh lawyer leader leather length letter level library light linen liquid list little
local lonely lower lucky machine magic manager many march margin market master matter meadow measure meeting member
memory metal middle mile milk minute mirror model monday money month morning mother motion mountain music narrow
nation nature near needle never next night nine noble north note notice november number object ocean october offer
office often open orange order origin other owner packet page paint palace paper parcel partner party patient payment
pencil people pepper perfect permit phone piano picture pillow pilot plain planet plate please pocket police port
postal power present pretty price print private problem profit public purple quality quarter queen question quick
quiet radio railway random rather reason receipt record refund region remain repair report result return rich right
river road robin rough round royal rule sailor salary salt sample saturday scale school science screen search season
second secret senior september series service seven shadow sharp sheet shelter shilling shine ship short shoulder
signal silent silver simple single sister sketch smooth social soft solid south special speed spring square stable
stairs standard station steam stone storm story street strong student sudden sugar summer sunday supply surface
switch system table tailor talent tender theater thirty thousand thread three thunder thursday ticket timber tomorrow
total tower traffic travel treasure tree triangle trouble tuesday tunnel twelve twenty under uniform until upper
urgent useful valley value vapor village violet visit voice volume wagon waiter wallet warning water weather wednesday
weight welcome west wheel whisper white whole window winter witness wonder wooden worker yellow yesterday young zero
""".split()
SYLLABLES = """
ba be bri ca cor da den do el fa fen ga gra ha il ja ka lan lo mar mi na nor o pel qui ra ro sa sel ta ter tri u va ven
wy xa zo
""".split()

LEVEL_SHARES = [0.30, 0.30, 0.25, 0.15]
PAGE_SIZE = (960, 720)
LINES_A_PAGE = 12
UPSIDE_DOWN_SHARE = 0.15


class Wear(NamedTuple):
    """How a level spoils a picture; ranges are drawn from evenly. Blur is a share of the text's height."""

    angle_deg: float
    contrast: tuple[float, float]
    blur: tuple[float, float]
    noise: tuple[float, float]
    shrink: tuple[float, float]
    jpeg: tuple[int, int] | None


LEVELS = [
    Wear(0.0, (0.85, 1.0), (0.0, 0.0), (0.0, 1.0), (1.0, 1.0), None),
    Wear(1.0, (0.65, 0.95), (0.0, 0.02), (1.0, 4.0), (1.0, 1.0), None),
    Wear(2.0, (0.35, 0.65), (0.025, 0.05), (8.0, 18.0), (0.7, 1.0), (35, 65)),
    Wear(4.0, (0.28, 0.48), (0.042, 0.072), (12.0, 23.0), (0.55, 0.85), (18, 42)),
]


def generator(seed: int, kind: str, index: int) -> np.random.Generator:
    return np.random.default_rng([seed, {"lines": 0, "pages": 1}[kind], index])


def pick(rng: np.random.Generator, items: list):
    return items[int(rng.integers(len(items)))]


# ---- what is written


def number(rng: np.random.Generator) -> str:
    n = [int(rng.integers(10)) for _ in range(8)]
    forms = [
        f"{n[0] + 1}{n[1]}.{n[2]}{n[3]}",
        f"{n[0] + 1},{n[1]}{n[2]}{n[3]}",
        f"${n[0] + 1}{n[1]}.{n[2]}{n[3]}",
        f"{n[0] + 1}{n[1]}%",
        f"{1 + n[0]:02d}:{(n[1] * 6 + n[2]) % 60:02d}",
        f"20{n[0]}{n[1]}-{1 + n[2]:02d}-{1 + n[3] * 2:02d}",
        f"No.{n[0]}{n[1]}{n[2]}",
        # Letters that no typeface makes look like a digit.
        f"{'ABCDEFHKMR'[n[6]]}{'GJLNPTUVXY'[n[7]]}-{n[2]}{n[3]}{n[4]}{n[5]}",
        f"+{n[0] + 1}{n[1]}-{n[2]}{n[3]}{n[4]}-{n[5]}{n[6]}{n[7]}",
        f"({n[0]}{n[1]})",
    ]
    return pick(rng, forms)


def word(rng: np.random.Generator) -> str:
    if rng.random() < 0.2:
        # Made-up words keep a reader from guessing what it did not see.
        text = "".join(pick(rng, SYLLABLES) for _ in range(int(rng.integers(2, 5))))
    else:
        text = pick(rng, WORDS)
    case = rng.random()
    if case < 0.3:
        text = text.capitalize()
    elif case < 0.4:
        text = text.upper()
    mark = rng.random()
    if mark < 0.16:
        text += pick(rng, list(",.:;!?"))
    elif mark < 0.19:
        text = f'"{text}"'
    elif mark < 0.22:
        text = f"{text}-{pick(rng, WORDS)}"
    return text


def sentence(rng: np.random.Generator) -> str:
    count = int(rng.integers(1, 6))
    return " ".join(number(rng) if rng.random() < 0.2 else word(rng) for _ in range(count))


# ---- how it is drawn


def font_at(path: str, size: int) -> ImageFont.FreeTypeFont:
    # The other engine is there only on hosts that have libfribidi, and spaces text differently.
    return ImageFont.truetype(str(FONTS_ROOT / path), size, layout_engine=ImageFont.Layout.BASIC)


def colors(rng: np.random.Generator, contrast: float) -> tuple[np.ndarray, np.ndarray]:
    """Paper and ink, `contrast` of the way apart; one picture in eight is light on dark."""
    paper = np.clip(rng.uniform(215, 255) + rng.uniform(-14, 14, 3), 0, 255)
    ink = np.clip(rng.uniform(0, 40) + rng.uniform(0, 50, 3), 0, 255)
    if rng.random() < 0.125:
        paper, ink = ink, paper
    return paper, paper + (ink - paper) * contrast


def colored(mask: Image.Image, paper: np.ndarray, ink: np.ndarray) -> np.ndarray:
    cover = np.asarray(mask, dtype=np.float32)[:, :, None] / 255.0
    return paper.astype(np.float32) * (1 - cover) + ink.astype(np.float32) * cover


def worn(rng: np.random.Generator, mask: Image.Image, wear: Wear, height_px: float) -> Image.Image:
    """Shrinks, blurs, colours and adds noise; the result has the mask's size."""
    size = mask.size
    shrink = rng.uniform(*wear.shrink)
    if shrink < 1:
        small = (max(1, round(size[0] * shrink)), max(1, round(size[1] * shrink)))
        mask = mask.resize(small, Image.Resampling.BILINEAR).resize(size, Image.Resampling.BILINEAR)
    mask = mask.filter(ImageFilter.GaussianBlur(rng.uniform(*wear.blur) * height_px))
    paper, ink = colors(rng, rng.uniform(*wear.contrast))
    pixels = colored(mask, paper, ink)
    slope = rng.uniform(-12, 12) if wear.noise[1] > 1 else 0.0
    pixels += np.linspace(-slope, slope, size[0], dtype=np.float32)[None, :, None]
    pixels += rng.normal(0, rng.uniform(*wear.noise), pixels.shape).astype(np.float32)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def save(rng: np.random.Generator, image: Image.Image, wear: Wear, out: Path, stem: str) -> str:
    if wear.jpeg is None:
        image.save(out / f"{stem}.png")
        return f"{stem}.png"
    image.save(out / f"{stem}.jpg", quality=int(rng.integers(*wear.jpeg)))
    return f"{stem}.jpg"


def make_line(rng: np.random.Generator, out: Path, index: int) -> dict:
    level = int(rng.choice(len(LEVELS), p=LEVEL_SHARES))
    wear = LEVELS[level]
    text = sentence(rng)
    size = int(rng.integers(24, 45))
    font = font_at(pick(rng, FONTS), size)
    x0, y0, x1, y1 = font.getbbox(text)
    margin = int(rng.integers(3, 9))
    # Room for the turn, so that no end of the line is cut off.
    angle = rng.uniform(-wear.angle_deg, wear.angle_deg) / max(1.0, (x1 - x0) / 400)
    room = math.ceil(abs(math.sin(math.radians(angle))) * (x1 - x0) / 2)
    width, height = math.ceil(x1 - x0) + 2 * margin, math.ceil(y1 - y0) + 2 * (margin + room)
    mask = Image.new("L", (width, height), 0)
    ImageDraw.Draw(mask).text((margin - x0, margin + room - y0), text, fill=255, font=font)
    mask = mask.rotate(angle, Image.Resampling.BICUBIC)
    name = save(rng, worn(rng, mask, wear, size), wear, out, f"line-{index:05d}")
    return {"file": name, "text": text, "level": level}


def turned_box(box: tuple[float, float, float, float], angle_deg: float, upside_down: bool) -> list[int]:
    """The upright box around a box that is turned about the page's middle, as Image.rotate turns."""
    width, height = PAGE_SIZE
    cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    xs, ys = [], []
    for x, y in [(box[0], box[1]), (box[2], box[1]), (box[2], box[3]), (box[0], box[3])]:
        dx, dy = x - width / 2, y - height / 2
        xs.append(width / 2 + cos * dx + sin * dy)
        ys.append(height / 2 - sin * dx + cos * dy)
    x0, y0, x1, y1 = min(xs), min(ys), max(xs), max(ys)
    if upside_down:
        x0, y0, x1, y1 = width - x1, height - y1, width - x0, height - y0
    return [max(0, math.floor(x0)), max(0, math.floor(y0)), min(width, math.ceil(x1)), min(height, math.ceil(y1))]


def page_line(rng: np.random.Generator, font_path: str, size: int, room_px: int) -> tuple[str, ImageFont.FreeTypeFont]:
    """Text that fits, in a size that may be smaller than asked for where even one word is too long."""
    font = font_at(font_path, size)
    text = sentence(rng)
    while font.getlength(text) > room_px and " " in text:
        text = text.rsplit(" ", 1)[0]
    while font.getlength(text) > room_px:
        size -= 1
        font = font_at(font_path, size)
    return text, font


def make_page(rng: np.random.Generator, out: Path, index: int) -> dict:
    level = int(rng.choice(len(LEVELS), p=LEVEL_SHARES))
    wear = LEVELS[level]
    width, height = PAGE_SIZE
    margin = int(rng.integers(30, 61))
    # Page text is small already: the hard levels start from a larger size and turn less than a single line does.
    sizes = rng.integers(*[(13, 35), (14, 35), (17, 36), (20, 37)][level], LINES_A_PAGE)
    fonts = [pick(rng, FONTS) for _ in range(3)]
    angle = rng.uniform(-wear.angle_deg, wear.angle_deg) * 0.4
    upside_down = bool(rng.random() < UPSIDE_DOWN_SHARE)
    gap = (height - 2 * margin - 1.25 * sizes.sum()) / LINES_A_PAGE
    mask = Image.new("L", PAGE_SIZE, 0)
    draw = ImageDraw.Draw(mask)
    lines, y = [], float(margin)
    for size in sizes:
        text, font = page_line(rng, pick(rng, fonts), int(size), width - 2 * margin)
        x = margin + float(rng.uniform(0, max(0.0, (width - 2 * margin - font.getlength(text)) * 0.6)))
        draw.text((x, y), text, fill=255, font=font)
        lines.append({"text": text, "box": turned_box(draw.textbbox((x, y), text, font=font), angle, upside_down)})
        y += 1.25 * int(size) + gap
    mask = mask.rotate(angle, Image.Resampling.BICUBIC)
    image = worn(rng, mask, wear, float(sizes.min()))
    if upside_down:
        image = image.transpose(Image.Transpose.ROTATE_180)
    name = save(rng, image, wear, out, f"page-{index:05d}")
    return {
        "file": name, "width": width, "height": height, "level": level, "upside_down": upside_down, "lines": lines,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the demo's pictures and what is written on them.")
    parser.add_argument("kind", choices=["lines", "pages"])
    parser.add_argument("--count", type=int, required=True, help="how many pictures")
    parser.add_argument("--seed", type=int, required=True, help="0 or more; the same seed draws the same pictures")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    args = parser.parse_args()
    if args.count < 1 or args.seed < 0:
        parser.error("--count must be 1 or more, --seed 0 or more")
    missing = [name for name in FONTS if not (FONTS_ROOT / name).is_file()]
    if missing:
        sys.exit(f"render.py: these typefaces are not installed, run ./dev build: {' '.join(missing)}")
    args.out.mkdir(parents=True, exist_ok=True)
    make = {"lines": make_line, "pages": make_page}[args.kind]
    truth = []
    for index in range(args.count):
        truth.append(make(generator(args.seed, args.kind, index), args.out, index))
        if (index + 1) % 200 == 0:
            print(f"  {index + 1} of {args.count} {args.kind}", flush=True)
    (args.out / "truth.json").write_text(json.dumps(truth, indent=1, ensure_ascii=False) + "\n")
    print(f"{args.kind}: {args.count} pictures of seed {args.seed} in {args.out}")


if __name__ == "__main__":
    main()
