#!/bin/bash
# An OpenPBS of one host for as long as a command runs, for the tests: `pbs.sh COMMAND…`. It needs OpenPBS in $PBS_EXEC, which Debian has
# no package of. It lives in namespaces of its own: an address beside the loopback's, which PBS does not take, and a /var/spool in memory.
set -e
export PBS_EXEC=${PBS_EXEC:-/opt/pbs}
if [ -z "$PBS_CONF_FILE" ]; then
    export PBS_CONF_FILE=/var/spool/pbs.conf
    exec unshare --mount --net --uts --pid --fork --kill-child --mount-proc "$0" "$@"
fi
PATH=$PBS_EXEC/bin:$PBS_EXEC/sbin:$PATH
ip link set lo up
ip address add 10.99.0.1/24 dev lo
hostname pbs
mount -t tmpfs -o mode=755 none /var/spool
printf '127.0.0.1 localhost\n10.99.0.1 pbs\n' > /var/spool/hosts
mount --bind /var/spool/hosts /etc/hosts
printf '%s\n' PBS_SERVER=pbs PBS_LEAF_NAME=pbs "PBS_EXEC=$PBS_EXEC" PBS_HOME=/var/spool/pbs > "$PBS_CONF_FILE"
printf 'PBS_START_%s=1\n' SERVER SCHED COMM MOM >> "$PBS_CONF_FILE"
mkdir /var/spool/pbs
{
    bash "$PBS_EXEC/libexec/pbs_habitat"
    sed -i 's/^resources: "/&ngpus, /' /var/spool/pbs/sched_priv/sched_config
    printf '$enforce mem\n$usecp *:/ /\n' >> /var/spool/pbs/mom_priv/config
    pbs_comm
    pbs_mom
    pbs_sched
    pbs_server -t create
    until pbs_server; do sleep 1; done # what made its database has ended
    until qstat -B; do sleep 1; done
    qmgr -c 'create resource ngpus type=long,flag=nh'
    qmgr -c 'set node pbs resources_available.ncpus=4,resources_available.mem=32gb,resources_available.ngpus=1'
    for setting in job_history_enable=true flatuid=true acl_roots=root@* scheduler_iteration=5; do
        qmgr -c "set server $setting"
    done
    until pbsnodes pbs | grep 'state = free'; do sleep 1; done
} > /var/spool/start.log 2>&1 < /dev/null || { cat /var/spool/start.log; exit 1; }
"$@"
