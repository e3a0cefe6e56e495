"""What only real processes show: start-up, exit codes, signals, pipes, terminals."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import sfumato


def processor_seconds(run, *arguments):
    """User and system time of a whole process, the best of three."""
    import resource

    best = float("inf")
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run(*arguments).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return best


@pytest.mark.skipif(sys.platform == "win32", reason="no resource module")
def test_help_takes_under_600_ms_of_processor_time(run):
    assert processor_seconds(run, "-m", "sfumato", "--help") < 0.6


@pytest.mark.skipif(sys.platform == "win32", reason="no resource module")
def test_import_takes_under_300_ms(run):
    assert processor_seconds(run, "-c", "import sfumato") < 0.3


HEAVY = ("torch", "numpy", "PIL", "matplotlib", "pydantic", "accelerate", "tokenizers", "rich")


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import sfumato; sfumato.__version__; dir(sfumato)", ()),
        ("from sfumato.interfaces.cli.app import app", ()),
        (
            "import sys; from sfumato.interfaces.cli.app import main\n"
            "for command in ['--version'], ['-h'], ['generate', '-h'], ['train', '-h']:\n"
            "    sys.argv = ['sfumato', *command]\n"
            "    try: main()\n"
            "    except SystemExit as end: assert not end.code, end.code",
            ("rich", "pydantic"),  # Typer's own, tens of milliseconds
        ),
    ],
)
def test_nothing_heavy_is_imported_to_answer(run, code, allowed):
    names = [name for name in HEAVY if name not in allowed]
    ask = f"import sys; loaded = [n for n in {names!r} if n in sys.modules]"
    done = run("-c", f"{code}\n{ask}\nassert not loaded, loaded")
    assert done.returncode == 0, done.stderr


def test_help_says_commands_and_exit_codes(run):
    said = " ".join(run("-m", "sfumato", "--help").stdout.split())
    for words in (
        "generate",
        "train",
        "data",
        "info",
        "doctor",
        "130 interrupted",
        "2 the command",
    ):
        assert words in said


def test_version_is_the_packages(run):
    assert run("-m", "sfumato", "--version").stdout == f"sfumato {sfumato.__version__}\n"


def test_an_unknown_attribute_is_an_attribute_error(run):
    done = run("-c", "import sfumato; sfumato.nonsense")
    assert done.returncode == 1
    assert "AttributeError: module 'sfumato' has no attribute 'nonsense'" in done.stderr


def test_exit_codes(run, model_folder, tmp_path):
    def code(*arguments):
        return run("-m", "sfumato", *arguments, cwd=tmp_path).returncode

    assert code("generate", "a", "--model", model_folder) == 0
    assert code("generate", "a", "--model", "nowhere") == 1
    assert code("generate") == 2
    assert code("nonsense") == 2


def test_a_traceback_only_with_debug(run, tmp_path):
    plain = run("-m", "sfumato", "generate", "a", "--model", "nowhere", cwd=tmp_path)
    assert plain.stderr.count("\n") == 1  # what is wrong, before anything is loaded
    assert "Traceback" not in plain.stderr
    full = run("-m", "sfumato", "generate", "a", "--model", "nowhere", "--debug", cwd=tmp_path)
    assert full.returncode == 1
    assert "Traceback" in full.stderr
    assert "SfumatoError: There is no model in nowhere" in full.stderr


def test_two_processes_draw_the_same_bytes(run, model_folder, tmp_path):
    for name in ("a.png", "b.png"):
        done = run("-m", "sfumato", "generate", "кот", "-m", model_folder, "-o", tmp_path / name)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_messages_follow_the_language(run, tmp_path):
    done = run("-m", "sfumato", "generate", cwd=tmp_path, env={"SFUMATO_LANG": "ru"})
    assert done.returncode == 2
    assert "Скажите, что нарисовать" in done.stderr


def test_letters_that_a_pipe_lacks_end_nothing(run):
    """A pipe on Windows carries cp1252; Russian goes through as numbers of letters."""
    russian = {"PYTHONIOENCODING": "cp1252", "SFUMATO_LANG": "ru"}
    done = run("-m", "sfumato", "data", "list", env=russian, encoding="cp1252")
    assert done.returncode == 0, done.stderr
    assert r"\u043b\u0438\u0446\u0435\u043d\u0437\u0438\u044f" in done.stdout  # licence
    done = run("-m", "sfumato", "info", "солнце", "--json", env=russian)
    assert done.returncode == 1
    assert "солнце" in json.loads(done.stdout)["error"]


def test_a_full_disk_is_called_a_full_disk(run, model_folder, tmp_path):
    code = (
        "import errno, os, sys\n"
        "from sfumato.interfaces.cli.app import main\n"
        "def full(_): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\n"
        "os.fsync = full\n"
        f"sys.argv = ['sfumato', 'generate', 'a', '-m', {str(model_folder)!r}]\n"
        "main()"
    )
    done = run("-c", code, cwd=tmp_path)
    assert done.returncode == 1
    assert "the disk is full" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are of Unix")
class TestTerminal:
    """The same under a pseudo-terminal, as a person sees it."""

    @pytest.fixture
    def show(self, environment):
        """Run under a pseudo-terminal of 100 x 40; gives (exit code, all that was printed)."""

        def under_terminal(*arguments, stop_after=None, **env):
            import fcntl
            import pty
            import struct
            import termios

            parent, child = pty.openpty()
            fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
            spoken = {**environment, "TERM": "xterm-256color", "COLORTERM": "truecolor", **env}
            for name in ("COLUMNS", "LINES", "NO_COLOR"):
                if name not in env:
                    spoken.pop(name, None)
            process = subprocess.Popen(
                [sys.executable, "-m", "sfumato", *map(str, arguments)],
                stdout=child,
                stderr=child,
                env=spoken,
                start_new_session=True,
            )
            os.close(child)
            printed = b""
            while True:
                try:
                    part = os.read(parent, 65536)
                except OSError:  # the other end is closed
                    break
                if not part:
                    break
                printed += part
                if stop_after and stop_after.encode() in printed:
                    process.send_signal(signal.SIGINT)
                    stop_after = None
            os.close(parent)
            return process.wait(timeout=60), printed.decode()

        return under_terminal

    def test_the_picture_emerges_and_watching_changes_no_pixel(self, show, model_folder, tmp_path):
        ask = ("generate", "a", "-m", model_folder, "--steps", 6, "-o")
        code, printed = show(*ask, tmp_path / "a.png")
        assert code == 0
        assert "\x1b[38;2;" in printed
        assert "▀" in printed
        assert "6/6" in printed
        assert "\x1b[9F" in printed  # 16 pixels are 8 lines, and the bar: drawn over
        assert printed.rindex("\x1b[?25h") > printed.rindex("\x1b[?25l")
        code, printed = show(*ask, tmp_path / "b.png", "--no-watch")
        assert code == 0
        assert "▀" in printed
        assert "\x1b[9F" not in printed
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()

    @pytest.mark.slow
    def test_no_color_is_kept(self, show, model_folder, tmp_path):
        code, printed = show(
            *("generate", "a", "-m", model_folder, "-o", tmp_path / "a.png"), NO_COLOR="1"
        )
        assert code == 0
        assert "\x1b[38;" not in printed
        assert "▀" not in printed

    def test_json_stays_json(self, show, model_folder, tmp_path):
        code, printed = show(
            *("generate", "a", "-m", model_folder, "-o", tmp_path / "a.png", "--json")
        )
        assert code == 0
        assert json.loads(printed)["pictures"][0]["path"] == str(tmp_path / "a.png")

    def test_ctrl_c_gives_the_cursor_back(self, show, model_folder, tmp_path):
        begin = time.monotonic()
        code, printed = show(
            *("generate", "a", "-m", model_folder, "-o", tmp_path / "a.png", "--steps", 100_000),
            stop_after="/100000",
        )
        assert code == 130
        assert time.monotonic() - begin < 60
        assert printed.rindex("\x1b[?25h") > printed.rindex("\x1b[?25l")
        assert "Interrupted." in printed
        assert "Traceback" not in printed
        assert list(tmp_path.iterdir()) == []
