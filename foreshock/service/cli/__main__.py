"""``python -m foreshock.service.cli`` is the ``foreshock`` command, also where that is not on the path."""

from foreshock.service.cli import main

main()
