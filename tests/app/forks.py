"""A program that ends spans and forks in one of many ways: `forks.py HOW KIND`."""

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import NoReturn

from made import Made, say

ENDS = ("sys.exit", "os._exit")


def leave(how: str) -> NoReturn:
    """In the child, whose spans have ended."""
    if how == "os._exit":
        made.wait_until_safe()
        say(f"cut {os.getpid()}")
        os._exit(0)
    sys.exit(0)


def child_of(work: Callable[[], None], how: str) -> int:
    if pid := os.fork():
        return pid
    work()
    leave(how)


def wait_for(children: list[int]) -> None:
    for child in children:
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0, status


def idle() -> None:
    """Nothing is going on in the parent: neither before its first span, nor when all has left."""
    wait_for([child_of(lambda: made.end(5), how) for how in ENDS])
    made.end(5)
    made.wait_until_safe()
    wait_for([child_of(lambda: made.end(5), how) for how in ENDS])
    made.end(5)


def busy() -> None:
    """Two threads of the parent end spans, and two others fork, all the while."""
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            made.end(5)
            done.wait(0.001)

    def fork(how: str) -> None:
        children.extend(child_of(lambda: made.end(5), how) for _ in range(10))

    children: list[int] = []
    workers = [threading.Thread(target=work) for _ in range(2)]
    forker = threading.Thread(target=fork, args=("os._exit",))
    for thread in (*workers, forker):
        thread.start()
    fork("sys.exit")
    forker.join()
    wait_for(children)
    done.set()
    for thread in workers:
        thread.join()


def threads() -> None:
    """The child starts threads, which end spans; and forks again."""

    def work() -> None:
        inner = [threading.Thread(target=made.end, args=(20,)) for _ in range(4)]
        for thread in inner:
            thread.start()
        for thread in inner:
            thread.join()

    def work_and_fork() -> None:
        work()
        wait_for([child_of(work, how) for how in ENDS])

    made.end(5)
    wait_for([child_of(work_and_fork, how) for how in ENDS])


def many() -> None:
    """The parent exports while it forks, as often as the argument says."""
    children = []
    for number in range(int(sys.argv[3])):
        made.end(20)
        children.append(child_of(lambda: made.end(3), ENDS[number % 2]))
    wait_for(children)


def end_200(_: int = 0) -> None:
    made.end(200)


def processes() -> None:
    """Three processes of `multiprocessing`; how they start is in the second argument."""
    context = multiprocessing.get_context(sys.argv[3])
    if sys.argv[3] == "fork":
        made.end(1)
    workers = [context.Process(target=end_200) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0


def pool() -> None:
    context = multiprocessing.get_context(sys.argv[3])
    with ProcessPoolExecutor(3, mp_context=context) as executor:
        list(executor.map(end_200, range(3)))


made = Made(sys.argv[2])
if __name__ == "__main__":
    globals()[sys.argv[1]]()
    made.end(1)
    say("all")
