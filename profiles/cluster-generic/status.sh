#!/bin/sh
# Print what has become of a PBS job: running, success or failed. PBS Professional and OpenPBS keep finished jobs for `qstat -x`.
found=$(qstat -x -f "$1" 2>/dev/null) || { echo failed; exit; }
state=$(printf '%s\n' "$found" | sed -n 's/^ *job_state = //p')
code=$(printf '%s\n' "$found" | sed -n 's/^ *Exit_status = //p')
case "$state,$code" in
    F,0) echo success ;;
    F,*) echo failed ;;
    *) echo running ;;
esac
