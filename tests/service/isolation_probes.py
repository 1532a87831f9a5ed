"""What functions try at each isolation level: one probe for each row of docs/isolation.md that a function can try.

This file is the code of a function, and a program that tries the same outside the service: `isolation_probes.py ROW`
with the event on standard input. A probe that returns has worked; one that raises OSError has been stopped.
"""

import ctypes
import errno
import json
import mmap
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time

PROBES = {}
LIBC = ctypes.CDLL(None, use_errno=True)
NUMBERS = {
    "x86_64": {"mount": 165, "clone": 56, "unshare": 272, "bpf": 321, "io_uring_setup": 425, "keyctl": 250}
    | {"finit_module": 313, "clock_adjtime": 305, "ptrace": 101, "shmget": 29, "shmctl": 31}
    | {"inotify_add_watch": 254, "inotify_init1": 294},
    "aarch64": {"mount": 40, "clone": 220, "unshare": 97, "bpf": 280, "io_uring_setup": 425, "keyctl": 219}
    | {"finit_module": 273, "clock_adjtime": 266, "ptrace": 117, "shmget": 194, "shmctl": 195}
    | {"inotify_add_watch": 27, "inotify_init1": 26},
}[os.uname().machine]


def probe(row):
    def register(function):
        PROBES[row] = function
        return function

    return register


def call(name, *arguments, harmless=()):
    """A system call; errors that only say that it was nonsense, in spite of the right to make it, are harmless."""
    given = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result = LIBC.syscall(ctypes.c_long(NUMBERS[name]), *given)
    if result < 0 and ctypes.get_errno() not in harmless:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
    return result


