/*
 * System calls that the C library hides or does not know, made by a program that has nothing else
 * in it. Each attempt is a child of its own and one line: "row N static WHAT: OUTCOME".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define call(...) syscall(__VA_ARGS__)

static void attempt(int row, const char *what, long (*act)(void)) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        errno = 0;
        long result = act();
        _exit(result < 0 ? (errno < 200 ? errno : 200) : 0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    printf("row %d static %s: ", row, what);
    if (WIFSIGNALED(status))
        printf("killed by %d\n", WTERMSIG(status));
    else if (WEXITSTATUS(status) == 0)
        printf("allowed\n");
    else
        printf("%s\n", strerrorname_np(WEXITSTATUS(status)));
}

/* A child in new namespaces, by the call whose flags are in memory. */
static long clone3_users(void) {
    struct clone_args wanted;
    memset(&wanted, 0, sizeof wanted);
    wanted.flags = CLONE_NEWUSER | CLONE_NEWNS;
    wanted.exit_signal = SIGCHLD;
    long child = call(SYS_clone3, &wanted, sizeof wanted);
    if (child == 0)
        _exit(0);
    return child;
}

/* The flag beyond 32 bits of a namespace of time stands where signals do. */
static long clone_time(void) {
    long child = call(SYS_clone, 0x80UL | SIGCHLD, 0, 0, 0, 0);
    if (child == 0)
        _exit(0);
    return child;
}

static long clone_network(void) {
    long child = call(SYS_clone, (unsigned long)CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0);
    if (child == 0)
        _exit(0);
    return child;
}

/* The same with what a filter of 32 bits does not look at. */
static long clone_wide(void) {
    long child = call(SYS_clone, 0xFFFFFFFF00000000UL | CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (child == 0)
        _exit(0);
    return child;
}

static long socket_wide(void) { return call(SYS_socket, 0x100000000UL | 40, SOCK_STREAM, 0); }
static long socket_smc(void) { return call(SYS_socket, 43, SOCK_STREAM, 0); }
static long socket_xdp(void) { return call(SYS_socket, 44, SOCK_RAW, 0); }
static long socket_tipc(void) { return call(SYS_socket, 30, SOCK_STREAM, 0); }
static long socket_can(void) { return call(SYS_socket, 29, SOCK_RAW, 1); }
static long socket_bluetooth(void) { return call(SYS_socket, 31, SOCK_STREAM, 0); }
static long pair_of_inet(void) {
    int two[2];
    return call(SYS_socketpair, AF_INET, SOCK_STREAM, 0, two);
}

/* The root of a file system by its number, as the handle of another place (the "shocker"). */
static long open_root(void) {
    struct {
        struct file_handle head;
        unsigned char bytes[8];
    } root;
    memset(&root, 0, sizeof root);
    root.head.handle_bytes = 8;
    root.head.handle_type = 1;
    root.bytes[0] = 2;
    int at = open("/usr", O_RDONLY | O_DIRECTORY);
    return call(SYS_open_by_handle_at, at, &root, O_RDONLY);
}

static long personality_of_old(void) { return call(SYS_personality, 0x0040000UL); }
static long secret_memory(void) { return call(447, 0); }
static long compare(void) { return call(SYS_kcmp, getpid(), 1, 0, 0, 0); }
static long load_module(void) { return call(SYS_finit_module, 0, "", 0); }
static long load_kernel(void) { return call(SYS_kexec_load, 0, 0, NULL, 0); }
static long restart(void) { return call(SYS_reboot, 0xfee1dead, 672274793, 0, NULL); }
static long swap(void) { return call(SYS_swapon, "/tmp/none", 0); }
static long account(void) { return call(SYS_acct, "/tmp/none"); }
static long read_log(void) { return call(SYS_syslog, 3, NULL, 0); }
static long hang_up(void) { return call(SYS_vhangup); }
static long set_name(void) { return call(SYS_sethostname, "other", 1000); }
static long limits_of_files(void) { return call(SYS_quotactl, 0x800001, "none", 0, NULL); }
static long watch_all(void) { return call(SYS_fanotify_init, 0, O_RDONLY); }
static long mount_by_attributes(void) { return call(442, -100, "/", 0, NULL, 0); }
static long move_a_mount(void) { return call(SYS_move_mount, -100, "/usr", -100, "/tmp", 0); }
static long settle_mount(void) { return call(SYS_fsconfig, 0, 6, NULL, NULL, 0); }
static long open_own_memory_by_id(void) { return call(SYS_process_vm_writev, 1, NULL, 0, NULL, 0, 0); }
static long advise_another(void) { return call(440, 0, NULL, 0, 20, 0); }
static long ring_of_calls(void) { return call(426, 0, 0, 0, 0, NULL, 0); }
static long register_ring(void) { return call(427, 0, 0, NULL, 0); }
static long unknown_call(void) { return call(998); }
static long set_day(void) { return call(SYS_settimeofday, NULL, NULL); }

#ifdef __x86_64__
/* The interface of x32: the same processor, other numbers. */
static long by_x32(void) { return call(0x40000000UL + SYS_getpid); }
static long by_x32_exec(void) { return call(0x40000000UL + 520, "/bin/true", NULL, NULL); }
/* The gate of 32-bit programs, from a program of 64. */
static long by_gate(void) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory");
    return result;
}
static long by_gate_mount(void) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(21L), "b"(0L), "c"(0L), "d"(0L) : "memory");
    if (result < 0) {
        errno = (int)-result;
        return -1;
    }
    return result;
}
static long ports(void) { return call(SYS_iopl, 3); }
static long port(void) { return call(SYS_ioperm, 0x80, 1, 1); }
static long descriptors(void) { return call(SYS_modify_ldt, 1, NULL, 0); }
#endif

