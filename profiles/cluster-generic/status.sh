#!/bin/sh
# Print what has become of a PBS job: running, success or failed. PBS Professional and OpenPBS keep finished jobs for `qstat -x`.
# A server that does not answer says nothing about the job; one that knows no such job says so, and then it is lost.
found=$(qstat -x -f "$1" 2>&1)
case "$?,$found" in
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
