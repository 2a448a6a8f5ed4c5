"""Tests of agents: in this process, without network, with a clock that only moves when told.

```python
async def test_it_counts(harness):
    h = harness(Hello)
    await h.advance("1h")
    assert h.state["count"] == 13
```
"""

from ._clock import Clock
from ._harness import Harness, SimulatedCrash
from ._http_routes import HttpRoutes, Request
from ._llm_script import LLMScript
from ._sandboxes import SandboxCall, SandboxScript

__all__ = [
    "Clock",
    "Harness",
    "HttpRoutes",
    "LLMScript",
    "Request",
    "SandboxCall",
    "SandboxScript",
    "SimulatedCrash",
]
