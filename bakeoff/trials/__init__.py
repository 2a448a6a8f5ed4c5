"""The trials in the order of the rows."""

from bakeoff.trials.applying import change_one_of_three
from bakeoff.trials.crashing import supervisor_killed
from bakeoff.trials.idling import idle_cost
from bakeoff.trials.inheriting import leaked_descriptors, secret_absent
from bakeoff.trials.outcome import Trial
from bakeoff.trials.restarting import exit_noticed, gaps_grow
from bakeoff.trials.stopping import deaf_group_member, double_fork, own_session

ALL: tuple[Trial, ...] = (
    Trial("deaf-group", "stop ends a TERM-deaf child of the same group, and says so", deaf_group_member),
    Trial("setsid", "stop ends a child in its own session", own_session),
    Trial("double-fork", "stop ends a double-forked daemon", double_fork),
    Trial("supervisor-kill", "SIGKILL of the supervisor, start again: same N copies", supervisor_killed),
    Trial("crash-loop", "endless crash loop: gaps grow and stay", gaps_grow),
    Trial("held-stdout", "exit noticed while a grandchild holds stdout", exit_noticed),
    Trial("change-one", "change 1 of 3, apply: the others keep their pids", change_one_of_three),
    Trial("secret", "secret of the supervisor absent in the child", secret_absent),
    Trial("descriptors", "no descriptors leak into the child", leaked_descriptors),
    Trial("idle", "idle cost with 50 agents", idle_cost),
)
