"""Published scores: tables 1 and 2 of AutoGAN's paper, and what later searches report.

Unconditional generation, by Inception; AutoGAN and the later systems score 50,000 images against the train
split. AutoGAN is Gong et al., ICCV 2019, arXiv 1908.03835; the others are the papers that are named.
"""

from typing import NamedTuple


class Published(NamedTuple):
    """A row: IS and FID as the source prints them, None where it has none."""

    method: str
    is_text: str | None
    fid_text: str | None
    source: str


PAPER_1, PAPER_2, PAPER_43 = "AutoGAN, table 1", "AutoGAN, table 2", "AutoGAN, section 4.3.5"
# (data set, resolution): (the table's name, its rows)
TABLES = {
    ("cifar10", 32): (
        "Table 1: CIFAR-10, 32 px",
        (
            Published("DCGAN", "6.64 ± 0.14", None, PAPER_1),
            Published("Improved GAN", "6.86 ± 0.06", None, PAPER_1),
            Published("LRGAN", "7.17 ± 0.17", None, PAPER_1),
            Published("DFM", "7.72 ± 0.13", None, PAPER_1),
            Published("ProbGAN", "7.75", "24.60", PAPER_1),
            Published("WGAN-GP, ResNet", "7.86 ± 0.07", None, PAPER_1),
            Published("Splitting GAN", "7.90 ± 0.09", None, PAPER_1),
            Published("SN-GAN (5,000 images)", "8.22 ± 0.05", "21.7 ± 0.01", PAPER_1),
            Published("MGAN", "8.33 ± 0.10", "26.7", PAPER_1),
            Published("Dist-GAN", None, "17.61 ± 0.30", PAPER_1),
            Published("Progressive GAN", "8.80 ± 0.05", None, PAPER_1),
            Published("Improving MMD GAN", "8.29", "16.21", PAPER_1),
            Published("AutoGAN top 1 (a)", "8.55 ± 0.10", "12.42", PAPER_1),
            Published("AutoGAN top 2 (b)", "8.42 ± 0.07", "13.67", PAPER_1),
            Published("AutoGAN top 3 (c)", "8.41 ± 0.11", "13.87", PAPER_1),
            Published("Random search, weight sharing, 48 h", "8.09", "17.34", PAPER_43),
            Published("Random search, no sharing, 48 h", "7.97", "21.39", PAPER_43),
            Published("DGGAN", "8.64 ± 0.06", "12.10", "Liu et al., AAAI 2021"),
            Published("DEGAS", "8.37", "12.01", "arXiv 1912.00606"),
            Published("E2GAN", "8.51", "11.26", "arXiv 2007.09180"),
            Published("AdversarialNAS", "8.74 ± 0.07", "10.87", "arXiv 1912.02037"),
            Published("AlphaGAN", "8.98", "10.35", "AlphaGAN, its authors"),
            Published("EAGAN", "8.81", "9.91", "ECCV 2022"),
            Published("EWSGAN", "8.99", "9.09", "IEEE TEVC 2024"),
        ),
    ),
    ("stl10", 48): (
        "Table 2: STL-10, 48 px",
        (
            Published("D2GAN", "7.98", None, PAPER_2),
            Published("DFM", "8.51 ± 0.13", None, PAPER_2),
            Published("ProbGAN", "8.87 ± 0.095", "46.74", PAPER_2),
            Published("SN-GAN", "9.10 ± 0.04", "40.1 ± 0.50", PAPER_2),
            Published("Dist-GAN", None, "36.19", PAPER_2),
            Published("Improving MMD GAN", "9.34", "37.63", PAPER_2),
            Published("AutoGAN (architecture a)", "9.16 ± 0.12", "31.01", PAPER_2),
            Published("DEGAS", "9.71", "28.76", "arXiv 1912.00606"),
            Published("E2GAN", "9.51", "25.35", "arXiv 2007.09180"),
            Published("AdversarialNAS", "9.63 ± 0.19", "26.98", "arXiv 1912.02037"),
            Published("AlphaGAN", "10.12", "22.43", "AlphaGAN, its authors"),
            Published("EAGAN", "10.44", "22.18", "ECCV 2022"),
            Published("EWSGAN", "10.51", "21.89", "IEEE TEVC 2024"),
        ),
    ),
}