int main(void) {
    attempt(22, "socket with high bits", socket_wide);
    attempt(22, "AF_SMC", socket_smc);
    attempt(22, "AF_XDP", socket_xdp);
    attempt(22, "AF_TIPC", socket_tipc);
    attempt(22, "AF_CAN", socket_can);
    attempt(22, "AF_BLUETOOTH", socket_bluetooth);
    attempt(22, "pair of internet sockets", pair_of_inet);
    attempt(23, "kcmp", compare);
    attempt(23, "process_vm_writev", open_own_memory_by_id);
    attempt(23, "process_madvise", advise_another);
    attempt(31, "io_uring_enter", ring_of_calls);
    attempt(31, "io_uring_register", register_ring);
    attempt(31, "memfd_secret", secret_memory);
    attempt(31, "finit_module", load_module);
    attempt(31, "kexec_load", load_kernel);
    attempt(31, "fanotify_init", watch_all);
    attempt(31, "syslog", read_log);
    attempt(31, "unknown call", unknown_call);
    attempt(32, "clone3 of users", clone3_users);
    attempt(32, "clone of time", clone_time);
    attempt(32, "clone of a network", clone_network);
    attempt(32, "clone with high bits", clone_wide);
    attempt(32, "mount_setattr", mount_by_attributes);
    attempt(32, "move_mount", move_a_mount);
    attempt(32, "fsconfig", settle_mount);
    attempt(32, "sethostname", set_name);
    attempt(34, "vhangup", hang_up);
    attempt(35, "acct", account);
    attempt(35, "reboot", restart);
    attempt(35, "swapon", swap);
    attempt(36, "quotactl", limits_of_files);
    attempt(40, "handle of a root", open_root);
    attempt(42, "personality", personality_of_old);
#ifdef __x86_64__
    attempt(42, "getpid of x32", by_x32);
    attempt(42, "execve of x32", by_x32_exec);
    attempt(42, "getpid by int 0x80", by_gate);
    attempt(42, "mount by int 0x80", by_gate_mount);
    attempt(42, "iopl", ports);
    attempt(42, "ioperm", port);
    attempt(42, "modify_ldt", descriptors);
#endif
    attempt(44, "settimeofday", set_day);
    return 0;
}
