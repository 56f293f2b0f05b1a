"""Correlation at full strength: its price beside Alertmanager, a storm of a million alerts, and how well it groups.

    make bench-correlation       or    python benchmarks/correlation.py [--quick] [--parts price,delay,storm,quality]

Foreshock runs with everything on: store, all default rules over 10,000 CIs (100,000 for the delay), ticket outbox.
Both peers take turns in one run, and a run counts until the engine has caught up. ``--quick`` is the same with less of
everything, for a look; its figures are rougher.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import delay
import price
import product
import storm

PARTS = ("price", "delay", "storm", "quality")


def quality(quick: bool) -> bool:
    """The scorers' tables, by the benchmark that makes them."""
    words = [sys.executable, str(Path(__file__).with_name("grouping.py"))]
    if quick:
        words.append("--quick")
    return subprocess.run(words, check=False).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less of everything: a few minutes")
    parser.add_argument("--parts", default=",".join(PARTS), help="which, separated by commas")
    options = parser.parse_args()
    product.need_tools("gcc", "prometheus-alertmanager")
    parts = options.parts.split(",")
    sound = True
    with product.scratch() as work:
        version = subprocess.run(
            ["prometheus-alertmanager", "--version"], capture_output=True, text=True, check=True
        ).stdout.split()
        product.about({"Alertmanager": version[version.index("version") + 1]})
        product.build_sender(work)
        if "price" in parts:
            sound = price.measure(work, price.QUICK if options.quick else price.Sizes()) and sound
        if "delay" in parts:
            delay.measure(work, delay.QUICK if options.quick else delay.Sizes())
        if "storm" in parts:
            sound = storm.measure(work, storm.QUICK if options.quick else storm.ALERTS) and sound
        if "quality" in parts:
            sound = quality(options.quick) and sound
    return 0 if sound else 1


if __name__ == "__main__":
    raise SystemExit(main())
