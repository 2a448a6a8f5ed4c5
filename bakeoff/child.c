/*
 * The supervised program of every trial and every measurement: small and static, so that what is
 * measured is the supervisor and not its child.
 *
 *   child MARKERS NAME MODE [ARGUMENT]
 *
 * It appends one line "KIND NAME PID NANOSECONDS" to MARKERS for each thing the harness wants to know
 * the moment of; the clock is CLOCK_MONOTONIC, which the harness reads too.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES = 100, BLOCK_LINES = 40, EXIT_USAGE = 64, EXIT_SYSTEM = 71 };

static const char *markers_path;
static const char *own_name;

static void fail(const char *what) {
    perror(what);
    _exit(EXIT_SYSTEM);
}

/* One write of an O_APPEND file is atomic, so a thousand children can share one file. */
static void mark(const char *kind) {
    struct timespec now;
    char line[256];
    clock_gettime(CLOCK_MONOTONIC, &now);
    int length = snprintf(line, sizeof line, "%s %s %d %lld\n", kind, own_name, (int)getpid(),
                          (long long)now.tv_sec * 1000000000LL + now.tv_nsec);
    int file = open(markers_path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (file < 0 || write(file, line, (size_t)length) != length) fail(markers_path);
    close(file);
}

static _Noreturn void sleep_for_ever(void) {
    for (;;) pause();
}

/* pm2 asks with INT, the others with TERM: whoever is deaf must be deaf to both. */
static void ignore_polite_signals(void) {
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
}

static void fork_deaf_member_of_the_group(void) {
    pid_t pid = fork();
    if (pid < 0) fail("fork");
    if (pid > 0) return;
    ignore_polite_signals();
    mark("extra");
    sleep_for_ever();
}

static void fork_into_own_session(void) {
    pid_t pid = fork();
    if (pid < 0) fail("fork");
    if (pid > 0) return;
    if (setsid() < 0) fail("setsid");
    mark("extra");
    sleep_for_ever();
}

static void fork_twice(void) {
    pid_t pid = fork();
    if (pid < 0) fail("fork");
    if (pid > 0) return;
    if (setsid() < 0) fail("setsid");
    pid = fork();
    if (pid < 0) fail("fork");
    if (pid > 0) _exit(0);
    mark("extra");
    sleep_for_ever();
}

static _Noreturn void live_for(long milliseconds) {
    struct timespec rest = {milliseconds / 1000, (milliseconds % 1000) * 1000000L};
    while (nanosleep(&rest, &rest) != 0 && errno == EINTR) {
    }
    mark("exit");
    _exit(1);
}

/* Exits when told by USR1, leaving behind a grandchild that keeps stdout open. */
static _Noreturn void exit_when_told(void) {
    sigset_t awaited;
    int received;
    sigemptyset(&awaited);
    sigaddset(&awaited, SIGUSR1);
    sigprocmask(SIG_BLOCK, &awaited, NULL);
    pid_t pid = fork();
    if (pid < 0) fail("fork");
    if (pid == 0) {
        mark("extra");
        sleep_for_ever();
    }
    /* Only now may the harness signal us: before, USR1 would kill us without an exit marker. */
    mark("armed");
    sigwait(&awaited, &received);
    mark("exit");
    _exit(1);
}

static void write_all(const char *bytes, size_t count) {
    while (count > 0) {
        ssize_t written = write(STDOUT_FILENO, bytes, count);
        if (written < 0 && errno != EINTR) fail("stdout");
        if (written > 0) {
            bytes += written;
            count -= (size_t)written;
        }
    }
}

/* Lines of 100 bytes, written 4000 bytes at a time: what a program with buffered output does. */
static _Noreturn void flood(long mebibytes) {
    static char block[LINE_BYTES * BLOCK_LINES];
    memset(block, 'x', sizeof block);
    for (int line = 1; line <= BLOCK_LINES; line++) block[line * LINE_BYTES - 1] = '\n';
    long long rest = mebibytes * 1024LL * 1024LL / LINE_BYTES * LINE_BYTES;
    while (rest > 0) {
        size_t count = rest < (long long)sizeof block ? (size_t)rest : sizeof block;
        write_all(block, count);
        rest -= (long long)count;
    }
    mark("done");
    sleep_for_ever();
}

int main(int count, char **arguments) {
    if (count < 4) {
        fputs("usage: child MARKERS NAME MODE [ARGUMENT]\n", stderr);
        return EXIT_USAGE;
    }
    markers_path = arguments[1];
    own_name = arguments[2];
    const char *mode = arguments[3];
    long number = count > 4 ? strtol(arguments[4], NULL, 10) : 0;
    mark("start");
    if (strcmp(mode, "sleep") == 0) sleep_for_ever();
    if (strcmp(mode, "lives") == 0) live_for(number);
    if (strcmp(mode, "holder") == 0) exit_when_told();
    if (strcmp(mode, "flood") == 0) flood(number);
    if (strcmp(mode, "deaf-group") == 0) fork_deaf_member_of_the_group();
    else if (strcmp(mode, "setsid") == 0) fork_into_own_session();
    else if (strcmp(mode, "daemon") == 0) fork_twice();
    else return EXIT_USAGE;
    sleep_for_ever();
}
