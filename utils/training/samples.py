"""Grids of a generator's images: on the same noise every time, one class a row."""

import torch

COLUMNS = 10


def sample_rows(generate, latent_dim, fixed, device, classes=None, rows=10):
    """(images of fixed noise, COLUMNS in a row; a text for each row, or none).

    fixed: the torch.Generator of the noise. classes: the Classes of a conditional generator: each row is of
    one class and all rows have the same noise, so that they show what the class changes. A single class
    fills all `rows`.
    """
    shown = classes.shown() if classes else []
    if len(shown) < 2:
        noise = torch.randn(rows * COLUMNS, latent_dim, generator=fixed).to(device)
        labels = {"labels": torch.full((len(noise),), shown[0], device=device)} if shown else {}
        return generate(noise, **labels), ()
    noise = torch.randn(COLUMNS, latent_dim, generator=fixed).repeat(len(shown), 1).to(device)
    labels = torch.tensor(shown).repeat_interleave(COLUMNS).to(device)
    return generate(noise, labels=labels), [classes.names[number] for number in shown]
