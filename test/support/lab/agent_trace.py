"""The kernel's own reasons for dropped packets: a private trace instance of skb:kfree_skb; best effort."""
import ctypes, os, re
from agent_loop import libc

CLONE_NEWNS = 0x00020000
TRACE = "/sys/kernel/tracing"
instance = None
mounted = False


def trace_start():
    global instance, mounted
    if not mounted:
        if libc.unshare(CLONE_NEWNS) or libc.mount(b"none", b"/", None, 0x44000, None) or libc.mount(b"tracefs", TRACE.encode(), b"tracefs", 0, None):
            raise OSError(ctypes.get_errno(), "tracefs")
        mounted = True
    if instance is None:
        for old in os.listdir(TRACE + "/instances"):  # of a lab that was killed
            pid = old.removeprefix("netcase-lab-")
            if pid != old and not os.path.exists("/proc/" + pid):
                try:
                    os.rmdir(TRACE + "/instances/" + old)
                except OSError:
                    pass
        path = "%s/instances/netcase-lab-%d" % (TRACE, os.getpid())
        os.mkdir(path)
        instance = path
    for name, value in (("trace", ""), ("events/skb/kfree_skb/enable", "1"), ("tracing_on", "1")):
        with open(instance + "/" + name, "w") as f:
            f.write(value)


def trace_stop():
    with open(instance + "/events/skb/kfree_skb/enable", "w") as f:
        f.write("0")
    with open(instance + "/trace") as f:
        text = f.read()
    seen = []
    for location, reason in re.findall(r"location=([\w.]+)\S* reason: (\w+)", text):
        name = reason + "@" + location
        if name not in seen:
            seen.append(name)
    return seen


def trace_end():
    if instance is not None:
        try:
            os.rmdir(instance)
        except OSError:
            pass
