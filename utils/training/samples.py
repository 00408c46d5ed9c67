"""Grids of a generator's images: on the same noise every time, one class a row."""

import torch

COLUMNS = 10


def sample_rows(generate, latent_dim, fixed, device, classes=None, rows=10, batch_size=100):
    """(images of fixed noise, COLUMNS in a row; a text for each row, or none).

    fixed: the torch.Generator of the noise. classes: the Classes of a conditional generator: each row is of
    one class and all rows have the same noise, so that they show what the class changes. A single class
    fills all `rows`. batch_size: images that are made at once.
    """
    shown = classes.shown() if classes else []
    if len(shown) < 2:
        noise = torch.randn(rows * COLUMNS, latent_dim, generator=fixed).to(device)
        labels = torch.full((len(noise),), shown[0], device=device) if shown else None
        return _in_batches(generate, noise, labels, batch_size), ()
    noise = torch.randn(COLUMNS, latent_dim, generator=fixed).repeat(len(shown), 1).to(device)
    labels = torch.tensor(shown).repeat_interleave(COLUMNS).to(device)
    names = [classes.names[number] for number in shown]
    return _in_batches(generate, noise, labels, batch_size), names


def _in_batches(generate, noise, labels, batch_size):
    if labels is None:
        return torch.cat([generate(part) for part in noise.split(batch_size)])
    parts = zip(noise.split(batch_size), labels.split(batch_size))
    return torch.cat([generate(part, labels=numbers) for part, numbers in parts])
