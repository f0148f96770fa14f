#!/usr/bin/env bash
# setup.sh FOLDER: a Slurm of one node on this machine, with two make-believe GPUs; its files are in FOLDER. Installs
# slurm-wlm and munge where they are missing. Prints the value of SLURM_CONF for it. What runs already goes on.
# setup.sh FOLDER stop: stops the daemons of that node.
set -euo pipefail
folder=$(realpath -m "$1")

refuse() {  # exit code 77: Slurm cannot be installed here
    echo "$1" >&2
    exit "${2:-77}"
}

export SLURM_CONF="$folder/slurm.conf"
if [ "${2:-}" = stop ]; then
    scancel --user "$(id -un)" 2>/dev/null || true
    for _ in $(seq 100); do
        [ -n "$(squeue --noheader 2>/dev/null)" ] || break
        sleep 0.1
    done
    for daemon in slurmd slurmctld munged; do
        process=$(cat "$folder/$daemon.pid" 2>/dev/null) && kill "$process" 2>/dev/null || continue
        [ "$daemon" = munged ] || timeout 5 tail --pid "$process" --follow /dev/null || true
    done
    exit 0
fi

if [ -e "$SLURM_CONF" ] && sinfo --noheader >/dev/null 2>&1; then
    echo "$SLURM_CONF"
    exit 0
fi

[ "$(id -u)" = 0 ] || refuse "Slurm's daemons are started by root here, and this is $(id -un)."
if ! type slurmctld slurmd munged >/dev/null 2>&1; then
    command -v apt-get >/dev/null || refuse "Slurm is not installed, and there is no apt-get to do so."
    { apt-get update --quiet=2 && DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes slurm-wlm munge; } \
        >/dev/null 2>&1 || refuse "Slurm is not installed, and apt-get cannot do so: is there a network?"
fi

rm -rf "$folder/state" "$folder/spool"
mkdir -p "$folder/state" "$folder/spool" "$folder/munge"
[ -s "$folder/munge/key" ] || head --bytes 1024 /dev/urandom > "$folder/munge/key"
chmod 755 "$folder/munge"
chmod 400 "$folder/munge/key"
host=$(hostname -s) port=$((20000 + $$ % 10000 * 2)) cpus=$(nproc)
memory=$(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo)
cat > "$SLURM_CONF" <<END
ClusterName=one_node
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
AuthInfo=socket=$folder/munge/socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
SchedulerParameters=sched_interval=1,bf_interval=1
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=$((cpus > 2 ? cpus : 2)) RealMemory=$memory Gres=gpu:2
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
echo "NodeName=$host Name=gpu File=$folder/gpu[0-1]" > "$folder/gres.conf"
touch "$folder/gpu0" "$folder/gpu1"

munged --force --key-file "$folder/munge/key" --socket "$folder/munge/socket" --pid-file "$folder/munged.pid" \
    --log-file "$folder/munged.log" --seed-file "$folder/munge/seed" >&2
slurmctld >&2
slurmd >&2
for _ in $(seq 100); do
    [ "$(timeout 1 sinfo --noheader --format %t 2>/dev/null)" != idle ] || { echo "$SLURM_CONF"; exit 0; }
    sleep 0.1
done
refuse "Slurm was started and is not ready after 10 s: see $folder/slurmctld.log and $folder/slurmd.log." 1
