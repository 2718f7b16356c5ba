"""What `doctor` finds: of the standard library, of packages, of modules made to misbehave."""

import importlib.metadata
import json
import os
import platform
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import extensions
from interpool import Diagnosis, Finding, InterpreterPoolExecutor, _refusals, doctor
from interpool._doctor import cache, examination, installed, probing
from interpool._doctor.probing import Outcome
from interpool._doctor.verdicts import Story, finding_of
from support import run_program


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose modules are found."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("extensions")
    extensions.build(folder)
    return folder


@pytest.fixture
def hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pipe, through which modules tell that they hang: then, and not before, time is up."""
    pipe = tmp_path / "hangs"
    os.mkfifo(pipe)
    monkeypatch.setenv("HANGS", str(pipe))

    class WhenTold(threading.Thread):
        def __init__(self, _: float, function: Callable[[], None]) -> None:
            super().__init__()
            self._function = function

        def run(self) -> None:
            pipe.read_bytes()
            self._function()

        def cancel(self) -> None: ...

    monkeypatch.setattr(probing, "Timer", WhenTold)
    return pipe


TELL = "import os; open(os.environ['HANGS'], 'w').close()"


def write(folder: Path, **modules: str) -> None:
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(source))


def found(module: str, **options: Any) -> Finding:
    return doctor(module, **options).findings[0]


# --- What is there -----------------------------------------------------------------------------


def test_a_module_that_loads_says_what_it_takes() -> None:
    finding = found("json")
    assert (finding.verdict, finding.loads, finding.lane) == ("loads", True, "interpreter")
    assert finding.seconds is not None
    assert finding.seconds > 0
    assert finding.nbytes is not None
    assert finding.chain == ()
    assert (finding.distribution, finding.version) == ("Python", platform.python_version())


@pytest.mark.parametrize("name", ["faulthandler", "tracemalloc", "readline", "curses"])
def test_extensions_of_the_standard_library_refuse(name: str) -> None:
    if name in {"readline", "curses"}:
        pytest.importorskip(name)
    finding = found(name)
    assert (finding.verdict, finding.lane) == ("refuses", "process")
    assert finding.chain[0] == name
    assert finding.chain[-1] == finding.extension
    assert "does not support loading in subinterpreters" in finding.reason
    assert finding.nbytes is None


@pytest.mark.parametrize(
    ("name", "extension", "way"),
    [
        ("numpy", "numpy._core._multiarray_umath", ["numpy", "numpy._core"]),
        ("numpy.linalg", "numpy._core._multiarray_umath", ["numpy.linalg", "numpy"]),
        ("PIL.Image", "PIL._imaging", ["PIL.Image"]),
        ("psutil", "psutil._psutil_linux", ["psutil", "psutil._pslinux"]),
        ("matplotlib", "numpy._core._multiarray_umath", ["matplotlib", "numpy", "numpy._core"]),
    ],
)
def test_packages_refuse_and_the_way_to_the_extension_is_told(
    name: str, extension: str, way: list[str]
) -> None:
    top = name.partition(".")[0]
    if not installed.Installed().owner_of(top):
        pytest.skip(f"{top} is not installed")
    finding = found(name)
    if finding.loads:
        pytest.skip(f"this {top} has learnt it")
    assert finding.extension == extension
    assert [it for it in finding.chain if it in way] == way
    assert finding.chain[-1] == extension


def test_pure_python_packages_load() -> None:
    assert doctor(["rich", "click", "pytest"]).all_load


def test_the_distribution_is_told() -> None:
    version = importlib.metadata.version("click")
    finding = found("click.testing")
    assert (finding.distribution, finding.version) == ("click", version)


@pytest.mark.parametrize("name", ["no_such_module", "json.no_such_module"])
def test_what_is_not_installed_is_said(name: str) -> None:
    finding = found(name)
    assert (finding.verdict, finding.lane) == ("not installed", "")
    assert finding.reason == f"No module named '{name}'"


def test_the_name_of_a_distribution_leads_to_its_modules() -> None:
    finding = found("pytest-timeout")
    assert finding.verdict == "not installed"
    assert finding.reason == "pytest-timeout is a distribution; its modules: pytest_timeout"


# --- What modules do ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "verdict", "reason"),
    [
        ("raise RuntimeError('not\\ntoday')", "fails", "RuntimeError: not today"),
        ("import no_such_module", "fails", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit(3)", "fails", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "fails", "KeyboardInterrupt"),
        ("import os; os._exit(4)", "fails", "it ended the process with status 4"),
        ("import os; os._exit(0)", "fails", "it ended the process with status 0"),
        ("import os; os.kill(os.getpid(), 11)", "crashes", "SIGSEGV"),
        (
            "print('last words', flush=True); import os; os.abort()",
            "crashes",
            "SIGABRT: last words",
        ),
    ],
)
def test_what_a_module_does_to_the_process_is_a_finding(
    here: Path, source: str, verdict: str, reason: str
) -> None:
    write(here, guilty=source, outer="import guilty")
    finding = found("outer")
    assert (finding.verdict, finding.reason) == (verdict, reason)
    assert finding.chain[:2] == ("outer", "guilty")
    assert (finding.loads_in_process, finding.lane) == (False, "")


@pytest.mark.parametrize("work", ["pass", "print('x' * 100_000)"])
def test_what_does_not_end_is_a_finding(here: Path, hangs: Path, work: str) -> None:
    write(here, endless=f"{TELL}\nwhile True: {work}", outer="import endless")
    finding = found("outer", timeout=7)
    assert (finding.verdict, finding.reason) == ("hangs", "not done after 7 s")
    assert finding.chain == ("outer", "endless")
    assert (finding.loads_in_process, finding.lane) == (False, "")


def test_time_is_up_by_the_clock(here: Path) -> None:
    write(here, endless="while True: pass")
    assert found("endless", timeout=0.01).reason == "not done after 0.01 s"


def test_what_fails_only_in_an_interpreter_has_its_lane(here: Path) -> None:
    write(here, handler="import signal; signal.signal(signal.SIGINT, signal.SIG_DFL)")
    finding = found("handler")
    assert (finding.verdict, finding.loads_in_process, finding.lane) == ("fails", True, "process")
    assert finding.advice == "runs in the process lane"


def test_a_thread_that_keeps_the_interpreter_from_ending_is_a_hang(here: Path, hangs: Path) -> None:
    write(
        here,
        lingers=f"""
        import threading
        ends = threading.Event()
        threading._register_atexit(ends.set)

        def linger():
            ends.wait()
            {TELL}
            threading.Event().wait()

        import _interpreters
        if _interpreters.get_current()[0]:
            threading.Thread(target=linger).start()
        else:
            {TELL}
        """,
    )
    finding = found("lingers", timeout=7)
    assert finding.verdict == "hangs"
    assert finding.reason == "not done after 7 s, when its interpreter was to end"


def test_a_refusal_that_is_caught_is_told(here: Path) -> None:
    write(
        here,
        without="""
        try:
            import faulthandler
        except ImportError:
            faulthandler = None
        """,
        wanting="import without; without.faulthandler.is_enabled()",
        wrapped="""
        try:
            import faulthandler
        except ImportError as error:
            raise RuntimeError("see the manual") from error
        """,
        hidden="""
        try:
            import wrapped
        except RuntimeError:
            raise ImportError("broken installation") from None
        """,
        grouped="""
        try:
            import faulthandler
        except ImportError as error:
            raise ExceptionGroup("several", [ValueError(), error]) from None
        """,
    )
    findings = doctor(["without", "wanting", "wrapped", "hidden", "grouped"])
    assert findings["without"].loads
    assert findings["without"].without == ("faulthandler",)
    assert {
        it.module: (it.verdict, it.extension) for it in findings if not it.loads
    } == dict.fromkeys(["wanting", "wrapped", "hidden", "grouped"], ("refuses", "faulthandler"))
    assert findings["hidden"].chain == ("hidden", "wrapped", "faulthandler")


@pytest.mark.parametrize(
    "message",
    [
        "PyO3 modules do not yet support subinterpreters, see issue 576",
        "PyO3 modules may only be initialized once per interpreter process",
        "Interpreter change: this module can only be loaded into one interpreter per process.",
    ],
)
def test_other_words_for_a_refusal_are_known(here: Path, message: str) -> None:
    write(here, older=f"raise ImportError({message!r})", user="import older")
    finding = found("user")
    assert (finding.verdict, finding.extension) == ("refuses", "older")
    assert finding.chain == ("user", "older")


def test_nothing_of_a_probe_reaches_this_process(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write(
        here,
        noisy="""
        import os, subprocess, sys
        print("out"), print("err", file=sys.stderr), os.write(1, b"raw")
        subprocess.run([sys.executable, "-c", "print('child')"], check=True)
        assert sys.stdin.read() == ""
        """,
    )
    assert found("noisy").loads
    assert capfd.readouterr() == ("", "")
    assert "noisy" not in sys.modules


def test_what_a_module_starts_is_ended_with_it(here: Path) -> None:
    pipe = here / "held"
    os.mkfifo(pipe)
    sleeper = f"import time; it = open({str(pipe)!r}, 'w'); print(flush=True); time.sleep(1000)"
    write(
        here,
        starts=f"""
        import subprocess, sys
        command = [sys.executable, "-c", {sleeper!r}]
        it = subprocess.Popen(command, stdout=subprocess.PIPE)
        it.stdout.readline()
        it.returncode = 0  # no ResourceWarning
        """,
    )
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    assert found("starts").loads
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b""  # which comes when nobody holds the other end any more
    os.close(reader)


def test_a_module_pays_for_all_that_it_imports() -> None:
    source = Path(probing.__file__).with_name("inside.py").read_text()
    done = run_program(
        f"import sys; bare = set(sys.modules); exec({source!r}); print(set(sys.modules) - bare)"
    )
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_who_does_not_ask_the_doctor_does_not_pay_for_it() -> None:
    done = run_program(
        "import sys, interpool\n"
        "names = ('probing', 'verdicts', 'installed', 'cache')\n"
        "costs = {'subprocess', 'importlib.metadata', *(f'interpool._doctor.{n}' for n in names)}\n"
        "print(costs & set(sys.modules))"
    )
    assert (done.stdout, done.stderr) == ("set()\n", "")


# --- Extensions of our own -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ext_refuses", "ext_single_phase"])
def test_an_extension_that_refuses(built: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.syspath_prepend(built)
    write(built, **{f"uses_{name}": f"import {name}"})
    finding = found(f"uses_{name}")
    assert (finding.verdict, finding.extension) == ("refuses", name)
    assert finding.chain == (f"uses_{name}", name)


def test_an_extension_that_crashes(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(built)
    write(built, uses_crashes="import ext_crashes")
    findings = doctor(["uses_crashes", "ext_loads"])
    assert [it.verdict for it in findings] == ["crashes", "loads"]
    assert findings["uses_crashes"].chain == ("uses_crashes", "ext_crashes")
    assert findings["uses_crashes"].reason == "SIGSEGV"


def test_an_extension_that_hangs(built: Path, hangs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(built)
    write(built, uses_hangs="import ext_hangs")
    finding = found("uses_hangs")
    assert (finding.verdict, finding.loads_in_process) == ("hangs", False)
    assert finding.chain == ("uses_hangs", "ext_hangs")


# --- What is asked -------------------------------------------------------------------------------


def test_findings_are_in_the_order_of_their_names_and_each_once() -> None:
    diagnosis = doctor(["string", "json", "string", "abc"])
    assert [it.module for it in diagnosis] == ["string", "json", "abc"]
    assert str(diagnosis).splitlines()[1].startswith("json: loads, 0.")
    assert diagnosis.python == sys.version
    with pytest.raises(KeyError):
        diagnosis["re"]


def test_everything_that_is_installed_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def note(_: object, modules: Any, *__: object) -> None:
        asked.extend(modules)
        raise InterruptedError

    monkeypatch.setattr(examination, "_run_all", note)
    with pytest.raises(InterruptedError):
        doctor(stdlib=True, cache=False)
    assert {"click", "pytest", "rich", "json", "sys"} <= {*asked}
    assert not {"antigravity", "_pytest", "msvcrt"} & {*asked}
    assert asked.count("rich") == 1


def test_of_a_namespace_what_is_in_it_is_asked() -> None:
    files = [
        ("google", "cloud", "storage", "__init__.py"),
        ("google", "api", "__init__.py"),
        ("google", "single.py"),
        ("google", "_private.py"),
        ("other", "__init__.py"),
    ]
    assert sorted(installed._within("google", files)) == ["google.api", "google.single"]


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ([], {"timeout": 0}, ValueError, "timeout must be above 0 seconds"),
        ([], {"timeout": float("nan")}, ValueError, "timeout must be above 0 seconds"),
        ([], {"timeout": float("inf")}, ValueError, "timeout must be above 0 seconds"),
        ([], {"max_workers": 0}, ValueError, "max_workers must be at least 1"),
        (["a b"], {}, ValueError, "'a b' is not the name of a module"),
        (["a..b"], {}, ValueError, "'a..b' is not the name of a module"),
        ([""], {}, ValueError, "'' is not the name of a module"),
        ([json], {}, TypeError, "a module's name is a str, not module"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    arguments: Any, options: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        doctor(arguments, **options)


def test_without_a_python_to_start_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(RuntimeError, match=r"sys\.executable is empty"):
        doctor("json")


def test_a_process_that_cannot_be_started_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(FileNotFoundError):
        doctor(["json", "string"], cache=False)


INTERRUPTED = """
import os, queue, signal, sys, threading
import interpool
from interpool._doctor import probing

