"""What keeps a run whole and harmless: the key that asks is not ended by the run, and nothing is fetched."""

import os

import schemathesis

OWN = os.environ["FREEHOLD_TEST_KEY_ID"]
NOBODYS = "key_00000000000000000000000000"


@schemathesis.hook
def before_call(context, case, kwargs):
    ends = case.method.upper() == "DELETE" or case.operation.path.endswith("/rotate")
    if ends and (case.path_parameters or {}).get("key") == OWN:
        case.path_parameters["key"] = NOBODYS


@schemathesis.hook
def filter_body(context, body):
    # These would be fetched from the network; every other source is on the disk, or at the endpoint that is not there.
    source = body.get("source") if isinstance(body, dict) else None
    return not (isinstance(source, str) and source.startswith(("starter", "pypi:")))
