//! A filter of system calls, as a program of the kernel's small machine (`seccomp(2)`).
//!
//! Numbers of calls with the same answer follow one another, so the filter looks for ranges and not
//! for single calls, by halves: a tenth of the instructions, and of the time that the kernel takes
//! to install it, which is part of each start. Libraries that write filters compare each call for itself.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

use nix::libc::{self, sock_filter};

use super::calls;
use super::confinement::{Filter, Internet, Otherwise};
use super::fault::Fault;
use super::learn::{self, Verdict};
use super::listener;

/// Where the kernel puts what a filter looks at (`struct seccomp_data`).
const NUMBER: u32 = 0;
const ARCH: u32 = 4;

/// The lower half of an argument; flags and small numbers are there.
const fn argument(index: u32) -> u32 {
    let low = if cfg!(target_endian = "big") { 4 } else { 0 };
    16 + 8 * index + low
}

const LOAD: u16 = code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS);
const RETURN: u16 = code(libc::BPF_RET | libc::BPF_K);
const EQUAL: u16 = code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K);
const AT_LEAST: u16 = code(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K);
const ALWAYS: u16 = code(libc::BPF_JMP | libc::BPF_JA);
const ANY_BIT: u16 = code(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K);

/// The parts of an instruction are constants of 32 bits that need 16.
const fn code(parts: u32) -> u16 {
    let [low, high, ..] = parts.to_le_bytes();
    u16::from_le_bytes([low, high])
}

#[cfg(target_arch = "x86_64")]
pub(super) const OWN_ARCH: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
pub(super) const OWN_ARCH: u32 = 0xC000_00B7;

/// Calls from here on are those of the x32 interface.
const OTHER_INTERFACE: u32 = 0x4000_0000;

pub(super) const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;

pub(super) const fn fail(errno: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | (errno.unsigned_abs() & libc::SECCOMP_RET_DATA)
}

/// New namespaces of any kind.
const NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET)
    .unsigned_abs()
    // CLONE_NEWTIME shares its bit with the signal of a child's end, which is never that large.
    | 0x80;

/// Modes of `personality(2)` that are harmless: none, and the question for it.
const PERSONALITIES: [u32; 3] = [0, 8, u32::MAX];

/// Terminals whose input can be forged (`TIOCSTI`, `TIOCLINUX`).
const FORGERIES: [u32; 2] = [0x5412, 0x541C];

/// Installs the filter for this process and what it makes. What it wants to be asked about is
/// handed over by `learner`; without one the kernel's log tells of it.
pub(crate) fn install(filter: &Filter, learner: Option<BorrowedFd<'_>>) -> Result<(), Fault> {
    let failed = || Fault::of::<io::Error>("cannot install the filter of system calls");
    let mut filter = filter.clone();
    if let Some(learner) = learner.filter(|_| filter.learns()) {
        match load(&compile(&filter), libc::SECCOMP_FILTER_FLAG_NEW_LISTENER) {
            Ok(listener) => {
                // SAFETY: the kernel has just made this descriptor for us, and nobody else has it.
                let listener = unsafe { OwnedFd::from_raw_fd(listener) };
                return listener::hand_over(learner, &listener).map_err(failed());
            }
            // Somebody above us listens already.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EINVAL)) => {}
            Err(error) => return Err(failed()(error)),
        }
    }
    filter.untold();
    load(&compile(&filter), 0).map(drop).map_err(failed())
}

/// Has the kernel put a program in force; the descriptor that it answers a flag with, or 0.
pub(super) fn load(program: &[sock_filter], flags: libc::c_ulong) -> io::Result<i32> {
    let description = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the description names an array that lives across the call, with its length; the
    // kernel copies it and writes nothing.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const description,
        )
    };
    match i32::try_from(result) {
        Ok(answer) if answer >= 0 => Ok(answer),
        Ok(_) | Err(_) => Err(io::Error::last_os_error()),
    }
}

/// A program in the making.
pub(super) struct Program {
    code: Vec<sock_filter>,
}

/// What calls off the list get.
#[derive(Debug, Clone, Copy)]
struct Answers {
    /// One that is refused whatever is to be learned.
    refusal: u32,
    /// One that is made while learning.
    spared: u32,
    /// One that is newer than the lists.
    unknown: u32,
}

impl Answers {
    const fn of(otherwise: Otherwise) -> Self {
        let [refusal, unknown] = [fail(libc::EPERM), fail(libc::ENOSYS)];
        match otherwise {
            Otherwise::Fail => Self {
                refusal,
                spared: refusal,
                unknown,
            },
            Otherwise::Log => Self {
                refusal,
                spared: libc::SECCOMP_RET_LOG,
                unknown,
            },
            Otherwise::Tell => Self {
                refusal: libc::SECCOMP_RET_USER_NOTIF,
                spared: libc::SECCOMP_RET_USER_NOTIF,
                unknown: libc::SECCOMP_RET_USER_NOTIF,
            },
        }
    }

