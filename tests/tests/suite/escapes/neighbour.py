"""The agent beside the one that tries to get out: it listens, as far as it may, and waits."""

import socket
import sys
import time

try:
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    print("it listens", flush=True)
except OSError as error:
    print(f"it does not listen: {error}", flush=True)
time.sleep(1000)