def in_child(work):
    """Do it in a forked child: what it raises is raised here."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except OSError as error:
            os._exit(error.errno or 255)
        except BaseException:
            os._exit(254)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code == 254:
        raise RuntimeError("the child failed in another way")
    if code:
        raise OSError(code, os.strerror(code))


def read(path):
    with open(path, "rb") as file:
        if not file.read(1):
            raise RuntimeError(f"{path} is empty")


def reach(port, address="127.0.0.1"):
    with socket.socket() as connection:
        connection.settimeout(5)
        connection.connect((address, port))


@probe("Read a file of the user")
def _(event):
    read(event["file"])


@probe("Write a file of the user")
def _(event):
    with open(event["file"], "ab") as file:
        file.write(b"x")


@probe("Empty a file of the user")
def _(event):
    os.truncate(event["file_to_empty"], 0)


@probe("Change the mode of a file of the user")
def _(event):
    os.chmod(event["file"], 0o600)


@probe("See that a file of the user exists")
def _(event):
    os.stat(event["file"])


@probe("See new names in a folder of the user (inotify)")
def _(event):
    watch = call("inotify_init1", 0)
    try:
        call("inotify_add_watch", watch, os.path.dirname(event["file"]).encode(), 0x100)
    finally:
        os.close(watch)


@probe("Read /etc/hosts")
def _(event):
    read("/etc/hosts")


@probe("Read /etc/shadow")
def _(event):
    read("/etc/shadow")


@probe("List the root folder")
def _(event):
    os.listdir("/")


@probe("Read its own code")
def _(event):
    read(__file__)


@probe("Write to its own code")
def _(event):
    folder = os.environ["LAMBDA_TASK_ROOT"]
    # Its files are its user's, so it may allow itself to write.
    try:
        os.chmod(folder, 0o755)
    except OSError:
        pass
    path = os.path.join(folder, "planted.py")
    with open(path, "wb"):
        pass
    os.remove(path)


@probe("Read another function's code")
def _(event):
    read(event["other_code"])


@probe("Read another function's scratch folder")
def _(event):
    read(event["other_file"])


@probe("Write byte code that other functions load")
def _(event):
    folder = sys.pycache_prefix
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "planted.pyc"), "wb"):
        pass


@probe("Read the service's data")
def _(event):
    read(event["database"])


@probe("Write to its scratch folder")
def _(event):
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"x")


@probe("Write to the literal /tmp")
def _(event):
    with tempfile.NamedTemporaryFile(dir="/tmp") as file:
        file.write(b"x")


@probe("See what others keep in the literal /tmp")
def _(event):
    read(event["file_in_tmp"])


@probe("Run a program from its scratch folder")
def _(event):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "program")
        with open(path, "w") as file:
            file.write("#!/bin/sh\nexit 0\n")
        os.chmod(path, 0o755)
        subprocess.run([path], check=True)


@probe("Fill its scratch folder beyond its size")
def _(event):
    with tempfile.TemporaryFile() as file:
        os.posix_fallocate(file.fileno(), 0, 520 * 2**20)


@probe("Make a program that runs as its owner (set-user-id)")
def _(event):
    with tempfile.NamedTemporaryFile() as file:
        os.chmod(file.name, 0o4755)
        assert os.stat(file.name).st_mode & 0o4000


@probe("Use System V shared memory")
def _(event):
    call("shmctl", call("shmget", 0, 4096, 0o1600), 0, None)


@probe("Use shared memory (/dev/shm)")
def _(event):
    with tempfile.NamedTemporaryFile(dir="/dev/shm"):
        pass


@probe("Read the service's environment variables")
def _(event):
    read(f"/proc/{event['service_pid']}/environ")


@probe("Read another process's command line")
def _(event):
    read(f"/proc/{event['service_pid']}/cmdline")


@probe("Signal the service")
def _(event):
    os.kill(event["service_pid"], 0)


@probe("Set limits of the service (prlimit)")
def _(event):
    limits = resource.prlimit(event["service_pid"], resource.RLIMIT_CORE)
    resource.prlimit(event["service_pid"], resource.RLIMIT_CORE, limits)


@probe("Trace a process (ptrace)")
def _(event):
    in_child(lambda: call("ptrace", 0, 0, 0, 0))


@probe("Start programs, threads and processes")
def _(event):
    import multiprocessing

    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=sender.send, args=("sent",))
    process.start()
    answer = receiver.recv()
    process.join()
    shell = subprocess.run("cat /proc/self/stat > /dev/null && echo ok", shell=True, capture_output=True, check=True)
    python = subprocess.run([sys.executable, "-I", "-S", "-c", "import ssl; print('ok')"], capture_output=True)
    assert (answer, shell.stdout, python.stdout) == ("sent", b"ok\n", b"ok\n"), (answer, shell, python)


@probe("Have more than 1024 processes and threads")
def _(event):
    threading.stack_size(64 * 1024)
    end = threading.Event()
    started = []
    try:
        for _ in range(1100):
            thread = threading.Thread(target=end.wait)
            thread.start()
            started.append(thread)
    except RuntimeError as error:
        raise BlockingIOError(errno.EAGAIN, str(error)) from None
    finally:
        end.set()
        for thread in started:
            thread.join()


@probe("Reach the service")
def _(event):
    reach(event["service_port"])


@probe("Reach another function's Runtime API")
def _(event):
    reach(event["other_api_port"])


@probe("Reach a TCP port that is not listed")
def _(event):
    reach(event["unlisted_port"])


@probe("Reach a TCP port that is listed")
def _(event):
    reach(event["listed_port"])


@probe("Reach 169.254.169.254")
def _(event):
    # Whether anything is there is another question.
    with socket.socket() as connection:
        connection.setblocking(False)
        code = connection.connect_ex(("169.254.169.254", 80))
    if code in (errno.EACCES, errno.EPERM):
        raise PermissionError(code, os.strerror(code))


@probe("Send UDP")
def _(event):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("127.0.0.1", event["udp_port"]))


@probe("Listen on a chosen TCP port")
def _(event):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", event["free_port"]))
        listener.listen()


@probe("Listen on a TCP port that the kernel chooses")
def _(event):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()


@probe("Connect to a Unix socket of another program")
def _(event):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(event["unix_socket"])


@probe("Connect to an abstract Unix socket of another program")
def _(event):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect("\0" + event["abstract_socket"])


@probe("Send to a Unix datagram socket of another program")
def _(event):
    for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM):
        with end:
            end.sendto(b"x", event["datagram_socket"])


@probe("Make a Unix socket of its own")
def _(event):
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        # A path of at most 107 characters.
        here = os.open(folder, os.O_RDONLY)
        path = f"/proc/self/fd/{here}/s"
        listener.bind(path)
        listener.listen()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
        os.close(here)


@probe("Make a pair of Unix sockets")
def _(event):
    for end in socket.socketpair():
        end.close()


@probe("Open a raw socket")
def _(event):
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()


@probe("Mount a file system")
def _(event):
    # There is no such kind of file system: whoever may mount gets to hear that.
    here = tempfile.gettempdir().encode()
    call("mount", b"none", here, b"no-such-kind", 0, None, harmless=(errno.ENODEV,))


@probe("Make a user namespace (unshare)")
def _(event):
    in_child(lambda: call("unshare", 0x10000000))


@probe("Make a user namespace (clone)")
def _(event):
    if call("clone", 0x10000000 | 17, 0, 0, 0, 0) == 0:
        os._exit(0)
    os.wait()


@probe("Use bpf")
def _(event):
    attributes = ctypes.create_string_buffer(b"\x02\0\0\0\x04\0\0\0\x04\0\0\0\x01\0\0\0", 64)
    os.close(call("bpf", 0, attributes, 64))


@probe("Use io_uring")
def _(event):
    os.close(call("io_uring_setup", 1, ctypes.create_string_buffer(120)))


@probe("Use kernel keys (keyctl)")
def _(event):
    call("keyctl", 0, -3, 0)


@probe("Load a kernel module")
def _(event):
    with tempfile.TemporaryFile() as file:
        call("finit_module", file.fileno(), b"", 0, harmless=(errno.ENOEXEC, errno.EINVAL, errno.ETXTBSY))


@probe("Set the clock")
def _(event):
    # Ticks of no length: whoever may set the clock gets to hear that this cannot be.
    call("clock_adjtime", 0, ctypes.create_string_buffer(b"\x00\x40\0\0", 256), harmless=(errno.EINVAL,))


def leave_behind(event):
    """Start a daemon that nobody waits for; told by its command line."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execv("/bin/sleep", ["sleep", event["seconds"]])
        os._exit(0)
    os.wait()


def take_memory(event):
    """Touch 300 MB and wait for the end."""
    block = mmap.mmap(-1, 300 * 2**20)
    for position in range(0, len(block), 4096):
        block[position] = 1
    time.sleep(60)


def describe(event):
    """Where this environment is, and a file in its scratch folder."""
    with open(os.path.join(tempfile.gettempdir(), "own"), "w") as file:
        file.write("own")
    paths = {name: os.environ.get(name) for name in ("LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR", "TMPDIR")}
    port = int(os.environ["AWS_LAMBDA_RUNTIME_API"].rpartition(":")[2])
    return {
        "tmp": tempfile.gettempdir(),
        "port": port,
        "pid": os.getpid(),
        "file": __file__,
        "cwd": os.getcwd(),
        **paths,
    }


OTHERS = {function.__name__: function for function in (leave_behind, take_memory, describe)}


def handler(event, context=None):
    row = event["row"]
    if row in OTHERS:
        return OTHERS[row](event)
    try:
        PROBES[row](event)
    except OSError as error:
        return {"outcome": "stopped", "why": repr(error)}
    return {"outcome": "works", "why": ""}


if __name__ == "__main__":
    print(json.dumps(handler(json.load(sys.stdin))))