    /// What a call off the list gets.
    fn to(self, number: i64) -> u32 {
        match learn::judge(number) {
            Verdict::Allowed => self.spared,
            Verdict::Denied => self.refusal,
        }
    }
}

fn compile(filter: &Filter) -> Vec<sock_filter> {
    let given = Answers::of(filter.otherwise);
    let mut program = Program::begin(KILL);
    for (_, number) in calls::CONDITIONAL {
        if !filter.also.contains(number) {
            program.case(*number, |body| match *number {
                libc::SYS_clone => body.clone_without_namespaces(given.refusal),
                libc::SYS_clone3 => body.clone3(),
                libc::SYS_ioctl => body.ioctl(given.refusal),
                libc::SYS_personality => body.personality(given.spared),
                libc::SYS_socketpair => body.socketpair(given.refusal),
                libc::SYS_socket => body.socket(filter.internet, given.refusal),
                _ => body.answer(given.refusal),
            });
        }
    }
    if filter.internet == Internet::Connecting {
        for (number, flags) in SENDING {
            program.case(number, |body| body.send_connected(flags, given.refusal));
        }
    }
    program.ranges(&listed(filter, given), given.unknown);
    program.code
}

/// The calls that send, and which of their arguments are flags.
const SENDING: [(i64, u32); 3] = [
    (libc::SYS_sendto, 3),
    (libc::SYS_sendmsg, 2),
    (libc::SYS_sendmmsg, 3),
];

/// What each call of a list gets.
fn listed(filter: &Filter, given: Answers) -> BTreeMap<i64, u32> {
    let numbers = |list: &[calls::Call]| list.iter().map(|(_, number)| *number).collect();
    let off_list: [Vec<i64>; 2] = [calls::REFUSED, calls::TRACING].map(numbers);
    let allowed: Vec<i64> = numbers(calls::ALLOWED);
    let mut answers = BTreeMap::new();
    let off_list = off_list.into_iter().flatten();
    answers.extend(off_list.map(|number| (number, given.to(number))));
    answers.extend(allowed.into_iter().map(|number| (number, ALLOW)));
    answers.extend(filter.also.iter().map(|number| (*number, ALLOW)));
    answers
}

impl Program {
    /// Answers calls of another interface of the kernel, and has the number loaded for all others.
    pub(super) fn begin(foreign: u32) -> Self {
        let mut program = Self {
            code: Vec::with_capacity(256),
        };
        program.load(ARCH);
        program.jump(EQUAL, OWN_ARCH, 1, 0);
        program.answer(foreign);
        program.load(NUMBER);
        if cfg!(target_arch = "x86_64") {
            program.jump(AT_LEAST, OTHER_INTERFACE, 0, 1);
            program.answer(foreign);
        }
        program
    }

    pub(super) fn into_code(self) -> Vec<sock_filter> {
        self.code
    }

    fn load(&mut self, offset: u32) {
        self.code.push(sock_filter {
            code: LOAD,
            jt: 0,
            jf: 0,
            k: offset,
        });
    }

    fn answer(&mut self, answer: u32) {
        self.code.push(sock_filter {
            code: RETURN,
            jt: 0,
            jf: 0,
            k: answer,
        });
    }

    fn jump(&mut self, code: u16, operand: u32, holds: u8, fails: u8) {
        self.code.push(sock_filter {
            code,
            jt: holds,
            jf: fails,
            k: operand,
        });
    }

    /// Answers at once when what is loaded equals `operand`.
    fn answer_if(&mut self, operand: u32, answer: u32) {
        self.jump(EQUAL, operand, 0, 1);
        self.answer(answer);
    }

    /// Decides about one call by its arguments.
    pub(super) fn case(&mut self, number: i64, decide: impl FnOnce(&mut Self)) {
        let mut body = Self {
            code: Vec::with_capacity(20),
        };
        decide(&mut body);
        let length = u8::try_from(body.code.len()).unwrap_or(u8::MAX);
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        self.jump(EQUAL, number, 0, length);
        self.code.append(&mut body.code);
    }

    pub(super) fn clone_without_namespaces(&mut self, refusal: u32) {
        self.load(argument(0));
        self.jump(ANY_BIT, NAMESPACES, 0, 1);
        self.answer(refusal);
        self.answer(ALLOW);
    }

    /// Its flags are in memory, where a filter does not see them; libraries then take `clone`.
    pub(super) fn clone3(&mut self) {
        self.answer(fail(libc::ENOSYS));
    }

