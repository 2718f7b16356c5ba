"""What a pool does, as a file that Perfetto shows: `pool.trace`.

Who takes down what, and how it travels:

        worker: stamps, in `_inside.tracing` -> frames of 24 tasks --.   (results pipe)
        submit, map: what encoding took -----------------------------+-> `Recording`: one deque
        the engine: stops, retries, lanes, ends of workers, counts --'       |
                                                     `Writer`, in its own thread: `Composer` -> file

* An engine has one recording at a time, or None; where it is None, a submit looks at that once, and
  a worker at nothing more: what it looks at for each task (`channels.HEED`) says that it is traced,
  too. All that is imported for it, here and in workers, is when it is asked for.
* What is added is a tuple. Nobody waits for anybody: an append to a deque is one operation. What
  becomes of it, a thread of its own writes out, once a second, or when there is much of it: what
  makes text of it takes some 10 microseconds a task, and would be in the way of a burst of them.
* A worker's word on a task comes behind its answer, in the same pipe: so what the engine has to say
  of that answer is there first, and the two are put together. Of a task that may be tried again,
  that is later, and the worker's word waits for it.
* Nothing that the worker says is needed to end: what it has not handed over in time is left out,
  and what it runs then is taken from its board.
* The file is a whole JSON text after every write. Each writes its end, too, and the next one over
  that: a program that is killed leaves what was written in its last second.

Locks: the engine's covers who is traced, and the begin and the end of it; the writer's, what is
written, and is taken under no other one.
"""

from interpool._trace.handle import Trace, begin

__all__ = ["Trace", "begin"]
