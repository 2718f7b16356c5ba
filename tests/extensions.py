"""Extension modules that are built in a test: what an extension can do to an interpreter.

Python's headers are not needed, which are not everywhere: the few structures that it takes are in
the stable ABI, and are declared here. Builds without the GIL have others.
"""

import shutil
import subprocess
import sysconfig
from pathlib import Path
from string import Template

import pytest

_SOURCE = Template("""
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct { ptrdiff_t references; void *type; } Object;
typedef struct { Object object; void *init; ptrdiff_t index; void *copy; } Base;
typedef struct { int id; void *value; } Slot;
typedef struct {
    Base base;
    const char *name, *doc;
    ptrdiff_t size;
    void *methods;
    Slot *slots;
    void *traverse, *clear, *free;
} Definition;

extern void *PyModuleDef_Init(Definition *);
extern void *PyModule_Create2(Definition *, int);

static Slot slots[] = {{3, (void *)$support}, {0, 0}};
static Definition definition = {{{1, 0}, 0, 0, 0}, "$name", 0, 0, 0, slots, 0, 0, 0};

void *PyInit_$name(void) { $body }
""")

_MULTIPHASE = "return PyModuleDef_Init(&definition);"
# Py_mod_multiple_interpreters: 0, none but the main one; 2, each with a GIL of its own.
_KINDS = {
    "ext_loads": (2, _MULTIPHASE),
    "ext_refuses": (0, _MULTIPHASE),
    "ext_single_phase": (0, "definition.slots = 0; return PyModule_Create2(&definition, 1013);"),
    "ext_crashes": (2, "raise(SIGSEGV); return 0;"),
    # Whoever reads this pipe knows that it hangs.
    "ext_hangs": (2, 'fclose(fopen(getenv("HANGS"), "w")); for (;;) pause();'),
}


def build(folder: Path) -> None:
    """Build all of them into a folder, or skip the test where that cannot be done."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        pytest.skip("the structures are those of builds with the GIL")
    for name, (support, body) in _KINDS.items():
        source = folder / f"{name}.c"
        source.write_text(_SOURCE.substitute(name=name, support=support, body=body))
        target = str(folder / f"{name}.so")
        command = [compiler, "-shared", "-fPIC", "-w", str(source), "-o", target]
        subprocess.run(command, check=True, capture_output=True)
