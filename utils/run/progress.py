"""The log line that reports progress."""

from tqdm import tqdm


def progress_line(position, total, figures, seconds, done, left, place=""):
    """A line for the log, such as "iteration 3 of 90: d_loss 1.21, g_loss 0.33, about 1:02:40 left".

    figures: {name: number, or None for an unknown one}. The time left is estimated for `left` units of work,
    from the `seconds` that `done` units took; left=None omits it. place: what the time refers to if not to
    the whole run, such as " at 8 px".
    """
    parts = [f"{name} {value:.4g}" for name, value in figures.items() if value is not None]
    if left is not None:
        parts.append(f"about {tqdm.format_interval(seconds / done * left)} left{place}")
    return f"{position} of {total}: {', '.join(parts)}"
