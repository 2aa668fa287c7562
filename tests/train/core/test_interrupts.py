"""Real processes that are sent real signals: a step is finished, readers live on, a second ends."""

import os
import pty
import signal
import subprocess
import threading
import time

import pytest

from tests.train.processes import run_code, start_code
from train.core.interrupts import (
    Interrupted,
    RaiseTerminated,
    StopRequest,
    Terminated,
    exit_code,
)

LOOP = """
    import sys, time
    from train.core.interrupts import Interrupted, StopRequest
    try:
        with StopRequest() as stop:
            for step in range(200):
                print(step, flush=True)
                time.sleep(0.05)
                if stop.signal:
                    raise Interrupted(stop.signal, after=f"step {step}")
    except Interrupted as error:
        print(error, flush=True)
        sys.exit(error.exit_code)
"""


def start(code, **options):
    return start_code(code, **{"stderr": subprocess.PIPE, **options})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_step_is_finished_and_the_signal_named(number):
    process = start(LOOP)
    process.stdout.readline()
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert f"stopped by {number.name} after step " in out
    assert "go on with the same command and --resume" in out
    assert f"{number.name}: finishing the step" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_at_once_and_one_right_after_the_first_does_not(number):
    process = start(LOOP.replace("if stop.signal:", "if step == 199:"))
    process.stdout.readline()
    process.send_signal(number)
    time.sleep(0.2)
    process.send_signal(number)  # what `timeout` does
    time.sleep(1.0)
    assert process.poll() is None
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == -number
    assert ("KeyboardInterrupt" in err) == (number == signal.SIGINT)


def test_what_nohup_ignores_stays_ignored():
    process = start(
        LOOP.replace("range(200)", "range(20)"),
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "stopped" not in out


def test_a_terminal_that_closes_ends_no_run_before_it_has_saved(tmp_path):
    """The signal and the error of every later write to the terminal come together."""
    saved = tmp_path / "saved"
    code = LOOP.replace(
        "raise Interrupted",
        f"print('to nobody', file=sys.stderr, flush=True); open({str(saved)!r}, 'w').close(); "
        "raise Interrupted",
    )
    leader, terminal = pty.openpty()

    def own_terminal():
        import fcntl
        import termios

        os.setsid()
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

    process = start(code, stderr=terminal, preexec_fn=own_terminal)
    os.close(terminal)
    process.stdout.readline()
    os.close(leader)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 129
    assert "stopped by SIGHUP" in out
    assert saved.exists()


READERS = """
    import os, signal, sys, time
    from torch.utils.data import DataLoader
    from train.core.interrupts import StopRequest, reader_ignores_stop

    class Slow:
        def __len__(self): return 40
        def __getitem__(self, index):
            time.sleep(0.05)
            return index

    loader = DataLoader(Slow(), num_workers=2, worker_init_fn=reader_ignores_stop)
    with StopRequest() as stop:
        count = 0
        for batch in loader:
            count += 1
            if count == 4:
                os.killpg(0, int(sys.argv[1]))
    print(count, stop.signal, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_readers_outlive_a_signal_to_the_whole_group(number):
    done = run_code(READERS, int(number), own_session=True)
    assert done.stdout.split() == ["40", str(int(number))], done.stderr
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_the_earlier_handlers_come_back():
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with RaiseTerminated(), StopRequest():
        assert signal.getsignal(signal.SIGTERM) not in before
    assert before == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]


def test_outside_the_main_thread_nothing_is_installed():
    seen = []

    def work():
        with StopRequest() as stop, RaiseTerminated():
            seen.append((signal.getsignal(signal.SIGTERM), stop.signal))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(signal.getsignal(signal.SIGTERM), 0)]


def test_a_termination_where_nothing_is_to_be_saved_leaves_at_once():
    def wait():
        with RaiseTerminated():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)

    with pytest.raises(Terminated) as caught:
        wait()
    assert caught.value.signal == signal.SIGTERM


def test_the_message_says_where_the_checkpoint_is(tmp_path):
    error = Interrupted(15, after="student step 12", checkpoint=tmp_path / "checkpoint.pt")
    assert str(error) == (
        f"stopped by SIGTERM after student step 12; saved in {tmp_path / 'checkpoint.pt'}; go on "
        "with the same command and --resume"
    )
    assert [exit_code(n) for n in (2, 15, 1)] == [130, 143, 129]
    assert error.exit_code == 143
