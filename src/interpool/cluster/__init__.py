"""Beyond one machine: `ClusterExecutor`, an executor whose workers are Dask's.

    from interpool.cluster import ClusterExecutor

    with ClusterExecutor("tcp://scheduler:8786") as cluster:
        squares = list(cluster.map(lambda n: n * n, range(10)))

It takes Dask's `distributed`, which the extra `interpool[cluster]` brings, and which is imported
when the first executor is made.
"""

from interpool.cluster._errors import ClusterError, WorkersDied
from interpool.cluster._executor import ClusterExecutor, ClusterOptions

__all__ = ["ClusterError", "ClusterExecutor", "ClusterOptions", "WorkersDied"]

for _public in (ClusterError, ClusterExecutor, ClusterOptions, WorkersDied):
    _public.__module__ = __name__
del _public
