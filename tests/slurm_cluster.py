"""A real Slurm of one node, private to a folder: munged, slurmctld and slurmd from Debian's packages."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")

CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={root}/munge.sock
SlurmUser=root
SlurmdUser=root
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,batch_sched_delay=0
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=16000 State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str | None:
    """What keeps a cluster from being started here, or None."""
    lacking = [p for p in PROGRAMS if shutil.which(p, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]
    if lacking:
        return f"no {', '.join(lacking)}: apt-get install slurmctld slurmd slurm-client munge"
    try:
        import submitit  # noqa: F401
    except ImportError:
        return "no submitit: pip install --editable '.[slurm]'"
    return None if os.geteuid() == 0 else "slurmd needs root"


def _free_ports(n: int) -> list[int]:
    held = [socket.socket() for _ in range(n)]
    for s in held:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


class Cluster:
    """Use as a context manager; `env` is what Slurm's commands need to find it."""

    def __init__(self, root: Path):
        self.root = root
        self.env = {"SLURM_CONF": str(root / "slurm.conf"), "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}

    def __enter__(self) -> Cluster:
        root = self.root
        for name in ("state", "spool"):
            (root / name).mkdir(parents=True)
        root.chmod(0o755)
        (root / "key").write_bytes(os.urandom(1024))
        (root / "key").chmod(0o400)
        host = socket.gethostname().partition(".")[0]
        (root / "slurm.conf").write_text(CONF.format(host=host, root=root, ports=_free_ports(2)))
        places = {
            "key-file": "key",
            "socket": "munge.sock",
            "pid-file": "munged.pid",
            "log-file": "munged.log",
            "seed-file": "seed",
        }
        self.run("munged", "--force", *[f"--{option}={root / name}" for option, name in places.items()])
        self.run("slurmctld")
        self.run("slurmd")
        for _ in range(600):
            if "idle" in self.run("sinfo", "--noheader", check=False):
                return self
            time.sleep(0.1)
        raise RuntimeError((root / "slurmctld.log").read_text()[-2000:])

    def __exit__(self, *_: object) -> None:
        self.run("scancel", "--state=RUNNING", "--user=root", check=False)
        self.run("scancel", "--user=root", check=False)
        for _ in range(300):
            if not self.run("squeue", "--noheader", check=False).strip():
                break
            time.sleep(0.1)
        for name in ("slurmd", "slurmctld", "munged"):
            path = self.root / f"{name}.pid"
            if path.is_file():
                subprocess.run(["kill", path.read_text().strip()], check=False)

    def run(self, *line: str, check: bool = True) -> str:
        return subprocess.run(line, check=check, capture_output=True, text=True, env=os.environ | self.env).stdout
