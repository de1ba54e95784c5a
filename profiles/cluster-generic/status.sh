#!/bin/sh
# Print the state of a PBS job: running, success or failed. `qstat -x` lists finished jobs if job_history_enable is True.
# No answer from the server says nothing about the job; if the server does not know the job, it is lost.
found=$(qstat -x -f "$1" 2>&1)
case "$?,$found" in
    *"not configured to maintain job history"*)
        echo "PBS forgets finished jobs, so their outcome is unknown; run: qmgr -c 'set server job_history_enable=True'" >&2
        exit 1 ;;
    0,*) ;;
    *"Unknown Job Id"*) echo failed; exit ;;
    *) echo running; exit ;;
esac
state=$(printf '%s\n' "$found" | sed -n 's/^ *job_state = //p')
code=$(printf '%s\n' "$found" | sed -n 's/^ *Exit_status = //p')
case "$state,$code" in
    F,0) echo success ;;
    F,*) echo failed ;;
    *) echo running ;;
esac
