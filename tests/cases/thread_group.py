"""A process group of threads: all logic of sharing, without the seconds that processes take to start."""

import threading
from dataclasses import dataclass, field

from captum_paramsal.errors import GroupError
from captum_paramsal.reference import ProcessGroup


class Board:
    """Where threads leave what they gather."""

    def __init__(self, size):
        self.values = [None] * size
        self.barrier = threading.Barrier(size)


@dataclass(frozen=True)
class ThreadGroup(ProcessGroup):
    board: Board = field(default=None, compare=False)

    def gather(self, value):
        self.board.values[self.rank] = value
        try:
            self.board.barrier.wait(timeout=30)
            values = list(self.board.values)
            # Nobody leaves a new value before all have read the old ones.
            self.board.barrier.wait(timeout=30)
        except threading.BrokenBarrierError as error:
            message = "a thread is gone"
            raise GroupError(message) from error
        return values

    def gather_rows(self, rows):
        return self.gather(rows)

    def broadcast(self, value, rank):
        return self.gather(value)[rank]


def in_threads(size, work):
    """What ``work(group)`` returns in each thread, or the error that it raises; a thread that ends leaves the group."""
    board, results = Board(size), [None] * size

    def run(rank):
        try:
            results[rank] = work(ThreadGroup(rank, size, board))
        except Exception as error:  # noqa: BLE001 -- looked at by the test
            results[rank] = error
        except BaseException as error:  # noqa: BLE001 -- as a process that is killed, it tells nobody
            results[rank] = error
            board.barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
