#!/bin/sh
# Print the state of a Grid Engine job: running, success or failed. No answer from the master says nothing about the job.
queue=$(qstat -u '*' 2>/dev/null) || { echo running; exit; }
state=$(printf '%s\n' "$queue" | awk -v id="$1" '$1 == id { print $5; exit }')
case "$state" in
    *E*) qdel "$1" > /dev/null; echo failed; exit ;; # it could not be started, and would stay in the queue forever
    ?*) echo running; exit ;;
esac
# The job has left the queue; some seconds later, the accounting file shows its outcome.
for _ in 1 2 3 4 5 6 7 8 9 10; do
    ended=$(qacct -j "$1" 2>/dev/null | awk '/^failed / { f = $2 } /^exit_status / { print f "," $2 }' | tail -n 1)
    [ -n "$ended" ] && break
    sleep 1
done
[ "$ended" = 0,0 ] && echo success || echo failed
