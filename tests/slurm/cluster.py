"""A SLURM of one node on loopback, made from Debian's packages, in a folder of its own.

``slurmctld``, ``slurmd``, ``slurmdbd``, ``mariadbd`` and ``munged`` run in the foreground as children of this process
with private keys, ports and sockets; leaving the ``with`` block ends them by their process ids. Nothing of the
machine's own configuration is read or written, so that a SLURM that is installed for real is left alone.

``python -m tests.slurm.cluster FOLDER`` starts one to try things on and prints what to export.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil

PROGRAMS = ("slurmctld", "slurmd", "slurmdbd", "mariadbd", "mariadb-install-db", "munged", "sbatch", "srun", "sacct")
PATHS = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/sbin"])

SLURM = """
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={slurmctld}
SlurmdPort={slurmd}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
KillWait=5
MaxArraySize=10001
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePass={folder}/munge.socket
AccountingStoragePort={slurmdbd}
AccountingStoreFlags=job_comment
AccountingStorageTRES=gres/gpu
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
SLURMDBD = """
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={slurmdbd}
SlurmUser=root
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={mariadb}
StorageUser=slurm
StoragePass={password}
StorageLoc=slurm
"""


def missing() -> str:
    """Why no cluster can be started here; empty when one can."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=PATHS) is None]
    if absent:
        return f"not installed: {', '.join(absent)} (Debian: slurm-wlm slurmdbd mariadb-server munge)"
    return "" if os.geteuid() == 0 else "slurmd and munged must be started by root"


class Cluster:
    """A running SLURM.

    Parameters
    ----------
    folder : Path
        For keys, state, logs and the accounting database.
    cpus : int
        Processors that the node claims to have.
    memory_mb : int
        Memory that it claims to have, in MiB.
    """

    def __init__(self, folder: Path, cpus: int = 2, memory_mb: int = 64_000) -> None:
        self.folder = folder
        self.processes: list[tuple[str, subprocess.Popen]] = []
        ports = dict(zip(("slurmctld", "slurmd", "slurmdbd", "mariadb"), _free_ports(4), strict=True))
        self.values = ports | {
            "folder": folder,
            "host": socket.gethostname().partition(".")[0],
            "cpus": cpus,
            "memory": memory_mb,
            "password": secrets.token_hex(8),
        }

    @property
    def environment(self) -> dict[str, str]:
        """Environment in which SLURM's programs find this cluster."""
        path = os.pathsep.join([str(self.folder / "bin"), PATHS])
        return os.environ | {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": path}

    def __enter__(self) -> Cluster:
        for name in ("state", "spool", "database"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "slurm.conf").write_text(SLURM.format(**self.values))
        (self.folder / "gres.conf").write_text("Name=gpu File=/dev/null\n")
        with open(os.open(self.folder / "slurmdbd.conf", os.O_WRONLY | os.O_CREAT, 0o600), "w") as stream:
            stream.write(SLURMDBD.format(**self.values))
        self._wrap("srun")
        try:
            self._munge()
            self._database()
            self._slurm()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Exception):
            self.run("scancel", "--full", "--user=root", check=False)
            self.until(lambda: not self.run("squeue", "--noheader"), 20, "jobs to end")
        for _, process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()
        for process in self.left():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def left(self) -> list[psutil.Process]:
        """Processes of this cluster's jobs that run still.

        `proctrack/linuxproc` follows parents: a Snakemake whose shell was cancelled first is lost to it. (A real
        cluster's cgroups lose nothing.) What a user starts beside the jobs has no ``SLURM_JOB_ID`` and is left alone.
        """
        conf, found = str(self.folder / "slurm.conf"), []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                given = process.environ()
                if given.get("SLURM_CONF") == conf and "SLURM_JOB_ID" in given:
                    found.append(process)
        return found

    def run(self, *command: str, check: bool = True) -> str:
        """Run one of SLURM's programs; return what it prints."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def _accepts(self, *command: str) -> bool:
        return subprocess.run(command, env=self.environment, capture_output=True, check=False).returncode == 0

    def jobs(self) -> list[dict[str, str]]:
        """What the accounting knows: one entry per job and attempt."""
        columns = ["JobID", "JobIDRaw", "State", "ExitCode", "ReqMem", "Timelimit", "Elapsed", "Start", "End"]
        columns += ["ReqTRES", "Account", "Partition", "Comment"]
        text = self.run(
            "sacct", "-X", "-a", "--parsable2", "--noheader", f"--format={','.join(columns)}", "-S", "now-1day"
        )
        return [dict(zip(columns, line.split("|"), strict=False)) for line in text.splitlines()]

    def queue(self) -> list[dict[str, str]]:
        """Jobs that wait or run."""
        lines = self.run("squeue", "--noheader", "--format=%i|%T|%k").splitlines()
        return [dict(zip(("JobID", "State", "Comment"), line.split("|", 2), strict=True)) for line in lines]

    def until(self, condition: object, seconds: float, what: str) -> None:
        """Wait until `condition()` is true."""
        end = time.monotonic() + seconds
        while not condition():  # type: ignore[operator]
            dead = [name for name, process in self.processes if process.poll() is not None]
            if dead or time.monotonic() > end:
                logs = "".join(
                    f"\n{p.name}: {p.read_text(errors='replace')[-1500:]}" for p in self.folder.glob("*.log")
                )
                raise RuntimeError(f"waited for {what}; ended: {dead or 'nothing'}{logs}")
            time.sleep(1)

    # -- daemons ------------------------------------------------------------------------------------------------

    def _wrap(self, name: str) -> None:
        """Put a program first on the PATH that knows this cluster whatever its environment says.

        The plugin's job step starts ``srun`` without any variable that begins with ``SLURM_``, also without
        ``SLURM_CONF``; a cluster that is configured in /etc/slurm does not notice.
        """
        path = self.folder / "bin" / name
        path.parent.mkdir()
        conf, program = shlex.quote(str(self.folder / "slurm.conf")), shlex.quote(str(shutil.which(name, path=PATHS)))
        path.write_text(f'#!/bin/sh\nSLURM_CONF={conf} exec {program} "$@"\n')
        path.chmod(0o755)

    def _start(self, name: str, *options: str) -> None:
        program = shutil.which(name, path=PATHS)
        assert program is not None
        with open(self.folder / f"{name}.out.log", "ab") as log:
            process = subprocess.Popen(
                [program, *options], env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.processes.append((name, process))

    def _munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        files = {n: f"--{n}-file={self.folder / f'munge.{n}'}" for n in ("key", "pid", "seed", "log")}
        sock = self.folder / "munge.socket"
        self._start("munged", "--foreground", "--force", f"--socket={sock}", *files.values())
        self.until(sock.exists, 30, "munged")

    def _database(self) -> None:
        data, sock = self.folder / "database", self.folder / "mariadb.socket"
        base = ["--no-defaults", "--user=root", f"--datadir={data}"]
        self.run("mariadb-install-db", *base, "--auth-root-authentication-method=normal", "--skip-test-db")
        network = [f"--socket={sock}", f"--port={self.values['mariadb']}", "--bind-address=127.0.0.1"]
        small = ["--innodb-buffer-pool-size=64M", "--innodb-lock-wait-timeout=900", f"--pid-file={data}/pid"]
        self._start("mariadbd", *base, *network, *small)
        client = ["mariadb", "--no-defaults", "--user=root", f"--socket={sock}", "--execute"]
        self.until(lambda: sock.exists() and self.run(*client, "select 1", check=False), 60, "mariadbd")
        users = [f"'slurm'@'{host}'" for host in ("127.0.0.1", "localhost")]
        create = "".join(f"create user {u} identified by '{self.values['password']}';" for u in users)
        grant = "".join(f"grant all on slurm.* to {user};" for user in users)
        self.run(*client, f"create database slurm;{create}{grant}")

    def _slurm(self) -> None:
        self._start("slurmdbd", "-D")
        self.until(lambda: self._accepts("sacctmgr", "-i", "add", "cluster", "loopback"), 90, "slurmdbd")
        self.run("sacctmgr", "-i", "add", "account", "lab", "Description=lab", "Organization=lab")
        self.run("sacctmgr", "-i", "add", "user", "root", "Account=lab", "DefaultAccount=lab", check=False)
        self._start("slurmctld", "-D")
        self._start("slurmd", "-D", "-f", str(self.folder / "slurm.conf"))
        self.until(lambda: "idle" in self.run("sinfo", "-h", "-o", "%t", check=False), 90, "the node")


def _free_ports(number: int) -> list[int]:
    """Ports below those that the kernel gives to outgoing connections."""
    found: list[int] = []
    while len(found) < number:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as trial:
            if port not in found and trial.connect_ex(("127.0.0.1", port)) != 0:
                found.append(port)
    return found


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with Cluster(Path(sys.argv[1]).resolve()) as cluster:
        sys.stdout.write(f"export SLURM_CONF={cluster.folder}/slurm.conf\nCtrl-C ends it.\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
