#!/bin/sh
# A stand-in for the commands of LSF, for the tests: it is called by their names, and keeps what it knows in the folder $LSF.
# It prints in the forms that LSF 10.1 prints: "Job <…> is submitted …" of bsub, states of `bjobs -noheader -o 'jobid stat'`, and the
# tables of lsclusters and badmin, as IBM's command reference shows them. Jobs run on this machine at once; the first one is killed, as for
# memory. It is no LSF: it schedules nothing and knows no limit.
case ${0##*/} in
    bsub)
        number=$(($(cat "$LSF/last" 2>/dev/null || echo 1000) + 1))
        echo "$number" > "$LSF/last"
        printf '%s\n' "$@" > "$LSF/$number.words"
        for command; do :; done
        if [ "$number" = 1001 ]; then
            echo 137 > "$LSF/$number.code"
        else
            (sh -c "$command" > "$LSF/$number.log" 2>&1; echo $? > "$LSF/$number.code") > /dev/null 2>&1 &
        fi
        echo "Job <$number> is submitted to queue <normal>."
        ;;
    bjobs)
        for words in "$LSF"/*.words; do
            number=$(basename "$words" .words)
            code=$(cat "$LSF/$number.code" 2>/dev/null)
            case $code in "") state=RUN ;; 0) state=DONE ;; *) state=EXIT ;; esac
            echo "$number $state"
        done
        ;;
    lsclusters)
        echo "CLUSTER_NAME   STATUS   MASTER_HOST               ADMIN    HOSTS  SERVERS"
        echo "cluster1       ok       host1                  lsfadmin        3        3"
        ;;
    badmin)
        echo "MBD configuration at Fri Jun  8 10:27:52 CST 2011"
        echo "LSB_SHAREDIR = $LSF/work"
        echo "LSF_CONFDIR = $LSF/conf"
        ;;
esac
