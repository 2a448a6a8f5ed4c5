"""Every scenario, in the order in which they are run."""

from . import _state_scenarios, _work_scenarios
from ._scenario import SCENARIOS, Scenario

__all__ = ["SCENARIOS", "Scenario", "_state_scenarios", "_work_scenarios"]
