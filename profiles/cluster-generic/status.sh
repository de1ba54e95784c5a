#!/bin/sh
# Print what has become of a PBS job: running, success or failed. Finished jobs are known to `qstat -x` where job_history_enable is True.
# A server that does not answer says nothing about the job; one that knows no such job says so, and then it is lost.
found=$(qstat -x -f "$1" 2>&1)
case "$?,$found" in
    *"not configured to maintain job history"*)
        echo "PBS forgets jobs that ended, so that nobody can say how: qmgr -c 'set server job_history_enable=True'" >&2
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
