#!/usr/bin/env bash
# A Slurm cluster of one node on this machine, for tests: slurm_node.sh start | stop
# Needs root and Debian's slurm-wlm and munge. Keeps its state in $SLURM_NODE_DIR (default /tmp/abaw-slurm).
set -euo pipefail
state=${SLURM_NODE_DIR:-/tmp/abaw-slurm}
export SLURM_CONF=$state/slurm.conf

start() {
    mkdir -p "$state"/{spool,ctld} /run/munge
    [ -s /etc/munge/munge.key ] || dd if=/dev/urandom of=/etc/munge/munge.key bs=1024 count=1 status=none
    chown -R munge:munge /etc/munge /run/munge /var/log/munge /var/lib/munge
    chmod 400 /etc/munge/munge.key
    pgrep -x munged >/dev/null || runuser -u munge -- /usr/sbin/munged
    local node cores memory
    node=$(hostname -s)
    # More slots than cores: the jobs of a demo are small, and waiting costs more than sharing.
    cores=$(nproc)
    memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
    cat >"$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=$node
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
MinJobAge=600
SchedulerParameters=batch_sched_delay=0,sched_interval=5
SlurmdSpoolDir=$state/spool
StateSaveLocation=$state/ctld
SlurmctldLogFile=$state/slurmctld.log
SlurmdLogFile=$state/slurmd.log
SlurmctldPidFile=$state/slurmctld.pid
SlurmdPidFile=$state/slurmd.pid
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName=$node CPUs=$cores RealMemory=$memory State=UNKNOWN
PartitionName=main Nodes=$node Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
CONF
    slurmctld -c
    slurmd -c
    for _ in $(seq 30); do
        if sinfo -h -o %T 2>/dev/null | grep -Eq 'idle|mixed'; then
            echo "slurm is up: export SLURM_CONF=$SLURM_CONF"
            return
        fi
        sleep 1
    done
    tail -n 20 "$state"/*.log >&2
    exit 1
}

stop() {
    [ -f "$SLURM_CONF" ] && scancel --me 2>/dev/null || true
    for name in slurmd slurmctld; do
        [ -f "$state/$name.pid" ] && kill "$(cat "$state/$name.pid")" 2>/dev/null || true
    done
    rm -rf "$state"
}

case "${1:-}" in
start) start ;;
stop) stop ;;
*)
    echo "usage: $0 start | stop" >&2
    exit 2
    ;;
esac
