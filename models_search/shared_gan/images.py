"""The real images of a search: at the resolution of each level, with their statistics."""

from functools import lru_cache

from utils.metrics.real_statistics import real_statistics


class LevelImages:
    """The real images of each level and their statistics; only the level used last stays in memory.

    image_set: an ImageSet. resolutions: in pixels, one per level.
    """

    def __init__(self, image_set, resolutions, feature_net, device, num_workers):
        self._image_set, self._resolutions, self._feature_net = image_set, resolutions, feature_net
        self._device, self._num_workers = device, num_workers
        self.at, self.statistics_at = (
            lru_cache(maxsize=1)(self._at),
            lru_cache(maxsize=1)(self._statistics_at),
        )

    @property
    def image_set(self):
        """All of them, not resized."""
        return self._image_set

    def _at(self, level):
        return self._image_set.resized(self._resolutions[level], self._device, num_workers=self._num_workers)

    def _statistics_at(self, level):
        return real_statistics(self.at(level), self._feature_net)
