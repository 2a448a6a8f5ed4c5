"""The supervisors compared, in the order of the columns."""

from bakeoff.peers.base import Peer
from bakeoff.peers.circus import Circus
from bakeoff.peers.horust import Horust
from bakeoff.peers.openclaw import OpenClaw
from bakeoff.peers.pm2 import Pm2
from bakeoff.peers.runit import BareRunit, Runit
from bakeoff.peers.s6 import S6, BareS6
from bakeoff.peers.supervisord import Supervisord

JUDGED: tuple[type[Peer], ...] = (OpenClaw, Supervisord, Runit, S6, Pm2, Horust, Circus)

MEASURED: tuple[type[Peer], ...] = (
    OpenClaw,
    Supervisord,
    Runit,
    BareRunit,
    S6,
    BareS6,
    Pm2,
    Horust,
    Circus,
)
