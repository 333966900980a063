"""The dashboard in Debian's Chromium, as a person uses it.

    dashboard.py lab ADMIN PROGRAM CONTROL DNS HTTPS PICTURES   of a running lab
    dashboard.py token ADMIN TOKEN   of an edge whose admin wants a token
    dashboard.py readers ADMIN FILE READER OPERATOR   of an edge that shows itself to bearers of tokens alone
    dashboard.py unsaved ADMIN   of an edge that cannot save its state
    dashboard.py weighted ADMIN   of an edge that draws regions by weight
    dashboard.py flapping ADMIN   of an edge whose target answers every other probe
    dashboard.py many ADMIN   of an edge with more services than fit a page
    dashboard.py dry-run ADMIN DNS HTTP PICTURES   of an edge whose regions come back little by little
    dashboard.py reload ADMIN FILE   of an edge that may be broken and mended
    dashboard.py hang ADMIN PID   of an edge that may be stopped
    dashboard.py tabs ADMIN   of an edge with several pages in one browser
    dashboard.py windows ADMIN READER OPERATOR   of an edge with several windows side by side
"""

import pathlib
import sys

from dashboard_edge import dry_run, flapping, hang, many, readers, reload, tabs, token, unsaved, weighted, windows
from dashboard_lab import lab

match sys.argv[1:]:
    case ["lab", admin, program, control, dns, https, folder]:
        lab(admin, program, control, dns, https, pathlib.Path(folder))
    case ["token", admin, right]:
        token(admin, right)
    case ["readers", admin, file, reader, operator]:
        readers(admin, file, reader, operator)
    case ["many", admin]:
        many(admin)
    case ["flapping", admin]:
        flapping(admin)
    case ["weighted", admin]:
        weighted(admin)
    case ["unsaved", admin]:
        unsaved(admin)
    case ["dry-run", admin, dns, http, folder]:
        dry_run(admin, dns, http, pathlib.Path(folder))
    case ["reload", admin, file]:
        reload(admin, file)
    case ["hang", admin, pid]:
        hang(admin, int(pid))
    case ["tabs", admin]:
        tabs(admin)
    case ["windows", admin, reader, operator]:
        windows(admin, reader, operator)
    case _:
        sys.exit(__doc__)
print("all is well")
