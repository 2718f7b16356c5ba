"""What runs inside a worker's interpreter.

The code objects of these modules are sent to a new interpreter and executed there under their own
names, so a worker never searches ``sys.path`` for them and never imports the package around them.
In the main interpreter they are ordinary modules, from which the other half takes its constants.

They may import each other, in the order of `MODULES`, and what a bare interpreter has (31 modules).
What they import is paid by every worker of every pool: anything else is imported by the function
that needs it, when it does.

Each goes by a flat name too: loading a pickle that names a dotted module imports the root package
first, which would be all of interpool (50 ms).
"""

import importlib
from typing import Final

MODULES: Final = ("channels", "gate", "surroundings", "values", "outcomes", "loop")
# The same for a worker process, whose loop is another one: imported here when there is a process.
PROCESS_MODULES: Final = (*MODULES[:-1], "process")
# Sent as well, and executed when something of them comes, or is asked for.
LATER: Final = (
    *("coroutines", "sharing", "queues", "shared"),
    *("holding", "locks", "events"),
    *("formats", "strides", "memory", "buffers", "arrays"),
    *("wire", "relay"),
    "tracing",
)

for _name in MODULES:
    importlib.import_module(f"{__name__}.{_name}")
