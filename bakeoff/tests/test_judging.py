"""The parts of the harness that decide without any supervisor running."""

import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from bakeoff import processes
from bakeoff.bench.measures import Scale, medians
from bakeoff.markers import MarkerFile
from bakeoff.room import Room
from bakeoff.tables import markdown, plain
from bakeoff.tools import Tools
from bakeoff.trials.restarting import judge_gaps
from bakeoff.waiting import holds_for, wait_until


class Gaps(unittest.TestCase):
    """When a crash loop counts as slowed down."""

    def test_doubling_to_a_cap_is_growing(self) -> None:
        self.assertEqual(judge_gaps([0.5, 1.0, 2.0, 4.0, 4.0, 3.9]), "")

    def test_equal_gaps_are_flat(self) -> None:
        self.assertEqual(judge_gaps([1.0, 1.01, 1.0, 0.99, 1.0, 1.0]), "flat")

    def test_a_noisy_prompt_restart_is_flat(self) -> None:
        self.assertEqual(judge_gaps([0.001, 0.02, 0.004, 0.03, 0.01, 0.02]), "flat")

    def test_a_delay_that_returns_to_the_first_step_fell_back(self) -> None:
        self.assertEqual(judge_gaps([0.5, 1.0, 2.0, 0.5, 1.0, 2.0]), "fell back")

    def test_giving_up_is_no_backoff(self) -> None:
        self.assertEqual(judge_gaps([1.0, 2.0, 3.0]), "only 3 restarts in 45 s")


class Markers(unittest.TestCase):
    """Following a file that others append to."""

    def test_half_a_line_is_left_for_the_next_read(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            markers = MarkerFile(Path(folder) / "markers")
            with markers.path.open("a") as file:
                file.write("start a 7 100\nstart b 8 ")
                file.flush()
                self.assertEqual([marker.name for marker in markers.all()], ["a"])
                file.write("200\nstart a 9 300\n")
            starts = markers.latest_starts()
            self.assertEqual({name: marker.pid for name, marker in starts.items()}, {"a": 9, "b": 8})
            self.assertEqual(list(markers.started_since(250)), ["a"])


class Rooms(unittest.TestCase):
    """Finding and ending what was started."""

    def test_clearing_ends_a_double_forked_daemon(self) -> None:
        tools = Tools(Tools.default_root())
        room = Room(tools.child())
        room.spawn(room.child_command("a", ["daemon"]))
        daemon = room.markers.wait_for("extra", "a", 10.0)
        assert daemon is not None
        self.assertEqual(len(room.children()), 2)
        self.assertEqual(room.own(), [])
        room.clear()
        self.assertFalse(processes.lives(daemon.pid))
        self.assertEqual(room.members(), [])

    def test_a_stopped_process_lives_and_a_zombie_does_not(self) -> None:
        process = subprocess.Popen(["sleep", "1000"])
        process.send_signal(signal.SIGSTOP)
        self.assertTrue(wait_until(lambda: processes.state(process.pid) == "T", 5.0))
        self.assertTrue(processes.lives(process.pid))
        process.kill()
        self.assertTrue(wait_until(lambda: processes.state(process.pid) == "Z", 5.0))
        self.assertFalse(processes.lives(process.pid))
        process.wait()


class Waiting(unittest.TestCase):
    """Every wait is bounded."""

    def test_a_condition_that_never_holds_ends_the_wait(self) -> None:
        start = time.monotonic()
        self.assertFalse(wait_until(lambda: False, 0.05))
        self.assertLess(time.monotonic() - start, 2.0)

    def test_a_condition_that_breaks_does_not_hold(self) -> None:
        answers = iter([True, True, False])
        self.assertFalse(holds_for(lambda: next(answers), 5.0, every=0.001))


class Tables(unittest.TestCase):
    """What is printed."""

    def test_markdown_escapes_the_separator(self) -> None:
        self.assertEqual(markdown(["a"], [["x|y"]]), "| a |\n| --- |\n| x\\|y |")

    def test_plain_wraps_a_long_cell(self) -> None:
        table = plain(["trial", "ours"], [["one", "a b c d"]], width=5)
        rule = "-----  -----"
        self.assertEqual(table, f"trial  ours\n{rule}\none    a b c\n       d")

    def test_medians_leave_out_rounds_without_the_figure(self) -> None:
        rounds = [Scale(up_s=1.0), Scale(up_s=3.0, notes=["late"]), Scale(notes=["lost"])]
        self.assertEqual(medians(rounds), Scale(up_s=2.0, notes=["late", "lost"]))


if __name__ == "__main__":
    unittest.main()
