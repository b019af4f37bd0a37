"""bgphealth as it is, but that its closed loop looks at everything every few seconds."""

from __future__ import annotations

from bgphealth import __main__
from bgphealth.daemon import closed_loop

ROUND_S = 3.0

if __name__ == "__main__":
    # Before `main` has led stdout away nothing may print, and these imports do not.
    closed_loop.ROUND_S = closed_loop.AWAY_S = ROUND_S
    __main__.main()
