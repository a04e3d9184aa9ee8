"""The `climb` command: each sub-command calls one documented function with the same parameter names.

Exit codes: 0 done, 1 an error of ours (printed in one message, without a traceback), 2 wrong usage.
"""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; entry point of `climb` and `hf-climb`.

    Example:
        `climb sources --modality ECG`
    """
    from climb_hf.cli.app import app
    from climb_hf.errors import ClimbError

    try:
        app()
    except ClimbError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        sys.exit(130)