    /// `setns(2)` into a network, if the caller says that it is one.
    pub(super) fn enter_network(&mut self) {
        self.load(argument(1));
        self.answer_if(libc::CLONE_NEWNET.unsigned_abs(), ALLOW);
        self.answer(fail(libc::EPERM));
    }

    fn ioctl(&mut self, refusal: u32) {
        self.load(argument(1));
        for request in FORGERIES {
            self.answer_if(request, refusal);
        }
        self.answer(ALLOW);
    }

    fn personality(&mut self, refusal: u32) {
        self.load(argument(0));
        for mode in PERSONALITIES {
            self.answer_if(mode, ALLOW);
        }
        self.answer(refusal);
    }

    fn socketpair(&mut self, refusal: u32) {
        self.load(argument(0));
        self.answer_if(libc::AF_UNIX.unsigned_abs(), ALLOW);
        self.answer(refusal);
    }

    fn socket(&mut self, internet: Internet, refusal: u32) {
        let [unix, netlink, inet, inet6] = [
            libc::AF_UNIX,
            libc::AF_NETLINK,
            libc::AF_INET,
            libc::AF_INET6,
        ]
        .map(libc::c_int::unsigned_abs);
        self.load(argument(0));
        self.answer_if(unix, ALLOW);
        // NETLINK_ROUTE tells of the own interfaces.
        self.jump(EQUAL, netlink, 0, 4);
        self.load(argument(2));
        self.answer_if(libc::NETLINK_ROUTE.unsigned_abs(), ALLOW);
        self.answer(refusal);
        if internet == Internet::Denied {
            self.answer(refusal);
            return;
        }
        self.jump(EQUAL, inet, 2, 0);
        self.jump(EQUAL, inet6, 1, 0);
        self.answer(refusal);
        if internet == Internet::Connecting {
            self.stream(refusal);
            return;
        }
        // Whoever asks for several paths takes one when it is told that there is nothing else.
        self.load(argument(2));
        let several_paths = libc::IPPROTO_MPTCP.unsigned_abs();
        self.answer_if(several_paths, fail(libc::EPROTONOSUPPORT));
        self.answer(ALLOW);
    }

    /// A socket of TCP and no other kind.
    fn stream(&mut self, refusal: u32) {
        let stream = libc::SOCK_STREAM.unsigned_abs();
        let flags = (libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC).unsigned_abs();
        self.load(argument(1));
        self.jump(ANY_BIT, !(stream | flags), 0, 1);
        self.answer(refusal);
        self.jump(ANY_BIT, stream, 1, 0);
        self.answer(refusal);
        self.load(argument(2));
        self.answer_if(0, ALLOW);
        self.answer_if(libc::IPPROTO_TCP.unsigned_abs(), ALLOW);
        let several_paths = libc::IPPROTO_MPTCP.unsigned_abs();
        self.answer_if(several_paths, fail(libc::EPROTONOSUPPORT));
        self.answer(refusal);
    }

    /// Sending, but not what connects on the way: no rule is asked about that.
    fn send_connected(&mut self, flags: u32, refusal: u32) {
        self.load(argument(flags));
        self.jump(ANY_BIT, libc::MSG_FASTOPEN.unsigned_abs(), 0, 1);
        self.answer(refusal);
        self.answer(ALLOW);
    }

    /// Answers by number alone, range after range.
    pub(super) fn ranges(&mut self, answers: &BTreeMap<i64, u32>, otherwise: u32) {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for number in 0..=calls::newest() + 1 {
            let answer = answers.get(&number).copied().unwrap_or(otherwise);
            if ranges.last().is_none_or(|(_, before)| *before != answer) {
                ranges.push((u32::try_from(number).unwrap_or(u32::MAX), answer));
            }
        }
        self.search(&ranges);
    }

    /// Finds the range of a number by halves: when a filter is installed, the kernel tries it with
    /// every number that there is.
    fn search(&mut self, ranges: &[(u32, u32)]) {
        let (lower, upper) = ranges.split_at(ranges.len() / 2);
        match (lower, upper) {
            (_, []) => {}
            ([], [(_, answer), ..]) => self.answer(*answer),
            (_, [(from, _), ..]) => {
                let mut below = Self {
                    code: Vec::with_capacity(2 * lower.len()),
                };
                below.search(lower);
                match u8::try_from(below.code.len()) {
                    Ok(length) => self.jump(AT_LEAST, *from, length, 0),
                    Err(_) => {
                        self.jump(AT_LEAST, *from, 0, 1);
                        let length = u32::try_from(below.code.len()).unwrap_or(u32::MAX);
                        self.jump(ALWAYS, length, 0, 0);
                    }
                }
                self.code.append(&mut below.code);
                self.search(upper);
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
