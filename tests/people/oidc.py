"""An OpenID Connect provider on a free port. Says `http://localhost:PORT` and ends when its standard input does."""

import logging
import sys

import oidc_provider_mock

logging.disable(logging.CRITICAL)
with oidc_provider_mock.run_server_in_thread(require_nonce=True) as server:
    print(f"http://localhost:{server.server_port}", flush=True)
    sys.stdin.read()
