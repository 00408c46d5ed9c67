"""Hands tasks to an engine, does those again whose worker died, and tells the log what happens where.

An engine has
    begin(work, task)      starts a task; returns a handle
    begun()                [(handle, where)] of the tasks that began since the last call; where: a text
    wait(handles, seconds) those of the handles whose tasks have ended, in at most so many seconds
    result(handle)         its result; raises WorkerDied, or what the task raised
    stop(number)           asks all tasks to save and end by this signal, and waits for them
    close()                ends all processes
"""

import time
from dataclasses import dataclass

from tqdm import tqdm

MOST_DEATHS = 3
SHORT = 1  # seconds; a task that took less was done before, and tells nothing about the others


class WorkerDied(Exception):
    """A process at work ended without a result, or its machine was lost. The message says of what."""


@dataclass
class Attempt:
    """A task at work, or waiting for room in the cluster."""

    task: object
    deaths: int  # of earlier attempts
    where: str = ""
    started: float | None = None


class Crew:
    """Does tasks with an engine, at most `count` at once. See utils.run.workers.workers."""

    def __init__(self, engine, count, save_point, log):
        self.engine, self.count, self.save_point, self.log = engine, count, save_point, log
        self._attempts = {}  # {handle: Attempt} of the tasks that are not done
        self._seconds, self._size, self._at_once = 0.0, 0.0, 1  # for the estimate of the time left

    def in_order(self, work, tasks):
        """See `workers`."""
        tasks = list(tasks)
        waiting, ended = iter(tasks), {}

        def left():
            return sum(task.size for task in tasks if id(task) not in ended)

        pairs = self.as_they_end(work, lambda: next(waiting, None), left)
        for task in tasks:
            while id(task) not in ended:
                done, result = next(pairs)
                ended[id(done)] = result
            yield ended[id(task)]

    def as_they_end(self, work, next_task, left=None):
        """See `workers`."""
        while True:
            while len(self._attempts) < self.count and (task := next_task()) is not None:
                self._begin(work, task)
            if not self._attempts:
                return
            for handle in self._wait():
                attempt = self._attempts.pop(handle)
                try:
                    result = self.engine.result(handle)
                except WorkerDied as death:
                    self.save_point.reached()  # what killed the worker may have signalled this process too
                    self.log(f"{attempt.task.name} on {attempt.where or 'its way'}: {death}")
                    if attempt.deaths + 1 < MOST_DEATHS:
                        self._begin(work, attempt.task, attempt.deaths + 1)
                        continue
                    result = attempt.task.failed(f"{death}, {MOST_DEATHS} times")
                self._tell_end(attempt, left)
                yield attempt.task, result

    def _begin(self, work, task, deaths=0):
        self._attempts[self.engine.begin(work, task)] = Attempt(task, deaths)
        self._tell_begun()

    def _wait(self):
        """Wait until a task has ended; returns the handles of all that have."""
        ended = []
        while not ended:
            ended = self.engine.wait(list(self._attempts), seconds=1)
            self._tell_begun()
            self.save_point.reached()
        return ended

    def _tell_begun(self):
        for handle, where in self.engine.begun():
            if handle in self._attempts:
                attempt = self._attempts[handle]
                attempt.where, attempt.started = where, time.monotonic()
                self.log(f"{attempt.task.name} begins on {where}")
        at_work = sum(attempt.started is not None for attempt in self._attempts.values())
        self._at_once = max(self._at_once, at_work)

    def _tell_end(self, attempt, left):
        """Log that a task has ended, and an estimate of the time for those that are left."""
        seconds = 0 if attempt.started is None else time.monotonic() - attempt.started
        if seconds > SHORT:
            self._seconds += seconds
            self._size += attempt.task.size
        words = [f"{attempt.task.name} ended on {attempt.where} after {tqdm.format_interval(seconds)}"]
        words.append(f"{len(self._attempts)} at work")
        size = left and left() - attempt.task.size
        if size and size > 0 and self._size:
            time_left = self._seconds / self._size * size / self._at_once
            words.append(f"about {tqdm.format_interval(time_left)} left for the rest")
        self.log(", ".join(words))
