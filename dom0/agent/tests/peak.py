# SPDX-License-Identifier: GPL-3.0-or-later
# Runs a program and writes the most memory that it had, in KiB, to a file.
# Arguments: that file, the program, its arguments.
import os
import sys

process = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(process, 0)
with open(sys.argv[1], "w") as out:
    out.write(str(usage.ru_maxrss))
sys.exit(os.waitstatus_to_exitcode(status))
