#!/usr/bin/env bash
# A Slurm cluster of one node on this machine, for tests: slurm_node.sh start | stop
# Needs root and Debian's slurm-wlm and munge.
# The configuration stands where Slurm looks by itself: Snakemake's job steps drop SLURM_CONF from the environment.
set -euo pipefail
state=/tmp/abaw-slurm
conf=/etc/slurm/slurm.conf
devices=/etc/slurm/gres.conf

ours() { [ -f "$conf" ] && grep -q '^ClusterName=abaw-test$' "$conf"; }

start() {
    if [ -e "$conf" ] && ! ours; then
        echo "this machine belongs to a cluster already ($conf)" >&2
        exit 1
    fi
    mkdir -p "$state"/{spool,ctld} /run/munge "${conf%/*}"
    [ -s /etc/munge/munge.key ] || dd if=/dev/urandom of=/etc/munge/munge.key bs=1024 count=1 status=none
    chown -R munge:munge /etc/munge /run/munge /var/log/munge /var/lib/munge
    chmod 400 /etc/munge/munge.key
    if ! munge -n >/dev/null 2>&1; then
        runuser -u munge -- /usr/sbin/munged
        touch "$state/munged"
    fi
    local node cores
    node=$(hostname -s)
    # Cores and memory that the profile's jobs ask for, there or not: those of a demo are small. Two devices in name only.
    cores=$(($(nproc) > 8 ? $(nproc) : 8))
    cat >"$conf" <<CONF
ClusterName=abaw-test
SlurmctldHost=$node
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
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
GresTypes=gpu
NodeName=$node CPUs=$cores RealMemory=32000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=$node Default=YES MaxTime=INFINITE State=UP
CONF
    printf 'Name=gpu File=/dev/%s\n' null zero >"$devices"
    slurmctld -c
    slurmd -c
    for _ in $(seq 30); do
        if sinfo -h -o %T 2>/dev/null | grep -Eq 'idle|mixed'; then
            echo "slurm is up"
            return
        fi
        sleep 1
    done
    tail -n 20 "$state"/*.log >&2
    exit 1
}

stop() {
    ours || return 0
    scancel --me 2>/dev/null || true
    for name in slurmd slurmctld; do
        [ -f "$state/$name.pid" ] && kill "$(cat "$state/$name.pid")" 2>/dev/null || true
    done
    # They save their state and take their pid files away last.
    for _ in $(seq 50); do
        compgen -G "$state/*.pid" >/dev/null || break
        sleep 0.2
    done
    [ -f "$state/munged" ] && kill "$(cat /run/munge/munged.pid)" || true
    rm -rf "$state" "$conf" "$devices"
}

case "${1:-}" in
start) start ;;
stop) stop ;;
*)
    echo "usage: $0 start | stop" >&2
    exit 2
    ;;
esac