begin = probing._Process.__init__
begun = threading.Semaphore(0)

def counted(self, command):
    begin(self, command)
    print(self._process.pid)
    begun.release()

class Queue(queue.SimpleQueue):
    def get(self):  # not from outside: a signal that comes just before it sleeps is not seen
        begun.acquire(), begun.acquire()
        os.kill(os.getpid(), signal.SIGINT)

probing._Process.__init__ = counted
queue.SimpleQueue = Queue
sys.path.insert(0, sys.argv[1])
try:
    interpool.doctor(["stuck", "stuck_too"], timeout=1000, max_workers=2)
except KeyboardInterrupt:
    print("interrupted", threading.active_count())
"""


def test_an_interrupt_leaves_no_process(here: Path) -> None:
    write(here, stuck="while True: pass", stuck_too="while True: pass")
    done = run_program(INTERRUPTED, str(here))
    *children, last = done.stdout.splitlines()
    assert (last, done.stderr) == ("interrupted 1", "")
    assert len(children) == 2
    assert not any(psutil.pid_exists(int(pid)) for pid in children)


def test_it_may_be_called_from_any_thread() -> None:
    findings: list[Diagnosis] = []
    threads = [threading.Thread(target=lambda: findings.append(doctor("json"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [it.all_load for it in findings] == [True, True]


def test_it_may_be_called_in_a_worker() -> None:
    with InterpreterPoolExecutor(max_workers=1) as pool:
        assert pool.submit(doctor, "json").result()["json"].loads


def test_a_process_that_leaves_its_group_does_not_hold_it_up(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "_GRACE", 0.01)
    write(
        here,
        daemonic="""
        import os, subprocess, sys
        sleeper = "import time; time.sleep(1000)"
        it = subprocess.Popen([sys.executable, "-c", sleeper], start_new_session=True)
        os.write(1, f"{it.pid} ".encode())
        open("pid", "w").write(str(it.pid))
        it.returncode = 0  # no ResourceWarning
        """,
    )
    monkeypatch.chdir(here)
    assert found("daemonic").loads
    os.kill(int(Path("pid").read_text()), 9)


# --- What was found before -----------------------------------------------------------------------


def kept(folder: Path) -> Path:
    [path] = (folder / "interpool").glob("doctor-*")
    return path


def test_what_was_found_before_is_used_again(own_cache: Path) -> None:
    first, second = found("rich"), found("rich")
    assert (first.is_cached, second.is_cached) == (False, True)
    assert first.as_dict() == second.as_dict() | {"is_cached": False}
    assert kept(own_cache).name.startswith("doctor-")
    assert not found("rich", cache=False).is_cached


def test_a_refusal_comes_back_whole() -> None:
    first, second = found("faulthandler"), found("faulthandler")
    assert second.is_cached
    assert (second.extension, second.chain) == (first.extension, first.chain)


def test_another_version_of_whatever_had_a_part_is_examined_anew(own_cache: Path) -> None:
    found("pytest")
    text = kept(own_cache).read_text()
    assert found("pytest").is_cached
    entries = json.loads(text)
    [entry] = entries.values()
    assert {"pytest", "pluggy", "Python"} <= {*entry["versions"]}
    entry["versions"]["pluggy"] = "0.1"
    kept(own_cache).write_text(json.dumps(entries))
    assert not found("pytest").is_cached


def test_what_is_installed_since_then_is_examined_anew(own_cache: Path, here: Path) -> None:
    found("click")
    [(key, entry)] = json.loads(kept(own_cache).read_text()).items()
    entry["absent"] = ["wanted"]
    kept(own_cache).write_text(json.dumps({key: entry}))
    assert found("click").is_cached
    write(here, wanted="")
    assert not found("click").is_cached


def test_modules_of_the_user_s_own_are_never_kept(own_cache: Path, here: Path) -> None:
    write(here, mine="import json", click="import mine")
    assert doctor(["mine", "click"]).all_load
    assert not (own_cache / "interpool").exists()
    assert found("click").distribution == ""


def test_a_file_that_makes_no_sense_is_as_good_as_none(own_cache: Path) -> None:
    path = cache.Cache(installed.Installed())._path
    assert path is not None
    path.parent.mkdir()
    for text in NONSENSE:
        path.write_text(text)
        assert cache._read(path) == {}
        assert cache._read(path / "no folder") == {}
    assert found("click").verdict == "loads"
    assert found("click").is_cached
    assert kept(own_cache) == path


NONSENSE = (
    *("", "{", "[]", '"text"', "\0", "[" * 100_000, '{"rich rich 1": 5}', '{"a": {"finding": []}}'),
    *(
        f'{{"a": {{"finding": {{"module": "a", "verdict": "{verdict}"}}, "versions": {versions}, '
        '"modules": {}, "absent": [], "markers": {}}}'
        for verdict, versions in (("fails", "{}"), ("loads", '{"a": 1}'))
    ),
)


def test_findings_of_another_form_are_as_good_as_none(own_cache: Path) -> None:
    found("click")
    entries = json.loads(kept(own_cache).read_text())
    for entry in entries.values():
        entry["finding"]["unheard_of"] = 1
    kept(own_cache).write_text(json.dumps(entries))
    assert not found("click").is_cached


def test_a_folder_that_cannot_be_written_does_not_hurt(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_cache / "interpool").write_text("a file")
    assert found("click").loads
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    assert found("click").loads


def test_the_folder_is_the_user_s_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert _refusals.folder() == str(tmp_path / ".cache" / "interpool")


# --- From what is told to a finding --------------------------------------------------------------


def verdict(*told: tuple[Any, ...], code: int = 0, noise: str = "") -> tuple[str, str]:
    outcome = Outcome(told, code, is_late=False, noise=noise)
    finding = finding_of("it", outcome, Story.of(outcome), 5)
    return finding.verdict, finding.reason


def test_a_crash_at_the_end_of_the_interpreter_counts() -> None:
    assert verdict(("loaded", 0.1), code=-11) == (
        "crashes",
        "SIGSEGV, when its interpreter was to end",
    )


def test_a_fatal_error_is_quoted() -> None:
    noise = "Fatal Python error: no memory\nPython runtime state: initialized\n\n  <no frames>\n"
    assert verdict(code=-6, noise=noise) == ("crashes", "SIGABRT: Fatal Python error: no memory")


def test_signals_and_codes_without_a_name() -> None:
    assert verdict(code=-63) == ("crashes", "signal 63")
    assert verdict(code=0xC000_0005) == ("crashes", "exit code 0xc0000005")


def test_what_is_told_in_another_form_is_passed_over() -> None:
    told = (("+", 5), ("loaded", "soon"), ("unheard of",), ("loaded", 0.1), ("ended",))
    assert verdict(*told) == ("loads", "")
