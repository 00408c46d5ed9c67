"""How many images of digits, made by a conditional generator, a classifier of real digits names as asked for.

python test.py --load_path RUN --save_images FOLDER --num_images 1000
python exps/label_accuracy.py FOLDER        # reads FOLDER/labels.csv

The classifier is scikit-learn's support vector machine, set as in its example with these digits and trained
on all 1,797 of them. In a cross-validation in five parts it names 95 to 99 % of the digits left out right.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.svm import SVC

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utils.cli import Parser, run_script  # noqa: E402
from utils.data.load import load_images  # noqa: E402

GAMMA = 0.001


def main():
    parser = Parser(prog="python exps/label_accuracy.py", description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="folder of images with labels.csv, as test.py --save_images writes it")
    folder = parser.parse_args().folder
    images = load_images("folder", folder, labels=str(Path(folder) / "labels.csv"))
    wanted = np.array([int(images.class_names[label]) for label in images.labels])
    pixels = np.stack([as_digit(images.picture(index)) for index in range(images.num_images)])
    digits = load_digits()
    found = SVC(gamma=GAMMA).fit(digits.data, digits.target).predict(pixels)
    right = found == wanted
    print(f"{100 * right.mean():.1f} % of {len(right):,} digits are named as asked for")
    for digit in range(10):
        of_digit = wanted == digit
        if of_digit.any():
            print(f"  {digit}: {100 * right[of_digit].mean():.1f} % of {of_digit.sum()}")


def as_digit(picture):
    """A picture as scikit-learn has its digits: 64 grey values from 0 to 16."""
    small = picture.convert("L").resize((8, 8), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float64).ravel() * 16 / 255


if __name__ == "__main__":
    run_script(main)
